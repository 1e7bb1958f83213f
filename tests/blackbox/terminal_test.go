// SPDX-License-Identifier: Apache-2.0

package blackbox

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// onTerminal runs the binary with a terminal for stderr and, if both, stdout,
// and gives what the terminal gets.
func (m *machine) onTerminal(both bool, args ...string) (terminal, stdout string) {
	m.t.Helper()
	master, err := os.OpenFile("/dev/ptmx", os.O_RDWR|unix.O_NOCTTY, 0)
	if err != nil {
		m.t.Skipf("needs pseudo terminals: %v", err)
	}
	defer master.Close()
	m.must(unix.IoctlSetPointerInt(int(master.Fd()), unix.TIOCSPTLCK, 0))
	n, err := unix.IoctlGetInt(int(master.Fd()), unix.TIOCGPTN)
	m.must(err)
	slave, err := os.OpenFile(fmt.Sprintf("/dev/pts/%d", n), os.O_RDWR|unix.O_NOCTTY, 0)
	m.must(err)
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	c := m.command(ctx, args...)
	var out, seen bytes.Buffer
	c.Stdout, c.Stderr = &out, slave
	if both {
		c.Stdout = slave
	}
	var wg sync.WaitGroup
	wg.Go(func() { _, _ = io.Copy(&seen, master) }) // ends when the last slave is closed
	err = c.Run()
	slave.Close()
	wg.Wait()
	if err != nil && c.ProcessState.ExitCode() != 2 {
		m.t.Errorf("%v: %v\n%s%s", args, err, out.String(), seen.String())
	}
	return seen.String(), out.String()
}

// TestProgress: long downloads are seen on a terminal, and nowhere else.
func TestProgress(t *testing.T) {
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Length", "4194304")
		for range 8 {
			_, _ = w.Write(make([]byte, 512<<10))
			w.(http.Flusher).Flush()
			time.Sleep(120 * time.Millisecond)
		}
	}))
	defer server.Close()
	const clear = "\r\x1b[K"
	for name, args := range map[string][]string{
		"plan":  {"plan", "--online"},
		"apply": {"apply", "--on-host"},
	} {
		m := newMachine(t)
		m.write("config.ign", storage("3.4.0", `"files":[{"path":"/srv/big","contents":{"source":"`+server.URL+`/big?token=hush"}}]`))
		args = append(args, "--root="+m.root, m.path("config.ign"))
		m.env = append(m.env, "TERM=xterm", "NO_COLOR=1")
		seen, _ := m.onTerminal(false, args...)
		wantText(t, seen, " of 4.0 MiB so far, ")
		wantText(t, seen, " to go")
		wantNoText(t, seen, "hush")
		if !strings.HasSuffix(seen, clear) {
			t.Errorf("%s: the line stays: %q", name, seen)
		}
		m.must(os.RemoveAll(m.path("sysroot/srv")))
		if name == "apply" { // each line of the log begins on a clear line
			seen, _ = m.onTerminal(true, args...)
			for _, l := range strings.Split(seen, "\n") {
				if i := strings.Index(l, "INFO "); i > 0 && !strings.HasSuffix(l[:i], clear) {
					t.Errorf("mixed: %q", l)
				}
			}
			m.must(os.RemoveAll(m.path("sysroot/srv")))
		}
		if res := m.run(args...); strings.Contains(res.stdout+res.stderr, "\x1b") {
			t.Errorf("%s: control sequences in a pipe: %q %q", name, res.stdout, res.stderr)
		}
		m.must(os.RemoveAll(m.path("sysroot/srv")))
		m.env = append(m.env, "TERM=dumb")
		if seen, _ := m.onTerminal(false, args...); strings.Contains(seen, "so far") {
			t.Errorf("%s: progress on a dumb terminal: %q", name, seen)
		}
	}
}

// TestProgressTogether: downloads that go on at one time are added up.
func TestProgressTogether(t *testing.T) {
	var both sync.WaitGroup // each answer waits for the other request
	both.Add(2)
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Length", "2097152")
		_, _ = w.Write(make([]byte, 1<<20))
		w.(http.Flusher).Flush()
		both.Done()
		both.Wait()
		for range 8 {
			_, _ = w.Write(make([]byte, 128<<10))
			w.(http.Flusher).Flush()
			time.Sleep(60 * time.Millisecond)
		}
	}))
	defer server.Close()
	m := newMachine(t)
	m.env = append(m.env, "TERM=xterm")
	m.write("config.ign", storage("3.4.0", `"files":[{"path":"/srv/a","contents":{"source":"`+server.URL+`/a?token=hush"}},{"path":"/srv/b","contents":{"source":"`+server.URL+`/b"}}]`))
	seen, _ := m.onTerminal(false, "apply", "--on-host", "--root="+m.root, m.path("config.ign"))
	wantText(t, seen, "2 downloads: ")
	wantText(t, seen, " of 4.0 MiB so far, ")
	wantNoText(t, seen, "hush")
	if !strings.HasSuffix(seen, "\r\x1b[K") {
		t.Errorf("the line stays: %q", seen)
	}
}

// TestProgressTranspile: the packing of a large file is seen too.
func TestProgressTranspile(t *testing.T) {
	m := newMachine(t)
	m.env = append(m.env, "TERM=xterm")
	text := make([]byte, 24<<20) // of sixteen letters, so that it can be packed
	r := rand.New(rand.NewPCG(1, 2))
	for i := range text {
		text[i] = 'a' + byte(r.Uint32()%16)
	}
	m.write("files/large", string(text))
	m.write("config.bu", "variant: flatcar\nversion: 1.1.0\nstorage: {files: [{path: /a, contents: {local: large}}]}\n")
	args := []string{"transpile", "--files-dir", m.path("files"), "--output", m.path("out.ign"), m.path("config.bu")}
	seen, _ := m.onTerminal(false, args...)
	wantText(t, seen, "packing: ")
	wantText(t, seen, " of 24.0 MiB so far, ")
	if !strings.HasSuffix(seen, "\r\x1b[K") {
		t.Errorf("the line stays: %q", seen)
	}
	if res := m.run(args...); res.code != 0 || res.stdout+res.stderr != "" {
		t.Errorf("not on a terminal: exit %d, %q %q", res.code, res.stdout, res.stderr)
	}
}

// TestColors: a plan and a report are coloured on a terminal, unless the user does not want that.
func TestColors(t *testing.T) {
	m := newMachine(t)
	m.write("config.ign", planConfig)
	args := []string{"plan", "--root=" + m.root, m.path("config.ign")}
	m.env = append(m.env, "TERM=xterm")
	seen, _ := m.onTerminal(true, args...)
	wantText(t, seen, "\x1b[32m  + writing file")
	m.write("typo.ign", `{"ignition":{"version":"3.4.0"},"sotrage":1}`)
	typo := []string{"validate", m.path("typo.ign")}
	seen, _ = m.onTerminal(true, typo...)
	wantText(t, seen, "\x1b[33mwarning\x1b[0m at $.sotrage, line 1 col ")
	m.env = append(m.env, "NO_COLOR=1")
	seen, _ = m.onTerminal(true, typo...)
	wantText(t, seen, "warning at $.sotrage, line 1 col ")
	wantNoText(t, seen, "\x1b")
	seen, _ = m.onTerminal(true, args...)
	wantText(t, seen, "  + writing file")
	wantNoText(t, seen, "\x1b")
}
