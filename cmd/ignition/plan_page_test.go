// SPDX-License-Identifier: Apache-2.0

package main

import (
	"os"
	"strings"
	"testing"
)

// TestPlanPage: the output on the page is what the script's plan prints.
func TestPlanPage(t *testing.T) {
	script, err := os.ReadFile("testdata/script/plan.txtar")
	if err != nil {
		t.Fatal(err)
	}
	page, err := os.ReadFile("../../docs/plan.md")
	if err != nil {
		t.Fatal(err)
	}
	_, want, _ := strings.Cut(string(script), "-- want --\n")
	want = strings.ReplaceAll(want, "$WORK/root", "/home/me/image")
	_, got, _ := strings.Cut(string(page), "$ ignition plan --root image --disks machine.json config.bu\n")
	got, _, _ = strings.Cut(got, "```")
	if got != want || want == "" {
		t.Errorf("the page has\n%s\nand the program prints\n%s", got, want)
	}
	for _, flag := range []string{"root", "disks", "platform", "online", "fetch-timeout", "all", "format", "hash"} {
		if !strings.Contains(string(page), "`--"+flag) {
			t.Errorf("the page does not have --%s", flag)
		}
	}
}
