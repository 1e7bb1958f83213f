// SPDX-License-Identifier: Apache-2.0

package hyperv

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"slices"
	"time"

	"firstboot.dev/ignition/internal/resource"
	"golang.org/x/sys/unix"
)

// The kernel's struct hv_kvp_msg, <linux/hyperv.h>: a header of operation,
// pool and padding, which in an answer is an error code instead, and a union
// that is as large as its largest member. Of the members only that of a "set"
// matters: type, key size, value size, key, value.
const (
	keySize     = 512
	valueSize   = 2048
	headerSize  = 4
	setSize     = 12 + keySize + valueSize
	messageSize = headerSize + setSize + 4856

	keySizeAt   = headerSize + 4
	valueSizeAt = headerSize + 8
	keyAt       = headerSize + 12
	valueAt     = keyAt + keySize

	opSet      = 1
	opRegister = 100 // of daemons that answer with an error code

	statusOK   = 0
	statusFail = 0x80004005

	poolCount = 5
)

type pair struct{ key, value string }

// pools are the pairs of each pool, in the order in which they first came.
type pools [poolCount][]pair

func (p *pools) set(pool int, key, value string) {
	i := slices.IndexFunc(p[pool], func(have pair) bool { return have.key == key })
	if i < 0 {
		p[pool] = append(p[pool], pair{key, value})
		return
	}
	p[pool][i].value = value
}

func (p *pools) get(pool int, key string) (string, bool) {
	for _, have := range p[pool] {
		if have.key == key {
			return have.value, true
		}
	}
	return "", false
}

// device is the kernel's end of the exchange.
type device interface {
	Read([]byte) (int, error)
	Write([]byte) (int, error)
	// Poll tells whether there is something to read before the time is over.
	Poll(time.Duration) (bool, error)
	Close() error
}

var errShort = errors.New("short message")

// exchange registers with the kernel as the daemon and takes what the host
// sets, until the host is quiet.
func exchange(ctx context.Context, log resource.Log, dev device, wait patience) (pools, error) {
	var all pools
	message := make([]byte, messageSize)
	message[0] = opRegister
	if err := send(dev, message); err != nil {
		return all, fmt.Errorf("registering: %w", err)
	}
	for end := time.Now().Add(wait.total); ; {
		if err := ctx.Err(); err != nil {
			return all, err
		}
		if !time.Now().Before(end) {
			log.Warning("the host still sends messages after %v; they are left alone", wait.total)
			return all, nil
		}
		ready, err := dev.Poll(wait.quiet)
		switch {
		case again(err):
			continue
		case err != nil:
			return all, fmt.Errorf("waiting for the host: %w", err)
		case !ready:
			return all, nil
		}
		n, err := dev.Read(message)
		switch {
		case again(err):
			continue
		case err != nil:
			return all, fmt.Errorf("reading: %w", err)
		case n != messageSize:
			return all, fmt.Errorf("reading: %w: %d of %d bytes", errShort, n, messageSize)
		}
		if message[0] == opRegister {
			continue // the kernel's half of the handshake wants no answer
		}
		status, bad := all.take(log, message)
		binary.NativeEndian.PutUint32(message, status)
		if err := send(dev, message); err != nil {
			return all, fmt.Errorf("answering: %w", err)
		}
		if bad != nil {
			return all, bad
		}
	}
}

// take stores what a message sets and gives the status to answer with. An
// error means that the message makes no sense.
func (p *pools) take(log resource.Log, message []byte) (status uint32, err error) {
	if message[0] != opSet {
		return statusFail, nil
	}
	pool := int(message[1])
	if pool >= poolCount {
		log.Warning("the host has set a key of pool %d, which does not exist", pool)
		return statusFail, nil
	}
	key, err := text(message[keyAt:valueAt], message[keySizeAt:])
	if err != nil {
		return statusFail, fmt.Errorf("key: %w", err)
	}
	value, err := text(message[valueAt:valueAt+valueSize], message[valueSizeAt:])
	if err != nil {
		return statusFail, fmt.Errorf("value of key %q: %w", key, err)
	}
	p.set(pool, key, value)
	return statusOK, nil
}

// text gives the text of a field, whose size counts the NUL at its end.
func text(field, size []byte) (string, error) {
	n := binary.NativeEndian.Uint32(size)
	if n > uint32(len(field)) {
		return "", fmt.Errorf("%d bytes in a field of %d", n, len(field))
	}
	if n > 0 && field[n-1] == 0 {
		n--
	}
	return string(field[:n]), nil
}

func send(dev device, message []byte) error {
	for tries := 0; ; tries++ {
		n, err := dev.Write(message)
		switch {
		case again(err) && tries < 1000:
			if _, err := dev.Poll(time.Millisecond); err != nil && !again(err) {
				return err
			}
		case err != nil:
			return err
		case n != len(message):
			return fmt.Errorf("%w: %d of %d bytes", errShort, n, len(message))
		default:
			return nil
		}
	}
}

func again(err error) bool { return errors.Is(err, unix.EINTR) || errors.Is(err, unix.EAGAIN) }

// node is the device of the kernel.
type node int

func openDevice(path string) (device, error) {
	for {
		fd, err := unix.Open(path, unix.O_RDWR|unix.O_CLOEXEC|unix.O_NONBLOCK, 0)
		switch {
		case err == unix.EINTR:
		case err != nil:
			return nil, &os.PathError{Op: "open", Path: path, Err: err}
		default:
			return node(fd), nil
		}
	}
}

func (n node) Read(p []byte) (int, error)  { return unix.Read(int(n), p) }
func (n node) Write(p []byte) (int, error) { return unix.Write(int(n), p) }
func (n node) Close() error                { return unix.Close(int(n)) }

func (n node) Poll(wait time.Duration) (bool, error) {
	fds := []unix.PollFd{{Fd: int32(n), Events: unix.POLLIN}}
	count, err := unix.Poll(fds, int(wait.Milliseconds()))
	if err != nil || count == 0 {
		return false, err
	}
	if fds[0].Revents&unix.POLLIN == 0 {
		return false, errors.New("the device is gone")
	}
	return true, nil
}
