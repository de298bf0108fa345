package controller_test

import (
	"bufio"
	"bytes"
	"flag"
	"fmt"
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	rbacv1 "k8s.io/api/rbac/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/yaml"
	"sigs.k8s.io/controller-runtime/pkg/client/apiutil"
	sigsyaml "sigs.k8s.io/yaml"

	"github.com/escrow-backup/escrow/examples/operator/controller"
)

// clusterRole reads the rules of a role in the manifests, a line for each verb and resource.
func clusterRole(name string) ([]string, error) {
	data, err := os.ReadFile("../manifests/rbac.yaml")
	if err != nil {
		return nil, err
	}
	documents := yaml.NewYAMLReader(bufio.NewReader(bytes.NewReader(data)))
	for {
		doc, err := documents.Read()
		if err != nil {
			return nil, fmt.Errorf("cluster role %s: %w", name, err)
		}
		var o metav1.PartialObjectMetadata
		if err := sigsyaml.Unmarshal(doc, &o); err != nil {
			return nil, err
		}
		if o.Kind != "ClusterRole" || o.Name != name {
			continue
		}
		var role rbacv1.ClusterRole
		if err := sigsyaml.UnmarshalStrict(doc, &role); err != nil {
			return nil, err
		}
		return lines(role.Rules), nil
	}
}

func lines(rules []rbacv1.PolicyRule) []string {
	var out []string
	for _, r := range rules {
		for _, group := range r.APIGroups {
			for _, resource := range r.Resources {
				for _, verb := range r.Verbs {
					out = append(out, strings.TrimSpace(verb+" "+resource+" "+group))
				}
			}
		}
	}
	return out
}

// unseen is what the operator needs and no client in these tests asks for: it is the server, or the manager, that asks.
func unseen(line string) bool {
	return strings.Contains(line, "/finalizers ") || strings.HasPrefix(line, "bind ") || strings.HasSuffix(line, " events.k8s.io")
}

// wholeRun says whether all tests ran.
func wholeRun() bool {
	run, skip := flag.Lookup("test.run"), flag.Lookup("test.skip")
	return run.Value.String() == "" && skip.Value.String() == ""
}

// excess compares the calls of all tests with the operator's role: nothing else is asked for, and nothing else is allowed.
func excess(calls []string) error {
	allowed, err := clusterRole("escrow-operator")
	if err != nil {
		return err
	}
	scheme, err := scheme()
	if err != nil {
		return err
	}
	for _, o := range controller.Watched() {
		gvk, err := apiutil.GVKForObject(o, scheme)
		if err != nil {
			return err
		}
		calls = append(calls, "list "+resource(gvk, ""), "watch "+resource(gvk, ""))
	}
	var wrong []string
	for _, c := range calls {
		if !slices.Contains(allowed, c) {
			wrong = append(wrong, "not allowed, but asked for: "+c)
		}
	}
	for _, a := range allowed {
		if !unseen(a) && !slices.Contains(calls, a) {
			wrong = append(wrong, "allowed, but never asked for: "+a)
		}
	}
	if len(wrong) > 0 {
		return fmt.Errorf("manifests/rbac.yaml, ClusterRole escrow-operator:\n%s", strings.Join(wrong, "\n"))
	}
	return nil
}

func TestRolesOfPodsAreThose(t *testing.T) {
	for _, role := range []string{controller.RunnerRole, controller.ExecRole, controller.CreatorRole} {
		rules, err := clusterRole(role)
		require.NoError(t, err)
		require.NotEmpty(t, rules)
		bind, err := os.ReadFile("../manifests/rbac.yaml")
		require.NoError(t, err)
		require.Regexp(t, `resourceNames: \[.*\b`+role+`\b.*\]\n  verbs: \[bind\]`, string(bind))
	}
}
