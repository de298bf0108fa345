package esproxy_test

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/escrow-backup/escrow/internal/e2e/esproxy"
)

// origin stands in for Elasticsearch: it answers every request with the same search result.
func origin(t *testing.T) string {
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("X-Elastic-Product", "Elasticsearch")
		fmt.Fprint(w, `{"timed_out":false,"_shards":{"failed":0},"hits":{"hits":[{"_id":"1"},{"_id":"2","n":9007199254740993}]}}`)
	}))
	t.Cleanup(s.Close)
	return s.URL
}

func get(t *testing.T, c *http.Client, url string, auth string) (int, string, error) {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, url, nil)
	require.NoError(t, err)
	if auth != "" {
		req.Header.Set("Authorization", auth)
	}
	resp, err := c.Do(req)
	if err != nil {
		return 0, "", err
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	return resp.StatusCode, string(b), err
}

func TestCredentials(t *testing.T) {
	p := esproxy.Start(t, origin(t), &esproxy.Options{Username: "u", Password: "p"})
	status, body, err := get(t, http.DefaultClient, p.URL, "")
	require.NoError(t, err)
	require.Equal(t, 401, status)
	require.Contains(t, body, "security_exception")
	status, _, err = get(t, http.DefaultClient, strings.Replace(p.URL, "//", "//u:p@", 1), "")
	require.NoError(t, err)
	require.Equal(t, 200, status)

	p = esproxy.Start(t, origin(t), &esproxy.Options{APIKey: "a2V5"})
	status, _, err = get(t, http.DefaultClient, p.URL, "ApiKey a2V5")
	require.NoError(t, err)
	require.Equal(t, 200, status)
	status, _, err = get(t, http.DefaultClient, p.URL, "ApiKey b2V5")
	require.NoError(t, err)
	require.Equal(t, 401, status)
}

func TestTLS(t *testing.T) {
	p := esproxy.Start(t, origin(t), &esproxy.Options{ClientCertificate: true})
	pool := x509.NewCertPool()
	require.True(t, pool.AppendCertsFromPEM(p.CA))
	client := func(certs ...tls.Certificate) *http.Client {
		return &http.Client{Transport: &http.Transport{TLSClientConfig: &tls.Config{RootCAs: pool, Certificates: certs}}}
	}
	_, _, err := get(t, http.DefaultClient, p.URL, "")
	require.ErrorContains(t, err, "unknown authority")
	_, _, err = get(t, client(), p.URL, "")
	require.Error(t, err)
	pair, err := tls.X509KeyPair(p.ClientCert, p.ClientKey)
	require.NoError(t, err)
	status, _, err := get(t, client(pair), p.URL, "")
	require.NoError(t, err)
	require.Equal(t, 200, status)
}

func TestFaults(t *testing.T) {
	p := esproxy.Start(t, origin(t), nil)
	busy := &esproxy.Rule{Match: esproxy.PathEnds("/_bulk"), Skip: 1, Times: 2, Status: 429}
	p.Add(busy)
	var got []int
	for range 4 {
		status, _, err := get(t, http.DefaultClient, p.URL+"/i/_bulk", "")
		require.NoError(t, err)
		got = append(got, status)
	}
	require.Equal(t, []int{200, 429, 429, 200}, got)
	require.Equal(t, 2, p.Applied(busy))

	cut := int64(20)
	p.Add(&esproxy.Rule{Match: esproxy.PathEnds("/cut"), Cut: &cut})
	_, body, err := get(t, http.DefaultClient, p.URL+"/cut", "")
	require.True(t, errors.Is(err, io.ErrUnexpectedEOF) || strings.Contains(fmt.Sprint(err), "EOF"), "%v", err)
	require.Len(t, body, 20)

	p.Clear()
	p.Add(&esproxy.Rule{Mutate: esproxy.MutateJSON(func(a map[string]any) { a["timed_out"] = true })})
	status, body, err := get(t, http.DefaultClient, p.URL+"/_search", "")
	require.NoError(t, err)
	require.Equal(t, 200, status)
	require.JSONEq(t, `{"timed_out":true,"_shards":{"failed":0},"hits":{"hits":[{"_id":"1"},{"_id":"2","n":9007199254740993}]}}`, body)

	p.Clear()
	p.Add(&esproxy.Rule{Mutate: esproxy.MutateJSON(func(a map[string]any) { esproxy.FailShard(a); esproxy.DropHalf(a) })})
	_, body, err = get(t, http.DefaultClient, p.URL+"/_search", "")
	require.NoError(t, err)
	require.Contains(t, body, `"failed":1`)
	require.Contains(t, body, `"hits":{"hits":[{"_id":"1"}]}`)
}
