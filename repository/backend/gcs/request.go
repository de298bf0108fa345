package gcs

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"mime"
	"net/http"
	"strings"

	"github.com/escrow-backup/escrow/repository/backend/web"
)

const (
	// maxText is how much of the words of others an error repeats, in bytes.
	maxText = 600
	// maxAnswer is more than any answer but a file has, in bytes. A page of a list has some 200 KB.
	maxAnswer = 16 << 20

	bucketMissing = "bucketNotFound" // our code for what Google calls notFound, too
	notJSON       = "notJSON"        // our code for an answer that is none of the JSON API
)

// send sends a request and returns the answer if its status is 2xx; the caller closes the body. size is that of body, if there
// is one. header are pairs.
func (b *Backend) send(ctx context.Context, method, url string, body io.Reader, size int64, header ...string) (*http.Response, error) {
	r, err := http.NewRequestWithContext(ctx, method, url, body)
	if err != nil {
		return nil, web.WithoutURL(err)
	}
	if body != nil {
		r.ContentLength = size
	}
	for i := 0; i < len(header); i += 2 {
		r.Header.Set(header[i], header[i+1])
	}
	if b.tokens != nil {
		token, err := b.tokens.get(ctx)
		if err != nil {
			return nil, err
		}
		r.Header.Set("Authorization", "Bearer "+token)
	}
	resp, err := b.client.Do(r)
	if err != nil {
		if ctx.Err() != nil {
			return nil, context.Cause(ctx)
		}
		return nil, web.WithoutURL(err)
	}
	if resp.StatusCode >= 200 && resp.StatusCode < 300 {
		return resp, nil
	}
	defer func() { _ = resp.Body.Close() }() // the status is known, whatever is read
	return nil, b.refusal(resp)
}

// ask sends a request whose answer is JSON for into; where into is nil, what it says does not matter, and it may be empty.
func (b *Backend) ask(ctx context.Context, method, url string, body io.Reader, size int64, into any, header ...string) error {
	resp, err := b.send(ctx, method, url, body, size, header...)
	if err != nil {
		return err
	}
	data, err := io.ReadAll(io.LimitReader(resp.Body, maxAnswer))
	err = errors.Join(err, resp.Body.Close())
	if ctx.Err() != nil && err != nil {
		return context.Cause(ctx)
	}
	if err != nil {
		return err
	}
	if into == nil {
		if len(data) > 0 && !isJSON(resp) || web.IsPage(resp) {
			return fmt.Errorf("%s: the answer is not one of Cloud Storage", resp.Status)
		}
		return nil
	}
	if err := json.Unmarshal(data, into); err != nil || !isJSON(resp) {
		return fmt.Errorf("%s: the answer is not one of Cloud Storage, but %s", resp.Status, kind(resp))
	}
	return nil
}

func kind(resp *http.Response) string {
	t, _, err := mime.ParseMediaType(resp.Header.Get("Content-Type"))
	if err != nil {
		return "of no type"
	}
	return t
}

func isJSON(resp *http.Response) bool { return kind(resp) == "application/json" }

// refusal is an answer that is not a success. Only the JSON API's own words say something about a file.
func (b *Backend) refusal(resp *http.Response) error {
	e := &web.AnswerError{Status: resp.StatusCode, Header: resp.Header, Code: notJSON}
	var said struct {
		Error struct {
			Message string
			Errors  []struct{ Reason string }
		}
	}
	data, err := io.ReadAll(io.LimitReader(resp.Body, maxAnswer))
	if err != nil || !isJSON(resp) || json.Unmarshal(data, &said) != nil || said.Error.Message == "" {
		e.Text = fmt.Sprintf("%d %s, and %s instead of words of Cloud Storage", resp.StatusCode, http.StatusText(resp.StatusCode), kind(resp))
		return e
	}
	e.Code = ""
	if len(said.Error.Errors) > 0 {
		e.Code = said.Error.Errors[0].Reason
	}
	e.Text = b.tokens.hide(fmt.Sprintf("%s (%d %s)", strings.TrimRight(oneLine(said.Error.Message), "."), e.Status, oneLine(e.Code)))
	switch e.Status {
	case http.StatusNotFound:
		e.Cause = fs.ErrNotExist
	case http.StatusPreconditionFailed:
		e.Cause = fs.ErrExist
	case http.StatusUnauthorized:
		e.Cause = fs.ErrPermission
	case http.StatusForbidden:
		// Too much at once is answered with 403, too.
		if !strings.HasSuffix(strings.ToLower(e.Code), "ratelimitexceeded") {
			e.Cause = fs.ErrPermission
		}
	}
	return e
}

// missingBucket is said of a bucket that does not exist.
func (b *Backend) missingBucket(err error) error {
	e := &web.AnswerError{Code: bucketMissing, Status: http.StatusNotFound, Cause: fs.ErrNotExist}
	var answer *web.AnswerError
	if errors.As(err, &answer) {
		e.Header = answer.Header
	}
	e.Text = fmt.Sprintf("bucket %q does not exist at %s", b.cfg.Bucket, b.host)
	return e
}

// aboutObject tells a missing object from a missing bucket, for which Google has the same code. Once is enough.
func (b *Backend) aboutObject(ctx context.Context, err error) error {
	switch {
	case err == nil:
		b.met.Store(true)
		return nil
	case !errors.Is(err, fs.ErrNotExist) || b.met.Load():
		return err
	}
	var page listPage
	listErr := b.ask(ctx, http.MethodGet, b.objects("")+"?maxResults=1&fields=nextPageToken", nil, 0, &page)
	switch {
	case listErr == nil:
		b.met.Store(true)
		return err
	case errors.Is(listErr, fs.ErrNotExist):
		return b.missingBucket(listErr)
	}
	return listErr
}

// oneLine puts a text on one line, and cuts it.
func oneLine(s string) string {
	s = strings.Join(strings.Fields(strings.ToValidUTF8(s, "?")), " ")
	if len(s) > maxText {
		s = strings.ToValidUTF8(s[:maxText], "") + "..."
	}
	return s
}
