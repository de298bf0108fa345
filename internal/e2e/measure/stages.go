package measure

import (
	"bytes"
	"crypto/aes"
	"crypto/cipher"
	"crypto/sha256"
	"errors"
	"io"
	"os"
	"path/filepath"
	"runtime"

	"github.com/klauspost/compress/zstd"
	"golang.org/x/crypto/poly1305" //nolint:staticcheck // the format demands it
	"golang.org/x/crypto/scrypt"

	"github.com/escrow-backup/escrow/internal/chunker"
)

// Stage is a step of the work on the data, done alone by one thread.
type Stage struct {
	Name   string
	Backup bool    // a backup does it
	PerGiB float64 // CPU seconds per GiB of the file's text
	Rate   float64 // MB/s of what it takes in: text, or compressed text
	Once   float64 // CPU seconds, whatever the size
}

// stageBytes is how much of the data they work on.
const stageBytes = 256 << 20

// polynomial is one that cuts; the speed is the same for all.
const polynomial = chunker.Pol(0x3DA3358B4DC173)

// Stages measures each on the beginning of the file. It calls runtime.LockOSThread.
func Stages(path string) ([]Stage, error) {
	runtime.LockOSThread()
	var all []Stage
	var failed error
	text := int64(0)
	add := func(name string, backup bool, in func() int64, do func() error) {
		cpu, err := ThreadCPU(do)
		failed = errors.Join(failed, err)
		s := Stage{Name: name, Backup: backup}
		if in == nil {
			s.Once = cpu
		} else {
			s.PerGiB = cpu / float64(text) * (1 << 30)
			if cpu > 0 { // it may be too little to measure
				s.Rate = float64(in()) / 1e6 / cpu
			}
		}
		all = append(all, s)
	}
	whole := func() int64 { return text }

	add("derive the key (scrypt N=32768 r=8 p=1)", true, nil, func() error {
		_, err := scrypt.Key([]byte("benchmark"), make([]byte, 64), 32768, 8, 1, 64)
		return err
	})
	var blobs [][]byte
	if err := read(path, func(p []byte) error { blobs = append(blobs, bytes.Clone(p)); text += int64(len(p)); return nil }); err != nil {
		return nil, err
	}
	blob := make([]byte, 0, chunker.MaxSize)
	add("read and copy", true, whole, func() error {
		return read(path, func(p []byte) error {
			if len(blob)+len(p) > cap(blob) {
				blob = blob[:0]
			}
			blob = append(blob, p...)
			return nil
		})
	})
	// From here on in blobs of the size that the chunker gives.
	joined := bytes.Join(blobs, nil)
	blobs = nil
	add("chunker", true, whole, func() error {
		s := chunker.NewSplitter(polynomial)
		for rest, begin := joined, joined; len(rest) > 0; {
			n, cut := s.Next(rest)
			rest = rest[n:]
			if cut || len(rest) == 0 {
				blobs = append(blobs, begin[:len(begin)-len(rest)])
				begin = rest
			}
		}
		return nil
	})
	add("SHA-256 of blobs", true, whole, func() error {
		for _, p := range blobs {
			sha256.Sum256(p)
		}
		return nil
	})
	var packed [][]byte
	size := int64(0)
	compressed := func() int64 { return size }
	for _, l := range []struct {
		name  string
		level zstd.EncoderLevel
	}{{"zstd default", zstd.SpeedDefault}, {"zstd fastest", zstd.SpeedFastest}} {
		enc, err := zstd.NewWriter(nil, zstd.WithEncoderLevel(l.level), zstd.WithEncoderCRC(false), zstd.WithWindowSize(512<<10), zstd.WithEncoderConcurrency(1))
		if err != nil {
			return nil, err
		}
		packed, size = make([][]byte, len(blobs)), 0
		buf := make([]byte, 0, chunker.MaxSize)
		keep := packed
		add(l.name, l.level == zstd.SpeedFastest, whole, func() error {
			for i, p := range blobs {
				buf = enc.EncodeAll(p, buf[:0])
				keep[i] = bytes.Clone(buf)
				size += int64(len(buf))
			}
			return nil
		})
		if err := enc.Close(); err != nil {
			return nil, err
		}
	}
	dec, err := zstd.NewReader(nil, zstd.WithDecoderConcurrency(1))
	if err != nil {
		return nil, err
	}
	defer dec.Close()
	add("zstd decode", false, compressed, func() error {
		out := make([]byte, 0, chunker.MaxSize)
		for _, p := range packed {
			if _, err := dec.DecodeAll(p, out); err != nil {
				return err
			}
		}
		return nil
	})
	block, err := aes.NewCipher(make([]byte, 32))
	if err != nil {
		return nil, err
	}
	add("AES-256-CTR", true, compressed, func() error {
		for _, p := range packed {
			cipher.NewCTR(block, make([]byte, aes.BlockSize)).XORKeyStream(p, p)
		}
		return nil
	})
	add("Poly1305", true, compressed, func() error {
		var tag [16]byte
		var key [32]byte
		for _, p := range packed {
			poly1305.Sum(&tag, p, &key)
		}
		return nil
	})
	add("SHA-256 of packs", true, compressed, func() error {
		h := sha256.New()
		for _, p := range packed {
			h.Write(p) // never fails
		}
		return nil
	})
	add("copy to packs and write", true, compressed, func() error {
		f, err := os.Create(filepath.Join(filepath.Dir(path), "stages"))
		if err != nil {
			return err
		}
		page := make([]byte, 0, chunker.MaxSize)
		for _, p := range packed {
			page = append(page[:0], p...)
			if _, err := f.Write(page); err != nil {
				return errors.Join(err, f.Close())
			}
		}
		return errors.Join(f.Sync(), f.Close(), os.Remove(f.Name()))
	})
	return all, failed
}

// read gives the beginning of the file in the pieces in which a backup reads it.
func read(path string, do func([]byte) error) error {
	f, err := os.Open(path)
	if err != nil {
		return err
	}
	defer func() { _ = f.Close() }() // it was only read
	r := io.LimitReader(f, stageBytes)
	buf := make([]byte, 1<<20)
	for {
		n, err := r.Read(buf)
		if derr := do(buf[:n]); derr != nil {
			return derr
		}
		if err == io.EOF {
			return nil
		}
		if err != nil {
			return err
		}
	}
}
