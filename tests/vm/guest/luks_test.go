// SPDX-License-Identifier: Apache-2.0

package guest

import (
	"encoding/json"
	"strings"
	"testing"
	"time"
)

// quick is what keeps key derivation from taking most of the time.
const quick = `"options":["--pbkdf","pbkdf2","--pbkdf-force-iterations","1000"]`

const spec34 = `{"ignition":{"version":"3.4.0"},`

var disksOnly = []string{"fetch", "disks"}

// luksBefore makes a LUKS2 volume that the key "k" opens.
const luksBefore = `echo -n k | cryptsetup luksFormat --batch-mode --type luks2 --pbkdf pbkdf2 --pbkdf-force-iterations 1000 --label old --uuid 11111111-2222-4333-8444-555555555555 "$D0" -`

var luksCases = []Case{
	{
		Name:   "generated key",
		Disks:  []int{0},
		Config: spec34 + `"storage":{"luks":[{"name":"secret","device":"$D0",` + quick + `}],"filesystems":[{"device":"/dev/mapper/secret","format":"ext4","path":"/secret"}],"files":[{"path":"/secret/x","overwrite":true,"contents":{"source":"data:,x"}}]}}`,
		After: `key="$CASE/sysroot/etc/luks/secret"; stat -c '%a %s' "$CASE/sysroot/etc/luks" "$key" "$CASE/sysroot/etc/crypttab" | cut -d' ' -f1
grep -cxE '[0-9a-f]{8192}' "$key"; head -c 8192 "$key" | cryptsetup open --test-passphrase --key-file - "$D0"
sed "s/$(cryptsetup luksUUID "$D0")/ID/" "$CASE/sysroot/etc/crypttab"
ls /tmp/ignition-luks-* 2>/dev/null || true; grep -c "$(head -c 40 "$key")" /run/ignition/state || true
cryptsetup luksDump --dump-json-metadata "$D0" | grep -c '"type":"ignition"' || true`,
		Want: "700\n600\n600\n1\nsecret UUID=ID /etc/luks/secret luks,x-initrd.attach\n0\n0",
		Check: func(t *testing.T, r Result) {
			if key := r.Sh(t, `head -c 60 "$CASE/sysroot/etc/luks/secret"`); strings.Contains(r.Output(), key) {
				t.Error("the key is in the log")
			}
		},
		Again: true,
	},
	{
		Name: "generated key, found on the root filesystem that is not mounted yet", Disks: []int{0, 1}, Slow: true,
		Config: spec34 + `"storage":{"luks":[{"name":"secret","device":"$D0",` + quick + `}],"filesystems":[{"device":"$D1","format":"ext4","path":"/"},{"device":"/dev/mapper/secret","format":"ext4"}]}}`,
		After: `cryptsetup close secret; first=$(head -c 4M "$D0" | sha256sum); rm -rf /run/ignition/state; ls -A "$CASE/sysroot" | grep -c luks || true
"$IGNITION" --stage=disks --platform=file --root="$CASE/sysroot" --log-to-stdout >log 2>&1 || { cat log; exit 1; }
grep -c 'found the key of "secret"' log; [[ $first == $(head -c 4M "$D0" | sha256sum) ]]; test -b /dev/mapper/secret`, Want: "0\n1",
	},
	{
		Name:  "key of the config, names, options",
		Disks: []int{0},
		Config: spec34 + `"storage":{"luks":[{"name":"v","device":"$D0","label":"my label","uuid":"AAAAAAAA-2222-4333-8444-555555555555","discard":true,"openOptions":["--perf-no_read_workqueue"],
			"keyFile":{"source":"data:,hunter2-very-secret"},` + quick + `}]}}`,
		Stages: []string{"fetch", "disks", "files"},
		After: `echo -n hunter2-very-secret | cryptsetup open --test-passphrase --key-file - "$D0"; cryptsetup luksDump "$D0" | grep -E '^(Label|UUID|Flags)' | tr -s ' \t' ' ' | sed 's/ $//'
stat -c %a "$CASE/sysroot/etc/luks/v"; cat "$CASE/sysroot/etc/luks/v"; dmsetup table v | grep -c allow_discards`,
		Want: "UUID: aaaaaaaa-2222-4333-8444-555555555555\nLabel: my label\nFlags: allow-discards no-read-workqueue\n600\nhunter2-very-secret1",
		Check: func(t *testing.T, r Result) {
			if strings.Contains(r.Output(), "hunter2") {
				t.Error("the key is in the log")
			}
			want := `"luksFormat" "--type" "luks2" "--key-file" `
			if i := strings.Index(r.Output(), want); i < 0 || !strings.Contains(r.Output()[i:], `"--label" "my label" "--uuid" "AAAAAAAA-2222-4333-8444-555555555555" "--pbkdf" "pbkdf2"`) {
				t.Error("the arguments of luksFormat are in another order")
			}
		},
		Again: true,
	},
	{
		Name: "a key that fails its verification", Slow: true, Disks: []int{0}, Before: luksBefore, Keep: []string{"$D0"}, Stages: disksOnly, Fails: "disks",
		Config: spec34 + `"storage":{"luks":[{"name":"v","device":"$D0","wipeVolume":true,"keyFile":{"source":"data:,k","verification":{"hash":"sha256-0000000000000000000000000000000000000000000000000000000000000000"}}}]}}`,
		Error:  []string{"failed to create keyfile", "hash verification failed", "$.storage.luks.0.keyFile"},
		After:  `{ compgen -G '/tmp/ignition-luks-*' || true; } | wc -l`, Want: "0",
	},
	{
		Name: "an empty key", Disks: []int{0}, Keep: []string{"$D0"}, Stages: disksOnly, Fails: "disks",
		Config: spec34 + `"storage":{"luks":[{"name":"v","device":"$D0","keyFile":{"source":"data:,"}}]}}`,
		Error:  []string{"the key is empty", "$.storage.luks.0.keyFile"},
	},
	{
		Name: "a key of 10 MB", Disks: []int{0}, Keep: []string{"$D0"}, Stages: disksOnly, Fails: "disks", Slow: true,
		Before: `mkdir -p /oem; head -c 10M /dev/zero >/oem/big.key`,
		Config: spec34 + `"storage":{"luks":[{"name":"v","device":"$D0","keyFile":{"source":"oem:///big.key"}}]}}`,
		Error:  []string{"larger than 8388608 bytes", "$.storage.luks.0.keyFile"},
	},
	{
		Name: "reuse", Disks: []int{0}, Before: luksBefore, Stages: disksOnly,
		Config: spec34 + `"storage":{"luks":[{"name":"v","device":"$D0","label":"old","uuid":"11111111-2222-4333-8444-555555555555","keyFile":{"source":"data:,k"}}]}}`,
		After:  `cryptsetup luksUUID "$D0"; test -b /dev/mapper/v`, Want: "11111111-2222-4333-8444-555555555555",
		Check: func(t *testing.T, r Result) {
			if !strings.Contains(r.Output(), "is already correctly formatted. Skipping...") {
				t.Error("it does not say that the volume is kept")
			}
		},
		Again: true,
	},
	refused("a label that differs", `"label":"new","keyFile":{"source":"data:,k"}`, `volume label "old" doesn't match expected label "new"`),
	refused("a UUID that differs", `"uuid":"21111111-2222-4333-8444-555555555555","keyFile":{"source":"data:,k"}`, `volume UUID "11111111-2222-4333-8444-555555555555" doesn't match expected UUID "21111111-2222-4333-8444-555555555555"`),
	refused("discard that differs", `"discard":true,"keyFile":{"source":"data:,k"}`, "volume allow-discards flag false doesn't match expected value true"),
	refused("another key", `"keyFile":{"source":"data:,K"}`, "failed to open device using specified keyfile"),
	refused("no key", `"label":"old"`, "config must specify keyfile"),
	refused("clevis", `"clevis":{"tpm2":true},"keyFile":{"source":"data:,k"}`, "config must not specify clevis binding"),
	{
		Name: "LUKS1 without a wipe", Disks: []int{0}, Before: strings.Replace(strings.Replace(luksBefore, "luks2", "luks1", 1), "--label old", "", 1), Keep: []string{"$D0"}, Stages: disksOnly, Fails: "disks", Slow: true,
		Config: spec34 + `"storage":{"luks":[{"name":"v","device":"$D0","keyFile":{"source":"data:,k"}}]}}`,
		Error:  []string{"$D0 is a luks device but not luks2; Ignition cannot reuse it"},
	},
	{
		Name: "ext4 without a wipe", Disks: []int{0}, Before: `mkfs.ext4 -q "$D0"`, Keep: []string{"$D0"}, Stages: disksOnly, Fails: "disks", Slow: true,
		Config: spec34 + `"storage":{"luks":[{"name":"v","device":"$D0","keyFile":{"source":"data:,k"}}]}}`,
		Error:  []string{`volume at "$D0" is not of the correct type (found ext4) and a volume wipe was not requested`, "volume is not of the correct type"},
	},
	wiped("ext4", `mkfs.ext4 -q "$D0"`), wiped("LUKS2", luksBefore), wiped("LUKS1", strings.Replace(strings.Replace(luksBefore, "luks2", "luks1", 1), "--label old", "", 1)),
	wiped("a volume that is open", luksBefore+`
echo -n k | cryptsetup open --key-file - "$D0" v`),
	{
		Name: "a volume in use is not closed", Disks: []int{0}, Before: luksBefore + `
echo -n k | cryptsetup open --key-file - "$D0" v; mkfs.ext4 -q /dev/mapper/v; mkdir "$CASE/m"; mount /dev/mapper/v "$CASE/m"`,
		Stages: disksOnly, Fails: "disks", Slow: true,
		Config: spec34 + `"storage":{"luks":[{"name":"v","device":"$D0","wipeVolume":true}]}}`,
		Error:  []string{"refusing to close", "it is mounted at"}, After: `umount "$CASE/m"; fsck.ext4 -fn /dev/mapper/v >/dev/null`,
	},
	{
		Name: "a key known later: the run was cut before the files stage", Disks: []int{0}, Stages: disksOnly,
		Config: spec34 + `"storage":{"luks":[{"name":"v","device":"$D0",` + quick + `}],"filesystems":[{"device":"/dev/mapper/v","format":"ext4"}]}}`,
		After: `cryptsetup luksDump --dump-json-metadata "$D0" | grep -c '"type":"ignition"'; first=$(cryptsetup luksUUID "$D0")
rm -rf /run/ignition/state; "$IGNITION" --stage=disks --platform=file --root="$CASE/sysroot" --log-to-stdout >log || { cat log; exit 1; }
grep -c 'again: an earlier run made it from the same config entry and did not end' log; [[ $first != $(cryptsetup luksUUID "$D0") ]]
"$IGNITION" --stage=files --platform=file --root="$CASE/sysroot" --log-to-stdout >log || { cat log; exit 1; }
cryptsetup open --test-passphrase --key-file "$CASE/sysroot/etc/luks/v" "$D0"; cryptsetup luksDump --dump-json-metadata "$D0" | grep -c '"type":"ignition"' || true
cryptsetup close v; rm -rf /run/ignition/state; mv "$CASE/sysroot/etc/luks" "$CASE/away"
"$IGNITION" --stage=disks --platform=file --root="$CASE/sysroot" --log-to-stdout >log 2>&1 && exit 1; grep -c 'config must specify keyfile' log >/dev/null`,
		Want: "1\n1\n0",
	},
}

