// SPDX-License-Identifier: Apache-2.0

package providers

import (
	"sync"

	"firstboot.dev/ignition/internal/resource"
)

// heldLog keeps lines until it is known whether anyone wants to read them.
type heldLog struct {
	to resource.Log

	mu    sync.Mutex
	lines []func()
}

func (h *heldLog) hold(say func(string, ...any), format string, args []any) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.lines = append(h.lines, func() { say(format, args...) })
}

// release writes the lines.
func (h *heldLog) release() {
	h.mu.Lock()
	defer h.mu.Unlock()
	for _, line := range h.lines {
		line()
	}
	h.lines = nil
}

func (h *heldLog) Debug(format string, args ...any)   { h.hold(h.to.Debug, format, args) }
func (h *heldLog) Info(format string, args ...any)    { h.hold(h.to.Info, format, args) }
func (h *heldLog) Warning(format string, args ...any) { h.hold(h.to.Warning, format, args) }
func (h *heldLog) Err(format string, args ...any)     { h.hold(h.to.Err, format, args) }
