package storage_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"testing"
	"time"

	"github.com/Azure/azure-sdk-for-go/sdk/storage/azblob/blob"
	"github.com/Azure/azure-sdk-for-go/sdk/storage/azblob/container"
	"github.com/Azure/azure-sdk-for-go/sdk/storage/azblob/lease"
	"github.com/Azure/azure-sdk-for-go/sdk/storage/azblob/sas"
	"github.com/stretchr/testify/require"

	"github.com/escrow-backup/escrow/internal/e2e/servers"
	"github.com/escrow-backup/escrow/repository/backend"
	"github.com/escrow-backup/escrow/repository/backend/azure"
	"github.com/escrow-backup/escrow/repository/backend/backendtest"
)

// openAzure opens a place at the server, as a program would. The container need not exist.
func openAzure(t testing.TB, s *backend.Settings, place string) backend.Backend {
	t.Helper()
	var m backend.Mux
	m.Handle("azure", azure.Opener)
	b, err := m.Open(t.Context(), "azure:"+place, s)
	require.NoError(t, err)
	t.Cleanup(func() { _ = b.Close() }) // the conformance suite has closed it
	return b
}

// azureWith are the settings for the server with some of them changed.
func azureWith(s *servers.Azure, change map[string]string) *backend.Settings {
	values := s.Values()
	maps.Copy(values, change)
	return &backend.Settings{Lookup: func(key string) (string, bool) {
		v, found := values[key]
		return v, found
	}}
}

// azureClient is what looks behind the driver's back.
func azureClient(t testing.TB, s *servers.Azure) *container.Client {
	t.Helper()
	c, err := container.NewClientWithSharedKeyCredential(s.URL+"/container", azureKey(t, s), nil)
	require.NoError(t, err)
	return c
}

func azureKey(t testing.TB, s *servers.Azure) *blob.SharedKeyCredential {
	t.Helper()
	key, err := blob.NewSharedKeyCredential(s.Account, s.Key)
	require.NoError(t, err)
	return key
}

func TestAzureConformance(t *testing.T) {
	for _, secure := range []bool{false, true} {
		t.Run(fmt.Sprintf("TLS %v", secure), func(t *testing.T) {
			t.Parallel()
			s := servers.Azurite(t, secure)
			entries := 5100 // more than a page
			if secure {
				entries = 100
			}
			n := 0
			backendtest.Run(t, func(t *testing.T) backend.Backend {
				n++
				return openAzure(t, s.Settings(), fmt.Sprintf("container:/prefix/%d", n))
			}, &backendtest.Options{ListEntries: entries})
		})
	}
}

func TestAzureRestic(t *testing.T) {
	t.Parallel()
	s := servers.Azurite(t, false)
	resticJudgesCopy(t, openAzure(t, s.Settings(), "container:/ours"), openAzure(t, s.Settings(), "container:/theirs"))
}

