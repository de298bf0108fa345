package main

import (
	"bytes"
	"errors"
	"io"
	"io/fs"
	"testing"
	"testing/fstest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/escrow-backup/escrow/backup"
)

func TestPlainProgress(t *testing.T) {
	var out, stderr bytes.Buffer
	a := &app{stderr: &stderr, out: &output{w: &out}}
	m := a.meter("backup")
	p := backup.Progress{Indices: 3, IndicesDone: 1, Docs: 40_000, DocsDone: 12_345, BytesDone: 5 << 20}
	for _, at := range []time.Duration{time.Second, 9 * time.Second, 10 * time.Second, 11 * time.Second, 75 * time.Second} {
		p.Elapsed = at
		m.backup(p)
	}
	p.Done = true
	m.backup(p)
	m.close()
	require.Equal(t, "backup: 12,345 of 40,000 documents, 1 of 3 indices, 5.0 MiB, 10.0 s\n"+
		"backup: 12,345 of 40,000 documents, 1 of 3 indices, 5.0 MiB, 1:15 min\n", stderr.String())

	stderr.Reset()
	a.out.json = true
	m = a.meter("backup")
	p.Done, p.Elapsed = false, 2*time.Second
	m.backup(p)
	require.JSONEq(t, `{"message_type":"status","operation":"backup","index":"","indices":3,"indices_done":1,"documents":40000,
		"documents_done":12345,"documents_reused":0,"bytes_done":5242880,"seconds_elapsed":2}`, out.String())
	a.quiet = true
	out.Reset()
	m = a.meter("backup")
	m.backup(p)
	require.Empty(t, out.String()+stderr.String())
}

func TestNumbers(t *testing.T) {
	for n, want := range map[int64]string{0: "0", 12: "12", 999: "999", 1000: "1,000", 123456: "123,456", 1234567: "1,234,567",
		-12: "-12", -123: "-123", -1234: "-1,234"} {
		require.Equal(t, want, thousands(n))
	}
	for n, want := range map[int64]string{0: "0 B", 1023: "1023 B", 1024: "1.0 KiB", 1536: "1.5 KiB", 5 << 30: "5.0 GiB"} {
		require.Equal(t, want, size(n))
	}
	require.Equal(t, "1:05 h", took(65*time.Minute))
	require.Equal(t, "1 index", count(1, "index", "indices"))
}

func TestOneLine(t *testing.T) {
	require.Equal(t, "a; b: c", oneLine(errors.Join(errors.New("a"), errors.New("b: c\n"))))
}

// A file that is shorter than it says, and a pipe that breaks, are failures of dump that tell how much was written.
func TestDumpIsWholeOrFails(t *testing.T) {
	files := fstest.MapFS{"a/b": {Data: []byte("0123456789")}}
	var out bytes.Buffer
	require.NoError(t, dump(&out, files, "a/b"))
	require.Equal(t, "0123456789", out.String())
	err := dump(&limited{left: 4}, files, "a/b")
	require.EqualError(t, err, "dump a/b: incomplete, 4 of 10 bytes written: short write")
	err = dump(io.Discard, shortFS{files}, "a/b")
	require.EqualError(t, err, "dump a/b: incomplete, 10 of 11 bytes written: unexpected EOF")
}

// shortFS holds files that end one byte early.
type shortFS struct{ fs.FS }

func (s shortFS) Open(name string) (fs.File, error) {
	f, err := s.FS.Open(name)
	return shortFile{f}, err
}

type shortFile struct{ fs.File }

func (f shortFile) Stat() (fs.FileInfo, error) {
	info, err := f.File.Stat()
	return longInfo{info}, err
}

type longInfo struct{ fs.FileInfo }

func (i longInfo) Size() int64 { return i.FileInfo.Size() + 1 }

type limited struct{ left int }

func (l *limited) Write(p []byte) (int, error) {
	if len(p) > l.left {
		return l.left, io.ErrShortWrite
	}
	l.left -= len(p)
	return len(p), nil
}
