// SPDX-License-Identifier: Apache-2.0

package blackbox

import (
	"fmt"
	"os"
	"runtime"
	"syscall"
	"testing"
	"unsafe"

	"golang.org/x/sys/unix"
)

// filtered, in the environment, makes the test binary a program that gives up
// the system calls that change a file system and then becomes another.
const filtered = "IGNITION_TEST_FILTERED"

// mutating are the calls that a plan has no use for. openat2 takes its flags
// through a pointer, which a filter cannot follow: that is for the read-only mount.
var mutating = []uint32{
	unix.SYS_CREAT, unix.SYS_MKDIR, unix.SYS_MKDIRAT, unix.SYS_MKNOD, unix.SYS_MKNODAT, unix.SYS_RMDIR, unix.SYS_UNLINK, unix.SYS_UNLINKAT,
	unix.SYS_RENAME, unix.SYS_RENAMEAT, unix.SYS_RENAMEAT2, unix.SYS_LINK, unix.SYS_LINKAT, unix.SYS_SYMLINK, unix.SYS_SYMLINKAT,
	unix.SYS_CHMOD, unix.SYS_FCHMOD, unix.SYS_FCHMODAT, unix.SYS_CHOWN, unix.SYS_FCHOWN, unix.SYS_LCHOWN, unix.SYS_FCHOWNAT,
	unix.SYS_TRUNCATE, unix.SYS_FTRUNCATE, unix.SYS_FALLOCATE, unix.SYS_UTIME, unix.SYS_UTIMES, unix.SYS_UTIMENSAT, unix.SYS_FUTIMESAT,
	unix.SYS_SETXATTR, unix.SYS_LSETXATTR, unix.SYS_FSETXATTR, unix.SYS_REMOVEXATTR, unix.SYS_LREMOVEXATTR, unix.SYS_FREMOVEXATTR,
	unix.SYS_MOUNT, unix.SYS_UMOUNT2, unix.SYS_PIVOT_ROOT, unix.SYS_CHROOT, unix.SYS_SYNC, unix.SYS_SYNCFS, unix.SYS_FSYNC, unix.SYS_FDATASYNC,
	unix.SYS_FCHMODAT2, unix.SYS_FSMOUNT, unix.SYS_MOVE_MOUNT, unix.SYS_OPEN_TREE, unix.SYS_MOUNT_SETATTR, unix.SYS_COPY_FILE_RANGE,
	unix.SYS_IO_URING_SETUP, // which would go round the filter
	unix.SYS_SETHOSTNAME, unix.SYS_REBOOT, unix.SYS_SWAPON, unix.SYS_SWAPOFF,
}

// filter kills the process at such a call, and at an open or openat for writing.
func filter() []unix.SockFilter {
	const writing = unix.O_WRONLY | unix.O_RDWR | unix.O_CREAT | unix.O_TRUNC | unix.O_APPEND
	kill := unix.SockFilter{Code: unix.BPF_RET | unix.BPF_K, K: unix.SECCOMP_RET_KILL_PROCESS}
	load := func(offset uint32) unix.SockFilter {
		return unix.SockFilter{Code: unix.BPF_LD | unix.BPF_W | unix.BPF_ABS, K: offset}
	}
	jump := func(op uint16, k uint32, yes, no uint8) unix.SockFilter {
		return unix.SockFilter{Code: unix.BPF_JMP | unix.BPF_K | op, K: k, Jt: yes, Jf: no}
	}
	prog := []unix.SockFilter{load(0)} // seccomp_data.nr
	for _, nr := range mutating {
		prog = append(prog, jump(unix.BPF_JEQ, nr, 0, 1), kill)
	}
	for nr, flags := range map[uint32]uint32{unix.SYS_OPEN: 1, unix.SYS_OPENAT: 2} {
		prog = append(prog, jump(unix.BPF_JEQ, nr, 0, 4), load(16+8*flags), jump(unix.BPF_JSET, writing, 0, 1), kill, load(0))
	}
	return append(prog, unix.SockFilter{Code: unix.BPF_RET | unix.BPF_K, K: unix.SECCOMP_RET_ALLOW})
}

// becomeFiltered runs os.Args[1:] under the filter. It returns only on an error.
func becomeFiltered() error {
	runtime.LockOSThread()
	prog := filter()
	p := unix.SockFprog{Len: uint16(len(prog)), Filter: &prog[0]}
	if err := unix.Prctl(unix.PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0); err != nil {
		return err
	}
	if _, _, errno := unix.Syscall(unix.SYS_SECCOMP, unix.SECCOMP_SET_MODE_FILTER, 0, uintptr(unsafe.Pointer(&p))); errno != 0 {
		return errno
	}
	return syscall.Exec(os.Args[1], os.Args[1:], os.Environ())
}

// filteredMain is the program that becomes another, if it is that one.
func filteredMain() {
	if os.Getenv(filtered) == "" {
		return
	}
	os.Unsetenv(filtered)
	fmt.Fprintln(os.Stderr, "filtered:", becomeFiltered())
	os.Exit(111)
}

// runFiltered runs the binary under the filter.
func (m *machine) runFiltered(args ...string) result {
	m.t.Helper()
	self, err := os.Executable()
	m.must(err)
	saved, env := binary, m.env
	defer func() { binary, m.env = saved, env }()
	args = append([]string{saved}, args...)
	binary, m.env = self, append(env[:len(env):len(env)], filtered+"=1")
	return m.run(args...)
}

// TestPlanFiltered: a plan makes no system call that changes anything, also for
// the root of this machine, and on a read-only mount, where no file could be
// opened for writing either. That the filter bites is seen in a stage.
func TestPlanFiltered(t *testing.T) {
	m := newMachine(t)
	if err := unix.Access("/proc/sys/kernel/seccomp", unix.F_OK); err != nil {
		t.Skip("needs a kernel with seccomp filters")
	}
	for name, config := range map[string]string{
		"files and units": planConfig,
		"links":           storage("3.4.0", `"links":[{"path":"/etc/l","target":"/x"},{"path":"/etc/h","target":"/etc/passwd","hard":true}],"directories":[{"path":"/d","mode":448}]`),
		"accounts":        `{"ignition":{"version":"3.4.0"},"passwd":{"groups":[{"name":"g"}],"users":[{"name":"u","groups":["docker"],"sshAuthorizedKeys":["ssh-ed25519 AAAA"]},{"name":"core","passwordHash":"$6$x"}]}}`,
		"masked":          `{"ignition":{"version":"3.4.0"},"systemd":{"units":[{"name":"a.service","mask":true},{"name":"b.service","enabled":true,"dropins":[{"name":"c.conf","contents":"[Unit]"}]}]}}`,
		"overwrites":      storage("3.4.0", `"files":[{"path":"/etc/passwd","overwrite":true,"contents":{"source":"data:,x"}},{"path":"/etc/group","append":[{"source":"data:,x"}]}]`),
	} {
		m.write("config.ign", config)
		for _, root := range []string{m.root, "/"} {
			if res := m.runFiltered("plan", "--root="+root, m.path("config.ign")); res.code != 2 {
				t.Errorf("%s on %s: exit %d\n%s%s", name, root, res.code, res.stdout, res.stderr)
			}
		}
	}
	m.write("config.ign", planConfig)
	if res := m.runFiltered(m.stageArgs("file", "fetch")...); res.code != -1 {
		t.Errorf("a stage under the filter exits with %d:\n%s%s", res.code, res.stdout, res.stderr)
	}
}
