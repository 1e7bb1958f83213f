// SPDX-License-Identifier: Apache-2.0

package blackbox

import (
	"encoding/json"
	"net/http/httptest"
	"os"
	"regexp"
	"strings"
	"testing"
	"time"

	"firstboot.dev/ignition/tests/imds"
)

// filesLog is the log of the files stage for examples/aws-nginx as a user of
// the older program knows it, time stamps left out.
const filesLog = `INFO     : Stage: files
DEBUG    : files: compiled without relabeling support, skipping
INFO     : files: ensureUsers: op(1): [started]  creating or modifying user "test"
DEBUG    : files: ensureUsers: op(1): executing: "useradd" "--root" "/sysroot" "--create-home" "--password" "*" "test"
INFO     : files: ensureUsers: op(1): [finished] creating or modifying user "test"
INFO     : files: ensureUsers: op(2): [started]  adding ssh keys to user "test"
INFO     : files: ensureUsers: op(2): [finished] adding ssh keys to user "test"
INFO     : files: createFilesystemsFiles: createFiles: op(3): [started]  writing file "/sysroot/etc/hostname"
INFO     : files: createFilesystemsFiles: createFiles: op(3): [finished] writing file "/sysroot/etc/hostname"
INFO     : files: op(4): [started]  processing unit "nginx.service"
INFO     : files: op(4): op(5): [started]  writing unit "nginx.service" at "/sysroot/etc/systemd/system/nginx.service"
INFO     : files: op(4): op(5): [finished] writing unit "nginx.service" at "/sysroot/etc/systemd/system/nginx.service"
INFO     : files: op(4): [finished] processing unit "nginx.service"
INFO     : files: op(6): [started]  setting preset to enabled for "nginx.service"
INFO     : files: op(6): [finished] setting preset to enabled for "nginx.service"
INFO     : files: createResultFile: createFiles: op(7): [started]  writing file "/sysroot/etc/.ignition-result.json"
INFO     : files: createResultFile: createFiles: op(7): [finished] writing file "/sysroot/etc/.ignition-result.json"
INFO     : files: files passed
INFO     : Ignition finished successfully
`

// fetchLog holds the lines of the fetch stage, in order. Addresses and hashes vary.
const fetchLog = `INFO     : Ignition 2.18.0
INFO     : Stage: fetch
INFO     : no config dir at "RUN/base.d"
INFO     : no config dir at "LOCAL/base.d"
INFO     : no config dir at "VENDOR/base.d"
INFO     : no configs found in "base.d" across system config directories
INFO     : no config dir at "RUN/base.platform.d/aws"
INFO     : no config dir at "LOCAL/base.platform.d/aws"
INFO     : no config dir at "VENDOR/base.platform.d/aws"
INFO     : no configs found in "base.platform.d/aws" across system config directories
DEBUG    : parsed url from cmdline: ""
INFO     : no config URL provided
INFO     : reading system config file "RUN/user.ign"
INFO     : no config at "RUN/user.ign"
INFO     : reading system config file "LOCAL/user.ign"
INFO     : no config at "LOCAL/user.ign"
INFO     : reading system config file "VENDOR/user.ign"
INFO     : no config at "VENDOR/user.ign"
INFO     : PUT IMDS/latest/api/token: attempt #1
INFO     : PUT result: OK
INFO     : GET IMDS/2019-10-01/user-data: attempt #1
INFO     : GET result: OK
DEBUG    : parsing config with SHA512: HASH
INFO     : fetch: fetch complete
INFO     : fetch: fetch passed
INFO     : Ignition finished successfully
`

