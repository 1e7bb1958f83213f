// SPDX-License-Identifier: Apache-2.0

package boot

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
)

// edit is what becomes of one file.
type edit struct {
	name    string // below the place
	content []byte
	changed bool
}

// backEnd is one way in which boot loaders are told about kernel arguments. A
// file that holds none of them is not the back-end's.
type backEnd struct {
	oem    bool
	files  string // pattern
	create bool   // a missing file counts as an empty one
	edit   func(text string, k Kargs) (out string, found bool, err error)
}

var backEnds = []backEnd{
	{oem: true, files: "grub.cfg", create: true, edit: editAppend},
	{files: "ignition-kargs", edit: editPlain},
	{files: "loader/entries/*.conf", edit: editOptions},
	{files: "grub*/grub.cfg", edit: editKernelopts},
	{files: "grub.cfg", edit: editKernelopts},
	{files: "grub*/grubenv", edit: editGrubenv},
}

// edits are the files of one place as they should be.
func (b backEnd) edits(base string, k Kargs) ([]edit, error) {
	names, err := filepath.Glob(filepath.Join(base, b.files))
	if err != nil {
		return nil, err
	}
	if len(names) == 0 && b.create {
		names = []string{filepath.Join(base, b.files)}
	}
	var out []edit
	for _, n := range names {
		raw, err := os.ReadFile(n)
		if err != nil && (!b.create || !errors.Is(err, os.ErrNotExist)) {
			return nil, err
		}
		name, err := filepath.Rel(base, n)
		if err != nil {
			return nil, err
		}
		text, found, err := b.edit(string(raw), k)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", name, err)
		}
		if found {
			out = append(out, edit{name, []byte(text), text != string(raw)})
		}
	}
	return out, nil
}

// splitArgs splits as the kernel does: at white space that is not in double
// quotes. The quotes around a value are not part of it.
func splitArgs(text string) []string {
	var out []string
	var b strings.Builder
	word, quoted := false, false
	for _, c := range text {
		switch {
		case c == '"':
			quoted, word = !quoted, true
		case !quoted && (c == ' ' || c == '\t' || c == '\n'):
			if word {
				out = append(out, b.String())
				b.Reset()
			}
			word = false
		default:
			b.WriteRune(c)
			word = true
		}
	}
	if word {
		out = append(out, b.String())
	}
	return out
}

// joinArgs is the reverse; what no quoting can express is refused.
func joinArgs(args []string) (string, error) {
	var out []string
	for _, a := range args {
		if a == "" || strings.ContainsAny(a, "\"\n\r\x00") {
			return "", fmt.Errorf("the kernel argument %q cannot be written: it is empty or has a quote or a line end in it", a)
		}
		if strings.ContainsAny(a, " \t") {
			name, value, ok := strings.Cut(a, "=")
			if !ok || strings.ContainsAny(name, " \t") {
				return "", fmt.Errorf("the kernel argument %q cannot be written: only a value can have blanks", a)
			}
			a = name + `="` + value + `"`
		}
		out = append(out, a)
	}
	return strings.Join(out, " "), nil
}

// change applies the wishes to the text of a line, and leaves one that is right as it is.
func change(text string, k Kargs) (string, error) {
	args := splitArgs(text)
	if k.holds(args) {
		return text, nil
	}
	return joinArgs(k.apply(args))
}

// eachLine rewrites the lines that start in some way.
func eachLine(text string, f func(line string) (out string, mine bool, err error)) (string, bool, error) {
	var b strings.Builder
	found := false
	for line := range strings.Lines(text) {
		body := strings.TrimRight(line, "\r\n")
		out, mine, err := f(body)
		if err != nil {
			return "", false, err
		}
		if mine {
			found = true
			line = out + line[len(body):]
		}
		b.WriteString(line)
	}
	return b.String(), found, nil
}

// editPlain: a file with one argument per line.
func editPlain(text string, k Kargs) (string, bool, error) {
	args := lines([]byte(text))
	if k.holds(args) {
		return text, true, nil
	}
	var b strings.Builder
	for _, a := range k.apply(args) {
		if a == "" || strings.ContainsAny(a, "\n\r") {
			return "", false, fmt.Errorf("the kernel argument %q cannot be written", a)
		}
		b.WriteString(a + "\n")
	}
	return b.String(), true, nil
}

// editOptions: an entry of the Boot Loader Specification. Of several options
// lines the last one takes what is added.
func editOptions(text string, k Kargs) (string, bool, error) {
	var all []string
	for line := range strings.Lines(text) {
		if rest, ok := strings.CutPrefix(strings.TrimRight(line, "\r\n"), "options "); ok {
			all = append(all, splitArgs(rest)...)
		}
	}
	if k.holds(all) {
		_, found, err := eachLine(text, optionsLine(Kargs{}))
		return text, found, err
	}
	out, found, err := eachLine(text, optionsLine(Kargs{ShouldNot: k.ShouldNot}))
	if !found || err != nil {
		return out, found, err
	}
	at := strings.LastIndex("\n"+out, "\noptions ")
	head, tail := out[:at], out[at:]
	line, rest, end := strings.Cut(tail, "\n")
	missing := (Kargs{Should: k.Should}).apply(all)[len(all):]
	line, err = change(strings.TrimPrefix(line, "options "), Kargs{Should: missing})
	if err != nil {
		return "", false, err
	}
	out = head + "options " + line
	if end {
		out += "\n" + rest
	}
	return out, true, nil
}

