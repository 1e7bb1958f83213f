// SPDX-License-Identifier: Apache-2.0

package platform

import (
	"context"
	"errors"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"firstboot.dev/ignition/internal/providers"
	"firstboot.dev/ignition/internal/resource"
)

// TestTable keeps the table usable: unique ids, each with a fetch.
func TestTable(t *testing.T) {
	names := Names()
	if !slices.IsSorted(names) || len(slices.Compact(slices.Clone(names))) != len(names) {
		t.Errorf("ids are not sorted and unique: %v", names)
	}
	for _, p := range table {
		if p.Fetch == nil {
			t.Errorf("%s has no fetch", p.Name)
		}
		if _, taken := aliases[p.Name]; taken {
			t.Errorf("%s is an alias and a platform", p.Name)
		}
	}
}

// TestDocumented fails when a platform or an alias has no row in the document,
// and when the document has a row of neither.
func TestDocumented(t *testing.T) {
	raw, err := os.ReadFile("../../docs/platforms.md")
	if err != nil {
		t.Fatal(err)
	}
	platforms := rows(t, string(raw), "The platforms")
	for _, name := range Names() {
		if _, ok := platforms[name]; !ok {
			t.Errorf("docs/platforms.md has no row for platform %q", name)
		}
	}
	for name := range platforms {
		if !slices.Contains(Names(), name) {
			t.Errorf("docs/platforms.md has a row for %q, which is no platform", name)
		}
	}
	documented := rows(t, string(raw), "Which platform")
	for alias, to := range aliases {
		if documented[alias] != to {
			t.Errorf("docs/platforms.md says that alias %q is handled as %q, want %q", alias, documented[alias], to)
		}
	}
	for alias := range documented {
		if _, ok := aliases[alias]; !ok && alias != "vagrant" {
			t.Errorf("docs/platforms.md has a row for alias %q, which is none", alias)
		}
	}
	if documented["vagrant"] != "metal" {
		t.Errorf("docs/platforms.md: vagrant is %q", documented["vagrant"])
	}
}

// rows gives the first cell of each table row of a section, and the id that begins the second.
func rows(t *testing.T, text, heading string) map[string]string {
	t.Helper()
	_, text, ok := strings.Cut(text, "\n## "+heading+"\n")
	if !ok {
		t.Fatalf("docs/platforms.md has no section %q", heading)
	}
	text, _, _ = strings.Cut(text, "\n## ")
	found := map[string]string{}
	for _, m := range regexp.MustCompile("(?m)^\\| `([^`]+)` \\| (?:`([^`]+)`)?").FindAllStringSubmatch(text, -1) {
		found[m[1]] = m[2]
	}
	return found
}

func TestResolve(t *testing.T) {
	for _, row := range []struct {
		id, want, note string
		virtualBox     bool
		err            string
	}{
		{id: "aws", want: "aws"},
		{id: "applehv", want: "applehv"},
		{id: "file", want: "file"},
		{id: "hyperv", want: "hyperv"},
		{id: "metal", want: "metal"},
		{id: "nvidiabluefield", want: "nvidiabluefield"},
		{id: "qemu", want: "qemu"},
		{id: "virtualbox", want: "virtualbox"},
		{id: "vmware", want: "vmware"},
		{id: "zvm", want: "zvm"},
		{id: "ec2", want: "aws", note: `platform "ec2" is handled as "aws"`},
		{id: "pxe", want: "metal", note: `platform "pxe" is handled as "metal"`},
		{id: "cloudsigma", want: "metal", note: `platform "cloudsigma" is handled as "metal"`},
		{id: "rackspace", want: "metal", note: `platform "rackspace" is handled as "metal"`},
		{id: "rackspace-onmetal", want: "metal", note: `platform "rackspace-onmetal" is handled as "metal"`},
		{id: "interoute", want: "metal", note: `platform "interoute" is handled as "metal"`},
		{id: "niftycloud", want: "metal", note: `platform "niftycloud" is handled as "metal"`},
		{id: "vagrant", want: "metal", note: `platform "vagrant" is handled as "metal"`},
		{id: "vagrant-virtualbox", want: "virtualbox", note: `platform "vagrant-virtualbox" is handled as "virtualbox"`},
		{id: "", err: " is not a valid platform"},
		{id: "x", err: "x is not a valid platform"},
		{id: "AWS", err: "AWS is not a valid platform"},
		{id: "cmdline", err: "cmdline is not a valid platform"},
		{id: "system", err: "system is not a valid platform"},
	} {
		t.Run(row.id, func(t *testing.T) {
			p, name, note, err := resolve(row.id, func() bool { return row.virtualBox })
			if row.err != "" {
				if err == nil || err.Error() != row.err {
					t.Fatalf("error %v, want %q", err, row.err)
				}
				return
			}
			if err != nil || name != row.want || p.Name != row.want || note != row.note {
				t.Errorf("got %q (%q), note %q, error %v; want %q, note %q", name, p.Name, note, err, row.want, row.note)
			}
		})
	}
}

