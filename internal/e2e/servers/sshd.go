package servers

import (
	"crypto/ed25519"
	"crypto/rand"
	"encoding/pem"
	"fmt"
	"os"
	"os/user"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	"golang.org/x/crypto/ssh"
	"golang.org/x/crypto/ssh/knownhosts"

	"github.com/escrow-backup/escrow/internal/e2e/need"
	"github.com/escrow-backup/escrow/repository/backend"
)

// SSHD is OpenSSH's server, for the user who runs the tests and one key.
type SSHD struct {
	*Process

	Addr           string // host and port
	User           string
	PrivateKey     []byte // in OpenSSH's form
	KnownHosts     []byte // the line for the server's key
	KeyFile        string // PrivateKey in a file
	KnownHostsFile string // KnownHosts in a file
	Dir            string // a temporary directory to keep repositories in
}

// OpenSSH starts sshd, whose sftp server denies the requests named, such as "hardlink", and does not announce them. The
// processes that it starts for its connections end with those, and so with the test's process.
func OpenSSH(t testing.TB, denied ...string) *SSHD {
	t.Helper()
	// sshd wants to be started by its absolute path, and is not on everybody's PATH.
	program := "/usr/sbin/sshd"
	const sftpServer = "/usr/lib/openssh/sftp-server"
	for _, file := range []string{program, sftpServer} {
		if _, err := os.Stat(file); err != nil {
			need.Missing(t, "%s is not there: apt-get install openssh-server openssh-sftp-server", file)
		}
	}
	if os.Getuid() == 0 {
		// Started by root, sshd insists on this empty directory, which its service unit makes elsewhere.
		require.NoError(t, os.MkdirAll("/run/sshd", 0o755))
	}
	me, err := user.Current()
	require.NoError(t, err)
	dir := t.TempDir()
	addr := fmt.Sprintf("127.0.0.1:%d", freePort(t))
	s := &SSHD{
		Addr: addr, User: me.Username, Dir: t.TempDir(),
		KeyFile: filepath.Join(dir, "key"), KnownHostsFile: filepath.Join(dir, "known_hosts"),
	}
	host, hostKey := sshKey(t)
	login, key := sshKey(t)
	s.PrivateKey, s.KnownHosts = key, []byte(knownhosts.Line([]string{addr}, host)+"\n")
	subsystem := sftpServer
	if len(denied) > 0 {
		subsystem += " -P " + strings.Join(denied, ",")
	}
	config := strings.Join([]string{
		"ListenAddress " + addr,
		"HostKey " + filepath.Join(dir, "host"),
		"AuthorizedKeysFile " + filepath.Join(dir, "authorized"),
		"PidFile none",
		"UsePAM no",
		"StrictModes no", // temporary directories lie below one that all can write to
		"PasswordAuthentication no",
		"KbdInteractiveAuthentication no",
		"PermitRootLogin prohibit-password",
		"MaxStartups 100",
		"Subsystem sftp " + subsystem,
	}, "\n")
	for name, content := range map[string][]byte{
		"host": hostKey, "key": key, "authorized": ssh.MarshalAuthorizedKey(login), "known_hosts": s.KnownHosts, "config": []byte(config + "\n"),
	} {
		require.NoError(t, os.WriteFile(filepath.Join(dir, name), content, 0o600))
	}
	s.Process = start(t, nil, program, "-D", "-e", "-f", filepath.Join(dir, "config"))
	s.awaitPort(t, addr)
	return s
}

// URL names the repository at path, which is absolute.
func (s *SSHD) URL(path string) string { return "sftp://" + s.User + "@" + s.Addr + "/" + path }

// Settings are what our driver needs to reach the server. Nothing is taken from the environment.
func (s *SSHD) Settings() *backend.Settings {
	return settings(map[string]string{"SSH_PRIVATE_KEY": string(s.PrivateKey), "SSH_KNOWN_HOSTS": string(s.KnownHosts)})
}

// Command is how the ssh program reaches the server's sftp subsystem.
func (s *SSHD) Command(t testing.TB) string {
	t.Helper()
	host, port, _ := strings.Cut(s.Addr, ":")
	return fmt.Sprintf("%s -F none -p %s -i %s -o IdentitiesOnly=yes -o StrictHostKeyChecking=yes -o UserKnownHostsFile=%s %s@%s -s sftp",
		need.Program(t, "ssh", "apt-get install openssh-client"), port, s.KeyFile, s.KnownHostsFile, s.User, host)
}

func sshKey(t testing.TB) (public ssh.PublicKey, private []byte) {
	t.Helper()
	_, key, err := ed25519.GenerateKey(rand.Reader)
	require.NoError(t, err)
	block, err := ssh.MarshalPrivateKey(key, "")
	require.NoError(t, err)
	signer, err := ssh.NewSignerFromKey(key)
	require.NoError(t, err)
	return signer.PublicKey(), pem.EncodeToMemory(block)
}
