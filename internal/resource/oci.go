// SPDX-License-Identifier: Apache-2.0

package resource

import (
	"context"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"runtime"
	"strings"

	"firstboot.dev/ignition/internal/config"
)

const (
	largestManifest  = 4 << 20
	titleAnnotation  = "org.opencontainers.image.title"
	unpackAnnotation = "io.deis.oras.content.unpack" // "true" = the title is a folder's

	ociIndex       = "application/vnd.oci.image.index.v1+json"
	ociManifest    = "application/vnd.oci.image.manifest.v1+json"
	dockerIndex    = "application/vnd.docker.distribution.manifest.list.v2+json"
	dockerManifest = "application/vnd.docker.distribution.manifest.v2+json"
)

// ociRef is oci://[user:password@]registry/repository[:tag][@digest][#path].
type ociRef struct {
	registry, repository string
	reference            string // tag or digest
	digest               string // sha256:..., "" = not given
	path                 string // of one file, "" = the artefact is the file
	user                 *url.Userinfo
}

func parseOCI(raw string) (ociRef, error) {
	u, err := url.Parse(raw)
	if err != nil {
		return ociRef{}, errURL
	}
	r := ociRef{registry: u.Host, user: u.User, path: strings.Trim(u.Fragment, "/"), reference: "latest"}
	name := strings.TrimPrefix(u.Path, "/")
	name, digest, hasDigest := strings.Cut(name, "@")
	if i := strings.LastIndexByte(name, ':'); i > strings.LastIndexByte(name, '/') {
		name, r.reference = name[:i], name[i+1:]
	}
	if hasDigest {
		if !isSHA256(digest) {
			return ociRef{}, fmt.Errorf("%w: a digest is sha256: and 64 hexadecimal digits", ErrFailed)
		}
		r.digest, r.reference = digest, digest
	}
	r.repository = name
	if r.registry == "" || name == "" || r.reference == "" || u.RawQuery != "" {
		return ociRef{}, fmt.Errorf("%w: an OCI URL is oci://REGISTRY/REPOSITORY[:TAG][@DIGEST][#PATH]", ErrFailed)
	}
	return r, nil
}

func isSHA256(digest string) bool {
	hex, ok := strings.CutPrefix(digest, "sha256:")
	return ok && len(hex) == 64 && strings.Trim(hex, "0123456789abcdef") == ""
}

// descriptor names a blob or a manifest.
type descriptor struct {
	MediaType   string            `json:"mediaType"`
	Digest      string            `json:"digest"`
	Annotations map[string]string `json:"annotations"`
	Platform    *struct {
		Architecture string `json:"architecture"`
		OS           string `json:"os"`
	} `json:"platform"`
}

// manifest is one, or an index of several.
type manifest struct {
	MediaType string       `json:"mediaType"`
	Manifests []descriptor `json:"manifests"`
	Layers    []descriptor `json:"layers"`
}

// ociFetch is one artefact being fetched.
type ociFetch struct {
	*Fetcher
	ref   ociRef
	log   Log
	shown string
	auth  string // header, "" before the registry has asked for it
}

// fetchOCI gets a file out of a registry: the only layer of an artefact, a layer
// by its title, or a file in the layers of an image.
func fetchOCI(ctx context.Context, f *Fetcher, log Log, r Request, out *pipeline) error {
	ref, err := parseOCI(r.URL)
	if err != nil {
		return err
	}
	o := &ociFetch{Fetcher: f, ref: ref, log: log, shown: config.RedactURL(r.URL)}
	m, err := o.manifest(ctx, ref.reference, ref.digest)
	if err != nil {
		return err
	}
	if len(m.Manifests) > 0 {
		d, err := forMachine(m.Manifests)
		if err != nil {
			return err
		}
		if m, err = o.manifest(ctx, d.Digest, d.Digest); err != nil {
			return err
		}
	}
	if len(m.Layers) == 0 {
		return fmt.Errorf("%w: %s has no layers", ErrFailed, o.shown)
	}
	if ref.path == "" {
		if len(m.Layers) > 1 {
			return fmt.Errorf("%w: %s has %d layers; name a file in it with #PATH", ErrFailed, o.shown, len(m.Layers))
		}
		return o.blob(ctx, m.Layers[0], wholeBlob{out})
	}
	for _, l := range m.Layers {
		if strings.Trim(l.Annotations[titleAnnotation], "/") == ref.path {
			return o.blob(ctx, l, wholeBlob{out})
		}
	}
	return o.fromLayers(ctx, m.Layers, out)
}

