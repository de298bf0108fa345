package servers

import (
	"encoding/base64"
	"fmt"
	"path/filepath"
	"strconv"
	"testing"

	"github.com/escrow-backup/escrow/repository/backend"
)

// Azure is a server that speaks the protocol of Azure Blob Storage.
type Azure struct {
	*Process

	URL     string // of the account, such as http://127.0.0.1:10000/account
	Account string
	Key     string
	CA      []byte // the certificate of the server's authority in PEM form; nil without TLS
}

// Azurite starts Azurite, Microsoft's emulator, with its data in memory, and with TLS if asked for.
func Azurite(t testing.TB, secure bool) *Azure {
	t.Helper()
	program := azuriteProgram.need(t)
	s := &Azure{Account: "account", Key: base64.StdEncoding.EncodeToString([]byte("the key of the account"))}
	port := freePort(t)
	addr := fmt.Sprintf("127.0.0.1:%d", port)
	s.URL = "http://" + addr + "/" + s.Account
	// The newest version of the protocol that it knows may be older than that of the SDK.
	args := []string{"--inMemoryPersistence", "--skipApiVersionCheck", "--disableTelemetry", "--blobHost", "127.0.0.1", "--blobPort", strconv.Itoa(port)}
	if secure {
		dir := t.TempDir()
		_, s.CA = certificate(t, dir)
		s.URL = "https://" + addr + "/" + s.Account
		args = append(args, "--cert", filepath.Join(dir, "public.crt"), "--key", filepath.Join(dir, "private.key"), "--oauth", "basic")
	}
	s.Process = start(t, []string{"AZURITE_ACCOUNTS=" + s.Account + ":" + s.Key}, program, args...)
	s.awaitPort(t, addr)
	return s
}

// Values are what our driver needs to reach the server, as a Secret would have them.
func (s *Azure) Values() map[string]string {
	return map[string]string{
		"AZURE_ACCOUNT_NAME": s.Account, "AZURE_ACCOUNT_KEY": s.Key, "AZURE_BLOB_ENDPOINT": s.URL, "CA_CERT_DATA": string(s.CA),
	}
}

// Settings are Values. Nothing is taken from the environment.
func (s *Azure) Settings() *backend.Settings { return settings(s.Values()) }
