package repository

import (
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"strings"

	"github.com/escrow-backup/escrow/internal/chunker"
)

// config is the content of the config file.
type config struct {
	Version    uint        `json:"version"`
	ID         string      `json:"id"`
	Polynomial chunker.Pol `json:"chunker_polynomial"`
	AppendOnly bool        `json:"append_only,omitempty"` // rustic's: nothing may be removed
}

func newConfig(version int) (config, error) {
	p, err := chunker.RandomPolynomial(rand.Reader)
	if err != nil {
		return config{}, fmt.Errorf("choose polynomial: %w", err)
	}
	return config{Version: uint(version), ID: randomID().String(), Polynomial: p}, nil
}

func randomID() (id ID) {
	rand.Read(id[:]) // never fails
	return id
}

// rusticChunker are fields that rustic adds. They change where files are cut, so ignoring them would end deduplication
// between the two programs without a word.
type rusticChunker struct {
	Chunker      *string `json:"chunker"`
	ChunkSize    *uint64 `json:"chunk_size"`
	ChunkMinSize *uint64 `json:"chunk_min_size"`
	ChunkMaxSize *uint64 `json:"chunk_max_size"`
	IsHot        *bool   `json:"is_hot"`
}

func decodeConfig(b []byte) (config, error) {
	var c config
	if err := json.Unmarshal(b, &c); err != nil {
		return c, fmt.Errorf("decode config: %w", err)
	}
	if c.Version != 1 && c.Version != 2 {
		return c, fmt.Errorf("config: repository version %d is not supported, 1 and 2 are", c.Version)
	}
	if _, err := ParseID(c.ID); err != nil {
		return c, fmt.Errorf("config: %w", err)
	}
	if err := c.Polynomial.Check(); err != nil {
		return c, fmt.Errorf("config: %w", err)
	}
	var r rusticChunker
	if err := json.Unmarshal(b, &r); err != nil {
		return c, fmt.Errorf("decode config: %w", err)
	}
	return c, r.check()
}

func (r rusticChunker) check() error {
	if r.Chunker != nil && !strings.EqualFold(*r.Chunker, "rabin") {
		return fmt.Errorf("config: chunker %q is not supported", *r.Chunker)
	}
	differs := func(v *uint64, want uint64) bool { return v != nil && *v != want }
	if differs(r.ChunkSize, 1<<20) || differs(r.ChunkMinSize, 512<<10) || differs(r.ChunkMaxSize, 8<<20) {
		return errors.New("config: chunk sizes other than restic's are not supported")
	}
	if r.IsHot != nil && *r.IsHot {
		return errors.New("config: this is the hot part of a hot/cold repository")
	}
	return nil
}
