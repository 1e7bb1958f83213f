// SPDX-License-Identifier: Apache-2.0

package oplog

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"os"
	"strings"
	"sync"
	"syscall"
	"time"
)

// syslogSockets are tried in this order.
var syslogSockets = []string{"/dev/log", "/var/run/syslog", "/var/run/log"}

const (
	syslogTag = "ignition"
	// patience is how long a line may wait for a logger that does not read, so
	// that a stuck one cannot stop a boot. After a line was lost to one, the
	// next ones wait shortly only.
	patience      = 5 * time.Second
	shortPatience = 50 * time.Millisecond
	// maxDatagram is what is left of a message that the kernel finds too long.
	maxDatagram = 64 << 10
)

type syslogHandler struct {
	plain
	sockets []string
	pid     int

	mu    sync.Mutex
	conn  net.Conn // nil after a failure to reconnect
	stuck bool
}

// SyslogHandler sends each message to the local syslog, facility kern, as
// `<PRI>Mmm dd hh:mm:ss ignition[pid]: text`. The first of the sockets that can
// be opened is used; nil stands for the usual places.
func SyslogHandler(sockets []string) (slog.Handler, error) {
	if sockets == nil {
		sockets = syslogSockets
	}
	h := &syslogHandler{sockets: sockets, pid: os.Getpid()}
	if err := h.connect(); err != nil {
		return nil, err
	}
	return h, nil
}

func (h *syslogHandler) WithAttrs([]slog.Attr) slog.Handler { return h }
func (h *syslogHandler) WithGroup(string) slog.Handler      { return h }

func (h *syslogHandler) connect() error {
	if h.conn != nil {
		h.conn.Close()
		h.conn = nil
	}
	var errs []string
	for _, path := range h.sockets {
		conn, err := net.Dial("unixgram", path)
		if err == nil {
			h.conn = conn
			return nil
		}
		errs = append(errs, err.Error())
	}
	return errors.New(strings.Join(errs, "; "))
}

// Handle sends one message. If that fails the socket is opened anew, once: the
// logger may have been restarted since.
func (h *syslogHandler) Handle(_ context.Context, r slog.Record) error {
	// A NUL would end the message for some readers.
	text := strings.ReplaceAll(r.Message, "\x00", "")
	message := fmt.Sprintf("<%d>%s %s[%d]: %s", severity(r.Level), r.Time.Format(time.Stamp), syslogTag, h.pid, text)
	h.mu.Lock()
	defer h.mu.Unlock()
	err := h.send(message)
	if err == nil || errors.Is(err, os.ErrDeadlineExceeded) {
		return err
	}
	if err := h.connect(); err != nil {
		return err
	}
	return h.send(message)
}

func (h *syslogHandler) send(message string) error {
	if h.conn == nil {
		return net.ErrClosed
	}
	wait := patience
	if h.stuck {
		wait = shortPatience
	}
	if err := h.conn.SetWriteDeadline(time.Now().Add(wait)); err != nil {
		return err
	}
	_, err := h.conn.Write([]byte(message))
	if errors.Is(err, syscall.EMSGSIZE) && len(message) > maxDatagram {
		_, err = h.conn.Write([]byte(message[:maxDatagram] + " ..."))
	}
	h.stuck = errors.Is(err, os.ErrDeadlineExceeded)
	return err
}
