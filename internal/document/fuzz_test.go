// SPDX-License-Identifier: Apache-2.0

package document

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"path/filepath"
	"strings"
	"testing"

	"firstboot.dev/ignition/internal/butane"
	"firstboot.dev/ignition/internal/config"
	"firstboot.dev/ignition/internal/config/legacy"
	"github.com/rogpeppe/go-internal/txtar"
)

// inputs gives the documents of the corpora of all languages.
func inputs(t testing.TB) (all [][]byte) {
	t.Helper()
	for _, pattern := range []string{"../butane/testdata/corpus/*/*.txtar", "../config/legacy/testdata/*/*.txtar", "../config/testdata/corpus/*/*.txtar"} {
		names, err := filepath.Glob(pattern)
		if err != nil || len(names) == 0 {
			t.Fatalf("%s: no cases, %v", pattern, err)
		}
		for _, name := range names {
			a, err := txtar.ParseFile(name)
			if err != nil {
				t.Fatal(err)
			}
			all = append(all, documents(a)...)
		}
	}
	return all
}

// documents gives the inputs of one case, with the dialects and versions that stand for theirs.
func documents(a *txtar.Archive) (all [][]byte) {
	dialects := []string{"flatcar 1.1.0"}
	for line := range strings.Lines(string(a.Comment)) {
		if rest, ok := strings.CutPrefix(strings.TrimSpace(line), "for: "); ok {
			dialects = strings.Split(rest, ", ")
		}
	}
	for _, f := range a.Files {
		kind, quoted := strings.CutSuffix(f.Name, " quoted")
		text := string(f.Data)
		if quoted {
			_, _ = fmt.Sscanf(text, "%q", &text)
		}
		switch {
		case kind == "parent" || kind == "child" || strings.HasPrefix(kind, "input"):
		default:
			continue
		}
		for _, dialect := range dialects {
			variant, version, _ := strings.Cut(dialect, " ")
			all = append(all, []byte(strings.NewReplacer("VARIANT", variant, "VERSION", version).Replace(text)))
		}
	}
	return all
}

// TestTranspiledIsAccepted: what a translator accepts a machine accepts too, in its old and in its new form, and
// both forms say the same.
func TestTranspiledIsAccepted(t *testing.T) {
	yaml, old := 0, 0
	for _, in := range inputs(t) {
		if result, err := butane.Transpile(in, butane.Options{NoResourceAutoCompression: true}); err == nil && !result.MachineConfig {
			yaml++
			sameBothWays(t, in, result.Output)
		}
		if out, _, err := legacy.Convert(in); err == nil && !bytes.Equal(out, in) {
			old++
			sameBothWays(t, in, out)
		}
	}
	if yaml < 100 || old < 50 {
		t.Errorf("only %d documents in YAML and %d of old specs were accepted: are the corpora read?", yaml, old)
	}
}

func sameBothWays(t *testing.T, in, out []byte) {
	t.Helper()
	a, _, err := Parse(in)
	if err != nil {
		t.Errorf("%v: accepted by the translator alone:\n%s", err, in)
		return
	}
	b, r, err := Parse(out)
	if err != nil {
		t.Errorf("%v\n%s: the translation of\n%s", err, r.String(), in)
		return
	}
	first, _ := config.MarshalCache(a.Config)
	second, _ := config.MarshalCache(b.Config)
	if !bytes.Equal(first, second) {
		t.Errorf("the document gives\n%s\nits translation\n%s", first, second)
	}
}

// FuzzDocument: nothing is not survived, an error has a reason, every place is inside of the document, and what is
// accepted survives the cache.
func FuzzDocument(f *testing.F) {
	for _, in := range inputs(f) {
		f.Add(in)
	}
	for _, text := range []string{"#cloud-config\n", "#!/bin/sh", "<html>", "a: b: c", "variant: x\n\ty", "\xff\xfev\x00"} {
		f.Add([]byte(text))
	}
	f.Fuzz(func(t *testing.T, in []byte) {
		d, r, err := Parse(in)
		lines := int64(1 + bytes.Count(in, []byte("\n")) + bytes.Count(in, []byte("\r")) + bytes.Count(in, []byte("\x85")) + bytes.Count(in, []byte("\xe2\x80")))
		wide := bytes.HasPrefix(in, []byte("\xff\xfe")) || bytes.HasPrefix(in, []byte("\xfe\xff"))
		for _, e := range r.Entries {
			if p := e.Marker.StartP; p != nil && !wide && (p.Line < 1 || p.Column < 1 || p.Line > lines) {
				t.Fatalf("%s is outside of the document", e)
			}
		}
		if err != nil {
			if !r.IsFatal() && (errors.Is(err, config.ErrInvalid) || errors.Is(err, butane.ErrSource) || errors.Is(err, butane.ErrGenerated)) {
				t.Fatalf("%v without a reason", err)
			}
			return
		}
		d.Places()
		cache, err := config.MarshalCache(d.Config)
		if err != nil || !json.Valid(cache) {
			t.Fatalf("cache %q, %v", cache, err)
		}
	})
}

// large gives a config of about a megabyte in both languages.
func large(b *testing.B) (yaml, inJSON []byte) {
	var text bytes.Buffer
	text.WriteString("variant: flatcar\nversion: 1.1.0\nstorage:\n  files:\n")
	for i := 0; text.Len() < 1<<20; i++ {
		fmt.Fprintf(&text, "    - path: /etc/app/%d.conf\n      mode: 0644\n      contents:\n        inline: |\n          # %d\n          key = value-%d\n", i, i, i*7919)
	}
	result, err := butane.Transpile(text.Bytes(), butane.Options{})
	if err != nil {
		b.Fatal(err)
	}
	return text.Bytes(), result.Output
}

// BenchmarkTranspile1MB is the translator's work at the desk.
func BenchmarkTranspile1MB(b *testing.B) {
	yaml, _ := large(b)
	bench(b, yaml, func() error {
		_, err := butane.Transpile(yaml, butane.Options{})
		return err
	})
}

// The two below are what the fetch stage does with the same config in either language: what YAML adds at boot.
func BenchmarkFetchYAML1MB(b *testing.B) {
	yaml, _ := large(b)
	bench(b, yaml, func() error { return fetch(yaml) })
}

func BenchmarkFetchSameInJSON(b *testing.B) {
	_, inJSON := large(b)
	bench(b, inJSON, func() error { return fetch(inJSON) })
}

func fetch(raw []byte) error {
	d, _, err := Parse(raw)
	if err == nil && len(d.Places()) == 0 {
		err = errors.New("no places")
	}
	return err
}

func bench(b *testing.B, raw []byte, work func() error) {
	b.ReportAllocs()
	b.SetBytes(int64(len(raw)))
	for b.Loop() {
		if err := work(); err != nil {
			b.Fatal(err)
		}
	}
}

// BenchmarkRefuseTab is what a mistake at the end of a megabyte costs: it is looked for.
func BenchmarkRefuseTab(b *testing.B) {
	yaml, _ := large(b)
	yaml = append(yaml, "\tx: y\n"...)
	bench(b, yaml, func() error {
		if _, _, err := Parse(yaml); err == nil {
			return errors.New("a tab is accepted")
		}
		return nil
	})
}
