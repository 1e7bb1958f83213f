// SPDX-License-Identifier: Apache-2.0

package exec

import (
	"bytes"
	"slices"
	"strconv"
	"strings"
)

const redacted = "<redacted>"

// minSecret is the length from which a value is searched for in output. A
// password field of "*" or "!" is no secret, and replacing every such
// character would garble the output.
const minSecret = 4

// quoted is the command line as it is shown: each word in Go quotes, secret ones redacted.
func (c Cmd) quoted() string {
	words := make([]string, 0, 1+len(c.Args))
	words = append(words, strconv.Quote(c.Name))
	for i, arg := range c.Args {
		if slices.Contains(c.Secret, i) {
			arg = redacted
		}
		words = append(words, strconv.Quote(arg))
	}
	return strings.Join(words, " ")
}

// secrets are the values that no output may show, longest first, so that a
// secret which contains another one is replaced as a whole.
func (c Cmd) secrets() []string {
	var out []string
	add := func(s string) {
		if len(s) >= minSecret && !slices.Contains(out, s) {
			out = append(out, s)
		}
	}
	for _, i := range c.Secret {
		if i < 0 || i >= len(c.Args) {
			continue
		}
		add(c.Args[i])
		if option, value, ok := strings.Cut(c.Args[i], "="); ok && strings.HasPrefix(option, "-") {
			add(value)
		}
	}
	for _, s := range c.Hide {
		add(s)
	}
	for i := range out { // they are few
		for k := i; k > 0 && len(out[k-1]) < len(out[k]); k-- {
			out[k-1], out[k] = out[k], out[k-1]
		}
	}
	return out
}

// scrub replaces every secret in text.
func scrub(text []byte, secrets []string) []byte {
	for _, s := range secrets {
		text = bytes.ReplaceAll(text, []byte(s), []byte(redacted))
	}
	return text
}
