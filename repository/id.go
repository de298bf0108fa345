package repository

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
)

// ID is a SHA-256: of a blob's text, or of a stored file. Its JSON and text form is 64 hexadecimal digits.
type ID [32]byte

// BlobID is the SHA-256 of a blob's text.
type BlobID = ID

// Hash gives the ID of a text.
func Hash(p []byte) ID { return sha256.Sum256(p) }

// String gives 64 lower-case hexadecimal digits.
func (id ID) String() string { return hex.EncodeToString(id[:]) }

// Short gives the first eight digits, for messages.
func (id ID) Short() string { return hex.EncodeToString(id[:4]) }

// ParseID reads 64 hexadecimal digits.
func ParseID(s string) (ID, error) {
	var id ID
	return id, id.UnmarshalText([]byte(s))
}

// MarshalText gives what String gives.
func (id ID) MarshalText() ([]byte, error) { return hex.AppendEncode(nil, id[:]), nil }

// UnmarshalText reads 64 hexadecimal digits.
func (id *ID) UnmarshalText(text []byte) error {
	if len(text) != 2*len(id) {
		return fmt.Errorf("id %.70q: want 64 hexadecimal digits", text)
	}
	if _, err := hex.Decode(id[:], text); err != nil {
		*id = ID{}
		return fmt.Errorf("id %.70q: %w", text, err)
	}
	return nil
}
