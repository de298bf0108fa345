package layout

import (
	"bufio"
	"bytes"
	"encoding/binary"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"iter"
	"math/bits"
	"slices"
	"strconv"
	"strings"
	"sync"
	"unicode/utf8"

	"github.com/zeebo/xxh3"
)

// Document is one document of an index. Its fields stay valid as long as it is referenced.
type Document struct {
	Index   string
	ID      string
	Routing string // empty if none was given
	SeqNo   int64  // sequence number in its shard, -1 if not known
	Source  []byte // the _source: one JSON object, the server's bytes
	Deleted bool   // a delete line: what came before under this id and routing is gone; Source is nil

	// Versioned says that Version, which the server counts up or the document's writer sets, was recorded. Then it stands on the
	// action line, and a cluster that holds a higher one of the id refuses the document.
	Versioned bool
	Version   int64
}

// AppendLines appends the document's two lines, each with its newline, to dst. A source that holds a newline is
// compacted with AppendCompact; one that cannot be is an error, and dst is returned as it was.
func (d *Document) AppendLines(dst []byte) ([]byte, error) {
	if d.Deleted {
		dst = d.AppendAction(dst, "delete")
		return d.AppendAction(dst, "delete"), nil
	}
	if n := len(d.Source); n < 2 || d.Source[0] != '{' || d.Source[n-1] != '}' {
		return dst, fmt.Errorf("document %q of index %s: its _source is no JSON object", d.ID, d.Index)
	}
	start := len(dst)
	dst = d.AppendAction(dst, "index")
	if bytes.IndexByte(d.Source, '\n') < 0 {
		dst = append(dst, d.Source...)
		return append(dst, '\n'), nil
	}
	dst, err := AppendCompact(dst, d.Source)
	if err != nil {
		return dst[:start], fmt.Errorf("document %q of index %s: compact _source: %w", d.ID, d.Index, err)
	}
	return append(dst, '\n'), nil
}

// AppendDigested appends what a digest is made of: AppendLines without the version, so that backups with and without versions, and
// what a cluster holds, have equal digests where the documents are equal.
func (d *Document) AppendDigested(dst []byte) ([]byte, error) {
	plain := *d
	plain.Versioned = false
	return plain.AppendLines(dst)
}

// AppendAction appends the document's action line, newline included, with the given action, such as "index" or
// "create". It names no index.
func (d *Document) AppendAction(dst []byte, action string) []byte {
	dst = append(dst, `{"`...)
	dst = append(dst, action...)
	dst = append(dst, `":{"_id":`...)
	dst = AppendString(dst, d.ID)
	if d.Routing != "" {
		dst = append(dst, `,"routing":`...)
		dst = AppendString(dst, d.Routing)
	}
	dst = d.AppendVersion(dst)
	return append(dst, "}}\n"...)
}

// AppendVersion appends the members of an action line that keep the version, with a comma before them, if there is one.
func (d *Document) AppendVersion(dst []byte) []byte {
	if !d.Versioned {
		return dst
	}
	dst = append(dst, versionKey...)
	dst = strconv.AppendInt(dst, d.Version, 10)
	return append(dst, versionType...)
}

const (
	versionKey  = `,"version":`
	versionType = `,"version_type":"external_gte"`
)

// AppendString appends s as a JSON string. It escapes what JSON demands and nothing else, so that equal strings always
// give equal bytes.
func AppendString(dst []byte, s string) []byte {
	const hexDigits = "0123456789abcdef"
	dst = append(dst, '"')
	start := 0
	for i := 0; i < len(s); {
		c := s[i]
		if c >= utf8.RuneSelf {
			r, n := utf8.DecodeRuneInString(s[i:])
			if r == utf8.RuneError && n == 1 {
				dst = append(append(dst, s[start:i]...), "\ufffd"...)
				start = i + 1
			}
			i += n
			continue
		}
		if c >= 0x20 && c != '"' && c != '\\' {
			i++
			continue
		}
		dst = append(dst, s[start:i]...)
		switch c {
		case '"', '\\':
			dst = append(dst, '\\', c)
		case '\n':
			dst = append(dst, '\\', 'n')
		case '\r':
			dst = append(dst, '\\', 'r')
		case '\t':
			dst = append(dst, '\\', 't')
		default:
			dst = append(dst, '\\', 'u', '0', '0', hexDigits[c>>4], hexDigits[c&15])
		}
		i++
		start = i
	}
	dst = append(dst, s[start:]...)
	return append(dst, '"')
}

type action struct {
	Index  *actionMeta `json:"index"`
	Create *actionMeta `json:"create"`
	Delete *actionMeta `json:"delete"`
}

type actionMeta struct {
	ID      *string `json:"_id"`
	Routing string  `json:"routing"`
	Version *int64  `json:"version"`
	Type    string  `json:"version_type"`
}

