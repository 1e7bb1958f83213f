// SPDX-License-Identifier: Apache-2.0

package virtualbox

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"runtime"
	"unsafe"

	"golang.org/x/sys/unix"
)

// The driver's interface, <linux/vboxguest.h> and <linux/vbox_vmmdev_types.h>,
// in its form for 64-bit programs. Each request begins with a header:
//
//	u32 size in, u32 version, u32 type, s32 result, u32 size out, u32 reserved
const (
	headerVersion = 0x10001
	headerSize    = 24
	rcAt          = 12
	sizeOutAt     = 16

	driverVersion = 0x10000 // 1.0

	versionIn, versionOut       = 40, 44
	connectIn, connectOut       = 156, 28 // a service's location; a client's id
	disconnectIn, disconnectOut = 28, 24
	callSize                    = 40 // client, function, time-out, two flags, count of parameters
	parameterSize               = 16

	locationExisting = 2
	serviceName      = "VBoxGuestPropSvc"

	functionGet    = 1
	functionDelete = 4

	callTimeout = 30_000 // milliseconds
)

// Types of the parameters of a call. Memory is given by its size and address.
const (
	type32        = 1
	type64        = 2
	typeMemory    = 4 // the host reads and writes it
	typeMemoryIn  = 5 // the host reads it
	largestValue  = 16 << 20
	growthRetries = 10
)

// The host's results that are told apart; errors are negative.
const (
	resultPermissionDenied = -10
	resultBufferOverflow   = -41
	resultNotFound         = -78
)

// ioctl numbers: _IOWR('V', nr, size).
const (
	ioctlVersion    = 3<<30 | versionOut<<16 | 'V'<<8
	ioctlConnect    = 3<<30 | connectIn<<16 | 'V'<<8 | 4
	ioctlDisconnect = 3<<30 | disconnectIn<<16 | 'V'<<8 | 5
	ioctlCall       = 3<<30 | 'V'<<8 | 7 // and the size of the request at 16
)

// resultError is what the host answered to a request that the driver passed on.
type resultError int32

func (e resultError) Error() string {
	if e == resultPermissionDenied {
		return "permission denied; is the property read-only?"
	}
	return fmt.Sprintf("error %d", int32(e))
}

// doer does one ioctl with a request, which it changes in place.
type doer func(number uint, request []byte) error

// client is a connection to the property service.
type client struct {
	do   doer
	id   uint32
	shut func() error
}

// connect opens the device and connects to the service that the host runs.
func connect(ctx context.Context, device string) (propertyService, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	fd, err := unix.Open(device, unix.O_RDWR|unix.O_CLOEXEC, 0)
	if err != nil {
		return nil, &os.PathError{Op: "open", Path: device, Err: err}
	}
	do := func(number uint, request []byte) error {
		for {
			_, _, errno := unix.Syscall(unix.SYS_IOCTL, uintptr(fd), uintptr(number), uintptr(unsafe.Pointer(&request[0])))
			switch errno {
			case 0:
				return nil
			case unix.EINTR:
			default:
				return errno
			}
		}
	}
	c, err := dial(do, func() error { return unix.Close(fd) })
	if err != nil {
		return nil, fmt.Errorf("connecting to the VirtualBox property service through %s: %w", device, err)
	}
	return c, nil
}

// dial agrees on the version of the interface and connects to the service.
func dial(do doer, shut func() error) (*client, error) {
	c := &client{do: do, shut: shut}
	version := c.request(versionIn, versionOut)
	binary.NativeEndian.PutUint32(version[headerSize:], driverVersion)
	binary.NativeEndian.PutUint32(version[headerSize+4:], driverVersion)
	err := c.send(ioctlVersion, version)
	if err == nil {
		location := c.request(connectIn, connectOut)
		binary.NativeEndian.PutUint32(location[headerSize:], locationExisting)
		copy(location[headerSize+4:], serviceName)
		err = c.send(ioctlConnect, location)
		c.id = binary.NativeEndian.Uint32(location[headerSize:])
	}
	if err != nil {
		return nil, errors.Join(err, shut())
	}
	return c, nil
}

// request makes an empty request. The driver wants to know both sizes exactly.
func (c *client) request(in, out int) []byte {
	b := make([]byte, max(in, out))
	binary.NativeEndian.PutUint32(b, uint32(in))
	binary.NativeEndian.PutUint32(b[4:], headerVersion)
	binary.NativeEndian.PutUint32(b[sizeOutAt:], uint32(out))
	return b
}

func (c *client) send(number uint, request []byte) error {
	if err := c.do(number, request); err != nil {
		return err
	}
	if rc := int32(binary.NativeEndian.Uint32(request[rcAt:])); rc < 0 {
		return resultError(rc)
	}
	return nil
}

// parameter is one of a call's: a number, or memory.
type parameter struct {
	kind   uint32
	memory []byte
}

// call calls a function of the service. It gives the request as the host left
// it, also beside a result that is an error.
func (c *client) call(function uint32, parameters ...parameter) ([]byte, error) {
	size := callSize + len(parameters)*parameterSize
	r := c.request(size, size)
	binary.NativeEndian.PutUint32(r[24:], c.id)
	binary.NativeEndian.PutUint32(r[28:], function)
	binary.NativeEndian.PutUint32(r[32:], callTimeout)
	binary.NativeEndian.PutUint16(r[38:], uint16(len(parameters)))
	var pinner runtime.Pinner // the request holds addresses that only the kernel reads
	defer pinner.Unpin()
	for i, p := range parameters {
		at := r[callSize+i*parameterSize:]
		binary.NativeEndian.PutUint32(at, p.kind)
		if len(p.memory) > 0 {
			pinner.Pin(&p.memory[0])
			binary.NativeEndian.PutUint32(at[4:], uint32(len(p.memory)))
			binary.NativeEndian.PutUint64(at[8:], uint64(uintptr(unsafe.Pointer(&p.memory[0]))))
		}
	}
	return r, c.send(ioctlCall|uint(size)<<16, r)
}

func nameOf(property string) parameter {
	return parameter{typeMemoryIn, append([]byte(property), 0)}
}

// get asks with a buffer that is too small for anything to learn the size,
// and again should the property grow in between.
func (c *client) get(name string) ([]byte, bool, error) {
	size := 1
	for range growthRetries {
		value := make([]byte, size)
		r, err := c.call(functionGet, nameOf(name), parameter{typeMemory, value}, parameter{kind: type64}, parameter{kind: type32})
		needed := int(binary.NativeEndian.Uint32(r[callSize+3*parameterSize+4:]))
		switch {
		case errors.Is(err, resultError(resultNotFound)):
			return nil, false, nil
		case errors.Is(err, resultError(resultBufferOverflow)) && needed > largestValue:
			return nil, false, fmt.Errorf("%d bytes are more than a property may have", needed)
		case errors.Is(err, resultError(resultBufferOverflow)) && needed > size:
			size = needed
		case err != nil:
			return nil, false, err
		case needed > size:
			return nil, false, fmt.Errorf("%d bytes in a buffer of %d", needed, size)
		default:
			return value[:needed], true, nil
		}
	}
	return nil, false, errors.New("its size keeps changing")
}

func (c *client) delete(name string) error {
	_, err := c.call(functionDelete, nameOf(name))
	if errors.Is(err, resultError(resultNotFound)) {
		return nil
	}
	return err
}

func (c *client) close() error {
	r := c.request(disconnectIn, disconnectOut)
	binary.NativeEndian.PutUint32(r[headerSize:], c.id)
	return errors.Join(c.send(ioctlDisconnect, r), c.shut())
}
