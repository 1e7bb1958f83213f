// SPDX-License-Identifier: Apache-2.0

package network

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"context"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"
)

// trust is the part of a config that trusts the test's CA.
func (w *world) trust() string {
	return `"security":{"tls":{"certificateAuthorities":[{"source":"data:;base64,` + base64.StdEncoding.EncodeToString([]byte(w.ca.PEM)) + `"}]}}`
}

// provisionAs runs a config to the end on a platform, in a tree of its own,
// without any CA but those of the config. The config comes from the kernel
// command line, so that the metadata service is asked for nothing but identity.
func (w *world) provisionAs(platform, config string) result {
	w.t.Helper()
	for _, dir := range []string{"run", "sysroot"} {
		w.must(os.RemoveAll(filepath.Join(w.dir, dir)))
	}
	w.write("cmdline", "ignition.config.url=data:;base64,"+base64.StdEncoding.EncodeToString([]byte(config)))
	env := "SSL_CERT_FILE=" + w.write("empty.pem", "")
	first := w.stage(platform, "fetch", env)
	if first.code != 0 {
		return first
	}
	second := w.stage(platform, "files", env)
	second.log = first.log + second.log
	return second
}

// config has files from these URLs and trusts the test's CA.
func (w *world) config(entries ...string) string {
	return `{"ignition":{"version":"3.4.0","timeouts":{"httpTotal":30},` + w.trust() + `},` + files(entries...) + `}`
}

// metadata is a metadata service at the link-local address.
type metadata struct {
	mu      sync.Mutex
	answers map[string]string // by path
	asked   map[string]int
}

func (w *world) metadata(answers map[string]string) *metadata {
	m := &metadata{answers: answers, asked: map[string]int{}}
	w.serve(linkLocal+":80", m)
	return m
}

func (m *metadata) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.asked[r.URL.Path]++
	body, ok := m.answers[r.URL.Path]
	if !ok {
		http.NotFound(w, r)
		return
	}
	_, _ = io.WriteString(w, body)
}

func (m *metadata) set(path, answer string) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.answers[path] = answer
}

// client is an HTTP client at the server that finds every host there.
func (w *world) client() *http.Client {
	w.t.Helper()
	pool := x509.NewCertPool()
	pool.AppendCertsFromPEM([]byte(w.ca.PEM))
	t := &http.Transport{TLSClientConfig: &tls.Config{RootCAs: pool}, DialContext: func(context.Context, string, string) (c net.Conn, err error) {
		err = inside(w.server, func() (err error) { c, err = net.Dial("tcp", serverIP+":443"); return err })
		return c, err
	}}
	w.t.Cleanup(t.CloseIdleConnections)
	return &http.Client{Transport: t, Timeout: time.Minute}
}

const (
	region      = "eu-west-1"
	gateway     = "s3.dualstack." + region + ".amazonaws.com"
	accessKey   = "AKIDNETWORK"
	secretKey   = "hunter2secret"
	document    = "/latest/dynamic/instance-identity/document"
	roles       = "/latest/meta-data/iam/security-credentials/"
	publicRule  = `{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Principal":"*","Action":"s3:GetObject","Resource":"arn:aws:s3:::public/*"}]}`
	versioned   = `<VersioningConfiguration xmlns="http://s3.amazonaws.com/doc/2006-03-01/"><Status>Enabled</Status></VersioningConfiguration>`
	oldContent  = "old"
	newContent  = "new"
	oddName     = "a%20b%2Bc/%28d%29%C3%A9"
	credentials = `{"Code":"Success","AccessKeyId":"` + accessKey + `","SecretAccessKey":"%s","Expiration":"2099-01-01T00:00:00Z"}`
)

