package place_test

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/escrow-backup/escrow/repository/backend/internal/place"
)

func TestParse(t *testing.T) {
	for location, want := range map[string][2]string{
		"bucket":              {"bucket", ""},
		"bucket:":             {"bucket", ""},
		"bucket:/":            {"bucket", ""},
		"bucket:/a/b":         {"bucket", "a/b"},
		"bucket:a/b/":         {"bucket", "a/b"},
		"bucket://a/../b/./c": {"bucket", "b/c"},
		"bucket:/a:b":         {"bucket", "a:b"},
		"$root:/ä b":          {"$root", "ä b"},
	} {
		bucket, prefix, err := place.Parse(location)
		require.NoError(t, err, location)
		require.Equal(t, want, [2]string{bucket, prefix}, location)
	}
	for _, location := range []string{"", ":", ":/prefix", "/bucket", "a/b:/c", "bucket?sig=hunter2", "https://host/bucket", "user@bucket:/x"} {
		_, _, err := place.Parse(location)
		require.Error(t, err, location)
		require.NotContains(t, err.Error(), "hunter2")
	}
}

func TestClean(t *testing.T) {
	for in, want := range map[string]string{"": "", "/": "", "//a/./b/": "a/b", "../..": "", "a": "a"} {
		require.Equal(t, want, place.Clean(in), in)
	}
}

func TestUnder(t *testing.T) {
	require.Equal(t, "config", place.Under("", "config"))
	require.Equal(t, "a/b/config", place.Under("a/b", "config"))
}

func FuzzParse(f *testing.F) {
	for _, s := range []string{"bucket:/prefix", "bucket", "b:a/../..", "::", "b:/:"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, location string) {
		bucket, prefix, err := place.Parse(location)
		if err != nil {
			return
		}
		require.NotEmpty(t, bucket)
		require.NotContains(t, bucket, "/")
		require.Equal(t, strings.Trim(prefix, "/"), prefix)
		for part := range strings.SplitSeq(prefix, "/") {
			require.NotContains(t, []string{".", ".."}, part)
		}
		again, prefixAgain, err := place.Parse(bucket + ":/" + prefix)
		require.NoError(t, err)
		require.Equal(t, [2]string{bucket, prefix}, [2]string{again, prefixAgain})
	})
}
