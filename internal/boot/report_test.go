// SPDX-License-Identifier: Apache-2.0

package boot

import (
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"firstboot.dev/ignition/internal/oplog"
)

// sample is a failure with everything in it.
func sample() oplog.Failure {
	return oplog.Failure{
		Stage: "disks", Version: "2.27.0", Platform: "qemu", Boot: "this-boot", Took: 2500 * time.Millisecond,
		Start: time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC), End: time.Date(2026, 1, 2, 3, 4, 7, 0, time.UTC),
		Operations: []oplog.FailedOp{{Desc: "the outer one", Error: "x", Second: 2}, {Desc: `creating "ext4" filesystem`, Error: "x", Second: 0.3}},
		Config:     "$.storage.filesystems.0", Source: "the config of qemu", Line: 41, Column: 7,
		Error: "mkfs failed: " + strings.Repeat("a long reason ", 30) + "\x1b[31m", Hint: "look at the options",
	}
}

func TestScreen(t *testing.T) {
	f := sample()
	earlier := sample()
	text := screen{failure: f, earlier: &earlier, units: []string{"ignition-disks.service"}, log: []string{"a line \x07of the log"}, kept: "somewhere", action: ActionReboot}.text()
	for _, want := range []string{
		"a line ?of the log\n", " Stage:       disks, failed after 2.5 s\n", " Operation:   creating \"ext4\" filesystem (0.3 s)\n",
		" Config:      $.storage.filesystems.0, line 41 column 7 of the config of qemu\n", " Cause:       mkfs failed: a long reason", "... (the whole is in the log)",
		" Tried:       the outer one\n", " To do:       look at the options\n", " Units:       ignition-disks.service\n", " Before this: a first run failed at 2026-01-02T03:04:07Z, in stage disks:",
		" Kept in:     somewhere\n", "The machine reboots now (ignition.emergency=reboot).",
	} {
		if !strings.Contains(text, want) {
			t.Errorf("the screen lacks %q", want)
		}
	}
	for line := range strings.Lines(text) {
		if len(line) > 80 {
			t.Errorf("%d bytes: %q", len(line), line)
		}
	}
	if strings.ContainsAny(text, "\x1b\x07") {
		t.Error("a message steers the terminal")
	}
	if t.Failed() {
		t.Log(text)
	}
	f.Problems = []string{"error at $.a, line 1 col 2: no", "error at $.b: no"}
	if got := cause(f); got != "error at $.a, line 1 col 2: no\nerror at $.b: no" {
		t.Errorf("cause %q", got)
	}
}

func TestFold(t *testing.T) {
	for _, row := range []struct{ line, want string }{
		{"short", "short"},
		{"one two three four", "one two|three four"},
		{"unbreakablewordofmany", "unbreakabl|ewordofman|y"},
		{"ümläüte ümläüte", "ümläüte|ümläüte"},
		{"", ""},
	} {
		if got := strings.Join(fold(row.line, 10), "|"); got != row.want {
			t.Errorf("%q: %q, want %q", row.line, got, row.want)
		}
	}
}

func TestConsoles(t *testing.T) {
	raw := "tty0                 -WU (EC p  )    4:1\nttyS0                -W- (E  p a)    4:64\nnetcon0              --- (E     )\n"
	if got := strings.Join(consoles([]byte(raw)), " "); got != "tty0 ttyS0" {
		t.Errorf("consoles %q", got)
	}
}

// failedRig is a machine with a stage that failed.
func failedRig(t *testing.T, cmdline string) *rig {
	t.Helper()
	r := newRig(t, cmdline)
	r.program("systemctl", `echo "$@" >>`+r.dir+`/calls
case $1 in list-units) echo "ignition-disks.service loaded failed failed Ignition (disks)";; esac`)
	r.program("journalctl", `case "$*" in *json*) echo '{"MESSAGE":"x"}';; *) echo "a line of the log";; esac`)
	r.write("proc/consoles", "tty0 -WU (EC p  ) 4:1\nttyS0 -W- (E  p a) 4:64\n", 0o644)
	r.write("proc/sys/kernel/printk", "7\n", 0o644)
	for _, name := range []string{"tty0", "ttyS0", "virtio-ports/com.coreos.ignition.journal"} {
		r.write("dev/"+name, "", 0o600)
	}
	return r
}

