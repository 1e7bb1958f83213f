// SPDX-License-Identifier: Apache-2.0

// Package yaml reads the first document of a YAML text into nodes that know
// where they stand, with the leniencies of YAML 1.1 that Butane's users rely on.
// The syntax is a library's; what is added here is what a machine's boot needs:
// aliases and merge keys are resolved within bounds, repeated keys are found,
// and an error says where to look and what may be wrong. It knows no Go types,
// what a node means is its reader's business, and it writes nothing.
package yaml
