// SPDX-License-Identifier: Apache-2.0

package oplog

import (
	"bytes"
	"encoding/json"
	"encoding/xml"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"
)

var update = flag.Bool("update", false, "rewrite the golden files")

var epoch = time.Date(2026, 5, 6, 7, 8, 9, 0, time.UTC)

// at is a record from one moment to another, in milliseconds.
func at(stage, kind string, op, parent uint64, from, to int, desc string) Record {
	start, end := epoch.Add(time.Duration(from)*time.Millisecond), epoch.Add(time.Duration(to)*time.Millisecond)
	return Record{Stage: stage, Kind: kind, Op: op, Parent: parent, Desc: desc,
		Start: start, End: end, Seconds: end.Sub(start).Seconds(), Outcome: OK}
}

func failedWith(r Record, text string) Record {
	r.Outcome, r.Error = Failed, text
	return r
}

func with(r Record, bytes int64, config string) Record {
	r.Bytes, r.Config = bytes, config
	return r
}

// firstBoot is a boot of twenty operations, with parallel downloads and one failure.
func firstBoot() []Record {
	records := []Record{
		at("fetch", KindFetch, 0, 0, 40, 890, "GET http://169.254.169.254/2019-10-01/user-data"),
		at("fetch", KindStage, 0, 0, 0, 900, "fetch"),
		at("disks", "partition", 2, 1, 1010, 1400, `partitioning "/dev/vdb"`),
		at("disks", "mkfs", 3, 1, 1410, 3900, `creating "ext4" filesystem on "/dev/vdb1"`),
		with(at("disks", "disk", 1, 0, 1005, 3950, `preparing "/dev/vdb"`), 0, "$.storage.disks.0"),
		at("disks", KindStage, 0, 0, 1000, 4000, "disks"),
		with(at("files", KindFetch, 0, 0, 4110, 5300, "GET https://example.com/one.tar.gz"), 8<<20, "$.storage.files.0"),
		with(at("files", KindFetch, 0, 0, 4111, 6900, "GET https://example.com/two.img"), 30<<20, "$.storage.files.1"),
		with(at("files", KindFetch, 0, 0, 4112, 4700, "GET https://example.com/three"), 100<<10, "$.storage.files.2"),
	}
	for i := range 8 {
		records = append(records, with(at("files", "user", uint64(i+1), 0, 4120+i*60, 4170+i*60,
			fmt.Sprintf("creating or modifying user %q", fmt.Sprintf("user%d", i))), 0, fmt.Sprintf("$.passwd.users.%d", i)))
	}
	return append(records,
		with(at("files", "write-file", 9, 0, 4620, 5310, `writing file "/sysroot/opt/one & only <1>"`), 8<<20, "$.storage.files.0"),
		failedWith(with(at("files", "write-file", 12, 0, 5320, 6910, `writing file "/sysroot/opt/two"`), 30<<20, "$.storage.files.1"),
			"verification failed: got sha512 \x1b[31maaaa, want bbbb; the server may have changed the file since the config was written, so compute the hash anew"),
		failedWith(at("files", KindStage, 0, 0, 4100, 7000, "files"), "create files: verification failed"),
	)
}

func TestWriteReport(t *testing.T) {
	again := []Record{
		failedWith(at("fetch", KindStage, 0, 0, 0, 900, "fetch"), "no network"),
		at("fetch", KindStage, 0, 0, 65000, 130500, "fetch"),
	}
	fine := append(firstBoot()[:6:6], at("files", KindStage, 0, 0, 4100, 4200, "files"))
	for _, row := range []struct {
		name    string
		records []Record
		opts    ReportOptions
		failed  bool
	}{
		{"failed", firstBoot(), ReportOptions{}, true},
		{"fine", fine, ReportOptions{Top: 3}, false},
		{"narrow", firstBoot(), ReportOptions{Top: 2, Width: 1}, true},
		{"second-try", again, ReportOptions{}, true},
		{"unfinished", firstBoot()[:5], ReportOptions{Top: 1}, false},
		{"empty", nil, ReportOptions{}, false},
	} {
		t.Run(row.name, func(t *testing.T) {
			var b bytes.Buffer
			failed, err := WriteReport(&b, row.records, row.opts)
			if err != nil {
				t.Fatal(err)
			}
			if failed != row.failed {
				t.Errorf("failed = %v, want %v", failed, row.failed)
			}
			if strings.Contains(b.String(), "\x1b") {
				t.Error("an escape sequence reaches the terminal")
			}
			golden(t, "report-"+row.name+".txt", b.Bytes())
		})
	}
}

