// SPDX-License-Identifier: Apache-2.0

package guest

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os/exec"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"testing"
)

// Sh runs shell lines in the place of the case and gives back what they print.
func (r Result) Sh(t *testing.T, lines string) string {
	t.Helper()
	return strings.TrimSpace(r.env.must(t, "check", lines))
}

// Partition is an entry of a GPT as sgdisk shows it; sectors are logical ones.
type Partition struct {
	Type, GUID, Label string
	First, Last, Size uint64
	Attributes        string // 16 hexadecimal digits
}

var sgdiskField = map[string]*regexp.Regexp{
	"type":       regexp.MustCompile(`(?m)^Partition GUID code: ([0-9A-F-]+)`),
	"guid":       regexp.MustCompile(`(?m)^Partition unique GUID: ([0-9A-F-]+)`),
	"first":      regexp.MustCompile(`(?m)^First sector: (\d+)`),
	"last":       regexp.MustCompile(`(?m)^Last sector: (\d+)`),
	"size":       regexp.MustCompile(`(?m)^Partition size: (\d+) sectors`),
	"attributes": regexp.MustCompile(`(?m)^Attribute flags: ([0-9A-F]+)`),
	"label":      regexp.MustCompile(`(?m)^Partition name: '(.*)'$`),
}

// parsePartition reads the output of sgdisk -i.
func parsePartition(text string) (Partition, error) {
	fields := map[string]string{}
	for name, re := range sgdiskField {
		m := re.FindStringSubmatch(text)
		if m == nil {
			return Partition{}, fmt.Errorf("sgdisk shows no %s: %q", name, text)
		}
		fields[name] = m[1]
	}
	p := Partition{Type: fields["type"], GUID: fields["guid"], Label: fields["label"], Attributes: fields["attributes"]}
	var err error
	number := func(name string) uint64 {
		n, e := strconv.ParseUint(fields[name], 10, 64)
		err = errors.Join(err, e)
		return n
	}
	p.First, p.Last, p.Size = number("first"), number("last"), number("size")
	return p, err
}

// Partition reads one entry of the table of a disk; device may be "$D0".
func (r Result) Partition(t *testing.T, device string, number int) Partition {
	t.Helper()
	p, err := parsePartition(r.Sh(t, fmt.Sprintf("sgdisk -i %d %s", number, r.env.expand(device))))
	if err != nil {
		t.Fatal(err)
	}
	return p
}

// PartitionNumbers lists the entries of the table of a disk.
func (r Result) PartitionNumbers(t *testing.T, device string) []int {
	t.Helper()
	var out []int
	for line := range strings.Lines(r.Sh(t, "sgdisk -p "+device)) {
		f := strings.Fields(line)
		if len(f) < 6 {
			continue
		}
		if n, err := strconv.Atoi(f[0]); err == nil {
			out = append(out, n)
		}
	}
	return out
}

// pairs reads NAME=value lines.
func pairs(text string) map[string]string {
	out := map[string]string{}
	for line := range strings.Lines(text) {
		if k, v, ok := strings.Cut(strings.TrimSpace(line), "="); ok {
			out[k] = v
		}
	}
	return out
}

// Blkid probes a device, past every cache. Blank devices give an empty map.
func (r Result) Blkid(t *testing.T, device string) map[string]string {
	t.Helper()
	return pairs(r.Sh(t, "blkid -p -o export "+device+" || [[ $? == 2 ]]"))
}

// Mdadm is `mdadm --detail --export` of an array.
func (r Result) Mdadm(t *testing.T, device string) map[string]string {
	t.Helper()
	return pairs(r.Sh(t, "mdadm --detail --export "+device))
}

// LUKS is the part of the metadata of a LUKS2 volume that tests ask for.
type LUKS struct {
	Keyslots map[string]json.RawMessage `json:"keyslots"`
	Tokens   map[string]struct {
		Type     string   `json:"type"`
		Keyslots []string `json:"keyslots"`
	} `json:"tokens"`
	Config struct {
		Flags []string `json:"flags"`
	} `json:"config"`
}

// Luks reads the header of a LUKS2 volume.
func (r Result) Luks(t *testing.T, device string) LUKS {
	t.Helper()
	var l LUKS
	if err := json.Unmarshal([]byte(r.Sh(t, "cryptsetup luksDump --dump-json-metadata "+device)), &l); err != nil {
		t.Fatal(err)
	}
	return l
}

// Tang is a running Tang server.
type Tang struct {
	URL           string
	Thumbprint    string // of its signing key
	Advertisement string // what it says at /adv, JSON
	Stop          func() // refuses connections from now on; called at the end of the test anyway
	Requests      func() int
}

// StartTang starts a Tang server with keys of its own on the loopback. tangd
// talks on stdin and stdout and ends after one connection, so this process is
// its inetd.
func StartTang(t *testing.T) Tang {
	t.Helper()
	e := newEnv(t, nil)
	e.must(t, "making keys for tang", `mkdir keys; PATH=$PATH:/usr/libexec:/usr/lib; tangd-keygen keys`)
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	var mu sync.Mutex
	var served int
	var running sync.WaitGroup
	running.Go(func() {
		for {
			conn, err := listener.Accept()
			if err != nil {
				return
			}
			mu.Lock()
			served++
			mu.Unlock()
			running.Go(func() { serveTang(conn.(*net.TCPConn), e.path("keys")) })
		}
	})
	tang := Tang{
		URL:      "http://" + listener.Addr().String(),
		Stop:     sync.OnceFunc(func() { listener.Close(); running.Wait() }),
		Requests: func() int { mu.Lock(); defer mu.Unlock(); return served },
	}
	t.Cleanup(tang.Stop)
	tang.Advertisement = get(t, tang.URL+"/adv")
	tang.Thumbprint = strings.TrimSpace(e.with("ADV", tang.Advertisement).must(t, "reading the thumbprint",
		`jose fmt -j "$ADV" -g payload -SyOg keys -AUo- | jose jwk use -i- -r -u verify -o- | jose jwk thp -i- -a S256`))
	return tang
}

func serveTang(conn *net.TCPConn, keys string) {
	defer conn.Close()
	f, err := conn.File()
	if err != nil {
		return
	}
	defer f.Close()
	cmd := exec.Command("/usr/libexec/tangd", keys)
	cmd.Stdin, cmd.Stdout = f, f
	_ = cmd.Run() // how it ends is the client's to notice
}

func get(t *testing.T, url string) string {
	t.Helper()
	client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
	resp, err := client.Get(url)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil || resp.StatusCode != http.StatusOK {
		t.Fatalf("GET %s: %s, %v", url, resp.Status, err)
	}
	return string(body)
}