// s3 is a client that signs as the owner. It gives the answer's header.
func (w *world) s3(method, path, body string) string {
	w.t.Helper()
	args := []string{"netns", "exec", w.server, "curl", "--silent", "--show-error", "--fail-with-body", "--dump-header", "-", "--cacert", w.write("ca.pem", w.ca.PEM),
		"--resolve", gateway + ":443:" + serverIP, "--aws-sigv4", "aws:amz:" + region + ":s3", "--user", accessKey + ":" + secretKey,
		"--header", fmt.Sprintf("x-amz-content-sha256: %x", sha256.Sum256([]byte(body))), "--request", method,
		"--data-binary", "@" + w.write("body", body), "--header", "Content-Type: application/octet-stream", "https://" + gateway + path}
	out, err := exec.Command("ip", args...).CombinedOutput()
	if err != nil {
		w.t.Fatalf("%s %s: %v\n%s", method, path, err, out)
	}
	return string(out)
}

// versitygw starts the gateway and fills it. It gives the id of an object's first version.
func (w *world) versitygw(big []byte) (version string) {
	w.t.Helper()
	hosts := []string{gateway, "private." + gateway, "public." + gateway, "none." + gateway}
	w.name(hosts...)
	cert, key := w.certificate(hosts...)
	for _, dir := range []string{"s3", "sidecar", "versions"} {
		w.must(os.Mkdir(filepath.Join(w.dir, dir), 0o755))
	}
	w.daemon("443", []string{"ROOT_ACCESS_KEY=" + accessKey, "ROOT_SECRET_KEY=" + secretKey}, w.built("versitygw"),
		"--port", serverIP+":443", "--cert", cert, "--key", key, "--region", region, "--virtual-domain", gateway,
		"posix", "--sidecar", filepath.Join(w.dir, "sidecar"), "--versioning-dir", filepath.Join(w.dir, "versions"), filepath.Join(w.dir, "s3"))
	for _, bucket := range []string{"/private", "/dotted.private", "/public"} {
		w.s3("PUT", bucket, "")
	}
	w.s3("PUT", "/public?policy=", publicRule)
	w.s3("PUT", "/public/big", string(big))
	w.s3("PUT", "/private/big", string(big))
	w.s3("PUT", "/private/"+oddName, newContent)
	w.s3("PUT", "/dotted.private/x", newContent)
	w.s3("PUT", "/private?versioning=", versioned)
	header := w.s3("PUT", "/private/v", oldContent)
	w.s3("PUT", "/private/v", newContent)
	_, rest, _ := strings.Cut(strings.ToLower(header), "x-amz-version-id:")
	version, _, _ = strings.Cut(rest, "\r")
	if version = strings.TrimSpace(version); version == "" {
		w.t.Fatalf("the gateway gave no version:\n%s", header)
	}
	return strings.ToUpper(version)
}

// TestS3: objects by their names, by ARN and by version, with the identity of the
// instance and without one.
func TestS3(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	big := noise(4, 12<<20)
	version := w.versitygw(big)
	m := w.metadata(map[string]string{"/latest/api/token": "token", document: `{"region":"` + region + `"}`, roles: "web", roles + "web": fmt.Sprintf(credentials, secretKey)})
	r := w.provisionAs("aws", w.config(source("s3://private/big", big), source("s3://private/"+oddName, []byte(newContent)),
		source("arn:aws:s3:::private/big", big), source("s3://dotted.private/x", []byte(newContent)),
		source("s3://private/v?versionId="+version, []byte(oldContent)), source("s3://private/v", []byte(newContent))))
	r.want(t)
	if w.file("fetched/0") != string(big) || w.file("fetched/2") != string(big) || w.file("fetched/4") != oldContent || w.file("fetched/5") != newContent {
		t.Error("a file differs")
	}
	if m.asked[roles+"web"] != 1 || strings.Contains(r.log, secretKey) || strings.Contains(r.log, "Signature") {
		t.Errorf("the role was asked for %d times; log:\n%s", m.asked[roles+"web"], r.log)
	}
	for url, text := range map[string]string{
		"s3://private/none":               `error fetching object "none" from bucket "private": resource not found (404 NoSuchKey)`,
		"s3://none/x":                     `could not find bucket "none": resource not found`,
		"s3://private/big?versionId=none": "error fetching object \"big\" from bucket \"private\": ",
		"s3://private/big#part":           "", // a fragment is no part of the name
	} {
		r := w.provisionAs("aws", w.config(fmt.Sprintf(`"source":%q`, url)))
		if text == "" {
			r.want(t)
		} else {
			r.wantFailure(t, text)
		}
	}
	m.set(roles+"web", fmt.Sprintf(credentials, "wrong"))
	w.provisionAs("aws", w.config(`"source":"s3://private/big"`)).wantFailure(t, "failed to fetch resource (403 SignatureDoesNotMatch)")
	m.mu.Lock()
	delete(m.answers, roles)
	m.mu.Unlock()
	w.provisionAs("aws", w.config(source("s3://public/big", big))).want(t)
	w.provisionAs("aws", w.config(`"source":"s3://private/big"`)).wantFailure(t, `from bucket "private" anonymously: failed to fetch resource (403 AccessDenied) (authenticated fetch also failed: no EC2 IMDS role: `)
}

