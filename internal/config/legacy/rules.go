// SPDX-License-Identifier: Apache-2.0

package legacy

import (
	"errors"
	"path"
	"reflect"
	"slices"
	"strings"

	"firstboot.dev/ignition/internal/config"
)

// The rules here are those of the old versions which the newest one lacks, or which look at what the result does
// not show. All others are found in the result.

func (t *translation) validate(d *document) {
	t.validateIgnition(&d.Ignition)
	s := &d.Storage
	for i := range s.Disks {
		t.validateDisk(&s.Disks[i], at("storage", "disks").at(i))
	}
	for i := range s.Filesystems {
		t.validateFilesystem(&s.Filesystems[i], at("storage", "filesystems").at(i))
	}
	for i := range s.Files {
		t.validateFile(&s.Files[i], i)
	}
	for i := range s.Directories {
		t.validateNode(&s.Directories[i].Node, s.Directories[i].Filesystem, at("storage", "directories").at(i))
	}
	for i := range s.Links {
		t.validateNode(&s.Links[i].Node, s.Links[i].Filesystem, at("storage", "links").at(i))
	}
	for i := range d.Networkd.Units {
		t.validateNetworkd(&d.Networkd.Units[i], at("networkd", "units").at(i))
	}
	for i := range d.Passwd.Users {
		t.validateUser(&d.Passwd.Users[i], at("passwd", "users").at(i))
	}
}

func (t *translation) validateIgnition(d *ignition) {
	for i := range d.Config.Append {
		t.validateReference(&d.Config.Append[i], at("ignition", "config", "append").at(i))
	}
	if r := d.Config.Replace; r != nil {
		p := at("ignition", "config", "replace")
		t.validateReference(r, p)
		if text(r.Source) == "" {
			t.fail(p, "source is required")
		}
	}
	list := d.Security.TLS.CertificateAuthorities
	for i := range list {
		t.validateReference(&list[i], at("ignition", "security", "tls", "certificateAuthorities").at(i))
	}
}

func (t *translation) validateReference(r *config.Resource, here *place) {
	if text(r.Source) != "" {
		err := config.CheckURL(*r.Source, config.V3_1) // which knows no scheme that 2.4.0 lacks
		scheme, _, _ := strings.Cut(strings.ToLower(*r.Source), ":")
		if err == nil && t.v.Before(v2_1) && (scheme == "tftp" || scheme == "s3") {
			err = errors.New("invalid url scheme")
		}
		t.failOn(here.field("source"), err)
	}
	if r.Verification.Hash != nil {
		// Like 3.0.0, 2.x knows sha512 alone.
		t.failOn(here.field("verification").field("hash"), config.CheckHash(*r.Verification.Hash, config.V3_0))
	}
}

func (t *translation) validateNode(n *config.Node, filesystem string, here *place) {
	if filesystem == "" {
		t.fail(here.field("filesystem"), "no filesystem specified")
	}
	t.absolute(n.Path, here.field("path"))
}

// absolute is less than what 3.x asks for: the path need not be simplified.
func (t *translation) absolute(s string, here *place) {
	switch {
	case s == "":
		t.fail(here, "path not specified")
	case s[0] != '/':
		t.fail(here, "path not absolute")
	}
}

// validateFile also notes where a file stands, if it is not one of spec 1.
func (t *translation) validateFile(f *file, i int) {
	if f.at == nil {
		f.at = at("storage", "files").at(i)
	}
	t.validateNode(&f.Node, f.Filesystem, f.at)
	if isTrue(f.Append) && isTrue(f.Overwrite) {
		t.fail(f.at.field("overwrite"), "a file cannot be appended to and overwritten")
	}
	t.validateReference(&f.Contents, f.at.field("contents"))
}

