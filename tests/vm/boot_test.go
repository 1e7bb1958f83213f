// SPDX-License-Identifier: Apache-2.0

package vm

import (
	"bytes"
	"context"
	"os"
	"testing"
	"time"
)

func TestBoot(t *testing.T) {
	if os.Getenv("VM") == "" {
		t.Skip("boots a guest: make test-vm, or VM=1")
	}
	dir := t.TempDir()
	var out bytes.Buffer
	m := Machine{Disks: []Disk{{MiB: 64, Serial: "d0"}}, Timeout: 3 * time.Minute, Dir: dir}
	res, err := Run(context.Background(), m, Command{Args: []string{"bash", "-c", os.Getenv("VM_CMD")}, Output: &out})
	text, _ := os.ReadFile(m.console())
	t.Logf("%+v %v\n%s\nconsole\n%s", res, err, out.String(), text)
}
