package azure

import (
	"bufio"
	"context"
	"encoding/xml"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net/http"
	"strings"

	"github.com/Azure/azure-sdk-for-go/sdk/azcore"
	"github.com/Azure/azure-sdk-for-go/sdk/azcore/runtime"
	"github.com/Azure/azure-sdk-for-go/sdk/storage/azblob/bloberror"

	"github.com/escrow-backup/escrow/repository/backend/web"
)

// maxText is how much of the words of others an error repeats, in bytes.
const maxText = 600

// observer refuses answers that cannot be Azure's: a page of a proxy would pass for an answer about the file, and something
// else than a list for an empty one.
type observer struct{ next http.RoundTripper }

// RoundTrip implements http.RoundTripper.
func (o observer) RoundTrip(r *http.Request) (*http.Response, error) {
	resp, err := o.next.RoundTrip(r)
	if err != nil {
		return nil, err
	}
	foreign := func(what string) (*http.Response, error) {
		_ = resp.Body.Close() // the answer is refused
		return nil, &web.AnswerError{Status: resp.StatusCode, Header: resp.Header, Text: fmt.Sprintf("%s: %s", resp.Status, what)}
	}
	if web.IsPage(resp) {
		return foreign("an HTML page instead of an answer of Azure")
	}
	if resp.Header.Get("x-ms-request-id") == "" {
		return foreign("an answer without a request id is not one of Azure")
	}
	if resp.StatusCode == http.StatusOK && r.URL.Query().Get("comp") == "list" {
		body := bufio.NewReader(resp.Body)
		begin, err := body.Peek(512)
		if err != nil && !errors.Is(err, io.EOF) {
			_ = resp.Body.Close() // the answer is refused
			return nil, err
		}
		if !strings.Contains(string(begin), "<EnumerationResults") {
			return foreign("something else than a list")
		}
		resp.Body = struct {
			io.Reader
			io.Closer
		}{body, resp.Body}
	}
	return resp, nil
}

// explain says what went wrong in terms of package backend; nil stays nil.
func (b *Backend) explain(ctx context.Context, err error) error {
	if err == nil {
		return nil
	}
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	var e *web.AnswerError
	if errors.As(err, &e) {
		e := *e
		e.Text = b.redact.Replace(e.Text)
		return &e
	}
	var resp *azcore.ResponseError
	if !errors.As(err, &resp) {
		err = web.WithoutURL(err)
		return &web.AnswerError{Cause: err, Text: b.redact.Replace(err.Error())}
	}
	e = &web.AnswerError{Code: resp.ErrorCode, Status: resp.StatusCode, Cause: sentinel(bloberror.Code(resp.ErrorCode), resp.StatusCode)}
	if resp.RawResponse != nil {
		e.Header = resp.RawResponse.Header
	}
	if e.Code == string(bloberror.ContainerNotFound) {
		e.Text = fmt.Sprintf("container %q does not exist at %s (%s)", b.cfg.Container, b.host, e.Code)
	} else {
		e.Text = words(resp)
	}
	if id := e.Header.Get("x-ms-request-id"); id != "" {
		e.Text += ", request " + id
	}
	e.Text = b.redact.Replace(e.Text)
	return e
}

// words is what Azure says. The text that azcore would make of it has many lines.
func words(resp *azcore.ResponseError) string {
	text := fmt.Sprintf("%d %s", resp.StatusCode, http.StatusText(resp.StatusCode))
	if resp.RawResponse != nil {
		var said struct {
			Message string
		}
		body, err := runtime.Payload(resp.RawResponse)
		if err == nil && xml.Unmarshal(body, &said) == nil && said.Message != "" {
			// Below the first line are id and time of the request.
			line, _, _ := strings.Cut(strings.TrimSpace(said.Message), "\n")
			text = strings.TrimRight(oneLine(line), ".")
		}
	}
	if resp.ErrorCode != "" {
		text += " (" + resp.ErrorCode + ")"
	}
	return text
}

// oneLine puts a text on one line, and cuts it.
func oneLine(s string) string {
	s = strings.Join(strings.Fields(strings.ToValidUTF8(s, "?")), " ")
	if len(s) > maxText {
		s = strings.ToValidUTF8(s[:maxText], "") + "..."
	}
	return s
}

// sentinel maps the codes of Blob Storage's errors, and the statuses of answers whose code says nothing.
func sentinel(code bloberror.Code, status int) error {
	switch code {
	case bloberror.BlobNotFound, bloberror.ContainerNotFound:
		return fs.ErrNotExist
	case bloberror.BlobAlreadyExists, bloberror.ConditionNotMet:
		return fs.ErrExist
	case bloberror.BlobImmutableDueToPolicy, bloberror.BlobArchived, bloberror.BlobBeingRehydrated, bloberror.LeaseIDMissing:
		return fs.ErrPermission
	}
	if status == http.StatusUnauthorized || status == http.StatusForbidden {
		return fs.ErrPermission
	}
	return nil
}
