package repository

import (
	"bytes"
	"context"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/escrow-backup/escrow/internal/crypto"
	"github.com/escrow-backup/escrow/internal/index"
	"github.com/escrow-backup/escrow/internal/pack"
	"github.com/escrow-backup/escrow/repository/backend"
	"github.com/escrow-backup/escrow/repository/backend/mem"
)

// The zoo is a collection of broken repositories. They are made from one that is whole, with two snapshots: "old" with the files
// "data" and "dir/sub/small", and "new" with "dir/sub/small", which is the same, and "other". The packs, index and snapshot of the
// old one are what is damaged.
type zoo struct {
	t     *testing.T
	b     *mem.Backend
	r     *Repo // opened before the damage
	files map[string]string

	data, tree, index, snapshot, key, config, lock backend.Handle
	labels                                         map[backend.Handle]string
}

func zooOptions() Options { return Options{LockSettle: time.Millisecond, ScryptN: 16} }

// zooRepo makes a repository in b.
func zooRepo(t *testing.T, b backend.Backend) *Repo {
	t.Helper()
	return testRepo(t, b, zooOptions())
}

func newZoo(t *testing.T) *zoo {
	z := &zoo{t: t, b: mem.New(), labels: map[backend.Handle]string{}}
	z.r = zooRepo(t, z.b)
	z.files = map[string]string{"old data": string(noise(1, 50_000)), "old dir/sub/small": "small",
		"new dir/sub/small": "small", "new other": string(noise(2, 30_000)), "liar f": "evil"}
	z.write("old", "data", "dir/sub/small")
	packs := z.all(backend.Pack)
	require.Len(t, packs, 2)
	z.data, z.tree = packs[0], packs[1]
	if len(z.read(z.data)) < len(z.read(z.tree)) {
		z.data, z.tree = z.tree, z.data
	}
	z.index, z.snapshot, z.key = z.all(backend.Index)[0], z.all(backend.Snapshot)[0], z.all(backend.Key)[0]
	z.config = backend.Handle{Type: backend.Config}
	z.label("old")
	z.write("new", "dir/sub/small", "other")
	z.label("new")
	return z
}

// label names the handles that have no name yet.
func (z *zoo) label(whose string) {
	for _, typ := range []backend.FileType{backend.Pack, backend.Index, backend.Snapshot, backend.Key, backend.Lock} {
		for _, h := range z.all(typ) {
			if z.labels[h] == "" {
				z.labels[h] = whose + " " + typ.String()
			}
		}
	}
	z.labels[z.data], z.labels[z.tree] = "data pack", "tree pack"
}

func (z *zoo) write(host string, names ...string) {
	_, err := z.r.Write(z.t.Context(), Header{Hostname: host, Time: time.Date(2026, 1, len(z.labels)+1, 0, 0, 0, 0, time.UTC)},
		func(ctx context.Context, w *Writer) error {
			for _, name := range names {
				f, err := w.Create(name)
				require.NoError(z.t, err)
				id, err := w.SaveBlob(ctx, []byte(z.files[host+" "+name])) // one after the other, in a known order
				require.NoError(z.t, err)
				require.NoError(z.t, f.Append(id))
				require.NoError(z.t, f.Close())
			}
			return nil
		})
	require.NoError(z.t, err)
}

func (z *zoo) all(typ backend.FileType) (all []backend.Handle) {
	for fi, err := range z.b.List(z.t.Context(), typ) {
		require.NoError(z.t, err)
		all = append(all, fi.Handle)
	}
	return all
}

func (z *zoo) read(h backend.Handle) []byte {
	rc, err := z.b.Load(z.t.Context(), h, 0, -1)
	require.NoError(z.t, err)
	defer rc.Close()
	p, err := io.ReadAll(rc)
	require.NoError(z.t, err)
	return p
}

func (z *zoo) put(h backend.Handle, p []byte) {
	require.NoError(z.t, z.b.Save(z.t.Context(), h, bytes.NewReader(p), int64(len(p))))
}

func (z *zoo) remove(h backend.Handle) { require.NoError(z.t, z.b.Remove(z.t.Context(), h)) }

func (z *zoo) change(h backend.Handle, change func([]byte) []byte) {
	p := change(z.read(h))
	z.remove(h)
	z.put(h, p)
}

// add stores a file that is named by its content.
func (z *zoo) add(typ backend.FileType, p []byte) backend.Handle {
	h := backend.Handle{Type: typ, Name: Hash(p).String()}
	z.put(h, p)
	z.labels[h] = "foreign " + typ.String()
	return h
}

