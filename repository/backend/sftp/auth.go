package sftp

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"golang.org/x/crypto/ssh"
	"golang.org/x/crypto/ssh/agent"
	"golang.org/x/crypto/ssh/knownhosts"

	"github.com/escrow-backup/escrow/repository/backend"
)

// fill sets what the URL cannot say.
func (c *Config) fill(s *backend.Settings) error {
	var env backend.Settings
	home, _ := os.UserHomeDir() // without one there are no files in it
	c.PrivateKey = []byte(s.Value("SSH_PRIVATE_KEY"))
	c.Passphrase = s.Value("SSH_PRIVATE_KEY_PASSPHRASE")
	c.Password = s.Value("SSH_PASSWORD")
	if file := s.Value("SSH_PRIVATE_KEY_FILE"); len(c.PrivateKey) == 0 && file != "" {
		var err error
		if c.PrivateKey, err = os.ReadFile(file); err != nil {
			return fmt.Errorf("SSH_PRIVATE_KEY_FILE: %w", err)
		}
	}
	if len(c.PrivateKey) == 0 {
		if c.Agent = s.Value("SSH_AUTH_SOCK"); c.Agent == "" && c.Password == "" {
			c.Agent = env.Value("SSH_AUTH_SOCK")
		}
	}
	c.KnownHosts = []byte(s.Value("SSH_KNOWN_HOSTS"))
	if len(c.KnownHosts) == 0 {
		c.KnownHostsFiles = strings.Fields(s.Value("SSH_KNOWN_HOSTS_FILE"))
		if len(c.KnownHostsFiles) == 0 && home != "" {
			c.KnownHostsFiles = []string{filepath.Join(home, ".ssh", "known_hosts")}
		}
	}
	if s != nil {
		c.InsecureIgnoreHostKey, c.Connections = s.InsecureTLS, s.Connections
	}
	if len(c.PrivateKey) == 0 && c.Password == "" && home != "" {
		for _, name := range []string{"id_ed25519", "id_ecdsa", "id_rsa"} {
			pem, err := os.ReadFile(filepath.Join(home, ".ssh", name))
			if err != nil {
				continue // what cannot be read is not ours to use
			}
			if _, err := ssh.ParsePrivateKey(pem); err == nil {
				c.PrivateKey = pem
				break
			}
		}
	}
	return nil
}

// keys are what the server is told of who we are.
type keys struct {
	signer ssh.Signer // nil: no key
	agent  string     // path of a socket; "": none
}

// configure prepares the login.
func (b *Backend) configure() error {
	c := &b.cfg
	b.ssh = &ssh.ClientConfig{User: c.User, Timeout: dialLimit}
	if len(c.PrivateKey) > 0 {
		var err error
		if c.Passphrase != "" {
			b.keys.signer, err = ssh.ParsePrivateKeyWithPassphrase(c.PrivateKey, []byte(c.Passphrase))
		} else {
			b.keys.signer, err = ssh.ParsePrivateKey(c.PrivateKey)
		}
		var missing *ssh.PassphraseMissingError
		switch {
		case errors.As(err, &missing):
			return fmt.Errorf("the private key needs a passphrase: %w", fs.ErrPermission)
		case err != nil:
			return fmt.Errorf("the private key or its passphrase: %w", err)
		}
	}
	b.keys.agent = c.Agent
	if b.keys.signer != nil || b.keys.agent != "" {
		b.ssh.Auth = append(b.ssh.Auth, ssh.PublicKeysCallback(b.keys.signers))
	}
	if c.Password != "" {
		b.ssh.Auth = append(b.ssh.Auth, ssh.Password(c.Password),
			ssh.KeyboardInteractive(func(_, _ string, questions []string, echos []bool) ([]string, error) {
				answers := make([]string, len(questions))
				for i := range questions {
					if echos[i] {
						return nil, errors.New("the server asks for more than a password")
					}
					answers[i] = c.Password
				}
				return answers, nil
			}))
	}
	if len(b.ssh.Auth) == 0 {
		return errors.New("no private key, no agent and no password: nothing to log in with")
	}
	return b.verify()
}

// signers are the keys to log in with. The agent is asked anew for each connection: it may have got or lost some.
func (k keys) signers() ([]ssh.Signer, error) {
	var all []ssh.Signer
	if k.agent != "" {
		held, err := agentSigners(k.agent)
		if err != nil && k.signer == nil {
			return nil, fmt.Errorf("agent at %s: %w", k.agent, err)
		}
		all = held
	}
	if k.signer != nil {
		all = append(all, k.signer)
	}
	return all, nil
}

func agentSigners(socket string) ([]ssh.Signer, error) {
	list, err := withAgent(socket, func(a agent.Agent) ([]ssh.Signer, error) { return a.Signers() })
	for i, s := range list {
		list[i] = agentSigner{socket, s.PublicKey()}
	}
	return list, err
}

