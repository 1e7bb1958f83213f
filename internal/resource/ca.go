// SPDX-License-Identifier: Apache-2.0

package resource

import (
	"bytes"
	"context"
	"crypto/sha256"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"

	"firstboot.dev/ignition/internal/config"
)

var errPEM = errors.New("unable to decode PEM block")

// bundle is one fetched CA entry. Its lock is a channel, so that who waits for
// it can be cancelled.
type bundle struct {
	lock chan struct{}
	done bool
	raw  []byte
}

// caPool is a fresh copy of the system's pool with the certificates of all entries, and a digest of those.
func (f *Fetcher) caPool(ctx context.Context, log Log, cas []config.Resource) (*x509.CertPool, string, error) {
	pool, err := x509.SystemCertPool()
	if err != nil {
		pool = x509.NewCertPool()
	}
	digest := sha256.New()
	for _, ca := range cas {
		shown := "no source"
		if ca.Source != nil {
			shown = config.RedactURL(*ca.Source)
		}
		raw, err := f.CABytes(ctx, log, ca)
		if err != nil {
			if !errors.Is(err, ErrNeedNet) {
				log.Err("Unable to fetch CA (%s): %v", shown, err)
			}
			return nil, "", err
		}
		if err := addCerts(log, pool, raw); err != nil {
			log.Err("Unable to parse CA bundle: %v", err)
			return nil, "", fmt.Errorf("CA %s: %w", shown, err)
		}
		fmt.Fprintf(digest, "%d ", len(raw))
		digest.Write(raw)
	}
	return pool, string(digest.Sum(nil)), nil
}

// CABytes gives the decompressed bytes of a CA entry that Using has fetched (or fetches them).
func (f *Fetcher) CABytes(ctx context.Context, log Log, ca config.Resource) ([]byte, error) {
	if ca.Source == nil || *ca.Source == "" {
		return nil, errors.New("source is required")
	}
	req, err := RequestFor(ca)
	if err != nil {
		return nil, err
	}
	b := f.shared.bundleOf(fmt.Sprintf("%q %q %q %q", req.URL, req.Compression, req.Hash, req.Headers))
	select {
	case b.lock <- struct{}{}:
		defer func() { <-b.lock }()
	case <-ctx.Done():
		return nil, ctx.Err()
	}
	if b.done {
		return b.raw, nil
	}
	raw, _, err := f.Bytes(ctx, log, req)
	if err != nil {
		return nil, err
	}
	b.raw, b.done = raw, true
	return raw, nil
}

func (sh *shared) bundleOf(key string) *bundle {
	sh.mu.Lock()
	defer sh.mu.Unlock()
	b := sh.cas[key]
	if b == nil {
		b = &bundle{lock: make(chan struct{}, 1)}
		sh.cas[key] = b
	}
	return b
}

// addCerts adds every certificate of a bundle. Text between and after the
// blocks is skipped, but a block that is damaged is not.
func addCerts(log Log, pool *x509.CertPool, raw []byte) error {
	switch {
	case len(raw) == 0:
		return nil
	case len(bytes.TrimSpace(raw)) == 0:
		log.Warning("a CA bundle holds no certificate")
		return nil
	}
	begun, n := bytes.Count(append([]byte("\n"), raw...), []byte("\n-----BEGIN ")), 0
	for {
		var block *pem.Block
		block, raw = pem.Decode(raw)
		if block == nil {
			break
		}
		cert, err := x509.ParseCertificate(block.Bytes)
		if err != nil {
			return err
		}
		log.Info("Adding %q to list of CAs", cert.Subject.CommonName)
		pool.AddCert(cert)
		n++
	}
	if n == 0 || n < begun {
		return errPEM
	}
	return nil
}
