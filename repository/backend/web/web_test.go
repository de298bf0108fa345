package web_test

import (
	"net/http"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/escrow-backup/escrow/repository/backend"
	"github.com/escrow-backup/escrow/repository/backend/web"
)

func TestProxy(t *testing.T) {
	values := map[string]string{"https_proxy": "http://proxy:3128", "HTTP_PROXY": "http://proxy:3128", "NO_PROXY": "internal.example.org"}
	transport, err := web.Transport(&backend.Settings{Lookup: func(key string) (string, bool) {
		v, found := values[key]
		return v, found
	}})
	require.NoError(t, err)
	for address, want := range map[string]bool{
		"https://storage.example.org/":    true,
		"http://storage.example.org/":     true,
		"https://internal.example.org/":   false,
		"http://169.254.169.254/metadata": false,
		"http://[fe80::1]/metadata":       false,
	} {
		r, err := http.NewRequest(http.MethodGet, address, nil)
		require.NoError(t, err)
		proxy, err := transport.Proxy(r)
		require.NoError(t, err)
		require.Equal(t, want, proxy != nil, address)
	}
}

func TestCertificates(t *testing.T) {
	for name, values := range map[string]map[string]string{
		"CA_CERT_DATA: no certificate": {"CA_CERT_DATA": "nonsense"},
		"RESTIC_CACERT":                {"RESTIC_CACERT": "/nowhere/ca.pem"},
	} {
		_, err := web.Transport(&backend.Settings{Lookup: func(key string) (string, bool) {
			v, found := values[key]
			return v, found
		}})
		require.ErrorContains(t, err, name)
	}
}
