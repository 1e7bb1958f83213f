// SPDX-License-Identifier: Apache-2.0

package guest

import "testing"

// TestExpectPlan: disks that are others than those of the plan are refused before
// the first write. (That all other cases run with the hash of their own plan
// shows that it agrees.)
func TestExpectPlan(t *testing.T) {
	runCases(t, []Case{{
		Name: "another table than planned", Disks: []int{0}, Stages: []string{},
		Before: `sgdisk --new=1:2048:+20M --change-name=1:old "$D0"`,
		After: `
cat >c.ign <<JSON
{"ignition":{"version":"3.4.0"},"storage":{
	"disks":[{"device":"$D0","partitions":[{"number":1,"label":"old"},{"number":2,"label":"new","sizeMiB":10}]}],
	"filesystems":[{"device":"${D0}2","format":"ext4","wipeFilesystem":true}]}}
JSON
export IGNITION_CONFIG_FILE=$CASE/c.ign
rm -rf /run/ignition /run/ignition.json
hash=$("$IGNITION" plan --hash --disks=live --root="$CASE/sysroot" c.ign) || test $? = 2
stage() { "$IGNITION" --platform=file --stage="$1" --root="$CASE/sysroot" --log-to-stdout --expect-plan="$hash" >log 2>&1; }
sgdisk --new=3:0:+5M --change-name=3:surprise "$D0" >/dev/null
udevadm settle
stage fetch || { cat log >&2; exit 1; }
before=$(head -c 4M "$D0" | sha256sum)
! stage disks
grep -o 'this is not what was planned: the disks part' log | head -n 1
test "$before" = "$(head -c 4M "$D0" | sha256sum)" && echo untouched
sgdisk --delete=3 "$D0" >/dev/null
udevadm settle
stage disks || { cat log >&2; exit 1; }
blkid -p -o value -s TYPE "${D0}2"`,
		Want: "this is not what was planned: the disks part\nuntouched\next4",
	}})
}
