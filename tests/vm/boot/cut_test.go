// SPDX-License-Identifier: Apache-2.0

package boot

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// cutConfig has something of everything that is written.
const cutConfig = `{"ignition":{"version":"3.4.0"},
 "passwd":{"groups":[{"name":"more"}],"users":[{"name":"test","groups":["more"],"passwordHash":"*","sshAuthorizedKeys":["ssh-ed25519 AAAA one","ssh-ed25519 BBBB two"]}]},
 "storage":{
  "disks":[{"device":"/dev/vdb","partitions":[{"label":"cut-data","sizeMiB":200},{"label":"cut-rest"}]}],
  "filesystems":[{"device":"/dev/disk/by-partlabel/cut-data","format":"ext4","label":"cut-data","path":"/srv"},{"device":"/dev/disk/by-partlabel/cut-rest","format":"vfat","label":"REST"}],
  "directories":[{"path":"/opt/made/deep","mode":448,"user":{"name":"test"}}],
  "files":[{"path":"/etc/hostname","overwrite":true,"contents":{"source":"data:,cut"}},{"path":"/srv/file","contents":{"source":"data:,on%20data"}},
   {"path":"/etc/appended","append":[{"source":"data:,one%0A"},{"source":"data:,two%0A"}]}],
  "links":[{"path":"/etc/localtime","target":"../usr/share/zoneinfo/Etc/UTC","overwrite":true}]},
 "systemd":{"units":[{"name":"nginx.service","enabled":true,"dropins":[{"name":"10-x.conf","contents":"[Service]\nEnvironment=A=b\n"}]},{"name":"fstrim.timer","mask":true}]}}`

// cutFacts describe the system, without what differs from run to run.
const cutFacts = `cd /; find etc opt home srv -xdev \( -path etc/ssl -o -path etc/ssh -o -name '*-' -o -path etc/machine-id -o -path etc/.ignition-result.json -o -path etc/.pwd.lock -o -path srv/lost+found \) -prune -o -print | sort | while read -r f; do
  stat -c '%n %F %a %U %G' "$f"; if [ -L "$f" ]; then readlink "$f"; elif [ -f "$f" ]; then sha256sum <"$f"; fi; done
mount -o ro /dev/disk/by-label/cut-data /mnt; cat /mnt/file; stat -c '%a %U' /mnt/file; umount /mnt
sgdisk -p /dev/vdb | awk '$1 ~ /^[0-9]+$/ {print $1, $2, $3, $7}'; blkid -p -o value -s TYPE -s LABEL /dev/vdb1 /dev/vdb2
systemctl is-enabled nginx.service; cat /run/nginx-started; id test; grep -c userConfigProvided /etc/.ignition-result.json; ls /etc/.ignition-incomplete.json; grep -c first_boot /proc/cmdline`

// volatileRig is a machine with two disks that lose what was not flushed.
type volatileRig struct {
	*rig
	disks []*Volatile
}

func newVolatileRig(t *testing.T) *volatileRig {
	t.Helper()
	r := &volatileRig{rig: newRig(t)}
	r.Disk.Put(t, ESP, "flatcar/first_boot", "")
	more := filepath.Join(r.Dir, "second.raw")
	if err := os.WriteFile(more, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Truncate(more, 512<<20); err != nil {
		t.Fatal(err)
	}
	r.FwCfg = map[string]string{"opt/org.flatcar-linux/config": cutConfig}
	for _, name := range []string{r.Disk.Path, more} {
		r.disks = append(r.disks, NewVolatile(t, name))
	}
	r.More = []string{more}
	r.Sockets = []string{r.disks[0].Socket, r.disks[1].Socket}
	return r
}

// powerOn boots as the boot loader would: the flag decides about the arguments.
func (r *volatileRig) powerOn(name string) *Guest {
	r.t.Helper()
	for _, d := range r.disks {
		d.Restore()
	}
	r.Append = directArguments
	if _, ok := r.Disk.Get(r.t, ESP, "flatcar/first_boot"); ok {
		r.Append += "flatcar.first_boot=detected flatcar.oem.id=qemu"
	}
	return r.boot(name)
}

// powerCut takes the power away from machine and disks at the same moment.
func (r *volatileRig) powerCut(g *Guest) (lost int) {
	for _, d := range r.disks {
		lost += d.Cut()
	}
	g.Kill()
	return lost
}

const provisioning = `Starting .*Ignition \(setup\)`

// TestPowerCut: a machine whose power goes at some moment of its first boot, with
// the loss of all that was not flushed, ends as one that was not disturbed.
func TestPowerCut(t *testing.T) {
	needGate(t, true)
	whole := newVolatileRig(t)
	g := whole.powerOn("whole")
	g.Wait(provisioning, bootTime)
	start := time.Now()
	g.Wait(`Reached target .*Switch Root`, bootTime)
	length := time.Since(start)
	g.Login(bootTime)
	g.Type("systemctl poweroff\n")
	g.Off(2 * time.Minute)
	g = whole.powerOn("whole-again")
	g.Login(bootTime)
	facts := g.Run(cutFacts + "; true")
	g.Kill()
	t.Logf("provisioning takes %.1f s and leaves\n%s", length.Seconds(), facts)

	const moments = 20
	for i := range moments {
		at := length * time.Duration(i+1) / (moments + 1)
		t.Run(fmt.Sprint(i+1), func(t *testing.T) {
			r := newVolatileRig(t)
			g := r.powerOn("cut")
			g.Wait(provisioning, bootTime)
			time.Sleep(at)
			lost := r.powerCut(g)
			text := strings.Split(strings.TrimSpace(g.Console()), "\n")
			t.Logf("cut after %.1f s, %d blocks lost, at: %s", at.Seconds(), lost, text[len(text)-1])
			g = r.powerOn("after")
			g.Login(bootTime)
			first := strings.Contains(r.Append, "first_boot")
			if first { // as the uncut one is looked at, in the boot after
				g.Type("systemctl poweroff\n")
				g.Off(2 * time.Minute)
				g = r.powerOn("later")
				g.Login(bootTime)
			}
			if got := g.Run(cutFacts + "; true"); got != facts {
				t.Errorf("after the cut the system differs:\n%s", differences(facts, got))
			}
			g.Kill()
		})
	}
}

// differences lists the lines that are not in both texts.
func differences(a, b string) string {
	var out strings.Builder
	has := func(text, line string) bool { return strings.Contains("\n"+text+"\n", "\n"+line+"\n") }
	for l := range strings.Lines(a) {
		if l = strings.TrimSpace(l); !has(b, l) {
			fmt.Fprintln(&out, "-", l)
		}
	}
	for l := range strings.Lines(b) {
		if l = strings.TrimSpace(l); !has(a, l) {
			fmt.Fprintln(&out, "+", l)
		}
	}
	return out.String()
}
