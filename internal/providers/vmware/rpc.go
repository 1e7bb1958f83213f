// SPDX-License-Identifier: Apache-2.0

package vmware

import (
	"encoding/binary"
	"errors"
	"fmt"
	"strings"
)

// VMware's hypervisor answers to reads of an I/O port (its "backdoor"): the
// registers carry a command there and its result back. One of the commands
// moves messages over a channel, four bytes at a time; requests for variables
// (RPCI) are such messages. There is a faster way for large messages, on
// another port, which not every virtual machine may use; a config is small.
const (
	portMagic  = 0x564d5868
	portNumber = 0x5658

	commandVersion = 10
	commandMessage = 0x1e

	protocolRPCI = 0x49435052
	flagCookie   = 0x80000000
)

// Steps of a message, in the upper half of CX.
const (
	stepOpen = iota
	stepSendSize
	stepSendPayload
	stepReceiveSize
	stepReceivePayload
	stepReceiveStatus
	stepClose
)

// Status of a step, in the upper half of CX afterwards.
const (
	statusSuccess    = 0x01
	statusReceive    = 0x02 // there is a message to receive
	statusCheckpoint = 0x10 // the machine was moved or saved meanwhile: begin again
)

const (
	retries       = 5
	largestAnswer = 64 << 20
)

// registers are the lower halves of the registers before and after a read of the port.
type registers struct{ ax, bx, cx, dx, si, di uint32 }

// port reads the port. AX and DX are set by it.
type port func(registers) registers

var (
	errCheckpoint = errors.New("the virtual machine was moved or saved meanwhile")
	errProtocol   = errors.New("the hypervisor's answer makes no sense")
)

// answers tells whether the hypervisor is behind the port.
func (p port) answers() bool {
	r := p(registers{cx: commandVersion, bx: ^uint32(portMagic)})
	return r.bx == portMagic && r.ax != 0xffffffff
}

// get asks for a variable.
func (p port) get(key string) (string, bool, error) {
	value, ok, err := p.request("info-get " + key)
	if err != nil || !ok {
		return "", false, err
	}
	return value, true, nil
}

// set sets a variable.
func (p port) set(key, value string) error {
	reason, ok, err := p.request("info-set " + key + " " + value)
	if err == nil && !ok {
		err = fmt.Errorf("the hypervisor refuses: %.200q", reason)
	}
	return err
}

// request sends a request and gives the answer, and whether that says success.
func (p port) request(text string) (answer string, ok bool, err error) {
	for range retries {
		answer, err = p.exchange(text)
		if !errors.Is(err, errCheckpoint) {
			break
		}
	}
	if err != nil {
		return "", false, err
	}
	if value, ok := strings.CutPrefix(answer, "1 "); ok {
		return value, true, nil
	}
	if reason, ok := strings.CutPrefix(answer, "0 "); ok {
		return reason, false, nil
	}
	return "", false, errProtocol
}

// exchange sends one message and receives one, over a channel of their own.
func (p port) exchange(text string) (string, error) {
	c, err := p.open()
	if err != nil {
		return "", err
	}
	defer c.step(stepClose, 0)
	if err := c.send(text); err != nil {
		return "", err
	}
	return c.receive()
}

// channel is an open one: its number, and what tells its owner from others.
type channel struct {
	port   port
	id     uint32 // in the upper half
	cookie [2]uint32
}

func (p port) open() (*channel, error) {
	for _, flags := range []uint32{flagCookie, 0} {
		r := p(registers{bx: protocolRPCI | flags, cx: stepOpen<<16 | commandMessage})
		if r.cx>>16&statusSuccess != 0 {
			return &channel{port: p, id: r.dx &^ 0xffff, cookie: [2]uint32{r.si, r.di}}, nil
		}
	}
	return nil, errors.New("the hypervisor opens no channel")
}

// step does one step of a message and gives its status.
func (c *channel) step(step, bx uint32) (registers, uint32) {
	r := c.port(registers{bx: bx, cx: step<<16 | commandMessage, dx: c.id, si: c.cookie[0], di: c.cookie[1]})
	return r, r.cx >> 16
}

func failed(status uint32, doing string) error {
	if status&statusCheckpoint != 0 {
		return errCheckpoint
	}
	return errors.New("the hypervisor fails " + doing)
}

func (c *channel) send(text string) error {
	if _, status := c.step(stepSendSize, uint32(len(text))); status&statusSuccess == 0 {
		return failed(status, "to take the size of a request")
	}
	for len(text) > 0 {
		var word [4]byte
		n := copy(word[:], text)
		if _, status := c.step(stepSendPayload, binary.LittleEndian.Uint32(word[:])); status&statusSuccess == 0 {
			return failed(status, "to take a request")
		}
		text = text[n:]
	}
	return nil
}

func (c *channel) receive() (string, error) {
	r, status := c.step(stepReceiveSize, 0)
	switch {
	case status&statusSuccess == 0:
		return "", failed(status, "to answer")
	case status&statusReceive == 0 || r.dx>>16 != stepSendSize || r.bx > largestAnswer:
		return "", errProtocol
	}
	size := int(r.bx)
	var text []byte
	for len(text) < size {
		r, status = c.step(stepReceivePayload, statusSuccess)
		switch {
		case status&statusSuccess == 0:
			return "", failed(status, "to give an answer")
		case r.dx>>16 != stepSendPayload:
			return "", errProtocol
		}
		text = binary.LittleEndian.AppendUint32(text, r.bx)
	}
	if _, status = c.step(stepReceiveStatus, statusSuccess); status&statusSuccess == 0 {
		return "", failed(status, "to end an answer")
	}
	return string(text[:size]), nil
}
