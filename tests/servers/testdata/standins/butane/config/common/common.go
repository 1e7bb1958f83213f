// SPDX-License-Identifier: Apache-2.0

// Package common stands in for a package that matchbox calls.
package common

// TranslateBytesOptions has none.
type TranslateBytesOptions struct{}
