package elasticsearch

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"io/fs"
	"path/filepath"
	"strings"

	"github.com/escrow-backup/escrow/repository"
	"github.com/escrow-backup/escrow/repository/backend"
	"github.com/escrow-backup/escrow/storage"
	"github.com/escrow-backup/escrow/task"
)

// UsageError says that arguments cannot be used.
type UsageError struct{ msg string }

// Error implements error.
func (e *UsageError) Error() string { return e.msg }

func usagef(format string, args ...any) error { return &UsageError{fmt.Sprintf(format, args...)} }

// location is what the arguments of a backup and a restore have in common: where the cluster, the repository and the files are.
type location struct {
	provider, bucket, endpoint, region, path string
	secretName, secretNamespace              string
	insecureTLS, enableCache                 bool
	maxConnections                           int64
	repository, repositoryNamespace          string
	scratchDir, interimDir, outputDir        string
	waitTimeout                              int
	hostname                                 string
	namespace, binding, bindingNamespace     string
	session                                  string
	esArgs                                   string

	flags *flag.FlagSet
}

func newFlags(name string) *flag.FlagSet {
	f := flag.NewFlagSet(name, flag.ContinueOnError)
	f.SetOutput(io.Discard)
	return f
}

func parse(f *flag.FlagSet, args []string) error {
	if err := f.Parse(args); err != nil {
		return usagef("%s: %v", f.Name(), err)
	}
	if f.NArg() > 0 {
		return usagef("%s: unexpected argument %q", f.Name(), f.Arg(0))
	}
	return nil
}

func newLocation(name string) *location {
	a := &location{flags: newFlags(name)}
	f := a.flags
	f.StringVar(&a.provider, "provider", "", "kind of storage: local, s3, gcs, azure, swift, b2, rest or sftp")
	f.StringVar(&a.bucket, "bucket", "", "bucket, container or directory")
	f.StringVar(&a.endpoint, "endpoint", "", "address of an S3 or REST server")
	f.BoolVar(&a.insecureTLS, "insecure-tls", false, "do not verify the storage's certificate")
	f.StringVar(&a.region, "region", "", "region of an S3 bucket")
	f.StringVar(&a.path, "path", "", "prefix in the bucket")
	f.StringVar(&a.secretName, "storage-secret-name", "", "secret with the storage's credentials and the repository's password")
	f.StringVar(&a.secretNamespace, "storage-secret-namespace", "", "its namespace")
	f.StringVar(&a.repository, "repository", "", "Repository object, which comes before the arguments that say the same")
	f.StringVar(&a.repositoryNamespace, "repository-namespace", "", "its namespace")
	f.StringVar(&a.scratchDir, "scratch-dir", "", "directory for the cache of the repository's metadata")
	f.BoolVar(&a.enableCache, "enable-cache", true, "keep such a cache")
	f.Int64Var(&a.maxConnections, "max-connections", 0, "connections to the storage at once")
	f.IntVar(&a.waitTimeout, "wait-timeout", 300, "seconds to wait for the cluster")
	f.StringVar(&a.hostname, "hostname", "host-0", "host of the snapshots")
	f.StringVar(&a.interimDir, "interim-data-dir", "", "directory on the interim volume, if there is one")
	f.StringVar(&a.namespace, "namespace", "default", "namespace of the session")
	f.StringVar(&a.binding, "appbinding", "", "AppBinding of the cluster")
	f.StringVar(&a.bindingNamespace, "appbinding-namespace", "", "its namespace")
	f.StringVar(&a.esArgs, "es-args", "", "arguments for multielasticdump")
	f.StringVar(&a.outputDir, "output-dir", "", "directory for output.json")
	f.String("license-apiservice", "", "has no effect: no licence is needed")
	return a
}

// check says what is missing, and fills in what follows from the rest.
func (a *location) check() error {
	if a.binding == "" {
		return usagef("%s: --appbinding is required", a.flags.Name())
	}
	if a.provider == "" && a.repository == "" {
		return usagef("%s: --provider or --repository is required", a.flags.Name())
	}
	for _, s := range []*string{&a.bindingNamespace, &a.secretNamespace, &a.repositoryNamespace} {
		if *s == "" {
			*s = a.namespace
		}
	}
	if a.hostname == "" {
		a.hostname = task.Host("")
	}
	return nil
}

// object is the Repository: the one in the store, or one made of the arguments.
func (f *Functions) object(ctx context.Context, a *location) (*storage.Repository, error) {
	r := new(storage.Repository)
	if a.repository != "" {
		return r, f.Store.Get(ctx, a.repositoryNamespace, a.repository, r)
	}
	r.Name, r.Namespace = "of-the-arguments", a.secretNamespace
	b := &r.Spec.Backend
	b.StorageSecretName = a.secretName
	switch a.provider {
	case "local":
		b.Local = &storage.LocalSpec{MountPath: filepath.Join(a.bucket, a.path)}
	case "s3":
		b.S3 = &storage.S3Spec{Endpoint: a.endpoint, Bucket: a.bucket, Prefix: a.path, Region: a.region, InsecureTLS: a.insecureTLS}
	case "gcs":
		b.GCS = &storage.GCSSpec{Bucket: a.bucket, Prefix: a.path, MaxConnections: a.maxConnections}
	case "azure":
		b.Azure = &storage.AzureSpec{Container: a.bucket, Prefix: a.path, MaxConnections: a.maxConnections}
	case "swift":
		b.Swift = &storage.SwiftSpec{Container: a.bucket, Prefix: a.path}
	case "b2":
		b.B2 = &storage.B2Spec{Bucket: a.bucket, Prefix: a.path, MaxConnections: a.maxConnections}
	case "rest":
		b.Rest = &storage.RestSpec{URL: a.endpoint}
	case "sftp":
		b.SFTP = &storage.SFTPSpec{Host: a.bucket, Path: a.path}
	default:
		return nil, usagef("%s: --provider %q is not known", a.flags.Name(), a.provider)
	}
	return r, nil
}

// opened is a repository at work.
type opened struct {
	object *storage.Repository
	files  backend.Backend
	repo   *repository.Repo
}

func (o *opened) close() error { return errors.Join(o.repo.Close(), o.files.Close()) }

// open opens the repository. If create is set and there is nothing at all, it makes one: no other error leads to that.
func (f *Functions) open(ctx context.Context, a *location, create bool) (*opened, error) {
	object, err := f.object(ctx, a)
	if err != nil {
		return nil, err
	}
	files, err := object.Backend(ctx, f.Mux, f.Store)
	if err != nil {
		return nil, err
	}
	fail := func(err error) (*opened, error) {
		return nil, errors.Join(fmt.Errorf("%v: %w", object, err), files.Close())
	}
	password, err := object.Password(ctx, f.Store)
	if err != nil {
		return fail(err)
	}
	o := f.Repository
	if a.enableCache && a.scratchDir != "" {
		o.Cache = filepath.Join(f.path(a.scratchDir), "escrow-cache")
	}
	repo, err := repository.Open(ctx, files, password, &o)
	if create && errors.Is(err, fs.ErrNotExist) {
		repo, err = repository.Init(ctx, files, password, &o)
	}
	if err != nil {
		return fail(err)
	}
	return &opened{object, files, repo}, nil
}

func list(s string) []string {
	var out []string
	for part := range strings.SplitSeq(s, ",") {
		if part = strings.TrimSpace(part); part != "" {
			out = append(out, part)
		}
	}
	return out
}