func TestReport(t *testing.T) {
	r := failedRig(t, "flatcar.first_boot=detected flatcar.oem.id=qemu ignition.emergency=shell")
	r.filesystem("EFI-SYSTEM", map[string]string{"flatcar/first_boot": ""})
	if err := oplog.WriteFailure(r.run(failureFile), sample()); err != nil {
		t.Fatal(err)
	}
	ours, err := r.Report(t.Context())
	if !ours || err != nil {
		t.Fatalf("ours %t, %v", ours, err)
	}
	for _, console := range []string{"tty0", "ttyS0"} {
		if text := r.read("dev/" + console); !strings.Contains(text, "Stage:       disks") || !strings.Contains(text, "a line of the log\r\n") ||
			!strings.Contains(text, "flatcar/ignition-failure.json of the filesystem labelled") || !strings.Contains(text, "An emergency shell follows.") {
			t.Errorf("%s shows %q", console, text)
		}
	}
	if got := r.read("dev/virtio-ports/com.coreos.ignition.journal"); got != "{\"MESSAGE\":\"x\"}\n{}\n" {
		t.Errorf("the port got %q", got)
	}
	if got := r.read("proc/sys/kernel/printk"); got != "1\n" {
		t.Errorf("messages of the kernel: %q", got)
	}
	kept, err := oplog.ReadFailure(filepath.Join(r.dir, "fs/EFI-SYSTEM/flatcar/ignition-failure.json"))
	if err != nil || kept.Error != sample().Error || kept.Line != 41 {
		t.Errorf("kept %+v, %v", kept, err)
	}
}

// TestReportAgain: the first failure is shown and stays.
func TestReportAgain(t *testing.T) {
	r := failedRig(t, "flatcar.first_boot=detected flatcar.oem.id=qemu")
	first := sample()
	first.Error = "the first one"
	raw, err := json.Marshal(first)
	if err != nil {
		t.Fatal(err)
	}
	r.filesystem("EFI-SYSTEM", map[string]string{"flatcar/first_boot": "", "flatcar/ignition-failure.json": string(raw)})
	if err := r.Setup(t.Context()); err != nil {
		t.Fatal(err)
	}
	if err := oplog.WriteFailure(r.run(failureFile), sample()); err != nil {
		t.Fatal(err)
	}
	if ours, err := r.Report(t.Context()); !ours || err != nil {
		t.Fatalf("ours %t, %v", ours, err)
	}
	if text := strings.Join(strings.Fields(r.read("dev/tty0")), " "); !strings.Contains(text, "a first run failed at 2026-01-02T03:04:07Z, in stage disks: the first one") {
		t.Errorf("the console shows %q", text)
	}
	if got := r.read("fs/EFI-SYSTEM/flatcar/ignition-failure.json"); got != string(raw) {
		t.Errorf("kept %q", got)
	}
}

// TestReportWithoutRecord: a unit that failed before its program could say anything.
func TestReportWithoutRecord(t *testing.T) {
	r := failedRig(t, "ignition.firstboot ignition.platform.id=qemu")
	if ours, err := r.Report(t.Context()); !ours || err != nil {
		t.Fatalf("ours %t, %v", ours, err)
	}
	if text := r.read("dev/tty0"); !strings.Contains(text, " Stage:       disks\r\n Cause:       a line of the log\r\n") {
		t.Errorf("the console shows %q", text)
	}
}

// TestReportOfOthers: an emergency that is not ours has no screen.
func TestReportOfOthers(t *testing.T) {
	r := failedRig(t, "quiet")
	r.program("systemctl", `echo "sysroot.mount loaded failed failed /sysroot"`)
	if ours, err := r.Report(t.Context()); ours || err != nil {
		t.Fatalf("ours %t, %v", ours, err)
	}
	if text := r.read("dev/tty0"); text != "" {
		t.Errorf("the console shows %q", text)
	}
	if got := r.read("dev/virtio-ports/com.coreos.ignition.journal"); got == "" {
		t.Error("the port got nothing")
	}
}

