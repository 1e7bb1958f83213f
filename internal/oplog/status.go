// SPDX-License-Identifier: Apache-2.0

package oplog

import (
	"strings"
	"sync"
	"time"

	"github.com/coreos/go-systemd/v22/daemon"
)

// statusInterval is the least time between two status lines: nobody reads
// faster, and each one wakes the service manager.
const statusInterval = time.Second

// status sends STATUS= lines to the service manager.
type status struct {
	send func(state string) error
	now  func() time.Time

	mu   sync.Mutex
	last time.Time
}

var serviceStatus = &status{
	send: func(state string) error {
		_, err := daemon.SdNotify(false, state)
		return err
	},
	now: time.Now,
}

// Status shows in one line what is being done, as `systemctl status` prints it.
// Of several within a second the first one stays. Without a service manager it
// does nothing.
func Status(text string) { serviceStatus.show(text, false) }

// FinalStatus is Status for the last word of a run, which is never left out.
func FinalStatus(text string) { serviceStatus.show(text, true) }

func (s *status) show(text string, final bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	now := s.now()
	if !final && !s.last.IsZero() && now.Sub(s.last) < statusInterval {
		return
	}
	s.last = now
	// A line break would begin another assignment of the protocol.
	text = strings.NewReplacer("\n", " ", "\r", " ", "\x00", "").Replace(text)
	// Nothing depends on it.
	_ = s.send("STATUS=" + text)
}
