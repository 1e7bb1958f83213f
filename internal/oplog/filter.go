// SPDX-License-Identifier: Apache-2.0

package oplog

import (
	"context"
	"log/slog"
)

// AtLeast passes on what is as urgent as a level, or more.
func AtLeast(level slog.Level, to slog.Handler) slog.Handler { return atLeast{to, level} }

type atLeast struct {
	slog.Handler
	level slog.Level
}

func (a atLeast) Enabled(_ context.Context, l slog.Level) bool { return l >= a.level }

func (a atLeast) Handle(ctx context.Context, r slog.Record) error {
	if r.Level < a.level {
		return nil
	}
	return a.Handler.Handle(ctx, r)
}
