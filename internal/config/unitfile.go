// SPDX-License-Identifier: Apache-2.0

package config

import (
	"fmt"
	"strings"

	"github.com/coreos/go-systemd/v22/unit"
)

// unitContents is what validation needs to know about a unit's text.
type unitContents struct {
	given      bool // there is text at all
	hasInstall bool // some option stands in an [Install] section
	err        error
}

// readUnit parses the text of a unit or drop-in. The parser's texts are the ones users know.
func readUnit(contents *string) unitContents {
	if contents == nil || *contents == "" {
		return unitContents{}
	}
	options, err := unit.DeserializeOptions(strings.NewReader(*contents))
	if err != nil {
		return unitContents{given: true, err: fmt.Errorf("invalid unit content: %w", err)}
	}
	c := unitContents{given: true}
	for _, o := range options {
		c.hasInstall = c.hasInstall || o.Section == "Install"
	}
	return c
}
