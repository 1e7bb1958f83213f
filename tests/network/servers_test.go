// SPDX-License-Identifier: Apache-2.0

package network

import (
	"path/filepath"
	"testing"
)

// built is a server that scripts/test-net built.
func (w *world) built(name string) string {
	w.t.Helper()
	p, err := filepath.Abs(filepath.Join("../../bin/servers", name))
	w.must(err)
	return p
}

// TestMatchbox: a network boot. The kernel command line points at a config
// server, which chooses by what the machine says of itself, and the config at
// more of it.
func TestMatchbox(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.name("matchbox.example")
	w.write("matchbox/groups/node.json", `{"id":"node","profile":"worker","selector":{"mac":"52:54:00:a1:9c:ae"},"metadata":{"role":"worker-7"}}`)
	w.write("matchbox/groups/default.json", `{"id":"default","profile":"none"}`)
	w.write("matchbox/profiles/worker.json", `{"id":"worker","name":"worker","ignition_id":"worker.ign","generic_id":"worker.txt"}`)
	w.write("matchbox/profiles/none.json", `{"id":"none","name":"none"}`)
	w.write("matchbox/generic/worker.txt", "role={{.role}}\n")
	w.write("matchbox/ignition/worker.ign", `{"ignition":{"version":"3.3.0"},"storage":{"files":[
 {"path":"/etc/role","contents":{"source":"http://matchbox.example:8080/generic?mac=52:54:00:a1:9c:ae"}}]}}`)
	w.write("matchbox/assets/.keep", "")
	w.daemon("8080", nil, w.built("matchbox"), "-address="+serverIP+":8080", "-data-path="+filepath.Join(w.dir, "matchbox"), "-assets-path="+filepath.Join(w.dir, "matchbox/assets"), "-log-level=debug")
	w.write("cmdline", "root=/dev/vda9 flatcar.config.url=http://matchbox.example:8080/ignition?mac=52:54:00:a1:9c:ae flatcar.first_boot=1\n")
	w.stage("metal", "fetch").want(t)
	w.stage("metal", "files").want(t)
	if got := w.file("etc/role"); got != "role=worker-7\n" {
		t.Errorf("role %q", got)
	}
	w.write("cmdline", "ignition.config.url=http://matchbox.example:8080/ignition?mac=52:54:00:00:00:01\n")
	w.stage("metal", "fetch").wantFailure(t, "resource not found")
}
