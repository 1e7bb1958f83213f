// SPDX-License-Identifier: Apache-2.0

package network

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"testing"
	"time"
)

// TestBenchBigFile: a gibibyte from nginx takes no longer than a plain download
// that gets to the disk, but for a margin, and little memory.
func TestBenchBigFile(t *testing.T) {
	if os.Getenv("NET_BENCH") == "" {
		t.Skip("measures; runs with `make bench`")
	}
	w := newWorld(t)
	big := w.write("www/big", "")
	w.nginx("config.example")
	out, err := exec.Command("bash", "-c", "head -c 1G /dev/urandom >"+big+" && sync -f "+big).CombinedOutput()
	if err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	w.write("cmdline", "")
	w.write("config.ign", fmt.Sprintf(`{"ignition":{"version":"3.4.0"},%s}`, files(fmt.Sprintf(`"source":"http://%s/big"`, serverIP))))
	w.stage("file", "fetch").want(t)
	var ours, plain, synced []time.Duration
	var rss int64
	for range 5 {
		fetched := filepath.Join(w.dir, "sysroot/fetched/0")
		w.must(os.RemoveAll(filepath.Dir(fetched)))
		r := w.stage("file", "files")
		r.want(t)
		rss = max(rss, r.rss)
		ours = append(ours, r.wall)
		w.must(exec.Command("cmp", big, fetched).Run())

		copied := filepath.Join(w.dir, "curl.out")
		start := time.Now()
		w.must(exec.Command("ip", "netns", "exec", w.machine, "curl", "-sf", "-o", copied, "http://"+serverIP+"/big").Run())
		plain = append(plain, time.Since(start))
		w.must(exec.Command("sync", "-f", copied).Run())
		synced = append(synced, time.Since(start))
		w.must(os.Remove(copied))
	}
	median := func(d []time.Duration) float64 {
		slices.Sort(d)
		return d[len(d)/2].Seconds()
	}
	o, p, s := median(ours), median(plain), median(synced)
	t.Logf("1 GiB from nginx: the files stage, which ends with a sync, takes %.2f of curl and sync, %.2f of curl alone; peak memory %d MiB", o/s, o/p, rss>>20)
	if o/s > 1.3 {
		t.Errorf("the ratio to curl and sync is %.2f, want at most 1.3", o/s)
	}
	if rss > 48<<20 {
		t.Errorf("%d MiB of memory, want at most 48", rss>>20)
	}
}
