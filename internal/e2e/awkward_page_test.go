package e2e_test

import (
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/escrow-backup/escrow/internal/e2e/esserver"
)

var update = flag.Bool("update", false, "write docs/fidelity.md anew")

const fidelityPage = "../../docs/fidelity.md"

// elsewhere is what servers made of the published jars lack, or one test alone shows, and the test that shows what becomes of it.
var elsewhere = []struct{ what, outcome, test, dir string }{
	{"stored scripts; lifecycle and snapshot policies; enrich policies, executed, and the pipelines that use them; transforms; watches", "whole; transforms stopped, and without their checkpoints", "TestEverySectionRoundTrip", "restore"},
	{"roles, role mappings and users, if asked for", "whole; users without a hash get a password that nobody knows", "TestUsersAndTheirHashes", "restore"},
	{"Kibana's spaces and saved objects, if asked for", "whole", "TestKibana", "restore"},
	{"a watch with a secret that the server hides", "left out, by name", "TestAHiddenSecretIsAnOmission", "restore"},
	{"a feature that the cluster lacks; one that may not be read", "absent; left out, by name", "TestForbiddenAndFailingSections", "restore"},
	{"objects that the cluster or a product keeps itself", "left as the cluster has them", "TestManagedObjectsAreTheClustersOwn", "restore"},
	{"an index mounted from a snapshot", "an ordinary index", "TestNewCreationOfAMountedSnapshot", "restore"},
	{"a frozen index of which searches leave documents out", "left out, by name", "TestFrozenIndex", "backup"},
	{"an index that is deleted, made anew or created while the backup runs", "left out, by name, and never a mixture of two; a new one is not in it", "TestIndexInTheMiddle", "internal/e2e"},
	{"documents that the user may not see", "the backup fails", "TestDocumentsThatTheUserCannotSee", "backup"},
	{"1,000 small indices on a real server", "whole", "TestThousandIndices", "internal/e2e"},
	{"5,000 small indices, in memory", "whole, with less than 256 MiB of memory", "TestMemoryOfManyIndices", "internal/e2e"},
	{"documents of 50 MB", "whole, with less than 256 MiB of memory", "TestMemoryOfLargeDocuments", "internal/e2e"},
	{"300,000 documents of five kinds through a repository, with changes on the way", "whole", "TestFidelity", "internal/e2e"},
}

// outcome says in words what becomes of a case.
func (c *awkward) outcome() string {
	switch {
	case c.own != nil:
		return c.result
	case c.gone != "":
		return "left out, as asked for"
	case c.partly:
		return "left out, by name; with `AllowOmissions` backed up as the server shows it"
	case c.omitted != "":
		return "left out, by name"
	}
	return "whole"
}

func page() string {
	var b strings.Builder
	b.WriteString(`# What comes back

Each line is a case of the test ` + "`TestAwkward`" + `: it is made on real servers of the versions named, backed up together with all others, wiped, restored, and
compared with what the server said of it before: settings, mappings, aliases and objects as JSON, documents by the bytes of their _source. *Whole* means equal
in all of that. *Left out, by name* means that the backup fails and says why, unless it is told to go on (` + "`AllowOmissions`" + `, ` + "`--allow-omissions`" + `): then its
manifest names what is missing, and the exit code is 3.

Never restored is what a server makes itself: uuid, creation date, provided name, versions, and where an index was resized from. This page is written by
` + "`go test -run TestFidelityPage . -update`" + ` in ` + "`internal/e2e`" + `, and checked by the same test.

`)
	versions := []esserver.Version{esserver.V8, esserver.V9}
	fmt.Fprintf(&b, "| case | what it is | %s | %s |\n|---|---|---|---|\n", versions[0], versions[1])
	count := map[esserver.Version]int{}
	for _, c := range awkwardCases {
		fmt.Fprintf(&b, "| %s | %s |", c.name, c.about)
		for _, v := range versions {
			if !c.on(string(v)) {
				fmt.Fprintf(&b, " not there: %s |", c.lacks)
				continue
			}
			count[v]++
			fmt.Fprintf(&b, " %s |", c.outcome())
		}
		b.WriteByte('\n')
	}
	fmt.Fprintf(&b, "\nThat is %d cases on %s and %d on %s.\n\n## Beside the cluster's own snapshot\n\n", count[versions[0]], versions[0], count[versions[1]], versions[1])
	b.WriteString("The same test has the server take a snapshot of its own of all cases at once, and restores that: whole are all but\n\n")
	for _, c := range awkwardCases {
		if c.native != "" {
			fmt.Fprintf(&b, "- %s: %s\n", c.name, c.native)
		}
	}
	b.WriteString("\nSo it has what we leave out by name otherwise: closed and blocked indices, and documents or fields without `_source`.\n")
	b.WriteString("\n## Shown elsewhere\n\n")
	b.WriteString("The servers are made of the jars that Elasticsearch publishes, which lack the modules for some features. Those are tested against the in-memory server of " +
		"package `estest`, and some cases have a test of their own:\n\n| what | outcome | test |\n|---|---|---|\n")
	for _, x := range elsewhere {
		fmt.Fprintf(&b, "| %s | %s | `%s` in `%s` |\n", x.what, x.outcome, x.test, x.dir)
	}
	return b.String()
}

// TestFidelityPage holds the page against the cases.
func TestFidelityPage(t *testing.T) {
	names := map[string]bool{}
	for _, c := range awkwardCases {
		require.False(t, names[c.name], "two cases %s", c.name)
		names[c.name] = true
		require.NotEmpty(t, c.about, c.name)
		require.Equal(t, c.only == "", c.lacks == "", c.name)
		require.Equal(t, c.own == nil, c.result == "", c.name)
	}
	for _, x := range elsewhere {
		found := false
		sources, err := filepath.Glob(filepath.Join("../..", x.dir, "*_test.go"))
		require.NoError(t, err)
		for _, name := range sources {
			text, err := os.ReadFile(name)
			require.NoError(t, err)
			found = found || strings.Contains(string(text), "func "+x.test+"(")
		}
		require.True(t, found, "%s in %s", x.test, x.dir)
	}
	if *update {
		require.NoError(t, os.WriteFile(fidelityPage, []byte(page()), 0o600))
		return
	}
	text, err := os.ReadFile(fidelityPage)
	require.NoError(t, err)
	require.Equal(t, page(), string(text), "go test -run TestFidelityPage . -update")
}
