package restore

import (
	"io/fs"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/escrow-backup/escrow/backup"
	"github.com/escrow-backup/escrow/estest"
	"github.com/escrow-backup/escrow/internal/elastic"
)

// Each section is one file of the backup, can be backed up alone, and be restored alone, out of a backup of everything too. What it needs of
// others is there then, or an error says what is missing, and nothing else is written.
func TestEachSectionAlone(t *testing.T) {
	_, es := full(t)
	everywhere, _ := dump(t, es, &backup.Options{Sections: []string{"*"}})
	want := shown(t, es)
	// What has to be in the cluster before; in the order of everything.
	needs := map[string][]string{"index_templates": {"component_templates"}, "enrich_policies": {"people"}, "transforms": {"people"},
		"ingest_pipelines": {"people", "enrich_policies"}}
	for _, sec := range elastic.Sections() {
		if sec.Kibana {
			continue
		}
		t.Run(sec.Name, func(t *testing.T) {
			alone, m := dump(t, es, &backup.Options{Sections: []string{sec.Name}, Exclude: []string{"*"}})
			require.Len(t, m.Sections, 1)
			var files []string
			require.NoError(t, fs.WalkDir(alone, ".", func(name string, d fs.DirEntry, err error) error {
				if err == nil && !d.IsDir() {
					files = append(files, name)
				}
				return err
			}))
			require.Equal(t, []string{"cluster/" + sec.Name + ".json", "manifest.json"}, files)
			for _, src := range []fs.FS{alone, everywhere} {
				to := estest.NewHandler(nil).Transport()
				o := Options{Sections: []string{sec.Name}, Exclude: []string{"*"}}
				for _, need := range needs[sec.Name] {
					if need == "people" {
						must(t, to, "PUT", "/people", `{"mappings":{"properties":{"id":{"type":"keyword"}}}}`)
						must(t, to, "PUT", "/people/_doc/1?refresh=true", `{"id":"1","name":"Kim"}`)
						continue
					}
					restored(t, everywhere, to, Options{Sections: []string{need}, Exclude: []string{"*"}})
				}
				before := shown(t, to)
				restored(t, src, to, o)
				after := shown(t, to)
				made := 0
				for name, is := range after {
					if strings.HasPrefix(name, sec.Name+"/") {
						require.Equal(t, want[name], is, name)
						made++
					} else {
						require.Equal(t, before[name], is, "%s is of another section", name)
					}
				}
				for name := range want {
					if strings.HasPrefix(name, sec.Name+"/") {
						require.Contains(t, after, name)
					}
				}
				require.Positive(t, made)
				d, err := Verify(t.Context(), src, to, &o)
				require.NoError(t, err)
				require.True(t, d.Identical(), d.String())
			}
		})
	}
}
