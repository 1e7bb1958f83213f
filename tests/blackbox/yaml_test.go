// SPDX-License-Identifier: Apache-2.0

package blackbox

import (
	"net/http/httptest"
	"os"
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