// refused is a volume that is not what the config asks for.
func refused(name, fields, why string) Case {
	return Case{
		Name: name + " is refused", Disks: []int{0}, Before: luksBefore, Keep: []string{"$D0"}, Stages: disksOnly, Fails: "disks", Slow: name != "another key",
		Config: spec34 + `"storage":{"luks":[{"name":"v","device":"$D0",` + fields + `}]}}`,
		Error:  []string{`volume wipe was not requested and luks device "$D0" could not be reused: ` + why, "volume is not of the correct type", "$.storage.luks.0"},
	}
}

// wiped is a device whose content the config gives up.
func wiped(name, before string) Case {
	return Case{
		Name: "wiping " + name, Disks: []int{0}, Before: before, Stages: disksOnly, Slow: name != "LUKS2",
		Config: spec34 + `"storage":{"luks":[{"name":"v","device":"$D0","wipeVolume":true,"label":"new","keyFile":{"source":"data:,new"},` + quick + `}]}}`,
		After:  `echo -n new | cryptsetup open --test-passphrase --key-file - "$D0"; blkid -p -o value -s TYPE -s LABEL "$D0"`, Want: "new\ncrypto_LUKS",
	}
}

func TestLUKS(t *testing.T) { runCases(t, luksCases) }

// tangs starts servers A and B and gives their URLs, thumbprints and
// advertisements, the latter as the text of a JSON string.
func tangs(t *testing.T) map[string]string {
	t.Helper()
	vars := map[string]string{}
	for _, name := range []string{"A", "B"} {
		tang := StartTang(t)
		quoted, err := json.Marshal(tang.Advertisement)
		if err != nil {
			t.Fatal(err)
		}
		vars["URL"+name], vars["THP"+name], vars["ADV"+name] = tang.URL, tang.Thumbprint, strings.Trim(string(quoted), `"`)
	}
	return vars
}