// TestGoogleStorage: objects with a token of the instance, and without.
func TestGoogleStorage(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.name("storage.googleapis.com")
	cert, key := w.certificate("storage.googleapis.com")
	big := noise(5, 12<<20)
	w.write("gcs/bucket/dir/big", string(big))
	w.write("gcs/bucket/a b+c", "odd")
	w.daemon("443", nil, w.built("fake-gcs-server"), "-scheme", "https", "-host", serverIP, "-port", "443", "-cert-location", cert, "-private-key-location", key,
		"-backend", "memory", "-data", filepath.Join(w.dir, "gcs"))
	const account = "/computeMetadata/v1/instance/service-accounts/default/token"
	m := w.metadata(map[string]string{account: `{"access_token":"hunter2","expires_in":3600}`})
	for _, platform := range []string{"gcp", "qemu"} {
		r := w.provisionAs(platform, w.config(source("gs://bucket/dir/big", big), source("gs://bucket/a%20b+c", []byte("odd"))))
		r.want(t)
		if w.file("fetched/0") != string(big) || w.file("fetched/1") != "odd" || m.asked[account] != 1 || strings.Contains(r.log, "hunter2") {
			t.Errorf("%s: the token was asked for %d times; log:\n%s", platform, m.asked[account], r.log)
		}
	}
	w.provisionAs("gcp", w.config(`"source":"gs://bucket/none"`)).wantFailure(t, "resource not found")
	m.set(account, "garbage")
	w.provisionAs("gcp", w.config(`"source":"gs://bucket/dir/big"`)).wantFailure(t, "fetching GCS auth token: the metadata service's answer is no token")
}

// push sends something to the registry.
func (w *world) push(c *http.Client, method, path, mediaType, body string) {
	w.t.Helper()
	req, err := http.NewRequest(method, "https://registry.example"+path, strings.NewReader(body))
	w.must(err)
	req.Header.Set("Content-Type", mediaType)
	resp, err := c.Do(req)
	w.must(err)
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusCreated {
		said, _ := io.ReadAll(resp.Body)
		w.t.Fatalf("%s %s: %s\n%s", method, path, resp.Status, said)
	}
}

