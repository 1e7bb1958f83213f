// SPDX-License-Identifier: Apache-2.0

package network

import (
	"bytes"
	"compress/gzip"
	"crypto/sha512"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// noise is a text that does not compress, the same for the same seed.
func noise(seed uint64, n int) []byte {
	r := rand.New(rand.NewPCG(seed, 1))
	b := make([]byte, n)
	for i := range b {
		b[i] = byte(r.Uint32())
	}
	return b
}

func sha(b []byte) string { return fmt.Sprintf("sha512-%x", sha512.Sum512(b)) }

// certificate writes certificate and key of a server for nginx and its like.
func (w *world) certificate(names ...string) (cert, key string) {
	w.t.Helper()
	c := w.ca.Issue(w.t, w.begins, names...)
	der, err := x509.MarshalPKCS8PrivateKey(c.PrivateKey)
	w.must(err)
	return w.write("server.crt", string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: c.Certificate[0]}))),
		w.write("server.key", string(pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der})))
}

// nginx serves the folder www over http and https.
func (w *world) nginx(names ...string) {
	w.t.Helper()
	cert, key := w.certificate(names...)
	w.write("www/index.html", "index")
	conf := w.write("nginx.conf", fmt.Sprintf(`worker_processes 1; daemon off; user root; pid %[1]s/nginx.pid; error_log %[1]s/nginx.error;
events { worker_connections 512; }
http { log_format f '$server_protocol $status $connection $body_bytes_sent $request_uri $http_x_key'; access_log %[1]s/nginx.log f;
 client_body_temp_path %[1]s/nginx-1; proxy_temp_path %[1]s/nginx-2; fastcgi_temp_path %[1]s/nginx-3; uwsgi_temp_path %[1]s/nginx-4; scgi_temp_path %[1]s/nginx-5;
 server { listen %[2]s:80; listen %[2]s:443 ssl http2; ssl_certificate %[3]s; ssl_certificate_key %[4]s; root %[1]s/www; sendfile on; } }
`, w.dir, serverIP, cert, key))
	w.daemon("443", nil, "nginx", "-c", conf, "-p", w.dir)
}

func (w *world) log(name string) string {
	w.t.Helper()
	raw, err := os.ReadFile(filepath.Join(w.dir, name))
	w.must(err)
	return string(raw)
}

// files is the storage section of a config that fetches these URLs to /fetched/N.
func files(entries ...string) string {
	var b strings.Builder
	for i, e := range entries {
		if i > 0 {
			b.WriteString(",\n")
		}
		fmt.Fprintf(&b, `{"path":"/fetched/%d","contents":{%s}}`, i, e)
	}
	return `"storage":{"files":[` + b.String() + `]}`
}

func source(url string, content []byte) string {
	return fmt.Sprintf(`"source":%q,"verification":{"hash":%q}`, url, sha(content))
}

// TestNginx: a config over TLS that trusts a CA of its own, and many files, on
// few connections.
func TestNginx(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.name("config.example")
	var entries []string
	const n = 200
	for i := range n {
		body := noise(uint64(i), 3000+i)
		w.write(fmt.Sprintf("www/f/%d", i), string(body))
		entries = append(entries, source(fmt.Sprintf("https://config.example/f/%d", i), body))
	}
	var zipped bytes.Buffer
	z := gzip.NewWriter(&zipped)
	_, _ = z.Write([]byte("unpacked"))
	w.must(z.Close())
	w.write("www/z.gz", zipped.String())
	entries = append(entries, `"compression":"gzip",`+source("https://config.example/z.gz", []byte("unpacked")))
	w.write("www/child.ign", `{"ignition":{"version":"3.4.0"},`+files(entries...)+`}`)
	w.nginx("config.example")
	ca := base64.StdEncoding.EncodeToString([]byte(w.ca.PEM))
	w.write("empty.pem", "")
	w.write("config.ign", "")
	r := w.provision(`{"ignition":{"version":"3.4.0","config":{"merge":[{"source":"https://config.example/child.ign","httpHeaders":[{"name":"X-Key","value":"k"}]}]},
 "security":{"tls":{"certificateAuthorities":[{"source":"data:;base64,` + ca + `"}]}}}}`)
	r.want(t)
	for i := range n {
		if w.file(fmt.Sprintf("fetched/%d", i)) != string(noise(uint64(i), 3000+i)) {
			t.Fatalf("file %d differs", i)
		}
	}
	if got := w.file(fmt.Sprintf("fetched/%d", n)); got != "unpacked" {
		t.Errorf("the compressed file is %q", got)
	}
	connections := map[string]bool{}
	for line := range strings.Lines(w.log("nginx.log")) {
		f := strings.Fields(line)
		if f[1] != "200" || f[0] != "HTTP/2.0" {
			t.Errorf("request %s", line)
		}
		connections[f[2]] = true
	}
	if len(connections) > 10 {
		t.Errorf("%d connections for %d requests", len(connections), n+2)
	}
}

