package s3_test

import (
	"fmt"
	"io/fs"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"github.com/escrow-backup/escrow/repository/backend"
	"github.com/escrow-backup/escrow/repository/backend/s3"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// isolate keeps what this machine has of credentials out of the test.
func isolate(t *testing.T) {
	t.Setenv("HOME", t.TempDir())
	for _, name := range []string{
		"AWS_PROFILE", "AWS_SHARED_CREDENTIALS_FILE", "AWS_CONFIG_FILE", "AWS_WEB_IDENTITY_TOKEN_FILE", "AWS_ROLE_ARN", "AWS_REGION",
		"AWS_CONTAINER_CREDENTIALS_FULL_URI", "AWS_CONTAINER_CREDENTIALS_RELATIVE_URI", "AWS_CONTAINER_AUTHORIZATION_TOKEN",
		"AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE", "AWS_ENDPOINT_URL_STS",
	} {
		t.Setenv(name, "")
	}
}

// signer opens a backend with these settings, calls it once and returns the key id and the token that signed the request.
func signer(t *testing.T, c s3.Config, values map[string]string) (id, session string, err error) {
	t.Helper()
	values["AWS_REGION"] = "eu-west-1"
	c.Settings = settings(values)
	b := serve(t, c, func(w http.ResponseWriter, r *http.Request) {
		_, rest, _ := strings.Cut(r.Header.Get("Authorization"), "Credential=")
		id, _, _ = strings.Cut(rest, "/")
		session = r.Header.Get("X-Amz-Security-Token")
		object(w, 1)
	})
	_, err = b.Stat(t.Context(), backend.Handle{Type: backend.Config})
	return id, session, err
}

// nobody stands for a machine without an identity: asking the real address would take seconds.
func nobody(t *testing.T) string {
	server := httptest.NewServer(http.NotFoundHandler())
	t.Cleanup(server.Close)
	return server.URL
}

func TestStaticCredentials(t *testing.T) {
	isolate(t)
	id, session, err := signer(t, s3.Config{}, map[string]string{
		"AWS_ACCESS_KEY_ID": keyID, "AWS_SECRET_ACCESS_KEY": secret, "AWS_SESSION_TOKEN": token,
	})
	require.NoError(t, err)
	require.Equal(t, keyID, id)
	require.Equal(t, token, session)
}

func TestAnonymousOnlyIfAsked(t *testing.T) {
	isolate(t)
	id, _, err := signer(t, s3.Config{Anonymous: true}, map[string]string{})
	require.NoError(t, err)
	require.Empty(t, id)

	id, _, err = signer(t, s3.Config{}, map[string]string{"AWS_CONTAINER_CREDENTIALS_FULL_URI": nobody(t)})
	require.ErrorIs(t, err, fs.ErrPermission)
	require.ErrorContains(t, err, "no credentials: AWS_ACCESS_KEY_ID is not set; the shared credentials file")
	require.ErrorContains(t, err, "the identity of pod, task or machine: 404")
	require.Empty(t, id)
}

func TestSharedCredentialsFile(t *testing.T) {
	isolate(t)
	file := filepath.Join(t.TempDir(), "credentials")
	require.NoError(t, os.WriteFile(file, []byte("[default]\naws_access_key_id = first\naws_secret_access_key = x\n"+
		"[other]\naws_access_key_id = second\naws_secret_access_key = y\naws_session_token = z\n"), 0o600))
	for profile, want := range map[string]string{"": "first", "other": "second"} {
		id, session, err := signer(t, s3.Config{}, map[string]string{"AWS_SHARED_CREDENTIALS_FILE": file, "AWS_PROFILE": profile})
		require.NoError(t, err)
		require.Equal(t, want, id)
		require.Equal(t, want == "second", session == "z")
	}
}

// A pod on EKS: the token that its service account has is changed for credentials at the STS.
func TestWebIdentity(t *testing.T) {
	isolate(t)
	file := filepath.Join(t.TempDir(), "token")
	require.NoError(t, os.WriteFile(file, []byte("pod-token"), 0o600))
	sts := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		require.NoError(t, r.ParseForm())
		if r.Form.Get("WebIdentityToken") != "pod-token" || r.Form.Get("RoleArn") != "arn:aws:iam::1:role/backup" {
			http.Error(w, "no", http.StatusForbidden)
			return
		}
		w.Header().Set("Content-Type", "application/xml")
		fmt.Fprintf(w, `<AssumeRoleWithWebIdentityResponse xmlns="https://sts.amazonaws.com/doc/2011-06-15/">`+
			`<AssumeRoleWithWebIdentityResult><Credentials><AccessKeyId>assumed</AccessKeyId><SecretAccessKey>s</SecretAccessKey><SessionToken>t</SessionToken><Expiration>%s</Expiration></Credentials>`+
			`</AssumeRoleWithWebIdentityResult></AssumeRoleWithWebIdentityResponse>`, time.Now().Add(time.Hour).UTC().Format(time.RFC3339))
	}))
	t.Cleanup(sts.Close)
	values := map[string]string{
		"AWS_WEB_IDENTITY_TOKEN_FILE": file, "AWS_ROLE_ARN": "arn:aws:iam::1:role/backup", "AWS_ENDPOINT_URL_STS": sts.URL,
	}
	id, session, err := signer(t, s3.Config{}, values)
	require.NoError(t, err)
	require.Equal(t, "assumed", id)
	require.Equal(t, "t", session)

	// The settings may be a Secret, and know nothing of the pod.
	for name, v := range values {
		t.Setenv(name, v)
	}
	id, _, err = signer(t, s3.Config{}, map[string]string{})
	require.NoError(t, err)
	require.Equal(t, "assumed", id)

	t.Setenv("AWS_ROLE_ARN", "arn:aws:iam::1:role/another")
	values["AWS_ROLE_ARN"] = "arn:aws:iam::1:role/another"
	_, _, err = signer(t, s3.Config{}, values)
	require.ErrorIs(t, err, fs.ErrPermission)
	require.NotContains(t, err.Error(), "pod-token")
}

// Credentials of a task or machine that end before their time are asked for once more.
func TestExpiredTokenIsRenewed(t *testing.T) {
	isolate(t)
	issued := 0
	metadata := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		issued++
		fmt.Fprintf(w, `{"AccessKeyId":"key%d","SecretAccessKey":"s","Token":"t","Expiration":%q}`,
			issued, time.Now().Add(time.Hour).UTC().Format(time.RFC3339))
	}))
	t.Cleanup(metadata.Close)
	b := serve(t, s3.Config{Settings: settings(map[string]string{
		"AWS_CONTAINER_CREDENTIALS_FULL_URI": metadata.URL, "AWS_REGION": "eu-west-1",
	})}, func(w http.ResponseWriter, r *http.Request) {
		if strings.Contains(r.Header.Get("Authorization"), "Credential=key1/") {
			refuse(w, 400, "ExpiredToken", "The provided token has expired.")
			return
		}
		object(w, 4)
		fmt.Fprint(w, "data")
	})
	h := handle(backend.Pack, "p")
	_, err := load(b, h, 0, -1)
	require.ErrorContains(t, err, "ExpiredToken")
	require.NotErrorIs(t, err, fs.ErrPermission, "another try helps")
	got, err := load(b, h, 0, -1)
	require.NoError(t, err)
	require.Equal(t, "data", got)
	require.Equal(t, 2, issued)
}
