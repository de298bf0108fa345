// Package b2 keeps a repository in a bucket of Backblaze B2, in restic's layout, through B2's S3-compatible API: see package s3
// for what that means. One request to B2's own API, b2_authorize_account, tells where that API is and what the key may do.
//
// B2 keeps versions of files, and a plain removal only hides the newest, so Remove deletes all versions of a file: what is
// removed costs nothing any more, as with restic. Where Object Lock retains a version, the error of Remove wraps fs.ErrPermission.
//
// B2 does not know conditional uploads. A look goes before each; see package s3.
//
// The key comes from the settings B2_ACCOUNT_ID, which is the id of an application key, and B2_ACCOUNT_KEY. B2 does not let
// the master application key use the S3-compatible API.
package b2

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/escrow-backup/escrow/repository/backend"
	"github.com/escrow-backup/escrow/repository/backend/internal/place"
	"github.com/escrow-backup/escrow/repository/backend/s3"
	"github.com/escrow-backup/escrow/repository/backend/web"
)

// defaultEndpoint is where B2 lets everybody in.
const defaultEndpoint = "https://api.backblazeb2.com"

// maxAnswer is much more than an answer to b2_authorize_account has.
const maxAnswer = 1 << 20

// Config says where a repository is. Bucket is required.
type Config struct {
	Bucket string
	Prefix string // of all names, without slashes at its ends; default: none

	// CreateBucket makes Save create a bucket that is missing, as a private one; see s3.Config.
	CreateBucket bool

	// Settings hold B2_ACCOUNT_ID, B2_ACCOUNT_KEY and what package web reads; nil works.
	Settings *backend.Settings

	Endpoint  string            // of B2's own API; default: https://api.backblazeb2.com
	Transport http.RoundTripper // carries the requests; default: what package web makes of Settings
}

// Backend is a repository in a bucket. It fulfils [backend.Backend].
type Backend struct{ *s3.Backend }

// Open asks B2 what the key is good for and returns the Backend for what c says. The error wraps fs.ErrPermission if the key
// is not good for this place. It holds no credentials.
func Open(ctx context.Context, c Config) (*Backend, error) {
	b, err := open(ctx, c)
	if err != nil {
		return nil, fmt.Errorf("open b2 bucket %q: %w", c.Bucket, err)
	}
	return b, nil
}

func open(ctx context.Context, c Config) (*Backend, error) {
	if c.Bucket == "" {
		return nil, errors.New("no bucket is named")
	}
	s := c.Settings
	if s == nil {
		s = &backend.Settings{}
	}
	if c.Endpoint == "" {
		c.Endpoint = defaultEndpoint
	}
	if c.Transport == nil {
		t, err := web.Transport(s)
		if err != nil {
			return nil, err
		}
		c.Transport = t
	}
	id, key := s.Value("B2_ACCOUNT_ID"), s.Value("B2_ACCOUNT_KEY")
	if id == "" || key == "" {
		return nil, fmt.Errorf("B2_ACCOUNT_ID and B2_ACCOUNT_KEY are not both set: %w", fs.ErrPermission)
	}
	a, err := authorize(ctx, c, id, key)
	if err != nil {
		return nil, fmt.Errorf("authorize: %w", err)
	}
	prefix := place.Clean(c.Prefix)
	if err := a.allows(id, c.Bucket, prefix); err != nil {
		return nil, err
	}
	settings := *s
	settings.Region = region(a.APIInfo.StorageAPI.S3APIURL)
	settings.Lookup = func(name string) (string, bool) {
		switch name {
		case "AWS_ACCESS_KEY_ID":
			return id, true
		case "AWS_SECRET_ACCESS_KEY":
			return key, true
		case "AWS_SESSION_TOKEN", "AWS_DEFAULT_REGION", "AWS_REGION":
			return "", false // of Amazon's S3
		}
		v := s.Value(name)
		return v, v != ""
	}
	b, err := s3.Open(ctx, s3.Config{
		Endpoint:       a.APIInfo.StorageAPI.S3APIURL,
		Bucket:         c.Bucket,
		Prefix:         prefix,
		BucketLookup:   "path",
		CreateBucket:   c.CreateBucket,
		DeleteVersions: true,
		NoCondition:    true,
		Settings:       &settings,
		Transport:      c.Transport,
	})
	if err != nil {
		return nil, err
	}
	return &Backend{b}, nil
}

// Opener is the [backend.Opener] of B2, for the scheme "b2". The location is that of restic's URLs: "bucket", or
// "bucket:path/to/repository". A bucket that does not exist is created by the first Save, as restic does.
func Opener(ctx context.Context, location string, s *backend.Settings) (backend.Backend, error) {
	bucket, prefix, _ := strings.Cut(location, ":")
	if strings.Contains(bucket, "/") {
		return nil, fmt.Errorf("open b2 %q: want bucket or bucket:path", location)
	}
	b, err := Open(ctx, Config{Bucket: bucket, Prefix: prefix, CreateBucket: true, Settings: s})
	if err != nil {
		return nil, err // not b: a nil *Backend would make a Backend that is not nil
	}
	return b, nil
}

