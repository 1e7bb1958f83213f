// SPDX-License-Identifier: Apache-2.0

package users

import (
	"errors"
	"fmt"
	"io/fs"
	"strconv"
	"strings"

	"firstboot.dev/ignition/internal/sysroot"
)

// ErrNotFound is wrapped by look-ups of names that are not in the sysroot.
var ErrNotFound = errors.New("not found")

// Account is a passwd entry, GroupEntry a group one.
type Account struct {
	Name     string
	UID, GID int
	Comment  string // GECOS
	Home     string
	Shell    string
}

// GroupEntry is a group of the sysroot.
type GroupEntry struct {
	Name string
	GID  int
}

// DB looks names up in the sysroot. It reads files anew on each call, since useradd changes them.
type DB struct{ root *sysroot.Root }

// NewDB gives the look-ups of a tree.
func NewDB(root *sysroot.Root) *DB { return &DB{root} }

// User finds a user by name; the error is `no such user "x": not found` if there is none.
func (d *DB) User(name string) (Account, error) {
	var a Account
	found, err := d.find("passwd", 6, func(f []string) (ok bool, err error) {
		if matches(f, name) {
			a, ok, err = account(f)
		}
		return ok, err
	})
	if err != nil {
		return Account{}, fmt.Errorf("user %q: %w", name, err)
	}
	if !found {
		return Account{}, fmt.Errorf("no such user %q: %w", name, ErrNotFound)
	}
	return a, nil
}

// Group finds a group by name; the error is `no such group "x": not found` if there is none.
func (d *DB) Group(name string) (GroupEntry, error) {
	g := GroupEntry{Name: name}
	found, err := d.find("group", 3, func(f []string) (ok bool, err error) {
		if matches(f, name) {
			g.GID, ok, err = parseID(f[2])
		}
		return ok, err
	})
	if err != nil {
		return GroupEntry{}, fmt.Errorf("group %q: %w", name, err)
	}
	if !found {
		return GroupEntry{}, fmt.Errorf("no such group %q: %w", name, ErrNotFound)
	}
	return g, nil
}

// hasGID tells whether some group has the number.
func (d *DB) hasGID(gid int) (bool, error) {
	return d.find("group", 3, func(f []string) (bool, error) {
		got, ok, err := parseID(f[2])
		return ok && err == nil && got == gid, nil
	})
}

// matches tells whether a line is the entry of that name. Names with those
// signs are directives, which never match.
func matches(f []string, name string) bool {
	return f[0] == name && name != "" && name[0] != '+' && name[0] != '-'
}

// account reads the fields of a passwd line: name, password, uid, gid,
// comment, home and, if it is there, shell.
func account(f []string) (a Account, ok bool, err error) {
	a = Account{Name: f[0], Comment: f[4], Home: f[5]}
	if len(f) > 6 {
		a.Shell = f[6]
	}
	if a.UID, ok, err = parseID(f[2]); !ok || err != nil {
		return a, false, err
	}
	a.GID, ok, err = parseID(f[3])
	return a, ok, err
}

// parseID reads a number as the C library does: what is no number makes the
// line count as absent. One that the C library would cut to "unchanged" is an error.
func parseID(s string) (id int, ok bool, err error) {
	n, err := strconv.ParseInt(strings.TrimLeft(s, " \t"), 10, 64)
	switch {
	case errors.Is(err, strconv.ErrRange), err == nil && (n < 0 || n >= maxID):
		return 0, false, fmt.Errorf("the id %q is out of range", s)
	case err != nil:
		return 0, false, nil
	}
	return int(n), true, nil
}

// find looks through the sources in their order for the first line that take
// accepts. Lines with fewer fields do not count.
func (d *DB) find(table string, fields int, take func([]string) (bool, error)) (bool, error) {
	sources, err := d.sources(table)
	if err != nil {
		return false, err
	}
	for _, s := range sources {
		data, err := d.root.ReadFile(s.path)
		missing := errors.Is(err, fs.ErrNotExist)
		if err != nil && !missing {
			return false, err
		}
		for line := range strings.Lines(string(data)) {
			f := splitLine(line)
			if len(f) < fields {
				continue
			}
			if ok, err := take(f); ok || err != nil {
				return ok, err
			}
		}
		if s.stopNotFound && !missing || s.stopUnavailable && missing {
			break
		}
	}
	return false, nil
}

// splitLine gives a line's fields; none for blank lines and comments.
func splitLine(line string) []string {
	line = strings.TrimLeft(strings.TrimSuffix(line, "\n"), " \t\v\f\r")
	if line == "" || line[0] == '#' {
		return nil
	}
	return strings.Split(line, ":")
}

// source is one file of a table, with the reactions of nsswitch.conf that end the search.
type source struct {
	path            string
	stopNotFound    bool
	stopUnavailable bool
}

// sourceDirs are the directories that sources of nsswitch.conf read from.
// Others are network services, which do not answer this early.
var sourceDirs = map[string]string{
	"files":    "/etc/",
	"compat":   "/etc/",
	"altfiles": "/usr/lib/",
	"usrfiles": "/usr/share/baselayout/",
}

func (d *DB) sources(table string) ([]source, error) {
	data, err := d.root.ReadFile("/etc/nsswitch.conf")
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, err
	}
	spec := "files"
	for line := range strings.Lines(string(data)) {
		line, _, _ = strings.Cut(line, "#")
		key, value, ok := strings.Cut(line, ":")
		if ok && strings.EqualFold(strings.TrimSpace(key), table) {
			spec = value // the last line of a table counts
		}
	}
	return parseSources(spec, table), nil
}

// parseSources reads `files altfiles [NOTFOUND=return] sss`.
func parseSources(spec, table string) []source {
	var out []source
	known := false // the reaction that follows belongs to the last of out
	for spec = strings.TrimSpace(spec); spec != ""; spec = strings.TrimSpace(spec) {
		if spec[0] == '[' {
			actions, rest, _ := strings.Cut(spec[1:], "]")
			if known {
				out[len(out)-1].react(actions)
			}
			spec = rest
			continue
		}
		end := strings.IndexAny(spec, " \t\r\n[")
		if end < 0 {
			end = len(spec)
		}
		var dir string
		if dir, known = sourceDirs[spec[:end]]; known {
			out = append(out, source{path: dir + table})
		}
		spec = spec[end:]
	}
	return out
}

// react applies `NOTFOUND=return !SUCCESS=continue` to a source.
func (s *source) react(actions string) {
	for _, a := range strings.Fields(strings.ToLower(actions)) {
		status, action, _ := strings.Cut(a, "=")
		status, negated := strings.CutPrefix(status, "!")
		stop := action == "return"
		if (status == "notfound") != negated {
			s.stopNotFound = stop
		}
		if (status == "unavail") != negated {
			s.stopUnavailable = stop
		}
	}
}
