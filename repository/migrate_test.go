package repository

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/escrow-backup/escrow/repository/backend"
	"github.com/escrow-backup/escrow/repository/backend/backendtest"
	"github.com/escrow-backup/escrow/repository/backend/mem"
)

// versionOne makes a repository of version 1 with a snapshot, whose config says something that we do not know.
func versionOne(t *testing.T) (*mem.Backend, *Snapshot) {
	t.Helper()
	b := mem.New()
	r := testRepo(t, b, Options{LockSettle: time.Millisecond})
	require.NoError(t, b.Remove(t.Context(), backend.Handle{Type: backend.Config}))
	r.cfg.Version = 1
	text, err := json.Marshal(r.cfg)
	require.NoError(t, err)
	text, err = setFields(text, map[string]any{"other": []int{1, 2}})
	require.NoError(t, err)
	_, err = r.saveFile(t.Context(), backend.Config, text)
	require.NoError(t, err)
	return b, written(t, r, "one")
}

func written(t *testing.T, r *Repo, text string) *Snapshot {
	t.Helper()
	s, err := r.Write(t.Context(), Header{}, func(_ context.Context, w *Writer) error {
		f, err := w.Create("f")
		require.NoError(t, err)
		_, err = io.WriteString(f, text)
		require.NoError(t, err)
		return f.Close()
	})
	require.NoError(t, err)
	return s
}

func TestMigrate(t *testing.T) {
	b, s := versionOne(t)
	opt := &Options{LockSettle: time.Millisecond}
	r, err := Open(t.Context(), b, "pw", opt)
	require.NoError(t, err)
	defer r.Close()
	require.Equal(t, 1, r.Version())
	require.Error(t, r.Migrate(t.Context(), nil))
	full := errors.New("disk full")
	require.ErrorIs(t, r.Migrate(t.Context(), func([]byte) error { return full }), full)
	require.Equal(t, 1, r.Version())
	var kept []byte
	require.NoError(t, r.Migrate(t.Context(), func(p []byte) error { kept = p; return nil }))
	require.Equal(t, 2, r.Version())
	got, err := readFile(t.Context(), b, backend.Handle{Type: backend.Config})
	require.NoError(t, err)
	require.Equal(t, kept, got)
	text, err := r.loadFile(t.Context(), backend.Handle{Type: backend.Config})
	require.NoError(t, err)
	require.Contains(t, string(text), `"other":[1,2]`)
	require.NoError(t, r.Migrate(t.Context(), func([]byte) error { return full }), "there is nothing to do")

	again, err := Open(t.Context(), b, "pw", opt)
	require.NoError(t, err)
	defer again.Close()
	written(t, again, string(bytes.Repeat([]byte("compressible "), 1000)))
	_, err = again.FS(t.Context(), s)
	require.NoError(t, err)
	for p, err := range again.Check(t.Context(), &CheckOptions{ReadData: true}) {
		require.NoError(t, err)
		require.Fail(t, p.String())
	}
}

// After a fault at any call the repository opens, as version 1 or 2; after a kill, at least with the config that was kept.
func TestMigrateSurvivesFaults(t *testing.T) {
	boom := errors.New("boom")
	migrate := func(b backend.Backend, keep func([]byte) error) error {
		r, err := Open(t.Context(), b, "pw", &Options{LockSettle: time.Millisecond})
		if err != nil {
			return err
		}
		defer r.Close()
		return r.Migrate(t.Context(), keep)
	}
	b, _ := versionOne(t)
	trace := backendtest.NewFaults(b)
	require.NoError(t, migrate(trace, func([]byte) error { return nil }))
	restored := 0
	for n := 1; n <= trace.Calls(); n++ {
		for name, rule := range map[string]func(f *backendtest.Faults){
			"fail":     func(f *backendtest.Faults) { f.Fail("", 0, n, boom) },
			"lost ack": func(f *backendtest.Faults) { f.LoseAck("", 0, n, boom) },
			"flipped":  func(f *backendtest.Faults) { f.FlipByte(0, n) },
			"killed":   func(f *backendtest.Faults) { f.StopAfter(n) },
		} {
			b, s := versionOne(t)
			f := backendtest.NewFaults(b)
			rule(f)
			var kept []byte
			err := migrate(f, func(p []byte) error { kept = p; return nil })
			h := backend.Handle{Type: backend.Config}
			if _, serr := b.Stat(t.Context(), h); backend.IsNotExist(serr) {
				require.Equal(t, "killed", name)
				require.NoError(t, b.Save(t.Context(), h, bytes.NewReader(kept), int64(len(kept))))
				restored++
			}
			r, oerr := Open(t.Context(), b, "pw", nil)
			require.NoError(t, oerr, "%s at call %d", name, n)
			if err == nil {
				require.Equal(t, 2, r.Version(), "%s at call %d", name, n)
			}
			_, ferr := r.FS(t.Context(), s)
			require.NoError(t, ferr)
			require.NoError(t, r.Close())
		}
	}
	require.Equal(t, 1, restored)
}
