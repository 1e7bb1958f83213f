// SPDX-License-Identifier: Apache-2.0

package boot

import (
	"bytes"
	"crypto/sha512"
	"crypto/tls"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"testing"
	"time"

	"firstboot.dev/ignition/tests/certs"
)

// directArguments are those of the image's GRUB, for a boot without it.
const directArguments = "root=LABEL=ROOT rw console=ttyS0,115200 mitigations=off init_on_alloc=0 audit=0 cryptomgr.notests rcupdate.rcu_expedited=1 random.trust_cpu=on panic=1 "

// hostName is a config that sets the host name and enables a unit.
func hostName(name string) string {
	return `{"ignition":{"version":"3.4.0"},"storage":{"files":[{"path":"/etc/hostname","overwrite":true,"contents":{"source":"data:,` + name + `"}}]},"systemd":{"units":[{"name":"nginx.service","enabled":true}]}}`
}

// TestUpstreamOnQEMU: the other dialect, config from the firmware, a small machine.
func TestUpstreamOnQEMU(t *testing.T) {
	needGate(t, false)
	r := newRig(t)
	r.MemoryMiB = 512
	r.Disk.Put(t, Boot, "ignition.firstboot", "")
	r.kernelopts("ignition.platform.id=qemu")
	r.FwCfg = map[string]string{"opt/com.coreos/config": hostName("upstream")}
	g := r.boot("first")
	g.Login(bootTime)
	want(t, g, "hostname; cat /run/nginx-started; systemctl is-enabled nginx.service", "upstream\nstarted\nenabled")
	want(t, g, "grep -o 'ignition[^ ]*' /proc/cmdline", "ignition.platform.id=qemu\nignition.firstboot")
	want(t, g, "mount -o ro /dev/disk/by-label/boot /mnt; ls /mnt/ignition* 2>/dev/null; umount /mnt", "")
	// The config was there without the network, so it was not brought up in the initramfs.
	want(t, g, "ls /run/ignition/neednet; journalctl -b -o cat -u systemd-networkd --no-pager | grep -c 'Started systemd-networkd'", "ls: cannot access '/run/ignition/neednet': No such file or directory\n1")
	g.Type("systemctl poweroff\n")
	g.Off(2 * time.Minute)
}

// TestDirectKernel: kernel and arguments from outside, and Flatcar's name of the config.
func TestDirectKernel(t *testing.T) {
	needGate(t, true)
	r := newRig(t)
	r.MemoryMiB = 512
	r.FwCfg = map[string]string{"opt/org.flatcar-linux/config": hostName("direct")}
	r.Append = directArguments + "flatcar.first_boot=1"
	g := r.boot("first")
	g.Login(bootTime)
	want(t, g, "hostname; cat /run/nginx-started", "direct\nstarted")
	want(t, g, "grep -h PLATFORM /run/ignition.env", "PLATFORM_ID=qemu") // by what the machine runs on
	g.Type("systemctl poweroff\n")
	g.Off(2 * time.Minute)
	r.Append = directArguments
	g = r.boot("second")
	g.Login(bootTime)
	want(t, g, "hostname; journalctl -b -t ignition -o cat --no-pager | grep -c Stage", "direct\n0")
}

// TestNoNetworkCard: a config on the OEM partition needs none.
func TestNoNetworkCard(t *testing.T) {
	needGate(t, true)
	r := newRig(t)
	r.NoNetwork = true
	r.flag("metal")
	r.Disk.Put(t, OEM, "config.ign", hostName("offline"))
	g := r.boot("first")
	g.Login(bootTime)
	want(t, g, "hostname; cat /run/nginx-started", "offline\nstarted")
	want(t, g, "ls /run/ignition/neednet /run/ignition/network* 2>/dev/null", "")
	if text := g.Console(); strings.Contains(text[:strings.Index(text, "Switch Root")], "systemd-networkd.service") {
		t.Error("networkd was started in the initramfs")
	}
}

