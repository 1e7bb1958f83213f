// SPDX-License-Identifier: Apache-2.0

package vmware

import (
	"encoding/binary"
	"errors"
	"strings"
	"testing"
)

// hypervisor is what is behind the port. It is strict about order, channel and cookie.
type hypervisor struct {
	t         *testing.T
	variables map[string]string
	noCookies bool   // of before channels had them
	fail      int    // the step that fails
	status    uint32 // what a failing step says
	times     int    // how often it fails; 0: always
	answer    string // instead of the right one
	nothing   bool   // there is no answer
	wrongStep uint32 // what is said instead of the step of an answer
	wrongSize uint32

	open    int // channels
	opened  int
	in, out []byte
	size    int
	cookie  [2]uint32
}

const failNothing = -1

// port is a read of the port, with only what a processor hands over.
func (h *hypervisor) port(r registers) registers {
	if r.cx&0xffff == commandVersion {
		return registers{ax: 6, bx: portMagic, cx: 4}
	}
	step := r.cx >> 16
	if r.cx&0xffff != commandMessage {
		h.t.Fatalf("command %#x", r.cx&0xffff)
	}
	if step != stepOpen && (r.dx>>16 != 3 || r.si != h.cookie[0] || r.di != h.cookie[1] || h.open != 1) {
		h.t.Fatalf("step %d of another channel: %#x, cookie %#x %#x, %d open", step, r.dx, r.si, r.di, h.open)
	}
	if int(step) != h.fail {
		return h.step(step, r)
	}
	if h.times--; h.times == 0 {
		h.fail = failNothing
	}
	return registers{cx: h.status << 16, dx: r.dx}
}

func (h *hypervisor) step(step uint32, r registers) registers {
	done := registers{cx: statusSuccess << 16}
	switch step {
	case stepOpen:
		if h.noCookies && r.bx&flagCookie != 0 || r.bx&^flagCookie != protocolRPCI {
			return registers{}
		}
		h.cookie = [2]uint32{}
		if !h.noCookies {
			h.cookie = [2]uint32{0xc00c1e01, 0xc00c1e02}
		}
		h.open++
		h.opened++
		done.dx, done.si, done.di = 3<<16, h.cookie[0], h.cookie[1]
	case stepSendSize:
		h.size, h.in = int(r.bx), nil
		done.cx |= 0x80 << 16 // the fast way is offered
	case stepSendPayload:
		h.in = binary.LittleEndian.AppendUint32(h.in, r.bx)
	case stepReceiveSize:
		if len(h.in) < h.size || len(h.in) > h.size+3 {
			h.t.Errorf("%d bytes sent, %d announced", len(h.in), h.size)
		}
		h.out = []byte(h.reply(string(h.in[:h.size])))
		done.bx, done.dx = uint32(len(h.out))+h.wrongSize, (stepSendSize+h.wrongStep)<<16
		if !h.nothing {
			done.cx |= statusReceive << 16
		}
	case stepReceivePayload:
		if r.bx != statusSuccess {
			h.t.Errorf("status %d before a payload", r.bx)
		}
		var word [4]byte
		h.out = h.out[copy(word[:], h.out):]
		done.bx, done.dx = binary.LittleEndian.Uint32(word[:]), (stepSendPayload+h.wrongStep)<<16
	case stepReceiveStatus:
		if r.bx != statusSuccess {
			h.t.Errorf("the end of an answer has status %d", r.bx)
		}
	case stepClose:
		h.open--
	default:
		h.t.Errorf("step %d", step)
	}
	return done
}

func (h *hypervisor) reply(request string) string {
	if h.answer != "" {
		return strings.TrimPrefix(h.answer, "empty")
	}
	if key, ok := strings.CutPrefix(request, "info-get "); ok {
		if v, ok := h.variables[key]; ok {
			return "1 " + v
		}
		return "0 No value found"
	}
	rest, ok := strings.CutPrefix(request, "info-set ")
	key, value, both := strings.Cut(rest, " ")
	if !ok || !both {
		h.t.Errorf("request %q", request)
		return "0 Unknown command"
	}
	h.variables[key] = value
	return "1 "
}

func newHypervisor(t *testing.T, variables map[string]string) *hypervisor {
	return &hypervisor{t: t, variables: variables, fail: failNothing}
}

