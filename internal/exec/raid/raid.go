// SPDX-License-Identifier: Apache-2.0

// Package raid makes, starts and examines md arrays through mdadm. Whether an
// array is kept, made or refused is for the disks stage to say.
package raid

import (
	"bytes"
	"context"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"firstboot.dev/ignition/internal/distro"
	"firstboot.dev/ignition/internal/exec"
	"firstboot.dev/ignition/internal/oplog"
)

// Array is one array to make. Devices are the paths that mdadm gets.
type Array struct {
	Name    string
	Level   string
	Spares  int
	Options []string
	Devices []string
}

// Node is where the array's device will be.
func Node(name string) string {
	if strings.HasPrefix(name, "/dev") {
		return name
	}
	return "/dev/md/" + name
}

// CreateCommand gives the command that makes an array.
func (a Array) CreateCommand() exec.Cmd {
	args := []string{
		"--create", a.Name, "--force", "--run", "--homehost", "any",
		"--level", a.Level, "--raid-devices", strconv.Itoa(len(a.Devices) - a.Spares),
	}
	if a.Spares > 0 {
		args = append(args, "--spare-devices", strconv.Itoa(a.Spares))
	}
	args = append(args, a.Options...)
	return exec.Cmd{Name: distro.Mdadm, Args: append(args, a.Devices...)}
}

// CreateOp is what the record has of Create.
func CreateOp(a Array, configPath string) oplog.Op {
	return oplog.Op{Desc: fmt.Sprintf("creating %q", a.Name), Kind: "create-array", Path: a.Name, ConfigPath: configPath}
}

// Create makes an array; whatever its members held is gone.
func Create(ctx context.Context, log *oplog.Logger, r *exec.Runner, a Array, configPath string) error {
	if _, err := r.Logged(ctx, log, CreateOp(a, configPath), a.CreateCommand()); err != nil {
		return fmt.Errorf("mdadm failed: %w", err)
	}
	return nil
}

// Assemble starts an array that its members hold already.
func Assemble(ctx context.Context, log *oplog.Logger, r *exec.Runner, a Array, configPath string) error {
	op := oplog.Op{Desc: fmt.Sprintf("assembling %q", a.Name), Kind: "assemble-array", Path: a.Name, ConfigPath: configPath}
	args := append([]string{"--assemble", Node(a.Name), "--run", "--homehost", "any"}, a.Devices...)
	if _, err := r.Logged(ctx, log, op, exec.Cmd{Name: distro.Mdadm, Args: args}); err != nil {
		return fmt.Errorf("mdadm failed: %w", err)
	}
	return nil
}

// Member is what a device's md superblock says.
type Member struct {
	UUID     string `json:"uuid,omitempty"`     // of the array
	Name     string `json:"name,omitempty"`     // without the host
	Level    string `json:"level,omitempty"`    // as mdadm writes it: raid1, linear...
	Metadata string `json:"metadata,omitempty"` // "1.2"
	Devices  int    `json:"devices,omitempty"`  // members that the array has, without spares
	Spare    bool   `json:"spare,omitempty"`
	Events   int64  `json:"events,omitempty"` // 0: the array never ran
}

// Examine reads the superblock of a device; nil means that it has none.
func Examine(ctx context.Context, log *oplog.Logger, r *exec.Runner, device string) (*Member, error) {
	res, err := r.RunIn(ctx, log, exec.Cmd{Name: distro.Mdadm, Args: []string{"--examine", device}})
	if err != nil {
		if res.ExitCode == 1 { // no superblock
			return nil, nil
		}
		return nil, fmt.Errorf("examining %q: %w", device, err)
	}
	return parseExamine(res.Stdout), nil
}

