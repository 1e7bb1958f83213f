// SPDX-License-Identifier: Apache-2.0

package config

import (
	"errors"
	"net/url"
	"strings"
)

// None of these texts holds the URL: it may carry credentials.
var (
	errURLUnparsable = errors.New("unable to parse url")
	errURLScheme     = errors.New("invalid url scheme")
	errS3VersionID   = errors.New("invalid S3 object VersionId")
	errS3ARN         = errors.New("invalid S3 ARN format")
	errProxyScheme   = errors.New("proxies must be http(s)")
)

// checkURL checks the URL of a resource by the rules of version v.
func checkURL(s string, v Version) error {
	if isPlainDataURL(s) {
		return nil
	}
	u, err := url.Parse(s)
	if err != nil {
		return errURLUnparsable
	}
	switch u.Scheme { // lower-cased by the parser
	case "http", "https", "tftp", "oem":
		return nil
	case "oci": // this program's own
		return nil
	case "data":
		return checkDataURL(s)
	case "s3":
		return checkVersionID(u)
	case "gs":
		if !v.Before(V3_2) {
			return nil
		}
	case "arn":
		if !v.Before(V3_4) {
			return checkARN(s, u)
		}
	}
	return errURLScheme
}

// checkVersionID refuses a version that is named but empty: it would silently mean the newest object.
func checkVersionID(u *url.URL) error {
	if ids, ok := u.Query()["versionId"]; ok && ids[0] == "" {
		return errS3VersionID
	}
	return nil
}

// checkARN checks arn:<partition>:s3:<region>:<account>:<resource>. Only the service is looked at, and that
// the resource names an object: an access point takes one more slash than a bucket does.
func checkARN(s string, u *url.URL) error {
	if i := strings.IndexAny(s, "?#"); i >= 0 {
		s = s[:i]
	}
	fields := strings.SplitN(s, ":", 6)
	if len(fields) < 6 || fields[2] != "s3" {
		return errS3ARN
	}
	slashes := 1
	if strings.HasPrefix(fields[5], "accesspoint/") {
		slashes = 2
	}
	if strings.Count(s, "/") < slashes {
		return errS3ARN
	}
	return checkVersionID(u)
}

// checkProxyURL returns the proxy's scheme, which is http or https when there is no error.
func checkProxyURL(s string) (scheme string, err error) {
	u, err := url.Parse(s)
	if err != nil {
		return "", errURLUnparsable
	}
	if u.Scheme != "http" && u.Scheme != "https" {
		return "", errProxyScheme
	}
	return u.Scheme, nil
}

// checkHTTPURL checks a URL that can only be http or https.
func checkHTTPURL(s string) error {
	u, err := url.Parse(s)
	if err != nil {
		return errURLUnparsable
	}
	if u.Scheme != "http" && u.Scheme != "https" {
		return errURLScheme
	}
	return nil
}
