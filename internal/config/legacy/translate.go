// SPDX-License-Identifier: Apache-2.0

package legacy

import (
	"slices"
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
	conflicts map[string]bool        // paths that two nodes have
}

// checkResult runs the rules of the new form. Where there is an error already, another one adds nothing.
func (t *translation) checkResult() {
	var known []string
	for _, e := range t.report.Entries {
		if e.Kind.IsFatal() {
			known = append(known, e.Context.String())
		}
	}
	for _, e := range config.Check(&t.out, newForm).Entries {
		if t.isKnownConflict(e) {
			continue
		}
		e.Context = t.source(e.Context)
		if !e.Kind.IsFatal() || !slices.Contains(known, e.Context.String()) {
			t.report.Entries = append(t.report.Entries, e)
		}
	}
}

// isKnownConflict tells of a duplicate that translateNodes reports, maybe at the other of the two entries.
func (t *translation) isKnownConflict(e report.Entry) bool {
	if len(e.Context.Path) != 3 || e.Context.Path[0] != "storage" || e.Message != "duplicate entry defined" {
		return false
	}
	s, i := &t.out.Storage, e.Context.Path[2].(int)
	switch e.Context.Path[1] {
	case "directories":
		return t.conflicts[s.Directories[i].Path]
	case "files":
		return t.conflicts[s.Files[i].Path]
	case "links":
		return t.conflicts[s.Links[i].Path]
	}
	return false
}

func (t *translation) translate(d *document) {
	t.out.Ignition.Version = config.MaxVersion()
	t.ignition(&d.Ignition)
	t.filesystems(d.Storage.Filesystems)
	t.nodes(&d.Storage)
	t.disks(d.Storage.Disks)
	for i := range d.Storage.RAID {
		r := &d.Storage.RAID[i]
		spares := r.Spares
		if spares != nil && *spares == 0 {
			spares = nil
		}
		t.out.Storage.RAID = append(t.out.Storage.RAID, config.RAID{Name: r.Name, Level: &r.Level,
			Devices: r.Devices, Options: r.Options, Spares: spares})
	}
	t.units(d.Systemd.Units)
	t.networkd(d.Networkd.Units)
	t.passwd(&d.Passwd)
}

func (t *translation) ignition(d *ignition) {
	old, out := at("ignition", "config", "append"), &t.out.Ignition
	if len(d.Config.Append) > 0 {
		t.comes(at("ignition", "config", "merge"), old)
		t.warn(old, "append is read as merge of spec 3.x: entries that this config has too are replaced and not added once more")
	}
	for i := range d.Config.Append {
		out.Config.Merge = append(out.Config.Merge, t.reference(&d.Config.Append[i], at("ignition", "config", "merge").at(i), old.at(i)))
	}
	if r := d.Config.Replace; r != nil {
		p := at("ignition", "config", "replace")
		out.Config.Replace = t.reference(r, p, p)
	}
	for i := range d.Security.TLS.CertificateAuthorities {
		p := at("ignition", "security", "tls", "certificateAuthorities").at(i)
		out.Security.TLS.CertificateAuthorities = append(out.Security.TLS.CertificateAuthorities,
			t.reference(&d.Security.TLS.CertificateAuthorities[i], p, p))
	}
	out.Timeouts = config.Timeouts{HTTPResponseHeaders: d.Timeouts.HTTPResponseHeaders, HTTPTotal: d.Timeouts.HTTPTotal}
	out.Proxy = config.Proxy{HTTPProxy: filled(d.Proxy.HTTPProxy), HTTPSProxy: filled(d.Proxy.HTTPSProxy), NoProxy: d.Proxy.NoProxy}
}

// reference translates a resource that is at one path in the result and was at another.
func (t *translation) reference(r *reference, to, from *place) config.Resource {
	out := config.Resource{Source: &r.Source, Verification: config.Verification{Hash: r.Verification.Hash}}
	for i := range r.HTTPHeaders {
		h := &r.HTTPHeaders[i]
		header := from.field("httpHeaders").at(i)
		if h.Value == "" && h.Name != "" {
			t.warnf(header, "header %q is dropped: it has no value, which spec 3.x does not send", h.Name)
			continue
		}
		t.comes(to.field("httpHeaders").at(len(out.HTTPHeaders)), header)
		out.HTTPHeaders = append(out.HTTPHeaders, config.HTTPHeader{Name: h.Name, Value: filled(&h.Value)})
	}
	return out
}

const sectorsPerMiB = 2048

func (t *translation) disks(disks []disk) {
	for i := range disks {
		d := config.Disk{Device: disks[i].Device, WipeTable: ifTrue(disks[i].WipeTable)}
		for j := range disks[i].Partitions {
			d.Partitions = append(d.Partitions, t.partition(&disks[i].Partitions[j], at("storage", "disks").at(i).field("partitions").at(j)))
		}
		t.out.Storage.Disks = append(t.out.Storage.Disks, d)
	}
}

// partition keeps absent what is absent. The older engine made 0 and "" of it on the way through 2.3.0, and then
// refused every partition.
func (t *translation) partition(p *partition, here *place) config.Partition {
	out := config.Partition{Number: p.Number, Label: p.Label, GUID: filled(p.GUID), TypeGUID: filled(p.TypeGUID),
		ShouldExist: p.ShouldExist, SizeMiB: p.SizeMiB, StartMiB: p.StartMiB, WipePartitionEntry: ifTrue(p.WipePartitionEntry)}
	if t.v.Before(v2_3) {
		out.Label = filled(p.Label)
	}
	for _, sectors := range []struct {
		name  string
		given *int
		to    **int
	}{{"size", p.Size, &out.SizeMiB}, {"start", p.Start, &out.StartMiB}} {
		if sectors.given == nil {
			continue
		}
		mib := *sectors.given / sectorsPerMiB
		if *sectors.to == nil {
			t.comes(here.field(sectors.name+"MiB"), here.field(sectors.name))
			*sectors.to = &mib
		}
		if !t.v.Before(v2_3) {
			t.warnf(here.field(sectors.name), "%s is deprecated; use %sMiB instead, here %d", sectors.name, sectors.name, mib)
		}
	}
	return out
}

// escape percent-encodes all bytes but letters, digits and the ones in keep.
func escape(s, keep string) string {
	const hex = "0123456789ABCDEF"
	var b strings.Builder
	b.WriteString("data:,")
	for i := range len(s) {
		switch c := s[i]; {
		case 'a' <= c|0x20 && c|0x20 <= 'z', '0' <= c && c <= '9', strings.IndexByte(keep, c) >= 0:
			b.WriteByte(c)
		default:
			b.Write([]byte{'%', hex[c>>4], hex[c&15]})
		}
	}
	return b.String()
}
