// Package secret finds the secrets that objects name: [Dir] in a mounted directory, [Map] in memory, or an importer's own
// [Source], such as a client of Kubernetes.
//
// What is found, [Data], does not show itself when it is printed, logged or marshalled.
package secret

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"maps"
	"os"
	"slices"
	"strings"
)

const redacted = "[redacted]"

// Data is the content of a secret by key. It redacts itself when printed, logged or marshalled.
type Data map[string][]byte

// Format implements fmt.Formatter for every verb, without the values.
func (d Data) Format(f fmt.State, _ rune) { _, _ = io.WriteString(f, d.String()) }

// String gives the keys.
func (d Data) String() string {
	return redacted + " keys " + strings.Join(slices.Sorted(maps.Keys(d)), ", ")
}

// GoString implements fmt.GoStringer.
func (d Data) GoString() string { return d.String() }

// LogValue implements slog.LogValuer.
func (d Data) LogValue() slog.Value { return slog.StringValue(d.String()) }

// MarshalJSON implements json.Marshaler.
func (d Data) MarshalJSON() ([]byte, error) { return []byte(`"` + redacted + `"`), nil }

// A Source finds secrets. Implementations may be used concurrently.
type Source interface {
	// Secret returns the content of a secret, which the caller does not change. If there is none, the error wraps
	// fs.ErrNotExist. Errors hold no values.
	Secret(ctx context.Context, namespace, name string) (Data, error)
}

// Map holds secrets in memory, by "namespace/name" or by "name", which stands for every namespace.
type Map map[string]Data

// Secret implements [Source].
func (m Map) Secret(_ context.Context, namespace, name string) (Data, error) {
	for _, key := range []string{namespace + "/" + name, name} {
		if d, ok := m[key]; ok {
			return d, nil
		}
	}
	return nil, fmt.Errorf("secret %s/%s: %w", namespace, name, fs.ErrNotExist)
}

// Dir reads secrets from files as Kubernetes mounts them: path/namespace/name/key, or path/name/key. Symbolic
// links are followed within path. A directory without keys is no secret.
func Dir(path string) Source { return directory(path) }

type directory string

// Secret implements [Source].
func (dir directory) Secret(ctx context.Context, namespace, name string) (Data, error) {
	fail := func(err error) (Data, error) {
		return nil, fmt.Errorf("secret %s/%s in %s: %w", namespace, name, string(dir), err)
	}
	if err := errors.Join(element(name), element(namespace)); err != nil || name == "" {
		return fail(fmt.Errorf("not a name: %w", fs.ErrInvalid))
	}
	root, err := os.OpenRoot(string(dir))
	if err != nil {
		return fail(err)
	}
	defer func() { _ = root.Close() }() // only read from
	places := []string{name}
	if namespace != "" {
		places = []string{namespace + "/" + name, name}
	}
	for _, place := range places {
		if ctx.Err() != nil {
			return fail(context.Cause(ctx))
		}
		d, err := readSecret(root, place)
		if err == nil {
			return d, nil
		}
		if !errors.Is(err, fs.ErrNotExist) {
			return fail(err)
		}
	}
	return fail(fs.ErrNotExist)
}

// element refuses what is not one element of a path.
func element(s string) error {
	if s == "." || s == ".." || strings.ContainsAny(s, `/\`) {
		return fs.ErrInvalid
	}
	return nil
}

// readSecret reads the keys in a directory. Kubernetes replaces all of them at once by pointing the link ..data to
// another directory: that is opened first, so that keys of two generations never mix, and when it is removed while it
// is being read, the next one is tried.
func readSecret(root *os.Root, place string) (d Data, err error) {
	for range 3 {
		var sub *os.Root
		if sub, err = root.OpenRoot(place + "/..data"); errors.Is(err, fs.ErrNotExist) {
			sub, err = root.OpenRoot(place)
		}
		if err != nil {
			return nil, err
		}
		d, err = readKeys(sub)
		_ = sub.Close() // only read from
		if err == nil && len(d) == 0 {
			return nil, fs.ErrNotExist
		}
		if !errors.Is(err, fs.ErrNotExist) {
			break
		}
	}
	return d, err
}

func readKeys(dir *os.Root) (Data, error) {
	entries, err := fs.ReadDir(dir.FS(), ".")
	if err != nil {
		return nil, err
	}
	d := Data{}
	for _, e := range entries {
		if strings.HasPrefix(e.Name(), "..") {
			continue
		}
		fi, err := dir.Stat(e.Name())
		if err != nil {
			return nil, err
		}
		if !fi.Mode().IsRegular() {
			continue
		}
		if d[e.Name()], err = dir.ReadFile(e.Name()); err != nil {
			return nil, err
		}
	}
	return d, nil
}