// TestCertificateLater: a certificate that is not yet valid is one that a clock
// may make good, so the fetch waits for it and says so.
func TestCertificateLater(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.name("web.example")
	w.write("www/a", "a")
	const late = 15 * time.Second
	w.begins = time.Now().Add(late).Truncate(time.Second)
	w.nginx("web.example")
	r := w.provision(`{"ignition":{"version":"3.4.0"},` + files(source("https://web.example/a", []byte("a"))) + `}`)
	r.want(t)
	if time.Now().Before(w.begins) || r.wall > late+20*time.Second || strings.Count(r.log, "GET https://web.example/a: attempt #") < 3 {
		t.Errorf("after %v:\n%s", r.wall, r.log)
	}
	word := "the server's certificate is valid from " + w.begins.UTC().Format(time.RFC3339) + " on, but this machine's clock says "
	if strings.Count(r.log, word) != 1 {
		t.Errorf("no word about the clock, or too many:\n%s", r.log)
	}
}

// TestSquid: a proxy for http and https, and hosts that are asked directly.
func TestSquid(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.name("web.example", "direct.example", "proxy.example")
	w.write("www/a", "a")
	w.nginx("web.example", "direct.example")
	own := filepath.Join(w.dir, "squid") // it does not run as root
	w.must(os.Mkdir(own, 0o777))
	w.must(os.Chmod(own, 0o777))
	conf := w.write("squid.conf", fmt.Sprintf(`http_port %[2]s:3128
http_access allow all
hosts_file %[3]s
cache deny all
access_log stdio:%[1]s/log
cache_log %[1]s/cache.log
pid_filename none
shutdown_lifetime 0 seconds
coredump_dir %[1]s
logfile_rotate 0
pinger_enable off
max_filedescriptors 1024
`, own, serverIP, w.write("hosts", serverIP+" web.example direct.example\n")))
	w.daemon("3128", nil, "squid", "-N", "-n", strings.ReplaceAll(w.server, "-", ""), "-f", conf)
	w.provision(`{"ignition":{"version":"3.4.0","proxy":{"httpProxy":"http://proxy.example:3128","httpsProxy":"http://proxy.example:3128","noProxy":["direct.example"]}},` +
		files(source("http://web.example/a", []byte("a")), source("https://web.example/a", []byte("a")), source("https://direct.example/a", []byte("a"))) + `}`).want(t)
	var log string // a tunnel has its line when it is closed
	for end := time.Now().Add(10 * time.Second); !strings.Contains(log, "CONNECT") && time.Now().Before(end); time.Sleep(50 * time.Millisecond) {
		log = w.log("squid/log")
	}
	for _, want := range []string{"GET http://web.example/a", "CONNECT web.example:443"} {
		if strings.Count(log, want) != 1 {
			t.Errorf("the proxy's log has %q not once:\n%s", want, log)
		}
	}
	if strings.Contains(log, "direct.example") {
		t.Errorf("the proxy was asked for a host that is not to be proxied:\n%s", log)
	}
}

