package repository

import (
	"bytes"
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/escrow-backup/escrow/internal/crypto"
	"github.com/escrow-backup/escrow/repository/backend"
)

// keyFile is the content of a key file: the master key, sealed with a key derived from a password.
type keyFile struct {
	Created  time.Time `json:"created"`
	Username string    `json:"username"`
	Hostname string    `json:"hostname"`
	KDF      string    `json:"kdf"`
	N        int       `json:"N"`
	R        int       `json:"r"`
	P        int       `json:"p"`
	Salt     []byte    `json:"salt"`
	Data     []byte    `json:"data"`
}

// addKey stores a key file for the password and gives its name. f says who made it and when.
func addKey(ctx context.Context, b backend.Backend, master *crypto.Key, pw Password, p crypto.Params, made keyFile) (ID, error) {
	f := keyFile{
		Created: made.Created, Username: made.Username, Hostname: made.Hostname, KDF: "scrypt", N: p.N, R: p.R, P: p.P, Salt: make([]byte, 64),
	}
	rand.Read(f.Salt) // never fails
	user, err := crypto.Derive(p, f.Salt, string(pw))
	if err != nil {
		return ID{}, fmt.Errorf("make key: %w", err)
	}
	f.Data = user.Seal(append(make([]byte, crypto.IVSize), master.Encode()...))
	text, err := json.Marshal(f)
	if err != nil {
		return ID{}, fmt.Errorf("make key: %w", err)
	}
	id := Hash(text)
	h := backend.Handle{Type: backend.Key, Name: id.String()}
	return id, save(ctx, b, h, bytes.NewReader(text), int64(len(text)))
}

// findKey tries the keys one after the other: each takes much memory. It gives the master key, and the name of the file that
// the password opened. The master key must open the sealed config: two that init the same place at once store a key each, of
// which one belongs to the config.
func findKey(ctx context.Context, b backend.Backend, pw Password, config []byte) (*crypto.Key, ID, error) {
	var handles []backend.Handle
	for fi, err := range b.List(ctx, backend.Key) {
		if err != nil {
			return nil, ID{}, err
		}
		handles = append(handles, fi.Handle)
	}
	if len(handles) == 0 {
		return nil, ID{}, fmt.Errorf("%w: the repository has no keys", ErrDamaged)
	}
	slices.SortFunc(handles, func(a, b backend.Handle) int { return strings.Compare(a.Name, b.Name) })
	var problems []error
	var foreign error
	wrong := 0
	for _, h := range handles {
		if err := context.Cause(ctx); err != nil {
			return nil, ID{}, err
		}
		k, err := openKey(ctx, b, h, pw)
		if err == nil {
			if _, cerr := k.Open(bytes.Clone(config)); cerr != nil {
				foreign = fmt.Errorf("%w: config: the master key of %v does not open it: %w", ErrDamaged, h, cerr)
				continue
			}
		}
		switch {
		case err == nil:
			id, err := ParseID(h.Name)
			return k, id, err
		case errors.Is(err, ErrWrongPassword):
			wrong++
		default:
			problems = append(problems, err)
		}
	}
	if foreign != nil {
		return nil, ID{}, foreign
	}
	if len(problems) == 0 {
		return nil, ID{}, fmt.Errorf("%w (keys tried: %d)", ErrWrongPassword, wrong)
	}
	if wrong > 0 {
		// Another password may well open another key, yet one that cannot be read may have been the one wanted.
		return nil, ID{}, fmt.Errorf("%w (keys tried: %d; not usable: %w)", ErrWrongPassword, wrong, errors.Join(problems...))
	}
	return nil, ID{}, errors.Join(problems...)
}

func openKey(ctx context.Context, b backend.Backend, h backend.Handle, pw Password) (*crypto.Key, error) {
	text, err := readFile(ctx, b, h)
	if err != nil {
		return nil, err
	}
	f, err := decodeKeyFile(text)
	if err != nil {
		return nil, fmt.Errorf("%v: %w", h, err)
	}
	user, err := crypto.Derive(crypto.Params{N: f.N, R: f.R, P: f.P}, f.Salt, string(pw))
	if err != nil {
		return nil, fmt.Errorf("%v: %w", h, err)
	}
	secret, err := user.Open(f.Data)
	if err != nil {
		return nil, ErrWrongPassword
	}
	k, err := crypto.Decode(secret)
	if err != nil {
		return nil, fmt.Errorf("%v: %w", h, err)
	}
	return k, nil
}

func decodeKeyFile(text []byte) (keyFile, error) {
	var f keyFile
	if err := json.Unmarshal(text, &f); err != nil {
		return f, fmt.Errorf("decode key: %w: %w", ErrDamaged, err)
	}
	if f.KDF != "scrypt" {
		return f, fmt.Errorf("decode key: key derivation %.20q is not supported", f.KDF)
	}
	if len(f.Data) < crypto.Overhead {
		return f, fmt.Errorf("decode key: %w: no data", ErrDamaged)
	}
	return f, nil
}

func hostname() string {
	h, _ := os.Hostname() // without a name, none is recorded
	return h
}

func username() string {
	// os/user may load C libraries or ask a directory server; a name for people to read is not worth that.
	if u := os.Getenv("USER"); u != "" {
		return u
	}
	return os.Getenv("USERNAME")
}
