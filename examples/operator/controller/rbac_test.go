package controller_test

import (
	"flag"
	"os"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/escrow-backup/escrow/examples/operator/controller"
	"github.com/escrow-backup/escrow/examples/operator/rbactest"
)

const manifest = "../manifests/rbac.yaml"

// wholeRun says whether all tests ran.
func wholeRun() bool {
	run, skip := flag.Lookup("test.run"), flag.Lookup("test.skip")
	return run.Value.String() == "" && skip.Value.String() == ""
}

// excess compares the calls of all tests with the operator's role: nothing else is asked for, and nothing else is allowed.
func excess(calls []string) error {
	allowed, err := rbactest.Allowed(manifest, "escrow-operator")
	if err != nil {
		return err
	}
	scheme, err := scheme()
	if err != nil {
		return err
	}
	for _, o := range controller.Watched() {
		for _, verb := range []string{"list", "watch"} {
			c, err := rbactest.Call(verb, o, "", scheme)
			if err != nil {
				return err
			}
			calls = append(calls, c)
		}
	}
	return rbactest.Compare(allowed, calls, func(line string) bool {
		return strings.Contains(line, "/finalizers ") || strings.HasPrefix(line, "bind ") || strings.HasSuffix(line, " events.k8s.io")
	})
}

func TestTheOperatorMayGiveTheRolesOfPods(t *testing.T) {
	data, err := os.ReadFile(manifest)
	require.NoError(t, err)
	for _, role := range []string{controller.RunnerRole, controller.ExecRole, controller.CreatorRole} {
		require.Regexp(t, `resourceNames: \[.*\b`+role+`\b.*\]\n  verbs: \[bind\]`, string(data))
		rules, err := rbactest.Allowed(manifest, role)
		require.NoError(t, err)
		require.NotEmpty(t, rules)
	}
}
