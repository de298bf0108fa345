package gcs

import (
	"bytes"
	"context"
	"crypto/md5"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"io/fs"
	"mime/multipart"
	"net/http"
	"net/textproto"
	"net/url"
	"strings"

	"github.com/escrow-backup/escrow/repository/backend"
	"github.com/escrow-backup/escrow/repository/backend/internal/exact"
	"github.com/escrow-backup/escrow/repository/backend/web"
)

// maxObject is the most that an object may have, in bytes.
const maxObject = 5 << 40

// upload is what the JSON API is told about an object before its content.
type upload struct {
	Name         string `json:"name"`
	ContentType  string `json:"contentType"`
	MD5          string `json:"md5Hash"`
	CRC32C       string `json:"crc32c"`
	StorageClass string `json:"storageClass,omitempty"`
}

// Save implements [backend.Backend]. A file of more than 5 TiB is an error wrapping fs.ErrInvalid.
func (b *Backend) Save(ctx context.Context, h backend.Handle, body io.ReaderAt, size int64) error {
	return fail("save", h, b.save(ctx, h, body, size))
}

func (b *Backend) save(ctx context.Context, h backend.Handle, body io.ReaderAt, size int64) error {
	if size > maxObject {
		return fmt.Errorf("%d bytes are more than an object may have, %d: %w", size, int64(maxObject), fs.ErrInvalid)
	}
	if err := b.check(ctx, h); err != nil {
		return err
	}
	// The first of two passes over the body also finds a body that is short or cannot be read, before anything is sent.
	sum, crc := md5.New(), crc32.New(crc32.MakeTable(crc32.Castagnoli))
	if err := exact.Copy(ctx, io.MultiWriter(sum, crc), backend.Unpaced(body), size); err != nil {
		return err
	}
	u := upload{
		Name:        b.key(h),
		ContentType: "application/octet-stream",
		MD5:         base64.StdEncoding.EncodeToString(sum.Sum(nil)),
		CRC32C:      base64.StdEncoding.EncodeToString(crc.Sum(nil)),
	}
	if h.Type == backend.Pack {
		u.StorageClass = b.class
	}
	err := b.put(ctx, u, body, size)
	if b.cfg.CreateBucket && web.HasCode(err, bucketMissing) {
		if err := b.create(ctx); err != nil {
			return fmt.Errorf("create bucket %q: %w", b.cfg.Bucket, err)
		}
		err = b.put(ctx, u, body, size)
	}
	return err
}

func (b *Backend) put(ctx context.Context, u upload, body io.ReaderAt, size int64) error {
	head, kind, err := frame(u)
	if err != nil {
		return err
	}
	before, after, _ := strings.Cut(head, contentHere)
	r := exact.NewBody(ctx, body, size)
	all := io.MultiReader(strings.NewReader(before), r, strings.NewReader(after))
	q := url.Values{"uploadType": {"multipart"}, "ifGenerationMatch": {"0"}, "fields": {"name,size,md5Hash,generation"}}
	info := objectInfo{Size: -1}
	err = b.ask(ctx, http.MethodPost, b.objects("/upload")+"?"+q.Encode(), all, int64(len(before)+len(after))+size, &info, "Content-Type", kind)
	if bodyErr := r.Stop(); err != nil && bodyErr != nil && ctx.Err() == nil {
		return bodyErr
	}
	if errors.Is(err, fs.ErrNotExist) {
		return b.missingBucket(err)
	}
	if err != nil {
		return err
	}
	b.met.Store(true)
	if info.Name == u.Name && info.Size == size && info.MD5 == u.MD5 {
		return nil
	}
	err = fmt.Errorf("the server says that it has stored %d bytes with the MD5 %q as %q, not %d with %s", info.Size, info.MD5, info.Name, size, u.MD5)
	if info.Name == u.Name && info.Generation != "" {
		// Cloud Storage itself refuses such an upload. What another server has taken must not stay.
		address := b.objects("") + "/" + url.PathEscape(u.Name) + "?ifGenerationMatch=" + url.QueryEscape(info.Generation)
		if removeErr := b.ask(ctx, http.MethodDelete, address, nil, 0, nil); removeErr != nil {
			err = fmt.Errorf("%w; remove it: %w", err, removeErr)
		}
	}
	return err
}

// contentHere marks in a frame where the content of the file goes.
const contentHere = "\x00"

// frame is the body of a multipart upload around the content, and its type.
func frame(u upload) (text, kind string, err error) {
	data, err := json.Marshal(u)
	if err != nil {
		return "", "", err
	}
	var all bytes.Buffer
	w := multipart.NewWriter(&all)
	for _, part := range []struct{ kind, content string }{{"application/json; charset=UTF-8", string(data)}, {u.ContentType, contentHere}} {
		p, err := w.CreatePart(textproto.MIMEHeader{"Content-Type": {part.kind}})
		if err != nil {
			return "", "", err
		}
		if _, err := io.WriteString(p, part.content); err != nil {
			return "", "", err
		}
	}
	if err := w.Close(); err != nil {
		return "", "", err
	}
	return all.String(), "multipart/related; boundary=" + w.Boundary(), nil
}

// create makes the bucket. Whoever else creates it at the same time does no harm.
func (b *Backend) create(ctx context.Context) error {
	if b.project == "" {
		return fmt.Errorf("GOOGLE_PROJECT_ID is not set: %w", fs.ErrNotExist)
	}
	data, err := json.Marshal(struct {
		Name     string `json:"name"`
		Location string `json:"location,omitempty"`
	}{b.cfg.Bucket, b.region})
	if err != nil {
		return err
	}
	var made struct{ Name string }
	err = b.ask(ctx, http.MethodPost, b.endpoint+"/storage/v1/b?project="+url.QueryEscape(b.project), bytes.NewReader(data), int64(len(data)), &made,
		"Content-Type", "application/json")
	if web.IsStatus(err, http.StatusConflict) {
		// Somebody has it, perhaps somebody else: the upload that follows will tell.
		return nil
	}
	return err
}
