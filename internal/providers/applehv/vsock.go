// SPDX-License-Identifier: Apache-2.0

package applehv

import (
	"context"
	"fmt"
	"net"
	"os"

	"golang.org/x/sys/unix"
)

// The address of the host's server.
const (
	hostCID  = unix.VMADDR_CID_HOST
	hostPort = 1024
)

// conn is a connected socket of a family that package net does not know. As a
// file of the runtime's poller it has deadlines.
type conn struct{ *os.File }

// addr names the peer in errors.
type addr struct{}

func (addr) Network() string { return "vsock" }
func (addr) String() string  { return fmt.Sprintf("host(%d):%d", hostCID, hostPort) }

func (conn) LocalAddr() net.Addr  { return addr{} }
func (conn) RemoteAddr() net.Addr { return addr{} }

// dialHost connects to the host's server.
func dialHost(ctx context.Context) (net.Conn, error) {
	return dialSocket(ctx, unix.AF_VSOCK, &unix.SockaddrVM{CID: hostCID, Port: hostPort})
}

func dialSocket(ctx context.Context, family int, to unix.Sockaddr) (net.Conn, error) {
	fd, err := unix.Socket(family, unix.SOCK_STREAM|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, 0)
	if err != nil {
		return nil, os.NewSyscallError("socket", err)
	}
	if err := connect(ctx, fd, to); err != nil {
		unix.Close(fd)
		return nil, err
	}
	return conn{os.NewFile(uintptr(fd), "vsock")}, nil
}

// connect connects a non-blocking socket.
func connect(ctx context.Context, fd int, to unix.Sockaddr) error {
	err := unix.Connect(fd, to)
	if err != unix.EINPROGRESS && err != unix.EINTR {
		return os.NewSyscallError("connect", err)
	}
	return finish(ctx, fd)
}

// finish waits for a connection in progress.
func finish(ctx context.Context, fd int) error {
	const look = 50 // milliseconds, between looks at the context
	for {
		if err := ctx.Err(); err != nil {
			return err
		}
		ready, err := unix.Poll([]unix.PollFd{{Fd: int32(fd), Events: unix.POLLOUT}}, look)
		if err != nil && err != unix.EINTR {
			return os.NewSyscallError("poll", err)
		}
		if ready <= 0 {
			continue
		}
		code, err := unix.GetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_ERROR)
		if err == nil && code != 0 {
			err = unix.Errno(code)
		}
		return os.NewSyscallError("connect", err)
	}
}
