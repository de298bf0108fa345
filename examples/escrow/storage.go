package main

import (
	"context"
	"fmt"
	"os"
	"strings"
	"time"

	"github.com/spf13/pflag"
	"k8s.io/apimachinery/pkg/runtime"

	"github.com/escrow-backup/escrow/repository"
	"github.com/escrow-backup/escrow/repository/backend"
	"github.com/escrow-backup/escrow/repository/backend/azure"
	"github.com/escrow-backup/escrow/repository/backend/b2"
	"github.com/escrow-backup/escrow/repository/backend/gcs"
	"github.com/escrow-backup/escrow/repository/backend/local"
	"github.com/escrow-backup/escrow/repository/backend/mem"
	"github.com/escrow-backup/escrow/repository/backend/rest"
	"github.com/escrow-backup/escrow/repository/backend/s3"
	"github.com/escrow-backup/escrow/repository/backend/sftp"
	"github.com/escrow-backup/escrow/repository/backend/swift"
	"github.com/escrow-backup/escrow/repository/backend/wrap"
	"github.com/escrow-backup/escrow/secret"
	"github.com/escrow-backup/escrow/storage"
)

// place is where a repository is, and how to treat what is there.
type place struct {
	url     string // of --repo
	object  string // file with a Repository object, instead of url
	secrets string // directory
	storageFlags
}

// storageFlags say how to reach a place, whichever it is.
type storageFlags struct {
	connections      int
	retries          int
	stall            time.Duration
	upload, download int64 // KiB a second
	insecure         bool
	class            string
}

func (p *place) flags(f *pflag.FlagSet, env func(string) string) {
	f.StringVar(&p.url, "repo", env("RESTIC_REPOSITORY"),
		"`URL` of the repository, in restic's form: local:/path, s3:, gs:, azure:, swift:, b2:, rest:, sftp: or mem: (default $RESTIC_REPOSITORY)")
	f.Lookup("repo").DefValue = "" // the environment's value may hold what a help text must not
	f.StringVar(&p.object, "repository", "", "`FILE` with a Repository object (YAML or JSON), instead of --repo")
	f.StringVar(&p.secrets, "secrets", "", "`DIR` with the secrets that the Repository or the AppBinding names, a folder each")
	f.IntVar(&p.connections, "connections", 0, "calls to the storage at once, a `NUMBER` (default: what suits it)")
	f.IntVar(&p.retries, "storage-retries", 9, "how often a call to the storage that failed is made again, a `NUMBER`")
	f.DurationVar(&p.stall, "stuck-request-timeout", 5*time.Minute, "how long a call to the storage may move nothing")
	f.Int64Var(&p.upload, "limit-upload", 0, "`KIB` a second that are sent to the storage (default: no limit)")
	f.Int64Var(&p.download, "limit-download", 0, "`KIB` a second that are read from the storage (default: no limit)")
	f.BoolVar(&p.insecure, "insecure-tls", false, "do not verify who the storage is: neither certificates nor host keys")
	f.StringVar(&p.class, "storage-class", "", "storage `CLASS` of packs, where the storage has such")
}

// check says what is wrong with the flags. It never quotes the URL: a password may stand in it.
func (p *place) check() error {
	switch {
	case p.connections < 0:
		return usagef("--connections %d: is negative", p.connections)
	case p.retries < 0:
		return usagef("--storage-retries %d: is negative", p.retries)
	case p.stall <= 0:
		return usagef("--stuck-request-timeout %v: is not positive", p.stall)
	case p.upload < 0 || p.download < 0:
		return usagef("--limit-upload %d, --limit-download %d: is negative", p.upload, p.download)
	case p.object == "" && p.url == "":
		return usagef("no repository: give --repo or --repository, or set RESTIC_REPOSITORY")
	}
	return nil
}

// String names the place, without a password.
func (p *place) String() string {
	if p.object != "" {
		return p.object
	}
	scheme, location, found := strings.Cut(p.url, ":")
	at := strings.LastIndex(location, "@")
	if !found || at < 0 || scheme == "local" || strings.HasPrefix(p.url, "/") || strings.HasPrefix(p.url, ".") {
		return p.url
	}
	begin := 0
	if i := strings.Index(location[:at], "//"); i >= 0 {
		begin = i + 2
	}
	colon := strings.Index(location[begin:at], ":")
	if colon < 0 {
		return p.url
	}
	return scheme + ":" + location[:begin+colon+1] + "***" + location[at:]
}

