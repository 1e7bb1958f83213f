// SPDX-License-Identifier: Apache-2.0

package distro

import (
	"errors"
	"fmt"
	"strconv"
)

// Setting is one row of the table: a name that -X takes, and the value that
// this binary was built with.
type Setting struct {
	Name  string
	Value string
}

// Settings lists everything that can be set at link time, for documentation
// and for a look into a binary.
func Settings() []Setting {
	return []Setting{
		{"Version", Version},
		{"DiskByLabelDir", DiskByLabelDir},
		{"BootIDPath", BootIDPath},
		{"KernelCmdlinePath", KernelCmdlinePath},
		{"JournalSocket", JournalSocket},
		{"SystemRuntimeConfigDir", SystemRuntimeConfigDir},
		{"SystemLocalConfigDir", SystemLocalConfigDir},
		{"SystemConfigDir", SystemConfigDir},
		{"OEMLookasideDir", OEMLookasideDir},
		{"ConfigCache", ConfigCache},
		{"NeednetFile", NeednetFile},
		{"StateFile", StateFile},
		{"OpsFile", OpsFile},
		{"FailureFile", FailureFile},
		{"DeviceAliasDir", DeviceAliasDir},
		{"LuksCexKeyFile", LuksCexKeyFile},
		{"LuksCexRepository", LuksCexRepository},
		{"LuksRealRootKeyFilePath", LuksRealRootKeyFilePath},
		{"LuksCexRealRootRepository", LuksCexRealRootRepository},
		{"ResultFilePath", ResultFilePath},
		{"Groupadd", Groupadd},
		{"Groupmod", Groupmod},
		{"Groupdel", Groupdel},
		{"Useradd", Useradd},
		{"Usermod", Usermod},
		{"Userdel", Userdel},
		{"Sgdisk", Sgdisk},
		{"Partx", Partx},
		{"Wipefs", Wipefs},
		{"Blkid", Blkid},
		{"Udevadm", Udevadm},
		{"Dmsetup", Dmsetup},
		{"Mdadm", Mdadm},
		{"Cryptsetup", Cryptsetup},
		{"Clevis", Clevis},
		{"Zkey", Zkey},
		{"ZkeyCryptsetup", ZkeyCryptsetup},
		{"MkfsBtrfs", MkfsBtrfs},
		{"MkfsExt4", MkfsExt4},
		{"MkfsFAT", MkfsFAT},
		{"MkfsXFS", MkfsXFS},
		{"Mkswap", Mkswap},
		{"Mount", Mount},
		{"Mountpoint", Mountpoint},
		{"Modprobe", Modprobe},
		{"Setfiles", Setfiles},
		{"Systemctl", Systemctl},
		{"SystemdAnalyze", SystemdAnalyze},
		{"KargsHelper", KargsHelper},
		{"Vmur", Vmur},
		{"Chccwdev", Chccwdev},
		{"CioIgnore", CioIgnore},
		{"selinuxRelabel", selinuxRelabel},
		{"blackboxTesting", blackboxTesting},
		{"reuseOEM", reuseOEM},
		{"initrdAttach", initrdAttach},
		{"writeAuthorizedKeysFragment", writeAuthorizedKeysFragment},
	}
}

// Check reports switches whose value is no boolean, which is a mistake in the
// build. Such a switch counts as off.
func Check() error {
	var errs []error
	for _, s := range []Setting{
		{"selinuxRelabel", selinuxRelabel},
		{"blackboxTesting", blackboxTesting},
		{"reuseOEM", reuseOEM},
		{"initrdAttach", initrdAttach},
		{"writeAuthorizedKeysFragment", writeAuthorizedKeysFragment},
	} {
		if _, err := strconv.ParseBool(s.Value); err != nil {
			errs = append(errs, fmt.Errorf("built with %s=%q, which is neither true nor false", s.Name, s.Value))
		}
	}
	return errors.Join(errs...)
}

// on reads a switch.
func on(value string) bool {
	b, err := strconv.ParseBool(value)
	return err == nil && b
}
