package sftp_test

import (
	"bytes"
	"context"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"
	"golang.org/x/crypto/ssh"
	"golang.org/x/crypto/ssh/agent"
	"golang.org/x/crypto/ssh/knownhosts"

	"github.com/escrow-backup/escrow/internal/usertest"
	"github.com/escrow-backup/escrow/repository/backend"
	"github.com/escrow-backup/escrow/repository/backend/backendtest"
	"github.com/escrow-backup/escrow/repository/backend/sftp"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func config(t *testing.T, s *server, private []byte, dir string) sftp.Config {
	t.Helper()
	host, port, err := net.SplitHostPort(s.addr)
	require.NoError(t, err)
	n, err := strconv.Atoi(port)
	require.NoError(t, err)
	return sftp.Config{Host: host, Port: n, User: "somebody", Path: dir, PrivateKey: private, KnownHosts: s.knownHosts()}
}

// opened opens a repository in dir, which the end of the test closes.
func opened(t *testing.T, dir string) (*server, *sftp.Backend) {
	t.Helper()
	s, private := start(t)
	b, err := sftp.Open(t.Context(), config(t, s, private, dir))
	require.NoError(t, err)
	t.Cleanup(func() { _ = b.Close() }) // tests may have closed it
	return s, b
}

func values(m map[string]string) *backend.Settings {
	return &backend.Settings{Lookup: func(key string) (string, bool) {
		v, ok := m[key]
		return v, ok
	}}
}

func save(ctx context.Context, b backend.Backend, typ backend.FileType, content []byte) (backend.Handle, error) {
	h := backendtest.HandleOf(typ, content)
	return h, b.Save(ctx, h, bytes.NewReader(content), int64(len(content)))
}

func list(t *testing.T, b backend.Backend, typ backend.FileType) (names []string) {
	t.Helper()
	for fi, err := range b.List(t.Context(), typ) {
		require.NoError(t, err)
		names = append(names, fi.Handle.Name)
	}
	return names
}

func TestConformance(t *testing.T) {
	s, private := start(t)
	backendtest.Run(t, func(t *testing.T) backend.Backend {
		b, err := sftp.Open(t.Context(), config(t, s, private, filepath.Join(t.TempDir(), "a", "repo")))
		require.NoError(t, err)
		return b
	}, &backendtest.Options{ListEntries: 200, LargeFile: 4 << 20})
}

func TestLayoutAndModes(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "repo")
	_, b := opened(t, dir)
	p, err := save(t.Context(), b, backend.Pack, []byte("p"))
	require.NoError(t, err)
	_, err = save(t.Context(), b, backend.Config, []byte("c"))
	require.NoError(t, err)
	got := map[string]string{}
	require.NoError(t, filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		require.NoError(t, err)
		fi, err := d.Info()
		require.NoError(t, err)
		rel, err := filepath.Rel(dir, path)
		got[rel] = fi.Mode().String()
		return err
	}))
	require.Equal(t, map[string]string{
		".": "drwx------", "config": "-r--------", "data": "drwx------", "data/" + p.Name[:2]: "drwx------",
		"data/" + p.Name[:2] + "/" + p.Name: "-r--------",
	}, got)
	require.Equal(t, 5, b.Connections())

	// A repository that its group may read stays so.
	require.NoError(t, os.Chmod(filepath.Join(dir, "config"), 0o440))
	_, b = opened(t, dir)
	k, err := save(t.Context(), b, backend.Key, []byte("k"))
	require.NoError(t, err)
	fi, err := os.Stat(filepath.Join(dir, "keys", k.Name))
	require.NoError(t, err)
	require.Equal(t, "-r--r-----", fi.Mode().String())
}

func TestLeftovers(t *testing.T) {
	dir := t.TempDir()
	name := backendtest.HandleOf(backend.Index, []byte("old")).Name
	index := filepath.Join(dir, "index")
	require.NoError(t, os.Mkdir(index, 0o700))
	old, fresh, foreign := filepath.Join(index, name+"-tmp-1"), filepath.Join(index, name+"-tmp-2"), filepath.Join(index, "mine-tmp-1")
	for _, f := range []string{old, fresh, foreign} {
		require.NoError(t, os.WriteFile(f, []byte("x"), 0o600))
	}
	for _, f := range []string{old, foreign} {
		require.NoError(t, os.Chtimes(f, time.Time{}, time.Now().Add(-48*time.Hour)))
	}
	_, b := opened(t, dir)
	require.Empty(t, list(t, b, backend.Index))
	_, err := save(t.Context(), b, backend.Index, []byte("new"))
	require.NoError(t, err)
	require.NoFileExists(t, old)
	require.FileExists(t, fresh)
	require.FileExists(t, foreign)
	require.Len(t, list(t, b, backend.Index), 1)
	entries, err := os.ReadDir(index)
	require.NoError(t, err)
	require.Len(t, entries, 3, "no temporary file of ours is left")
}

