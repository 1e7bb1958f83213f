// SPDX-License-Identifier: Apache-2.0

// Package config stands in for a package that matchbox calls: nothing is
// translated.
package config

import (
	"errors"

	"github.com/coreos/butane/config/common"
	"github.com/coreos/vcontext/report"
)

// TranslateBytes always fails.
func TranslateBytes([]byte, common.TranslateBytesOptions) ([]byte, report.Report, error) {
	return nil, report.Report{}, errors.New("not translated by this server")
}
