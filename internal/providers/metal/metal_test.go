// SPDX-License-Identifier: Apache-2.0

package metal

import (
	"testing"

	"firstboot.dev/ignition/internal/providers"
	"firstboot.dev/ignition/tests/logs"
)

func TestFetch(t *testing.T) {
	log := &logs.Lines{}
	res, err := Fetch(t.Context(), &providers.Env{Log: log})
	if err != nil || len(res.Raw) != 0 || len(res.Files) != 0 {
		t.Errorf("got %+v, %v; want nothing", res, err)
	}
	if want := "debug metal provider fetching empty config"; log.String() != want {
		t.Errorf("log %q, want %q", log, want)
	}
}
