// SPDX-License-Identifier: Apache-2.0

package butane

import (
	"encoding/base64"
	"errors"
	"fmt"
	"io/fs"
	"path"
	"strings"

	"firstboot.dev/ignition/internal/butane/pack"
	"firstboot.dev/ignition/internal/config"
	contextpath "github.com/coreos/vcontext/path"
	"github.com/coreos/vcontext/report"
)

const (
	onlyOne    = "only one of the following can be set: "
	noFilesDir = "local file paths are relative to a files directory that must be specified with -d/--files-dir"
	onMachine  = "a machine has no local files to embed; put the text inline, fetch it from a source, or translate the config beforehand with butane --files-dir"
	traverses  = "local file path traverses outside the files directory"

	// largeLocal is the size from which on a local file is worth a warning: all of it becomes text of the config.
	largeLocal = 100_000_000
)

// checkResource tells whether a resource has one source at most, and judges a config embedded in it.
func (t *translation) checkResource(p contextpath.ContextPath, r *config.Resource) error {
	keys, at := own[resourceKeys](t.sugar, r), snake(whereOf(p))
	switch {
	case r.Source != nil && (keys.Inline != nil || keys.Local != nil):
		t.fail(onlyOne+"inline, local, source", at+".source")
	case keys.Inline != nil && keys.Local != nil:
		t.fail(onlyOne+"inline, local, source", at+".inline")
	case keys.Inline != nil && embedsConfig(at):
		t.checkEmbedded(r, []byte(*keys.Inline), at+".inline")
	}
	return nil
}

// translateResource turns inline and local contents into a data URL.
func (t *translation) translateResource(p contextpath.ContextPath, r *config.Resource) error {
	keys, at := own[resourceKeys](t.sugar, r), snake(whereOf(p))
	key, contents := "inline", []byte(value(keys.Inline))
	switch {
	case keys.Local != nil:
		key = "local"
		var ok bool
		if contents, ok = t.readLocal(*keys.Local, at+"."+key); !ok {
			return nil
		}
		if embedsConfig(at) {
			t.checkEmbedded(r, contents, at+"."+key)
		}
	case keys.Inline == nil:
		return nil
	}
	for _, made := range []string{"source", "compression"} {
		if made != "compression" || r.Compression == nil {
			t.renames.add(whereOf(p)+"."+made, at+"."+key)
		}
	}
	t.setContents(r, contents)
	return nil
}

// setContents makes a resource's source of contents. What was compressed by the user stays as it is.
func (t *translation) setContents(r *config.Resource, contents []byte) {
	if t.dialect.minor == 0 {
		r.Source = ptr("data:," + percentEncode(contents))
		return
	}
	compressed := value(r.Compression) != ""
	source, gzipped := dataURL(contents, !compressed && t.compresses(), t.options.Watch)
	r.Source = &source
	switch {
	case gzipped:
		r.Compression = ptr("gzip")
	case !compressed:
		r.Compression = ptr("") // so that nothing is inherited in a merge
	}
}

// compresses tells whether contents may be compressed: OpenShift's first releases know no compression.
func (t *translation) compresses() bool {
	return !t.options.NoResourceAutoCompression && t.dialect.release != 8 && t.dialect.release != 9
}

// dataURL gives the shortest of a data URL's forms; of equally long ones the most legible. watch may be nil.
func dataURL(contents []byte, compress bool, watch func(done, size int)) (url string, gzipped bool) {
	const base64Mark = ";base64,"
	escaped := 0
	for _, c := range contents {
		escaped += 3
		if unreserved(c) {
			escaped -= 2
		}
	}
	shortest, packed := 1+escaped, contents
	encoded := len(base64Mark) + base64.StdEncoding.EncodedLen(len(contents))
	asText := encoded >= shortest
	shortest = min(shortest, encoded)
	if compress {
		const extra = len(base64Mark) + len("gzip")
		var tell func(int)
		if watch != nil {
			tell = func(done int) { watch(done, len(contents)) }
		}
		z := pack.Gzip(contents, (shortest-extra)/4*3, tell)
		if z != nil && extra+base64.StdEncoding.EncodedLen(len(z)) < shortest {
			packed, asText, gzipped = z, false, true
		}
	}
	if asText {
		return "data:," + percentEncode(contents), false
	}
	var b strings.Builder // the text is made in one place, as it may be large
	b.Grow(len("data:") + len(base64Mark) + base64.StdEncoding.EncodedLen(len(packed)))
	b.WriteString("data:" + base64Mark)
	e := base64.NewEncoder(base64.StdEncoding, &b)
	_, _ = e.Write(packed)
	_ = e.Close()
	return b.String(), gzipped
}