// TestResolveAhead covers the aliases of platforms that the table may lack: a
// Vagrant box must boot either way.
func TestResolveAhead(t *testing.T) {
	saved := table
	defer func() { table = saved }()
	inside, outside := func() bool { return true }, func() bool { return false }
	without := slices.DeleteFunc(slices.Clone(saved), func(p providers.Provider) bool { return p.Name == "virtualbox" || p.Name == "gcp" })
	with := append(slices.Clone(without), providers.Provider{Name: "virtualbox"}, providers.Provider{Name: "gcp"})
	for _, row := range []struct {
		name, id, want string
		table          []providers.Provider
		guest          func() bool
	}{
		{"vagrant in virtualbox", "vagrant", "virtualbox", with, inside},
		{"vagrant elsewhere", "vagrant", "metal", with, outside},
		{"vagrant without a virtualbox provider", "vagrant", "metal", without, inside},
		{"old name of virtualbox", "vagrant-virtualbox", "virtualbox", with, outside},
		{"old name without the provider", "vagrant-virtualbox", "", without, outside},
		{"gce", "gce", "gcp", with, outside},
		{"gce without the provider", "gce", "", without, outside},
	} {
		t.Run(row.name, func(t *testing.T) {
			table = row.table
			_, name, _, err := resolve(row.id, row.guest)
			if name != row.want || (err == nil) != (row.want != "") {
				t.Errorf("got %q, %v; want %q", name, err, row.want)
			}
		})
	}
}

func TestParseCommandLine(t *testing.T) {
	for _, row := range []struct {
		name, raw string
		want      []providers.Arg
	}{
		{"empty", "", nil},
		{"only white space", " \t\n", nil},
		{"no equals sign", "quiet ro\n", nil},
		{"one", "a=b\n", []providers.Arg{{Key: "a", Value: "b"}}},
		{"split at the first equals sign", "a=b=c", []providers.Arg{{Key: "a", Value: "b=c"}}},
		{"empty value and key", "a= =b", []providers.Arg{{Key: "a"}, {Value: "b"}}},
		{"tabs, newlines, several blanks", "a=1\tb=2\n  c=3", []providers.Arg{{Key: "a", Value: "1"}, {Key: "b", Value: "2"}, {Key: "c", Value: "3"}}},
		{"repeated, in order", "a=1 a=2", []providers.Arg{{Key: "a", Value: "1"}, {Key: "a", Value: "2"}}},
		{"quotes mean nothing", `a="b c=d"`, []providers.Arg{{Key: "a", Value: `"b`}, {Key: "c", Value: `d"`}}},
	} {
		t.Run(row.name, func(t *testing.T) {
			if got := ParseCommandLine(row.raw); !slices.Equal(got, row.want) {
				t.Errorf("got %q, want %q", got, row.want)
			}
		})
	}
}

func TestFromCommandLine(t *testing.T) {
	for _, row := range []struct {
		name, line, virt string
		want             string
		unnamed, asked   bool
	}{
		{name: "nothing", line: "quiet root=/dev/sda", unnamed: true},
		{name: "upstream", line: "ignition.platform.id=aws", want: "aws"},
		{name: "upstream, last wins", line: "ignition.platform.id=aws ignition.platform.id=qemu", want: "qemu"},
		{name: "upstream, empty", line: "ignition.platform.id=", unnamed: true},
		{name: "upstream before flatcar", line: "flatcar.oem.id=ec2 ignition.platform.id=metal", want: "metal"},
		{name: "flatcar", line: "flatcar.oem.id=ec2", want: "ec2", asked: true},
		{name: "flatcar, last wins", line: "flatcar.oem.id=ec2 flatcar.oem.id=qemu", want: "qemu", asked: true},
		{name: "flatcar under kvm", line: "flatcar.oem.id=ec2", virt: "kvm", want: "ec2", asked: true},
		{name: "only the old name", line: "coreos.oem.id=ec2", want: "ec2", asked: true},
		{name: "both", line: "flatcar.oem.id=ec2 coreos.oem.id=gce", want: "ec2", asked: true},
		{name: "explicit default and old name", line: "flatcar.oem.id=metal coreos.oem.id=ec2", want: "ec2", asked: true},
		{name: "explicit default under kvm and old name", line: "flatcar.oem.id=qemu coreos.oem.id=ec2", virt: "kvm", want: "ec2", asked: true},
		{name: "not the default under kvm", line: "flatcar.oem.id=metal coreos.oem.id=ec2", virt: "kvm", want: "metal", asked: true},
		{name: "empty is absent", line: "flatcar.oem.id= coreos.oem.id=ec2", want: "ec2", asked: true},
		{name: "first boot alone", line: "flatcar.first_boot=detected", want: "metal", asked: true},
		{name: "first boot alone under kvm", line: "flatcar.first_boot=detected", virt: "kvm", want: "qemu", asked: true},
		{name: "first boot alone under qemu", line: "coreos.first_boot=1", virt: "qemu", want: "qemu", asked: true},
		{name: "first boot alone under another", line: "coreos.first_boot=1", virt: "vmware", want: "metal", asked: true},
	} {
		t.Run(row.name, func(t *testing.T) {
			args := ParseCommandLine(row.line)
			if got := Named(args); got == row.unnamed {
				t.Fatalf("Named is %v", got)
			}
			if row.unnamed {
				return
			}
			asked := false
			got := FromCommandLine(args, func() string { asked = true; return row.virt })
			if got != row.want || asked != row.asked {
				t.Errorf("got %q (virtualisation asked for: %v), want %q (%v)", got, asked, row.want, row.asked)
			}
		})
	}
}

