package repository

import (
	"context"
	"fmt"
	"sync/atomic"

	"github.com/escrow-backup/escrow/internal/index"
	"github.com/escrow-backup/escrow/internal/pack"
)

// Stats says how much some snapshots hold, and what that takes in the repository.
type Stats struct {
	Snapshots int64
	Files     int64 // each as often as a snapshot has it
	Dirs      int64
	Others    int64 // symbolic links, devices, pipes, sockets
	Bytes     int64 // what restoring all takes: a file with several names counts once in each snapshot

	Blobs       int64 // data and trees, each once
	BlobBytes   int64 // their text
	PackedBytes int64 // what they take: compressed and encrypted, without the headers of the packs
}

// CompressionRatio is how many bytes of text a stored byte holds, 0 if nothing is stored.
func (s *Stats) CompressionRatio() float64 { return ratio(s.BlobBytes, s.PackedBytes) }

// DedupRatio is how many bytes to restore a byte of text stands for, 0 if nothing is stored. It is less than 1 if nothing is
// there twice, since directories take space too.
func (s *Stats) DedupRatio() float64 { return ratio(s.Bytes, s.BlobBytes) }

func ratio(a, b int64) float64 {
	if b == 0 {
		return 0
	}
	return float64(a) / float64(b)
}

// Stats adds up what the snapshots hold: with one, its own share; with all, what is in use of the repository. Blobs that
// several of them need count once. It reads the trees, not the files, and takes no lock. A blob that is missing is an error.
func (r *Repo) Stats(ctx context.Context, snapshots ...*Snapshot) (*Stats, error) {
	ix, err := r.refreshIndex(ctx)
	if err != nil {
		return nil, fmt.Errorf("sum up snapshots: %w", err)
	}
	c := &counter{r: r, trees: map[ID]*treeSum{}, blobs: map[ID]struct{}{}}
	c.ix.Store(ix)
	for _, s := range snapshots {
		t, err := c.tree(ctx, s.Tree)
		if err != nil {
			return nil, fmt.Errorf("sum up snapshot %s: %w", s.ID.Short(), err)
		}
		c.stats.Snapshots++
		c.stats.Files += t.files
		c.stats.Dirs += t.dirs
		c.stats.Others += t.others
		c.stats.Bytes += t.bytes
		seen := map[inode]bool{}
		for _, l := range t.linked {
			if !seen[l.inode] {
				seen[l.inode] = true
				c.stats.Bytes += l.size
			}
		}
	}
	return &c.stats, nil
}

// counter is one call of Stats. It reads each tree once, whatever the number of snapshots that have it.
type counter struct {
	r     *Repo
	ix    atomic.Pointer[index.Index]
	trees map[ID]*treeSum
	blobs map[ID]struct{} // of data
	stats Stats
}

// treeSum is what a tree and those below it hold.
type treeSum struct {
	files, dirs, others int64
	bytes               int64        // without that of linked
	linked              []linkedSize // files that may have other names elsewhere
}

type linkedSize struct {
	inode
	size int64
}

func (c *counter) tree(ctx context.Context, id ID) (*treeSum, error) {
	if t := c.trees[id]; t != nil {
		return t, nil
	}
	if err := c.blob(pack.Tree, id); err != nil {
		return nil, err
	}
	text, err := c.r.loadMoved(ctx, &c.ix, pack.Tree, id, nil)
	if err != nil {
		return nil, err
	}
	nodes, err := decodeTree(text)
	if err != nil {
		return nil, fmt.Errorf("tree %v: %w", id, err)
	}
	t := &treeSum{}
	for _, n := range nodes {
		switch n.Type {
		case typeDir:
			sub, err := c.tree(ctx, *n.Subtree)
			if err != nil {
				return nil, err
			}
			t.dirs += 1 + sub.dirs
			t.files += sub.files
			t.others += sub.others
			t.bytes += sub.bytes
			t.linked = append(t.linked, sub.linked...)
		case typeFile:
			t.files++
			if n.Links > 1 && n.Inode != 0 {
				t.linked = append(t.linked, linkedSize{inode{n.DeviceID, n.Inode}, n.Size})
			} else {
				t.bytes += n.Size
			}
			for _, id := range n.Content {
				if _, ok := c.blobs[id]; ok {
					continue
				}
				c.blobs[id] = struct{}{}
				if err := c.blob(pack.Data, id); err != nil {
					return nil, err
				}
			}
		default:
			t.others++
		}
	}
	c.trees[id] = t
	return t, nil
}

// blob counts a blob. If it lies in several packs, one counts.
func (c *counter) blob(t pack.Type, id ID) error {
	for loc := range c.ix.Load().Lookup(t, id) {
		c.stats.Blobs++
		c.stats.BlobBytes += int64(loc.PlainLength())
		c.stats.PackedBytes += int64(loc.Length)
		return nil
	}
	return fmt.Errorf("%v blob %v: %w", t, id, errNoBlob)
}
