// SPDX-License-Identifier: Apache-2.0

package config

import (
	"slices"
	"strings"
	"testing"
)

func parsed(t *testing.T, rest string) Config {
	t.Helper()
	c, r, err := Parse([]byte(`{"ignition":{"version":"3.4.0"},` + rest + `}`))
	if err != nil {
		t.Fatalf("%v\n%s", err, r)
	}
	return c
}

func TestLeaves(t *testing.T) {
	c := parsed(t, `"storage":{
		"disks":[{"device":"/dev/a","partitions":[{"number":1,"sizeMiB":0},{"label":"x"}]}],
		"files":[{"path":"/f","mode":0,"overwrite":false,"append":[{"source":""},{"source":"data:,b"}]}]}`)
	var got []string
	for _, l := range Leaves(&c, nil) {
		line := l.Path + " " + l.Name + "=" + l.String()
		if l.Ordered {
			line += " ordered"
		}
		got = append(got, line)
	}
	want := []string{
		"$.ignition.version $.ignition.version=" + MaxVersion(),
		"$.storage.disks.0.device $.storage.disks[/dev/a].device=/dev/a",
		"$.storage.disks.0.partitions.0.number $.storage.disks[/dev/a].partitions[number:1].number=1 ordered",
		"$.storage.disks.0.partitions.0.sizeMiB $.storage.disks[/dev/a].partitions[number:1].sizeMiB=0 ordered",
		"$.storage.disks.0.partitions.1.label $.storage.disks[/dev/a].partitions[label:x].label=x ordered",
		"$.storage.files.0.overwrite $.storage.files[/f].overwrite=false",
		"$.storage.files.0.path $.storage.files[/f].path=/f",
		"$.storage.files.0.append.0.source $.storage.files[/f].append.0.source=",
		"$.storage.files.0.append.1.source $.storage.files[/f].append.1.source=data:,b",
		"$.storage.files.0.mode $.storage.files[/f].mode=0",
	}
	if !slices.Equal(got, want) {
		t.Errorf("got\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
}

// TestLeavesOfMerged: each value of a merged config is found, under its name, in the config that gave it.
func TestLeavesOfMerged(t *testing.T) {
	configs := []Config{
		parsed(t, `"storage":{"files":[{"path":"/f","mode":1,"append":[{"source":"data:,a1"},{"source":"data:,a2"}]},{"path":"/moved","mode":9}]}`),
		parsed(t, `"storage":{"files":[{"path":"/f","append":[{"source":"data:,b1"}]}],"directories":[{"path":"/moved"}]},"passwd":{"users":[{"name":"u","groups":["g"]}]}`),
		parsed(t, `"storage":{"files":[{"path":"/f","mode":3,"append":[{"source":"data:,c1"},{"source":"data:,c2"}]}]},"passwd":{"users":[{"name":"u","groups":["h","g"]}]}`),
	}
	by, after := map[string]string{}, map[string]int{}
	for i := len(configs) - 1; i >= 0; i-- {
		for _, l := range Leaves(&configs[i], after) {
			if _, ok := by[l.Name]; !ok {
				by[l.Name] = l.String()
			}
		}
	}
	merged := Merge(Merge(configs[0], configs[1]), configs[2])
	list := Leaves(&merged, map[string]int{})
	for _, l := range list {
		if got, ok := by[l.Name]; !ok || got != l.String() {
			t.Errorf("%s: given %q (%v), is %q", l.Name, got, ok, l.String())
		}
	}
	if len(list) < 10 {
		t.Errorf("only %d values", len(list))
	}
}
