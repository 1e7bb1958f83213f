// SPDX-License-Identifier: Apache-2.0

// Package luks makes, opens and inspects LUKS volumes through cryptsetup,
// binds them to a TPM or Tang servers through clevis, and gives them protected
// keys through zkey (s390x). It knows the tools only: whether a volume is
// reused, wiped or refused is decided by its caller, who also fetches keys and
// waits for Tang servers. It handles keys as files, so none reaches a log.
package luks

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"firstboot.dev/ignition/internal/config"
	"firstboot.dev/ignition/internal/distro"
	"firstboot.dev/ignition/internal/exec"
	"firstboot.dev/ignition/internal/oplog"
)

// Manager runs the tools for one volume after another: key derivation takes
// much memory, so two at a time may be too many.
type Manager struct {
	Runner *exec.Runner
	Log    *oplog.Logger

	// Repository is where zkey keeps volume keys, APDevices where the kernel
	// lists crypto express queues. Empty means the real places.
	Repository string
	APDevices  string
}

// Volume is one volume in work. Device is what texts name, Alias what the tools get.
type Volume struct {
	Name        string
	Device      string
	Alias       string
	KeyFile     string // a path
	Label, UUID string // empty: unset
	Options     []string
	OpenOptions []string
	Discard     bool
	Clevis      *config.Clevis
	CEX         bool
	Stored      bool   // the header has the flags already: opening does not write it
	ConfigPath  string // for the record, e.g. "$.storage.luks.0"
}

// NewVolume is the volume of a config entry.
func NewVolume(l *config.LUKS, alias, keyFile string) Volume {
	return Volume{
		Name: l.Name, Device: value(l.Device), Alias: alias, KeyFile: keyFile,
		Label: value(l.Label), UUID: value(l.UUID),
		Options: l.Options, OpenOptions: l.OpenOptions,
		Discard: value(l.Discard), Clevis: &l.Clevis, CEX: value(l.CEX.Enabled),
	}
}

// value is what p points to; nil counts as the zero value.
func value[T any](p *T) (v T) {
	if p != nil {
		v = *p
	}
	return v
}

// op describes an operation on a volume.
func (v Volume) op(kind, format string, args ...any) oplog.Op {
	return oplog.Op{Desc: fmt.Sprintf(format, args...), Kind: kind, Path: v.Device, ConfigPath: v.ConfigPath}
}

func (v Volume) formatOp() oplog.Op   { return v.op("luks-format", "creating %q", v.Name) }
func (v Volume) markOp() oplog.Op     { return v.op("luks-mark", "marking luks device %s", v.Name) }
func (v Volume) bindOp() oplog.Op     { return v.op("clevis-bind", "Clevis bind") }
func (v Volume) generateOp() oplog.Op { return v.op("cex-generate", "generating cex secure keys") }
func (v Volume) removeKeyOp() oplog.Op {
	return v.op("luks-remove-key", "removing key file for %s", v.Name)
}
func (v Volume) verifyOp() oplog.Op {
	return v.op("cex-verify", "setting cex verification pattern of %s", v.Name)
}

// Ops is what the record has of making a volume, as far as it is written to.
func (v Volume) Ops(l *config.LUKS, mark bool) (list []oplog.Op) {
	add := func(yes bool, op oplog.Op) {
		if yes {
			list = append(list, op)
		}
	}
	bound := UsesClevis(l)
	add(v.CEX, v.generateOp())
	add(true, v.formatOp())
	add(mark, v.markOp())
	add(v.CEX, v.verifyOp())
	add(bound, v.bindOp())
	add(bound && value(l.KeyFile.Source) == "", v.removeKeyOp())
	return list
}

func cryptsetup(args ...string) exec.Cmd {
	return exec.Cmd{Name: distro.Cryptsetup, Args: args}
}

// run runs a command as an operation.
func (m *Manager) run(ctx context.Context, op oplog.Op, c exec.Cmd) error {
	_, err := m.Runner.Logged(ctx, m.Log, op, c)
	return err
}

