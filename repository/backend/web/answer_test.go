package web_test

import (
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/escrow-backup/escrow/repository/backend/web"
)

func TestRetryAfter(t *testing.T) {
	now := time.Date(2030, 1, 2, 3, 4, 5, 0, time.UTC)
	for header, want := range map[string]time.Duration{
		"": 0, "0": 0, "7": 7 * time.Second, "-7": 0, "soon": 0, "99999999999": 0,
		now.Add(time.Minute).Format(http.TimeFormat): time.Minute, now.Add(-time.Minute).Format(http.TimeFormat): 0,
	} {
		require.Equal(t, want, web.RetryAfter(header, now), header)
	}
}

func TestWithoutURL(t *testing.T) {
	cause := errors.New("cause")
	err := fmt.Errorf("a call: %w", &url.Error{Op: "Get", URL: "https://host/?sig=secret", Err: cause})
	require.Equal(t, cause, web.WithoutURL(err))
	require.Equal(t, cause, web.WithoutURL(cause))
	require.NoError(t, web.WithoutURL(nil))
}

func TestIsPage(t *testing.T) {
	for kind, want := range map[string]bool{"": false, "application/xml": false, "text/html": true, "text/HTML; charset=utf-8": true} {
		require.Equal(t, want, web.IsPage(&http.Response{Header: http.Header{"Content-Type": {kind}}}), kind)
	}
}
