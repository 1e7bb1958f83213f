// SPDX-License-Identifier: Apache-2.0

package boot

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"
	"unicode/utf8"

	"golang.org/x/sys/unix"

	"firstboot.dev/ignition/internal/oplog"
)

// screen is what a person sees of a failure. It has to fit on a console.
type screen struct {
	failure oplog.Failure
	earlier *oplog.Failure // of the first run that failed
	units   []string       // that failed
	log     []string       // the last lines
	kept    string         // where the next boot finds it
	action  string
}

const (
	screenWidth = 79
	labelWidth  = 13
	maxValue    = 6 // lines of one entry of the screen
)

// text is the last lines of the log and then the screen.
func (s screen) text() string {
	var b strings.Builder
	b.WriteString("\n")
	for _, l := range s.log {
		b.WriteString(printable(l) + "\n")
	}
	rule := strings.Repeat("=", screenWidth) + "\n"
	b.WriteString("\n" + rule + " Ignition could not set up this machine, so it does not boot on.\n\n")
	f := s.failure
	row := func(label, value string) {
		if value != "" {
			b.WriteString(entry(label, value))
		}
	}
	stage := f.Stage
	if f.Took > 0 {
		stage += fmt.Sprintf(", failed after %s", seconds(f.Took.Seconds()))
	}
	row("Stage", stage)
	row("Operation", operation(f))
	row("Config", position(f))
	row("Cause", cause(f))
	row("Tried", tried(f))
	row("To do", s.advice())
	row("Units", strings.Join(s.units, " "))
	row("Full log", "journalctl -t ignition, in the emergency shell")
	if e := s.earlier; e != nil {
		b.WriteString("\n")
		row("Before this", fmt.Sprintf("a first run failed at %s, in stage %s: %s", e.End.Format(time.RFC3339), e.Stage, cause(*e)))
	}
	if s.kept != "" {
		row("Kept in", s.kept)
	}
	b.WriteString("\n " + s.what() + "\n" + rule)
	return b.String()
}

func operation(f oplog.Failure) string {
	if len(f.Operations) == 0 {
		return ""
	}
	last := f.Operations[len(f.Operations)-1]
	return fmt.Sprintf("%s (%s)", last.Desc, seconds(last.Second))
}

// position is the config entry and where it was written.
func position(f oplog.Failure) string {
	if f.Config == "" {
		return ""
	}
	text := f.Config
	if f.Line > 0 {
		text += fmt.Sprintf(", line %d column %d", f.Line, f.Column)
	}
	if f.Source != "" {
		text += " of " + f.Source
	}
	return text
}

// cause is the error, or what is wrong about a config that is not valid.
func cause(f oplog.Failure) string {
	if len(f.Problems) > 0 {
		return strings.Join(f.Problems, "\n")
	}
	return f.Error
}

// tried are the operations around the one that failed.
func tried(f oplog.Failure) string {
	var out []string
	for i := 0; i+1 < len(f.Operations); i++ {
		out = append(out, f.Operations[i].Desc)
	}
	return strings.Join(out, "\n")
}

func (s screen) advice() string {
	if s.failure.Hint != "" {
		return s.failure.Hint
	}
	return "correct the config (`ignition validate` finds mistakes in it) and boot the machine again: it starts over"
}

// what happens next.
func (s screen) what() string {
	switch s.action {
	case ActionReboot:
		return "The machine reboots now (ignition.emergency=reboot)."
	case ActionPoweroff:
		return "The machine powers off now (ignition.emergency=poweroff)."
	case ActionPrompt:
		return "Press Enter for an emergency shell; without that the machine reboots in 5 minutes."
	}
	return "An emergency shell follows."
}

func seconds(s float64) string { return fmt.Sprintf("%.1f s", s) }

// entry is one entry with its label, folded at the width of the screen.
func entry(label, value string) string {
	room := screenWidth - labelWidth - 1
	var all []string
	for l := range strings.Lines(value) {
		all = append(all, fold(printable(strings.TrimSpace(l)), room)...)
	}
	if len(all) > maxValue {
		all = append(all[:maxValue-1], "... (the whole is in the log)")
	}
	var b strings.Builder
	for i, l := range all {
		if i > 0 {
			label = ""
		} else {
			label += ":"
		}
		fmt.Fprintf(&b, " %-*s%s\n", labelWidth, label, l)
	}
	return b.String()
}

// fold breaks a line at blanks where there are any.
func fold(line string, width int) []string {
	var out []string
	for utf8.RuneCountInString(line) > width {
		runes := []rune(line)
		at := width
		if i := strings.LastIndex(string(runes[:width]), " "); i > width/3 {
			at = utf8.RuneCountInString(string(runes[:width])[:i])
		}
		out = append(out, string(runes[:at]))
		line = strings.TrimLeft(string(runes[at:]), " ")
	}
	return append(out, line)
}

// printable keeps what a config can bring into a message from steering the terminal.
func printable(s string) string {
	return strings.Map(func(r rune) rune {
		if r == '\t' {
			return ' '
		}
		if r < 0x20 || r >= 0x7f && r < 0xa0 || r == utf8.RuneError {
			return '?'
		}
		return r
	}, s)
}

// consoles are the devices of all consoles that can be written to.
func consoles(raw []byte) []string {
	var out []string
	for _, l := range lines(raw) {
		f := strings.Fields(l)
		if len(f) < 2 || !strings.Contains(f[1], "W") {
			continue
		}
		out = append(out, f[0])
	}
	return out
}

// consoleTime is how long one console may take: a serial line without a
// listener must not keep a machine from its shell.
const consoleTime = 20 * time.Second

// show writes a text to every console, all at once, after the kernel's own
// messages were told to keep away.
func (e *Env) show(text string) error {
	if err := os.WriteFile(e.at("/proc/sys/kernel/printk"), []byte("1\n"), 0); err != nil {
		e.Log.Debug("keeping the kernel's messages away: %v", err)
	}
	raw, _ := os.ReadFile(e.at("/proc/consoles"))
	names := consoles(raw)
	if len(names) == 0 {
		names = []string{"console"}
	}
	out := bytes.ReplaceAll([]byte(text), []byte("\n"), []byte("\r\n"))
	results := make(chan error, len(names))
	for _, n := range names {
		go func() { results <- writeConsole(e.at(filepath.Join("/dev", n)), out) }()
	}
	var errs []error
	deadline := time.After(consoleTime)
	for range names {
		select {
		case err := <-results:
			errs = append(errs, err)
		case <-deadline:
			return errors.Join(append(errs, errors.New("a console does not take the report"))...)
		}
	}
	return errors.Join(errs...)
}

func writeConsole(name string, text []byte) error {
	f, err := os.OpenFile(name, os.O_WRONLY|unix.O_NOCTTY, 0)
	if err != nil {
		return err
	}
	_, err = f.Write(text)
	return errors.Join(err, f.Close())
}