// leaveLock leaves the lock of somebody who is at work elsewhere.
func (z *zoo) leaveLock() {
	text, err := json.Marshal(lockFile{Time: time.Now(), Exclusive: true, Hostname: "elsewhere", PID: 1})
	require.NoError(z.t, err)
	id, err := z.r.saveFile(z.t.Context(), backend.Lock, text)
	require.NoError(z.t, err)
	z.lock = backend.Handle{Type: backend.Lock, Name: id.String()}
}

// forge replaces the index of the old snapshot by one that says what edit makes of it.
func (z *zoo) forge(edit func([]index.Pack) []index.Pack) {
	packs, err := z.r.readIndex(z.t.Context(), z.index)
	require.NoError(z.t, err)
	z.remove(z.index)
	id, err := z.r.saveFile(z.t.Context(), backend.Index, index.AppendFile(nil, edit(packs)))
	require.NoError(z.t, err)
	z.index.Name = id.String()
	z.labels[z.index] = "forged index"
}

// Changes of a file's bytes.
func cutOne(p []byte) []byte  { return p[:len(p)-1] }
func cutHalf(p []byte) []byte { return p[:len(p)/2] }
func empty([]byte) []byte     { return nil }
func longer(p []byte) []byte  { return append(p, 0) }

func flipAt(at func(p []byte) int) func([]byte) []byte {
	return func(p []byte) []byte { p[at(p)] ^= 1; return p }
}

var (
	flipFirst = flipAt(func([]byte) int { return 0 })
	flipHalf  = flipAt(func(p []byte) int { return len(p) / 2 })
	flipLast  = flipAt(func(p []byte) int { return len(p) - 1 })
	flipBlob  = flipAt(func([]byte) int { return crypto.IVSize + 1 })
	flipTag   = flipAt(func(p []byte) int { return headerAt(p) - 1 }) // the MAC of the last blob
	flipIV    = flipAt(headerAt)                                      // of the header
	flipHead  = flipAt(func(p []byte) int { return headerAt(p) + crypto.IVSize })
	flipSize  = flipAt(func(p []byte) int { return len(p) - pack.LengthSize })
)

// headerAt is where the header of a pack begins.
func headerAt(p []byte) int {
	return len(p) - pack.LengthSize - int(binary.LittleEndian.Uint32(p[len(p)-pack.LengthSize:]))
}

// errorText names an error by what callers can ask of it.
func (z *zoo) errorText(err error) string {
	var missing *MissingError
	switch {
	case err == nil:
		return "ok"
	case errors.As(err, &missing):
		return "missing"
	case errors.Is(err, ErrWrongPassword):
		return "wrong password"
	case errors.Is(err, ErrDamaged):
		return "damaged"
	case errors.Is(err, ErrLocked):
		return "locked"
	case errors.Is(err, ErrRemovesAll):
		return "removes all"
	case errors.Is(err, fs.ErrNotExist):
		return "not there"
	}
	return "error: " + err.Error()
}

// problems checks everything, and gives what is wrong with what.
func (z *zoo) problems(r *Repo) string {
	var all []string
	for p, err := range r.Check(z.t.Context(), &CheckOptions{ReadData: true, Leftovers: true}) {
		if err != nil {
			all = append(all, z.errorText(err))
			continue
		}
		require.NotEmpty(z.t, p.String())
		s := string(p.Kind) + ":"
		if p.Handle.Type != 0 {
			label := z.labels[p.Handle]
			if label == "" {
				label = "another " + p.Handle.Type.String()
			}
			s += " " + label
		}
		if p.Blob != (ID{}) {
			s += " blob"
		}
		if p.Snapshot != (ID{}) {
			s += " /" + p.Path
		}
		all = append(all, s)
	}
	slices.Sort(all)
	return strings.Join(slices.Compact(all), ", ")
}

// readable gives the files that can be read, each compared byte by byte.
func (z *zoo) readable(r *Repo) string {
	var all []string
	for _, h := range z.all(backend.Snapshot) {
		s, err := r.Snapshot(z.t.Context(), h.Name)
		if err != nil {
			continue
		}
		fsys, err := r.FS(z.t.Context(), s)
		if err != nil {
			continue
		}
		_ = fs.WalkDir(fsys, ".", func(name string, d fs.DirEntry, err error) error {
			if err != nil || d.IsDir() {
				return nil
			}
			got, err := fs.ReadFile(fsys, name)
			if err != nil {
				return nil
			}
			full := s.Hostname + " " + name
			if strings.HasSuffix(name, repairedSuffix) {
				all = append(all, full)
				require.True(z.t, strings.Contains(z.files[strings.TrimSuffix(full, repairedSuffix)], string(got)), "%s: WRONG BYTES", full)
				return nil
			}
			require.True(z.t, z.files[full] == string(got), "%s: WRONG BYTES", full)
			all = append(all, full)
			return nil
		})
	}
	slices.Sort(all)
	return strings.Join(all, ", ")
}