// TestNewLayout: a second disk with everything on it, which is there again after a reboot.
func TestNewLayout(t *testing.T) {
	needGate(t, true)
	r := newRig(t)
	r.flag("qemu")
	r.TPM = filepath.Join(r.Dir, "tpm")
	more := filepath.Join(r.Dir, "second.raw")
	if err := os.WriteFile(more, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Truncate(more, 1<<30); err != nil {
		t.Fatal(err)
	}
	r.More = []string{more}
	unit := func(name, contents string) string {
		return `{"name":` + quote(t, name) + `,"enabled":true,"contents":` + quote(t, contents) + `}`
	}
	r.FwCfg = map[string]string{"opt/org.flatcar-linux/config": `{"ignition":{"version":"3.4.0"},"storage":{
 "disks":[{"device":"/dev/vdb","wipeTable":true,"partitions":[{"label":"a","sizeMiB":350},{"label":"b","sizeMiB":350},{"label":"swap"}]}],
 "raid":[{"name":"data","level":"raid1","devices":["/dev/disk/by-partlabel/a","/dev/disk/by-partlabel/b"]}],
 "luks":[{"name":"var","device":"/dev/md/data","wipeVolume":true,"clevis":{"tpm2":true},"options":["--pbkdf","pbkdf2","--pbkdf-force-iterations","1000"]}],
 "filesystems":[{"device":"/dev/mapper/var","format":"btrfs","label":"var","wipeFilesystem":true,"path":"/var"},{"device":"/dev/disk/by-partlabel/swap","format":"swap","label":"swap","wipeFilesystem":true}],
 "files":[{"path":"/var/kept","contents":{"source":"data:,kept"}}]},
 "systemd":{"units":[` + unit("var.mount", "[Unit]\nBefore=local-fs.target\n[Mount]\nWhat=/dev/disk/by-label/var\nWhere=/var\nType=btrfs\n[Install]\nRequiredBy=local-fs.target\n") + `,
  ` + unit(`dev-disk-by\x2dlabel-swap.swap`, "[Swap]\nWhat=/dev/disk/by-label/swap\n[Install]\nWantedBy=swap.target\n") + `]}}`}
	for _, name := range []string{"first", "second"} {
		g := r.boot(name)
		g.Login(2 * bootTime)
		want(t, g, `[[ $(readlink -f "$(findmnt -no SOURCE /var)") == $(readlink -f /dev/mapper/var) ]]; findmnt -no FSTYPE /var; cat /var/kept; echo; swapon --noheadings --show=NAME,TYPE | xargs`, "btrfs\nkept\n/dev/vdb3 partition")
		want(t, g, "lsblk -nro TYPE -s /dev/mapper/var | xargs; mdadm --detail --export /dev/md/data | grep LEVEL; blkid -p -o value -s TYPE /dev/md/data", "crypt raid1 part disk part disk\nMD_LEVEL=raid1\ncrypto_LUKS")
		want(t, g, "cut -d' ' -f1,3- /etc/crypttab", "var none luks,x-initrd.attach")
		g.Type("systemctl poweroff\n")
		g.Off(2 * time.Minute)
	}
}

// TestLateNetwork: a merged config and a file over TLS with a CA of the config,
// while the cable is out for half a minute.
func TestLateNetwork(t *testing.T) {
	needGate(t, true)
	ca := certs.New(t, "test CA")
	cert := ca.Issue(t, time.Time{}, "10.0.2.2")
	body := "fetched over TLS\n"
	var child string
	l, err := tls.Listen("tcp", "127.0.0.1:0", &tls.Config{Certificates: []tls.Certificate{cert}})
	if err != nil {
		t.Fatal(err)
	}
	base := fmt.Sprintf("https://10.0.2.2:%d", l.Addr().(*net.TCPAddr).Port)
	child = fmt.Sprintf(`{"ignition":{"version":"3.4.0"},"storage":{"files":[{"path":"/etc/fetched","contents":{"source":"%s/file","verification":{"hash":"sha512-%x"}}},
 {"path":"/etc/hostname","overwrite":true,"contents":{"source":"data:,late"}}]}}`, base, sha512.Sum512([]byte(body)))
	s := &http.Server{ReadHeaderTimeout: time.Minute, Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/child.ign" {
			_, _ = io.WriteString(w, child)
			return
		}
		_, _ = io.WriteString(w, body)
	})}
	go func() { _ = s.Serve(l) }()
	t.Cleanup(func() { _ = s.Close() })

	r := newRig(t)
	r.flag("qemu")
	r.LinkDown = true
	r.FwCfg = map[string]string{"opt/com.coreos/config": `{"ignition":{"version":"3.4.0","config":{"merge":[{"source":"` + base + `/child.ign"}]},
 "security":{"tls":{"certificateAuthorities":[{"source":"data:;base64,` + base64.StdEncoding.EncodeToString([]byte(ca.PEM)) + `"}]}}}}`}
	g := r.boot("first")
	g.Wait(`Starting .*Ignition \(fetch\)`, bootTime)
	time.Sleep(30 * time.Second)
	if strings.Contains(g.Console(), "Finished ignition-fetch.service") {
		t.Error("the fetch stage ended without a network")
	}
	g.Link("card", true)
	g.Login(bootTime)
	want(t, g, "hostname; cat /etc/fetched", "late\nfetched over TLS")
	want(t, g, "journalctl -b -t ignition -o cat --no-pager | grep -c 'Stage: fetch$'", "1")
}

