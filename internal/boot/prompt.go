// SPDX-License-Identifier: Apache-2.0

package boot

import (
	"context"
	"fmt"
	"os"
	"time"

	"golang.org/x/sys/unix"

	"firstboot.dev/ignition/internal/exec"
)

const (
	promptTime  = 5 * time.Minute
	promptEvery = 15 * time.Second
)

// Act does what the kernel command line wants to happen after a report. With a
// shell it returns, and the shell is for the units of the initramfs to start.
func (e *Env) Act(ctx context.Context) error {
	cmdline, err := e.CommandLine()
	if err != nil {
		return err
	}
	verb := ""
	switch action(words(cmdline), ParseRequest(cmdline)) {
	case ActionReboot:
		verb = "reboot"
	case ActionPoweroff:
		verb = "poweroff"
	case ActionPrompt:
		if e.confirmed(ctx, promptTime) {
			return nil
		}
		verb = "reboot"
	default:
		return nil
	}
	_, err = e.runner().Run(ctx, exec.Cmd{Name: "systemctl", Args: []string{verb, "--force"}})
	return err
}

// confirmed waits for Enter on the console, and says now and then how long.
func (e *Env) confirmed(ctx context.Context, limit time.Duration) bool {
	tty, err := os.OpenFile(e.at("/dev/console"), os.O_RDWR|unix.O_NOCTTY|unix.O_NONBLOCK, 0)
	if err != nil {
		e.Log.Warning("nobody can be asked: %v", err)
		return false
	}
	defer tty.Close()
	end := time.Now().Add(limit)
	for left := limit; left > 0 && ctx.Err() == nil; left = time.Until(end) {
		_, _ = fmt.Fprintf(tty, "\r\nPress Enter for an emergency shell, or wait %d s for a reboot. ", int(left.Seconds()+0.5))
		fds := []unix.PollFd{{Fd: int32(tty.Fd()), Events: unix.POLLIN}}
		n, err := unix.Poll(fds, int(min(left, promptEvery).Milliseconds()))
		if n > 0 && fds[0].Revents&unix.POLLIN != 0 {
			var b [256]byte
			_, _ = unix.Read(int(tty.Fd()), b[:])
			return true
		}
		if err != nil && err != unix.EINTR || n > 0 {
			e.Log.Warning("nobody can be asked: the console hung up")
			select { // the screen of another one may still be read
			case <-ctx.Done():
			case <-time.After(time.Until(end)):
			}
			return false
		}
	}
	return false
}