// TestRegistry: files of artefacts and of images.
func TestRegistry(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.name("registry.example")
	cert, key := w.certificate("registry.example")
	w.daemon("443", nil, w.built("registry"), "-addr", serverIP+":443", "-cert", cert, "-key", key)
	big := noise(6, 4<<20)
	var archive bytes.Buffer
	z := gzip.NewWriter(&archive)
	tw := tar.NewWriter(z)
	w.must(tw.WriteHeader(&tar.Header{Name: "usr/share/big", Mode: 0o644, Size: int64(len(big)), Typeflag: tar.TypeReg}))
	_, err := tw.Write(big)
	w.must(err)
	w.must(tw.Close())
	w.must(z.Close())
	c := w.client()
	put := func(mediaType, body string) map[string]any {
		digest := fmt.Sprintf("sha256:%x", sha256.Sum256([]byte(body)))
		w.push(c, "POST", "/v2/team/art/blobs/uploads/?digest="+digest, "application/octet-stream", body)
		return map[string]any{"mediaType": mediaType, "digest": digest, "size": len(body)}
	}
	const ociManifest = "application/vnd.oci.image.manifest.v1+json"
	tag := func(name string, layers ...any) string {
		raw, err := json.Marshal(map[string]any{"schemaVersion": 2, "mediaType": ociManifest, "layers": layers,
			"config": put("application/vnd.oci.image.config.v1+json", "{}")})
		w.must(err)
		w.push(c, "PUT", "/v2/team/art/manifests/"+name, ociManifest, string(raw))
		return fmt.Sprintf("sha256:%x", sha256.Sum256(raw))
	}
	digest := tag("v1", put("text/plain", "one file"))
	tag("image", put("application/vnd.oci.image.layer.v1.tar+gzip", archive.String()))
	const at = "oci://registry.example/team/art"
	w.provisionAs("qemu", w.config(source(at+":v1", []byte("one file")), source(at+"@"+digest, []byte("one file")), source(at+":v1@"+digest, []byte("one file")),
		source(at+":image#/usr/share/big", big))).want(t)
	if w.file("fetched/0") != "one file" || w.file("fetched/3") != string(big) {
		t.Error("a file differs")
	}
	wrong := "sha256:" + strings.Repeat("0", 64)
	for url, text := range map[string]string{at + ":none": "resource not found (404", at + "@" + wrong: "resource not found (404", at + ":image#none": `has no file "none"`} {
		w.provisionAs("qemu", w.config(fmt.Sprintf(`"source":%q`, url))).wantFailure(t, text)
		if _, err := os.Stat(filepath.Join(w.dir, "sysroot/fetched/0")); err == nil {
			t.Errorf("%s: a file was left", url)
		}
	}
}

// tftpd starts tftpd-hpa at a port and waits until it listens.
func (w *world) tftpd(port string, args ...string) {
	w.t.Helper()
	w.daemon("", nil, append([]string{"in.tftpd", "--listen", "--foreground", "--user", "root", "--address", serverIP + ":" + port, "--secure"}, append(args, filepath.Join(w.dir, "tftp"))...)...)
	for end := time.Now().Add(10 * time.Second); ; time.Sleep(50 * time.Millisecond) {
		out, err := exec.Command("ip", "netns", "exec", w.server, "ss", "-Huln").Output()
		w.must(err)
		if strings.Contains(string(out), serverIP+":"+port+" ") {
			return
		}
		if time.Now().After(end) {
			w.t.Fatalf("tftpd does not listen at port %s:\n%s", port, out)
		}
	}
}

// TestTFTPD: with and without options, more blocks than block numbers, a name
// that is unknown, and a server that comes late.
func TestTFTPD(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.name("boot.example")
	big := noise(7, 65600*512)
	w.write("tftp/big", string(big))
	w.write("tftp/dir/a b", "odd")
	w.write("tftp/empty", "")
	var packed bytes.Buffer
	z := gzip.NewWriter(&packed)
	_, _ = z.Write([]byte("unpacked"))
	w.must(z.Close())
	w.write("tftp/z.gz", packed.String())
	w.tftpd("69")
	w.tftpd("1069", "--refuse", "blksize", "--refuse", "tsize")
	r := w.provisionAs("qemu", w.config(source("tftp://boot.example/big", big), source("tftp://boot.example/dir/a%20b", []byte("odd")), source("tftp://"+serverIP+"/empty", nil),
		`"compression":"gzip",`+source("tftp://boot.example/z.gz", []byte("unpacked")), source("tftp://boot.example:1069/big", big)))
	r.want(t)
	if w.file("fetched/0") != string(big) || w.file("fetched/4") != string(big) || w.file("fetched/1") != "odd" || w.file("fetched/3") != "unpacked" {
		t.Error("a file differs")
	}
	if n := strings.Count(r.log, "attempt #"); n != 5 {
		t.Errorf("%d attempts for 5 files:\n%s", n, r.log)
	}
	w.provisionAs("qemu", w.config(`"source":"tftp://boot.example/none"`)).wantFailure(t, "GET error: code: 1, message: File not found")
	done := make(chan struct{})
	timer := time.AfterFunc(7*time.Second, func() { defer close(done); w.tftpd("2069") })
	defer timer.Stop()
	w.provisionAs("qemu", w.config(source("tftp://boot.example:2069/dir/a%20b", []byte("odd")))).want(t)
	<-done
}