// TestAgain: a flag that is put back makes the machine run everything again,
// and nothing is there twice.
func TestAgain(t *testing.T) {
	needGate(t, true)
	r := newRig(t)
	r.flag("qemu")
	_, public := newKey(t)
	r.FwCfg = map[string]string{"opt/com.coreos/config": `{"ignition":{"version":"3.4.0"},"passwd":{"groups":[{"name":"more"}],"users":[{"name":"test","groups":["more"],"sshAuthorizedKeys":[` + quote(t, public) + `]}]},
 "storage":{"files":[{"path":"/etc/hostname","overwrite":true,"contents":{"source":"data:,again"}},{"path":"/etc/lines","overwrite":true,"append":[{"source":"data:,one%0A"}],"contents":{"source":"data:,zero%0A"}}]},
 "systemd":{"units":[{"name":"nginx.service","enabled":true}]}}`}
	const facts = `cat /etc/hostname /etc/lines; echo; cat /etc/systemd/system-preset/20-ignition.preset; grep -c . ~test/.ssh/authorized_keys; grep -c '^test:' /etc/passwd /etc/shadow /etc/group /etc/subuid; id -Gn test; systemctl is-enabled nginx.service`
	g := r.boot("first")
	g.Login(bootTime)
	first := g.Run(facts)
	want(t, g, `grep -c previousReport /etc/.ignition-result.json`, "0")
	id := g.Run("cat /proc/sys/kernel/random/boot_id")
	g.Run("mount /dev/disk/by-label/EFI-SYSTEM /mnt; touch /mnt/flatcar/first_boot; umount /mnt; sync")
	g.Type("systemctl poweroff\n")
	g.Off(2 * time.Minute)
	g = r.boot("second")
	g.Login(bootTime)
	if again := g.Run(facts); again != first {
		t.Errorf("the second run left\n%s\nthe first one had left\n%s", again, first)
	}
	var result struct {
		ID       string `json:"provisioningBootID"`
		Previous *struct {
			ID string `json:"provisioningBootID"`
		} `json:"previousReport"`
	}
	if err := json.Unmarshal([]byte(g.Run("cat /etc/.ignition-result.json")), &result); err != nil {
		t.Fatal(err)
	}
	if now := g.Run("cat /proc/sys/kernel/random/boot_id"); result.ID != now || result.Previous == nil || result.Previous.ID != id {
		t.Errorf("result %+v, want boot %s after boot %s", result, now, id)
	}
}

