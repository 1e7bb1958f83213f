// SPDX-License-Identifier: Apache-2.0

// Package schema describes the config languages as JSON Schema (2020-12), for
// editors: every version of a config and every variant of Butane. Keys, types and
// versions come from the types that the readers decode into; descriptions and the
// rules that JSON Schema can say from keys.txt. It judges no document itself.
package schema