// FuzzCommandLine checks that the split loses and invents nothing, and that no
// line makes the choice of a platform fail.
func FuzzCommandLine(f *testing.F) {
	for _, seed := range []string{
		"", "quiet", "BOOT_IMAGE=/boot/vmlinuz root=LABEL=ROOT rootflags=rw consoleblank=0 flatcar.first_boot=detected flatcar.oem.id=ec2\n",
		"ignition.platform.id=aws ignition.config.url=https://user:pw@example.com/c.ign?a=b", "= == a= =b a==b", "a=\x00 b=\xff\xfe", "flatcar.oem.id= coreos.oem.id=\t",
	} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, line string) {
		args := ParseCommandLine(line)
		words := strings.Fields(line)
		i := 0
		for _, w := range words {
			if !strings.Contains(w, "=") {
				continue
			}
			if i == len(args) || args[i].Key+"="+args[i].Value != w || strings.Contains(args[i].Key, "=") {
				t.Fatalf("word %q of %q was read as %q", w, line, args)
			}
			i++
		}
		if i != len(args) {
			t.Fatalf("%d words became %d arguments", i, len(args))
		}
		if Named(args) && FromCommandLine(args, func() string { return "" }) == "" {
			t.Fatalf("%q names a platform, but an empty one", line)
		}
	})
}

// TestNeedsNetwork checks every platform while the network is forbidden: one
// that needs it says so at once and touches nothing, any other answers.
func TestNeedsNetwork(t *testing.T) {
	for _, p := range table {
		t.Run(p.Name, func(t *testing.T) {
			dir := t.TempDir()
			if err := os.WriteFile(dir+"/config.ign", nil, 0o600); err != nil {
				t.Fatal(err)
			}
			touched := ""
			env := &providers.Env{
				Log:        silence{},
				Fetcher:    resource.New(resource.Options{}).Offline(),
				SysDir:     dir,
				LabelDir:   dir + "/by-label",
				ConfigFile: dir + "/config.ign",
				Arch:       "amd64",
				Mount: func(_ context.Context, _, device string) (string, func(), error) {
					touched = device
					return "", nil, errors.New("no device")
				},
				Modprobe: func(_ context.Context, module string) error { touched = module; return nil },
				DevDir:   dir,
				Run: func(_ context.Context, _, name string, _ ...string) ([]byte, []byte, error) {
					touched = name
					return nil, nil, nil
				},
			}
			ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
			defer cancel()
			res, err := p.Fetch(ctx, env)
			if errors.Is(err, resource.ErrNeedNet) != p.NeedsNetwork {
				t.Errorf("error %v; the table says that it needs the network: %v", err, p.NeedsNetwork)
			}
			if p.NeedsNetwork && (touched != "" || len(res.Raw) != 0) {
				t.Errorf("touched %q, got %q", touched, res.Raw)
			}
			// These need their hypervisor instead.
			hypervisor := slices.Contains([]string{"applehv", "hyperv", "virtualbox", "vmware"}, p.Name)
			if !p.NeedsNetwork && (err != nil) != hypervisor {
				t.Errorf("error %v", err)
			}
		})
	}
}

// silence is a log that nobody reads.
type silence struct{}

func (silence) Debug(string, ...any)   {}
func (silence) Info(string, ...any)    {}
func (silence) Warning(string, ...any) {}
func (silence) Err(string, ...any)     {}
