package gcs_test

import (
	"context"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"errors"
	"io/fs"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/escrow-backup/escrow/repository/backend"
	"github.com/escrow-backup/escrow/repository/backend/gcs"
)

// authority gives tokens for a service account, and its key.
func authority(t *testing.T, h http.HandlerFunc) string {
	t.Helper()
	server := httptest.NewServer(h)
	t.Cleanup(server.Close)
	private, err := rsa.GenerateKey(rand.Reader, 2048)
	require.NoError(t, err)
	der, err := x509.MarshalPKCS8PrivateKey(private)
	require.NoError(t, err)
	key, err := json.Marshal(map[string]string{
		"type": "service_account", "client_email": "backup@project.iam.gserviceaccount.com", "private_key_id": "1", "token_uri": server.URL,
		"private_key": string(pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der})),
	})
	require.NoError(t, err)
	return string(key)
}

func TestServiceAccount(t *testing.T) {
	var mu sync.Mutex
	asked, status := 0, http.StatusUnauthorized
	key := authority(t, func(w http.ResponseWriter, r *http.Request) {
		mu.Lock()
		defer mu.Unlock()
		asked++
		if status != http.StatusOK {
			answer(w, status, map[string]string{"error": "invalid_grant", "error_description": "no such account", "access_token": token})
			return
		}
		require.NotEmpty(t, r.FormValue("assertion"))
		answer(w, status, map[string]any{"access_token": token, "token_type": "Bearer", "expires_in": 3600})
	})
	file := filepath.Join(t.TempDir(), "key.json")
	require.NoError(t, os.WriteFile(file, []byte(key), 0o600))
	for _, values := range []map[string]string{{"GOOGLE_SERVICE_ACCOUNT_JSON_KEY": key}, {"GOOGLE_APPLICATION_CREDENTIALS": file}} {
		b := serve(t, gcs.Config{Settings: settings(values)}, func(w http.ResponseWriter, r *http.Request) {
			if r.Header.Get("Authorization") != "Bearer "+token {
				refuse(w, r, 401, "authError", "No.")
				return
			}
			answer(w, 200, map[string]string{"name": "config", "size": "7"})
		})
		mu.Lock()
		status = http.StatusUnauthorized
		mu.Unlock()
		for op, err := range everyCall(b) {
			require.ErrorIs(t, err, fs.ErrPermission, op)
			require.ErrorContains(t, err, "get a token: 401 invalid_grant no such account", op)
			requireNoSecret(t, err)
		}
		mu.Lock()
		status, asked = http.StatusServiceUnavailable, 0
		mu.Unlock()
		_, err := b.Stat(t.Context(), backend.Handle{Type: backend.Config})
		require.ErrorContains(t, err, "503")
		require.NotErrorIs(t, err, fs.ErrPermission)
		mu.Lock()
		status, asked = http.StatusOK, 0
		mu.Unlock()
		for range 3 {
			info, err := b.Stat(t.Context(), backend.Handle{Type: backend.Config})
			require.NoError(t, err)
			require.Equal(t, int64(7), info.Size)
		}
		require.Equal(t, 1, asked)
	}
}

// Who waits for a token does not wait longer than his context lives.
func TestCancelledWhileATokenIsGot(t *testing.T) {
	ctx, cancel := context.WithCancelCause(t.Context())
	cause := errors.New("the cause")
	release := make(chan struct{})
	key := authority(t, func(http.ResponseWriter, *http.Request) {
		cancel(cause)
		<-release
	})
	t.Cleanup(func() { close(release) })
	b, err := gcs.Opener(t.Context(), "bucket:/", settings(map[string]string{"GOOGLE_SERVICE_ACCOUNT_JSON_KEY": key}))
	require.NoError(t, err)
	_, err = b.Stat(ctx, backend.Handle{Type: backend.Config})
	require.ErrorIs(t, err, cause)
}

// An emulator gets no credentials that happen to be there, and those that are meant for it.
func TestEmulator(t *testing.T) {
	var header string
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		header = r.Header.Get("Authorization")
		answer(w, 200, map[string]string{"name": "config", "size": "7"})
	}))
	t.Cleanup(server.Close)
	for want, values := range map[string]map[string]string{"": {}, "Bearer " + token: {"GOOGLE_ACCESS_TOKEN": token}} {
		values["STORAGE_EMULATOR_HOST"] = strings.TrimPrefix(server.URL, "http://")
		b, err := gcs.Opener(t.Context(), "bucket:/", settings(values))
		require.NoError(t, err)
		_, err = b.Stat(t.Context(), backend.Handle{Type: backend.Config})
		require.NoError(t, err)
		require.Equal(t, want, header)
		require.NoError(t, b.Close())
	}
}
