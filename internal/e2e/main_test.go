package e2e_test

import (
	"context"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/escrow-backup/escrow/internal/e2e/esserver"
)

// rusageVariable makes this test binary run the command in its arguments and report the memory it took. See measured.
const rusageVariable = "ESCROW_E2E_RUSAGE"

func TestMain(m *testing.M) {
	if os.Getenv(rusageVariable) != "" {
		os.Exit(runMeasured(os.Args[1:]))
	}
	if len(versions()) == 0 {
		fmt.Fprintln(os.Stderr, "ESCROW_ES_VERSIONS names no version that these tests know")
		os.Exit(1)
	}
	dir, err := os.MkdirTemp("", "escrow-e2e-*")
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	shared.dir = dir
	// Tests wait as much as they compute: a test that is parallel to others is one that neither changes nor looks at a whole server.
	flag.Parse()
	if n := flag.Lookup("test.parallel"); n.Value.String() == n.DefValue {
		if err := n.Value.Set(strconv.Itoa(max(4, runtime.GOMAXPROCS(0)))); err != nil {
			panic(err)
		}
	}
	code := m.Run()
	shared.close(code != 0)
	if err := os.RemoveAll(dir); err != nil {
		fmt.Fprintln(os.Stderr, err)
	}
	os.Exit(code)
}

// sharedServers holds one server a version, started by the first test that asks for it and used by all that keep to index
// names of their own.
type sharedServers struct {
	dir string

	mu     sync.Mutex
	byVer  map[esserver.Version]*esserver.Cluster
	escrow string
}

var shared sharedServers

func (s *sharedServers) close(failed bool) {
	for _, c := range s.byVer {
		c.Close()
		if failed {
			fmt.Println(c.LogTail())
		}
	}
}

// server returns the shared server of a version.
func server(t *testing.T, v esserver.Version) *es {
	t.Helper()
	esserver.Available(t, v)
	shared.mu.Lock()
	defer shared.mu.Unlock()
	if c, ok := shared.byVer[v]; ok {
		return &es{url: c.URL(), version: v}
	}
	// The server outlives this test, so neither its context nor its folder may be the test's.
	c, err := esserver.Launch(context.Background(), filepath.Join(shared.dir, string(v)), v, nil)
	require.NoError(t, err)
	if shared.byVer == nil {
		shared.byVer = map[esserver.Version]*esserver.Cluster{}
	}
	shared.byVer[v] = c
	return &es{url: c.URL(), version: v}
}

// versions are those that the tests run on; ESCROW_ES_VERSIONS, a comma list, chooses among them.
func versions() []esserver.Version {
	all := []esserver.Version{esserver.V8, esserver.V9}
	only := os.Getenv("ESCROW_ES_VERSIONS")
	if only == "" {
		return all
	}
	return slices.DeleteFunc(all, func(v esserver.Version) bool {
		return !slices.Contains(strings.Split(only, ","), string(v))
	})
}

// onEach runs a test on every version's shared server, on all at once.
func onEach(t *testing.T, test func(t *testing.T, e *es)) {
	t.Helper()
	for _, v := range versions() {
		t.Run(string(v), func(t *testing.T) {
			t.Parallel()
			test(t, server(t, v))
		})
	}
}

// buildEscrow compiles the command line once and returns its path.
func buildEscrow(t *testing.T) string {
	t.Helper()
	shared.mu.Lock()
	defer shared.mu.Unlock()
	if shared.escrow == "" {
		path := filepath.Join(shared.dir, "escrow")
		cmd := exec.CommandContext(t.Context(), "go", "build", "-o", path, ".")
		cmd.Dir = "../../examples/escrow"
		out, err := cmd.CombinedOutput()
		require.NoError(t, err, string(out))
		shared.escrow = path
	}
	return shared.escrow
}

// runMeasured runs a command as the only child of this small process, and writes the command's largest resident size in KiB
// to file descriptor 3. Measured from the test process itself, the number would not be the command's: Linux counts what the
// parent had when it forked.
func runMeasured(args []string) int {
	cmd := exec.Command(args[0], args[1:]...)
	cmd.Stdin, cmd.Stdout, cmd.Stderr = os.Stdin, os.Stdout, os.Stderr
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	err := cmd.Run()
	if cmd.ProcessState == nil {
		fmt.Fprintln(os.Stderr, err)
		return 127
	}
	usage := cmd.ProcessState.SysUsage().(*syscall.Rusage)
	if _, err := fmt.Fprintf(os.NewFile(3, "report"), "%d\n", usage.Maxrss); err != nil {
		return 126
	}
	return cmd.ProcessState.ExitCode()
}
