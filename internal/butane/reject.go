// SPDX-License-Identifier: Apache-2.0

package butane

import (
	"slices"
	"strings"

	"firstboot.dev/ignition/internal/config"
)

const unsupported = " is not supported in this spec version"
const unsupportedMany = " are not supported in this spec version"

// reject refuses what the variant's target cannot do. It looks at the finished config, so at what sugar made too.
// An entry is refused once, whatever is in it, if anything is.
func (t *translation) reject() {
	s := &t.out.Storage
	switch d := t.dialect; {
	case d.variant == "flatcar" && d.minor < 7:
		for i := range s.LUKS {
			t.rejectIf(!config.IsEmpty(&s.LUKS[i].Clevis), "clevis"+unsupported, item("storage.luks", i)+".clevis")
		}
	case d.variant == "flatcar":
		for i := range s.LUKS {
			t.rejectIf(!config.IsEmpty(&s.LUKS[i].CEX), "cex is not currently supported on the target platform", item("storage.luks", i)+".cex")
		}
	case d.variant == "r4e" || d.variant == "fiot":
		t.rejectIf(!config.IsEmpty(&t.out.KernelArguments), "kernel argument customization"+unsupported, "kernelArguments")
		t.rejectIf(len(s.Disks) > 0, "disk customization"+unsupported, "storage.disks")
		t.rejectIf(len(s.Filesystems) > 0, "filesystem customization"+unsupported, "storage.filesystems")
		t.rejectIf(len(s.LUKS) > 0, "luks"+unsupported, "storage.luks")
		t.rejectIf(len(s.RAID) > 0, "raid"+unsupported, "storage.raid")
	case d.machineConfig():
		t.rejectInMachineConfig()
	}
}

func (t *translation) rejectIf(used bool, message string, at where) {
	if used {
		t.failIn(message, at)
	}
}

// checkMachineValues refuses values that the machine-config operator does not take.
func (t *translation) checkMachineValues() {
	s, release := &t.out.Storage, t.dialect.release
	for i := range s.Files {
		f := &s.Files[i]
		if src := f.Contents.Source; src != nil && !strings.HasPrefix(*src, "data:") {
			t.failIn("file contents source must be data URL"+strings.TrimPrefix(unsupported, " is not supported"), item("storage.files", i)+".contents.source")
		}
		t.rejectIf(f.Mode != nil && *f.Mode&^0o777 != 0 && release >= 10, "special mode bits"+unsupportedMany, item("storage.files", i)+".mode")
	}
	for i := range s.Filesystems {
		format := value(s.Filesystems[i].Format)
		t.rejectIf(format == "btrfs", "btrfs"+unsupported, item("storage.filesystems", i)+".format")
		t.rejectIf(format == "none" && release >= 14, `format "none"`+unsupported, item("storage.filesystems", i)+".format")
	}
	for i := range t.out.Passwd.Users {
		t.checkMachineUser(&t.out.Passwd.Users[i], item("passwd.users", i))
	}
}

func (t *translation) checkMachineUser(u *config.User, at where) {
	t.rejectIf(u.Name != "core", `users other than "core"`+unsupportedMany, at+".name")
	allowed := []string{"name", "sshAuthorizedKeys"}
	if t.dialect.release >= 13 {
		allowed = append(allowed, "passwordHash")
	}
	for _, name := range config.KeysIn(u) {
		t.rejectIf(!slices.Contains(allowed, name),
			`fields other than "name", "ssh_authorized_keys", and "password_hash" (4.13.0+)`+unsupportedMany, at+"."+name)
	}
}

func (t *translation) rejectInMachineConfig() {
	s, release := &t.out.Storage, t.dialect.release
	t.rejectIf(len(t.out.Passwd.Groups) > 0, "groups"+unsupportedMany, "passwd.groups")
	t.rejectIf(len(s.Directories) > 0, "directories"+unsupportedMany, "storage.directories")
	t.rejectIf(len(s.Links) > 0, "links"+unsupportedMany, "storage.links")
	for i := range s.Files {
		f, at := &s.Files[i], item("storage.files", i)
		t.rejectIf(len(f.Append) > 0, "appending to files"+unsupported, at+".append")
		t.rejectIf(value(f.Contents.Compression) != "" && release < 10, "file compression"+unsupported, at+".contents.compression")
		t.rejectIf(len(f.Contents.HTTPHeaders) > 0, "file HTTP headers"+unsupportedMany, at+".contents.httpHeaders")
	}
	t.rejectIf(!config.IsEmpty(&t.out.KernelArguments), "this section cannot be used for kernel arguments in this spec version; use openshift.kernel_arguments instead", "kernelArguments")
}
