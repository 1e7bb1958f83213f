// SPDX-License-Identifier: Apache-2.0

package luks

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"sort"
	"strconv"
	"strings"

	"firstboot.dev/ignition/internal/config"
	"firstboot.dev/ignition/internal/oplog"
)

// Facts are what is known of a device as a LUKS volume.
type Facts struct {
	Version     int      `json:"version,omitempty"` // 0: not LUKS; 1; 2
	UUID        string   `json:"uuid,omitempty"`    // of both versions
	Label       string   `json:"label,omitempty"`   // of LUKS2, as are all that follow
	Discard     bool     `json:"discard,omitempty"` // allow-discards is among the header's flags
	Flags       []string `json:"flags,omitempty"`
	Keyslots    int      `json:"keyslots,omitempty"`
	Mark        *Mark    `json:"mark,omitempty"`        // nil: no mark of ours
	ClevisSlots int      `json:"clevisSlots,omitempty"` // tokens of type clevis
}

// Mark says which config entry a volume was made for. It lies in the header as
// a token, from the format until the volume's provisioning has ended, so that a
// boot after an interrupted one knows what it may start over.
type Mark struct {
	Volume string `json:"volume"`
	Entry  string `json:"entry"`
	token  int
}

// markType is the type of our tokens.
const markType = "ignition"

// Inspect reads what is on the device. Whatever is not LUKS has Version 0.
func (m *Manager) Inspect(ctx context.Context, v Volume) (Facts, error) {
	anyFailure := func(code int) bool { return code > 0 }
	yes, err := m.ask(ctx, v.op("luks-probe", "checking if %s is a luks2 device", v.Device),
		cryptsetup("isLuks", v.Alias, "--type", "luks2"), anyFailure)
	if err != nil {
		return Facts{}, err
	}
	if yes {
		return m.inspect2(ctx, v)
	}
	yes, err = m.ask(ctx, v.op("luks-probe", "checking if %s is a luks device", v.Device),
		cryptsetup("isLuks", v.Alias), anyFailure)
	if err != nil || !yes {
		return Facts{}, err
	}
	uuid, err := m.uuid(ctx, v)
	return Facts{Version: 1, UUID: uuid}, err
}

func (m *Manager) inspect2(ctx context.Context, v Volume) (Facts, error) {
	f := Facts{Version: 2}
	var err error
	if f.UUID, err = m.uuid(ctx, v); err != nil {
		return f, err
	}
	md, err := m.metadata(ctx, v)
	if err != nil {
		return f, err
	}
	// cryptsetup has no exact output of the label, but has validated the header, which holds it.
	if f.Label, err = readLabel(v.Alias); err != nil {
		return f, fmt.Errorf("reading label of luks device: %w", err)
	}
	f.Discard = slices.Contains(md.flags, flagDiscards)
	f.Flags = md.flags
	f.Keyslots = md.keyslots
	f.ClevisSlots = md.clevis
	if n := len(md.marks); n > 0 {
		f.Mark = &md.marks[n-1]
	}
	return f, nil
}

func (m *Manager) uuid(ctx context.Context, v Volume) (string, error) {
	res, err := m.Runner.Logged(ctx, m.Log, v.op("luks-uuid", "reading uuid of luks device %s", v.Device), cryptsetup("luksUUID", v.Alias))
	if err != nil {
		return "", fmt.Errorf("reading uuid of luks device: %w", err)
	}
	return strings.TrimSpace(string(res.Stdout)), nil
}

// metadata reads the header's JSON area.
func (m *Manager) metadata(ctx context.Context, v Volume) (metadata, error) {
	var md metadata
	err := m.Log.Do(v.op("luks-dump", "reading metadata of luks device %s", v.Device), func(l *oplog.Logger) error {
		res, err := m.Runner.RunIn(ctx, l, cryptsetup("luksDump", "--dump-json-metadata", v.Alias))
		if err != nil {
			return err
		}
		if res.Truncated {
			return errTooLong
		}
		md, err = parseMetadata(res.Stdout)
		return err
	})
	if err != nil {
		return metadata{}, fmt.Errorf("reading metadata of luks device: %w", err)
	}
	return md, nil
}

// metadata is what we want of a LUKS2 header's JSON.
type metadata struct {
	flags    []string
	keyslots int
	clevis   int
	marks    []Mark // by ascending token
}

// maxMetadata bounds the JSON; the format's largest area has 4 MiB.
const maxMetadata = 4 << 20

var errTooLong = errors.New("metadata is too long")

