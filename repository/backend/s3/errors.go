package s3

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net/http"
	"strings"
	"sync"

	"github.com/minio/minio-go/v7"

	"github.com/escrow-backup/escrow/repository/backend/web"
)

// exchange is what was seen of the requests of one call, below minio-go, which hides some of it.
type exchange struct {
	mu     sync.Mutex
	status int         // of the last answer; 0 if there was none
	header http.Header // of the last answer
	err    error       // of the last request that got no answer
}

type exchangeKey struct{}

// observer notes answers in the exchange that the context holds, and refuses those that cannot be S3's.
type observer struct{ next http.RoundTripper }

// RoundTrip implements http.RoundTripper.
func (o observer) RoundTrip(r *http.Request) (*http.Response, error) {
	resp, err := o.next.RoundTrip(r)
	if err == nil {
		err = verify(r, resp)
	}
	if x, ok := r.Context().Value(exchangeKey{}).(*exchange); ok {
		x.mu.Lock()
		defer x.mu.Unlock()
		x.status, x.header, x.err = 0, nil, err
		if resp != nil {
			x.status, x.header = resp.StatusCode, resp.Header
		}
	}
	if err != nil {
		return nil, err
	}
	return resp, nil
}

// verify returns an error, with the body closed, for a page of a proxy or a portal in between: minio-go would take the
// status for an answer about the file, and a page for an empty list.
func verify(r *http.Request, resp *http.Response) error {
	foreign := func(what string) error {
		_ = resp.Body.Close() // the answer is refused
		return fmt.Errorf("%s: %s instead of an answer of S3", resp.Status, what)
	}
	if web.IsPage(resp) {
		return foreign("an HTML page")
	}
	q := r.URL.Query()
	if resp.StatusCode == http.StatusOK && r.Method == http.MethodGet && (q.Has("prefix") || q.Has("versions")) {
		body := bufio.NewReader(resp.Body)
		begin, err := body.Peek(512)
		if err != nil && !errors.Is(err, io.EOF) {
			_ = resp.Body.Close() // the answer is refused
			return err
		}
		if s := string(begin); !strings.Contains(s, "<ListBucketResult") && !strings.Contains(s, "<ListVersionsResult") {
			return foreign("something else than a list")
		}
		resp.Body = struct {
			io.Reader
			io.Closer
		}{body, resp.Body}
	}
	return nil
}

// call runs fn, which makes requests with the context it is given, and says what went wrong in terms of package backend.
func (b *Backend) call(ctx context.Context, fn func(ctx context.Context) error) error {
	x := &exchange{}
	err := fn(context.WithValue(ctx, exchangeKey{}, x))
	if b.region == "" && elsewhere(err) && ctx.Err() == nil {
		// minio-go has learnt the region from the answer, and would use it in a retry.
		err = fn(context.WithValue(ctx, exchangeKey{}, x))
	}
	if err == nil {
		b.met.Store(true)
		return nil
	}
	return b.explain(ctx, x, err)
}

// elsewhere reports whether err says in which other region the bucket is.
func elsewhere(err error) bool {
	var e minio.ErrorResponse
	if !errors.As(err, &e) || e.Region == "" {
		return false
	}
	return e.Code == minio.AuthorizationHeaderMalformed || e.Code == minio.InvalidRegion || e.Code == minio.AccessDenied
}

func (b *Backend) explain(ctx context.Context, x *exchange, err error) error {
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	x.mu.Lock()
	defer x.mu.Unlock()
	var resp minio.ErrorResponse
	if !errors.As(err, &resp) {
		if x.err != nil {
			err = x.err // minio-go may have put a text in its place
		}
		return &web.AnswerError{Cause: web.WithoutURL(err), Status: x.status, Header: x.header, Text: b.redact.Replace(web.WithoutURL(err).Error())}
	}
	e := &web.AnswerError{Code: resp.Code, Status: x.status, Header: x.header, Cause: sentinel(resp.Code, x.status)}
	if resp.Code == "InvalidRequest" && strings.Contains(resp.Message, "WORM protected") {
		e.Cause = fs.ErrPermission // MinIO's word for a version that Object Lock retains
	}
	if b.ambient && (resp.Code == "ExpiredToken" || resp.Code == "ExpiredTokenException") {
		// Sooner than was said. The next call gets new ones, so this is no lack of permission.
		b.creds.Expire()
		e.Cause = nil
	}
	text := resp.Error()
	switch {
	case resp.StatusCode != 0 && strings.HasPrefix(resp.Code, fmt.Sprintf("%d ", resp.StatusCode)):
		// Not XML, so no words of S3: the status has to do. The body may be anybody's.
		text = resp.Code
	case resp.Code == minio.NoSuchBucket:
		text = fmt.Sprintf("bucket %q does not exist at %s (%s)", b.cfg.Bucket, b.core.EndpointURL().Host, resp.Code)
	default:
		text = fmt.Sprintf("%s (%s)", strings.TrimRight(text, "."), resp.Code)
	}
	if resp.RequestID != "" && resp.RequestID != "minio" {
		text += ", request " + resp.RequestID
	}
	if resp.Region != "" && resp.Region != b.region && (x.status == http.StatusBadRequest || x.status/100 == 3) {
		text += fmt.Sprintf("; the bucket is in region %s", resp.Region)
	}
	e.Text = b.redact.Replace(text)
	return e
}

// sentinel maps the codes of S3's error responses, and the statuses of answers without one.
func sentinel(code string, status int) error {
	switch code {
	case minio.NoSuchKey, minio.NoSuchBucket, "NotFound", "NoSuchVersion":
		return fs.ErrNotExist
	case minio.PreconditionFailed:
		return fs.ErrExist
	case minio.AccessDenied, "AllAccessDisabled", "AccountProblem", "InvalidAccessKeyId", "SignatureDoesNotMatch", "InvalidToken",
		"ExpiredToken", "ExpiredTokenException", "TokenRefreshRequired", "InvalidSecurity", "NotSignedUp", "RequestTimeTooSkewed",
		"ObjectLocked", "MethodNotAllowed", "InvalidObjectState", "XAdminUserNotFound":
		return fs.ErrPermission
	}
	if status == http.StatusUnauthorized || status == http.StatusForbidden {
		return fs.ErrPermission
	}
	return nil
}
