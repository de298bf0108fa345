package appbinding

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"slices"
	"time"

	"github.com/elastic/go-elasticsearch/v8"
)

const (
	firstPause     = 100 * time.Millisecond
	longestPause   = 2 * time.Second
	attemptTimeout = 10 * time.Second
)

// wait asks the cluster for its name until it answers. Only what time can mend is waited for: an address at which
// nobody answers, and a proxy that says so.
func wait(ctx context.Context, es *elasticsearch.Client, timeout time.Duration) error {
	limit, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	for pause := firstPause; ; pause = min(2*pause, longestPause) {
		again, err := ask(limit, es)
		if err == nil {
			return nil
		}
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		if !again {
			return err
		}
		timer := time.NewTimer(pause)
		select {
		case <-timer.C:
		case <-limit.Done():
			timer.Stop()
			if ctx.Err() != nil {
				return context.Cause(ctx)
			}
			return fmt.Errorf("no answer within %v: %w", timeout, err)
		}
	}
}

// ask makes one request. If it fails, again says whether another one may succeed.
func ask(ctx context.Context, es *elasticsearch.Client) (again bool, err error) {
	ctx, cancel := context.WithTimeout(ctx, attemptTimeout)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "/", nil)
	if err != nil {
		return false, err
	}
	res, err := es.Perform(req)
	if err != nil {
		return unreachable(err), err
	}
	defer func() { _ = res.Body.Close() }()
	_, err = io.Copy(io.Discard, io.LimitReader(res.Body, 1<<20))
	if res.StatusCode != http.StatusOK {
		again := slices.Contains([]int{http.StatusTooManyRequests, http.StatusBadGateway, http.StatusServiceUnavailable,
			http.StatusGatewayTimeout}, res.StatusCode)
		return again, fmt.Errorf("the server answers %d %s", res.StatusCode, http.StatusText(res.StatusCode))
	}
	return err != nil, err
}

// unreachable reports whether a request failed before anybody answered. A certificate that is refused, on either
// side, is an answer.
func unreachable(err error) bool {
	var cert *tls.CertificateVerificationError
	if errors.As(err, &cert) {
		return false
	}
	// crypto/tls has no exported type for an alert of the other side: it is a network error of this operation.
	var op *net.OpError
	if errors.As(err, &op) && op.Op == "remote error" {
		return false
	}
	var netErr net.Error
	return errors.As(err, &netErr) || errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF)
}
