// SPDX-License-Identifier: Apache-2.0

package exec

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	osexec "os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"firstboot.dev/ignition/internal/oplog"
)

// capture is a log that keeps its lines as LEVEL text.
type capture struct {
	mu    sync.Mutex
	lines []string
}

func (c *capture) Enabled(context.Context, slog.Level) bool { return true }
func (c *capture) WithAttrs([]slog.Attr) slog.Handler       { return c }
func (c *capture) WithGroup(string) slog.Handler            { return c }
func (c *capture) Handle(_ context.Context, r slog.Record) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	level := map[slog.Level]string{oplog.LevelDebug: "DEBUG", oplog.LevelInfo: "INFO", oplog.LevelCritical: "CRIT"}[r.Level]
	c.lines = append(c.lines, level+" "+r.Message)
	return nil
}

// stub puts a shell script into a new directory and gives a Runner that finds
// it there, and the host's programs after it.
func stub(t *testing.T, name, script string) *Runner {
	t.Helper()
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, name), []byte("#!/bin/sh\n"+script), 0o755); err != nil {
		t.Fatal(err)
	}
	return &Runner{Path: dir + ":" + os.Getenv("PATH")}
}

func TestRun(t *testing.T) {
	for _, row := range []struct {
		name, script string
		cmd          Cmd
		stdout       string
		code         int
		text         string // of the error; "" = none
	}{
		{"success", `echo "$@"`, Cmd{Args: []string{"a", "b c"}}, "a b c\n", 0, ""},
		{"stdin", `cat`, Cmd{Stdin: strings.NewReader("key\n")}, "key\n", 0, ""},
		{"stdin is empty by default", `cat; echo end`, Cmd{}, "end\n", 0, ""},
		{"environment is added to", `echo "$COLOR"`, Cmd{Env: []string{"COLOR=red"}}, "red\n", 0, ""},
		{"failure without arguments", `exit 3`, Cmd{}, "", 3,
			`exit status 3: Cmd: "tool" Stdout: "" Stderr: ""`},
		{"failure with output", `echo out; echo 'say "no"' >&2; exit 1`, Cmd{Args: []string{"arg1", `with "quotes"`, "tab\t"}}, "out\n", 1,
			`exit status 1: Cmd: "tool" "arg1" "with \"quotes\"" "tab\t" Stdout: "out\n" Stderr: "say \"no\"\n"`},
		{"killed", `kill -9 $$`, Cmd{}, "", -1,
			`signal: killed: Cmd: "tool" Stdout: "" Stderr: ""`},
		{"secret argument", `echo "bad $2" >&2; echo "$2"; exit 1`, Cmd{Args: []string{"--password", "$6$salt$hash", "bob"}, Secret: []int{1}}, "<redacted>\n", 1,
			`exit status 1: Cmd: "tool" "--password" "<redacted>" "bob" Stdout: "<redacted>\n" Stderr: "bad <redacted>\n"`},
		{"secret behind an equals sign", `echo "bad hash ${1#*=}" >&2; exit 1`, Cmd{Args: []string{"--password=$6$salt$hash"}, Secret: []int{0}}, "", 1,
			`exit status 1: Cmd: "tool" "<redacted>" Stdout: "" Stderr: "bad hash <redacted>\n"`},
		{"hidden value from stdin", `read k; echo "key $k is weak" >&2; exit 2`, Cmd{Stdin: strings.NewReader("pass phrase\n"), Hide: []string{"pass phrase"}}, "", 2,
			`exit status 2: Cmd: "tool" Stdout: "" Stderr: "key <redacted> is weak\n"`},
		{"a secret that holds another", `echo "$1" >&2; exit 1`, Cmd{Args: []string{"hash-longer"}, Secret: []int{0}, Hide: []string{"hash"}}, "", 1,
			`exit status 1: Cmd: "tool" "<redacted>" Stdout: "" Stderr: "<redacted>\n"`},
		{"a star is no secret in output", `echo '*.conf'; exit 1`, Cmd{Args: []string{"*"}, Secret: []int{0}}, "*.conf\n", 1,
			`exit status 1: Cmd: "tool" "<redacted>" Stdout: "*.conf\n" Stderr: ""`},
		{"secret index out of range", `exit 1`, Cmd{Secret: []int{4, -1}}, "", 1,
			`exit status 1: Cmd: "tool" Stdout: "" Stderr: ""`},
	} {
		t.Run(row.name, func(t *testing.T) {
			row.cmd.Name = "tool"
			res, err := stub(t, "tool", row.script).Run(t.Context(), row.cmd)
			if got := string(res.Stdout); got != row.stdout {
				t.Errorf("stdout %q, want %q", got, row.stdout)
			}
			if res.ExitCode != row.code {
				t.Errorf("exit code %d, want %d", res.ExitCode, row.code)
			}
			if row.text == "" {
				if err != nil {
					t.Errorf("unexpected error: %v", err)
				}
				return
			}
			var exit *ExitError
			if !errors.As(err, &exit) {
				t.Fatalf("error is %T (%v), want *ExitError", err, err)
			}
			if exit.Code != row.code || exit.Error() != row.text {
				t.Errorf("got  %d %s\nwant %d %s", exit.Code, exit, row.code, row.text)
			}
		})
	}
}

