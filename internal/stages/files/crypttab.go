// SPDX-License-Identifier: Apache-2.0

package files

import (
	"bytes"
	"fmt"
	"io"
	"path"
	"slices"
	"strings"

	"firstboot.dev/ignition/internal/config"
	"firstboot.dev/ignition/internal/exec"
	"firstboot.dev/ignition/internal/exec/luks"
	"firstboot.dev/ignition/internal/oplog"
)

const crypttabPath = "/etc/crypttab"

// createCrypttab writes the lines by which the real root opens the config's
// volumes, and the key files that the disks stage made.
func (s *stage) createCrypttab() error {
	if len(s.Config.Storage.LUKS) == 0 {
		return nil
	}
	log := s.Log.With("createCrypttabEntries").With("createFiles")
	var lines []string
	var keys []config.File
	for i := range s.Config.Storage.LUKS {
		l := &s.Config.Storage.LUKS[i]
		line, key, err := s.crypttabEntry(l)
		if err != nil {
			return entryError(fmt.Sprintf("$.storage.luks.%d", i), err)
		}
		lines = append(lines, line)
		if key != nil && !s.hasKey(key, log) {
			keys = append(keys, *key)
		}
	}
	if len(keys) > 0 {
		if err := s.makeKeyDir(); err != nil {
			return err
		}
	}
	for i := range keys {
		if err := s.createPlain(log, &keys[i], "key file"); err != nil {
			return err
		}
	}
	return s.writeCrypttab(log, lines)
}

// crypttabEntry gives the line of a volume and its key file, if it has one.
func (s *stage) crypttabEntry(l *config.LUKS) (string, *config.File, error) {
	res, err := s.Runner.Run(s.ctx, exec.Cmd{Name: s.Cryptsetup, Args: []string{"luksUUID", s.deviceAlias(l)}})
	if err != nil {
		return "", nil, fmt.Errorf("gathering luks uuid: %s: %w", strings.TrimSpace(string(res.Stdout)+string(res.Stderr)), err)
	}
	uuid := strings.TrimSpace(string(res.Stdout))
	options := "luks"
	if luks.NeedsNet(l) {
		options += ",_netdev"
	}
	if s.InitrdAttach {
		options += ",x-initrd.attach"
	}
	keyFile := "none"
	var key *config.File
	if !luks.UsesClevis(l) {
		keyFile = path.Join(s.LUKSKeyDir, l.Name)
		source, ok := s.LUKSKeyFiles[l.Name]
		if !ok {
			return "", nil, fmt.Errorf("missing persisted keyfile for %s", l.Name)
		}
		key = keyFileEntry(keyFile, source)
		key.Overwrite = s.overwriteCut()
	}
	return fmt.Sprintf("%s UUID=%s %s %s\n", l.Name, uuid, keyFile, options), key, nil
}

// hasKey tells whether the target has that very key file, of an earlier run:
// the disks stage opened the volume with it.
func (s *stage) hasKey(key *config.File, log *oplog.Logger) bool {
	have, err := s.Root.ReadFile(key.Path)
	if err != nil {
		return false
	}
	body, err := config.DataURLReader(*key.Contents.Source)
	if err != nil {
		return false
	}
	want, err := io.ReadAll(body)
	if err != nil || !bytes.Equal(have, want) {
		return false
	}
	log.Info("key file %q is there already", key.Path)
	return true
}

// overwriteCut lets a key file that a cut run has written be written again.
func (s *stage) overwriteCut() *bool {
	again := s.mark.again
	return &again
}

func keyFileEntry(p, source string) *config.File {
	mode := 0o600
	return &config.File{Node: config.Node{Path: p}, Mode: &mode, Contents: config.Resource{Source: &source}}
}

func (s *stage) makeKeyDir() error {
	mode := 0o700
	n := &node{owner: &config.Node{Path: path.Clean(s.LUKSKeyDir)}}
	if err := s.look(n); err != nil || n.present {
		return err
	}
	s.label(n.path)
	if err := s.makeParents(n.path); err != nil {
		return err
	}
	_, err := s.Root.MkdirAll(n.path, uint32(mode))
	return err
}

// writeCrypttab adds the lines that are not there yet: one write, then an append each in the log.
func (s *stage) writeCrypttab(log *oplog.Logger, lines []string) error {
	mode := 0o600
	f := &config.File{Node: config.Node{Path: crypttabPath}, Mode: &mode}
	n, err := s.planFile(f, "$.storage.luks")
	if err == nil {
		err = s.look(n)
	}
	if err != nil {
		return err
	}
	var have []string
	if n.present && n.stat.Mode.IsRegular() {
		raw, err := s.Root.ReadFile(n.path)
		if err != nil {
			return err
		}
		have = strings.SplitAfter(string(raw), "\n")
	}
	for _, line := range lines {
		if slices.Contains(have, line) {
			continue
		}
		source := "data:," + escapeData(line)
		f.Append = append(f.Append, config.Resource{Source: &source})
	}
	if n, err = s.planFile(f, "$.storage.luks"); err == nil {
		err = s.look(n)
	}
	if err != nil {
		return err
	}
	s.label(n.path)
	return s.createFile(log, n)
}

// escapeData writes text as the body of a data URL.
func escapeData(text string) string {
	var b strings.Builder
	for _, c := range []byte(text) {
		if c >= '0' && c <= '9' || c >= 'A' && c <= 'Z' || c >= 'a' && c <= 'z' || c == '-' || c == '_' || c == '.' || c == '/' || c == '=' {
			b.WriteByte(c)
			continue
		}
		fmt.Fprintf(&b, "%%%02X", c)
	}
	return b.String()
}

// endVolumes takes the mark off volumes that the disks stage made: all that is
// needed to open them is on disk now, so a later run may not make them again.
func (s *stage) endVolumes() error {
	for i := range s.Config.Storage.LUKS {
		l := &s.Config.Storage.LUKS[i]
		if !luks.Marked(l) {
			continue
		}
		path := fmt.Sprintf("$.storage.luks.%d", i)
		v := luks.NewVolume(l, s.deviceAlias(l), "")
		v.ConfigPath = path
		m := luks.Manager{Runner: s.Runner, Log: s.Log}
		if err := m.ClearMark(s.ctx, v); err != nil {
			return entryError(path, err)
		}
	}
	return nil
}

// deviceAlias is the link to a volume's device that the disks stage has made.
func (s *stage) deviceAlias(l *config.LUKS) string {
	return path.Join(s.DeviceAliasDir, deref(l.Device))
}

// createVolumeKeys writes the protected keys of volumes that use a crypto card.
func (s *stage) createVolumeKeys() error {
	log := s.Log.With("createCexVolumeKeys").With("createFiles")
	for i := range s.Config.Storage.LUKS {
		l := &s.Config.Storage.LUKS[i]
		if l.CEX.Enabled == nil || !*l.CEX.Enabled {
			continue
		}
		for _, suffix := range []string{".info", ".skey"} {
			p := path.Join(s.CEXRepository, "ignition-luks-"+l.Name+suffix)
			source, ok := s.VolumeKeyFiles[path.Base(p)]
			if !ok {
				return entryError(fmt.Sprintf("$.storage.luks.%d.cex", i), fmt.Errorf("missing persisted zkeyfile for %s", p))
			}
			f := keyFileEntry(p, source)
			f.Overwrite = s.overwriteCut()
			if err := s.createPlain(log, f, fmt.Sprintf("$.storage.luks.%d.cex", i)); err != nil {
				return err
			}
		}
	}
	return nil
}
