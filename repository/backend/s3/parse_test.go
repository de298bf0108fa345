package s3

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestParse(t *testing.T) {
	for location, want := range map[string]Config{
		"https://host:9000/bucket/prefix":     {Endpoint: "https://host:9000", Bucket: "bucket", Prefix: "prefix"},
		"http://127.0.0.1:9000/bucket":        {Endpoint: "http://127.0.0.1:9000", Bucket: "bucket"},
		"host/bucket/a/b":                     {Endpoint: "https://host", Bucket: "bucket", Prefix: "a/b"},
		"host:8443/bucket/":                   {Endpoint: "https://host:8443", Bucket: "bucket"},
		"s3.amazonaws.com/bucket":             {Endpoint: "https://s3.amazonaws.com", Bucket: "bucket"},
		"//host/bucket/prefix":                {Endpoint: "https://host", Bucket: "bucket", Prefix: "prefix"},
		"s3.eu-central-1.amazonaws.com/b-1/p": {Endpoint: "https://s3.eu-central-1.amazonaws.com", Bucket: "b-1", Prefix: "p"},
		"https://host/bucket//a//./b/../c/":   {Endpoint: "https://host", Bucket: "bucket", Prefix: "a/c"},
		"https://[::1]:9000/bucket":           {Endpoint: "https://[::1]:9000", Bucket: "bucket"},
		"host/bucket/with space/ü":            {Endpoint: "https://host", Bucket: "bucket", Prefix: "with space/ü"},
	} {
		got, err := parse(location)
		require.NoError(t, err, location)
		require.Equal(t, want, got, location)
	}
	for _, location := range []string{
		"", "host", "host/", "//", "//host", "https://", "https://host", "https://host/", "https:///bucket", "http:/host/bucket", "/bucket/prefix",
		"https://id:hunter2@host/bucket", "id:hunter2@host/bucket", "https://host/bucket?X-Amz-Signature=hunter2", "host/bucket/p#hunter2",
	} {
		c, err := parse(location)
		require.Error(t, err, "%q gave %+v", location, c)
		require.NotContains(t, err.Error(), "hunter2")
	}
}

func FuzzParse(f *testing.F) {
	for _, s := range []string{"https://host:9000/bucket/prefix", "//host/bucket", "host/bucket/../x", "https://a:b@host/c", "http://[::1]/b//"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, location string) {
		c, err := parse(location)
		if err != nil {
			return
		}
		require.NotEmpty(t, c.Bucket)
		require.NotContains(t, c.Bucket, "/")
		require.NotContains(t, c.Endpoint, "@")
		require.Equal(t, strings.Trim(c.Prefix, "/"), c.Prefix)
		for part := range strings.SplitSeq(c.Prefix, "/") {
			require.NotContains(t, []string{".", ".."}, part)
		}
		again, err := parse(strings.TrimSuffix(c.Endpoint+"/"+c.Bucket+"/"+c.Prefix, "/"))
		require.NoError(t, err)
		require.Equal(t, c, again)
	})
}