func TestNotStarted(t *testing.T) {
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "notexec"), []byte("x"), 0o644); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, "garbage"), []byte("\x00\x01"), 0o755); err != nil {
		t.Fatal(err)
	}
	for _, row := range []struct{ name, prog, path, want string }{
		{"not found in own path", "prog", dir, `exec: "prog": executable file not found in $PATH: Cmd: "prog" "arg1" Stdout: "" Stderr: ""`},
		{"not found in the process's path", "no-such-program", "", `exec: "no-such-program": executable file not found in $PATH: Cmd: "no-such-program" "arg1" Stdout: "" Stderr: ""`},
		{"not executable", "notexec", dir, `exec: "notexec": executable file not found in $PATH: Cmd: "notexec" "arg1" Stdout: "" Stderr: ""`},
		{"empty elements of the path are skipped", "notexec", "::", `exec: "notexec": executable file not found in $PATH: Cmd: "notexec" "arg1" Stdout: "" Stderr: ""`},
		{"no program", "garbage", dir, "fork/exec " + dir + `/garbage: exec format error: Cmd: "garbage" "arg1" Stdout: "" Stderr: ""`},
	} {
		t.Run(row.name, func(t *testing.T) {
			res, err := (&Runner{Path: row.path}).Run(t.Context(), Cmd{Name: row.prog, Args: []string{"arg1"}})
			if err == nil || err.Error() != row.want {
				t.Errorf("got  %v\nwant %s", err, row.want)
			}
			if res.ExitCode != -1 {
				t.Errorf("exit code %d, want -1", res.ExitCode)
			}
			if strings.Contains(row.want, "not found") && !errors.Is(err, osexec.ErrNotFound) {
				t.Errorf("%v does not wrap ErrNotFound", err)
			}
		})
	}
}

func TestRunnerEnvironment(t *testing.T) {
	r := stub(t, "tool", `echo "${HOME-unset} $ONLY $PATH"`)
	r.Env = []string{"ONLY=this"}
	res, err := r.Run(t.Context(), Cmd{Name: "tool"})
	if err != nil {
		t.Fatal(err)
	}
	if got, want := string(res.Stdout), "unset this "+r.Path+"\n"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
}

