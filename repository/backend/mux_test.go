package backend_test

import (
	"context"
	"fmt"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/escrow-backup/escrow/repository/backend"
	"github.com/escrow-backup/escrow/repository/backend/mem"
)

func TestMux(t *testing.T) {
	var m backend.Mux
	_, err := m.Open(t.Context(), "s3:bucket", nil)
	require.ErrorContains(t, err, `unknown scheme "s3"`)

	opened := func(scheme string) backend.Opener {
		return func(_ context.Context, location string, _ *backend.Settings) (backend.Backend, error) {
			return nil, fmt.Errorf("%s|%s", scheme, location)
		}
	}
	m.Handle("local", opened("local"))
	m.Handle("rest", opened("replaced"))
	m.Handle("rest", opened("rest"))
	for url, want := range map[string]string{
		"local:/a/b":             "local|/a/b",
		"/a/b":                   "local|/a/b",
		"/a:b":                   "local|/a:b",
		"./a:b":                  "local|./a:b",
		"a/b":                    "local|a/b",
		"local:a:b":              "local|a:b",
		"rest:http://host:8000/": "rest|http://host:8000/",
		"rest:":                  "rest|",
	} {
		_, err := m.Open(t.Context(), url, nil)
		require.EqualError(t, err, want, url)
	}
	for _, url := range []string{"", "local:"} {
		_, err := m.Open(t.Context(), url, nil)
		require.ErrorContains(t, err, "empty location")
	}
	_, err = m.Open(t.Context(), "ftp:user:secret@host", nil)
	require.ErrorContains(t, err, "known: local, rest")
	require.NotContains(t, err.Error(), "secret")
}

func TestHandle(t *testing.T) {
	name := strings.Repeat("0123456789abcdef", 4)
	for h, want := range map[backend.Handle][2]string{
		{Type: backend.Config}:               {"config", "config"},
		{Type: backend.Key, Name: name}:      {"keys/" + name, "key " + name},
		{Type: backend.Lock, Name: name}:     {"locks/" + name, "lock " + name},
		{Type: backend.Snapshot, Name: name}: {"snapshots/" + name, "snapshot " + name},
		{Type: backend.Index, Name: name}:    {"index/" + name, "index " + name},
		{Type: backend.Pack, Name: name}:     {"data/01/" + name, "pack " + name},
	} {
		require.NoError(t, h.Valid())
		require.Equal(t, want, [2]string{h.Path(), h.String()})
	}
	err := &backend.Error{Op: "list", Handle: backend.Handle{Type: backend.Pack}, Err: context.Canceled}
	require.EqualError(t, err, "list packs: context canceled")
}

func ExampleMux() {
	ctx := context.Background()
	var m backend.Mux
	m.Handle("mem", mem.NewOpener())
	b, err := m.Open(ctx, "mem:example", nil)
	if err != nil {
		fmt.Println(err)
		return
	}
	defer func() { _ = b.Close() }()
	config := backend.Handle{Type: backend.Config}
	fmt.Println(b.Save(ctx, config, strings.NewReader("hello"), 5))
	fmt.Println(b.Stat(ctx, config))
	fmt.Println(b.Save(ctx, config, strings.NewReader("again"), 5))
	// Output:
	// <nil>
	// {config 5} <nil>
	// save config: file already exists
}