// forMachine chooses of an index what is for a machine like this one.
func forMachine(list []descriptor) (descriptor, error) {
	var have []string
	for _, d := range list {
		if d.Platform == nil {
			if len(list) == 1 {
				return d, nil
			}
			continue
		}
		if d.Platform.OS == "linux" && d.Platform.Architecture == runtime.GOARCH {
			return d, nil
		}
		have = append(have, d.Platform.OS+"/"+d.Platform.Architecture)
	}
	return descriptor{}, fmt.Errorf("%w: the image is not for linux/%s but for %s", ErrFailed, runtime.GOARCH, strings.Join(have, ", "))
}

// manifest gets a manifest and, where its digest is known, verifies it.
func (o *ociFetch) manifest(ctx context.Context, reference, digest string) (manifest, error) {
	raw, err := o.small(ctx, o.at("manifests", reference), http.Header{"Accept": {strings.Join([]string{ociIndex, ociManifest, dockerIndex, dockerManifest}, ", ")}})
	if err != nil {
		return manifest{}, err
	}
	if got := fmt.Sprintf("sha256:%x", sha256.Sum256(raw)); digest != "" && got != digest {
		return manifest{}, fmt.Errorf("%w (the registry's manifest is %s but %s was asked for)", ErrVerify, got, digest)
	}
	var m manifest
	if err := json.Unmarshal(raw, &m); err != nil {
		return manifest{}, fmt.Errorf("%w: the registry's manifest is not JSON", ErrFailed)
	}
	for _, d := range append(m.Manifests, m.Layers...) {
		if !isSHA256(d.Digest) {
			return manifest{}, fmt.Errorf("%w: the manifest has digest %.100q, which is not SHA-256", ErrFailed, d.Digest)
		}
	}
	return m, nil
}

func (o *ociFetch) at(kind, reference string) string {
	u := url.URL{Scheme: "https", Host: o.ref.registry, Path: "/v2/" + o.ref.repository + "/" + kind + "/" + reference}
	return u.String()
}

// small gets something into memory.
func (o *ociFetch) small(ctx context.Context, at string, header http.Header) ([]byte, error) {
	m := &memory{limit: largestManifest}
	err := o.ask(ctx, at, header, func() (*pipeline, error) {
		_ = m.Reset()
		return newPipeline(Request{}, m)
	})
	return m.Bytes(), err
}

// ask sends a request to the registry, and again with credentials when it wants some.
func (o *ociFetch) ask(ctx context.Context, at string, header http.Header, pipe func() (*pipeline, error)) error {
	for first := true; ; first = false {
		out, err := pipe()
		if err != nil {
			return err
		}
		own := http.Header{}
		for k, v := range header {
			own[k] = v
		}
		if o.auth != "" {
			own.Set("Authorization", o.auth)
		}
		h, err := newHTTPFetch(o.Fetcher, o.log, Request{URL: at, Headers: own}, out)
		if err != nil {
			return err
		}
		h.keepBody = true
		err = h.run(ctx)
		if err == nil {
			_, err = out.finish(o.log)
			return err
		}
		out.abort()
		var status *StatusError
		if !errors.As(err, &status) || errors.Is(err, ErrTimeout) {
			return err
		}
		if status.Code != http.StatusUnauthorized || !first {
			return registryError(status)
		}
		if err := o.authenticate(ctx, status.header.Get("WWW-Authenticate")); err != nil {
			return err
		}
	}
}