// authorization is the part of the answer to b2_authorize_account, version 3, that matters here.
type authorization struct {
	AccountID string `json:"accountId"`
	APIInfo   struct {
		StorageAPI struct {
			S3APIURL   string `json:"s3ApiUrl"`
			BucketID   string `json:"bucketId"` // of the only bucket that the key is good for; may be empty
			BucketName string `json:"bucketName"`
			NamePrefix string `json:"namePrefix"`
		} `json:"storageApi"`
	} `json:"apiInfo"`
}

func authorize(ctx context.Context, c Config, id, key string) (a authorization, err error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, strings.TrimRight(c.Endpoint, "/")+"/b2api/v3/b2_authorize_account", nil)
	if err != nil {
		return a, errors.New("the endpoint is not a URL")
	}
	req.SetBasicAuth(id, key)
	// Redirects are not followed: the key goes nowhere else.
	resp, err := c.Transport.RoundTrip(req)
	if ctx.Err() != nil {
		return a, context.Cause(ctx)
	}
	if err != nil {
		return a, err
	}
	defer func() { _ = resp.Body.Close() }() // only read from
	body, err := io.ReadAll(io.LimitReader(resp.Body, maxAnswer))
	if ctx.Err() != nil {
		return a, context.Cause(ctx)
	}
	if err != nil {
		return a, err
	}
	if resp.StatusCode != http.StatusOK {
		return a, refusal(resp, body, strings.NewReplacer(id, "[key id]", key, "[key]"))
	}
	if err := json.Unmarshal(body, &a); err != nil {
		return a, fmt.Errorf("the answer is not one of B2: %w", err)
	}
	return a, checkURL(c.Endpoint, a.APIInfo.StorageAPI.S3APIURL)
}

// refusal is an answer that is not a success.
func refusal(resp *http.Response, body []byte, redact *strings.Replacer) error {
	var said struct{ Code, Message string }
	text := resp.Status
	if json.Unmarshal(body, &said) == nil && said.Code != "" {
		text = redact.Replace(fmt.Sprintf("%s (%s)", said.Message, said.Code))
	}
	if resp.StatusCode == http.StatusUnauthorized || resp.StatusCode == http.StatusForbidden {
		return fmt.Errorf("%s: %w", text, fs.ErrPermission)
	}
	if resp.StatusCode == http.StatusTooManyRequests || resp.StatusCode >= http.StatusInternalServerError {
		return &busyError{text, web.RetryAfter(resp.Header.Get("Retry-After"), time.Now())}
	}
	return errors.New(text)
}

// busyError is a refusal that may pass.
type busyError struct {
	text string
	wait time.Duration
}

func (e *busyError) Error() string { return e.text }

// RetryAfter returns how long the server wants to be left alone, or 0 if it does not say.
func (e *busyError) RetryAfter() time.Duration { return e.wait }

// checkURL returns an error unless the S3-compatible API is reached as safely as the other.
func checkURL(endpoint, api string) error {
	from, err := url.Parse(endpoint)
	if err != nil {
		return errors.New("the endpoint is not a URL")
	}
	to, err := url.Parse(api)
	if err != nil || to.Host == "" || to.Scheme != "https" && to.Scheme != from.Scheme {
		return fmt.Errorf("the answer names no address of the S3-compatible API, but %q", api)
	}
	return nil
}

// allows returns an error if the key cannot be used for this place.
func (a authorization) allows(id, bucket, prefix string) error {
	api := a.APIInfo.StorageAPI
	switch {
	case id == a.AccountID:
		return fmt.Errorf("B2_ACCOUNT_ID is the account's, and its master key cannot use the S3-compatible API: "+
			"create an application key: %w", fs.ErrPermission)
	case api.BucketName != "" && api.BucketName != bucket:
		return fmt.Errorf("the key is for the bucket %q only: %w", api.BucketName, fs.ErrPermission)
	case api.BucketID != "" && api.BucketName == "":
		return fmt.Errorf("the bucket that the key is for does not exist any more: %w", fs.ErrPermission)
	case api.NamePrefix != "" && !strings.HasPrefix(prefix+"/", api.NamePrefix):
		return fmt.Errorf("the key is for names that begin with %q only: %w", api.NamePrefix, fs.ErrPermission)
	}
	return nil
}

// region is the part of the host that B2 wants in signatures: s3.<region>.backblazeb2.com. "" lets the S3 API say it.
func region(api string) string {
	u, err := url.Parse(api)
	if err != nil {
		return ""
	}
	host, ours := strings.CutSuffix(u.Hostname(), ".backblazeb2.com")
	name, s3 := strings.CutPrefix(host, "s3.")
	if !ours || !s3 {
		return ""
	}
	return name
}
