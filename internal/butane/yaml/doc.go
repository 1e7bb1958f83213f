// SPDX-License-Identifier: Apache-2.0

// Package yaml reads one YAML 1.2 document into nodes that know where they
// stand, with the leniencies of YAML 1.1 that Butane's users rely on. It knows
// no Go types: what a node means is its reader's business. It is our own since
// the libraries for Go each weigh more than the room that an initramfs has left
// (docs/architecture.md); its tests hold it to one of them. It writes nothing.
package yaml
