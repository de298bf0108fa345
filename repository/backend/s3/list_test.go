package s3_test

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/escrow-backup/escrow/repository/backend"
	"github.com/escrow-backup/escrow/repository/backend/s3"
)

func listing(t *testing.T, tokens *[]string, pages ...string) *s3.Backend {
	return serve(t, s3.Config{Prefix: "pre"}, func(w http.ResponseWriter, r *http.Request) {
		q := r.URL.Query()
		require.Equal(t, "2", q.Get("list-type"))
		require.Equal(t, "pre/data/", q.Get("prefix"))
		w.Header().Set("Content-Type", "application/xml")
		fmt.Fprint(w, pages[len(*tokens)])
		*tokens = append(*tokens, q.Get("continuation-token"))
	})
}

func page(next string, keys ...string) string {
	var s strings.Builder
	s.WriteString(`<?xml version="1.0" encoding="UTF-8"?><ListBucketResult xmlns="http://s3.amazonaws.com/doc/2006-03-01/"><Name>bucket</Name>`)
	if next != "" {
		fmt.Fprintf(&s, "<IsTruncated>true</IsTruncated><NextContinuationToken>%s</NextContinuationToken>", next)
	}
	for _, k := range keys {
		fmt.Fprintf(&s, "<Contents><Key>%s</Key><Size>%d</Size><ETag>&quot;e&quot;</ETag></Contents>", k, len(k))
	}
	return s.String() + "</ListBucketResult>"
}

func TestList(t *testing.T) {
	a, c := handle(backend.Pack, "a"), handle(backend.Pack, "c")
	wrong := handle(backend.Pack, "wrong").Name
	var tokens []string
	b := listing(t, &tokens,
		page("t1", "pre/data/", "pre/data/README", "pre/"+a.Path(), "pre/"+a.Path()+".bak"),
		page("t2"),
		page("", "pre/data/zz/"+wrong, "pre/data/"+wrong, "pre/data/"+wrong[:2]+"/x/"+wrong, "pre/"+c.Path()))
	infos, err := list(b, backend.Pack)
	require.NoError(t, err)
	size := int64(len("pre/" + a.Path()))
	require.Equal(t, []backend.FileInfo{{Handle: a, Size: size}, {Handle: c, Size: size}}, infos)
	require.Equal(t, []string{"", "t1", "t2"}, tokens)
}

func TestListThatIsNotWhole(t *testing.T) {
	t.Parallel()
	a := "pre/" + handle(backend.Pack, "a").Path()
	whole := page("", a)
	for name, pages := range map[string][]string{
		"cut":                  {whole[:len(whole)-30]},
		"cut in a later page":  {page("t1", a), whole[:len(whole)-30]},
		"empty":                {""},
		"an error, too late":   {`<?xml version="1.0"?><Error><Code>InternalError</Code><Message>no</Message></Error>`},
		"something else":       {`<?xml version="1.0"?><Portal><Login/></Portal>`},
		"more, but no token":   {strings.Replace(page("t1", a), "<NextContinuationToken>t1</NextContinuationToken>", "", 1)},
		"something else later": {page("t1", a), `<Portal/>`},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			var tokens []string
			_, err := list(listing(t, &tokens, pages...), backend.Pack)
			require.Error(t, err)
		})
	}
}

func TestListStopsWhenToldTo(t *testing.T) {
	var tokens []string
	b := listing(t, &tokens, page("t1", "pre/"+handle(backend.Pack, "a").Path(), "pre/"+handle(backend.Pack, "b").Path()))
	for _, err := range b.List(t.Context(), backend.Pack) {
		require.NoError(t, err)
		break
	}
	require.Len(t, tokens, 1)

	ctx, cancel := context.WithCancelCause(t.Context())
	defer cancel(nil)
	cause := errors.New("the cause")
	tokens = nil
	var last error
	for _, err := range b.List(ctx, backend.Pack) {
		cancel(cause)
		last = err
	}
	require.ErrorIs(t, last, cause)
}

func TestRemoveDeletesVersionsOldestFirst(t *testing.T) {
	h := handle(backend.Pack, "p")
	var deleted []string
	b := serve(t, s3.Config{DeleteVersions: true}, func(w http.ResponseWriter, r *http.Request) {
		q := r.URL.Query()
		switch r.Method {
		case http.MethodHead:
			object(w, 1)
		case http.MethodDelete:
			deleted = append(deleted, q.Get("versionId"))
			w.WriteHeader(204)
		default:
			require.True(t, q.Has("versions"))
			w.Header().Set("Content-Type", "application/xml")
			version := func(kind, key, id string) string {
				return fmt.Sprintf("<%s><Key>%s</Key><VersionId>%s</VersionId></%s>", kind, key, id, kind)
			}
			fmt.Fprint(w, `<?xml version="1.0"?><ListVersionsResult><Name>bucket</Name>`,
				version("Version", h.Path(), "v3"), version("DeleteMarker", h.Path(), "v2"), version("Version", h.Path(), "v1"),
				version("Version", h.Path()+".bak", "other"), `</ListVersionsResult>`)
		}
	})
	require.NoError(t, b.Remove(t.Context(), h))
	require.Equal(t, []string{"v1", "v2", "v3"}, deleted)
}
