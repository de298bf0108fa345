package depcheck_test

import (
	"encoding/json"
	"io/fs"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// notSDKs are what a driver's module may require without keeping it from everybody else.
var notSDKs = []string{module, "golang.org/x", "github.com/stretchr/testify", "go.uber.org/goleak"}

// driverModules finds the modules below repository/backend, and says what each requires by itself, as a directory and paths.
func driverModules(t *testing.T) map[string][]string {
	t.Helper()
	found := map[string][]string{}
	err := filepath.WalkDir("../../repository/backend", func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.Name() != "go.mod" {
			return err
		}
		out, err := exec.CommandContext(t.Context(), "go", "mod", "edit", "-json", path).Output()
		if err != nil {
			return err
		}
		var mod struct {
			Require []struct {
				Path     string
				Indirect bool
			}
		}
		require.NoError(t, json.Unmarshal(out, &mod), path)
		dir := filepath.Dir(path)
		found[dir] = []string{}
		for _, r := range mod.Require {
			if !r.Indirect {
				found[dir] = append(found[dir], r.Path)
			}
		}
		return nil
	})
	require.NoError(t, err)
	return found
}

// sdks are the modules that the drivers' modules exist to keep away from importers of the others.
func sdks(t *testing.T) []string {
	t.Helper()
	all := map[string]bool{}
	for _, requires := range driverModules(t) {
		for _, path := range requires {
			if !slices.ContainsFunc(notSDKs, func(p string) bool { return path == p || strings.HasPrefix(path, p+"/") }) {
				all[path] = true
			}
		}
	}
	require.Contains(t, all, "github.com/minio/minio-go/v7", "the drivers' modules are not found")
	return slices.Sorted(maps.Keys(all))
}

// A program that keeps its backups in a directory compiles in no client of any cloud, and does not even hear of one: neither is a
// package of an SDK imported, nor a module of one required, by anything in this module. A new driver with a go.mod of its own
// joins this test by itself.
func TestNoSDKComesWithTheModule(t *testing.T) {
	all := packages(t)
	banned := sdks(t)
	for path, p := range all {
		if !own(path) {
			continue
		}
		for _, d := range p.Deps {
			if m := all[d].Module; m != nil {
				require.NotContains(t, banned, m.Path, "%s pulls in %s", path, d)
			}
		}
	}
	cmd := exec.CommandContext(t.Context(), "go", "list", "-m", "-f", "{{.Path}}", "all")
	cmd.Dir = "../.."
	cmd.Env = append(os.Environ(), "GOWORK=off", "GOFLAGS=-mod=readonly")
	out, err := cmd.Output()
	require.NoError(t, err)
	for _, path := range strings.Fields(string(out)) {
		require.NotContains(t, banned, path, "go.mod requires it, if only on the way")
	}
}

// The drivers that are part of the module bring their clients to nobody but those who import them.
func TestLocalRepository(t *testing.T) {
	all := packages(t)
	modules := map[string]bool{}
	for _, root := range []string{module + "/repository", module + "/repository/backend/local"} {
		require.Contains(t, all, root)
		for _, d := range all[root].Deps {
			require.NotEqual(t, "net/http", d, "%s pulls it in", root)
			if m := all[d].Module; m != nil && m.Path != module {
				modules[m.Path] = true
			}
		}
	}
	require.Equal(t, []string{"github.com/klauspost/compress", "golang.org/x/crypto", "golang.org/x/sync", "golang.org/x/sys"},
		slices.Sorted(maps.Keys(modules)))
}
