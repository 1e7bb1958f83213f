// SPDX-License-Identifier: Apache-2.0

package config

import (
	"net/url"
	"strings"
	"testing"
)

func TestCheckURL(t *testing.T) {
	const unparsable, scheme = "unable to parse url", "invalid url scheme"
	const arn, versionID = "invalid S3 ARN format", "invalid S3 object VersionId"
	tests := []struct {
		in   string
		v    Version
		want string
	}{
		{"http://host/a", V3_0, ""},
		{"HTTPS://host/a", V3_0, ""},
		{"http:", V3_0, ""},
		{"tftp://host/a", V3_0, ""},
		{"oem:///a", V3_0, ""},
		{"oem:///a", V3_7, ""},
		{"data:,a", V3_0, ""},
		{"DATA:,a", V3_0, "missing data prefix"},
		{"data:;base64,aG\nk=", V3_0, unparsable},
		{"data:,a\tb", V3_0, unparsable},
		{"data:,\x7f", V3_0, unparsable},
		{"data:,a#", V3_0, "invalid data character"},
		{"http://host/%zz", V3_0, unparsable},
		{":", V3_0, unparsable},
		{"", V3_0, scheme},
		{"/etc/file", V3_0, scheme},
		{"ftp://host/a", V3_7, scheme},
		{"gs://b/o", V3_1, scheme},
		{"gs://b/o", V3_2, ""},
		{"s3://b/o", V3_0, ""},
		{"s3://b/o?versionId=x", V3_0, ""},
		{"s3://b/o?versionId=", V3_0, versionID},
		{"s3://b/o?versionId", V3_0, versionID},
		{"arn:aws:s3:::b/k", V3_3, scheme},
		{"arn:aws:s3:::b/k", V3_4, ""},
		{"ARN:aws:s3:::b/k", V3_4, ""},
		{"arn::s3:::/", V3_4, ""},
		{"arn:aws:s3:::b", V3_4, arn},
		{"arn:aws:s3:::b%2Fk", V3_4, arn},
		{"arn:aws:s3:::b?a=/", V3_4, arn},
		{"arn:aws:s3:::b#/", V3_4, arn},
		{"arn:aws:S3:::b/k", V3_4, arn},
		{"arn:aws:ec2:::b/k", V3_4, arn},
		{"arn:aws:s3::b/k", V3_4, arn},
		{"arn:aws:s3:r:1:accesspoint/p", V3_4, arn},
		{"arn:aws:s3:r:1:accesspoint/p/object/k", V3_4, ""},
		{"arn:aws:s3:::b/k?versionId=", V3_4, versionID},
		{"arn:aws:s3:::b/k?versionId=1", V3_4, ""},
	}
	for _, tt := range tests {
		t.Run(tt.in+" "+tt.v.String(), func(t *testing.T) {
			if got := errorText(checkURL(tt.in, tt.v)); got != tt.want {
				t.Errorf("got %q, want %q", got, tt.want)
			}
		})
	}
}

func TestParseHash(t *testing.T) {
	tests := []struct {
		name, in  string
		rules     string // error of validation
		fetch     string // error of ParseHash
		rulesThen string // error of validation in 3.0.0
	}{
		{"sha512", "sha512-" + strings.Repeat("aB", 64), "", "", ""},
		{"sha256", "sha256-" + strings.Repeat("01", 32), "", "", "unrecognized hash function"},
		{"no dash", "sha512", "malformed hash specifier", "malformed hash specifier", "malformed hash specifier"},
		{"empty", "", "malformed hash specifier", "malformed hash specifier", "malformed hash specifier"},
		{"unknown", "md5-00", "unrecognized hash function", "unrecognized hash function", "unrecognized hash function"},
		{"upper case", "SHA512-" + strings.Repeat("00", 64), "unrecognized hash function", "unrecognized hash function",
			"unrecognized hash function"},
		{"short", "sha512-" + strings.Repeat("0", 127), "incorrect size for hash sum", "incorrect size for hash sum",
			"incorrect size for hash sum"},
		{"long", "sha256-" + strings.Repeat("0", 65), "incorrect size for hash sum", "incorrect size for hash sum",
			"unrecognized hash function"},
		{"not hex", "sha512-" + strings.Repeat("zz", 64), "", "hash sum is not hexadecimal", ""},
		{"second dash", "sha256-" + strings.Repeat("-", 64), "", "hash sum is not hexadecimal", "unrecognized hash function"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			_, _, err := splitHash(tt.in, V3_1)
			_, _, then := splitHash(tt.in, V3_0)
			function, sum, fetch := ParseHash(tt.in)
			if errorText(err) != tt.rules || errorText(then) != tt.rulesThen || errorText(fetch) != tt.fetch {
				t.Errorf("got %v, %v, %v", err, then, fetch)
			}
			if fetch == nil && (function != tt.in[:6] || len(sum)*2 != len(tt.in)-7) {
				t.Errorf("got %s, %x", function, sum)
			}
		})
	}
}

// FuzzPlainDataURL: what passes without the generic parser must pass it, too.
func FuzzPlainDataURL(f *testing.F) {
	for _, s := range []string{"data:,", "data:;base64,YQ==", "data:;base64,Y\nQ==", "data:text/plain;a=\"#%zz\",x", "data:,a?b", "data:,%zz", "data:,\x7f"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		if !isPlainDataURL(s) {
			return
		}
		u, err := url.Parse(s)
		if err != nil || u.Scheme != "data" || checkDataURL(s) != nil {
			t.Fatalf("%q passes, but: %v, %v, %v", s, u, err, checkDataURL(s))
		}
	})
}