func unreserved(c byte) bool {
	return c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9' || c != 0 && strings.IndexByte("-_.!~*'()", c) >= 0
}

func percentEncode(contents []byte) string {
	const hex = "0123456789ABCDEF"
	var b strings.Builder
	b.Grow(len(contents))
	for _, c := range contents {
		if unreserved(c) {
			b.WriteByte(c)
		} else {
			b.Write([]byte{'%', hex[c>>4], hex[c&15]})
		}
	}
	return b.String()
}

// noFiles tells whether there are no local files, and then says so.
func (t *translation) noFiles(at where) bool {
	switch {
	case t.options.Machine:
		t.fail(onMachine, at)
	case t.options.Files == nil:
		t.fail(noFilesDir, at)
	default:
		return false
	}
	return true
}

// localName gives the name of a local file below the files directory. A leading slash is that directory.
func (t *translation) localName(local string, at where) (name string, ok bool) {
	if t.noFiles(at) {
		return "", false
	}
	name = path.Clean("./" + local)
	if name == ".." || strings.HasPrefix(name, "../") || strings.IndexByte(name, 0) >= 0 {
		t.fail(traverses, at)
		return "", false
	}
	return name, true
}

// shown is a local file's name as the user knows it.
func (t *translation) shown(name string) string { return path.Join(t.options.FilesDir, name) }

// complain reports an error of a local file with the operation and name that the user knows.
func (t *translation) complain(op, name string, err error, at where) {
	var pe *fs.PathError
	if errors.As(err, &pe) {
		err = pe.Err
	}
	t.fail(fmt.Sprintf("%s %s: %v", op, t.shown(name), err), at)
}

func (t *translation) readLocal(local string, at where) ([]byte, bool) {
	name, ok := t.localName(local, at)
	if !ok {
		return nil, false
	}
	return t.readFile(name, at)
}

func (t *translation) readFile(name string, at where) ([]byte, bool) {
	info, err := fs.Stat(t.options.Files, name)
	if err != nil {
		t.complain("open", name, err, at)
		return nil, false
	}
	switch {
	case info.IsDir():
		t.fail("read "+t.shown(name)+": is a directory", at)
		return nil, false
	case !info.Mode().IsRegular():
		t.fail("read "+t.shown(name)+": is not a regular file", at)
		return nil, false
	case info.Size() >= largeLocal:
		t.warn(fmt.Sprintf("local file has %d MB, and all of it becomes part of the config; a config that fetches it stays small",
			info.Size()/1_000_000), at)
	}
	contents, err := fs.ReadFile(t.options.Files, name)
	if err != nil {
		t.complain("read", name, err, at)
		return nil, false
	}
	return contents, true
}

// embedsConfig tells whether the resource at a path is itself a config.
func embedsConfig(at where) bool { return strings.HasPrefix(at, "ignition.config.") }

// checkEmbedded judges a config that is embedded in this one, by the rules of its own version.
func (t *translation) checkEmbedded(r *config.Resource, raw []byte, at where) {
	if value(r.Compression) != "" {
		return // the bytes are compressed
	}
	const skipping = "skipping validation for the merge/replace ignition config due to an unkown version"
	if hasVariantLine(raw) {
		t.fail("this is Butane YAML, and an embedded config is JSON: translate it first, or let a source lead to it", at)
		return
	}
	_, rep, err := config.Parse(raw)
	if errors.Is(err, config.ErrUnknownVersion) {
		t.warn(skipping, at)
		return
	}
	if v, ok := config.DocumentVersion(raw); ok && t.dialect.spec().Before(v) {
		t.warn(skipping, at)
		return
	}
	for _, e := range rep.Entries {
		kind := report.Warn
		if e.Kind.IsFatal() {
			kind = report.Error
		}
		inner := ""
		if e.Context.Len() > 0 {
			inner = e.Context.String() + ", "
		}
		t.add(kind, fmt.Sprintf("%s (in the embedded config at %s%s)", e.Message, inner, e.Marker), at)
	}
	switch {
	case errors.Is(err, config.ErrInvalid):
		t.fail("config is not valid", at)
	case err != nil:
		t.fail(err.Error(), at)
	}
}
