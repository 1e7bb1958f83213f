// SPDX-License-Identifier: Apache-2.0

package config

import (
	"crypto/sha256"
	"crypto/sha512"
	"encoding/hex"
	"errors"
	"strings"
)

var (
	errHashMalformed    = errors.New("malformed hash specifier")
	errHashUnrecognized = errors.New("unrecognized hash function")
	errHashWrongSize    = errors.New("incorrect size for hash sum")
	errHashNotHex       = errors.New("hash sum is not hexadecimal")
)

// ParseHash splits a hash of the form sha512-<hex> or sha256-<hex> into function name and sum.
func ParseHash(s string) (function string, sum []byte, err error) {
	function, digits, err := splitHash(s, V3_7)
	if err != nil {
		return "", nil, err
	}
	sum, err = hex.DecodeString(digits)
	if err != nil {
		return "", nil, errHashNotHex
	}
	return function, sum, nil
}

// splitHash checks function name and length, as validation does: characters that are no hexadecimal
// digits pass here and are refused when the resource is fetched.
func splitHash(s string, v Version) (function, digits string, err error) {
	function, digits, found := strings.Cut(s, "-")
	if !found {
		return "", "", errHashMalformed
	}
	size := 0
	switch {
	case function == "sha512":
		size = sha512.Size
	case function == "sha256" && !v.Before(V3_1):
		size = sha256.Size
	default:
		return "", "", errHashUnrecognized
	}
	if len(digits) != hex.EncodedLen(size) {
		return "", "", errHashWrongSize
	}
	return function, digits, nil
}