func optionsLine(k Kargs) func(string) (string, bool, error) {
	return func(line string) (string, bool, error) {
		rest, ok := strings.CutPrefix(line, "options ")
		if !ok {
			return "", false, nil
		}
		out, err := change(rest, k)
		return "options " + out, true, err
	}
}

// editKernelopts: the line of grub.cfg that upstream's example writes to, with
// or without `set`, and quoted or not.
func editKernelopts(text string, k Kargs) (string, bool, error) {
	return eachLine(text, func(line string) (string, bool, error) {
		indent := line[:len(line)-len(strings.TrimLeft(line, " \t"))]
		start := indent
		rest := line[len(indent):]
		if r, ok := strings.CutPrefix(rest, "set "); ok {
			start, rest = start+"set ", r
		}
		value, ok := strings.CutPrefix(rest, "kernelopts=")
		if !ok {
			return "", false, nil
		}
		old, quote, err := unquote(value)
		if err != nil {
			return "", false, err
		}
		fresh, err := change(old, k)
		if err != nil || fresh == old {
			return line, true, err
		}
		return start + "kernelopts=" + requote(fresh, quote), true, nil
	})
}

// unquote reads a word of GRUB's language; quote is what it stands in.
func unquote(value string) (text string, quote byte, err error) {
	value = strings.TrimSpace(value)
	if len(value) < 2 || value[0] != '"' && value[0] != '\'' {
		return value, 0, nil
	}
	quote = value[0]
	if value[len(value)-1] != quote {
		return "", 0, fmt.Errorf("the quotes of %s do not match", value)
	}
	text = value[1 : len(value)-1]
	if quote == '"' {
		text = strings.NewReplacer(`\"`, `"`, `\$`, `$`, `\\`, `\`).Replace(text)
	}
	return text, quote, nil
}

func requote(text string, quote byte) string {
	switch {
	case quote == '\'' && !strings.Contains(text, "'"):
		return "'" + text + "'"
	case quote == 0 && !strings.ContainsAny(text, " \t\"'$\\;&|<>(){}"):
		return text
	default:
		return `"` + strings.NewReplacer(`\`, `\\`, `"`, `\"`, `$`, `\$`).Replace(text) + `"`
	}
}

const (
	appendStart = `set linux_append="`
	appendSelf  = "$linux_append"
)

// editAppend: the lines `set linux_append="..."` of Flatcar's OEM partition. All
// become one line at the end, which adds to what was set before.
func editAppend(text string, k Kargs) (string, bool, error) {
	var args []string
	var rest strings.Builder
	for line := range strings.Lines(text) {
		value, ok := strings.CutPrefix(line, appendStart)
		if !ok {
			rest.WriteString(line)
			continue
		}
		value = strings.TrimSuffix(strings.TrimRight(value, " \t\r\n"), `"`)
		for _, a := range splitArgs(strings.NewReplacer(`\"`, `"`, `\$`, `$`, `\\`, `\`).Replace(value)) {
			if a != appendSelf {
				args = append(args, a)
			}
		}
	}
	if k.holds(args) {
		return text, true, nil
	}
	fresh, err := joinArgs(k.apply(args))
	if err != nil {
		return "", false, err
	}
	out := rest.String()
	if out != "" && !strings.HasSuffix(out, "\n") {
		out += "\n"
	}
	quoted := requote(fresh, '"')
	return out + appendStart + appendSelf + " " + strings.TrimPrefix(quoted, `"`) + "\n", true, nil
}

const (
	grubenvHead = "# GRUB Environment Block\n"
	grubenvSize = 1024
)

// editGrubenv: GRUB's environment block, which has to keep its size.
func editGrubenv(text string, k Kargs) (string, bool, error) {
	if !strings.HasPrefix(text, grubenvHead) || len(text) != grubenvSize {
		return "", false, nil
	}
	body := strings.TrimRight(text, "#")
	out, found, err := eachLine(body, func(line string) (string, bool, error) {
		value, ok := strings.CutPrefix(line, "kernelopts=")
		if !ok {
			return "", false, nil
		}
		plain := strings.ReplaceAll(value, `\\`, `\`)
		fresh, err := change(plain, k)
		if err != nil || fresh == plain {
			return line, true, err
		}
		return "kernelopts=" + strings.ReplaceAll(fresh, `\`, `\\`), true, nil
	})
	if !found || err != nil {
		return "", false, err
	}
	if len(out) > grubenvSize {
		return "", false, fmt.Errorf("the arguments do not fit into GRUB's environment block of %d bytes", grubenvSize)
	}
	return out + string(bytes.Repeat([]byte("#"), grubenvSize-len(out))), true, nil
}