const (
	tangA = `{"url":"$URLA","thumbprint":"$THPA"}`
	tangB = `{"url":"$URLB","thumbprint":"$THPB"}`
)

func clevis(fields string) string {
	return spec34 + `"storage":{"luks":[{"name":"v","device":"$D0","clevis":{` + fields + `},` + quick + `}]}}`
}

// unlocks closes the volume and has clevis open it.
const unlocks = `cryptsetup close v; clevis luks unlock -d "$D0" -n v; test -b /dev/mapper/v`

var clevisStages = []string{"fetch", "disks", "files"}

// TestClevis binds volumes to a TPM and to Tang servers, and opens them again.
func TestClevis(t *testing.T) {
	runCases(t, []Case{
		{Name: "TPM", Disks: []int{0}, Stages: clevisStages, Config: clevis(`"tpm2":true`), After: unlocks,
			Check: func(t *testing.T, r Result) { checkClevis(t, r, 1, "none luks,x-initrd.attach", true) }},
		{Name: "tang", Disks: []int{0}, Stages: clevisStages, Vars: tangs, Config: clevis(`"tang":[` + tangA + `]`), After: unlocks,
			Check: func(t *testing.T, r Result) { checkClevis(t, r, 1, "none luks,_netdev,x-initrd.attach", true) }},
		{Name: "tang that cannot be reached now", Disks: []int{0}, Stages: clevisStages, Vars: tangs, Slow: true,
			Config: clevis(`"tang":[{"url":"http://127.0.0.1:9","thumbprint":"$THPA","advertisement":"$ADVA"}]`), After: `test -b /dev/mapper/v`,
			Check: func(t *testing.T, r Result) { checkClevis(t, r, 1, "none luks,_netdev,x-initrd.attach", false) }},
		{Name: "two of two", Disks: []int{0}, Stages: clevisStages, Vars: tangs, Slow: true, Config: clevis(`"tang":[` + tangA + `,` + tangB + `],"threshold":2`), After: unlocks,
			Check: func(t *testing.T, r Result) { checkClevis(t, r, 1, "none luks,_netdev,x-initrd.attach", true) }},
		{Name: "tang and TPM", Disks: []int{0}, Stages: clevisStages, Vars: tangs, Slow: true, Config: clevis(`"tang":[` + tangA + `],"tpm2":true,"threshold":2`), After: unlocks,
			Check: func(t *testing.T, r Result) { checkClevis(t, r, 1, "none luks,_netdev,x-initrd.attach", true) }},
		{Name: "custom pin", Disks: []int{0}, Stages: clevisStages, Vars: tangs, Slow: true,
			Config: clevis(`"custom":{"pin":"tang","config":"{\"url\":\"$URLA\",\"thp\":\"$THPA\"}","needsNetwork":true}`), After: unlocks,
			Check: func(t *testing.T, r Result) { checkClevis(t, r, 1, "none luks,_netdev,x-initrd.attach", false) }},
		{Name: "a key of one's own stays", Disks: []int{0}, Stages: clevisStages, Slow: true,
			Config: spec34 + `"storage":{"luks":[{"name":"v","device":"$D0","clevis":{"tpm2":true},"keyFile":{"source":"data:,mine"},` + quick + `}]}}`,
			After:  `echo -n mine | cryptsetup open --test-passphrase --key-file - "$D0"; ` + unlocks,
			Check:  func(t *testing.T, r Result) { checkClevis(t, r, 2, "none luks,x-initrd.attach", true) }},
		{Name: "tang that is down", Disks: []int{0}, Stages: disksOnly, Fails: "disks", Within: 90 * time.Second,
			Config: `{"ignition":{"version":"3.4.0","timeouts":{"httpTotal":5}},"storage":{"luks":[{"name":"v","device":"$D0","clevis":{"tang":[{"url":"http://127.0.0.1:9","thumbprint":"x"}]},` + quick + `}]}}`,
			Error:  []string{"fetching tang advertisement: ", "$.storage.luks.0.clevis"}},
		{Name: "tang with another thumbprint", Disks: []int{0}, Stages: disksOnly, Fails: "disks", Vars: tangs, Slow: true, Within: 3 * time.Minute,
			Config: clevis(`"tang":[{"url":"$URLA","thumbprint":"$THPB"}]`),
			Error:  []string{"binding clevis device: ", "thumbprint", "$.storage.luks.0.clevis"}},
		{Name: "a TPM that refuses", Disks: []int{0}, Stages: disksOnly, Fails: "disks", Slow: true, Within: 3 * time.Minute,
			Before: `mount --bind /dev/null /dev/tpmrm0; mount --bind /dev/null /dev/tpm0`, Config: clevis(`"tpm2":true`),
			Error: []string{"binding clevis device: ", "$.storage.luks.0.clevis"}, After: `umount /dev/tpmrm0 /dev/tpm0`},
		{Name: "a threshold alone", Disks: []int{0}, Stages: disksOnly, Fails: "disks", Slow: true, Config: clevis(`"threshold":2`),
			Error: []string{"clevis needs at least one tang server or tpm2"}},
	})
}

// checkClevis looks at the header and at crypttab of a volume that clevis opens.
func checkClevis(t *testing.T, r Result, keyslots int, crypttab string, reopened bool) {
	t.Helper()
	l := r.Luks(t, "$D0")
	types := map[string]int{}
	for _, token := range l.Tokens {
		types[token.Type]++
	}
	if len(l.Keyslots) != keyslots || types["clevis"] != 1 || types["ignition"] != 0 {
		t.Errorf("%d key slots and tokens %v, want %d, one of clevis and none of ours", len(l.Keyslots), types, keyslots)
	}
	if got := r.Sh(t, `cut -d' ' -f 3- "$CASE/sysroot/etc/crypttab"`); got != crypttab {
		t.Errorf("crypttab says %q, want %q", got, crypttab)
	}
	if got := r.Sh(t, `ls -A "$CASE/sysroot/etc/luks" 2>/dev/null || true`); got != "" {
		t.Errorf("key files %q, want none", got)
	}
	if got := strings.Contains(r.Output(), "[finished] reopening clevis luks device v"); got != reopened {
		t.Errorf("reopened: %t, want %t", got, reopened)
	}
}
