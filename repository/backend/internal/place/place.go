// Package place reads where in an object store a repository lies: the bucket or container, and the prefix of all names in it.
package place

import (
	"errors"
	"path"
	"strings"
)

// Parse reads the location of URLs such as "gs:bucket:/prefix". The prefix and its slash may be left out.
func Parse(location string) (bucket, prefix string, err error) {
	bucket, prefix, _ = strings.Cut(location, ":")
	url := strings.HasPrefix(prefix, "//") && (bucket == "http" || bucket == "https")
	if bucket == "" || url || strings.ContainsAny(bucket, "/\\@?#% ") {
		return "", "", errors.New("the location is not like bucket:/prefix")
	}
	return bucket, Clean(prefix), nil
}

// Clean gives "" or a path without slashes at its ends, as restic does.
func Clean(prefix string) string { return strings.TrimPrefix(path.Clean("/"+prefix), "/") }

// Under is the name of what lies at p below the prefix.
func Under(prefix, p string) string {
	if prefix == "" {
		return p
	}
	return prefix + "/" + p
}
