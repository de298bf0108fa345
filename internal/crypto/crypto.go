// Package crypto encrypts and authenticates the files and blobs of a restic repository.
//
// A sealed text is a random IV of 16 bytes, the plain text under AES-256-CTR, and a MAC of 16 bytes: Poly1305-AES over the
// ciphertext with the IV as its nonce. See "Keys, Encryption and MAC" in restic's design document.
package crypto

import (
	"crypto/aes"
	"crypto/cipher"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"

	"golang.org/x/crypto/poly1305" //nolint:staticcheck // deprecated for new designs; the format demands it
)

const (
	// IVSize is the number of bytes in front of the ciphertext.
	IVSize = aes.BlockSize
	// MACSize is the number of bytes behind the ciphertext.
	MACSize = poly1305.TagSize
	// Overhead is what sealing adds to the plain text.
	Overhead = IVSize + MACSize

	// KeySize is the number of secret bytes of a Key.
	KeySize = 32 + 16 + 16
)

// ErrUnauthenticated says that a sealed text was damaged, or sealed with another key.
var ErrUnauthenticated = errors.New("authentication failed: damaged, or sealed with another key")

// Key seals and opens. It is safe for concurrent use, and redacts itself when printed.
type Key struct {
	secret [KeySize]byte // 32 for AES-256, 16 for the MAC's AES-128, 16 for Poly1305's r
	enc    cipher.Block
	mac    cipher.Block
	r      [16]byte // masked
}

// NewKey makes a random key.
func NewKey() *Key {
	var secret [KeySize]byte
	rand.Read(secret[:]) // never fails
	return keyFrom(secret)
}

// keyFrom makes a Key of its secret bytes: AES key, MAC k, MAC r.
func keyFrom(secret [KeySize]byte) *Key {
	k := &Key{secret: secret}
	k.enc, _ = aes.NewCipher(secret[:32]) // fails for a wrong length only
	k.mac, _ = aes.NewCipher(secret[32:48])
	copy(k.r[:], secret[48:])
	// Poly1305 demands that 22 bits of r are zero.
	for _, i := range []int{3, 7, 11, 15} {
		k.r[i] &= 0x0f
	}
	for _, i := range []int{4, 8, 12} {
		k.r[i] &= 0xfc
	}
	return k
}

type keyJSON struct {
	MAC struct {
		K []byte `json:"k"`
		R []byte `json:"r"`
	} `json:"mac"`
	Encrypt []byte `json:"encrypt"`
}

// Encode gives the secret as the JSON that key files hold, sealed, in their data field.
func (k *Key) Encode() []byte {
	var j keyJSON
	j.Encrypt, j.MAC.K, j.MAC.R = k.secret[:32], k.secret[32:48], k.secret[48:]
	b, _ := json.Marshal(j) // byte slices only
	return b
}

// Decode reads what Encode wrote. Its errors do not hold any of the input.
func Decode(b []byte) (*Key, error) {
	var j keyJSON
	if err := json.Unmarshal(b, &j); err != nil {
		return nil, errors.New("decode master key: not the expected JSON")
	}
	if len(j.Encrypt) != 32 || len(j.MAC.K) != 16 || len(j.MAC.R) != 16 {
		return nil, errors.New("decode master key: a part has the wrong length")
	}
	var secret [KeySize]byte
	copy(secret[:], j.Encrypt)
	copy(secret[32:], j.MAC.K)
	copy(secret[48:], j.MAC.R)
	return keyFrom(secret), nil
}

// Seal encrypts buf[IVSize:] in place, fills in the IV before it, and returns buf with the MAC appended.
func (k *Key) Seal(buf []byte) []byte {
	rand.Read(buf[:IVSize]) // never fails
	body := buf[IVSize:]
	cipher.NewCTR(k.enc, buf[:IVSize]).XORKeyStream(body, body)
	tag := k.tag(buf[:IVSize], body)
	return append(buf, tag[:]...)
}

// Open checks and decrypts buf in place and returns the plain text, which is a part of buf.
func (k *Key) Open(buf []byte) ([]byte, error) {
	if len(buf) < Overhead {
		return nil, fmt.Errorf("%d bytes are too short for a sealed text", len(buf))
	}
	iv, body, mac := buf[:IVSize], buf[IVSize:len(buf)-MACSize], buf[len(buf)-MACSize:]
	key := k.oneTimeKey(iv)
	if !poly1305.Verify((*[MACSize]byte)(mac), body, &key) {
		return nil, ErrUnauthenticated
	}
	cipher.NewCTR(k.enc, iv).XORKeyStream(body, body)
	return body, nil
}

func (k *Key) tag(iv, body []byte) (tag [MACSize]byte) {
	key := k.oneTimeKey(iv)
	poly1305.Sum(&tag, body, &key)
	return tag
}

func (k *Key) oneTimeKey(iv []byte) (key [32]byte) {
	copy(key[:16], k.r[:])
	k.mac.Encrypt(key[16:], iv)
	return key
}

// Format redacts the key, whatever the verb.
func (k *Key) Format(f fmt.State, _ rune) { _, _ = f.Write([]byte("[redacted key]")) }

// MarshalJSON redacts the key; Encode gives it.
func (k *Key) MarshalJSON() ([]byte, error) { return []byte(`"[redacted key]"`), nil }
