// SPDX-License-Identifier: Apache-2.0

package providers

import (
	"bytes"
	"compress/gzip"
	"fmt"
	"io"
)

// LargestUserData is how much compressed user data may unpack to, in bytes.
const LargestUserData = 64 << 20

// Unpack undoes gzip, which size limits of user data make people use. Anything
// else is left alone: no config begins with gzip's magic number.
func Unpack(raw []byte) ([]byte, error) { return unpack(raw, LargestUserData) }

func unpack(raw []byte, limit int64) ([]byte, error) {
	if !bytes.HasPrefix(raw, []byte{0x1f, 0x8b, 0x08}) {
		return raw, nil
	}
	z, err := gzip.NewReader(bytes.NewReader(raw))
	if err != nil {
		return nil, fmt.Errorf("user data is not whole gzip: %w", err)
	}
	out, err := io.ReadAll(io.LimitReader(z, limit+1))
	if err != nil {
		return nil, fmt.Errorf("user data is not whole gzip: %w", err)
	}
	if int64(len(out)) > limit {
		return nil, fmt.Errorf("user data unpacks to more than %d bytes", limit)
	}
	return out, nil
}
