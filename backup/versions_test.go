package backup

import (
	"bytes"
	"encoding/json"
	"net/http"
	"testing"

	"github.com/elastic/elastic-transport-go/v8/elastictransport"
	"github.com/stretchr/testify/require"

	"github.com/escrow-backup/escrow/estest"
	"github.com/escrow-backup/escrow/layout"
	"github.com/escrow-backup/escrow/repository/repositorytest"
)

func TestVersions(t *testing.T) {
	es := estest.NewHandler(nil).Transport()
	create(t, es, "i", 1)
	index(t, es, "i", 0, 3, "v")
	index(t, es, "i", 1, 2, "again")
	send(t, es, "PUT", "/i/_doc/mine?version=0&version_type=external", `{"a":1}`)
	send(t, es, "PUT", "/i/_doc/late?version=9000000000000000001&version_type=external&routing=r", `{"a":1}`)
	repo := repositorytest.New(t)
	plain, err := Run(t.Context(), es, repo, nil)
	require.NoError(t, err)

	res, err := Run(t.Context(), es, repo, &Options{Versions: true})
	require.NoError(t, err)
	require.Nil(t, res.Parent, "a snapshot without versions is no parent")
	require.True(t, res.Manifest.Selection.Versions)
	require.Equal(t, plain.Manifest.Indices[0].Shards[0].Digest, res.Manifest.Indices[0].Shards[0].Digest)
	files := repoFiles(t, repo, res.Snapshot)
	text := files[layout.DocumentsPath("i", 0)]
	versions := map[string]int64{}
	for d, err := range layout.Documents(bytes.NewReader(text), "i") {
		require.NoError(t, err)
		require.True(t, d.Versioned)
		versions[d.ID] = d.Version
	}
	require.Equal(t, map[string]int64{"id-0": 1, "id-1": 2, "id-2": 1, "mine": 0, "late": 9000000000000000001}, versions)
	require.Contains(t, string(text), `{"index":{"_id":"late","routing":"r","version":9000000000000000001,"version_type":"external_gte"}}`)
	require.Contains(t, string(files[layout.IDsPath("i", 0)]), `"late","r",9000000000000000001]`)
	require.Contains(t, string(files[layout.IDsPath("i", 0)]), `"id-1","",2]`)

	again, err := Run(t.Context(), es, repo, &Options{Versions: true})
	require.NoError(t, err)
	require.Equal(t, res.Snapshot.ID, again.Parent.ID)
	require.Zero(t, again.DocumentsRead)
	back, err := Run(t.Context(), es, repo, nil)
	require.NoError(t, err)
	require.Equal(t, plain.Snapshot.ID, back.Parent.ID)

	for d, err := range Documents(t.Context(), es, &Options{Versions: true}) {
		require.NoError(t, err)
		require.Equal(t, versions[d.ID], d.Version)
	}
	// A server that does not tell them is no server to keep versions of.
	silent := onRequests(es, "/_search", func(next elastictransport.Interface, r *http.Request) (*http.Response, error) {
		return edited(func(b []byte) []byte { return bytes.ReplaceAll(b, []byte(`"_version":`), []byte(`"_vers":`)) }, nil)(next, r)
	})
	_, err = Run(t.Context(), silent, repo, &Options{Versions: true, Full: true})
	require.ErrorContains(t, err, "has no _version")
}

// Versions come back, where they are the writer's own too.
func TestVersionsComeBack(t *testing.T) {
	es := estest.NewHandler(nil).Transport()
	create(t, es, "i", 1)
	send(t, es, "PUT", "/i/_doc/a?version=70&version_type=external", `{"a":1}`)
	target := &memTarget{}
	_, err := Dump(t.Context(), es, target, &Options{Versions: true})
	require.NoError(t, err)
	send(t, es, "DELETE", "/i", "")
	create(t, es, "i", 1)
	// As the layout says: a person with curl.
	send(t, es, "POST", "/i/_bulk?pipeline=_none", string(target.files[layout.DocumentsPath("i", 0)]))
	var doc struct {
		Version int64 `json:"_version"`
	}
	require.NoError(t, json.Unmarshal([]byte(send(t, es, "GET", "/i/_doc/a", "")), &doc))
	require.EqualValues(t, 70, doc.Version)
}
