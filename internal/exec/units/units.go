// SPDX-License-Identifier: Apache-2.0

// Package units has systemd judge unit files, through systemd-analyze, on a
// machine that is not the one that will run them: what it says of programs and
// units that are not here is left out. What a unit has to be for a boot is for
// package config to say.
package units

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"firstboot.dev/ignition/internal/config"
	"firstboot.dev/ignition/internal/distro"
	"firstboot.dev/ignition/internal/exec"
)

// timeout is for all units together.
const timeout = 30 * time.Second

// Complaint is what systemd says of one unit.
type Complaint struct {
	Path string // in the config, from the list of units: "3.dropins.0.contents"
	Line int    // of the text, 0 for all of it
	Text string
}

// stub stands for a unit of which a config has only drop-ins. Other types of units cannot be without settings of their
// own, and their drop-ins are not judged.
func stub(name string) string {
	switch filepath.Ext(name) {
	case ".service":
		return "[Service]\nType=oneshot\nExecStart=/bin/true\n"
	case ".timer":
		return "[Timer]\nOnBootSec=1\n"
	case ".socket":
		return "[Socket]\nListenStream=1\n"
	case ".target", ".slice":
		return "[Unit]\n"
	}
	return ""
}

// Verify writes units to a private folder and has them judged there. Without systemd-analyze the error is
// exec.ErrNotFound.
func Verify(ctx context.Context, r *exec.Runner, units []config.Unit) ([]Complaint, error) {
	dir, err := os.MkdirTemp("", "ignition-units")
	if err != nil {
		return nil, err
	}
	made := []string{dir}
	defer func() {
		for i := len(made) - 1; i >= 0; i-- {
			_ = os.Remove(made[i])
		}
	}()
	if dir, err = filepath.EvalSymlinks(dir); err != nil {
		return nil, err
	}
	paths := map[string]string{} // of what is in the folder
	args := []string{"verify", "--man=no"}
	for i := range units {
		files := lay(&units[i], strconv.Itoa(i), paths)
		for n := 0; n < len(files); n += 2 { // names and texts
			name := dir + "/" + files[n]
			made = append(made, name)
			if files[n+1] == "" {
				err = os.Mkdir(name, 0o700)
			} else {
				err = os.WriteFile(name, []byte(files[n+1]), 0o600)
			}
			if err != nil {
				return nil, err
			}
		}
		if len(files) > 0 {
			args = append(args, dir+"/"+files[0])
		}
	}
	if len(made) == 1 {
		return nil, nil
	}
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	// A colon at the end adds the folders of this machine.
	env := []string{"SYSTEMD_UNIT_PATH=" + dir + ":", "SYSTEMD_LOG_COLOR=0", "SYSTEMD_LOG_TARGET=console", "SYSTEMD_LOG_LEVEL=info", "LC_ALL=C"}
	result, err := r.Run(ctx, exec.Cmd{Name: distro.SystemdAnalyze, Args: args, Env: env})
	list := read(string(result.Stderr), dir, paths)
	switch {
	case errors.Is(err, exec.ErrNotFound):
		return nil, exec.ErrNotFound
	case ctx.Err() != nil:
		return list, fmt.Errorf("systemd-analyze: %w", ctx.Err())
	}
	return list, nil // other failures are complaints
}

// lay lists the files of a unit and its drop-ins, each with its text; a folder has none. The one to judge is first.
func lay(u *config.Unit, at string, paths map[string]string) (files []string) {
	text := stub(u.Name)
	if u.Contents != nil && *u.Contents != "" {
		text = *u.Contents
		paths[u.Name] = at + ".contents"
		files = []string{u.Name, text}
	}
	if text == "" || !isName(u.Name) {
		return nil
	}
	folder := u.Name + ".d"
	for n := range u.Dropins {
		d := &u.Dropins[n]
		if d.Contents == nil || *d.Contents == "" || !isName(d.Name) {
			continue
		}
		if len(files) < 4 {
			files = []string{u.Name, text, folder, ""}
		}
		name := folder + "/" + d.Name
		paths[name] = at + ".dropins." + strconv.Itoa(n) + ".contents"
		files = append(files, name, *d.Contents)
	}
	return files
}

func isName(s string) bool { return s != "" && s[0] != '.' && !strings.ContainsAny(s, "/\x00") }

// read finds what is about our files: "FILE:LINE: text" and "NAME: text".
func read(out, dir string, paths map[string]string) (list []Complaint) {
	for line := range strings.Lines(out) {
		name, text, _ := strings.Cut(strings.TrimRight(line, "\n"), ": ")
		at := 0
		if file, number, ok := strings.Cut(strings.TrimPrefix(name, dir+"/"), ":"); ok && strings.HasPrefix(name, dir) {
			name = file
			at, _ = strconv.Atoi(number)
		}
		path := paths[name]
		if path == "" || isAboutHere(text) {
			continue
		}
		// What follows is the value, which may be a secret.
		text, _, _ = strings.Cut(text, ", ignoring")
		list = append(list, Complaint{path, at, strings.TrimSuffix(text, " Refusing.")})
	}
	return list
}

// isAboutHere tells whether a text is about what this machine has or has not.
func isAboutHere(text string) bool {
	for _, part := range []string{" is not executable", " not found", "Failed to create ", "No such file or directory"} {
		if strings.Contains(text, part) {
			return true
		}
	}
	return false
}
