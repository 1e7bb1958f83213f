// SPDX-License-Identifier: Apache-2.0

// Package distro is the one table of everything that depends on the
// distribution: paths, program names and switches, each settable at link time
// with -ldflags "-X firstboot.dev/ignition/internal/distro.NAME=VALUE". All
// are strings, since the linker can set nothing else; a switch has an accessor
// that reads it. The defaults are Flatcar's where it differs from others.
// Nothing changes these variables at run time.
package distro

// Version is the program's version, set by the build from the repository.
var Version = "was not built properly"

// Files of the running system, here the initramfs.
var (
	// DiskByLabelDir holds udev's links from file system labels to devices.
	// Config drives and ignition.config.device are found here.
	DiskByLabelDir = "/dev/disk/by-label"
	// BootIDPath has a text that differs with every boot of the kernel. It tells
	// records of this boot from older ones.
	BootIDPath = "/proc/sys/kernel/random/boot_id"
	// KernelCmdlinePath is read for ignition.config.url and the like.
	// IGNITION_KERNEL_CMDLINE_PATH overrides it.
	KernelCmdlinePath = "/proc/cmdline"
	// JournalSocket takes native journal entries. No socket, no entries.
	JournalSocket = "/run/systemd/journal/socket"
)

// Configs that the distribution or the image brings along, highest priority first.
var (
	// SystemRuntimeConfigDir is written by generators and by other units of the
	// initramfs. IGNITION_SYSTEM_RUNTIME_CONFIG_DIR overrides it.
	SystemRuntimeConfigDir = "/run/ignition"
	// SystemLocalConfigDir is the administrator's, for images that are built
	// locally. IGNITION_SYSTEM_LOCAL_CONFIG_DIR overrides it.
	SystemLocalConfigDir = "/etc/ignition"
	// SystemConfigDir is the distribution's own. IGNITION_SYSTEM_CONFIG_DIR overrides it.
	SystemConfigDir = "/usr/lib/ignition"
	// OEMLookasideDir is the root of oem:// URLs. IGNITION_OEM_LOOKASIDE_DIR
	// overrides it. Flatcar mounts its OEM partition there before the first stage.
	OEMLookasideDir = "/oem"
)

// Where the stages leave things for each other. All are on /run, which the
// real root inherits. Each is the default of a flag.
var (
	// ConfigCache is the rendered user config; boot scripts read it with jq.
	ConfigCache = "/run/ignition.json"
	// NeednetFile is made by fetch-offline when the config needs the network;
	// boot units test for it.
	NeednetFile = "/run/ignition/neednet"
	// StateFile is what one stage tells the next. It can hold secrets.
	StateFile = "/run/ignition/state"
	// OpsFile is the record of every operation, read by `ignition report`.
	OpsFile = "/run/ignition/ops.jsonl"
	// FailureFile says how a stage failed; the report at the console reads it.
	FailureFile = "/run/ignition/failure.json"
	// DeviceAliasDir has links to kernel device nodes that stay while udev
	// removes and makes its own links anew.
	DeviceAliasDir = "/run/ignition/dev_aliases"
)

// Files of the initramfs for volumes whose key is in a crypto card (s390x).
var (
	// LuksCexKeyFile opens them; what it holds is no secret.
	LuksCexKeyFile = "/etc/luks/cex.key"
	// LuksCexRepository is where zkey puts the keys that it makes.
	LuksCexRepository = "/etc/zkey/repository/"
)

// Paths in the real root, without the root's own path.
var (
	// LuksRealRootKeyFilePath is the directory of the key files that
	// /etc/crypttab names.
	LuksRealRootKeyFilePath = "/etc/luks/"
	// LuksCexRealRootRepository is where zkey looks for volume keys (s390x).
	LuksCexRealRootRepository = "/etc/zkey/repository/"
	// ResultFilePath tells the provisioned system how it was made. An empty
	// string means that none is written.
	ResultFilePath = "/etc/.ignition-result.json"
)

// Programs that make users and groups, each called with --root. They are
// looked up in the initramfs, not in the root, so a root without them is fine.
var (
	Groupadd = "groupadd" // makes a group
	Groupmod = "groupmod" // changes one that the image has
	Groupdel = "groupdel" // removes one with shouldExist false
	Useradd  = "useradd"  // makes a user
	Usermod  = "usermod"  // changes one, and sets passwords
	Userdel  = "userdel"  // removes one with shouldExist false
)

