// SPDX-License-Identifier: Apache-2.0

package plan

import (
	"bytes"
	"errors"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// TestDiff has the whole of small ones.
func TestDiff(t *testing.T) {
	long := strings.Repeat("same\n", 10)
	for name, tt := range map[string]struct{ old, new, want string }{
		"equal":        {"a\n", "a\n", ""},
		"new file":     {"\x00none", "a\nb\n", "--- /dev/null\n+++ b/f\n@@ -0,0 +1,2 @@\n+a\n+b\n"},
		"gone":         {"a\n", "\x00none", "--- a/f\n+++ /dev/null\n@@ -1 +0,0 @@\n-a\n"},
		"changed":      {"a\nb\nc\n", "a\nB\nc\n", "--- a/f\n+++ b/f\n@@ -1,3 +1,3 @@\n a\n-b\n+B\n c\n"},
		"no end":       {"a", "a\n", "--- a/f\n+++ b/f\n@@ -1 +1 @@\n-a\n\\ No newline at end of file\n+a\n"},
		"two hunks":    {"x\n" + long + "y\n", "X\n" + long + "Y\n", "--- a/f\n+++ b/f\n@@ -1,4 +1,4 @@\n-x\n+X\n same\n same\n same\n@@ -9,4 +9,4 @@\n same\n same\n same\n-y\n+Y\n"},
		"in the midst": {long + long, long + "new\n" + long, "--- a/f\n+++ b/f\n@@ -18,3 +18,4 @@\n same\n same\n same\n+new\n"},
		"binary":       {"\x01\n", "a\n", "content not shown: binary; 2 bytes become 2 bytes\n"},
		"large":        {"a\n", strings.Repeat("x", MaxDiff+1), "content not shown: large; 2 bytes become 256.0 KiB\n"},
	} {
		text := func(s string) []byte {
			if s == "\x00none" {
				return nil
			}
			return []byte(s)
		}
		got := Diff("/f", text(tt.old), text(tt.new))
		if name == "in the midst" { // where equal lines stand is open; how many is not
			if strings.Count(got, "\n+") != 2 || strings.Count(got, "\n-") != 0 {
				t.Errorf("%s:\n%s", name, got)
			}
			continue
		}
		if got != tt.want {
			t.Errorf("%s:\n%s\nwant:\n%s", name, got, tt.want)
		}
	}
}

// TestDiffApplies: patch makes the new text of the old one, whatever they are.
func TestDiffApplies(t *testing.T) {
	if _, err := exec.LookPath("patch"); err != nil {
		t.Skip("needs patch")
	}
	r := rand.New(rand.NewPCG(1, 2))
	text := func() []byte {
		var b []byte
		for n := r.IntN(40); n > 0; n-- {
			b = append(b, byte('a'+r.IntN(4)), '\n')
		}
		if len(b) > 0 && r.IntN(3) == 0 {
			b = b[:len(b)-1]
		}
		return b
	}
	dir := t.TempDir()
	file := filepath.Join(dir, "f")
	for i := range 300 {
		old, want := text(), text()
		if len(old) == 0 || len(want) == 0 || bytes.Equal(old, want) {
			continue
		}
		if err := os.WriteFile(file, old, 0o600); err != nil {
			t.Fatal(err)
		}
		diff := Diff("/f", old, want)
		c := exec.Command("patch", "-s", "-d", dir, "f")
		c.Stdin = strings.NewReader(diff)
		out, err := c.CombinedOutput()
		got, _ := os.ReadFile(file)
		if err != nil || !bytes.Equal(got, want) {
			t.Fatalf("case %d: %v %s\nold %q\nwant %q\ngot %q\n%s", i, err, out, old, want, got, diff)
		}
	}
}

// TestDiffManyEdits: texts without anything in common end soon, as all of both.
func TestDiffManyEdits(t *testing.T) {
	var a, b strings.Builder
	for i := range 20000 {
		a.WriteString(strings.Repeat("a", i%7) + "\n")
		b.WriteString(strings.Repeat("b", i%5) + "x\n")
	}
	got := Diff("/f", []byte(a.String()), []byte(b.String()))
	if minus, plus := strings.Count(got, "\n-"), strings.Count(got, "\n+"); minus != 20000 || plus != 20001 {
		t.Errorf("%d lines out, %d in (one of them the header's)", minus, plus)
	}
}

// TestHash: what is printed is read; what is not whole is told.
func TestHash(t *testing.T) {
	whole := Hash{Config: ConfigDigest([]byte("c")), Files: Digest(nil, nil)}
	text := whole.String()
	if got, err := ParseHash(text); err != nil || got != whole {
		t.Errorf("%+v, %v, want %+v", got, err, whole)
	}
	for n := range len(text) {
		_, err := ParseHash(text[:n])
		switch {
		case err == nil:
			t.Fatalf("the first %d of %d characters are taken", n, len(text))
		case n > len(hashVersion) && !strings.Contains(err.Error(), "is cut short"):
			t.Errorf("%q: %v", text[:n], err)
		}
	}
	for i := range len(text) {
		wrong := text[:i] + "f" + text[i+1:]
		if text[i] == 'f' {
			wrong = text[:i] + "0" + text[i+1:]
		}
		if _, err := ParseHash(wrong); err == nil {
			t.Errorf("%q is taken for %q", wrong, text)
		}
	}
	if _, err := ParseHash(text + "0"); err == nil {
		t.Error("a longer one is taken")
	}
	if _, err := ParseHash("p2" + text[2:]); err == nil || !strings.Contains(err.Error(), "another version") {
		t.Errorf("another version: %v", err)
	}
}

// TestDigest: what is kept and where the root stands does not count; all else does.
func TestDigest(t *testing.T) {
	list := []Operation{
		{Kind: "write-file", Path: "/etc/x", Config: "$.storage.files.0", Effect: Create, Desc: "writing file \"/a/etc/x\"", Fetches: &Download{URL: "u", Hash: "h"}},
		{Kind: "write-file", Path: "/etc/y", Config: "$.storage.files.1", Effect: Keep},
	}
	base := Digest(nil, list)
	list[0].Desc = "writing file \"/b/etc/x\""
	if Digest(nil, list) != base || Digest(nil, list[:1]) != base {
		t.Error("the digest has what it should not")
	}
	for name, change := range map[string]func(*Operation){
		"kind":   func(o *Operation) { o.Kind = "k" },
		"path":   func(o *Operation) { o.Path = "p" },
		"config": func(o *Operation) { o.Config = "c" },
		"effect": func(o *Operation) { o.Effect = Change },
		"url":    func(o *Operation) { o.Fetches = &Download{URL: "v", Hash: "h"} },
		"exact":  func(o *Operation) { o.Exact = "--new=1" },
		"loss":   func(o *Operation) { o.Loses = "all" },
		"hash":   func(o *Operation) { o.Fetches = &Download{URL: "u", Hash: "i"} },
	} {
		other := []Operation{list[0]}
		change(&other[0])
		if Digest(nil, other) == base {
			t.Errorf("the digest is the same with another %s", name)
		}
	}
	if Digest([]byte("{}"), list) == base {
		t.Error("the digest is the same with another config")
	}
	if err := Check("files", base, Digest(nil, nil)); !errors.Is(err, ErrDiffers) || !strings.Contains(err.Error(), base) {
		t.Errorf("%v", err)
	}
	if Check("files", "", base) != nil || Check("files", base, base) != nil {
		t.Error("what is the same, or was not looked at, is refused")
	}
}

// TestText has every kind of line, and nothing that steers a terminal.
func TestText(t *testing.T) {
	p := &Plan{
		Operations: []Operation{
			{Stage: "disks", Kind: "k", Config: "$.storage.disks.0", Effect: Change, Desc: "partitioning \"/dev/\x1b[2Jvda\"", Loses: "partition 1"},
			{Stage: "files", Effect: Create, Desc: "writing a", Fetches: &Download{URL: "https://h/a", Size: 1536}, Diff: "--- /dev/null\n+++ b/a\n@@ -0,0 +1 @@\n+x\r\n"},
			{Stage: "files", Effect: Delete, Desc: "disabling b", Depends: "the weather"},
			{Stage: "files", Effect: Keep, Desc: "writing c"},
		},
		Unknown: []string{"the rest"},
	}
	want := `stage disks:
  ~ partitioning "/dev/\x1b[2Jvda"  ($.storage.disks.0)
      irreversible: partition 1
stage files:
  + writing a
      downloads https://h/a (1.5 KiB, no hash in the config)
      --- /dev/null
      +++ b/a
      @@ -0,0 +1 @@
      +x\x0d
  - disabling b
      depends on: the weather
not known: the rest
1 to create, 1 to change, 1 to delete, 1 as the config says; 1 irreversible; 1 to download (1.5 KiB of 1); 1 not known
`
	var out strings.Builder
	if err := p.Text(&out, Style{}); err != nil || out.String() != want {
		t.Errorf("%v\n%s\nwant:\n%s", err, out.String(), want)
	}
	out.Reset()
	if err := p.Text(&out, Style{Color: true, All: true}); err != nil {
		t.Fatal(err)
	}
	for _, part := range []string{red + "      irreversible: partition 1" + plainText, "  = writing c", green + "  + writing a" + plainText} {
		if !strings.Contains(out.String(), part) {
			t.Errorf("no %q in\n%s", part, out.String())
		}
	}
	if got := (&Plan{}).Summary(); got != "nothing to do, 0 as the config says" {
		t.Error(got)
	}
}