func TestForeignFilesAndLinks(t *testing.T) {
	dir, disk := t.TempDir(), t.TempDir()
	require.NoError(t, os.Symlink(disk, filepath.Join(dir, "data")))
	_, b := opened(t, dir)
	p, err := save(t.Context(), b, backend.Pack, []byte("p"))
	require.NoError(t, err)
	require.FileExists(t, filepath.Join(disk, p.Name[:2], p.Name))
	other := backendtest.HandleOf(backend.Pack, []byte("q")).Name
	require.NoError(t, os.WriteFile(filepath.Join(disk, "README"), nil, 0o600))
	require.NoError(t, os.WriteFile(filepath.Join(disk, "xy"), nil, 0o600))
	require.NoError(t, os.WriteFile(filepath.Join(disk, p.Name[:2], strings.Repeat("ff", 32)), nil, 0o600)) // in another's directory
	require.NoError(t, os.MkdirAll(filepath.Join(dir, "keys", other), 0o700))
	require.NoError(t, os.Symlink(filepath.Join(disk, p.Name[:2], p.Name), filepath.Join(dir, "keys", p.Name)))
	require.Equal(t, []string{p.Name}, list(t, b, backend.Pack))
	require.Equal(t, []string{p.Name}, list(t, b, backend.Key))
	_, err = b.Stat(t.Context(), backend.Handle{Type: backend.Key, Name: other})
	require.ErrorContains(t, err, "not a regular file")
	_, err = b.Load(t.Context(), backend.Handle{Type: backend.Key, Name: other}, 0, -1)
	require.Error(t, err)
	require.NoError(t, os.RemoveAll(filepath.Join(disk, p.Name[:2])))
	_, err = save(t.Context(), b, backend.Pack, []byte("p"))
	require.NoError(t, err, "the directory was removed meanwhile")
}

func TestHostKeys(t *testing.T) {
	s, private := start(t)
	good := config(t, s, private, t.TempDir())
	stranger, _ := newKey(t)
	try := func(change func(c *sftp.Config)) error {
		c := good
		change(&c)
		b, err := sftp.Open(t.Context(), c)
		if err == nil {
			require.NoError(t, b.Close())
		}
		return err
	}
	require.NoError(t, try(func(*sftp.Config) {}))
	file := filepath.Join(t.TempDir(), "known_hosts")
	require.NoError(t, os.WriteFile(file, s.knownHosts(), 0o600))
	require.NoError(t, try(func(c *sftp.Config) { c.KnownHosts, c.KnownHostsFiles = nil, []string{file} }))
	hashed := knownhosts.HashHostname(knownhosts.Normalize(s.addr)) + " " + string(ssh.MarshalAuthorizedKey(s.host.PublicKey()))
	require.NoError(t, try(func(c *sftp.Config) { c.KnownHosts = []byte(hashed) }))
	logins := s.logins.Load()

	changed := []byte(knownhosts.Line([]string{s.addr}, stranger.PublicKey()))
	err := try(func(c *sftp.Config) { c.KnownHosts = changed })
	require.ErrorIs(t, err, fs.ErrPermission)
	require.ErrorContains(t, err, "not the known one")
	err = try(func(c *sftp.Config) {
		c.KnownHosts = []byte(knownhosts.Line([]string{"other.example"}, s.host.PublicKey()))
	})
	require.ErrorIs(t, err, fs.ErrPermission)
	require.ErrorContains(t, err, "not in known_hosts")
	err = try(func(c *sftp.Config) { c.KnownHosts = append([]byte("@revoked "), s.knownHosts()...) })
	require.ErrorIs(t, err, fs.ErrPermission)
	require.ErrorContains(t, err, "revoked")
	require.ErrorContains(t, try(func(c *sftp.Config) { c.KnownHosts = nil }), "no known hosts")
	require.ErrorIs(t, try(func(c *sftp.Config) { c.KnownHosts, c.KnownHostsFiles = nil, []string{file + "-not"} }), fs.ErrNotExist)
	require.Equal(t, logins, s.logins.Load(), "nobody logged in to a server that may be another")

	require.NoError(t, try(func(c *sftp.Config) { c.KnownHosts, c.InsecureIgnoreHostKey = nil, true }))
}

