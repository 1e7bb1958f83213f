package vm

import (
	"bytes"
	"context"
	"os"
	"strings"
	"syscall"
	"testing"
	"time"
)

func TestExp(t *testing.T) {
	dir := t.TempDir()
	var out bytes.Buffer
	cpu := os.Getenv("VM_CPU")
	m := Machine{Disks: disks(), Timeout: 5 * time.Minute, Dir: dir, Extra: strings.Fields(cpu)}
	res, err := Run(context.Background(), m, Command{Args: []string{"bash", "-c", os.Getenv("VM_CMD")}, Output: &out})
	var ru syscall.Rusage
	syscall.Getrusage(syscall.RUSAGE_CHILDREN, &ru)
	t.Logf("%s\n%+v %v cpu %d s\n%s", cpu, res, err, ru.Utime.Sec+ru.Stime.Sec, out.String())
}
