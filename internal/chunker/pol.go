package chunker

import (
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math/bits"
	"strconv"
)

// degree is that of every polynomial that cuts a repository.
const degree = 53

// Pol is a polynomial over the field of two elements: bit i is the coefficient of x to the i. In JSON it is a string of
// hexadecimal digits, as the chunker_polynomial of a repository's config file.
type Pol uint64

// maxTries bounds the search for a polynomial: one in about 26 will do, so an honest source never gets there.
const maxTries = 1 << 16

// RandomPolynomial returns an irreducible polynomial of degree 53 chosen with random bytes from r.
func RandomPolynomial(r io.Reader) (Pol, error) {
	for range maxTries {
		var b [8]byte
		if _, err := io.ReadFull(r, b[:]); err != nil {
			return 0, fmt.Errorf("choose polynomial: %w", err)
		}
		// The degree is fixed, and with no constant term it would be divisible by x.
		p := Pol(binary.LittleEndian.Uint64(b[:]))&(1<<degree-1) | 1<<degree | 1
		if p.Irreducible() {
			return p, nil
		}
	}
	return 0, errors.New("choose polynomial: the source of random bytes is not random")
}

// deg is the degree, -1 for zero.
func (p Pol) deg() int { return bits.Len64(uint64(p)) - 1 }

// mod is the remainder of p divided by f, which is not zero.
func (p Pol) mod(f Pol) Pol {
	for d := p.deg() - f.deg(); d >= 0; d = p.deg() - f.deg() {
		p ^= f << d
	}
	return p
}

// mulMod is a times b modulo f, for a and b already reduced and a degree of f between 1 and 63.
func mulMod(a, b, f Pol) Pol {
	top := Pol(1) << (f.deg() - 1)
	var r Pol
	for ; b != 0; b >>= 1 {
		if b&1 != 0 {
			r ^= a
		}
		carry := a & top
		a = a &^ top << 1
		if carry != 0 {
			// a had degree deg(f)-1: times x it loses its top bit and gains what x^deg(f) is modulo f.
			a ^= f &^ (top << 1)
		}
	}
	return r
}

func gcd(a, b Pol) Pol {
	for b != 0 {
		a, b = b, a.mod(b)
	}
	return a
}

// Irreducible reports whether p is not a product of polynomials of smaller degree. Constants are not irreducible.
// (Ben-Or's test: p has a factor of degree i just if it shares one with x^(2^i) - x.)
func (p Pol) Irreducible() bool {
	d := p.deg()
	if d < 1 {
		return false
	}
	if d == 1 {
		return true
	}
	const x = Pol(2)
	q := x
	for range d / 2 {
		q = mulMod(q, q, p)
		if gcd(p, q^x) != 1 {
			return false
		}
	}
	return true
}

// Check returns an error unless p can cut a repository: irreducible and of degree 53.
func (p Pol) Check() error {
	if p.deg() != degree {
		return fmt.Errorf("polynomial %v: degree %d, not %d", p, p.deg(), degree)
	}
	if !p.Irreducible() {
		return fmt.Errorf("polynomial %v: not irreducible", p)
	}
	return nil
}

// String gives the hexadecimal digits.
func (p Pol) String() string { return strconv.FormatUint(uint64(p), 16) }

// MarshalJSON implements json.Marshaler.
func (p Pol) MarshalJSON() ([]byte, error) { return []byte(`"` + p.String() + `"`), nil }

// UnmarshalJSON implements json.Unmarshaler. It accepts only what Check does, so that a polynomial that was read is
// safe to cut with.
func (p *Pol) UnmarshalJSON(data []byte) error {
	var s string
	if err := json.Unmarshal(data, &s); err != nil {
		return fmt.Errorf("polynomial: %w", err)
	}
	n, err := strconv.ParseUint(s, 16, 64)
	if err != nil {
		return fmt.Errorf("polynomial: %w", err)
	}
	if err := Pol(n).Check(); err != nil {
		return err
	}
	*p = Pol(n)
	return nil
}