func withAgent[T any](socket string, fn func(agent.Agent) (T, error)) (T, error) {
	conn, err := net.DialTimeout("unix", socket, dialLimit)
	if err != nil {
		var none T
		return none, err
	}
	defer func() { _ = conn.Close() }() // it has answered
	return fn(agent.NewClient(conn))
}

// verify says which keys of the server to accept.
func (b *Backend) verify() (err error) {
	c := &b.cfg
	if c.InsecureIgnoreHostKey {
		b.ssh.HostKeyCallback = ssh.InsecureIgnoreHostKey()
		return nil
	}
	files := c.KnownHostsFiles
	if len(c.KnownHosts) > 0 {
		// The parser takes files only.
		f, err := os.CreateTemp("", "known_hosts-*")
		if err != nil {
			return fmt.Errorf("known hosts: %w", err)
		}
		defer func() { _ = os.Remove(f.Name()) }() // a public key more or less
		_, err = f.Write(c.KnownHosts)
		if err := errors.Join(err, f.Close()); err != nil {
			return fmt.Errorf("known hosts: %w", err)
		}
		files = append(slices.Clone(files), f.Name())
	}
	if len(files) == 0 {
		return errors.New("no known hosts: the server's key must be in a known_hosts file")
	}
	callback, err := knownhosts.New(files...)
	if err != nil {
		return fmt.Errorf("known hosts: %w", err)
	}
	b.ssh.HostKeyCallback = callback
	b.ssh.HostKeyAlgorithms = algorithms(callback, net.JoinHostPort(c.Host, strconv.Itoa(c.Port)))
	return nil
}

// algorithms are those of the keys that are known of a host, so that the server shows one of these and not another that it
// has. nil: none is known, or only the authority that signs them.
func algorithms(callback ssh.HostKeyCallback, addr string) []string {
	var keyErr *knownhosts.KeyError
	if err := callback(addr, &net.TCPAddr{}, noKey{}); !errors.As(err, &keyErr) {
		return nil
	}
	var all []string
	for _, k := range keyErr.Want {
		names := []string{k.Key.Type()}
		if k.Key.Type() == ssh.KeyAlgoRSA {
			names = []string{ssh.KeyAlgoRSASHA512, ssh.KeyAlgoRSASHA256}
		}
		for _, n := range names {
			if !slices.Contains(all, n) {
				all = append(all, n)
			}
		}
	}
	return all
}

// noKey is a key that no host has.
type noKey struct{}

func (noKey) Type() string                        { return "none" }
func (noKey) Marshal() []byte                     { return []byte("none") }
func (noKey) Verify([]byte, *ssh.Signature) error { return errors.New("no key") }

// explain makes an error of the login one that tells what to do, and, where another try would be refused again, one that
// wraps fs.ErrPermission.
func (b *Backend) explain(err error) error {
	var keyErr *knownhosts.KeyError
	var revoked *knownhosts.RevokedError
	switch {
	case errors.As(err, &revoked):
		return fmt.Errorf("the server's key is revoked: %w", fs.ErrPermission)
	case errors.As(err, &keyErr) && len(keyErr.Want) > 0:
		return fmt.Errorf("the server's key is not the known one (%s:%d): somebody may be in between, or the server is new: %w",
			filepath.Base(keyErr.Want[0].Filename), keyErr.Want[0].Line, fs.ErrPermission)
	case errors.As(err, &keyErr):
		return fmt.Errorf("the server's key is not in known_hosts; ssh-keyscan prints it, compare it with what the server's owner says: %w",
			fs.ErrPermission)
	case strings.Contains(err.Error(), "unable to authenticate"):
		return fmt.Errorf("%w: %w", err, fs.ErrPermission)
	case strings.Contains(err.Error(), "no common algorithm for host key"):
		return fmt.Errorf("the server has no key of the known kinds %v: %w", b.ssh.HostKeyAlgorithms, fs.ErrPermission)
	}
	return err
}

// agentSigner signs with a key that the agent holds, over a connection of its own for each signature.
type agentSigner struct {
	socket string
	key    ssh.PublicKey
}

var _ ssh.AlgorithmSigner = agentSigner{}

func (s agentSigner) PublicKey() ssh.PublicKey { return s.key }

func (s agentSigner) Sign(rand io.Reader, data []byte) (*ssh.Signature, error) {
	return s.SignWithAlgorithm(rand, data, "")
}

func (s agentSigner) SignWithAlgorithm(rand io.Reader, data []byte, algorithm string) (*ssh.Signature, error) {
	return withAgent(s.socket, func(a agent.Agent) (*ssh.Signature, error) {
		list, err := a.Signers()
		if err != nil {
			return nil, err
		}
		for _, held := range list {
			if !bytes.Equal(held.PublicKey().Marshal(), s.key.Marshal()) {
				continue
			}
			if as, ok := held.(ssh.AlgorithmSigner); ok && algorithm != "" {
				return as.SignWithAlgorithm(rand, data, algorithm)
			}
			return held.Sign(rand, data)
		}
		return nil, errors.New("the agent has lost the key")
	})
}