func TestLogin(t *testing.T) {
	s, private := start(t)
	s.password = "s3cret"
	good := config(t, s, private, t.TempDir())
	try := func(change func(c *sftp.Config)) error {
		c := good
		c.PrivateKey = nil
		change(&c)
		b, err := sftp.Open(t.Context(), c)
		if err == nil {
			require.NoError(t, b.Close())
		}
		return err
	}
	require.NoError(t, try(func(c *sftp.Config) { c.Password = "s3cret" }))
	err := try(func(c *sftp.Config) { c.Password = "wr0ng" })
	require.ErrorIs(t, err, fs.ErrPermission)
	require.NotContains(t, err.Error(), "wr0ng")
	require.ErrorContains(t, try(func(*sftp.Config) {}), "nothing to log in with")
	_, other := newKey(t)
	require.ErrorIs(t, try(func(c *sftp.Config) { c.PrivateKey = other }), fs.ErrPermission)
	require.ErrorContains(t, try(func(c *sftp.Config) { c.PrivateKey = []byte("no key") }), "private key")

	// With a passphrase.
	key, err := ssh.ParseRawPrivateKey(private)
	require.NoError(t, err)
	block, err := ssh.MarshalPrivateKeyWithPassphrase(key, "", []byte("phrase"))
	require.NoError(t, err)
	locked := pem.EncodeToMemory(block)
	require.NoError(t, try(func(c *sftp.Config) { c.PrivateKey, c.Passphrase = locked, "phrase" }))
	require.ErrorContains(t, try(func(c *sftp.Config) { c.PrivateKey = locked }), "needs a passphrase")
	err = try(func(c *sftp.Config) { c.PrivateKey, c.Passphrase = locked, "phr4se" })
	require.ErrorIs(t, err, x509.IncorrectPasswordError)
	require.NotContains(t, err.Error(), "phr4se")

	// From an agent.
	ring := agent.NewKeyring()
	require.NoError(t, ring.Add(agent.AddedKey{PrivateKey: key}))
	socket := filepath.Join(t.TempDir(), "agent")
	l, err := net.Listen("unix", socket)
	require.NoError(t, err)
	done := make(chan struct{})
	go func() {
		defer close(done)
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			_ = agent.ServeAgent(ring, c) // until the client has what it wants
			_ = c.Close()
		}
	}()
	require.NoError(t, try(func(c *sftp.Config) { c.Agent = socket }))
	require.NoError(t, l.Close())
	<-done
	require.ErrorContains(t, try(func(c *sftp.Config) { c.Agent = socket }), "agent at "+socket)
}

func TestOpener(t *testing.T) {
	s, private := start(t)
	dir := t.TempDir()
	var m backend.Mux
	m.Handle("sftp", sftp.Opener)
	set := values(map[string]string{"SSH_PRIVATE_KEY": string(private), "SSH_KNOWN_HOSTS": string(s.knownHosts())})
	b, err := m.Open(t.Context(), "sftp://somebody@"+s.addr+"/"+dir+"/one/../repo", set)
	require.NoError(t, err)
	_, err = save(t.Context(), b, backend.Config, []byte("c"))
	require.NoError(t, err)
	require.FileExists(t, filepath.Join(dir, "repo", "config"))
	require.NoError(t, b.Close())
	require.ErrorIs(t, b.Close(), fs.ErrClosed)
	_, err = b.Stat(t.Context(), backend.Handle{Type: backend.Config})
	require.ErrorIs(t, err, fs.ErrClosed)

	// From files, with another number of connections.
	key, known := filepath.Join(dir, "key"), filepath.Join(dir, "known_hosts")
	require.NoError(t, os.WriteFile(key, private, 0o600))
	require.NoError(t, os.WriteFile(known, s.knownHosts(), 0o600))
	set = values(map[string]string{"SSH_PRIVATE_KEY_FILE": key, "SSH_KNOWN_HOSTS_FILE": known})
	set.Connections = 9
	b, err = m.Open(t.Context(), "sftp://somebody@"+s.addr+"/"+dir+"/repo", set)
	require.NoError(t, err)
	require.Equal(t, 9, backend.Connections(b))
	require.Empty(t, list(t, b, backend.Pack))
	require.NoError(t, b.Close())

	for _, url := range []string{
		"sftp:", "sftp:host", "sftp:user@host", "sftp:user@host:", "sftp::/path", "sftp://host", "sftp://user@host:22", "sftp:host:~/path",
		"sftp://user:secret@host//path", "sftp:user:secret@host:/path", "sftp://user:secret@ho st//path", "sftp://host:0x5//path",
	} {
		_, err := m.Open(t.Context(), url, set)
		require.ErrorContains(t, err, "open sftp: ", url)
		require.NotContains(t, err.Error(), "secret")
	}
}

