package e2e_test

import (
	"fmt"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/escrow-backup/escrow/estest"
	"github.com/escrow-backup/escrow/internal/e2e/resticcli"
	"github.com/escrow-backup/escrow/internal/e2e/servers"
)

// sample is a small cluster in memory.
func sample(t *testing.T) *estest.Server {
	t.Helper()
	s := estest.New(t, nil)
	var b strings.Builder
	for i := range 500 {
		fmt.Fprintf(&b, "{\"index\":{\"_index\":\"shop\",\"_id\":\"%d\"}}\n{\"n\":%d,\"v\":%s}\n", i, i, values[i%len(values)])
	}
	resp, err := http.Post(s.URL+"/_bulk?refresh=true", "application/x-ndjson", strings.NewReader(b.String()))
	require.NoError(t, err)
	require.NoError(t, resp.Body.Close())
	require.Equal(t, http.StatusOK, resp.StatusCode)
	return s
}

// The command line by URLs, with credentials in them, and what it never says.
func TestCommandOnREST(t *testing.T) {
	es := sample(t)
	s := servers.Rclone(t, servers.RcloneOptions{Login: true, TLS: true})
	user := url.UserPassword(s.Username, s.Password).String()
	c := newCLI(t)
	c.repo = "rest:" + strings.Replace(s.URL, "://", "://"+user+"@", 1) + "/repo/"
	ca := filepath.Join(t.TempDir(), "ca.pem")
	require.NoError(t, os.WriteFile(ca, s.CA, 0o600))
	secret := func(r result) result {
		for _, text := range []string{s.Password, url.QueryEscape(s.Password), url.PathEscape(s.Password)} {
			require.NotContains(t, r.stdout+r.stderr, text)
		}
		return r
	}
	r := secret(c.run(t, "init", "--storage-retries", "0"))
	require.Equal(t, 1, r.code)
	require.Contains(t, r.stderr, "certificate")
	trusting := c.with("RESTIC_CACERT=" + ca)
	r = secret(trusting.ok(t, "init", "--json"))
	require.Contains(t, r.stdout, s.Username+":***@")
	for _, args := range [][]string{
		{"backup", "--es", es.URL},
		{"backup", "--es", es.URL, "--json", "--limit-upload", "100000", "--connections", "1"},
		{"verify", "--es", es.URL, "--limit-download", "100000", "--stuck-request-timeout", "1m"},
		{"check", "--read-data"},
	} {
		secret(trusting.ok(t, args...))
	}
	secret(c.ok(t, "snapshots", "--insecure-tls"))
	wrong := *trusting
	wrong.repo = strings.Replace(c.repo, user, url.UserPassword(s.Username, "wr0ng").String(), 1)
	r = secret(wrong.run(t, "snapshots"))
	require.Equal(t, 1, r.code)
	require.Contains(t, r.stderr, "401")
	require.NotContains(t, r.stderr, "wr0ng")

	// A server that is gone is asked again, and warnings tell of it.
	s.Kill()
	r = secret(trusting.run(t, "snapshots", "--storage-retries", "1"))
	require.Equal(t, 1, r.code)
	require.Regexp(t, `\Awarning: [^\n]+ connection refused; trying again in [^\n]+\nescrow: [^\n]+ 2 tries: [^\n]+\n\z`, r.stderr)
	r = secret(trusting.run(t, "snapshots", "--storage-retries", "1", "--quiet"))
	require.Regexp(t, `\Aescrow: [^\n]+\n\z`, r.stderr)
}

// The command line by a Repository object and its secret, and restic beside it.
func TestCommandOnS3(t *testing.T) {
	es := sample(t)
	s := servers.MinIO(t, true)
	dir := t.TempDir()
	object := filepath.Join(dir, "repository.yaml")
	require.NoError(t, os.WriteFile(object, fmt.Appendf(nil, `apiVersion: stash.appscode.com/v1alpha1
kind: Repository
metadata: {name: shop, namespace: demo}
spec:
  backend:
    storageSecretName: storage
    s3: {endpoint: %q, bucket: backups, prefix: demo/shop, region: us-east-1}
`, s.URL), 0o600))
	at := filepath.Join(dir, "secrets", "demo", "storage")
	require.NoError(t, os.MkdirAll(at, 0o700))
	for key, value := range map[string]string{
		"RESTIC_PASSWORD": password, "AWS_ACCESS_KEY_ID": s.KeyID, "AWS_SECRET_ACCESS_KEY": s.Secret, "CA_CERT_DATA": string(s.CA),
	} {
		require.NoError(t, os.WriteFile(filepath.Join(at, key), []byte(value), 0o600))
	}
	c := newCLI(t).with("RESTIC_REPOSITORY=", "RESTIC_PASSWORD=")
	for _, args := range [][]string{
		{"init"}, {"backup", "--es", es.URL, "--connections", "3", "--storage-class", "STANDARD"}, {"verify", "--es", es.URL}, {"check", "--read-data"},
	} {
		r := c.ok(t, append(args, "--repository", object, "--secrets", filepath.Join(dir, "secrets"))...)
		require.NotContains(t, r.stdout+r.stderr, s.Secret)
		require.NotContains(t, r.stdout+r.stderr, s.KeyID)
	}
	ca := filepath.Join(dir, "ca.pem")
	require.NoError(t, os.WriteFile(ca, s.CA, 0o600))
	restic := resticcli.New(t, "s3:"+s.URL+"/backups/demo/shop", password)
	restic.Env, restic.Args = s.Env(), []string{"--cacert", ca}
	restic.Check(t)
	require.Len(t, restic.Snapshots(t), 1)

	// The same by the URL and the environment.
	c = newCLI(t).with(append(s.Env(), "RESTIC_CACERT="+ca)...)
	c.repo = restic.Repo
	c.ok(t, "verify", "--es", es.URL)
	c.ok(t, "check", "--read-data", "--limit-download", "100000")
	r := c.with("AWS_SECRET_ACCESS_KEY=wr0ng-secret").run(t, "snapshots")
	require.Equal(t, 1, r.code)
	require.NotContains(t, r.stderr, "wr0ng")
}
