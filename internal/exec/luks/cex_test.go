// SPDX-License-Identifier: Apache-2.0

package luks

import (
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"firstboot.dev/ignition/internal/config"
)

// apTree makes a tree as the kernel's, of queues and the text of their uevent
// files. Devices are links there; a name with a slash behind it is a plain directory.
func apTree(t *testing.T, devices map[string]string) string {
	t.Helper()
	dir := t.TempDir()
	list := filepath.Join(dir, "list")
	must(t, os.Mkdir(list, 0o755))
	for name, uevent := range devices {
		parent := dir
		if strings.HasSuffix(name, "/") {
			parent = list
		}
		real := filepath.Join(parent, name)
		must(t, os.Mkdir(real, 0o755))
		if uevent != "" {
			must(t, os.WriteFile(filepath.Join(real, "uevent"), []byte(uevent), 0o644))
		}
		if parent == dir {
			must(t, os.Symlink(real, filepath.Join(list, name)))
		}
	}
	return list
}

func TestGenerateCEX(t *testing.T) {
	const cca, ep11 = "DRIVER=cex4queue\nDEV_TYPE=000B\nMODE=cca\n", "DRIVER=cex4queue\nMODE=ep11\n"
	for _, row := range []struct {
		name    string
		devices map[string]string
		apqns   string
		err     string
	}{
		{"one", map[string]string{"00.0001": cca, "card00": "MODE=cca\n"}, "00.0001", ""},
		{"several", map[string]string{"03.00ff": cca, "00.0001": cca, "01.0001": ep11, "02.0001": "MODE=ccaX\ncca\n=\n", "0a.0001": "MODE=cca"},
			"00.0001,03.00ff,0a.0001", ""},
		{"a plain directory is no device", map[string]string{"00.0001": cca, "00.0002/": cca}, "00.0001", ""},
		{"no queues", map[string]string{"card00": cca}, "", "cannot find the cca ap controller"},
		{"only ep11", map[string]string{"00.0001": ep11}, "", "cannot find the cca ap controller"},
		{"uevent is missing", map[string]string{"00.0001": ""}, "", "failed to parse uevent file: open "},
		{"no bus", nil, "", "adjunct processor not found: open "},
	} {
		t.Run(row.name, func(t *testing.T) {
			b := stubs(t, "exit 0")
			b.APDevices = filepath.Join(t.TempDir(), "none")
			if row.devices != nil {
				b.APDevices = apTree(t, row.devices)
			}
			b.Repository = filepath.Join(t.TempDir(), "zkey/repository")
			checkError(t, b.GenerateCEX(t.Context(), plain), row.err)
			if row.err != "" {
				checkCalls(t, b)
				return
			}
			checkCalls(t, b, "zkey [generate] [--name] [ignition-luks-data] [--key-type] [CCA-AESCIPHER] [--xts] "+
				"[--description] [Secure Key for data Volume] [--apqns] ["+row.apqns+"]")
			checkLog(t, b, false, "[finished] generating cex secure keys")
			if info, err := os.Stat(b.Repository); err != nil || info.Mode() != fs.ModeDir|0o700 {
				t.Errorf("repository: %v, %v", info, err)
			}
		})
	}
	b := stubs(t, "exit 3")
	b.APDevices, b.Repository = apTree(t, map[string]string{"00.0001": cca}), t.TempDir()
	checkError(t, b.GenerateCEX(t.Context(), plain), "generating cex secure keys: exit status 3")
}

func TestFormatCEX(t *testing.T) {
	v := NewVolume(&config.LUKS{Name: "data", Label: ptr("l"), Options: []string{"--iter-time", "9"}, CEX: config.CEX{Enabled: ptr(true)}}, "/run/a/x", CEXKeyFile)
	b := stubs(t, "exit 0")
	b.Repository = t.TempDir()
	checkError(t, b.Format(t.Context(), v), "cryptsetup failed: cex volume key: ")
	checkCalls(t, b)
	if _, err := b.CEXFiles(v); err == nil || !strings.HasPrefix(err.Error(), "reading cex volume key: ") {
		t.Errorf("got %v for files that are not there", err)
	}

	key := filepath.Join(b.Repository, "ignition-luks-data.skey")
	must(t, os.WriteFile(key, make([]byte, 272), 0o600))
	must(t, os.WriteFile(filepath.Join(b.Repository, "ignition-luks-data.info"), []byte("info"), 0o600))
	checkError(t, b.Format(t.Context(), v), "")
	checkCalls(t, b, "cryptsetup [luksFormat] [--type] [luks2] [--key-file] [/etc/luks/cex.key] [--label] [l] [--iter-time] [9] [/run/a/x] "+
		"[--volume-key-file] ["+key+"] [--cipher] [paes-xts-plain64] [--key-size] [2176]")

	files, err := b.CEXFiles(v)
	must(t, err)
	if len(files) != 2 || string(files["ignition-luks-data.info"]) != "info" || len(files["ignition-luks-data.skey"]) != 272 {
		t.Errorf("got %v", files)
	}
	must(t, os.Truncate(key, maxCEXFile+1))
	if _, err := b.CEXFiles(v); err == nil || !strings.Contains(err.Error(), "is too long") {
		t.Errorf("got %v for a key of a MiB", err)
	}
}
