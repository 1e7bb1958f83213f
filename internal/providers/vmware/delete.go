// SPDX-License-Identifier: Apache-2.0

package vmware

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"firstboot.dev/ignition/internal/providers"
)

func remove(ctx context.Context, env *providers.Env, open opener) error {
	h, err := connect(env, open)
	if err != nil {
		return err
	}
	defer h.close()
	for _, name := range dataVariables {
		if err := ctx.Err(); err != nil {
			return err
		}
		if err := overwrite(h, name, marker, true); err != nil {
			return err
		}
		was, set, err := h.get(prefix + name)
		if err != nil {
			return fmt.Errorf("reading variable %q: %w", prefix+name, err)
		}
		if set && was == marker {
			// What else is there would say that the marker is packed.
			if err := overwrite(h, name+encoding, markerEncoding, false); err != nil {
				return err
			}
		}
	}
	for _, name := range urlVariables {
		if err := overwrite(h, name, blankURL, true); err != nil {
			return err
		}
	}
	return removeProperties(h)
}

// overwrite sets a variable to what stands for nothing, unless it is already
// so, or is not there and need not be.
func overwrite(h host, name, with string, onlySet bool) error {
	was, set, err := h.get(prefix + name)
	if err != nil {
		return fmt.Errorf("reading variable %q: %w", prefix+name, err)
	}
	if was == with || onlySet && (!set || was == "") {
		return nil
	}
	if err := h.set(prefix+name, with); err != nil {
		return fmt.Errorf("overwriting variable %q: %w", prefix+name, err)
	}
	return nil
}

// removeProperties cuts the config's properties out of the OVF environment and
// leaves every other byte of it alone.
func removeProperties(h host) error {
	text, set, err := h.get(prefix + ovfenv)
	if err != nil {
		return fmt.Errorf("reading the OVF environment: %w", err)
	}
	if !set || strings.TrimSpace(text) == "" {
		return nil
	}
	list, err := properties(text)
	if err != nil {
		return fmt.Errorf("the OVF environment: %w", err)
	}
	cut := without(text, list)
	if cut == text {
		return nil
	}
	if err := h.set(prefix+ovfenv, cut); err != nil {
		return fmt.Errorf("writing the OVF environment: %w", err)
	}
	return nil
}

// without gives the text without the elements of the config's properties.
func without(text string, list []property) string {
	var kept strings.Builder
	from := 0
	for _, p := range list {
		if !ours(p.key) {
			continue
		}
		kept.WriteString(text[from:p.start])
		from = p.end
	}
	kept.WriteString(text[from:])
	return kept.String()
}

// ours tells whether a property is one that the config is read from.
func ours(key string) bool {
	name, ok := strings.CutPrefix(key, prefix)
	return ok && (slices.Contains(urlVariables, name) || slices.Contains(dataVariables, strings.TrimSuffix(name, encoding)))
}