// Documents reads a shard file: pairs of lines, as AppendLines writes them. The documents carry the given index name
// and a SeqNo of -1. It stops at the first error, which names the line; a file that ends in the middle of a pair is an
// error.
func Documents(r io.Reader, index string) iter.Seq2[Document, error] {
	return func(yield func(Document, error) bool) {
		for d, err := range EachDocument(r, index) {
			d.Source = bytes.Clone(d.Source)
			if !yield(d, err) {
				return
			}
		}
	}
}

// readers holds the buffers of files that were read to their end: an index may have many shards of a few documents.
var readers = sync.Pool{New: func() any { return bufio.NewReaderSize(nil, readAhead) }}

// EachDocument is Documents, but a document's Source is good only until the next one is asked for: that is quicker.
func EachDocument(r io.Reader, index string) iter.Seq2[Document, error] {
	return func(yield func(Document, error) bool) {
		br := readers.Get().(*bufio.Reader)
		br.Reset(r)
		for line := 1; ; line += 2 {
			d, err := readDocument(br, index)
			if err != nil {
				br.Reset(nil)
				readers.Put(br) // no document of it is good any more
			}
			if err == io.EOF {
				return
			}
			if err != nil {
				yield(Document{}, fmt.Errorf("index %s: line %d: %w", index, line, err))
				return
			}
			if !yield(d, nil) {
				return // the last one may still be looked at
			}
		}
	}
}

// readAhead bounds an action line, and the sources that are not copied.
const readAhead = 1 << 20

// A source that is longer than largeSource gets memory for hugeSource bytes, and twice that if it has to be, at once: growing little by little
// would hold it nearly twice, and what is not filled of new memory takes none. Whoever reads several files lets one go on before it comes so far.
const (
	largeSource = 12 << 20
	hugeSource  = 64 << 20
)

// readDocument reads the two lines of one document, io.EOF if there are none. Its source is good until br is read again.
func readDocument(br *bufio.Reader, index string) (Document, error) {
	head, err := br.ReadSlice('\n')
	if errors.Is(err, bufio.ErrBufferFull) {
		return Document{}, errors.New("action line is longer than 1 MiB")
	}
	if err == io.EOF && len(head) == 0 {
		return Document{}, io.EOF
	}
	if err != nil {
		return Document{}, fmt.Errorf("read action: %w", noEOF(err))
	}
	d, err := parseAction(head)
	if err != nil {
		return Document{}, err
	}
	d.Index, d.SeqNo = index, -1
	body, err := br.ReadSlice('\n')
	if errors.Is(err, bufio.ErrBufferFull) {
		body = bytes.Clone(body)
		for errors.Is(err, bufio.ErrBufferFull) {
			var part []byte
			part, err = br.ReadSlice('\n')
			if n := len(body) + len(part); n > cap(body) && n > largeSource {
				body = slices.Grow(body, max(hugeSource, 2*n)-len(body))
			}
			body = append(body, part...)
		}
	}
	if err != nil {
		return Document{}, fmt.Errorf("document %q: read source: %w", d.ID, noEOF(err))
	}
	body = body[:len(body)-1]
	if d.Deleted {
		second, err := parseAction(body)
		if err != nil || !second.Deleted || second.ID != d.ID || second.Routing != d.Routing {
			return Document{}, fmt.Errorf("delete of %q does not stand twice", d.ID)
		}
		return d, nil
	}
	if len(body) == 0 || body[0] != '{' || body[len(body)-1] != '}' {
		return Document{}, fmt.Errorf("document %q: source is no JSON object", d.ID)
	}
	d.Source = body
	return d, nil
}

func noEOF(err error) error {
	if err == io.EOF {
		return io.ErrUnexpectedEOF
	}
	return err
}

func parseAction(line []byte) (Document, error) {
	if d, ok := parsePlainAction(line); ok {
		return d, nil
	}
	var a action
	if err := json.Unmarshal(line, &a); err != nil {
		return Document{}, fmt.Errorf("action line: %w", err)
	}
	m, deleted := a.Index, false
	switch {
	case m == nil && a.Create != nil:
		m = a.Create
	case m == nil && a.Delete != nil:
		m, deleted = a.Delete, true
	}
	if m == nil || m.ID == nil {
		return Document{}, errors.New("action line: no index, create or delete action with an _id")
	}
	d := Document{ID: *m.ID, Routing: m.Routing, Deleted: deleted}
	if m.Version != nil {
		if !strings.HasPrefix(m.Type, "external") || *m.Version < 0 {
			return Document{}, fmt.Errorf("action line: version %d of type %q: want one of 0 or more, and external_gte", *m.Version, m.Type)
		}
		d.Versioned, d.Version = true, *m.Version
	}
	return d, nil
}

