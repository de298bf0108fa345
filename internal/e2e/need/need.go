// Package need decides what becomes of a test that needs a program which is not installed.
package need

import (
	"os"
	"os/exec"
	"testing"
)

// Variable is the environment variable that turns skipping into failing: set it to "require".
const Variable = "ESCROW_E2E"

// Required reports whether every program must be there.
func Required() bool { return os.Getenv(Variable) == "require" }

// Missing ends the test: it fails where the programs are required, and is skipped elsewhere. The text says what is missing
// and how to install it.
func Missing(t testing.TB, format string, args ...any) {
	t.Helper()
	if Required() {
		t.Fatalf(format, args...)
	}
	t.Skipf(format, args...)
}

// Program returns the path of a program, or ends the test with how to install it.
func Program(t testing.TB, name, install string) string {
	t.Helper()
	path, err := exec.LookPath(name)
	if err != nil {
		Missing(t, "%s is not installed: %s", name, install)
	}
	return path
}
