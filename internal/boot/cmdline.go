// SPDX-License-Identifier: Apache-2.0

package boot

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"firstboot.dev/ignition/internal/platform"
)

// Request is what the kernel command line asks for.
type Request struct {
	First    bool // run the stages
	Detected bool // the boot loader found Flatcar's flag file, which has to go
	Upstream bool // asked for by ignition.firstboot
	Flatcar  bool // asked for by flatcar.first_boot or coreos.first_boot
}

// words are the words of a kernel command line. The last one of a name counts;
// one without "=" has its own name as value, so that it counts as true.
func words(cmdline string) map[string]string {
	out := map[string]string{}
	for w := range strings.FieldsSeq(cmdline) {
		name, value, ok := strings.Cut(w, "=")
		if !ok {
			value = name
		}
		out[name] = value
	}
	return out
}

// isTrue reads a boolean argument. Everything that is not clearly a no is a yes.
func isTrue(value string) bool {
	return !slices.Contains([]string{"", "0", "no", "off", "false", "n", "f"}, strings.ToLower(value))
}

// ParseRequest reads both dialects, that of upstream and that of Flatcar.
func ParseRequest(cmdline string) Request {
	w := words(cmdline)
	var r Request
	if v, ok := w["ignition.firstboot"]; ok && isTrue(v) {
		r.Upstream = true
	}
	for _, name := range []string{"flatcar.first_boot", "coreos.first_boot"} {
		v, ok := w[name]
		if ok && isTrue(v) {
			r.Flatcar = true
			r.Detected = r.Detected || v == "detected"
		}
	}
	r.First = r.Upstream || r.Flatcar
	return r
}

// errNoPlatform tells what to add.
var errNoPlatform = errors.New("the kernel command line names no platform: add ignition.platform.id=NAME, " +
	"or flatcar.oem.id=NAME, where NAME is for example aws, metal or qemu")

// validID tells whether a value is a name. Anything else could mean something to
// systemd, which reads the environment file that it goes into.
func validID(id string) bool {
	return id != "" && !strings.ContainsFunc(id, func(r rune) bool {
		return r != '_' && r != '-' && (r < '0' || r > '9') && (r < 'a' || r > 'z')
	})
}

// oemNames are the names of Flatcar's OEM ids for platforms of another name.
var oemNames = map[string]string{"ec2": "aws", "gce": "gcp", "pxe": "metal"}

// platformID is the platform that the command line names. A default, by what
// the machine runs on, exists in Flatcar's dialect only.
func platformID(cmdline string, virt func() string) (string, error) {
	args := platform.ParseCommandLine(cmdline)
	if !platform.Named(args) {
		return "", errNoPlatform
	}
	id := platform.FromCommandLine(args, virt)
	if words(cmdline)["ignition.platform.id"] != id {
		if to, ok := oemNames[id]; ok {
			id = to
		}
	}
	if !validID(id) {
		return "", fmt.Errorf("the platform %q on the kernel command line is no platform: letters a-z, digits, - and _ make a name", id)
	}
	return id, nil
}
