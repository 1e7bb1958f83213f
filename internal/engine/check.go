// SPDX-License-Identifier: Apache-2.0

package engine

import (
	"context"
	"strings"

	"firstboot.dev/ignition/internal/document"
	"firstboot.dev/ignition/internal/schema"
	"github.com/coreos/vcontext/report"
)

// CheckOptions is what the check of a config depends on.
type CheckOptions struct {
	Options
	Name string // of the document, in messages
	Raw  []byte
}

// Check reads a config as a boot does and reports what is wrong with it. Nothing is changed.
func Check(ctx context.Context, o CheckOptions) (report.Report, error) {
	_, rep, err := document.Parse(o.Raw)
	suggest(o.Raw, rep)
	return rep, err
}

// suggest adds to each entry about a key that is not used the key that may have been meant.
func suggest(raw []byte, rep report.Report) {
	const unused = "unused key "
	var l *schema.Language
	for i := range rep.Entries {
		e := &rep.Entries[i]
		if !strings.HasPrefix(e.Message, unused) || e.Context.Len() == 0 {
			continue
		}
		if l == nil {
			if l = schema.Of(raw); l == nil {
				return
			}
		}
		if key := l.Nearest(e.Context.Path); key != "" {
			e.Message += "; did you mean " + key + "?"
		}
	}
}