// ask runs a command that answers by its exit status: no tells which statuses
// mean no. They fail neither the operation nor the call.
func (m *Manager) ask(ctx context.Context, op oplog.Op, c exec.Cmd, no func(code int) bool) (yes bool, err error) {
	err = m.Log.Do(op, func(l *oplog.Logger) error {
		_, err := m.Runner.RunIn(ctx, l, c)
		var exit *exec.ExitError
		if err != nil && ctx.Err() == nil && errors.As(err, &exit) && no(exit.Code) {
			return nil
		}
		yes = err == nil
		return err
	})
	return yes, err
}

// Format makes a LUKS2 volume, whatever is on the device. With CEX, the volume
// key must have been generated.
func (m *Manager) Format(ctx context.Context, v Volume) error {
	args := []string{"luksFormat", "--type", "luks2", "--key-file", v.KeyFile}
	if v.Label != "" {
		args = append(args, "--label", v.Label)
	}
	if v.UUID != "" {
		args = append(args, "--uuid", v.UUID)
	}
	args = append(args, v.Options...)
	args = append(args, v.Alias)
	if v.CEX {
		cex, err := m.cexFormatArgs(v)
		if err != nil {
			return fmt.Errorf("cryptsetup failed: %w", err)
		}
		args = append(args, cex...)
	}
	if err := m.run(ctx, v.formatOp(), cryptsetup(args...)); err != nil {
		return fmt.Errorf("cryptsetup failed: %w", err)
	}
	return nil
}

// Open opens the volume as /dev/mapper/<name> and stores the activation flags
// in the header, unless they are stored.
func (m *Manager) Open(ctx context.Context, v Volume) error {
	args := []string{"luksOpen", v.Alias, v.Name, "--key-file", v.KeyFile}
	if !v.Stored {
		args = append(args, "--persistent")
	}
	if v.Discard {
		args = append(args, "--allow-discards")
	}
	args = append(args, v.OpenOptions...)
	if err := m.run(ctx, v.op("luks-open", "opening luks device %s", v.Name), cryptsetup(args...)); err != nil {
		return fmt.Errorf("opening luks device: %w", err)
	}
	return nil
}

// cryptsetup's exit status for a key that opens no slot.
const exitNoPermission = 2

// Test says whether the key file opens the volume. Nothing is opened or changed.
func (m *Manager) Test(ctx context.Context, v Volume) (bool, error) {
	args := []string{"open", "--test-passphrase", "--key-file", v.KeyFile}
	args = append(args, keyOptions(v.OpenOptions)...)
	yes, err := m.ask(ctx, v.op("luks-test", "checking if the key opens %s", v.Device),
		cryptsetup(append(args, v.Alias)...), func(code int) bool { return code == exitNoPermission })
	if err != nil {
		return false, fmt.Errorf("testing key of luks device: %w", err)
	}
	return yes, nil
}

// keyOptions are those of the user's options for opening that say how the key
// is read or where it is looked for; others make no sense where nothing is opened.
func keyOptions(options []string) []string {
	var out []string
	for i := 0; i < len(options); i++ {
		name, _, joined := strings.Cut(options[i], "=")
		switch name {
		case "--keyfile-size", "--keyfile-offset", "--key-slot", "-l", "-S":
		default:
			continue
		}
		out = append(out, options[i])
		if !joined && i+1 < len(options) {
			i++
			out = append(out, options[i])
		}
	}
	return out
}

// Close closes the mapper device of that name.
func (m *Manager) Close(ctx context.Context, name string) error {
	return m.close(ctx, oplog.Op{Desc: "closing luks device " + name, Kind: "luks-close", Path: name}, name)
}

func (m *Manager) close(ctx context.Context, op oplog.Op, name string) error {
	if err := m.run(ctx, op, cryptsetup("luksClose", name)); err != nil {
		return fmt.Errorf("closing luks device: %w", err)
	}
	return nil
}

// RemoveKey takes the key file's slot from the header.
func (m *Manager) RemoveKey(ctx context.Context, v Volume) error {
	if err := m.run(ctx, v.removeKeyOp(), cryptsetup("luksRemoveKey", v.Alias, v.KeyFile)); err != nil {
		return fmt.Errorf("removing key file from luks device: %w", err)
	}
	return nil
}

// pathOr is the directory p, or its default.
func pathOr(p, other string) string {
	if p != "" {
		return p
	}
	return other
}