// parsePlainAction is the fast way for what AppendAction wrote, without escapes.
func parsePlainAction(line []byte) (Document, bool) {
	rest, ok := bytes.CutPrefix(line, []byte(`{"index":{"_id":"`))
	if !ok || bytes.IndexByte(line, '\\') >= 0 || !utf8.Valid(line) {
		return Document{}, false
	}
	id, rest, ok := bytes.Cut(rest, []byte{'"'})
	if !ok {
		return Document{}, false
	}
	var routing []byte
	if r, has := bytes.CutPrefix(rest, []byte(`,"routing":"`)); has {
		if routing, rest, ok = bytes.Cut(r, []byte{'"'}); !ok {
			return Document{}, false
		}
	}
	d := Document{ID: string(id), Routing: string(routing)}
	if v, has := bytes.CutPrefix(rest, []byte(versionKey)); has {
		digits, end, ok := bytes.Cut(v, []byte(versionType))
		version, err := strconv.ParseInt(string(digits), 10, 64)
		if !ok || err != nil || version < 0 || len(digits) > 1 && digits[0] == '0' || digits[0] == '+' || digits[0] == '-' {
			return Document{}, false
		}
		d.Versioned, d.Version, rest = true, version, end
	}
	if string(rest) != "}}\n" {
		return Document{}, false
	}
	return d, true
}

// Digest is a sum of documents' digests (see the package comment). The zero value is the digest of no documents.
type Digest struct {
	hi, lo uint64
	short  bool // only lo is known
}

// Add adds the document whose two lines, newlines included, are given, as AppendDigested makes them.
func (d *Digest) Add(lines []byte) {
	h := xxh3.Hash128(lines)
	d.add(h.Hi, h.Lo)
}

// AddDocument adds a document, without making its lines.
func (d *Digest) AddDocument(doc *Document) error {
	if bytes.IndexByte(doc.Source, '\n') >= 0 || doc.Deleted {
		lines, err := doc.AppendDigested(nil)
		if err == nil {
			d.Add(lines)
		}
		return err
	}
	plain := *doc
	plain.Versioned = false
	h := xxh3.New()
	for _, p := range [][]byte{plain.AppendAction(nil, "index"), doc.Source, {'\n'}} {
		if _, err := h.Write(p); err != nil {
			return err
		}
	}
	sum := h.Sum128()
	d.add(sum.Hi, sum.Lo)
	return nil
}

// AddWith is AddDocument, but makes the lines of a small document in the memory given, which is quicker, and returns that for the next one.
func (d *Digest) AddWith(doc *Document, lines []byte) ([]byte, error) {
	if len(doc.Source) > readAhead {
		return lines, d.AddDocument(doc)
	}
	lines, err := doc.AppendDigested(lines[:0])
	if err == nil {
		d.Add(lines)
	}
	return lines, err
}

// AddDigest adds all that is in o. If only the lower half of one of them is known, that is so for the sum too.
func (d *Digest) AddDigest(o Digest) {
	d.short = d.short || o.short
	d.add(o.hi, o.lo)
}

// Low is the digest's lower half: 64 bits.
func (d Digest) Low() uint64 { return d.lo }

// SubtractLow takes a document out of whose digest only the lower half is known. From then on that is so for d too.
func (d *Digest) SubtractLow(low uint64) {
	d.hi, d.lo, d.short = 0, d.lo-low, true
}

// Equal reports whether two digests are the same, as far as both are known.
func (d Digest) Equal(o Digest) bool {
	return d.lo == o.lo && (d.short || o.short || d.hi == o.hi)
}

func (d *Digest) add(hi, lo uint64) {
	var carry uint64
	d.lo, carry = bits.Add64(d.lo, lo, 0)
	if d.hi, _ = bits.Add64(d.hi, hi, carry); d.short {
		d.hi = 0
	}
}

// String gives the digest as 32 hexadecimal digits, as 16 where only the lower half is known.
func (d Digest) String() string {
	if d.short {
		return fmt.Sprintf("%016x", d.lo)
	}
	var b [16]byte
	binary.BigEndian.PutUint64(b[:8], d.hi)
	binary.BigEndian.PutUint64(b[8:], d.lo)
	return hex.EncodeToString(b[:])
}

// MarshalText gives what String gives.
func (d Digest) MarshalText() ([]byte, error) { return []byte(d.String()), nil }

// UnmarshalText reads what MarshalText wrote.
func (d *Digest) UnmarshalText(text []byte) error {
	b, err := hex.DecodeString(string(text))
	switch {
	case err == nil && len(b) == 16:
		*d = Digest{hi: binary.BigEndian.Uint64(b[:8]), lo: binary.BigEndian.Uint64(b[8:])}
	case err == nil && len(b) == 8:
		*d = Digest{lo: binary.BigEndian.Uint64(b), short: true}
	default:
		return fmt.Errorf("digest %q: want 32 or 16 hexadecimal digits", text)
	}
	return nil
}
