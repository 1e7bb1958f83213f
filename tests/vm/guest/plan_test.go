// SPDX-License-Identifier: Apache-2.0

package guest

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"reflect"
	"slices"
	"strings"
	"testing"
)

// diskKinds are the kinds of operations by which the disks stage writes to devices.
var diskKinds = []string{
	"wipe-table", "write-table", "create-array", "luks-format", "luks-mark", "luks-remove-key", "clevis-bind",
	"cex-generate", "cex-verify", "wipe-signatures", "make-filesystem",
}

// planned is what a plan says about the disks.
type planned struct {
	sure    []string // kind, path and config entry
	perhaps []string // what depends on something
	failed  string
	hash    string
}

// wantFacts compares the plan that is made of a file of facts with the live one.
func (e *env) wantFacts(t *testing.T, live planned) {
	t.Helper()
	e.must(t, "facts", `"$IGNITION" facts -o "$CASE/facts.json"; test "$(stat -c %a "$CASE/facts.json")" = 600`)
	if desk := e.plan(t, e.path("facts.json")); !reflect.DeepEqual(desk, live) {
		t.Errorf("the plan from facts is\n%+v\nand the live one\n%+v\nfacts:\n%s", desk, live, mustRead(t, e.path("facts.json")))
	}
}

// plan asks for the plan of the config on the disks as they are, and makes sure
// that asking changes none of them.
func (e *env) plan(t *testing.T, disks string) (p planned) {
	t.Helper()
	before := beginnings(t, e.disks)
	cmd := exec.Command(ignition, "plan", "--disks="+disks, "--format=json", "--root="+e.path("sysroot"), e.path("config.ign"))
	cmd.Env, cmd.Dir = e.environ(), e.dir
	var out, errs bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &errs
	err := cmd.Run()
	if after := beginnings(t, e.disks); after != before {
		t.Errorf("the plan changed the disks:\n%s", differences(before, after))
	}
	var exit *exec.ExitError
	if err != nil && (!errors.As(err, &exit) || exit.ExitCode() != 2) {
		p.failed = fmt.Sprintf("%v\n%s", err, errs.String())
		return p
	}
	var list struct {
		Hash       string
		Operations []struct{ Stage, Kind, Path, Config, Effect, Depends string }
	}
	if err := json.Unmarshal(out.Bytes(), &list); err != nil {
		t.Fatalf("plan: %v\n%s%s", err, out.String(), errs.String())
	}
	p.hash = list.Hash
	for _, op := range list.Operations {
		switch text := op.Kind + " " + op.Path + " " + op.Config; {
		case op.Stage != "disks" || op.Effect == "keep":
		case op.Depends != "":
			p.perhaps = append(p.perhaps, text)
		default:
			p.sure = append(p.sure, text)
		}
	}
	return p
}

// beginnings hashes where tables and superblocks are; all of every disk would take minutes.
func beginnings(t *testing.T, disks []string) string {
	t.Helper()
	var b strings.Builder
	for _, d := range disks {
		h, err := rangeHash(d, 0, 4<<20)
		if err != nil {
			t.Fatal(err)
		}
		fmt.Fprintln(&b, d, h)
	}
	return b.String()
}

// written lists what the record of this boot says was written to devices.
func written(t *testing.T) (list []string) {
	t.Helper()
	raw, err := os.ReadFile("/run/ignition/ops.jsonl")
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(string(raw)) {
		var r struct {
			Kind, Path, Outcome string
			Config              string `json:"config"`
		}
		if err := json.Unmarshal([]byte(line), &r); err != nil {
			t.Fatalf("%v: %s", err, line)
		}
		if r.Outcome == "ok" && slices.Contains(diskKinds, r.Kind) {
			list = append(list, r.Kind+" "+r.Path+" "+r.Config)
		}
	}
	return list
}

// wantDone compares a plan with the record. Filesystems are made side by side,
// so the order is not compared.
func (p planned) wantDone(t *testing.T) {
	t.Helper()
	if p.failed != "" {
		t.Errorf("there was no plan of a run that passed: %s", p.failed)
		return
	}
	left := slices.Clone(p.sure)
	perhaps := slices.Clone(p.perhaps)
	for _, did := range written(t) {
		if i := slices.Index(left, did); i >= 0 {
			left = slices.Delete(left, i, i+1)
		} else if i := slices.Index(perhaps, did); i >= 0 {
			perhaps = slices.Delete(perhaps, i, i+1)
		} else {
			t.Errorf("done, and not planned: %s", did)
		}
	}
	for _, not := range left {
		t.Errorf("planned, and not done: %s", not)
	}
}