// parseMetadata takes what it knows and ignores everything else, so that
// newer headers and other programs' tokens are no obstacle.
func parseMetadata(data []byte) (metadata, error) {
	if len(data) > maxMetadata {
		return metadata{}, errTooLong
	}
	var raw struct {
		Keyslots map[string]json.RawMessage `json:"keyslots"`
		Tokens   map[string]json.RawMessage `json:"tokens"`
		Config   struct {
			Flags []string `json:"flags"`
		} `json:"config"`
	}
	if err := json.Unmarshal(data, &raw); err != nil {
		return metadata{}, fmt.Errorf("parsing metadata: %w", err)
	}
	md := metadata{keyslots: len(raw.Keyslots), flags: raw.Config.Flags}
	for id, body := range raw.Tokens {
		var kind struct {
			Type string `json:"type"`
		}
		if json.Unmarshal(body, &kind) != nil {
			continue
		}
		switch kind.Type {
		case "clevis":
			md.clevis++
		case markType:
			// A mark whose fields are of no use stays a mark: it matches no entry, and can be cleared.
			var mark Mark
			_ = json.Unmarshal(body, &mark)
			n, err := strconv.Atoi(id)
			if err != nil || n < 0 {
				return metadata{}, fmt.Errorf("parsing metadata: token %q has no number", id)
			}
			mark.token = n
			md.marks = append(md.marks, mark)
		}
	}
	sort.Sort(byToken(md.marks))
	return md, nil
}

// byToken is for sort.Sort, which, unlike slices.SortFunc, is not compiled anew for each type: 18 KiB.
type byToken []Mark

func (m byToken) Len() int           { return len(m) }
func (m byToken) Less(i, j int) bool { return m[i].token < m[j].token }
func (m byToken) Swap(i, j int)      { m[i], m[j] = m[j], m[i] }

// readLabel reads the label from a LUKS2 header.
func readLabel(device string) (string, error) {
	f, err := os.Open(device)
	if err != nil {
		return "", err
	}
	defer f.Close()
	const labelAt, labelSize = 0x18, 48
	header := make([]byte, labelAt+labelSize)
	if _, err := io.ReadFull(f, header); err != nil {
		return "", err
	}
	if !bytes.HasPrefix(header, []byte("LUKS\xba\xbe\x00\x02")) {
		return "", errors.New("no luks2 header at the start of the device")
	}
	label, _, _ := bytes.Cut(header[labelAt:], []byte{0})
	return string(label), nil
}

const flagDiscards = "allow-discards"

// storedFlags are the options of opening that a header can keep, and the names
// that they have there.
var storedFlags = map[string]string{
	"--allow-discards":              flagDiscards,
	"--perf-same_cpu_crypt":         "same-cpu-crypt",
	"--perf-submit_from_crypt_cpus": "submit-from-crypt-cpus",
	"--perf-no_read_workqueue":      "no-read-workqueue",
	"--perf-no_write_workqueue":     "no-write-workqueue",
	"--integrity-no-journal":        "no-journal",
}

// Stored tells whether the header has just the flags that opening the volume
// would store, so that it need not be written.
func (f Facts) Stored(v Volume) bool {
	want := map[string]bool{}
	if v.Discard {
		want[flagDiscards] = true
	}
	for _, o := range v.OpenOptions {
		if name, ok := storedFlags[o]; ok {
			want[name] = true
		}
	}
	return len(want) == len(f.Flags) && !slices.ContainsFunc(f.Flags, func(name string) bool { return !want[name] })
}

// Marked tells whether a volume carries a mark while it is in work: one that
// could neither be reused by a later run, for want of its key, nor be wiped.
func Marked(l *config.LUKS) bool {
	return !value(l.WipeVolume) && (value(l.KeyFile.Source) == "" || UsesClevis(l))
}

// SetMark adds a mark to a header, which has none as long as it is fresh. Of
// several the one added last counts.
func (m *Manager) SetMark(ctx context.Context, v Volume, mark Mark) error {
	token, err := json.Marshal(struct {
		Type     string   `json:"type"`
		Keyslots []string `json:"keyslots"`
		Mark
	}{markType, []string{}, mark})
	if err != nil {
		return fmt.Errorf("marking luks device: %w", err)
	}
	c := cryptsetup("token", "import", "--json-file", "-", v.Alias)
	c.Stdin = bytes.NewReader(token)
	if err := m.run(ctx, v.markOp(), c); err != nil {
		return fmt.Errorf("marking luks device: %w", err)
	}
	return nil
}

// ClearMark removes every mark, and nothing else. None is fine.
func (m *Manager) ClearMark(ctx context.Context, v Volume) error {
	md, err := m.metadata(ctx, v)
	if err != nil {
		return err
	}
	for _, mark := range md.marks {
		c := cryptsetup("token", "remove", "--token-id", strconv.Itoa(mark.token), v.Alias)
		if err := m.run(ctx, v.op("luks-unmark", "removing mark from luks device %s", v.Name), c); err != nil {
			return fmt.Errorf("removing mark from luks device: %w", err)
		}
	}
	return nil
}