func TestPermission(t *testing.T) {
	usertest.Unprivileged(t, func(t *testing.T) {
		dir := t.TempDir()
		_, b := opened(t, dir)
		k, err := save(t.Context(), b, backend.Key, []byte("k"))
		require.NoError(t, err)
		p, err := save(t.Context(), b, backend.Pack, []byte("p"))
		require.NoError(t, err)
		for _, locked := range []string{filepath.Join(dir, "keys"), filepath.Join(dir, "data", p.Name[:2])} {
			require.NoError(t, os.Chmod(locked, 0))
			t.Cleanup(func() { _ = os.Chmod(locked, 0o700) })
		}
		_, err = b.Load(t.Context(), k, 0, -1)
		require.ErrorIs(t, err, fs.ErrPermission)
		_, err = save(t.Context(), b, backend.Key, []byte("l"))
		require.ErrorIs(t, err, fs.ErrPermission)
		for _, typ := range []backend.FileType{backend.Key, backend.Pack} {
			listed := 0
			for _, err := range b.List(t.Context(), typ) {
				require.ErrorIs(t, err, fs.ErrPermission)
				listed++
			}
			require.Equal(t, 1, listed, "what cannot be listed is not empty")
		}
	})
}

// A broken connection fails the call, leaves nothing half done to be seen, and the next call has a new connection.
func TestBrokenConnection(t *testing.T) {
	s, b := opened(t, t.TempDir())
	content := bytes.Repeat([]byte("0123456789abcdef"), 256<<10)
	s.cutAfter.Store(2 << 20)
	h, err := save(t.Context(), b, backend.Pack, content)
	require.Error(t, err)
	require.ErrorContains(t, err, "broke")
	require.NotErrorIs(t, err, fs.ErrPermission)
	s.cutAfter.Store(0)
	_, err = b.Stat(t.Context(), h)
	require.ErrorIs(t, err, fs.ErrNotExist)
	require.Empty(t, list(t, b, backend.Pack))
	_, err = save(t.Context(), b, backend.Pack, content)
	require.NoError(t, err)

	r, err := b.Load(t.Context(), h, 0, -1)
	require.NoError(t, err)
	_, err = io.ReadFull(r, make([]byte, 10))
	require.NoError(t, err)
	s.cut()
	n, err := io.Copy(io.Discard, r)
	require.Error(t, err)
	require.Less(t, n, int64(len(content)))
	require.NoError(t, r.Close())
	require.Eventually(t, func() bool {
		fi, err := b.Stat(t.Context(), h)
		return err == nil && fi.Size == int64(len(content))
	}, 30*time.Second, 10*time.Millisecond)
	require.LessOrEqual(t, int32(3), s.logins.Load())
	require.NoError(t, s.listener.Close())
	s.cut()
	require.Eventually(t, func() bool {
		_, err := b.Stat(t.Context(), h)
		return err != nil && strings.Contains(err.Error(), "connection refused")
	}, 30*time.Second, 10*time.Millisecond)
	require.NoError(t, b.Close())
	s.listener, err = net.Listen("tcp", "127.0.0.1:0") // for the clean-up to close
	require.NoError(t, err)
}

// A server that goes silent must not hold a caller who no longer waits, and the next call must not meet its connection.
func TestSilentServer(t *testing.T) {
	s, b := opened(t, t.TempDir())
	content := bytes.Repeat([]byte("0123456789abcdef"), 256<<10)
	h, err := save(t.Context(), b, backend.Pack, content)
	require.NoError(t, err)
	cause := errors.New("enough")
	for name, call := range map[string]func(ctx context.Context) error{
		"save": func(ctx context.Context) error {
			_, err := save(ctx, b, backend.Pack, append([]byte("x"), content...))
			return err
		},
		"stat":   func(ctx context.Context) error { _, err := b.Stat(ctx, h); return err },
		"remove": func(ctx context.Context) error { return b.Remove(ctx, backendtest.HandleOf(backend.Key, nil)) },
		"list": func(ctx context.Context) error {
			for _, err := range b.List(ctx, backend.Pack) {
				return err
			}
			return nil
		},
		"load": func(ctx context.Context) error {
			s.silent.Store(false)
			r, err := b.Load(ctx, h, 0, -1)
			if err != nil {
				return fmt.Errorf("open: %w", err)
			}
			s.silent.Store(true)
			_, err = io.ReadAll(r)
			return errors.Join(err, r.Close())
		},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := b.Stat(t.Context(), backend.Handle{Type: backend.Config})
			require.ErrorIs(t, err, fs.ErrNotExist)
			s.silent.Store(true)
			ctx, cancel := context.WithTimeoutCause(t.Context(), 50*time.Millisecond, cause)
			defer cancel()
			require.ErrorIs(t, call(ctx), cause)
			s.silent.Store(false)
		})
	}
	t.Run("connect", func(t *testing.T) {
		s.silent.Store(true)
		defer s.silent.Store(false)
		ctx, cancel := context.WithTimeoutCause(t.Context(), 50*time.Millisecond, cause)
		defer cancel()
		c := config(t, s, nil, "x")
		c.Password = "x"
		_, err := sftp.Open(ctx, c)
		require.ErrorIs(t, err, cause)
	})
}
