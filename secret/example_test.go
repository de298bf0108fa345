package secret_test

import (
	"context"
	"fmt"
	"os"
	"path/filepath"

	"github.com/escrow-backup/escrow/secret"
)

// Secrets that are mounted as directories, as Kubernetes does it. What is printed of one shows no value.
func ExampleDir() {
	dir, err := os.MkdirTemp("", "example")
	if err != nil {
		fmt.Println(err)
		return
	}
	defer func() { _ = os.RemoveAll(dir) }() // it is only an example's
	if err := os.MkdirAll(filepath.Join(dir, "es-auth"), 0o700); err != nil {
		fmt.Println(err)
	}
	if err := os.WriteFile(filepath.Join(dir, "es-auth", "password"), []byte("changeme"), 0o600); err != nil {
		fmt.Println(err)
	}
	data, err := secret.Dir(dir).Secret(context.Background(), "prod", "es-auth")
	fmt.Println(data, len(data["password"]), err)
	// Output:
	// [redacted] keys password 8 <nil>
}
