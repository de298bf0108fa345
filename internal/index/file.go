package index

import (
	"encoding/hex"
	"encoding/json"
	"fmt"
	"strconv"

	"github.com/escrow-backup/escrow/internal/crypto"
	"github.com/escrow-backup/escrow/internal/pack"
)

// Pack is the blobs of one pack.
type Pack struct {
	ID    [32]byte
	Blobs []pack.Blob
}

type hexID [32]byte

func (id *hexID) UnmarshalText(text []byte) error {
	if len(text) != 64 {
		return fmt.Errorf("id %.70q: want 64 hexadecimal digits", text)
	}
	_, err := hex.Decode(id[:], text)
	return err
}

type fileJSON struct {
	Packs  []packJSON `json:"packs"`
	Marked []struct {
		ID *hexID `json:"id"`
	} `json:"packs_to_delete"`
}

type packJSON struct {
	ID    *hexID     `json:"id"`
	Blobs []blobJSON `json:"blobs"`
}

type blobJSON struct {
	ID     *hexID `json:"id"`
	Type   string `json:"type"`
	Offset uint32 `json:"offset"`
	Length uint32 `json:"length"`
	Plain  uint32 `json:"uncompressed_length"`
}

// DecodeFile reads the JSON of an index file. Packs that rustic marked for removal are given without their blobs: whoever runs
// rustic next may remove them, so nothing new may rely on them, but a file that names them must not outlive them.
func DecodeFile(b []byte) ([]Pack, error) {
	if packs, ok := decodeFast(b); ok {
		return packs, nil
	}
	return decodeJSON(b)
}

func decodeJSON(b []byte) ([]Pack, error) {
	var f fileJSON
	if err := json.Unmarshal(b, &f); err != nil {
		return nil, fmt.Errorf("decode index: %w", err)
	}
	packs := make([]Pack, 0, len(f.Packs))
	for _, p := range f.Packs {
		if p.ID == nil {
			return nil, fmt.Errorf("decode index: pack %d has no id", len(packs))
		}
		q := Pack{ID: *p.ID, Blobs: make([]pack.Blob, 0, len(p.Blobs))}
		for _, b := range p.Blobs {
			c := pack.Blob{Offset: b.Offset, Length: b.Length, Plain: b.Plain}
			switch b.Type {
			case "data":
				c.Type = pack.Data
			case "tree":
				c.Type = pack.Tree
			default:
				return nil, fmt.Errorf("decode index: pack %x: blob %d has the unknown type %.20q", q.ID, len(q.Blobs), b.Type)
			}
			if b.ID == nil || b.Length < crypto.Overhead {
				return nil, fmt.Errorf("decode index: pack %x: blob %d has no id or an impossible length", q.ID, len(q.Blobs))
			}
			c.ID = *b.ID
			q.Blobs = append(q.Blobs, c)
		}
		packs = append(packs, q)
	}
	for _, p := range f.Marked {
		if p.ID == nil {
			return nil, fmt.Errorf("decode index: marked pack %d has no id", len(packs)-len(f.Packs))
		}
		packs = append(packs, Pack{ID: *p.ID, Blobs: []pack.Blob{}})
	}
	return packs, nil
}

// AppendFile appends the JSON of an index file to dst.
func AppendFile(dst []byte, packs []Pack) []byte {
	dst = append(dst, `{"packs":[`...)
	for i, p := range packs {
		if i > 0 {
			dst = append(dst, ',')
		}
		dst = append(dst, `{"id":"`...)
		dst = hex.AppendEncode(dst, p.ID[:])
		dst = append(dst, `","blobs":[`...)
		for j, b := range p.Blobs {
			if j > 0 {
				dst = append(dst, ',')
			}
			dst = append(dst, `{"id":"`...)
			dst = hex.AppendEncode(dst, b.ID[:])
			dst = append(dst, `","type":"`...)
			dst = append(dst, b.Type.String()...)
			dst = append(dst, `","offset":`...)
			dst = strconv.AppendUint(dst, uint64(b.Offset), 10)
			dst = append(dst, `,"length":`...)
			dst = strconv.AppendUint(dst, uint64(b.Length), 10)
			if b.Plain != 0 {
				dst = append(dst, `,"uncompressed_length":`...)
				dst = strconv.AppendUint(dst, uint64(b.Plain), 10)
			}
			dst = append(dst, '}')
		}
		dst = append(dst, "]}"...)
	}
	return append(dst, "]}"...)
}
