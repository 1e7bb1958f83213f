// SPDX-License-Identifier: Apache-2.0

package legacy

import (
	"fmt"
	"reflect"
	"strings"

	"firstboot.dev/ignition/internal/config"
	"github.com/coreos/vcontext/path"
	"github.com/coreos/vcontext/report"
)

// translation is the work on one document. Rules of the old version and notes about changed meaning go straight
// into the report; the rules of the new form look at the result, and origins leads their paths back.
type translation struct {
	v       config.Version
	out     config.Config
	report  report.Report
	origins map[string]path.ContextPath // where what stands at a path of the result comes from

	mounts    map[string]*mountPoint // by name of the filesystem
	placed    []placed
	conflicts map[string]bool // places in the result of nodes that have one path
	failed    map[string]bool // places in the document with errors
	errors    bool            // there are some
}

// checkResult runs the rules of the new form. Where there is an error already, another one adds nothing, and
// clashes reports duplicates, maybe at the other of the two nodes.
func (t *translation) checkResult() {
	entries := config.Validate(&t.out, newForm, func(...any) bool { return true }).Entries
	for i := range entries {
		e := &entries[i]
		if e.Message == "duplicate entry defined" && t.conflicts[key(e.Context.Path)] {
			continue
		}
		p := t.source(e.Context)
		if e.Kind != report.Error {
			t.add(e.Kind, p, e.Message)
		} else if !t.failed[key(p.Path)] {
			t.errors = true
			t.add(e.Kind, p, e.Message)
		}
	}
}

func (t *translation) translate(d *document) {
	t.ignition(&d.Ignition)
	t.filesystems(d.Storage.Filesystems)
	t.nodes(&d.Storage)
	for i := range d.Storage.Disks {
		t.disk(&d.Storage.Disks[i], at("storage", "disks").at(i))
	}
	t.out.Storage.RAID = d.Storage.RAID
	for i := range t.out.Storage.RAID {
		if r := &t.out.Storage.RAID[i]; r.Spares != nil && *r.Spares == 0 {
			r.Spares = nil
		}
	}
	t.units(d.Systemd.Units)
	t.networkd(d.Networkd.Units)
	t.out.Passwd.Groups = d.Passwd.Groups
	for i := range d.Passwd.Groups {
		prune(&d.Passwd.Groups[i])
	}
	for i := range d.Passwd.Users {
		t.user(&d.Passwd.Users[i], at("passwd", "users").at(i))
	}
	t.out.Ignition.Version = config.MaxVersion()
}

func (t *translation) ignition(d *ignition) {
	to, from := at("ignition", "config", "merge"), at("ignition", "config", "append")
	out := &t.out.Ignition
	out.Config.Merge = d.Config.Append
	if len(out.Config.Merge) > 0 {
		t.comes(to, from)
		t.warn(from, "append is read as merge: of what both configs have, one is laid over the other instead of adding it once more")
	}
	t.resources(out.Config.Merge, to, from)
	if d.Config.Replace != nil {
		from = at("ignition", "config", "replace")
		out.Config.Replace = *d.Config.Replace
		t.resource(&out.Config.Replace, from, from)
	}
	from = at("ignition", "security", "tls", "certificateAuthorities")
	out.Security.TLS.CertificateAuthorities = d.Security.TLS.CertificateAuthorities
	t.resources(out.Security.TLS.CertificateAuthorities, from, from)
	out.Timeouts = d.Timeouts
	out.Proxy = d.Proxy
	prune(&out.Proxy)
}

func (t *translation) resources(list []config.Resource, to, from *place) {
	for i := range list {
		t.resource(&list[i], to.at(i), from.at(i))
	}
}

// resource changes a resource, which is at one path in the result and was at another, to its new form.
func (t *translation) resource(r *config.Resource, to, from *place) {
	r.Compression = filled(r.Compression)
	if r.Source == nil {
		r.Source = new(string)
	}
	n := 0
	for i, h := range r.HTTPHeaders {
		header := from.field("httpHeaders").at(i)
		h.Value = filled(h.Value)
		if h.Value == nil && h.Name != "" {
			t.warnf(header, "header %q is dropped: it has no value, which spec 3.x does not send", h.Name)
			continue
		}
		t.comes(to.field("httpHeaders").at(n), header)
		r.HTTPHeaders[n] = h
		n++
	}
	r.HTTPHeaders = r.HTTPHeaders[:n]
}

const sectorsPerMiB = 2048

// disk keeps absent what is absent. The older engine made 0 and "" of it on the way through 2.3.0, and then
// refused every partition.
func (t *translation) disk(d *disk, here *place) {
	out := config.Disk{Device: d.Device, WipeTable: ifTrue(d.WipeTable)}
	for i := range d.Partitions {
		p, here := &d.Partitions[i], here.field("partitions").at(i)
		label, exists := p.Label, p.ShouldExist
		prune(&p.Partition)
		p.ShouldExist = exists
		if !t.v.Before(v2_3) {
			p.Label = label
		}
		t.sectors("size", p.Size, &p.SizeMiB, here)
		t.sectors("start", p.Start, &p.StartMiB, here)
		out.Partitions = append(out.Partitions, p.Partition)
	}
	t.out.Storage.Disks = append(t.out.Storage.Disks, out)
}

func (t *translation) sectors(name string, given *int, to **int, here *place) {
	if given == nil {
		return
	}
	mib := *given / sectorsPerMiB
	if *to == nil {
		t.comes(here.field(name+"MiB"), here.field(name))
		*to = &mib
	}
	if !t.v.Before(v2_3) {
		t.warnf(here.field(name), "%s is deprecated; use %sMiB instead, here %d", name, name, mib)
	}
}

// prune makes absent what says nothing: strings that are empty, and booleans that are false.
func prune(object any) {
	v := reflect.ValueOf(object).Elem()
	for i := range v.NumField() {
		f := v.Field(i)
		if f.Kind() == reflect.Pointer && !f.IsNil() && f.Elem().Kind() != reflect.Int && f.Elem().IsZero() {
			f.SetZero()
		}
	}
}

// escape gives a text as a data URL, with all bytes percent-encoded but letters, digits and the ones in keep.
func escape(s, keep string) *string {
	out := append(make([]byte, 0, len(s)+len(s)/2), "data:,"...)
	for i := range len(s) {
		switch c := s[i]; {
		case 'a' <= c|0x20 && c|0x20 <= 'z', '0' <= c && c <= '9', strings.IndexByte(keep, c) >= 0:
			out = append(out, c)
		default:
			out = fmt.Appendf(out, "%%%02X", c)
		}
	}
	text := string(out)
	return &text
}
