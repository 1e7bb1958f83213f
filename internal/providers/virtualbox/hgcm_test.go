// SPDX-License-Identifier: Apache-2.0

package virtualbox

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"strings"
	"testing"
	"unsafe"

	"golang.org/x/sys/unix"
)

// TestNumbers pins what the kernel's headers give on 64-bit machines.
func TestNumbers(t *testing.T) {
	for _, row := range []struct {
		name      string
		got, want uint
	}{
		{"VBG_IOCTL_DRIVER_VERSION_INFO", ioctlVersion, 0xc02c5600},
		{"VBG_IOCTL_HGCM_CONNECT", ioctlConnect, 0xc09c5604},
		{"VBG_IOCTL_HGCM_DISCONNECT", ioctlDisconnect, 0xc01c5605},
		{"VBG_IOCTL_HGCM_CALL(0)", ioctlCall, 0xc0005607},
		{"VBG_IOCTL_HGCM_CALL of four parameters", ioctlCall | (callSize+4*parameterSize)<<16, 0xc0685607},
		{"header", headerSize, 24},
		{"connect", connectIn, 24 + 132},
		{"connect, out", connectOut, 24 + 4},
		{"disconnect", disconnectIn, 24 + 4},
		{"call", callSize, 24 + 16},
		{"parameter", parameterSize, 4 + 12},
	} {
		if row.got != row.want {
			t.Errorf("%s: %#x, want %#x", row.name, row.got, row.want)
		}
	}
}

var order = binary.NativeEndian

// driver does what the kernel and the host do with a request, and is as strict.
type driver struct {
	t      *testing.T
	stored map[string]string
	result map[uint32]int32 // of a function of the service
	errno  map[uint]error   // of a request
	refuse map[uint]int32
	grows  int // so often the value is longer at the next look
	lies   int // what is added to the size of a value
	shut   bool
	calls  []string
}

// memory is what a parameter of the request points at.
func memory(parameter []byte) []byte {
	address := order.Uint64(parameter[8:])
	return unsafe.Slice(*(**byte)(unsafe.Pointer(&address)), order.Uint32(parameter[4:]))
}

func (d *driver) do(number uint, r []byte) error {
	base := number &^ (0x3fff << 16)
	in, out := int(order.Uint32(r)), int(order.Uint32(r[16:]))
	if order.Uint32(r[4:]) != 0x10001 || order.Uint32(r[8:]) != 0 || order.Uint32(r[20:]) != 0 || max(in, out) != int(number>>16&0x3fff) || len(r) != max(in, out) {
		return unix.EINVAL
	}
	if err := d.errno[base]; err != nil {
		return err
	}
	order.PutUint32(r[12:], uint32(d.refuse[base]))
	if d.refuse[base] < 0 {
		return nil
	}
	switch number {
	case ioctlVersion:
		if in != 40 || out != 44 || order.Uint32(r[24:]) != 0x10000 || order.Uint32(r[28:]) != 0x10000 || order.Uint64(r[32:]) != 0 {
			return unix.EINVAL
		}
		d.calls = append(d.calls, "version")
	case ioctlConnect:
		name := make([]byte, 128)
		copy(name, "VBoxGuestPropSvc")
		if in != 156 || out != 28 || order.Uint32(r[24:]) != 2 || !bytes.Equal(r[28:156], name) {
			return unix.EINVAL
		}
		order.PutUint32(r[24:], 77)
		d.calls = append(d.calls, "connect")
	case ioctlDisconnect:
		if in != 28 || out != 24 || order.Uint32(r[24:]) != 77 {
			return unix.EINVAL
		}
		d.calls = append(d.calls, "disconnect")
	default:
		return d.call(r, in, out)
	}
	return nil
}

func (d *driver) call(r []byte, in, out int) error {
	count := int(order.Uint16(r[38:]))
	if in != out || in != 40+16*count || order.Uint32(r[24:]) != 77 || r[36] != 0 || r[37] != 0 {
		return unix.EINVAL
	}
	function := order.Uint32(r[28:])
	p := func(i int) []byte { return r[40+16*i : 56+16*i] }
	name, ok := bytes.CutSuffix(memory(p(0)), []byte{0})
	if order.Uint32(p(0)) != 5 || !ok || order.Uint32(r[32:]) == 0 {
		return unix.EINVAL
	}
	d.calls = append(d.calls, fmt.Sprintf("%d %s", function, name))
	value, set := d.stored[string(name)]
	result := d.result[function]
	switch {
	case result < 0:
	case function == 4 && count == 1:
		delete(d.stored, string(name))
	case function != 1 || count != 4 || order.Uint32(p(1)) != 4 || order.Uint32(p(2)) != 2 || order.Uint32(p(3)) != 1:
		return unix.EINVAL
	case !set:
		result = -78
	default:
		buffer := memory(p(1))
		order.PutUint32(p(3)[4:], uint32(len(value)+d.lies))
		if len(value) > len(buffer) {
			result = -41
			if d.grows > 0 {
				d.grows--
				d.stored[string(name)] = value + "x"
			}
			break
		}
		copy(buffer, value)
	}
	order.PutUint32(r[12:], uint32(result))
	return nil
}

