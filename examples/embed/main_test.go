package main

import (
	"bytes"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"

	"github.com/elastic/go-elasticsearch/v8"
	"github.com/stretchr/testify/require"

	"github.com/escrow-backup/escrow/estest"
)

func put(t *testing.T, es *elasticsearch.Client, index, id, source string) {
	t.Helper()
	res, err := es.Index(index, strings.NewReader(source), es.Index.WithDocumentID(id), es.Index.WithRefresh("true"))
	require.NoError(t, err)
	defer res.Body.Close()
	require.False(t, res.IsError())
}

func source(t *testing.T, es *elasticsearch.Client, index, id string) string {
	t.Helper()
	res, err := es.GetSource(index, id)
	require.NoError(t, err)
	defer res.Body.Close()
	b, err := io.ReadAll(res.Body)
	require.NoError(t, err)
	require.Equal(t, http.StatusOK, res.StatusCode, "%s", b)
	return string(b)
}

func TestCopyMasked(t *testing.T) {
	server := estest.New(t, nil)
	es := server.Client()
	for i := range 50 {
		put(t, es, "customers", fmt.Sprint(i), fmt.Sprintf(`{"email":"kim-%d@example.org","n":900719925474099%d}`, i, i%10))
	}
	put(t, es, "customers", "plain", `{ "n" : 1.0 }`)
	res, err := es.Indices.Create("masked")
	require.NoError(t, err)
	require.NoError(t, res.Body.Close())

	var stdout, stderr bytes.Buffer
	env := func(string) string { return server.URL }
	require.Zero(t, run(t.Context(), []string{"customers", "masked", "email"}, env, &stdout, &stderr), stderr.String())
	require.Equal(t, "copied 51 documents\n", stdout.String())
	for i := range 50 {
		require.Equal(t, fmt.Sprintf(`{"email":"***","n":900719925474099%d}`, i%10), source(t, es, "masked", fmt.Sprint(i)))
	}
	require.Equal(t, `{ "n" : 1.0 }`, source(t, es, "masked", "plain"))
	require.Contains(t, source(t, es, "customers", "7"), "kim-7@example.org")
}

func TestFailures(t *testing.T) {
	server := estest.New(t, nil)
	env := func(string) string { return server.URL }
	var stdout, stderr bytes.Buffer
	require.Equal(t, 2, run(t.Context(), nil, env, &stdout, &stderr))
	require.Equal(t, 1, run(t.Context(), []string{"none", "masked", "email"}, env, &stdout, &stderr))
	require.Contains(t, stderr.String(), "none")
	_, err := masked([]byte(`[1]`), "email")
	require.ErrorContains(t, err, "mask email")
}