// TestCancel checks that the program's children go too, and that one which
// ignores the polite signal does as well.
func TestCancel(t *testing.T) {
	for _, row := range []struct{ name, trap string }{
		{"ends on request", ""},
		{"ignores the request", "trap '' TERM\n"},
	} {
		t.Run(row.name, func(t *testing.T) {
			pids := filepath.Join(t.TempDir(), "pids")
			r := stub(t, "tool", row.trap+"sleep 600 &\necho $$ $! >"+pids+".new\nmv "+pids+".new "+pids+"\nwait\nsleep 600\n")
			ctx, cancel := context.WithCancel(t.Context())
			defer cancel()
			go func() {
				for ctx.Err() == nil {
					if _, err := os.Stat(pids); err == nil {
						cancel()
					}
					time.Sleep(5 * time.Millisecond)
				}
			}()
			begin := time.Now()
			_, err := r.Run(ctx, Cmd{Name: "tool"})
			if !errors.Is(err, context.Canceled) {
				t.Errorf("error %v, want one that wraps context.Canceled", err)
			}
			if took := time.Since(begin); took > 10*time.Second {
				t.Errorf("took %v", took)
			}
			data, err := os.ReadFile(pids)
			if err != nil {
				t.Fatal(err)
			}
			for _, field := range strings.Fields(string(data)) {
				pid, err := strconv.Atoi(field)
				if err != nil {
					t.Fatal(err)
				}
				if !gone(pid) {
					t.Errorf("process %d is still there", pid)
				}
			}
		})
	}
}

// gone waits shortly for a process to end; one that nobody has reaped yet counts as gone.
func gone(pid int) bool {
	for range 200 {
		stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
		if err != nil || bytes.Contains(stat, []byte(") Z ")) {
			return true
		}
		time.Sleep(10 * time.Millisecond)
	}
	return false
}

func TestDeadline(t *testing.T) {
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	_, err := (&Runner{}).Run(ctx, Cmd{Name: "sleep", Args: []string{"600"}})
	want := `context deadline exceeded: signal: terminated: Cmd: "sleep" "600" Stdout: "" Stderr: ""`
	if err == nil || err.Error() != want {
		t.Errorf("got  %v\nwant %s", err, want)
	}
	_, err = (&Runner{}).Run(ctx, Cmd{Name: "true"})
	if want := `context deadline exceeded: Cmd: "true" Stdout: "" Stderr: ""`; err == nil || err.Error() != want {
		t.Errorf("after the deadline: got %v, want %s", err, want)
	}
}

// TestChildKeepsOutputOpen is a helper that goes to the background, as those
// of some file systems do: it must not hold us up, and lives on.
func TestChildKeepsOutputOpen(t *testing.T) {
	r := stub(t, "tool", "sleep 600 &\necho $!\n")
	res, err := r.Run(t.Context(), Cmd{Name: "tool"})
	if err != nil {
		t.Fatalf("the program did its work, yet: %v", err)
	}
	pid, err := strconv.Atoi(strings.TrimSpace(string(res.Stdout)))
	if err != nil {
		t.Fatal(err)
	}
	if err := syscall.Kill(pid, syscall.SIGKILL); err != nil {
		t.Errorf("the child is gone: %v", err)
	}
}

func TestLongOutput(t *testing.T) {
	r := stub(t, "tool", `i=0; while [ $i -lt 9000 ]; do echo "0123456789012345678901234567890 line $i"; i=$((i+1)); done >&2; exit 1`)
	res, err := r.Run(t.Context(), Cmd{Name: "tool"})
	if !res.Truncated || len(res.Stderr) != stderrLimit {
		t.Errorf("truncated %v, %d bytes kept, want true and %d", res.Truncated, len(res.Stderr), stderrLimit)
	}
	if !bytes.HasSuffix(res.Stderr, []byte("line 8999\n")) {
		t.Errorf("the end of the output is missing")
	}
	if err == nil || !strings.Contains(err.Error(), "bytes cut>") || len(err.Error()) > 2*excerptLimit {
		t.Errorf("error text has %d bytes and no note of the cut: %.200s", len(err.Error()), err)
	}
}

