// SPDX-License-Identifier: Apache-2.0

package oplog

import (
	"fmt"
	"strconv"

	"github.com/coreos/go-systemd/v22/journal"
)

// Message ids of the native journal entries. Distributions look for them, e.g.
// to show at login which keys were written.
const (
	MessageFetchedConfig = "57124006b5c94805b77ce473e92a8aeb"
	MessageWroteKeys     = "225067b87bbd4a0cb6ab151f82fa364b"
)

// JournalFunc sends one native journal entry; priority is syslog's.
type JournalFunc func(message string, priority int, vars map[string]string) error

// Journal sends a native entry to the host's journal. No journal is no error.
func Journal(message string, priority int, vars map[string]string) error {
	if !journal.Enabled() {
		return nil
	}
	return journal.Send(message, journal.Priority(priority), vars)
}

// SetJournal says where native entries go: Journal in the program, a capture
// in tests. Without it there are none. It is called before the logger is used.
func (l *Logger) SetJournal(send JournalFunc) { l.shared().journal = send }

// FetchedConfig tells the journal where a config came from. kind is "user" or "base".
func (l *Logger) FetchedConfig(kind, source string, referenced bool) {
	what := kind
	if referenced {
		what = "referenced " + kind
	}
	err := l.sendJournal(fmt.Sprintf("fetched %s config from %q", what, source), map[string]string{
		"MESSAGE_ID":                 MessageFetchedConfig,
		"IGNITION_CONFIG_TYPE":       kind,
		"IGNITION_CONFIG_SRC":        source,
		"IGNITION_CONFIG_REFERENCED": strconv.FormatBool(referenced),
	})
	if err != nil {
		l.Info("failed to log systemd journal entry: %v", err)
	}
}

// WroteKeys tells the journal of an ssh key file; path is with the root. That
// the entry cannot be sent is of no interest.
func (l *Logger) WroteKeys(user, path string) {
	_ = l.sendJournal("wrote ssh authorized keys file for user: "+user, map[string]string{
		"MESSAGE_ID":         MessageWroteKeys,
		"IGNITION_USER_NAME": user,
		"IGNITION_PATH":      path,
	})
}

func (l *Logger) sendJournal(message string, vars map[string]string) error {
	send := l.shared().journal
	if send == nil {
		return nil
	}
	return send(message, int(journal.PriInfo), vars)
}