func (p *place) inMemory() bool { return p.object == "" && strings.HasPrefix(p.url, "mem:") }

// source is where secrets come from; nil if nobody said.
func (p *place) source() secret.Source {
	if p.secrets == "" {
		return nil
	}
	return secret.Dir(p.secrets)
}

// readObject reads the Repository object.
func (a *app) readObject() (*storage.Repository, error) {
	data, err := os.ReadFile(a.place.object)
	if err != nil {
		return nil, fmt.Errorf("read --repository: %w", err)
	}
	r, err := storage.Parse(data)
	if err != nil && !runtime.IsStrictDecodingError(err) {
		return nil, fmt.Errorf("%s: %w", a.place.object, err)
	}
	if err != nil && !a.quiet { // a field of a newer version than this one's
		a.warn("%s: %s", a.place.object, oneLine(err))
	}
	return r, nil
}

// drivers are all that there are. What the flags say goes to each, on top of what a Repository says.
func (a *app) drivers() *backend.Mux {
	m := new(backend.Mux)
	for scheme, open := range map[string]backend.Opener{
		"gs":    gcs.Opener,
		"local": local.Opener,
		"mem":   mem.NewOpener(),
		"azure": azure.Opener,
		"b2":    b2.Opener,
		"rest":  rest.Opener,
		"s3":    s3.Opener,
		"sftp":  sftp.Opener,
		"swift": swift.Opener,
	} {
		m.Handle(scheme, wrap.RetryOpener(a.tuned(open), a.retrying()))
	}
	return m
}

// tuned opens with what the flags say.
func (a *app) tuned(open backend.Opener) backend.Opener {
	return func(ctx context.Context, location string, s *backend.Settings) (backend.Backend, error) {
		tuned := *s
		tuned.InsecureTLS = tuned.InsecureTLS || a.place.insecure
		if a.place.connections > 0 {
			tuned.Connections = a.place.connections
		}
		if a.place.class != "" {
			tuned.StorageClass = a.place.class
		}
		return open(ctx, location, &tuned)
	}
}

func (a *app) retrying() *wrap.RetryOptions {
	return &wrap.RetryOptions{Tries: a.place.retries + 1, Notify: a.retry}
}

// open opens the place, and finds out the password of the repository there.
func (a *app) open(ctx context.Context) (backend.Backend, repository.Password, error) {
	if err := a.place.check(); err != nil {
		return nil, "", err
	}
	mux := a.drivers()
	if a.place.object != "" {
		r, err := a.readObject()
		if err != nil {
			return nil, "", err
		}
		var pw repository.Password
		if a.passwordFile != "" {
			pw, err = a.password()
		} else {
			pw, err = r.Password(ctx, a.place.source())
		}
		if err != nil {
			return nil, "", err
		}
		b, err := r.Backend(ctx, mux, a.place.source())
		if err != nil {
			return nil, "", err
		}
		return a.wrapped(b), pw, nil
	}
	pw, err := a.password()
	if err != nil {
		return nil, "", err
	}
	b, err := mux.Open(ctx, a.place.url, &backend.Settings{Lookup: a.lookup})
	if err != nil {
		return nil, "", err
	}
	return a.wrapped(b), pw, nil
}

func (a *app) lookup(key string) (string, bool) {
	v := a.env(key)
	return v, v != ""
}

// wrapped puts around a driver what the flags ask for.
func (a *app) wrapped(b backend.Backend) backend.Backend {
	p := &a.place
	n := p.connections
	if n == 0 {
		n = backend.Connections(b)
	}
	b = wrap.Limit(b, &wrap.LimitOptions{Upload: p.upload << 10, Download: p.download << 10})
	b = wrap.Timeout(b, &wrap.TimeoutOptions{Stall: p.stall})
	if n > 0 {
		b = wrap.Connections(b, n)
	}
	return wrap.Retry(b, a.retrying())
}

// retry tells that a call to the storage is made again. It goes to standard error in any case: standard output may hold a file.
func (a *app) retry(r wrap.Retrying) {
	if !a.quiet {
		a.warn("%s; trying again in %v", oneLine(r.Err), r.Wait.Round(10*time.Millisecond))
	}
}

// warn prints a line on standard error.
func (a *app) warn(format string, args ...any) {
	a.warning.Lock()
	defer a.warning.Unlock()
	fmt.Fprintf(a.stderr, "warning: "+format+"\n", args...)
}