// TestLateNetwork: the cable is plugged in late, and then the resolver appears.
func TestLateNetwork(t *testing.T) {
	t.Parallel()
	for _, row := range []struct {
		name string
		late time.Duration
		url  string
		do   func(w *world)
	}{
		{"cable", 90 * time.Second, "http://" + serverIP + ":8000/a", func(w *world) { w.plug(true) }},
		{"resolver", 60 * time.Second, "http://name.example:8000/a", func(w *world) {
			w.daemon("53", nil, "dnsmasq", "--keep-in-foreground", "--no-resolv", "--no-hosts", "--listen-address="+serverIP, "--bind-interfaces",
				"--address=/name.example/"+serverIP, "--pid-file", "--user=root", "--cache-size=0")
			w.must(os.WriteFile(w.resolv, []byte("nameserver "+serverIP+"\n"), 0o644))
		}},
	} {
		t.Run(row.name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t)
			w.serve(serverIP+":8000", http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, "late") }))
			if row.name == "cable" {
				w.plug(false)
			}
			done := make(chan struct{})
			timer := time.AfterFunc(row.late, func() { defer close(done); row.do(w) })
			defer timer.Stop()
			r := w.provision(`{"ignition":{"version":"3.4.0"},` + files(source(row.url, []byte("late"))) + `}`)
			<-done
			r.want(t)
			if got := w.file("fetched/0"); got != "late" || r.wall < row.late || r.wall > row.late+30*time.Second {
				t.Errorf("got %q after %v", got, r.wall)
			}
		})
	}
}

// choppy is a way to a server that breaks every connection after some bytes of answers.
type choppy struct {
	after int
	bytes atomic.Int64
}

func (c *choppy) run(l net.Listener, dial func() (net.Conn, error)) {
	for {
		in, err := l.Accept()
		if err != nil {
			return
		}
		go func() {
			defer in.Close()
			out, err := dial()
			if err != nil {
				return
			}
			defer out.Close()
			go func() { _, _ = io.Copy(out, in) }()
			n, _ := io.CopyN(in, out, int64(c.after))
			c.bytes.Add(n)
		}()
	}
}

// TestBrokenConnections: each connection dies after 64 KiB; the download goes
// on where it was, with little fetched twice.
func TestBrokenConnections(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	body := noise(1, 1<<20)
	w.write("www/big", string(body))
	w.nginx("web.example")
	c := &choppy{after: 64 << 10}
	go c.run(w.listen(serverIP+":8000"), func() (conn net.Conn, err error) {
		err = inside(w.server, func() (err error) { conn, err = net.Dial("tcp", serverIP+":80"); return err })
		return conn, err
	})
	w.provision(`{"ignition":{"version":"3.4.0"},` + files(source("http://"+serverIP+":8000/big", body)) + `}`).want(t)
	if w.file("fetched/0") != string(body) {
		t.Error("the file differs")
	}
	if ratio := float64(c.bytes.Load()) / float64(len(body)); ratio > 1.05 {
		t.Errorf("%.3f times the bytes of the file were fetched", ratio)
	} else {
		t.Logf("%.3f times the bytes of the file were fetched", ratio)
	}
}