func (t *translation) validateDisk(d *disk, here *place) {
	var sectors, mib, unnumbered, removed bool
	here = here.field("partitions")
	for i := range d.Partitions {
		p, at := &d.Partitions[i], here.at(i)
		t.validateSectors(p.Start, at.field("start"))
		t.validateSectors(p.Size, at.field("size"))
		if p.Number == 0 && unnumbered && t.v == v1 {
			t.fail(at, "partition numbers collide")
		}
		sectors = sectors || p.Start != nil || p.Size != nil
		mib = mib || p.StartMiB != nil || p.SizeMiB != nil
		unnumbered = unnumbered || p.Number == 0
		removed = removed || p.ShouldExist != nil && !*p.ShouldExist
	}
	if sectors && mib {
		t.fail(here, "size and start cannot be mixed with sizeMiB and startMiB on one disk")
	}
	if unnumbered && removed {
		t.fail(here, "a partition without number cannot stand beside one whose shouldExist is false")
	}
}

// validateSectors wants whole MiB. Only of starts 2.x wants them, but 3.x has no other unit.
func (t *translation) validateSectors(n *int, here *place) {
	if n != nil && *n%sectorsPerMiB != 0 {
		t.failf(here, "%d is not a multiple of %d sectors (1 MiB), in which spec 3.x counts", *n, sectorsPerMiB)
	}
}

func (t *translation) validateFilesystem(f *filesystem, here *place) {
	switch {
	case f.Mount == nil && f.Path == nil:
		t.fail(here, "a filesystem needs mount or path")
	case f.Mount != nil && f.Path != nil:
		t.fail(here, "a filesystem has either mount or path, not both")
	case f.Path != nil:
		t.absolute(*f.Path, here.field("path"))
	default:
		t.validateMount(f.Mount, t.inMount(here))
	}
}

func (t *translation) validateMount(m *mount, here *place) {
	t.absolute(m.Device, here.field("device"))
	formats := []string{"ext4", "btrfs", "xfs", "swap", "vfat"}
	if t.v.Before(v2_1) {
		formats = formats[:3]
	}
	if !slices.Contains(formats, text(m.Format)) {
		t.fail(here.field("format"), "invalid filesystem format")
	}
	if limit, ok := config.LabelLimit(text(m.Format)); ok && len(text(m.Label)) > limit {
		t.failf(here.field("label"), "filesystem labels cannot be longer than %d characters when using %s", limit, *m.Format)
	}
	if m.Create != nil && isTrue(m.WipeFilesystem) {
		t.fail(here, "create and wipeFilesystem cannot be used together")
	}
	if m.Create != nil && len(m.Options) > 0 {
		t.fail(here, "create and options of mount cannot be used together")
	}
}

func (t *translation) validateNetworkd(u *config.Unit, here *place) {
	switch path.Ext(u.Name) {
	case ".link", ".netdev", ".network":
	default:
		t.fail(here.field("name"), "invalid networkd unit extension")
	}
	t.failOn(here.field("contents"), t.contentsError(text(u.Contents)))
	for i := range u.Dropins {
		d, p := &u.Dropins[i], here.field("dropins").at(i)
		if path.Ext(d.Name) != ".conf" {
			t.fail(p.field("name"), "invalid networkd drop-in extension")
		}
		t.failOn(p.field("contents"), t.contentsError(text(d.Contents)))
	}
}

// contentsError checks the grammar of a networkd unit, which nothing does later. Spec 1 did not look at it.
func (t *translation) contentsError(s string) error {
	if t.v == v1 {
		return nil
	}
	return config.CheckUnitContents(s)
}

// validateUser wants what can stand in create either there or beside it.
func (t *translation) validateUser(u *user, here *place) {
	if u.Create == nil {
		return
	}
	beside := u.User
	beside.Name, beside.PasswordHash, beside.SSHAuthorizedKeys = "", nil, nil
	prune(&beside)
	v := reflect.ValueOf(&beside).Elem()
	for i := range v.NumField() {
		f := v.Field(i)
		if f.IsZero() || f.Kind() == reflect.Slice && f.Len() == 0 {
			continue
		}
		name, _, _ := strings.Cut(v.Type().Field(i).Tag.Get("json"), ",")
		t.failf(here.field(name), "%s cannot be used together with create: move it into create, or move all of create to the user", name)
	}
}