// parseExamine reads mdadm's "Key : value" lines; those of --export lack the
// version of the superblock and the role of the device. A partition table is
// described in the same form, but has no array's UUID.
func parseExamine(out []byte) *Member {
	values := map[string]string{}
	for line := range bytes.Lines(out) {
		if key, value, ok := strings.Cut(string(line), " : "); ok {
			values[strings.TrimSpace(key)] = strings.TrimSpace(value)
		}
	}
	m := &Member{UUID: values["Array UUID"], Level: values["Raid Level"], Metadata: values["Version"]}
	if m.UUID == "" {
		m.UUID, _, _ = strings.Cut(values["UUID"], " ") // 0.90
	}
	if m.UUID == "" {
		return nil
	}
	if strings.HasPrefix(m.Metadata, "0.90") {
		m.Metadata = "0.90"
	}
	name, _, _ := strings.Cut(values["Name"], " ") // "(local to host h)" may follow
	m.Name = localName(name)
	m.Devices, _ = strconv.Atoi(values["Raid Devices"])
	events, _, _ := strings.Cut(values["Events"], ".") // 0.90 writes 0.17
	m.Events, _ = strconv.ParseInt(events, 10, 64)
	if _, low, ok := strings.Cut(values["Events"], "."); ok && m.Events == 0 {
		m.Events, _ = strconv.ParseInt(low, 10, 64)
	}
	m.Spare = strings.HasPrefix(values["Device Role"], "spare")
	return m
}

// Running is an array that the kernel runs.
type Running struct {
	Member
	Nodes []string `json:"nodes,omitempty"` // kernel names of its members: vda1
}

// Detail describes a running array; nil means that it does not run.
func Detail(ctx context.Context, log *oplog.Logger, r *exec.Runner, node string) (*Running, error) {
	res, err := r.RunIn(ctx, log, exec.Cmd{Name: distro.Mdadm, Args: []string{"--detail", "--export", node}})
	if err != nil {
		if res.ExitCode > 0 {
			return nil, nil
		}
		return nil, fmt.Errorf("asking for details of %q: %w", node, err)
	}
	values := exported(res.Stdout)
	if values["MD_UUID"] == "" {
		return nil, nil
	}
	a := &Running{Member: Member{
		UUID: values["MD_UUID"], Name: localName(values["MD_NAME"]), Level: values["MD_LEVEL"], Metadata: values["MD_METADATA"],
	}}
	a.Devices, _ = strconv.Atoi(values["MD_DEVICES"])
	for key, value := range values {
		if strings.HasPrefix(key, "MD_DEVICE_") && strings.HasSuffix(key, "_DEV") {
			a.Nodes = append(a.Nodes, strings.TrimPrefix(value, "/dev/"))
		}
	}
	slices.Sort(a.Nodes)
	return a, nil
}

// exported reads lines of KEY=value.
func exported(out []byte) map[string]string {
	values := map[string]string{}
	for line := range bytes.Lines(out) {
		if key, value, ok := strings.Cut(strings.TrimSpace(string(line)), "="); ok {
			values[key] = value
		}
	}
	return values
}

// localName cuts the host off an array's name: "any:data" is "data".
func localName(name string) string {
	if _, rest, ok := strings.Cut(name, ":"); ok {
		return rest
	}
	return name
}

// ShortName is the name that a superblock has for an array of the config.
func ShortName(name string) string {
	return name[strings.LastIndexByte(name, '/')+1:]
}

// SameLevel tells whether two names mean one level: 1, mirror and raid1.
func SameLevel(a, b string) bool { return canonicalLevel(a) == canonicalLevel(b) }

func canonicalLevel(l string) string {
	switch l {
	case "stripe", "0":
		return "raid0"
	case "mirror", "1":
		return "raid1"
	case "4", "5", "6", "10":
		return "raid" + l
	}
	return l
}

// Metadata is the superblock version that an array's options ask for, mdadm's default if none do.
func (a Array) Metadata() string {
	version := "1.2"
	for i, o := range a.Options {
		switch value, found := strings.CutPrefix(o, "--metadata="); {
		case found:
			version = value
		case (o == "--metadata" || o == "-e") && i+1 < len(a.Options):
			version = a.Options[i+1]
		case strings.HasPrefix(o, "-e") && len(o) > 2 && o[2] != '-':
			version = o[2:]
		}
	}
	switch version {
	case "1", "default":
		return "1.2"
	case "0":
		return "0.90"
	}
	return version
}
