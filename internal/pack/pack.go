// Package pack encodes and decodes the header of a pack file.
//
// A pack is sealed blobs one after the other, a sealed header, and the header's sealed length as four bytes,
// little-endian. The header has an entry for each blob, in their order: its type, its sealed length, if it is compressed
// its plain length, and the SHA-256 of its plain text. See "Pack Format" in restic's design document.
package pack

import (
	"encoding/binary"
	"errors"
	"fmt"
	"math"

	"github.com/escrow-backup/escrow/internal/crypto"
)

// Type says what a blob holds.
type Type uint8

// The types of blobs.
const (
	Data Type = iota // a piece of a file
	Tree             // a directory
)

// String gives the name that index files use.
func (t Type) String() string {
	switch t {
	case Data:
		return "data"
	case Tree:
		return "tree"
	}
	return fmt.Sprintf("blob type %d", uint8(t))
}

// Blob says where a blob lies in a pack.
type Blob struct {
	ID     [32]byte
	Type   Type
	Offset uint32 // in the pack
	Length uint32 // sealed
	Plain  uint32 // length of the uncompressed text; 0: not compressed, Length less crypto.Overhead
}

// PlainLength is the length of the blob's text.
func (b Blob) PlainLength() uint32 {
	if b.Plain != 0 {
		return b.Plain
	}
	return b.Length - crypto.Overhead
}

const (
	plainEntry      = 1 + 4 + 32
	compressedEntry = plainEntry + 4
	compressedBit   = 2

	// LengthSize is the size of the length behind the header.
	LengthSize = 4
	// MaxEntry is the largest size of an entry.
	MaxEntry = compressedEntry
	// MaxHeader bounds the sealed header, as restic does.
	MaxHeader = 16 << 20
)

// EntrySize is the size of the blob's entry in the header.
func (b Blob) EntrySize() int {
	if b.Plain != 0 {
		return compressedEntry
	}
	return plainEntry
}

// Size is the size of a pack with these blobs.
func Size(blobs []Blob) int64 {
	size := int64(crypto.Overhead + LengthSize)
	for _, b := range blobs {
		size += int64(b.Length) + int64(b.EntrySize())
	}
	return size
}

// AppendHeader appends the plain header to dst.
func AppendHeader(dst []byte, blobs []Blob) []byte {
	for _, b := range blobs {
		t := byte(b.Type)
		if b.Plain != 0 {
			t |= compressedBit
		}
		dst = append(dst, t)
		dst = binary.LittleEndian.AppendUint32(dst, b.Length)
		if b.Plain != 0 {
			dst = binary.LittleEndian.AppendUint32(dst, b.Plain)
		}
		dst = append(dst, b.ID[:]...)
	}
	return dst
}

// HeaderLength reads the sealed header's length from the last four bytes of a pack of the given size.
func HeaderLength(tail []byte, size int64) (int, error) {
	if len(tail) != LengthSize {
		return 0, errors.New("pack is too short for a header")
	}
	n := int64(binary.LittleEndian.Uint32(tail))
	if n < crypto.Overhead+plainEntry || n > MaxHeader || n > size-LengthSize {
		return 0, fmt.Errorf("header length %d is not possible in a pack of %d bytes", n, size)
	}
	return int(n), nil
}

// ParseHeader decodes a plain header. body is the number of bytes before the sealed header, which the blobs must fill
// exactly.
func ParseHeader(h []byte, body int64) ([]Blob, error) {
	blobs := make([]Blob, 0, min(len(h)/plainEntry, MaxHeader/plainEntry))
	offset := int64(0)
	for len(h) > 0 {
		var b Blob
		t := h[0]
		size := plainEntry
		if t&compressedBit != 0 {
			size = compressedEntry
		}
		if t > 3 {
			return nil, fmt.Errorf("header: entry %d has the unknown type %d", len(blobs), t)
		}
		if len(h) < size {
			return nil, fmt.Errorf("header: entry %d is cut off", len(blobs))
		}
		b.Type = Type(t &^ compressedBit)
		b.Length = binary.LittleEndian.Uint32(h[1:])
		if size == compressedEntry {
			if b.Plain = binary.LittleEndian.Uint32(h[5:]); b.Plain == 0 {
				return nil, fmt.Errorf("header: entry %d is compressed and empty", len(blobs))
			}
		}
		copy(b.ID[:], h[size-32:size])
		if b.Length < crypto.Overhead || offset > math.MaxUint32 {
			return nil, fmt.Errorf("header: entry %d has an impossible length or offset", len(blobs))
		}
		b.Offset = uint32(offset)
		offset += int64(b.Length)
		blobs = append(blobs, b)
		h = h[size:]
	}
	if offset != body {
		return nil, fmt.Errorf("header: blobs take %d bytes, there are %d", offset, body)
	}
	return blobs, nil
}

// AppendLength appends the length of a sealed header, which ends the pack.
func AppendLength(dst []byte, n int) []byte {
	return binary.LittleEndian.AppendUint32(dst, uint32(n))
}