// TestBadServers: what servers do wrong, and what becomes of it.
func TestBadServers(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	body := noise(2, 20<<10)
	var mu sync.Mutex
	seen := map[string]int{}
	var headers []http.Header
	w.serve(serverIP+":8000", http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
		mu.Lock()
		seen[r.URL.Path]++
		n := seen[r.URL.Path]
		if r.URL.Path == "/other-host" {
			headers = append(headers, r.Header.Clone())
		}
		mu.Unlock()
		switch r.URL.Path {
		case "/storm":
			if n <= 12 {
				rw.WriteHeader(503)
				return
			}
			_, _ = rw.Write(body)
		case "/slow": // 1 KiB/s
			for i := 0; i < len(body); i += 1 << 10 {
				_, _ = rw.Write(body[i : i+1<<10])
				rw.(http.Flusher).Flush()
				time.Sleep(time.Second)
			}
		case "/short": // shorter than it says, at first
			rw.Header().Set("Content-Length", fmt.Sprint(len(body)))
			if n == 1 {
				_, _ = rw.Write(body[:1000])
				return
			}
			_, _ = rw.Write(body)
		case "/long": // longer than it says: the rest is not the file's
			c, buf, err := http.NewResponseController(rw).Hijack()
			if err != nil {
				return
			}
			defer c.Close()
			fmt.Fprintf(buf, "HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%s%s", len(body), body, body)
			_ = buf.Flush()
		case "/endless":
			for block := make([]byte, 1<<20); ; {
				if _, err := rw.Write(block); err != nil {
					return
				}
			}
		case "/loop":
			http.Redirect(rw, r, "/loop", http.StatusFound)
		case "/to-metadata":
			http.Redirect(rw, r, "http://"+linkLocal+"/latest/user-data", http.StatusFound)
		case "/to-other-host":
			http.Redirect(rw, r, "http://other.example:8000/other-host", http.StatusFound)
		case "/other-host":
			_, _ = rw.Write(body)
		default:
			http.NotFound(rw, r)
		}
	}))
	w.name("other.example")
	stolen := 0
	w.serve(linkLocal+":80", http.HandlerFunc(func(rw http.ResponseWriter, _ *http.Request) { stolen++; _, _ = io.WriteString(rw, "credentials") }))
	at := func(p string) string { return "http://" + serverIP + ":8000" + p }
	w.provision(`{"ignition":{"version":"3.4.0"},` + files(source(at("/storm"), body), source(at("/slow"), body), source(at("/short"), body), source(at("/long"), body),
		source(at("/to-other-host"), body)+`,"httpHeaders":[{"name":"X-Secret","value":"s3"},{"name":"Authorization","value":"Bearer s3"}]`) + `}`).want(t)
	for i := range 5 {
		if w.file(fmt.Sprintf("fetched/%d", i)) != string(body) {
			t.Errorf("file %d differs", i)
		}
	}
	if len(headers) != 1 || headers[0].Get("X-Secret") != "" || headers[0].Get("Authorization") != "" || headers[0].Get("User-Agent") != "Ignition/2.28.0" {
		t.Errorf("headers at the other host: %v", headers)
	}
	for path, text := range map[string]string{
		"/loop":        "stopped after 10 redirects",
		"/to-metadata": "redirected to a link-local address",
		"/missing":     "resource not found",
	} {
		r := w.provision(`{"ignition":{"version":"3.4.0"},"storage":{"files":[{"path":"/x","contents":{"source":"` + at(path) + `"}}]}}`)
		r.wantFailure(t, text)
		if _, err := os.Stat(filepath.Join(w.dir, "sysroot/x")); err == nil {
			t.Errorf("%s: a file was left", path)
		}
	}
	if stolen != 0 {
		t.Error("the metadata service was asked")
	}
	// A config without an end.
	r := w.provision(`{"ignition":{"version":"3.4.0","config":{"merge":[{"source":"` + at("/endless") + `"}]}}}`)
	r.wantFailure(t, "the resource is larger than 268435456 bytes")
	if r.rss > 700<<20 {
		t.Errorf("%d MiB of memory", r.rss>>20)
	}
	t.Logf("a config without an end: %d MiB of memory", r.rss>>20)
}

// TestBomb: a gibibyte of zeros in a mebibyte is a file like any other, and
// takes no more memory.
func TestBomb(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	var packed bytes.Buffer
	z, err := gzip.NewWriterLevel(&packed, gzip.BestSpeed)
	w.must(err)
	hash := sha512.New()
	block := make([]byte, 1<<20)
	for range 1 << 10 {
		_, _ = z.Write(block)
		hash.Write(block)
	}
	w.must(z.Close())
	w.serve(serverIP+":8000", http.HandlerFunc(func(rw http.ResponseWriter, _ *http.Request) { _, _ = rw.Write(packed.Bytes()) }))
	r := w.provision(`{"ignition":{"version":"3.4.0"},` + files(fmt.Sprintf(`"source":"http://%s:8000/bomb","compression":"gzip","verification":{"hash":"sha512-%x"}`, serverIP, hash.Sum(nil))) + `}`)
	r.want(t)
	info, err := os.Stat(filepath.Join(w.dir, "sysroot/fetched/0"))
	if err != nil || info.Size() != 1<<30 {
		t.Errorf("size %d, %v", info.Size(), err)
	}
	if r.rss > 48<<20 {
		t.Errorf("%d MiB of memory, want at most 48", r.rss>>20)
	}
	t.Logf("%d bytes unpacked to a GiB with %d MiB of memory", packed.Len(), r.rss>>20)
}

