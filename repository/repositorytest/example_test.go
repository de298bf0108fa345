package repositorytest_test

import (
	"testing"

	"github.com/escrow-backup/escrow/repository"
	"github.com/escrow-backup/escrow/repository/repositorytest"
)

// In a test, which is given t. It is compiled here and not run.
func Example() {
	_ = func(t *testing.T) {
		repo := repositorytest.New(t)
		repositorytest.Write(t, repo, map[string]string{"a.txt": "one", "b.txt": "two"})
		for s, err := range repo.Snapshots(t.Context(), repository.Filter{}) {
			if err != nil {
				t.Fatal(err)
			}
			t.Log(s.ID)
		}
		repositorytest.RequireClean(t, repo)
	}
}
