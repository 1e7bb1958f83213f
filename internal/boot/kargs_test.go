// SPDX-License-Identifier: Apache-2.0

package boot

import (
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"
)

func TestSplitAndJoin(t *testing.T) {
	for _, row := range []struct {
		text string
		args []string
		back string // "" = the same
	}{
		{"a b=c", []string{"a", "b=c"}, ""},
		{`  a   b="c d"  `, []string{"a", "b=c d"}, `a b="c d"`},
		{`"b=c d" e`, []string{"b=c d", "e"}, `b="c d" e`},
		{"", nil, ""},
		{"a.b*|/=x", []string{"a.b*|/=x"}, ""},
	} {
		got := splitArgs(row.text)
		if !slices.Equal(got, row.args) {
			t.Errorf("%q: %q, want %q", row.text, got, row.args)
		}
		want := row.back
		if want == "" {
			want = row.text
		}
		if back, err := joinArgs(got); err != nil || back != want {
			t.Errorf("%q: joined %q, %v", row.text, back, err)
		}
	}
	for _, bad := range []string{"", `a"b`, "a\nb", "two words", "two words=x"} {
		if out, err := joinArgs([]string{bad}); err == nil {
			t.Errorf("%q was written as %s", bad, out)
		}
	}
}

// entriesRow is one file of a boot loader, before and after.
type entriesRow struct {
	name      string
	edit      func(string, Kargs) (string, bool, error)
	text      string
	should    []string
	shouldNot []string
	want      string // "" = the same text
	found     bool
	fails     string
}

func grubenv(body string) string {
	return grubenvHead + body + strings.Repeat("#", grubenvSize-len(grubenvHead)-len(body))
}

var entriesRows = []entriesRow{
	{"OEM: empty", editAppend, "", []string{"a"}, nil, "set linux_append=\"$linux_append a\"\n", true, ""},
	{"OEM: others stay", editAppend, "set oem_id=\"ec2\"\nset linux_append=\"x\"", []string{"a=b c"}, nil,
		"set oem_id=\"ec2\"\nset linux_append=\"$linux_append x a=\\\"b c\\\"\"\n", true, ""},
	{"OEM: several lines become one", editAppend, "set linux_append=\"$linux_append x\"\n# c\nset linux_append=\"y x\"\n", []string{"a"}, []string{"x"},
		"# c\nset linux_append=\"$linux_append y a\"\n", true, ""},
	{"OEM: right already", editAppend, "set linux_append=\"$linux_append a=\\\"b c\\\"\"\n", []string{"a=b c"}, []string{"z"}, "", true, ""},
	{"OEM: adjacent duplicates", editAppend, "set linux_append=\"x x x\"\n", nil, []string{"x"}, "set linux_append=\"$linux_append \"\n", true, ""},
	{"OEM: a token is no pattern", editAppend, "set linux_append=\"axb a.b.c\"\n", []string{"a.b"}, []string{"a*"}, "set linux_append=\"$linux_append axb a.b.c a.b\"\n", true, ""},
	{"OEM: indented lines are not meant", editAppend, "  set linux_append=\"x\"\n", []string{"x"}, nil, "  set linux_append=\"x\"\nset linux_append=\"$linux_append x\"\n", true, ""},
	{"OEM: a quote", editAppend, "", []string{`a="b`}, nil, "", false, "cannot be written"},
	{"OEM: a dollar", editAppend, "", []string{"a=$b"}, nil, "set linux_append=\"$linux_append a=\\$b\"\n", true, ""},
	{"plain: empty", editPlain, "", []string{"a b", "c"}, nil, "a b\nc\n", true, ""},
	{"plain: changed", editPlain, "x\ny\nx\n", []string{"y", "z"}, []string{"x"}, "y\nz\n", true, ""},
	{"plain: right", editPlain, "y", []string{"y"}, []string{"x"}, "", true, ""},
	{"entry: added", editOptions, "title T\noptions root=/dev/a ro\nlinux /k\n", []string{"a"}, []string{"ro"}, "title T\noptions root=/dev/a a\nlinux /k\n", true, ""},
	{"entry: several lines", editOptions, "options a\noptions b", []string{"a", "c"}, nil, "options a\noptions b c", true, ""},
	{"entry: right", editOptions, "options a\noptions b\n", []string{"b"}, nil, "", true, ""},
	{"entry: none", editOptions, "title T\n", []string{"a"}, nil, "", false, ""},
	{"kernelopts: set, quoted", editKernelopts, "  set kernelopts=\"root=x quiet\"\nlinux $kernelopts\n", []string{"a=b|c"}, []string{"quiet"},
		"  set kernelopts=\"root=x a=b|c\"\nlinux $kernelopts\n", true, ""},
	{"kernelopts: bare", editKernelopts, "kernelopts=quiet\n", []string{"a"}, nil, "kernelopts=\"quiet a\"\n", true, ""},
	{"kernelopts: single quotes", editKernelopts, "set kernelopts='$x b'\n", []string{"a"}, nil, "set kernelopts='$x b a'\n", true, ""},
	{"kernelopts: broken quotes", editKernelopts, "set kernelopts=\"a\n", []string{"b"}, nil, "", false, "quotes"},
	{"kernelopts: right", editKernelopts, "set kernelopts=\"a  b\"\n", []string{"a"}, nil, "", true, ""},
	{"kernelopts: none", editKernelopts, "set x=kernelopts\n", []string{"a"}, nil, "", false, ""},
	{"grubenv: changed", editGrubenv, grubenv("saved=1\nkernelopts=root=x\\\\y quiet\n"), []string{"a"}, []string{"quiet"}, grubenv("saved=1\nkernelopts=root=x\\\\y a\n"), true, ""},
	{"grubenv: without", editGrubenv, grubenv("saved=1\n"), []string{"a"}, nil, "", false, ""},
	{"grubenv: of another size", editGrubenv, grubenvHead + "kernelopts=x\n", []string{"a"}, nil, "", false, ""},
	{"grubenv: full", editGrubenv, grubenv("kernelopts=x\n"), []string{strings.Repeat("y", 1000)}, nil, "", false, "do not fit"},
}

