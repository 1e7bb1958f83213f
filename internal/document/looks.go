// SPDX-License-Identifier: Apache-2.0

package document

import (
	"bytes"
	"errors"
	"fmt"
	"strings"

	"firstboot.dev/ignition/internal/butane"
	"firstboot.dev/ignition/internal/config"
	"github.com/coreos/vcontext/report"
	"github.com/coreos/vcontext/tree"
)

// because adds to config.ErrEmpty what the bytes are. Other errors stay as they are.
func because(raw []byte, err error) error {
	if !errors.Is(err, config.ErrEmpty) || len(raw) == 0 {
		return err
	}
	what := "a MIME archive for cloud-init"
	switch first, _, _ := bytes.Cut(raw, []byte("\n")); {
	case bytes.HasPrefix(raw, []byte("#!")):
		what = "a script, which nothing here runs"
	case bytes.HasPrefix(first, []byte("#cloud-config")):
		what = "a cloud-config, for cloud-init"
	case bytes.HasPrefix(raw, gzipMark):
		what = "compressed, and meant for cloud-init"
	}
	return fmt.Errorf("%w: it is %s", err, what)
}

var gzipMark = []byte{0x1f, 0x8b}

// cloudKeys begin lines of most cloud-configs.
var cloudKeys = []string{"runcmd:", "write_files:", "packages:", "ssh_authorized_keys:", "package_update:", "bootcmd:", "users:", "hostname:"}

// describe is the report for bytes that are neither JSON nor Butane. It quotes none of them.
func describe(raw []byte, looks butane.Looks, ofYAML report.Report) report.Report {
	e := report.Entry{Kind: report.Error, Marker: tree.Marker{StartP: &tree.Pos{Line: 1, Column: 1}}}
	if e.Message = foreign(raw); e.Message == "" {
		switch looks {
		case butane.OtherYAML:
			e.Message = "this is YAML without the key variant: a config in YAML is Butane and needs variant and version, one of spec 3.x is JSON and begins with {"
		case butane.Text:
			e.Message = "this is a single text, neither JSON, which begins with {, nor Butane YAML, which has the keys variant and version"
		default:
			e.Message = "this is neither JSON, which begins with {, nor Butane YAML"
			for _, of := range ofYAML.Entries {
				e.Message, e.Marker = e.Message+": "+of.Message, of.Marker
			}
		}
	}
	return report.Report{Entries: []report.Entry{e}}
}

// foreign knows some kinds of data by their looks.
func foreign(raw []byte) string {
	const head = 512
	text := strings.TrimLeft(string(raw[:min(len(raw), head)]), " \t\r\n")
	switch {
	case strings.HasPrefix(text, "\ufeff{"):
		return "this starts with a byte order mark, which JSON does not have: save it as UTF-8 without one"
	case bytes.HasPrefix(raw, []byte("\xff\xfe")) || bytes.HasPrefix(raw, []byte("\xfe\xff")):
		return "this is UTF-16, and JSON is UTF-8"
	case bytes.HasPrefix(raw, gzipMark):
		return "this is compressed by gzip; a reference to it needs compression: gzip"
	case strings.HasPrefix(text, "<"):
		return "this is HTML or XML; does the URL lead to a login or an error page?"
	case strings.HasPrefix(text, "-----BEGIN "):
		return "this is a key or certificate in PEM"
	case strings.ContainsRune(text, 0):
		return "this is binary data"
	case isBase64(text):
		return "this looks like base64: it is encoded once more than the platform decodes"
	}
	for line := range strings.Lines(text) {
		for _, key := range cloudKeys {
			if strings.HasPrefix(line, key) {
				return "this looks like a cloud-config, for cloud-init, without its first line #cloud-config"
			}
		}
	}
	return ""
}

// isBase64 tells whether a text begins with a long word of base64's letters.
func isBase64(text string) bool {
	const long = 60
	word, _, _ := strings.Cut(text, "\n")
	word = strings.TrimRight(word, "\r=")
	return len(word) >= long && strings.Trim(word, "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/") == ""
}
