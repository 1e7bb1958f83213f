// SPDX-License-Identifier: Apache-2.0

// Package config is the config language: one set of types for every spec
// version 3.x, how a document is recognised, read, checked, normalised to the
// newest form and merged with others. All of it is pure: no files, no network,
// no programs. What a stage does with a config is not decided here.
package config
