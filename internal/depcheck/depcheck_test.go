package depcheck_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

const module = "github.com/escrow-backup/escrow"

var update = flag.Bool("update", false, "write testdata/modules.txt anew")

type listed struct {
	ImportPath string
	Name       string
	Standard   bool
	Module     *struct{ Path string }
	Deps       []string
	GoFiles    []string
}

// packages lists every package of the module and all that they import, by path. Tests are not looked at.
func packages(t *testing.T) map[string]listed {
	t.Helper()
	watched(t)
	cmd := exec.CommandContext(t.Context(), "go", "list", "-deps",
		"-json=ImportPath,Name,Standard,Module,Deps,GoFiles", module+"/...")
	cmd.Dir = "../.."
	cmd.Env = append(os.Environ(), "GOWORK=off", "GOFLAGS=-mod=readonly")
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	require.NoError(t, err, stderr.String())
	all := map[string]listed{}
	for d := json.NewDecoder(bytes.NewReader(out)); ; {
		var p listed
		err := d.Decode(&p)
		if errors.Is(err, io.EOF) {
			return all
		}
		require.NoError(t, err)
		all[p.ImportPath] = p
	}
}

// watched looks at every folder, because go test's cache knows what a test opens, not what the go command that it starts does: a new import
// would be answered with the result from before.
func watched(t *testing.T) {
	t.Helper()
	require.NoError(t, filepath.WalkDir("../..", func(path string, d fs.DirEntry, err error) error {
		if err != nil || !d.IsDir() {
			return err
		}
		if name := d.Name(); strings.HasPrefix(name, ".") && name != ".." {
			return fs.SkipDir
		}
		return nil
	}))
}

func own(path string) bool { return path == module || strings.HasPrefix(path, module+"/") }

// public reports whether a program may import the package.
func public(p listed) bool {
	rest := strings.TrimPrefix(p.ImportPath, module)
	return own(p.ImportPath) && p.Name != "main" && len(p.GoFiles) > 0 && !strings.Contains(rest+"/", "/internal/")
}

func TestModulesOfPublicPackages(t *testing.T) {
	all := packages(t)
	var lines []string
	for path, p := range all {
		if !public(p) {
			continue
		}
		var modules []string
		for _, d := range p.Deps {
			if m := all[d].Module; m != nil && m.Path != module {
				modules = append(modules, m.Path)
			}
		}
		slices.Sort(modules)
		modules = slices.Compact(modules)
		name := strings.TrimPrefix(strings.TrimPrefix(path, module), "/")
		if name == "" {
			name = "."
		}
		lines = append(lines, strings.TrimRight(fmt.Sprintf("%s: %s", name, strings.Join(modules, " ")), " ")+"\n")
	}
	slices.Sort(lines)
	got := strings.Join(lines, "")
	const golden = "testdata/modules.txt"
	if *update {
		require.NoError(t, os.WriteFile(golden, []byte(got), 0o644))
	}
	want, err := os.ReadFile(golden)
	require.NoError(t, err)
	require.Equal(t, string(want), got, "if this is meant: go test ./internal/depcheck -update")
}

// forbidden says which packages a package and everything below it must not pull in, however indirectly. A trailing "/..."
// stands for the package and all below it.
var forbidden = []struct {
	from string
	to   []string
}{
	{module + "/restore/...", []string{module + "/repository/...", module + "/backup/..."}},
	{module + "/backup/...", []string{module + "/restore/..."}},
	{module + "/layout/...", []string{module + "/repository/...", module + "/backup/...", module + "/restore/...", module + "/internal/..."}},
	{module + "/repository/...", []string{
		module + "/backup/...", module + "/restore/...", module + "/layout/...", module + "/internal/elastic/...",
		"github.com/elastic/...", "k8s.io/...",
	}},
	{module + "/repository/backend/...", []string{module + "/repository"}},
	{module + "/backup/...", []string{"github.com/elastic/go-elasticsearch/...", "k8s.io/..."}},
	{module + "/restore/...", []string{"github.com/elastic/go-elasticsearch/...", "k8s.io/..."}},
	{module + "/internal/elastic/...", []string{"github.com/elastic/go-elasticsearch/...", module + "/repository/...", module + "/backup/...", module + "/restore/..."}},
	// No cloud storage SDK comes with the module itself: their drivers are modules of their own.
	{module + "/...", []string{"github.com/aws/...", "github.com/minio/...", "cloud.google.com/...", "google.golang.org/...", "github.com/Azure/..."}},
	// Production code pulls in no test helpers. The packages that are helpers themselves are left out below.
	{module + "/...", []string{
		"testing", "github.com/stretchr/testify/...", module + "/estest/...",
		module + "/repository/repositorytest/...", module + "/repository/backend/backendtest/...",
	}},
}

func matches(pattern, path string) bool {
	prefix, below := strings.CutSuffix(pattern, "/...")
	return path == prefix || below && strings.HasPrefix(path, prefix+"/")
}

// helper reports whether the package is there for tests, which the convention says by the end of its name, or shows
// something off, as examples do.
func helper(path string) bool {
	return strings.HasSuffix(path, "test") || strings.HasPrefix(path, module+"/examples/")
}

func TestArrows(t *testing.T) {
	all := packages(t)
	for _, rule := range forbidden {
		found := false
		for path, p := range all {
			if !own(path) || !matches(rule.from, path) {
				continue
			}
			found = true
			if helper(path) {
				continue
			}
			for _, d := range p.Deps {
				for _, to := range rule.to {
					if matches(to, d) {
						t.Errorf("%s pulls in %s", path, d)
					}
				}
			}
		}
		require.True(t, found, "no package %s: the rule holds nothing", rule.from)
	}
}