// failure is a boot that must not go on.
type failure struct {
	name   string
	config string
	append string
	stage  string
	screen []string // what the console must show
	slow   bool
}

const secretHash = "$6$rounds=5000$notforthelog$QQQQQQQQ"

var failures = []failure{
	{"mkfs", `{"ignition":{"version":"3.4.0"},"passwd":{"users":[{"name":"core","passwordHash":"` + secretHash + `"}]},
 "storage":{"filesystems":[
  {"device":"/dev/vdb","format":"ext4","options":["--no-such-option"]}]}}`, "", "disks",
		[]string{`Operation: *creating "ext4" filesystem`, `Config: *\$\.storage\.filesystems\.0, line 3 column 3 of the config of qemu`, `Cause: *failed to create filesystems`, "To do: "}, false},
	{"bad config", `{"ignition":{"version":"3.4.0"},"passwd":{"users":[{"name":"core","passwordHash":"` + secretHash + `"}]},
 "storage":{"files":[{"path":"relative"}]}}`, "", "fetch-offline",
		[]string{`Cause: *.*\$\.storage\.files\.0\.path, line 2 col 30: path not absolute`}, true},
	{"server that cannot be reached", `{"ignition":{"version":"3.4.0","timeouts":{"httpTotal":5},"config":{
 "merge":[{"source":"http://user:topsecretword@10.0.2.2:1/x?token=topsecretword"}]}}}`, "", "fetch",
		[]string{`Config: *\$\.ignition\.config\.merge\.0, line 2 column \d+ of the config of qemu`, `To do: *check that http`}, true},
	{"unknown group", `{"ignition":{"version":"3.4.0"},"storage":{"files":[
 {"path":"/etc/x","group":{"name":"nosuchgroup"},"contents":{"source":"data:,x"}}]}}`, "", "files",
		[]string{`Config: *\$\.storage\.files\.0, line 2 column 2 of the config of qemu`, "nosuchgroup"}, true},
	{"kernel arguments", `{"ignition":{"version":"3.4.0"},"kernelArguments":{"shouldExist":["a=\"b"]}}`, "", "kargs",
		[]string{`Config: *\$\.kernelArguments, line 1 column \d+ of the config of qemu`, "cannot be written"}, true},
}

var stageOrder = []string{"fetch-offline", "fetch", "kargs", "disks", "mount", "files", "presets", "quench"}

// TestFailure: each stage that fails ends the boot with a screen that says why,
// and the machine is as before.
func TestFailure(t *testing.T) {
	for _, f := range failures {
		t.Run(f.name, func(t *testing.T) {
			needGate(t, f.slow)
			r := f.rig(t)
			g := r.boot("first")
			g.Off(2 * bootTime)
			f.check(t, r, g, "first")
		})
	}
}