// Programs for disks, volumes and file systems.
var (
	Sgdisk         = "sgdisk"          // writes partition tables
	Partx          = "partx"           // tells the kernel of partitions on a disk that is in use
	Wipefs         = "wipefs"          // removes signatures of what a device held before
	Blkid          = "blkid"           // finds out what a device holds
	Udevadm        = "udevadm"         // waits until links to devices are up to date
	Dmsetup        = "dmsetup"         // tells what device-mapper volumes are built upon
	Mdadm          = "mdadm"           // makes RAID arrays
	Cryptsetup     = "cryptsetup"      // makes and opens LUKS volumes
	Clevis         = "clevis"          // binds LUKS volumes to a TPM or a Tang server
	Zkey           = "zkey"            // s390x: makes protected volume keys
	ZkeyCryptsetup = "zkey-cryptsetup" // s390x: sets the volume key of a LUKS volume
	MkfsBtrfs      = "mkfs.btrfs"      // one program per format of the config
	MkfsExt4       = "mkfs.ext4"       // see MkfsBtrfs
	MkfsFAT        = "mkfs.fat"        // format vfat; mkfs.vfat is only a link to it
	MkfsXFS        = "mkfs.xfs"        // see MkfsBtrfs
	Mkswap         = "mkswap"          // format swap
	Mount          = "mount"           // mounts with options in the form users write them
	Mountpoint     = "mountpoint"      // says after a failed unmount whether the mount is gone
)

// Other programs.
var (
	// Modprobe loads drivers that a platform's metadata is read through.
	Modprobe = "modprobe"
	// Setfiles relabels for SELinux.
	Setfiles = "setfiles"
	// Systemctl says whether a unit exists, for presets of instances.
	Systemctl = "systemctl"
	// SystemdAnalyze judges units, for ignition validate --units; never at boot.
	SystemdAnalyze = "systemd-analyze"
	// KargsHelper changes the boot loader's kernel arguments. It comes from the
	// distribution, since every boot loader set-up is different.
	KargsHelper = "ignition-kargs-helper"
	// Vmur reads z/VM's virtual reader, Chccwdev and CioIgnore bring it online (s390x).
	Vmur      = "vmur"
	Chccwdev  = "chccwdev"   // see Vmur
	CioIgnore = "cio_ignore" // see Vmur
)

// Switches: "true" or "false".
var (
	// selinuxRelabel is "false" as on Flatcar, whose policy labels files at
	// boot; distributions with an enforcing policy in the image need "true".
	selinuxRelabel = "false"
	// blackboxTesting is "true" in a binary for tests that run on a host where
	// relabelling would change the host. It never is in a release.
	blackboxTesting = "false"
	// reuseOEM is "true" on Flatcar: a filesystem labelled OEM is what the image
	// brought and is kept whatever format a config gives for it.
	reuseOEM = "true"
	// initrdAttach is "true" where systemd knows x-initrd.attach in crypttab; it
	// keeps a soft reboot from closing the volumes.
	initrdAttach = "true"
	// writeAuthorizedKeysFragment is "true" where sshd or a tool of the
	// distribution reads ~/.ssh/authorized_keys.d; otherwise keys go to
	// ~/.ssh/authorized_keys. IGNITION_WRITE_AUTHORIZED_KEYS_FRAGMENT overrides it.
	writeAuthorizedKeysFragment = "true"
)

// SELinuxRelabel says whether files that were written are relabelled.
func SELinuxRelabel() bool { return on(selinuxRelabel) && !BlackboxTesting() }

// ReuseOEM says whether an existing OEM filesystem is kept whatever its format.
func ReuseOEM() bool { return on(reuseOEM) }

// InitrdAttach says whether crypttab lines have the option x-initrd.attach.
func InitrdAttach() bool { return on(initrdAttach) }

// BlackboxTesting says whether this binary was built for blackbox tests.
func BlackboxTesting() bool { return on(blackboxTesting) }

// WriteAuthorizedKeysFragment says whether ssh keys go to a file of their own,
// authorized_keys.d/ignition.
func WriteAuthorizedKeysFragment() bool { return on(writeAuthorizedKeysFragment) }