// TestScenario provisions the machine of examples/aws-nginx from a metadata
// service that insists on IMDSv2.
func TestScenario(t *testing.T) {
	needRoot(t)
	userData, err := os.ReadFile("../../examples/aws-nginx/user-data.json")
	if err != nil {
		t.Fatal(err)
	}
	service := imds.New(imds.Options{UserData: userData})
	server := httptest.NewServer(service)
	defer server.Close()

	m := newMachine(t)
	m.env = append(m.env, "AWS_EC2_METADATA_SERVICE_ENDPOINT="+server.URL)
	fetch := m.stage(0, "ec2", "fetch")
	log := strings.NewReplacer(m.path("run"), "RUN", m.path("local"), "LOCAL", m.path("vendor"), "VENDOR", server.URL, "IMDS").Replace(fetch.stdout)
	log = regexp.MustCompile(`SHA512: [0-9a-f]{128}`).ReplaceAllString(log, "SHA512: HASH")
	log = regexp.MustCompile(`(?m)^INFO     : .*"ec2".*\n`).ReplaceAllString(log, "")
	if log != fetchLog {
		t.Errorf("log of the fetch stage:\n%s\nwant:\n%s", log, fetchLog)
	}

	files := m.stage(0, "aws", "files")
	log = strings.ReplaceAll(files.stdout, m.root, "/sysroot")
	_, log, _ = strings.Cut(log, "INFO     : Ignition 2.18.0\n")
	log = withoutConfigDirs(log)
	if log != filesLog {
		t.Errorf("log of the files stage:\n%s\nwant:\n%s", log, filesLog)
	}
	if n := service.Requests(); n != 2 {
		t.Errorf("the metadata service got %d requests, want 2: one token, one user data", n)
	}
	checkScenarioTree(t, m)
}

// withoutConfigDirs drops the lines about base configs, which stand in every stage.
func withoutConfigDirs(log string) string {
	return regexp.MustCompile(`(?m)^INFO     : (no config dir at|no configs found in) .*\n`).ReplaceAllString(log, "")
}

func checkScenarioTree(t *testing.T, m *machine) {
	t.Helper()
	m.wantFile("etc/hostname", "chhanz-coreos")
	m.wantNode("etc/hostname", "-rw-r--r--", 0, 0)
	wantText(t, m.read("sysroot/etc/passwd"), "\ntest:x:1000:1000:")
	m.wantFile("home/test/.ssh/authorized_keys.d/ignition", "ssh-rsa AAAAB3NzaC1yc2EAAAADAQABAAABAQC0g+ZTxC7weoIJLUafOgrm+h\n")
	m.wantNode("home/test/.ssh/authorized_keys.d/ignition", "-rw-------", 1000, 1000)
	m.wantNode("home/test/.ssh/authorized_keys.d", "drwx------", 1000, 1000)
	m.wantNode("home/test/.ssh", "drwx------", 1000, 1000)
	m.wantNode("home/test", "drwx------", 1000, 1000)
	m.wantNode("etc/systemd/system/nginx.service", "-rw-r--r--", 0, 0)
	wantText(t, m.read("sysroot/etc/systemd/system/nginx.service"), "ExecStart=/usr/bin/docker run --name nginx1")
	m.wantFile("etc/systemd/system-preset/20-ignition.preset", "enable nginx.service\n")
	m.wantNode("etc/systemd/system-preset/20-ignition.preset", "-rw-r--r--", 0, 0)
	m.wantNode("etc/.ignition-result.json", "-rw-------", 0, 0)
	var res struct {
		ProvisioningBootID, ProvisioningDate string
		UserConfigProvided                   bool
		PreviousReport                       *json.RawMessage
	}
	if err := json.Unmarshal([]byte(m.read("sysroot/etc/.ignition-result.json")), &res); err != nil {
		t.Fatal(err)
	}
	boot, _ := os.ReadFile("/proc/sys/kernel/random/boot_id")
	if res.ProvisioningBootID != strings.TrimSpace(string(boot)) || !res.UserConfigProvided || res.PreviousReport != nil {
		t.Errorf("result file: %+v", res)
	}
	if when, err := time.Parse(time.RFC3339, res.ProvisioningDate); err != nil || time.Since(when) > time.Hour {
		t.Errorf("provisioning date %q: %v", res.ProvisioningDate, err)
	}
	m.wantNoLeftovers()
}
