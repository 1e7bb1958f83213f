// SPDX-License-Identifier: Apache-2.0

package config

import (
	"reflect"

	"github.com/coreos/vcontext/report"
)

// What a reader of another language of configs shares with this one, so that documents of both are read, checked
// and reported on alike.

// Decode reads a document into types of another language, which bear the tags of this one and besides them
//
//	until:"M.N"    last version that has the field
//
// and may point to objects, which are nil when absent. A syntax or type error comes with a report of it, else the
// report says which keys are not used, with positions.
func Decode(raw []byte, v Version, into any) (report.Report, error) {
	err := checkSyntax(raw)
	d := decoder{b: raw, version: v}
	if err == nil {
		to := reflect.ValueOf(into).Elem()
		_, err = d.object(skipSpace(raw, 0), to, describe(to.Type(), map[reflect.Type]*object{}), nil)
	}
	if err != nil {
		_, r, err := unreadable(raw, err)
		return r, err
	}
	placeOffsets(raw, d.entries)
	return report.Report{Entries: d.entries}, nil
}

// SpecVersion gives ignition.version of a document that was read without an error. It checks nothing, and so costs
// next to nothing.
func SpecVersion(raw []byte) string {
	h, _ := readHeader(raw)
	return h.version
}

// Check runs the rules of version v, those for duplicates too, on a config that was made from another language.
// The report has paths of the config, and no positions.
func Check(c *Config, v Version) report.Report {
	r := validateRules(c, v, func(...any) bool { return true })
	r.Merge(validateDuplicates(c))
	return r
}

// SetPositions gives each entry the position of the value at its path, or of what is around it.
func SetPositions(raw []byte, entries []report.Entry) { placeEntries(raw, entries) }

// CheckURL checks the URL of a resource by the rules of version v.
func CheckURL(s string, v Version) error { return checkURL(s, v) }

// CheckHash checks the form of a verification hash by the rules of version v.
func CheckHash(s string, v Version) error {
	_, _, err := splitHash(s, v)
	return err
}

// CheckUnitContents checks the grammar of a unit or drop-in.
func CheckUnitContents(s string) error { return readUnit(&s).err }

// LabelLimit is how many bytes the label of a filesystem may have; ok is false for a format without a limit.
func LabelLimit(format string) (limit int, ok bool) {
	limit, ok = filesystemLabelLimits[format]
	return limit, ok
}