func newDriver(t *testing.T) *driver { return &driver{t: t, stored: map[string]string{}} }

func (d *driver) dial() (*client, error) {
	return dial(d.do, func() error { d.shut = true; return nil })
}

// TestSession goes through all requests.
func TestSession(t *testing.T) {
	d := newDriver(t)
	long := strings.Repeat("x", 100<<10) + "\x00\x00"
	d.stored[configName] = long
	d.stored["tiny"] = "\x00"
	c, err := d.dial()
	if err != nil {
		t.Fatal(err)
	}
	for _, row := range []struct {
		name, want string
		ok         bool
	}{{configName, long, true}, {"tiny", "\x00", true}, {encodingName, "", false}} {
		if got, ok, err := c.get(row.name); string(got) != row.want || ok != row.ok || err != nil {
			t.Errorf("get %s: %.20q, %v, %v", row.name, got, ok, err)
		}
	}
	if err := c.delete(configName); err != nil {
		t.Error(err)
	}
	if _, ok, err := c.get(configName); ok || err != nil {
		t.Errorf("after the deletion: %v, %v", ok, err)
	}
	if err := c.close(); err != nil || !d.shut {
		t.Errorf("close: %v, %v", err, d.shut)
	}
	want := []string{"version", "connect", "1 /Ignition/Config", "1 /Ignition/Config", "1 tiny", "1 /Ignition/Config/Encoding", "4 /Ignition/Config", "1 /Ignition/Config", "disconnect"}
	if got := strings.Join(d.calls, "\n"); got != strings.Join(want, "\n") {
		t.Errorf("calls:\n%s", got)
	}
}

func TestGet(t *testing.T) {
	for _, row := range []struct {
		name string
		d    driver
		want string
		err  string
		is   error
	}{
		{name: "grows in between", d: driver{stored: map[string]string{"p": "ab\x00\x00"}, grows: 3}, want: "ab\x00\x00xxx"},
		{name: "grows for ever", d: driver{stored: map[string]string{"p": "ab\x00\x00"}, grows: 1 << 30}, err: "its size keeps changing"},
		{name: "larger than any", d: driver{stored: map[string]string{"p": "ab\x00\x00"}, lies: 1 << 30}, err: "more than a property may have"},
		{name: "size beyond the buffer", d: driver{stored: map[string]string{"p": "\x00"}, lies: 7}, err: "8 bytes in a buffer of 1"},
		{name: "overflow of nothing", d: driver{stored: map[string]string{"p": "ab"}, lies: -2}, err: "error -41", is: resultError(-41)},
		{name: "host's error", d: driver{result: map[uint32]int32{1: -22}}, err: "error -22", is: resultError(-22)},
		{name: "driver's error", d: driver{errno: map[uint]error{ioctlCall: unix.ETIMEDOUT}}, err: "connection timed out", is: unix.ETIMEDOUT},
	} {
		t.Run(row.name, func(t *testing.T) {
			row.d.t = t
			c, err := row.d.dial()
			if err != nil {
				t.Fatal(err)
			}
			got, ok, err := c.get("p")
			if row.err == "" && (err != nil || !ok) || row.err != "" && (err == nil || !strings.Contains(err.Error(), row.err)) || row.is != nil && !errors.Is(err, row.is) {
				t.Errorf("error %v, want %q", err, row.err)
			}
			if string(got) != row.want {
				t.Errorf("got %q, want %q", got, row.want)
			}
		})
	}
}

func TestDeleteProperty(t *testing.T) {
	for _, row := range []struct {
		name   string
		result int32
		err    string
	}{
		{name: "deleted"},
		{name: "absent", result: -78},
		{name: "read-only", result: -10, err: "permission denied; is the property read-only?"},
		{name: "other", result: -36, err: "error -36"},
	} {
		t.Run(row.name, func(t *testing.T) {
			d := newDriver(t)
			d.result = map[uint32]int32{4: row.result}
			c, err := d.dial()
			if err != nil {
				t.Fatal(err)
			}
			if err := c.delete("p"); row.err == "" && err != nil || row.err != "" && (err == nil || err.Error() != row.err) {
				t.Errorf("error %v, want %q", err, row.err)
			}
		})
	}
}

func TestDial(t *testing.T) {
	for _, row := range []struct {
		name string
		d    driver
		is   error
	}{
		{"no such interface", driver{errno: map[uint]error{ioctlVersion &^ (0x3fff << 16): unix.ENOTTY}}, unix.ENOTTY},
		{"another version", driver{refuse: map[uint]int32{ioctlVersion &^ (0x3fff << 16): -11}}, resultError(-11)},
		{"no service", driver{refuse: map[uint]int32{ioctlConnect &^ (0x3fff << 16): -2900}}, resultError(-2900)},
		{"connect fails", driver{errno: map[uint]error{ioctlConnect &^ (0x3fff << 16): unix.EINVAL}}, unix.EINVAL},
	} {
		t.Run(row.name, func(t *testing.T) {
			row.d.t = t
			if c, err := row.d.dial(); c != nil || !errors.Is(err, row.is) || !row.d.shut {
				t.Errorf("got %v, %v; shut: %v", c, err, row.d.shut)
			}
		})
	}
}