// TestTailNeverShowsPartOfASecret cuts a stream at every place around a secret.
func TestTailNeverShowsPartOfASecret(t *testing.T) {
	const secret = "correct-horse-battery"
	const limit = 32
	for after := range 2 * (limit + len(secret)) {
		for chunk := range 3 {
			w := newTail(limit, []string{secret})
			text := strings.Repeat(".", 200) + secret + strings.Repeat("x", after)
			for part := range slices.Chunk([]byte(text), 7+chunk*40) {
				if _, err := w.Write(part); err != nil {
					t.Fatal(err)
				}
			}
			out, dropped := w.result()
			rest := strings.Trim(strings.ReplaceAll(string(out), redacted, ""), ".x")
			if rest != "" && !strings.HasSuffix(redacted, rest) {
				t.Fatalf("%d bytes after the secret: %q is left", after, out)
			}
			if len(w.buf) > limit+len(secret) || dropped == 0 {
				t.Fatalf("kept %d bytes, dropped %d", len(w.buf), dropped)
			}
		}
	}
}

func TestLogged(t *testing.T) {
	for _, row := range []struct {
		name, script string
		cmd          Cmd
		want         []string
	}{
		{"success", `echo noise; echo more >&2`, Cmd{Args: []string{"--root", "/sys root", `a"b`}}, []string{
			`INFO files: op(1): [started]  trying`,
			`DEBUG files: op(1): executing: "tool" "--root" "/sys root" "a\"b"`,
			`INFO files: op(1): [finished] trying`,
		}},
		{"failure", `echo oops >&2; exit 12`, Cmd{}, []string{
			`INFO files: op(1): [started]  trying`,
			`DEBUG files: op(1): executing: "tool"`,
			`CRIT files: op(1): [failed]   trying: exit status 12: Cmd: "tool" Stdout: "" Stderr: "oops\n"`,
		}},
		{"password hash shown nowhere", `echo "invalid $2"; exit 3`, Cmd{Args: []string{"--password", "$6$abc$def", "core"}, Secret: []int{1}}, []string{
			`INFO files: op(1): [started]  trying`,
			`DEBUG files: op(1): executing: "tool" "--password" "<redacted>" "core"`,
			`CRIT files: op(1): [failed]   trying: exit status 3: Cmd: "tool" "--password" "<redacted>" "core" Stdout: "invalid <redacted>\n" Stderr: ""`,
		}},
		{"percent signs are taken as they are", `exit 0`, Cmd{Args: []string{"100%d", "%!s"}}, []string{
			`INFO files: op(1): [started]  trying`,
			`DEBUG files: op(1): executing: "tool" "100%d" "%!s"`,
			`INFO files: op(1): [finished] trying`,
		}},
	} {
		t.Run(row.name, func(t *testing.T) {
			row.cmd.Name = "tool"
			c := &capture{}
			l := oplog.New(c, nil).With("files")
			_, err := stub(t, "tool", row.script).Logged(t.Context(), l, oplog.Op{Desc: "trying"}, row.cmd)
			if !slices.Equal(c.lines, row.want) {
				t.Errorf("got\n%s\nwant\n%s", strings.Join(c.lines, "\n"), strings.Join(row.want, "\n"))
			}
			if failed := strings.HasPrefix(row.want[2], "CRIT"); failed != (err != nil) {
				t.Errorf("error %v", err)
			}
		})
	}
}

func TestModprobe(t *testing.T) {
	c := &capture{}
	r := stub(t, "modprobe", `[ "$*" = qemu_fw_cfg ]`)
	if err := Modprobe(t.Context(), oplog.New(c, nil), r, "qemu_fw_cfg"); err != nil {
		t.Error(err)
	}
	if err := Modprobe(t.Context(), oplog.New(c, nil), r, "nosuch"); err == nil {
		t.Error("a failing modprobe was taken for success")
	}
	want := []string{
		`INFO op(1): [started]  loading kernel module "qemu_fw_cfg"`,
		`DEBUG op(1): executing: "modprobe" "qemu_fw_cfg"`,
		`INFO op(1): [finished] loading kernel module "qemu_fw_cfg"`,
	}
	if len(c.lines) != 6 || !slices.Equal(c.lines[:3], want) {
		t.Errorf("got\n%s\nwant\n%s", strings.Join(c.lines, "\n"), strings.Join(want, "\n"))
	}
}
