// SPDX-License-Identifier: Apache-2.0

package resource

import (
	"bytes"
	"crypto/x509"
	"encoding/pem"
	"errors"
)

// addCerts adds every certificate of a bundle. Text between and after the
// blocks is skipped.
func addCerts(log Log, pool *x509.CertPool, raw []byte) error {
	if len(bytes.TrimSpace(raw)) == 0 {
		log.Warning("a CA bundle is empty")
		return nil
	}
	n := 0
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
	if n == 0 {
		return errors.New("unable to decode PEM block")
	}
	return nil
}