func TestKeepFails(t *testing.T) {
	r := failedRig(t, "flatcar.first_boot=detected flatcar.oem.id=qemu")
	r.filesystem("EFI-SYSTEM", nil)
	r.filesystem("OEM", nil)
	r.broken["EFI-SYSTEM"] = errors.New("read-only device")
	if err := oplog.WriteFailure(r.run(failureFile), sample()); err != nil {
		t.Fatal(err)
	}
	if ours, err := r.Report(t.Context()); !ours || err != nil {
		t.Errorf("ours %t, %v", ours, err)
	}
	if got := r.read("fs/OEM/ignition-failure.json"); !strings.Contains(got, `"stage": "disks"`) {
		t.Errorf("kept %q on the next partition", got)
	}
}

func TestAction(t *testing.T) {
	for _, row := range []struct{ cmdline, want string }{
		{"ignition.firstboot", ActionShell},
		{"flatcar.first_boot=1", ActionPrompt},
		{"flatcar.first_boot=1 ignition.emergency=shell", ActionShell},
		{"ignition.firstboot ignition.emergency=reboot", ActionReboot},
		{"ignition.firstboot ignition.emergency=shell ignition.emergency=poweroff", ActionPoweroff},
		{"ignition.firstboot ignition.emergency=dance", ActionShell},
	} {
		if got := action(words(row.cmdline), ParseRequest(row.cmdline)); got != row.want {
			t.Errorf("%q: %s, want %s", row.cmdline, got, row.want)
		}
	}
	r := failedRig(t, "ignition.firstboot ignition.emergency=poweroff")
	if err := r.Act(t.Context()); err != nil || r.read("calls") != "poweroff --force\n" {
		t.Errorf("%v, called %q", err, r.read("calls"))
	}
	r = failedRig(t, "ignition.firstboot")
	if err := r.Act(t.Context()); err != nil || r.read("calls") != "(none)" {
		t.Errorf("%v, called %q", err, r.read("calls"))
	}
}

func TestCheckReportURL(t *testing.T) {
	for raw, ok := range map[string]bool{
		"https://collector.example/x": true, "https://": false, "http://collector.example/x": false, "http://169.254.169.254/x": true, "http://169.254.1.2:8080": true,
		"http://[fe80::1]/x": true, "http://127.0.0.1/x": false, "http://169.254.169.254.example/": false, "ftp://169.254.169.254/": false, "": false, "%": false,
	} {
		if err := checkReportURL(raw); (err == nil) != ok {
			t.Errorf("%q: %v", raw, err)
		}
	}
}

func TestSend(t *testing.T) {
	var got string
	status := http.StatusNoContent
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		raw, _ := io.ReadAll(r.Body)
		got = r.Method + " " + r.URL.Path + " " + r.Header.Get("Content-Type") + " " + string(raw)
		w.Header().Set("Location", "/elsewhere")
		w.WriteHeader(status)
	}))
	defer s.Close()
	if err := send(t.Context(), s.URL+"/x", []byte("{}")); err != nil || got != "POST /x application/json {}" {
		t.Errorf("%v, sent %q", err, got)
	}
	for _, status = range []int{http.StatusFound, http.StatusTemporaryRedirect, http.StatusInternalServerError} {
		if err := send(t.Context(), s.URL+"/x", nil); err == nil || strings.Contains(got, "elsewhere") {
			t.Errorf("status %d: %v, sent %q", status, err, got)
		}
	}
	s.Close()
	if err := send(t.Context(), s.URL+"/secretpath", nil); err == nil || strings.Contains(err.Error(), "secretpath") {
		t.Errorf("%v", err)
	}
}

// TestPost: no argument is no report, and a bad one is an error without its text.
func TestPost(t *testing.T) {
	r := newRig(t, "quiet")
	if err := r.Post(t.Context(), OutcomeSuccess, nil); err != nil {
		t.Error(err)
	}
	r = newRig(t, "ignition.report.url=http://user:password@collector.example/")
	if err := r.Post(t.Context(), OutcomeSuccess, nil); err == nil || strings.Contains(err.Error(), "password") {
		t.Errorf("%v", err)
	}
}
