package gcs

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"net/http"
	"os"
	"strings"
	"sync"
	"time"

	"golang.org/x/oauth2"
	"golang.org/x/oauth2/google"

	"github.com/escrow-backup/escrow/repository/backend"
	"github.com/escrow-backup/escrow/repository/backend/web"
)

const (
	// scope is what a token is good for: reading, writing and, for a missing bucket, creating.
	scope = "https://www.googleapis.com/auth/devstorage.full_control"
	// tokenLimit is how long whoever gives tokens may take.
	tokenLimit = time.Minute
)

// tokens gets tokens and keeps the last one until shortly before it expires.
type tokens struct {
	client *http.Client
	find   func(ctx context.Context) (oauth2.TokenSource, error) // where source is nil

	mu     sync.Mutex // held while a token is got
	source oauth2.TokenSource

	last struct {
		sync.Mutex
		*oauth2.Token
	}
}

// newTokens finds out who the process is, without asking anybody yet. nil: it is nobody in particular.
func newTokens(s *backend.Settings, transport http.RoundTripper, emulator bool) (*tokens, error) {
	t := &tokens{client: &http.Client{Transport: transport, Timeout: tokenLimit}}
	if token := s.Value("GOOGLE_ACCESS_TOKEN"); token != "" {
		t.source = oauth2.StaticTokenSource(&oauth2.Token{AccessToken: token})
		return t, nil
	}
	source, data, kind := "GOOGLE_SERVICE_ACCOUNT_JSON_KEY", []byte(s.Value("GOOGLE_SERVICE_ACCOUNT_JSON_KEY")), google.ServiceAccount
	if file := s.Value("GOOGLE_APPLICATION_CREDENTIALS"); len(data) == 0 && file != "" {
		source = "GOOGLE_APPLICATION_CREDENTIALS " + file
		var err error
		if data, err = os.ReadFile(file); err != nil {
			return nil, fmt.Errorf("GOOGLE_APPLICATION_CREDENTIALS: %w", err)
		}
		var content struct{ Type google.CredentialsType }
		if json.Unmarshal(data, &content) != nil || content.Type == "" {
			return nil, fmt.Errorf("%s: not credentials of Google in JSON", source)
		}
		kind = content.Type
	}
	switch {
	case len(data) > 0:
		creds, err := google.CredentialsFromJSONWithType(t.context(), data, kind, scope)
		if err != nil {
			// The cause is not shown: it may repeat what it could not read.
			return nil, fmt.Errorf("%s: not the key of a %s in JSON", source, strings.ReplaceAll(string(kind), "_", " "))
		}
		t.source = creds.TokenSource
	case emulator:
		return nil, nil
	default:
		t.find = func(ctx context.Context) (oauth2.TokenSource, error) {
			creds, err := google.FindDefaultCredentials(ctx, scope)
			if err != nil {
				return nil, err
			}
			return creds.TokenSource, nil
		}
	}
	return t, nil
}

// context carries the HTTP client to package oauth2, and never ends.
func (t *tokens) context() context.Context {
	return context.WithValue(context.Background(), oauth2.HTTPClient, t.client)
}

// get returns a token. Package oauth2 knows no contexts, so that a call that has ended leaves it alone with its work.
func (t *tokens) get(ctx context.Context) (string, error) {
	t.last.Lock()
	token := t.last.Token
	t.last.Unlock()
	if token.Valid() {
		return token.AccessToken, nil
	}
	done := make(chan error, 1)
	go func() {
		t.mu.Lock()
		defer t.mu.Unlock()
		var err error
		token, err = t.next()
		done <- err
	}()
	select {
	case <-ctx.Done():
		return "", context.Cause(ctx)
	case err := <-done:
		if err != nil {
			return "", explainToken(err)
		}
		return token.AccessToken, nil
	}
}

func (t *tokens) next() (*oauth2.Token, error) {
	if t.source == nil {
		source, err := t.find(t.context())
		if err != nil {
			return nil, noIdentityError{err}
		}
		t.source = source
	}
	token, err := t.source.Token()
	if err != nil {
		return nil, err
	}
	t.last.Lock()
	defer t.last.Unlock()
	t.last.Token = token
	return token, nil
}

// noIdentityError says that nobody told who we are.
type noIdentityError struct{ error }

// explainToken says in terms of package backend why there is no token. Of an answer it repeats only what is meant to be read:
// there may be a token in the rest.
func explainToken(err error) error {
	var none noIdentityError
	if errors.As(err, &none) {
		return &web.AnswerError{Cause: fs.ErrPermission, Text: "no credentials: neither GOOGLE_SERVICE_ACCOUNT_JSON_KEY nor " +
			"GOOGLE_APPLICATION_CREDENTIALS is set, and there is no ambient identity: " + oneLine(none.Error())}
	}
	var answer *oauth2.RetrieveError
	if !errors.As(err, &answer) || answer.Response == nil {
		err = web.WithoutURL(err)
		return &web.AnswerError{Cause: err, Text: "get a token: " + oneLine(err.Error())}
	}
	var said struct {
		Code        string `json:"error"`
		Description string `json:"error_description"`
	}
	if json.Unmarshal(answer.Body, &said) != nil {
		said.Code = "" // not the words of OAuth
	}
	e := &web.AnswerError{Code: said.Code, Status: answer.Response.StatusCode, Header: answer.Response.Header}
	e.Text = oneLine(fmt.Sprintf("get a token: %d %s %s", e.Status, said.Code, said.Description))
	if e.Status >= 400 && e.Status < 500 && e.Status != http.StatusTooManyRequests && e.Status != http.StatusRequestTimeout {
		e.Cause = fs.ErrPermission
	}
	return e
}

// hide removes the token from a text that a server may have repeated it in.
func (t *tokens) hide(text string) string {
	if t == nil {
		return text
	}
	t.last.Lock()
	defer t.last.Unlock()
	if t.last.Token == nil || t.last.AccessToken == "" {
		return text
	}
	return strings.ReplaceAll(text, t.last.AccessToken, "[token]")
}
