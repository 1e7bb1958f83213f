// SPDX-License-Identifier: Apache-2.0

package platform

import (
	"os"
	"reflect"
	"slices"
	"strings"
	"testing"

	"firstboot.dev/ignition/internal/providers"
)

// TestDocs: a platform without a row in the docs is not there for a reader.
func TestDocs(t *testing.T) {
	raw, err := os.ReadFile("../../docs/platforms.md")
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range Names() {
		if !strings.Contains(string(raw), "\n| `"+name+"` |") {
			t.Errorf("docs/platforms.md has no row for %s", name)
		}
	}
}

func TestTable(t *testing.T) {
	names := Names()
	if !slices.IsSorted(names) || len(slices.Compact(slices.Clone(names))) != len(names) {
		t.Errorf("names are not sorted or not unique: %v", names)
	}
	for _, p := range table {
		if p.Fetch == nil {
			t.Errorf("%s has no Fetch", p.Name)
		}
		if _, clash := aliases[p.Name]; clash {
			t.Errorf("%s is a platform and an alias", p.Name)
		}
	}
}

func TestResolve(t *testing.T) {
	for _, row := range []struct {
		id    string
		guest bool
		want  string // "" = not valid
	}{
		{"aws", false, "aws"},
		{"ec2", false, "aws"},
		{"EC2", false, ""},
		{"pxe", false, "metal"},
		{"metal", false, "metal"},
		{"cloudsigma", false, "metal"},
		{"rackspace", false, "metal"},
		{"rackspace-onmetal", false, "metal"},
		{"interoute", false, "metal"},
		{"niftycloud", false, "metal"},
		{"vagrant", false, "metal"},
		{"vagrant", true, ""}, // virtualbox has no provider yet
		{"gce", false, ""},    // gcp has none yet
		{"cmdline", false, ""},
		{"system", false, ""},
		{"", false, ""},
		{"nonsense", false, ""},
	} {
		t.Run(row.id, func(t *testing.T) {
			p, name, note, err := resolve(row.id, func() bool { return row.guest })
			if row.want == "" {
				if err == nil || err.Error() != row.id+" is not a valid platform" {
					t.Errorf("got %q, %v", name, err)
				}
				return
			}
			if err != nil || name != row.want || p.Name != row.want {
				t.Fatalf("got %q, %v, want %q", name, err, row.want)
			}
			if (note != "") != (row.id != row.want) {
				t.Errorf("note %q", note)
			}
		})
	}
}

func TestFromCommandLine(t *testing.T) {
	for _, row := range []struct {
		name, line, virt string
		named            bool
		want             string
	}{
		{"nothing", "quiet", "none", false, "metal"},
		{"upstream's argument", "ignition.platform.id=aws", "kvm", true, "aws"},
		{"the last one counts", "ignition.platform.id=aws ignition.platform.id=qemu", "none", true, "qemu"},
		{"flatcar's", "flatcar.oem.id=ec2", "none", true, "ec2"},
		{"legacy only", "coreos.oem.id=ec2", "none", true, "ec2"},
		{"both", "flatcar.oem.id=gce coreos.oem.id=ec2", "none", true, "gce"},
		{"explicit default and legacy", "flatcar.oem.id=metal coreos.oem.id=ec2", "none", true, "ec2"},
		{"explicit qemu under kvm and legacy", "flatcar.oem.id=qemu coreos.oem.id=ec2", "kvm", true, "ec2"},
		{"explicit metal under kvm", "flatcar.oem.id=metal coreos.oem.id=ec2", "qemu", true, "metal"},
		{"default under qemu", "flatcar.first_boot=1", "qemu", false, "qemu"},
		{"upstream's before flatcar's", "flatcar.oem.id=ec2 ignition.platform.id=metal", "none", true, "metal"},
		{"empty", "flatcar.oem.id=", "none", false, "metal"},
	} {
		t.Run(row.name, func(t *testing.T) {
			args := ParseCommandLine(row.line)
			if got := Named(args); got != row.named {
				t.Errorf("named: %v", got)
			}
			if got := FromCommandLine(args, func() string { return row.virt }); got != row.want {
				t.Errorf("got %q, want %q", got, row.want)
			}
		})
	}
}

func TestParseCommandLine(t *testing.T) {
	for _, row := range []struct {
		line string
		want []providers.Arg
	}{
		{"", nil},
		{"quiet ro\n", nil},
		{"a=b\tc=d=e  f=\n", []providers.Arg{{Key: "a", Value: "b"}, {Key: "c", Value: "d=e"}, {Key: "f", Value: ""}}},
		{`x="a b"`, []providers.Arg{{Key: "x", Value: `"a`}}},
		{"=v", []providers.Arg{{Key: "", Value: "v"}}},
	} {
		if got := ParseCommandLine(row.line); !reflect.DeepEqual(got, row.want) {
			t.Errorf("%q: got %v, want %v", row.line, got, row.want)
		}
	}
}

func FuzzCommandLine(f *testing.F) {
	for _, seed := range []string{
		"", "quiet", "BOOT_IMAGE=/flatcar/vmlinuz-a mount.usr=/dev/mapper/usr flatcar.first_boot=detected flatcar.oem.id=ec2",
		"ignition.config.url=data:,%7B%7D a==b = == \x00=\xff",
	} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, line string) {
		for _, a := range ParseCommandLine(line) {
			if strings.Contains(a.Key, "=") || strings.ContainsAny(a.Key+a.Value, " \t\n") || !strings.Contains(line, a.Key+"="+a.Value) {
				t.Errorf("%q gave %+v", line, a)
			}
		}
	})
}
