// SPDX-License-Identifier: Apache-2.0

package files

import (
	"errors"
	"fmt"
	"io/fs"
	"path"

	"firstboot.dev/ignition/internal/config"
	"firstboot.dev/ignition/internal/oplog"
)

const unitDir = "/etc/systemd/system"

// createUnits writes units, drop-ins and masks in config order, and then the presets.
func (s *stage) createUnits() error {
	var presets presets
	for i := range s.Config.Systemd.Units {
		u := &s.Config.Systemd.Units[i]
		entry := fmt.Sprintf("$.systemd.units.%d", i)
		err := s.createUnit(u, entry)
		if err == nil && u.Enabled != nil {
			err = presets.add(u.Name, *u.Enabled, entry)
		}
		if err == nil && u.Mask != nil {
			err = s.mask(u.Name, *u.Mask, entry)
		}
		if err != nil {
			return entryError(entry, err)
		}
	}
	return s.writePresets(&presets)
}

// unitPath refuses a name that would lead out of the unit directory.
func unitPath(dir, name string) (string, error) {
	if path.Base(name) != name || name == "." || name == ".." {
		return "", fmt.Errorf("%q is not the name of a unit or drop-in: it must not hold a slash", name)
	}
	return path.Join(dir, name), nil
}

func (s *stage) createUnit(u *config.Unit, entry string) error {
	at, err := unitPath(unitDir, u.Name)
	if err != nil {
		return err
	}
	op := oplog.Op{Desc: fmt.Sprintf("processing unit %q", u.Name), Kind: "unit", Path: u.Name, ConfigPath: entry}
	return s.Log.Do(op, func(log *oplog.Logger) error {
		labelled := false
		for i, d := range u.Dropins {
			if d.Contents == nil {
				continue
			}
			p, err := unitPath(at+".d", d.Name)
			if err != nil {
				return err
			}
			if p, err = s.Root.Resolve(p); err != nil {
				return err
			}
			if !labelled { // the directory, and once: labels go down from it
				s.label(path.Dir(p))
				labelled = true
			}
			where := fmt.Sprintf("%s.dropins.%d", entry, i)
			if err := s.writeUnit(log, fmt.Sprintf("writing systemd drop-in %q", d.Name), p, *d.Contents, where); err != nil {
				return err
			}
		}
		if u.Contents == nil || *u.Contents == "" {
			return nil
		}
		p, err := s.Root.Resolve(at)
		if err != nil || u.Mask != nil && *u.Mask && s.isMasked(p) {
			return err
		}
		s.label(p)
		return s.writeUnit(log, fmt.Sprintf("writing unit %q", u.Name), p, *u.Contents, entry)
	})
}

// writeUnit replaces a file or link at the resolved path; a directory there is an error.
func (s *stage) writeUnit(log *oplog.Logger, what, p, contents, entry string) error {
	r := log.Start(s.unitOp(what, p, entry))
	if s.samePlain(p, []byte(contents), fileMode) {
		r.Keep()
		return r.End(nil)
	}
	r.AddBytes(int64(len(contents)))
	return r.End(entryError(entry, s.writePlain(p, []byte(contents), fileMode)))
}

func (s *stage) unitOp(what, p, entry string) oplog.Op {
	return oplog.Op{Desc: fmt.Sprintf("%s at %q", what, s.Root.Display(p)), Kind: "write-unit", Path: p, ConfigPath: entry}
}

func maskOp(name, p, entry string) oplog.Op {
	return oplog.Op{Desc: fmt.Sprintf("masking unit %q", name), Kind: "mask-unit", Path: p, ConfigPath: entry}
}

func unmaskOp(name, p, entry string) oplog.Op {
	return oplog.Op{Desc: fmt.Sprintf("unmasking unit %q", name), Kind: "unmask-unit", Path: p, ConfigPath: entry}
}

// writePlain puts a file of root's at a resolved path, with its parents.
// The caller has noted its label.
func (s *stage) writePlain(p string, contents []byte, mode fs.FileMode) error {
	if err := s.makeParents(p); err != nil {
		return err
	}
	dir, err := s.openDir(path.Dir(p))
	if err != nil {
		return err
	}
	return dir.WriteFile(path.Base(p), contents, mode, s.owner, s.owner)
}

// mask links a unit to /dev/null, or takes such a link away.
func (s *stage) mask(name string, mask bool, entry string) error {
	at, err := unitPath(unitDir, name)
	if err != nil {
		return err
	}
	p, err := s.Root.Resolve(at)
	if err != nil {
		return err
	}
	if !mask {
		return s.unmask(name, p, entry)
	}
	r := s.Log.Start(maskOp(name, p, entry))
	return r.End(func() error {
		if s.isMasked(p) {
			r.Keep()
			return nil
		}
		s.label(p)
		s.closeDirs()
		if err := s.Root.RemoveAll(p); err != nil {
			return err
		}
		if err := s.makeParents(p); err != nil {
			return err
		}
		dir, err := s.openDir(path.Dir(p))
		if err != nil {
			return err
		}
		return dir.Symlink("/dev/null", path.Base(p))
	}())
}

// isMasked tells whether a finished tree has the link already.
func (s *stage) isMasked(p string) bool {
	target, err := s.Root.Readlink(p)
	return s.finished && err == nil && target == "/dev/null"
}

func (s *stage) unmask(name, p, entry string) error {
	target, err := s.Root.Readlink(p)
	if err != nil || target != "/dev/null" {
		return nil // not masked
	}
	return s.Log.Do(unmaskOp(name, p, entry), func(*oplog.Logger) error {
		err := s.Root.Remove(p)
		if errors.Is(err, fs.ErrNotExist) {
			return nil
		}
		return err
	})
}