func TestAzure(t *testing.T) {
	t.Parallel()
	s := servers.Azurite(t, false)

	t.Run("missing container", func(t *testing.T) {
		missing, err := azure.Open(t.Context(), azure.Config{Container: "missing", Settings: s.Settings()})
		require.NoError(t, err)
		t.Cleanup(func() { require.NoError(t, missing.Close()) })
		for op, err := range s3EveryCall(t, missing) {
			require.ErrorIs(t, err, fs.ErrNotExist, op)
			require.ErrorContains(t, err, `container "missing" does not exist at 127.0.0.1:`, op)
		}
		// A location in a URL is like restic's: the first Save makes the container.
		b := openAzure(t, s.Settings(), "missing:/")
		for _, err := range b.List(t.Context(), backend.Key) {
			require.NoError(t, err)
		}
		h := s3Put(t, b, backend.Key, "key")
		require.Equal(t, "key", s3Get(t, missing, h))
	})

	b := openAzure(t, s.Settings(), "container:/")
	h := s3Put(t, b, backend.Config, "config")

	t.Run("wrong credentials", func(t *testing.T) {
		const wrong = "bm90IHRoZSBrZXkgb2YgdGhlIGFjY291bnQ="
		for name, change := range map[string]map[string]string{
			"key":     {"AZURE_ACCOUNT_KEY": wrong},
			"account": {"AZURE_ACCOUNT_NAME": "nobody"},
			"signature": {"AZURE_ACCOUNT_KEY": "",
				"AZURE_ACCOUNT_SAS": "sv=2023-11-03&ss=b&srt=sco&sp=rwdlac&se=2099-01-01T00:00:00Z&sig=" + wrong},
		} {
			for op, err := range s3EveryCall(t, openAzure(t, azureWith(s, change), "container:/")) {
				require.ErrorIs(t, err, fs.ErrPermission, "%s with a wrong %s", op, name)
				require.NotErrorIs(t, err, fs.ErrNotExist)
				require.NotContains(t, err.Error(), wrong[:20])
			}
		}
	})

	t.Run("shared access signature", func(t *testing.T) {
		sign := func(permissions sas.AccountPermissions) *backend.Settings {
			q, err := sas.AccountSignatureValues{
				Protocol: sas.ProtocolHTTPSandHTTP, ExpiryTime: time.Now().Add(time.Hour), Permissions: permissions.String(),
				ResourceTypes: (&sas.AccountResourceTypes{Container: true, Object: true}).String(),
			}.SignWithSharedKey(azureKey(t, s))
			require.NoError(t, err)
			return azureWith(s, map[string]string{"AZURE_ACCOUNT_KEY": "", "AZURE_ACCOUNT_SAS": "?" + q.Encode()})
		}
		all := openAzure(t, sign(sas.AccountPermissions{Read: true, Write: true, Delete: true, List: true, Create: true}), "container:/sas")
		h := s3Put(t, all, backend.Key, "content")
		reader := openAzure(t, sign(sas.AccountPermissions{Read: true, List: true}), "container:/sas")
		require.Equal(t, "content", s3Get(t, reader, h))
		for fi, err := range reader.List(t.Context(), backend.Key) {
			require.NoError(t, err)
			require.Equal(t, h, fi.Handle)
		}
		require.ErrorIs(t, reader.Remove(t.Context(), h), fs.ErrPermission)
		content := []byte("other")
		other := backendtest.HandleOf(backend.Key, content)
		require.ErrorIs(t, reader.Save(t.Context(), other, bytes.NewReader(content), 5), fs.ErrPermission)
		require.NoError(t, all.Remove(t.Context(), h))
	})

	// What is stored is what was hashed: the service refuses a body that has changed on its way.
	t.Run("changed body", func(t *testing.T) { requireChecked(t, b) })

	// An upload that is broken off leaves nothing behind.
	t.Run("broken upload", func(t *testing.T) {
		content := s3Noise(0, 30<<20)
		h := backendtest.HandleOf(backend.Pack, content)
		ctx, cancel := context.WithCancelCause(t.Context())
		defer cancel(nil)
		cause := errors.New("the cause")
		body := &tripwire{r: bytes.NewReader(content), at: int64(len(content)) * 3 / 2, trip: func() { cancel(cause) }}
		require.ErrorIs(t, b.Save(ctx, h, body, int64(len(content))), cause)
		pages := azureClient(t, s).NewListBlobsFlatPager(&container.ListBlobsFlatOptions{Include: container.ListBlobsInclude{UncommittedBlobs: true}})
		for pages.More() {
			page, err := pages.NextPage(t.Context())
			require.NoError(t, err)
			for _, item := range page.Segment.BlobItems {
				require.NotEqual(t, h.Path(), *item.Name)
			}
		}
		require.NoError(t, b.Save(t.Context(), h, bytes.NewReader(content), int64(len(content))))
	})

	t.Run("tier of packs", func(t *testing.T) {
		settings := s.Settings()
		settings.StorageClass = "cool"
		b := openAzure(t, settings, "container:/tier")
		for typ, want := range map[backend.FileType]string{backend.Pack: "Cool", backend.Index: "Hot"} {
			h := s3Put(t, b, typ, "content")
			p, err := azureClient(t, s).NewBlobClient("tier/"+h.Path()).GetProperties(t.Context(), nil)
			require.NoError(t, err)
			require.Equal(t, want, *p.AccessTier)
		}
	})

	// Somebody holds a lease: the blob stays.
	t.Run("leased blob", func(t *testing.T) {
		c, err := lease.NewBlobClient(azureClient(t, s).NewBlobClient(h.Path()), nil)
		require.NoError(t, err)
		_, err = c.AcquireLease(t.Context(), -1, nil)
		require.NoError(t, err)
		require.ErrorIs(t, b.Remove(t.Context(), h), fs.ErrPermission)
		require.Equal(t, "config", s3Get(t, b, h))
	})

	// A server that dies while it is asked gives errors, and nothing false.
	t.Run("server gone", func(t *testing.T) {
		s.Kill()
		for op, err := range s3EveryCall(t, b) {
			require.Error(t, err, op)
			require.NotErrorIs(t, err, fs.ErrNotExist, op)
			require.NotErrorIs(t, err, fs.ErrPermission, op)
		}
	})
}

func TestAzureUntrustedCertificate(t *testing.T) {
	t.Parallel()
	s := servers.Azurite(t, true)
	for op, err := range s3EveryCall(t, openAzure(t, azureWith(s, map[string]string{"CA_CERT_DATA": ""}), "container:/")) {
		require.ErrorContains(t, err, "certificate", op)
		require.NotErrorIs(t, err, fs.ErrNotExist)
	}
	careless := azureWith(s, map[string]string{"CA_CERT_DATA": ""})
	careless.InsecureTLS = true
	b := openAzure(t, careless, "container:/")
	require.Equal(t, "key", s3Get(t, b, s3Put(t, b, backend.Key, "key")))
}

// requireChecked fails the test unless the service notices that what arrives is not what was read first.
func requireChecked(t *testing.T, b backend.Backend) {
	t.Helper()
	content := s3Noise(3, 1<<20)
	h := backendtest.HandleOf(backend.Pack, content)
	body := &changing{content: content, after: int64(len(content))}
	err := b.Save(t.Context(), h, body, int64(len(content)))
	require.Error(t, err)
	require.NotErrorIs(t, err, fs.ErrExist)
	_, err = b.Stat(t.Context(), h)
	require.ErrorIs(t, err, fs.ErrNotExist)
	require.NoError(t, b.Save(t.Context(), h, bytes.NewReader(content), int64(len(content))))
}

// changing has one byte changed once that many bytes have been read.
type changing struct {
	content []byte
	after   int64
}

func (c *changing) ReadAt(p []byte, off int64) (int, error) {
	n, err := bytes.NewReader(c.content).ReadAt(p, off)
	if c.after <= 0 && n > 0 {
		p[0] ^= 1
	}
	c.after -= int64(n)
	return n, err
}