func TestEntries(t *testing.T) {
	for _, row := range entriesRows {
		t.Run(row.name, func(t *testing.T) {
			k := Kargs{row.should, row.shouldNot}
			got, found, err := row.edit(row.text, k)
			if row.fails != "" {
				if err == nil || !strings.Contains(err.Error(), row.fails) {
					t.Errorf("%q, %v; want %q", got, err, row.fails)
				}
				return
			}
			want := row.want
			if want == "" && row.found {
				want = row.text
			}
			if err != nil || found != row.found || found && got != want {
				t.Fatalf("found %t, %v, text\n%q\nwant\n%q", found, err, got, want)
			}
			if !found {
				return
			}
			if again, _, err := row.edit(got, k); err != nil || again != got {
				t.Errorf("a second change gives %q, %v", again, err)
			}
		})
	}
}

func TestChangeKargs(t *testing.T) {
	rebootTime = 50 * time.Millisecond
	const flatcar, upstream = "flatcar.first_boot=detected flatcar.oem.id=qemu root=LABEL=ROOT", "ignition.firstboot ignition.platform.id=qemu root=LABEL=ROOT"
	wish := Kargs{Should: []string{"selinux=0"}, ShouldNot: []string{"quiet"}}
	for _, row := range []struct {
		name, cmdline string
		live          bool
		make          func(r *rig)
		file, want    string // a file of the boot loader afterwards
		reboots       bool
		fails         string
	}{
		{"Flatcar", flatcar, false, func(r *rig) {
			r.filesystem("OEM", map[string]string{"grub.cfg": "set oem_id=\"qemu\"\n"})
			r.filesystem("EFI-SYSTEM", map[string]string{"flatcar/first_boot": "x"})
		}, "fs/OEM/grub.cfg", "set oem_id=\"qemu\"\nset linux_append=\"$linux_append selinux=0\"\n", true, ""},
		{"Flatcar, without a file, by hand", "flatcar.first_boot=1 flatcar.oem.id=qemu", false, func(r *rig) {
			r.filesystem("OEM", nil)
			r.filesystem("EFI-SYSTEM", nil)
		}, "fs/EFI-SYSTEM/flatcar/first_boot", "boot again after a change of kernel arguments\n", true, ""},
		{"active, entries too", flatcar + " selinux=0", false, func(r *rig) {
			r.filesystem("OEM", map[string]string{"grub.cfg": "set linux_append=\"selinux=0\"\n", stampFile: `{"boot":"before"}`})
		}, "fs/OEM/" + stampFile, "(none)", false, ""},
		{"active, entries not", flatcar + " selinux=0", false, func(r *rig) { r.filesystem("OEM", nil) },
			"fs/OEM/grub.cfg", "set linux_append=\"$linux_append selinux=0\"\n", false, ""},
		{"active, no entries", upstream + " selinux=0", false, func(*rig) {}, "fs/x", "(none)", false, ""},
		{"written, but not active", flatcar, false, func(r *rig) {
			r.filesystem("OEM", map[string]string{"grub.cfg": "set linux_append=\"selinux=0\"\n"})
		}, "fs/OEM/grub.cfg", "set linux_append=\"selinux=0\"\n", false, "in the boot configuration but not active"},
		{"written before, gone again", flatcar, false, func(r *rig) {
			r.filesystem("OEM", map[string]string{"grub.cfg": "", stampFile: `{"shouldExist":["selinux=0"],"shouldNotExist":["quiet"],"boot":"before"}`})
		}, "fs/OEM/grub.cfg", "", false, "gone again"},
		{"other arguments were written before", flatcar, false, func(r *rig) {
			r.filesystem("OEM", map[string]string{"grub.cfg": "", stampFile: `{"shouldExist":["other"],"boot":"before"}`})
		}, "fs/OEM/grub.cfg", "set linux_append=\"$linux_append selinux=0\"\n", true, ""},
		{"nothing that can be changed", upstream, false, func(r *rig) { r.filesystem("boot", map[string]string{"x": ""}) }, "fs/boot/x", "", false, "found no boot configuration"},
		{"plain file", upstream, false, func(r *rig) { r.filesystem("boot", map[string]string{"ignition-kargs": "quiet\n"}) }, "fs/boot/ignition-kargs", "selinux=0\n", true, ""},
		{"entries", upstream, false, func(r *rig) {
			r.filesystem("boot", map[string]string{"loader/entries/a.conf": "options quiet\n", "grub2/grub.cfg": "set kernelopts=\"x\"\n"})
		}, "fs/boot/loader/entries/a.conf", "options selinux=0\n", true, ""},
		{"grub.cfg of upstream", upstream, false, func(r *rig) { r.filesystem("boot", map[string]string{"grub/grub.cfg": "set kernelopts=\"x quiet\"\n"}) },
			"fs/boot/grub/grub.cfg", "set kernelopts=\"x selinux=0\"\n", true, ""},
		{"/boot of the root", upstream, false, func(r *rig) {
			r.filesystem("ROOT", map[string]string{"boot/grub/grub.cfg": "set kernelopts=\"x\"\n"})
		}, "fs/ROOT/boot/grub/grub.cfg", "set kernelopts=\"x selinux=0\"\n", true, ""},
		{"live, differs", upstream, true, func(r *rig) { r.filesystem("boot", map[string]string{"ignition-kargs": ""}) }, "fs/boot/ignition-kargs", "", false, "cannot affect live system"},
		{"live, active", upstream + " selinux=0", true, func(*rig) {}, "fs/x", "(none)", false, ""},
		{"unwanted one is active", upstream + " selinux=0 quiet", false, func(r *rig) { r.filesystem("boot", map[string]string{"ignition-kargs": "quiet\nselinux=0\n"}) },
			"fs/boot/ignition-kargs", "selinux=0\n", true, ""},
		{"a filesystem that cannot be mounted", flatcar, false, func(r *rig) { r.filesystem("OEM", nil); r.broken["OEM"] = errors.New("bad superblock") }, "fs/x", "(none)", false, `boot configuration on the filesystem labelled "OEM": bad superblock`},
	} {
		t.Run(row.name, func(t *testing.T) {
			r := newRig(t, row.cmdline)
			r.program("systemctl", `echo "$@" >>`+r.dir+"/calls")
			if row.live {
				r.program("is-live-image", "exit 0")
			}
			row.make(r)
			err := r.ChangeKargs(t.Context(), wish)
			fails := row.fails
			if row.reboots {
				fails = "the machine did not reboot"
			}
			if (err == nil) != (fails == "") || err != nil && !strings.Contains(err.Error(), fails) {
				t.Errorf("%v, want %q\n%s", err, fails, r.log.String())
			}
			if got := r.read("calls"); (got == "reboot --force\n") != row.reboots || !row.reboots && got != "(none)" {
				t.Errorf("systemctl was called with %q", got)
			}
			if got := r.read(row.file); got != row.want {
				t.Errorf("%s is %q, want %q", row.file, got, row.want)
			}
			stamps, _ := filepath.Glob(filepath.Join(r.dir, "fs/*/"+stampFile))
			boots, _ := filepath.Glob(filepath.Join(r.dir, "fs/*/boot/"+stampFile))
			if row.reboots && len(stamps)+len(boots) != 1 {
				t.Errorf("stamps %q", append(stamps, boots...))
			}
		})
	}
}

// TestRewriteIsWhole: a file that cannot be replaced stays as it was.
func TestRewriteIsWhole(t *testing.T) {
	dir := t.TempDir()
	name := filepath.Join(dir, "grub.cfg")
	if err := errors.Join(os.WriteFile(name, []byte("old"), 0o644), os.Mkdir(name+".new", 0o755)); err != nil {
		t.Fatal(err)
	}
	if err := rewrite(name, []byte("new")); err == nil {
		t.Error("no error")
	}
	if raw, err := os.ReadFile(name); err != nil || string(raw) != "old" {
		t.Errorf("%q, %v", raw, err)
	}
}
