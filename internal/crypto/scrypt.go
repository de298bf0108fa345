package crypto

import (
	"errors"
	"fmt"
	"time"

	"golang.org/x/crypto/scrypt"
)

// Params are the costs of deriving a key from a password with scrypt. Its memory is 128*N*R bytes, its time grows with
// N*R*P.
type Params struct{ N, R, P int }

const (
	maxScryptMemory = 512 << 20
	maxScryptCost   = 1 << 25 // about 20 times what restic chooses
	maxSalt         = 1024
)

// ErrParams says that the parameters of a key file are not valid or cost too much.
var ErrParams = errors.New("scrypt parameters are not valid or too costly")

// Valid returns an error wrapping ErrParams unless the parameters are usable and affordable: what a key file says is not
// to be trusted.
func (p Params) Valid() error {
	n, r, q := int64(p.N), int64(p.R), int64(p.P)
	switch {
	case n < 2 || n&(n-1) != 0 || r < 1 || q < 1,
		n > maxScryptMemory/128 || r > maxScryptMemory/128/n,
		q > maxScryptCost/(n*r):
		return fmt.Errorf("%w: N %d, r %d, p %d", ErrParams, p.N, p.R, p.P)
	}
	return nil
}

// Derive makes a Key of a password.
func Derive(p Params, salt []byte, password string) (*Key, error) {
	if err := p.Valid(); err != nil {
		return nil, err
	}
	if len(salt) == 0 || len(salt) > maxSalt {
		return nil, fmt.Errorf("%w: salt of %d bytes", ErrParams, len(salt))
	}
	b, err := scrypt.Key([]byte(password), salt, p.N, p.R, p.P, KeySize)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrParams, err)
	}
	return keyFrom([KeySize]byte(b)), nil
}

// Calibrate chooses parameters that take 32 MiB and about half a second here, as restic does.
func Calibrate() Params {
	p := Params{N: 1 << 15, R: 8, P: 1}
	start := time.Now()
	_, _ = Derive(p, []byte("calibration salt"), "calibration")
	once := max(time.Since(start), time.Millisecond)
	p.P = int(min(max(500*time.Millisecond/once, 1), 16))
	return p
}
