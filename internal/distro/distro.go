// SPDX-License-Identifier: Apache-2.0

// Package distro is the one table of everything that depends on the
// distribution: paths, program names and switches, each settable at link time
// with -ldflags "-X firstboot.dev/ignition/internal/distro.NAME=VALUE".
package distro
