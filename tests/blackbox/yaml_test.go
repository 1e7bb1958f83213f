// SPDX-License-Identifier: Apache-2.0

package blackbox

import (
	"fmt"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"firstboot.dev/ignition/tests/imds"
)

// provisionFrom runs the stages of a cloud machine with the user data of a file and describes the tree that comes of it.
func provisionFrom(t *testing.T, userData string) (tree, cache, log string) {
	t.Helper()
	raw, err := os.ReadFile(userData)
	if err != nil {
		t.Fatal(err)
	}
	server := httptest.NewServer(imds.New(imds.Options{UserData: raw}))
	defer server.Close()
	m := newMachine(t)
	m.env = append(m.env, "AWS_EC2_METADATA_SERVICE_ENDPOINT="+server.URL)
	log = m.stage(0, "ec2", "fetch").stdout
	cache = m.read("run/ignition.json")
	m.stage(0, "ec2", "files")
	return snapshot(t, m.root, func(rel string) bool { return rel == "etc/.ignition-result.json" }), cache, log
}

// TestYAMLProvisionsTheSame: the scenario's Butane YAML as user data gives the tree, byte for byte, that its JSON gives.
func TestYAMLProvisionsTheSame(t *testing.T) {
	needRoot(t)
	fromJSON, cacheOfJSON, _ := provisionFrom(t, "../../examples/aws-nginx/user-data.json")
	fromYAML, cacheOfYAML, log := provisionFrom(t, "../../examples/aws-nginx/config.bu")
	if fromYAML != fromJSON {
		t.Errorf("YAML gives\n%s\nJSON gives\n%s", fromYAML, fromJSON)
	}
	if cacheOfYAML != cacheOfJSON {
		t.Errorf("cache of the YAML\n%s\nof the JSON\n%s", cacheOfYAML, cacheOfJSON)
	}
	wantText(t, fromYAML, `etc/hostname -rw-r--r-- 0:0 "chhanz-coreos"`)
	wantLine(t, log, "WARNING  : warning at $.storage.files.0.filesystem, line 5 col 7: unused key filesystem")
}

// BenchmarkYAML runs the program on a megabyte of YAML and on the JSON that comes of it, and tells the time on the CPU
// and the peak of memory of the whole process.
func BenchmarkYAML(b *testing.B) {
	dir := b.TempDir()
	yaml, inJSON := filepath.Join(dir, "config.bu"), filepath.Join(dir, "config.ign")
	var text strings.Builder
	text.WriteString("variant: flatcar\nversion: 1.1.0\nstorage:\n  files:\n")
	for i := 0; text.Len() < 1<<20; i++ {
		fmt.Fprintf(&text, "    - path: /etc/app/%d.conf\n      mode: 0644\n      contents:\n        inline: |\n          # %d\n          key = value-%d\n", i, i, i*7919)
	}
	if err := os.WriteFile(yaml, []byte(text.String()), 0o644); err != nil {
		b.Fatal(err)
	}
	transpile := []string{"transpile", "--output", inJSON, yaml}
	if out, err := exec.Command(binary, transpile...).CombinedOutput(); err != nil {
		b.Fatalf("%v\n%s", err, out)
	}
	fetch := []string{"--stage=fetch", "--platform=file", "--log-to-stdout", "--root=" + dir, "--ops-file=",
		"--config-cache=" + filepath.Join(dir, "cache"), "--state-file=" + filepath.Join(dir, "state")}
	for _, run := range []struct {
		name, config string
		args         []string
	}{{"transpile", yaml, transpile}, {"fetch YAML", yaml, fetch}, {"fetch the same in JSON", inJSON, fetch}} {
		b.Run(run.name, func(b *testing.B) {
			var cpu, peak float64
			for b.Loop() {
				c := exec.Command(binary, run.args...)
				c.Env = []string{"IGNITION_CONFIG_FILE=" + run.config, "IGNITION_KERNEL_CMDLINE_PATH=/dev/null"}
				for _, kind := range []string{"", "_LOCAL", "_RUNTIME"} {
					c.Env = append(c.Env, "IGNITION_SYSTEM"+kind+"_CONFIG_DIR="+filepath.Join(dir, "none"))
				}
				if out, err := c.CombinedOutput(); err != nil {
					b.Fatalf("%v\n%s", err, out)
				}
				used := c.ProcessState.SysUsage().(*syscall.Rusage)
				cpu += float64(c.ProcessState.UserTime()+c.ProcessState.SystemTime()) / 1e6
				peak = max(peak, float64(used.Maxrss)/1024)
			}
			b.ReportMetric(cpu/float64(b.N), "cpu-ms/op")
			b.ReportMetric(peak, "peak-MiB")
		})
	}
}