// TestUserData: 16 MiB of user data, plain and as gzip, from a metadata service.
func TestUserData(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	text := base64.StdEncoding.EncodeToString(noise(3, 12<<20))
	raw, err := json.Marshal(map[string]any{"ignition": map[string]string{"version": "3.4.0"},
		"storage": map[string]any{"files": []any{map[string]any{"path": "/big", "contents": map[string]string{"source": "data:," + strings.TrimRight(text, "=")}}}}})
	w.must(err)
	var packed bytes.Buffer
	z := gzip.NewWriter(&packed)
	_, _ = z.Write(raw)
	w.must(z.Close())
	var zipped atomic.Bool
	w.serve(linkLocal+":80", http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
		switch r.URL.Path {
		case "/latest/api/token":
			_, _ = io.WriteString(rw, "token")
		case "/2019-10-01/user-data":
			if zipped.Load() {
				_, _ = rw.Write(packed.Bytes())
				return
			}
			_, _ = rw.Write(raw)
		}
	}))
	w.write("cmdline", "")
	for _, zip := range []bool{false, true} {
		zipped.Store(zip)
		w.must(os.RemoveAll(filepath.Join(w.dir, "run")))
		w.must(os.RemoveAll(filepath.Join(w.dir, "sysroot")))
		w.stage("aws", "fetch").want(t)
		w.stage("aws", "files").want(t)
		if got := w.file("big"); got != strings.TrimRight(text, "=") {
			t.Errorf("gzip %t: the file has %d bytes, want %d", zip, len(got), len(text))
		}
	}
}

// TestNothingLeaves: without need no packet is sent, be there a cable or not.
func TestNothingLeaves(t *testing.T) {
	t.Parallel()
	for _, cable := range []bool{true, false} {
		w := newWorld(t)
		w.plug(cable)
		time.Sleep(2 * time.Second) // the kernel's own packets, of IPv6
		local := `{"ignition":{"version":"3.4.0"},"storage":{"files":[{"path":"/a","contents":{"source":"data:,a"}}]}}`
		w.write("config.ign", local)
		w.write("cmdline", "")
		for _, row := range []struct {
			platform, cmdline string
			cache, neednet    bool
		}{
			{"aws", "", false, true}, {"openstack", "", false, true}, {"packet", "", false, true}, {"scaleway", "", false, true},
			{"aws", "ignition.config.url=data:,%7B%22ignition%22:%7B%22version%22:%223.4.0%22%7D%7D", true, false},
			{"file", "", true, false},
		} {
			w.must(os.RemoveAll(filepath.Join(w.dir, "run")))
			w.write("cmdline", row.cmdline)
			before := w.packets()
			w.stage(row.platform, "fetch-offline").want(t)
			if row.platform == "file" {
				w.stage("file", "files").want(t)
			}
			if n := w.packets() - before; n > quiet(cable) {
				t.Errorf("%s %q: %d packets were sent", row.platform, row.cmdline, n)
			}
			for name, want := range map[string]bool{"ignition.json": row.cache, "neednet": row.neednet} {
				if _, err := os.Stat(filepath.Join(w.dir, "run", name)); (err == nil) != want {
					t.Errorf("%s %q: file %s: %v, want it: %t", row.platform, row.cmdline, name, err, want)
				}
			}
		}
	}
}

// quiet is how many packets a kernel may send by itself in a moment: with a
// cable, a router solicitation.
func quiet(cable bool) int64 {
	if cable {
		return 1
	}
	return 0
}