// registryError adds what the registry says.
func registryError(status *StatusError) error {
	var said struct {
		Errors []struct {
			Code    string `json:"code"`
			Message string `json:"message"`
		} `json:"errors"`
	}
	if json.Unmarshal(status.body, &said) != nil || len(said.Errors) == 0 {
		return fmt.Errorf("%w (%d)", status, status.Code)
	}
	e := said.Errors[0]
	return fmt.Errorf("%w (%d %.100q: %.200q)", status, status.Code, e.Code, e.Message)
}

// authenticate gets what the registry's challenge asks for.
func (o *ociFetch) authenticate(ctx context.Context, challenge string) error {
	scheme, rest, _ := strings.Cut(challenge, " ")
	basic := ""
	if o.ref.user != nil {
		password, _ := o.ref.user.Password()
		basic = "Basic " + base64.StdEncoding.EncodeToString([]byte(o.ref.user.Username()+":"+password))
	}
	if strings.EqualFold(scheme, "basic") && basic != "" {
		o.auth = basic
		return nil
	}
	p := parameters(rest)
	realm, err := url.Parse(p["realm"])
	if !strings.EqualFold(scheme, "bearer") || err != nil || realm.Scheme != "https" || realm.Host == "" {
		return fmt.Errorf("%w: the registry wants a login", ErrFailed)
	}
	q := realm.Query()
	if p["service"] != "" {
		q.Set("service", p["service"])
	}
	if p["scope"] == "" {
		p["scope"] = "repository:" + o.ref.repository + ":pull"
	}
	q.Set("scope", p["scope"])
	realm.RawQuery = q.Encode()
	r := Request{URL: realm.String(), Limit: largestManifest}
	if basic != "" {
		r.Headers = http.Header{"Authorization": {basic}}
	}
	raw, _, err := o.Bytes(ctx, o.log, r)
	if err != nil {
		return fmt.Errorf("asking for the registry's token: %w", err)
	}
	var t struct {
		Token       string `json:"token"`
		AccessToken string `json:"access_token"`
	}
	if err := json.Unmarshal(raw, &t); err != nil || t.Token == "" && t.AccessToken == "" {
		return fmt.Errorf("%w: the registry's token service gave no token", ErrFailed)
	}
	if t.Token == "" {
		t.Token = t.AccessToken
	}
	o.auth = "Bearer " + t.Token
	return nil
}

// parameters reads key="value",key="value".
func parameters(s string) map[string]string {
	out := map[string]string{}
	for s != "" {
		key, rest, ok := strings.Cut(strings.TrimLeft(s, ", "), "=")
		if !ok {
			break
		}
		var value string
		if quoted, ok := strings.CutPrefix(rest, `"`); ok {
			value, s, _ = strings.Cut(quoted, `"`)
		} else {
			value, s, _ = strings.Cut(rest, ",")
		}
		out[strings.ToLower(key)] = value
	}
	return out
}

// blob gets a blob to a sink and verifies its digest.
func (o *ociFetch) blob(ctx context.Context, d descriptor, to Sink) error {
	err := o.ask(ctx, o.at("blobs", d.Digest), nil, func() (*pipeline, error) {
		if err := to.Reset(); err != nil {
			return nil, err
		}
		return newPipeline(Request{Hash: "sha256-" + strings.TrimPrefix(d.Digest, "sha256:")}, to)
	})
	if err != nil {
		return fmt.Errorf("blob %s: %w", d.Digest, err)
	}
	return nil
}

// wholeBlob is a sink for a blob that is the resource.
type wholeBlob struct{ *pipeline }

func (w wholeBlob) Reset() error {
	if w.raw == 0 {
		return nil
	}
	return w.restart()
}