func (f failure) rig(t *testing.T) *rig {
	t.Helper()
	r := newRig(t)
	r.flag("qemu")
	r.kernelopts("ignition.emergency=poweroff " + f.append)
	r.FwCfg = map[string]string{"opt/org.flatcar-linux/config": f.config}
	more := filepath.Join(r.Dir, "second.raw")
	if err := os.WriteFile(more, make([]byte, 1<<20), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Truncate(more, 64<<20); err != nil {
		t.Fatal(err)
	}
	r.More = []string{more}
	return r
}

func (f failure) check(t *testing.T, r *rig, g *Guest, name string) {
	t.Helper()
	text := g.Console()
	at := strings.Index(text, "Ignition could not set up this machine")
	if at < 0 {
		t.Fatal("the console shows no report")
	}
	screen := text[at:]
	for _, pattern := range append(f.screen, "Stage: *"+f.stage+", failed after") {
		if !regexp.MustCompile(pattern).MatchString(unfold(screen)) {
			t.Errorf("the report lacks %q:\n%s", pattern, screen[:min(len(screen), 3000)])
		}
	}
	passed := false
	for _, s := range stageOrder {
		started := regexp.MustCompile(`Starting .*Ignition \(` + s + `\)`).MatchString(text)
		switch {
		case passed && started:
			t.Errorf("after stage %s stage %s was started", f.stage, s)
		case s == f.stage && !started:
			t.Errorf("stage %s was not started", s)
		}
		passed = passed || s == f.stage
	}
	if _, ok := r.Disk.Get(t, ESP, "flatcar/first_boot"); !ok {
		t.Error("the flag is gone")
	}
	kept, ok := r.Disk.Get(t, ESP, "flatcar/ignition-failure.json")
	if !ok || !strings.Contains(kept, `"stage": "`+f.stage+`"`) {
		t.Errorf("the failure that was kept: %t, %s", ok, kept)
	}
	journal, err := os.ReadFile(filepath.Join(r.Dir, name+".journal"))
	if err != nil || !bytes.HasSuffix(journal, []byte("\n{}\n")) || !bytes.Contains(journal, []byte(`"SYSLOG_IDENTIFIER":"ignition"`)) {
		t.Errorf("the journal at the port: %d bytes, %v", len(journal), err)
	}
	for where, s := range map[string]string{"console": text, "journal": string(journal), "kept failure": kept} {
		for _, secret := range []string{"notforthelog", "topsecretword"} {
			if strings.Contains(s, secret) {
				t.Errorf("the %s has a secret of the config", where)
			}
		}
	}
}

// unfold joins the lines of an entry of the report.
func unfold(screen string) string {
	return regexp.MustCompile(`\n {13,}`).ReplaceAllString(screen, " ")
}

// TestFailsAgain: the first failure is shown again, and forgotten when all is well.
func TestFailsAgain(t *testing.T) {
	needGate(t, true)
	f := failures[0]
	r := f.rig(t)
	r.boot("first").Off(2 * bootTime)
	g := r.boot("second")
	g.Off(2 * bootTime)
	f.check(t, r, g, "second")
	if text := unfold(g.Console()); !regexp.MustCompile(`Before this: *a first run failed at 20\d\d-\S+Z, in stage disks: failed to create filesystems`).MatchString(text) {
		t.Error("the first failure is not shown")
	}
	r.FwCfg["opt/org.flatcar-linux/config"] = hostName("mended")
	g = r.boot("third")
	g.Login(bootTime)
	want(t, g, "hostname", "mended")
	want(t, g, "mount -o ro /dev/disk/by-label/EFI-SYSTEM /mnt; ls /mnt/flatcar; umount /mnt", "")
}

// posts keeps what was sent to it.
type posts struct {
	mu   sync.Mutex
	body []string
}

func (p *posts) ServeHTTP(_ http.ResponseWriter, r *http.Request) {
	raw, _ := io.ReadAll(r.Body)
	p.mu.Lock()
	defer p.mu.Unlock()
	p.body = append(p.body, r.Method+" "+string(raw))
}

// TestReportURL: the outcome is posted to a link-local address.
func TestReportURL(t *testing.T) {
	needGate(t, true)
	for _, ok := range []bool{true, false} {
		t.Run(fmt.Sprint(ok), func(t *testing.T) {
			var p posts
			f := failures[0]
			r := f.rig(t)
			r.kernelopts("ignition.report.url=http://169.254.169.254/report")
			r.Metadata = serve(t, &p)
			outcome := `"outcome":"failure"`
			if ok {
				outcome = `"outcome":"success"`
				r.FwCfg["opt/org.flatcar-linux/config"] = hostName("reported")
				r.boot("first").Login(bootTime)
			} else {
				r.boot("first").Off(2 * bootTime)
			}
			p.mu.Lock()
			defer p.mu.Unlock()
			if len(p.body) != 1 || !strings.HasPrefix(p.body[0], "POST {") || !strings.Contains(p.body[0], outcome) || !strings.Contains(p.body[0], `"operations":[{`) {
				t.Errorf("posted %q, want %s with operations", p.body, outcome)
			}
			if strings.Contains(strings.Join(p.body, ""), "notforthelog") {
				t.Error("the report has a secret of the config")
			}
		})
	}
}
