// SPDX-License-Identifier: Apache-2.0

package plan

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"strings"
)

// Hash names a plan in three parts, since a boot learns what it does in three
// steps: the config when it is fetched, the disks before the first write to one,
// the files when the root is mounted. A part that the plan did not look at is
// empty and agrees with anything.
type Hash struct {
	Config, Disks, Files string
}

const (
	hashVersion = "p1"
	partDigits  = 32
	sumDigits   = 6
	rounds      = 1 << 16 // a part is public, and made of configs with secrets: guessing them is to take time
	noPart      = "none"
)

// ErrDiffers means that a boot would do something else than the plan.
var ErrDiffers = errors.New("this is not what was planned")

// digest gives the digits of a part.
func digest(text string) string {
	sum := sha256.Sum256([]byte(text))
	for range rounds {
		sum = sha256.Sum256(sum[:])
	}
	return hex.EncodeToString(sum[:partDigits/2])
}

func (h Hash) body() string {
	parts := []string{hashVersion, h.Config, h.Disks, h.Files}
	for i, p := range parts {
		if p == "" {
			parts[i] = noPart
		}
	}
	return strings.Join(parts, "-")
}

// String is the form for flags and the kernel command line. Its last part is
// made from the others, so that a mistyped hash is told from another plan's.
func (h Hash) String() string { return h.body() + "-" + digest(h.body())[:sumDigits] }

// ParseHash reads what String gives.
func ParseHash(text string) (Hash, error) {
	const howTo = "give the whole line that `ignition plan --hash` prints"
	if text == "" {
		return Hash{}, errors.New("the plan hash to expect is empty; " + howTo)
	}
	parts := strings.Split(text, "-")
	if parts[0] != hashVersion {
		return Hash{}, fmt.Errorf("plan hash %q does not begin with %q: it is of another version of this program, or no plan hash; %s", text, hashVersion+"-", howTo)
	}
	for i, p := range parts[1:min(len(parts), 4)] {
		switch p {
		case noPart:
			parts[1+i] = ""
			continue
		}
		if _, err := hex.DecodeString(p); len(parts) == 5 && (err != nil || len(p) != partDigits) {
			return Hash{}, fmt.Errorf("plan hash %q: part %d is not %d hexadecimal digits or %q; %s", text, i+2, partDigits, noPart, howTo)
		}
	}
	if len(parts) < 5 || len(parts[4]) < sumDigits {
		return Hash{}, fmt.Errorf("plan hash %q is cut short: it has %d characters in %d parts of 5; %s", text, len(text), len(parts), howTo)
	}
	h := Hash{Config: parts[1], Disks: parts[2], Files: parts[3]}
	if len(parts) > 5 || h.String() != text {
		return Hash{}, fmt.Errorf("plan hash %q is mistyped: its parts do not fit together; %s", text, howTo)
	}
	return h, nil
}

// ConfigDigest is the part of a merged config, in its cache form.
func ConfigDigest(cache []byte) string { return digest(string(cache)) }

// Digest is the part of some operations on a tree, and of the sections of the
// config, in its cache form, that they are made from. The tree may stand
// somewhere else, and what is kept does not count.
func Digest(sections []byte, list []Operation) string {
	var b strings.Builder
	fmt.Fprintf(&b, "%d %s\n", len(sections), sections)
	for i := range list {
		op := &list[i]
		if op.Effect == Keep {
			continue
		}
		url, hash := "", ""
		if op.Fetches != nil {
			url, hash = op.Fetches.URL, op.Fetches.Hash
		}
		fmt.Fprintf(&b, "%q %q %q %q %q %q %q %q\n", op.Kind, op.Path, op.Config, op.Effect, url, hash, op.Exact, op.Loses)
	}
	return digest(b.String())
}

// Digest is the part of one stage.
func (p *Plan) Digest(stage string, sections []byte) string {
	var list []Operation
	for _, op := range p.Operations {
		if op.Stage == stage {
			list = append(list, op)
		}
	}
	return Digest(sections, list)
}

// Check compares a part with what is about to be done.
func Check(part, want, is string) error {
	if want == "" || want == is {
		return nil
	}
	return fmt.Errorf("%w: the %s part of the plan's hash is %s, and here it is %s; nothing has been changed by this stage. "+
		"`ignition plan` shows what would be done, `ignition plan --hash` gives its hash", ErrDiffers, part, want, is)
}