// visit tries everything with a repository, and gives how each ended, a line each.
func (z *zoo) visit() (report []string) {
	t := z.t
	say := func(what, how string) {
		if how != "ok" && how != allFiles {
			report = append(report, what+": "+how)
		}
	}
	open := func() (*Repo, error) {
		o := zooOptions()
		r, err := Open(t.Context(), z.b, "pw", &o)
		if err == nil {
			t.Cleanup(func() { require.NoError(t, r.Close()) })
		}
		return r, err
	}
	r, err := open()
	say("open", z.errorText(err))
	if err != nil {
		return report
	}
	n := 0
	for _, err := range r.Snapshots(t.Context(), Filter{}) {
		if err != nil {
			say("snapshots", z.errorText(err))
			break
		}
		n++
	}
	if n != 2 {
		say("snapshots listed", fmt.Sprint(n))
	}
	say("read", z.readable(r))
	found := z.problems(r)
	if found != "" {
		say("check", found)
	}
	_, err = r.PlanForget(t.Context(), Policy{Last: 1}, nil)
	say("forget", z.errorText(err))
	plan, err := r.PlanPrune(t.Context(), &PruneOptions{MaxUnused: UnusedBytes(0)})
	say("plan prune", z.errorText(err))
	before := z.readable(r)
	if err == nil {
		say("prune", z.errorText(r.Prune(t.Context(), plan)))
		require.Equal(t, before, z.readable(r), "a prune loses nothing that could be read")
	}
	fresh, err := open()
	require.NoError(t, err)
	w, err := fresh.Write(t.Context(), Header{Hostname: "third"}, func(_ context.Context, w *Writer) error { return nil })
	say("write", z.errorText(err))
	if err == nil {
		z.remove(backend.Handle{Type: backend.Snapshot, Name: w.ID.String()})
	}

	// As the manual says: locks, index, snapshots; then a prune clears away what is of no use.
	if _, err := r.Unlock(t.Context(), &UnlockOptions{All: true}); err != nil {
		say("unlock", z.errorText(err))
	}
	if r, err = open(); err != nil {
		say("open again", z.errorText(err))
		return report
	}
	rep, err := r.PlanRepairIndex(t.Context(), &RepairIndexOptions{ReadAll: strings.Contains(found, string(IndexWrong))})
	say("plan repair index", z.errorText(err))
	if err == nil {
		say("repair index", z.errorText(r.RepairIndex(t.Context(), rep)))
	}
	for _, h := range z.all(backend.Snapshot) {
		if _, err := r.Snapshot(t.Context(), h.Name); err != nil {
			id, err := ParseID(h.Name)
			require.NoError(t, err)
			plan, err := r.PlanForgetIDs(t.Context(), id)
			require.NoError(t, err)
			require.NoError(t, r.Forget(t.Context(), plan))
			say("forgotten", z.labels[h])
		}
	}
	snapshots, err := r.PlanRepairSnapshots(t.Context())
	say("plan repair snapshots", z.errorText(err))
	if err == nil {
		_, err := r.RepairSnapshots(t.Context(), snapshots, &RepairSnapshotsOptions{Forget: true})
		say("repair snapshots", z.errorText(err))
	}
	r, err = open()
	require.NoError(t, err)
	plan, err = r.PlanPrune(t.Context(), &PruneOptions{MaxUnused: UnusedBytes(0)})
	say("plan prune at last", z.errorText(err))
	if err == nil {
		say("prune at last", z.errorText(r.Prune(t.Context(), plan)))
	}
	say("read at last", z.readable(r))
	if found = z.problems(r); found == "" {
		return report
	}
	say("check at last", found)

	// Some damage shows only if everything is read: so does the repair.
	rep, err = r.PlanRepairIndex(t.Context(), &RepairIndexOptions{ReadData: true})
	require.NoError(t, err)
	require.NoError(t, r.RepairIndex(t.Context(), rep))
	snapshots, err = r.PlanRepairSnapshots(t.Context())
	require.NoError(t, err)
	_, err = r.RepairSnapshots(t.Context(), snapshots, &RepairSnapshotsOptions{Forget: true})
	require.NoError(t, err)
	prune, err := r.PlanPrune(t.Context(), &PruneOptions{MaxUnused: UnusedBytes(0)})
	require.NoError(t, err)
	require.NoError(t, r.Prune(t.Context(), prune))
	say("read after reading all", z.readable(r))
	if found := z.problems(r); found != "" {
		say("check after reading all", found)
	}
	return report
}

// TestZoo visits each of the broken repositories. What is listed is all that does not end well, or as in a whole repository.
func TestZoo(t *testing.T) {
	whole := newZoo(t)
	require.Empty(t, whole.visit())
	for _, c := range exhibits() {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			z := newZoo(t)
			c.damage(z)
			require.Equal(t, c.want, z.visit())
		})
	}
}