func TestRPC(t *testing.T) {
	long := strings.Repeat("0123456789abc", 5000)
	values := map[string]string{"guestinfo.l": long, "guestinfo.empty": "", "guestinfo.spaces": " a  b \n"}
	for _, text := range []string{"a", "ab", "abc", "abcd", "abcde", "\x00\xff\x80"} {
		values["guestinfo."+text] = text
	}
	for _, noCookies := range []bool{false, true} {
		h := newHypervisor(t, map[string]string{})
		h.noCookies = noCookies
		p := port(h.port)
		if !p.answers() {
			t.Error("the port does not answer")
		}
		for key, want := range values {
			if _, ok, err := p.get(key); ok || err != nil {
				t.Errorf("%q before it is set: %v, %v", key, ok, err)
			}
			if err := p.set(key, want); err != nil {
				t.Errorf("setting %q: %v", key, err)
			}
			if got, ok, err := p.get(key); got != want || !ok || err != nil {
				t.Errorf("%q: %.30q, %v, %v", key, got, ok, err)
			}
		}
		if h.open != 0 || h.opened != 3*len(values) {
			t.Errorf("%d channels left open of %d", h.open, h.opened)
		}
	}
}

func TestRPCFaults(t *testing.T) {
	for _, row := range []struct {
		name string
		h    hypervisor
		want string
		err  string
		is   error
	}{
		{name: "no channel", h: hypervisor{fail: stepOpen}, err: "the hypervisor opens no channel"},
		{name: "size not taken", h: hypervisor{fail: stepSendSize}, err: "the hypervisor fails to take the size of a request"},
		{name: "request not taken", h: hypervisor{fail: stepSendPayload}, err: "the hypervisor fails to take a request"},
		{name: "no size", h: hypervisor{fail: stepReceiveSize}, err: "the hypervisor fails to answer"},
		{name: "no payload", h: hypervisor{fail: stepReceivePayload}, err: "the hypervisor fails to give an answer"},
		{name: "no end", h: hypervisor{fail: stepReceiveStatus}, err: "the hypervisor fails to end an answer"},
		{name: "not closed", h: hypervisor{fail: stepClose}, want: "SECRET"},
		{name: "moved while sending", h: hypervisor{fail: stepSendPayload, status: statusCheckpoint, times: 2}, want: "SECRET"},
		{name: "moved while receiving", h: hypervisor{fail: stepReceivePayload, status: statusCheckpoint, times: 2}, want: "SECRET"},
		{name: "moved all the time", h: hypervisor{fail: stepReceivePayload, status: statusCheckpoint}, is: errCheckpoint, err: "meanwhile"},
		{name: "nothing to receive", h: hypervisor{fail: failNothing, nothing: true}, is: errProtocol},
		{name: "out of step", h: hypervisor{fail: failNothing, wrongStep: 2}, is: errProtocol},
		{name: "an answer of 4 GiB", h: hypervisor{fail: failNothing, wrongSize: 1<<32 - 100}, is: errProtocol},
		{name: "no status", h: hypervisor{fail: failNothing, answer: "SECRET"}, is: errProtocol},
		{name: "one byte", h: hypervisor{fail: failNothing, answer: "1"}, is: errProtocol},
		{name: "zero bytes", h: hypervisor{fail: failNothing, answer: "empty"}, is: errProtocol},
	} {
		t.Run(row.name, func(t *testing.T) {
			row.h.t, row.h.variables = t, map[string]string{"guestinfo.x": "SECRET"}
			got, ok, err := port(row.h.port).get("guestinfo.x")
			switch {
			case row.want != "":
				if got != row.want || !ok || err != nil {
					t.Errorf("got %q, %v, %v", got, ok, err)
				}
			case err == nil || !strings.Contains(err.Error(), row.err) || row.is != nil && !errors.Is(err, row.is):
				t.Errorf("got %q, %v, %v; want %q", got, ok, err, row.err)
			case strings.Contains(err.Error(), "SECRET"):
				t.Errorf("a secret in %v", err)
			}
			if row.h.open > 1 || row.h.open == 1 && row.h.fail != stepClose {
				t.Errorf("%d channels left open", row.h.open)
			}
		})
	}
}

func TestSetRefused(t *testing.T) {
	h := newHypervisor(t, map[string]string{})
	h.answer = "0 Permission denied"
	if err := port(h.port).set("guestinfo.x", "SECRET"); err == nil || err.Error() != `the hypervisor refuses: "Permission denied"` {
		t.Errorf("got %v", err)
	}
}

func TestAnswers(t *testing.T) {
	for _, row := range []struct {
		name   string
		answer registers
		want   bool
	}{
		{"a version", registers{ax: 6, bx: portMagic}, true},
		{"no device", registers{ax: 0xffffffff, bx: ^uint32(portMagic)}, false},
		{"all ones beside the magic", registers{ax: 0xffffffff, bx: portMagic}, false},
		{"registers as before", registers{ax: portMagic, bx: ^uint32(portMagic)}, false},
	} {
		if got := port(func(registers) registers { return row.answer }).answers(); got != row.want {
			t.Errorf("%s: got %v", row.name, got)
		}
	}
}
