package main

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"
)

// What is not said is left to the API's priorities and fairness.
func TestTheOperatorDoesNotHoldItselfBack(t *testing.T) {
	path := filepath.Join(t.TempDir(), "config")
	require.NoError(t, os.WriteFile(path, []byte(`
apiVersion: v1
kind: Config
current-context: here
clusters: [{name: here, cluster: {server: "https://127.0.0.1:1"}}]
contexts: [{name: here, context: {cluster: here}}]
`), 0o600))
	config, err := restConfig(path)
	require.NoError(t, err)
	require.Equal(t, "https://127.0.0.1:1", config.Host)
	require.Negative(t, config.QPS)
}
