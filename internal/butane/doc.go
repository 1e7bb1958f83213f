// SPDX-License-Identifier: Apache-2.0

// Package butane reads Butane YAML, the language that people write, into the
// configs that machines read. A table lists its variants and versions; the base
// of each is the config language itself, whose types, gates, rules and merging
// it shares, plus Butane's own keys (types.go). Everything is pure: local files
// come through Options.Files. Printing and exit codes are the command's.
package butane