func golden(t *testing.T, name string, got []byte) {
	t.Helper()
	path := filepath.Join("testdata", name)
	if *update {
		if err := os.MkdirAll("testdata", 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, got, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	check(t, string(got), string(want))
}

func TestReadRecords(t *testing.T) {
	good := func(desc string) string {
		data, err := json.Marshal(at("files", "op", 1, 0, 0, 5, desc))
		if err != nil {
			t.Fatal(err)
		}
		return string(data) + "\n"
	}
	for _, row := range []struct {
		name, in string
		records  int
		skipped  string
	}{
		{"good", good("a") + good("b"), 2, ""},
		{"empty", "", 0, ""},
		{"empty lines", "\n" + good("a") + "\n\n", 1, ""},
		{"no line end, but whole", strings.TrimSuffix(good("a"), "\n"), 1, ""},
		{"last line cut", good("a") + good("b")[:30], 1, "the last line is cut off"},
		{"garbage", good("a") + "garbage\n[1]\n" + good("b"), 2, "2 lines skipped that are no records, the first is line 2"},
		{"JSON of another kind", "{}\n{\"outcome\":\"ok\"}\nnull\n", 0, "3 lines skipped that are no records, the first is line 1"},
		{"garbage and cut", "\x00\n" + good("a") + "{", 1, "1 line skipped that are no records, the first is line 1; the last line is cut off"},
		{"unknown fields are taken", strings.Replace(good("a"), "{", `{"new":1,`, 1), 1, ""},
	} {
		t.Run(row.name, func(t *testing.T) {
			records, err := ReadRecords(strings.NewReader(row.in))
			if len(records) != row.records {
				t.Errorf("%d records, want %d", len(records), row.records)
			}
			var skipped *SkippedError
			switch {
			case row.skipped == "" && err != nil:
				t.Errorf("unexpected error: %v", err)
			case row.skipped != "" && (!errors.As(err, &skipped) || err.Error() != row.skipped):
				t.Errorf("got  %v\nwant %s", err, row.skipped)
			}
		})
	}
}

func TestReadRecordsPassesReadErrorsOn(t *testing.T) {
	broken := errors.New("broken disk")
	_, err := ReadRecords(io.MultiReader(strings.NewReader("{}\n"), errReader{broken}))
	if !errors.Is(err, broken) {
		t.Errorf("error %v", err)
	}
}

type errReader struct{ err error }

func (r errReader) Read([]byte) (int, error) { return 0, r.err }

func FuzzReadRecords(f *testing.F) {
	for _, rec := range firstBoot()[:3] {
		data, err := json.Marshal(rec)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(append(data, '\n'))
	}
	f.Add([]byte("{\"stage\":\"a\",\"op\":1,\"parent\":1,\"outcome\":\"ok\",\"start\":\"2026-01-01T00:00:00Z\",\"end\":\"2299-01-01T00:00:00Z\",\"seconds\":1e300}\n{"))
	f.Fuzz(func(t *testing.T, data []byte) {
		records, _ := ReadRecords(bytes.NewReader(data))
		if _, err := WriteReport(io.Discard, records, ReportOptions{}); err != nil {
			t.Error(err)
		}
		var b bytes.Buffer
		if err := WriteSVG(&b, records); err != nil {
			t.Error(err)
		}
		parseXML(t, b.Bytes())
	})
}

// parseXML checks that a drawing is XML and gives the number of elements by name and class.
func parseXML(t *testing.T, data []byte) map[string]int {
	t.Helper()
	counts := map[string]int{}
	d := xml.NewDecoder(bytes.NewReader(data))
	for {
		token, err := d.Token()
		if errors.Is(err, io.EOF) {
			return counts
		}
		if err != nil {
			t.Fatalf("%v in\n%s", err, data)
		}
		if e, ok := token.(xml.StartElement); ok {
			name := e.Name.Local
			for _, a := range e.Attr {
				if a.Name.Local == "class" {
					name += "." + a.Value
				}
			}
			counts[name]++
		}
	}
}

func manyOps(n int) []Record {
	var records []Record
	for i := range n {
		records = append(records, at("files", "write-file", uint64(i+1), 0, i*3, i*3+1+i%7, fmt.Sprintf("writing file %d", i)))
	}
	return append(records, at("files", KindStage, 0, 0, 0, n*3+10, "files"))
}

func TestWriteSVG(t *testing.T) {
	cycle := []Record{at("x", "op", 1, 2, 0, 5, "a"), at("x", "op", 2, 1, 0, 5, "b"), at("x", "op", 3, 3, 0, 5, "own parent")}
	strange := []Record{at("<&>", "op", 1, 0, 0, 0, "control \x01\xff \"quoted\" ]]> "+strings.Repeat("long ", 100))}
	for _, row := range []struct {
		name    string
		records []Record
		bars    map[string]int // with the four of the legend
		text    string
	}{
		{"a boot", firstBoot(), map[string]int{"rect.stage": 3, "rect.op": 13, "rect.fetch": 5, "rect.failed": 3}, "Provisioning: 7.00s in all"},
		{"empty", nil, map[string]int{"rect.stage": 1, "rect.op": 1}, "no operations are recorded"},
		{"no stage record", cycle[2:], map[string]int{"rect.stage": 2, "rect.op": 2}, "x (unfinished)"},
		{"records in a ring are no trap", cycle, map[string]int{"rect.stage": 2}, "x (unfinished)"},
		{"strange texts, no duration", strange, map[string]int{"rect.op": 2}, "&lt;&amp;&gt;"},
		{"400 are all drawn", manyOps(400), map[string]int{"rect.op": 401}, "400 operations, 0 downloads"},
		{"2000 are thinned", manyOps(2000), map[string]int{"rect.op": 301, "rect.stage": 2}, "1700 shorter ones are not drawn"},
	} {
		t.Run(row.name, func(t *testing.T) {
			var b bytes.Buffer
			if err := WriteSVG(&b, row.records); err != nil {
				t.Fatal(err)
			}
			counts := parseXML(t, b.Bytes())
			for name, want := range row.bars {
				if counts[name] != want {
					t.Errorf("%d of %s, want %d", counts[name], name, want)
				}
			}
			if !strings.Contains(b.String(), row.text) {
				t.Errorf("%q is missing", row.text)
			}
		})
	}
}

// TestSVGPlacesBars: what ran side by side is drawn side by side, and inner
// operations below and right of the outer one.
func TestSVGPlacesBars(t *testing.T) {
	var b bytes.Buffer
	if err := WriteSVG(&b, firstBoot()); err != nil {
		t.Fatal(err)
	}
	rowOf := regexp.MustCompile(`<text(?: class="name")? x="(\d+)" y="(\d+)">([^<]*)</text><rect class="(\w+)" x="([0-9.]+)" y="\d+" width="([0-9.]+)"`)
	type bar struct {
		x, y       int
		from, upto float64
	}
	bars := map[string]bar{}
	for _, m := range rowOf.FindAllStringSubmatch(b.String(), -1) {
		var r bar
		var width float64
		if _, err := fmt.Sscan(m[1]+" "+m[2]+" "+m[5]+" "+m[6], &r.x, &r.y, &r.from, &width); err != nil {
			t.Fatal(err)
		}
		r.upto = r.from + width
		bars[m[3]] = r
	}
	one, two := bars["GET https://example.com/one.tar.gz"], bars["GET https://example.com/two.img"]
	if two.y-one.y != rowHeight || one.from < gutter || two.from >= one.upto {
		t.Errorf("downloads %v and %v do not lie side by side", one, two)
	}
	outer, inner := bars["op(1) preparing &#34;/dev/vdb&#34;"], bars["op(2) partitioning &#34;/dev/vdb&#34;"]
	if inner.x-outer.x != indent || inner.y-outer.y != rowHeight || inner.from < outer.from || inner.upto > outer.upto {
		t.Errorf("inner %v does not lie in outer %v", inner, outer)
	}
}

func TestTicks(t *testing.T) {
	for _, row := range []struct {
		total, step time.Duration
		label       string // of the second tick
	}{
		{time.Millisecond, 100 * time.Microsecond, "0.0001s"},
		{90 * time.Millisecond, 10 * time.Millisecond, "0.01s"},
		{7 * time.Second, time.Second, "1s"},
		{20 * time.Second, 2 * time.Second, "2s"},
		{10 * time.Minute, 50 * time.Second, "50s"},
		{time.Hour, 500 * time.Second, "500s"},
	} {
		step := tickStep(row.total)
		if step != row.step || tickLabel(step, step) != row.label {
			t.Errorf("%v: step %v labelled %s, want %v and %s", row.total, step, tickLabel(step, step), row.step, row.label)
		}
	}
}

func TestSizesAndDurations(t *testing.T) {
	for _, row := range []struct{ got, want string }{
		{size(0), "-"}, {size(1), "1 B"}, {size(1023), "1023 B"}, {size(1024), "1.0 KiB"}, {size(1<<20 - 1), "1.0 MiB"},
		{size(3 << 30), "3.0 GiB"}, {size(5 << 40), "5.0 TiB"}, {size(1 << 62), "4194304.0 TiB"},
		{duration(0), "0.0ms"}, {duration(1500 * time.Microsecond), "1.5ms"}, {duration(1234 * time.Millisecond), "1.23s"},
		{duration(65 * time.Second), "1min 05.0s"}, {duration(-time.Second), "-1.00s"},
		{middle("0123456789", 9), "012...789"}, {middle("0123456789", 10), "0123456789"}, {middle("ééééééééé", 7), "éé...éé"},
	} {
		check(t, row.got, row.want)
	}
}
