// SPDX-License-Identifier: Apache-2.0

package disks

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"path/filepath"
	"slices"
	"strings"

	"firstboot.dev/ignition/internal/block"
	"firstboot.dev/ignition/internal/config"
	"firstboot.dev/ignition/internal/exec/luks"
	"firstboot.dev/ignition/internal/exec/raid"
)

// machineVersion is the one version of files that is written and read.
const machineVersion = 1

// Machine is what is known of all block devices of a machine: facts for any
// config. It holds no key.
type Machine struct {
	Version int             `json:"version"`
	Devices []MachineDevice `json:"devices"`
}

// MachineDevice is one of them.
type MachineDevice struct {
	Names   []string        `json:"names"` // the links that udev makes
	Node    block.Node      `json:"node"`
	Use     block.Use       `json:"use"`
	Parts   []Part          `json:"partitions,omitempty"`
	Table   *block.Table    `json:"table,omitempty"`
	NoTable string          `json:"tableError,omitempty"`
	Content *block.Content  `json:"content,omitempty"`
	Unknown string          `json:"contentError,omitempty"`
	Volume  *luks.Facts     `json:"luks,omitempty"`
	Member  *raid.Member    `json:"raidMember,omitempty"`
	Array   *raid.Running   `json:"array,omitempty"`
	Crypt   *MachineMapping `json:"mapping,omitempty"`
}

// MachineMapping is what a device of the device mapper is.
type MachineMapping struct {
	LUKS bool   `json:"luks"`
	On   string `json:"on"` // kernel name of the device below
}

// LookAtAll describes this machine. It only reads.
func LookAtAll(ctx context.Context, in Input) (*Machine, error) {
	host := *in.Host
	host.ReadOnly = true
	in.Host = &host
	s := &stage{Input: in, ctx: ctx, s: &config.Storage{}, looking: true}
	g, err := s.gather(in.Log)
	if err != nil {
		return nil, err
	}
	nodes, err := host.All()
	if err != nil {
		return nil, err
	}
	links := host.Links()
	m := &Machine{Version: machineVersion, Devices: []MachineDevice{}}
	for _, n := range nodes {
		d, err := g.describe(n)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", n.Path, err)
		}
		if d.Names = links[n.Path]; d.Names == nil {
			d.Names = []string{}
		}
		m.Devices = append(m.Devices, d)
	}
	return m, nil
}

func (g *gatherer) describe(n block.Node) (d MachineDevice, err error) {
	d = MachineDevice{Node: n, Use: g.users.Of(n)}
	if d.Parts, err = g.parts(n); err != nil {
		return d, err
	}
	if n.Parent == "" {
		t, err := g.Host.ReadTable(n)
		d.Table = &t
		if err != nil {
			d.Table, d.NoTable = nil, err.Error()
		}
	}
	c, err := g.Host.Probe(g.ctx, g.log, n.Path)
	d.Content = &c
	if err != nil {
		d.Content, d.Unknown = nil, err.Error()
	}
	switch {
	case c.Type == "crypto_LUKS":
		v, err := g.manager(g.log).Inspect(g.ctx, luks.Volume{Device: n.Path, Alias: n.Path})
		if err != nil {
			return d, err
		}
		d.Volume = &v
	case c.Type == "linux_raid_member":
		if d.Member, err = raid.Examine(g.ctx, g.log, g.Runner, n.Path); err != nil {
			return d, err
		}
	}
	if strings.HasPrefix(n.Name, "md") {
		if d.Array, err = raid.Detail(g.ctx, g.log, g.Runner, n.Path); err != nil {
			return d, err
		}
	}
	if n.DMName != "" {
		d.Crypt = &MachineMapping{}
		d.Crypt.LUKS, d.Crypt.On = g.Host.Crypt(n)
	}
	return d, nil
}

// Encode is the form of a file.
func (m *Machine) Encode() []byte {
	var b bytes.Buffer
	enc := json.NewEncoder(&b)
	enc.SetIndent("", "  ")
	_ = enc.Encode(m) // texts and numbers
	return b.Bytes()
}

// ReadMachine reads what Encode wrote.
func ReadMachine(raw []byte) (*Machine, error) {
	var v struct{ Version *int }
	err := json.Unmarshal(raw, &v)
	switch {
	case err != nil:
		return nil, fmt.Errorf("this is no file of `ignition facts`: %w", err)
	case v.Version == nil:
		return nil, errors.New("this is no file of `ignition facts`: it has no version")
	case *v.Version != machineVersion:
		return nil, fmt.Errorf("the facts are of version %d, and this program reads version %d: run `ignition facts` of this version on the machine again", *v.Version, machineVersion)
	}
	m := &Machine{}
	dec := json.NewDecoder(bytes.NewReader(raw))
	dec.DisallowUnknownFields()
	if err := dec.Decode(m); err != nil {
		return nil, fmt.Errorf("the facts are damaged: %w; run `ignition facts` on the machine again", err)
	}
	return m, nil
}

// find gives a device by any of its names.
func (m *Machine) find(name string) *MachineDevice {
	for i := range m.Devices {
		if d := &m.Devices[i]; d.Node.Path == name || slices.Contains(d.Names, name) {
			return d
		}
	}
	return nil
}

// known are errors that decisions depend on.
var known = []error{block.ErrNoTable, block.ErrNotGPT}

// asError is an error of the file.
func asError(text string) error {
	for _, err := range known {
		if rest, ok := strings.CutSuffix(text, err.Error()); ok {
			return fmt.Errorf("%s%w", rest, err)
		}
	}
	if text == "" {
		return nil
	}
	return errors.New(text)
}

func (m *Machine) device(name string) *Device {
	from := m.find(name)
	if from == nil {
		return nil
	}
	d := &Device{
		Node: from.Node, Alias: filepath.Clean(name), Use: from.Use, Parts: from.Parts, Volume: from.Volume, Member: from.Member, Array: from.Array,
		TableErr: asError(from.NoTable), ContentErr: asError(from.Unknown),
	}
	if from.Table != nil {
		d.Table = *from.Table
	}
	if from.Content != nil {
		d.Content = *from.Content
	}
	return d
}

// Facts picks what a config is about.
func (m *Machine) Facts(s *config.Storage) *Facts {
	facts := &Facts{Devices: map[string]*Device{}}
	add := func(name string) *Device {
		if facts.Devices[name] == nil {
			if d := m.device(name); d != nil {
				facts.Devices[name] = d
			}
		}
		return facts.Devices[name]
	}
	for i := range s.Disks {
		add(s.Disks[i].Device)
	}
	for i := range s.RAID {
		a := &s.RAID[i]
		for _, member := range a.Devices {
			add(member)
		}
		add(raid.Node(a.Name))
	}
	for i := range s.LUKS {
		l := &s.LUKS[i]
		d := add(deref(l.Device))
		if open := m.find("/dev/mapper/" + l.Name); d != nil && open != nil && open.Crypt != nil {
			d.Mapper = &Mapper{Node: open.Node, Use: open.Use, LUKS: open.Crypt.LUKS, On: open.Crypt.On}
		}
	}
	for i := range s.Filesystems {
		if f := &s.Filesystems[i]; handled(f) {
			add(f.Device)
		}
	}
	return facts
}

// LookAt gives the facts of a machine that was described elsewhere.
func (m *Machine) LookAt(_ context.Context, in Input) (*Facts, error) {
	return m.Facts(&in.Config.Storage), nil
}
