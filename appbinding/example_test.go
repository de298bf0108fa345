package appbinding_test

import (
	"context"
	"fmt"
	"net/http"
	"net/http/httptest"
	"time"

	"github.com/escrow-backup/escrow/appbinding"
	"github.com/escrow-backup/escrow/secret"
)

func ExampleAppBinding_Connect() {
	cluster := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("X-Elastic-Product", "Elasticsearch")
		user, _, _ := r.BasicAuth()
		fmt.Println(r.Method, r.URL.Path, "as", user)
	}))
	defer cluster.Close()

	b, err := appbinding.Parse([]byte(`
apiVersion: appcatalog.appscode.com/v1alpha1
kind: AppBinding
metadata: {name: logs, namespace: prod}
spec:
  clientConfig: {url: "` + cluster.URL + `"}
  secret: {name: logs-auth}
`))
	if err != nil {
		fmt.Println(err)
		return
	}
	secrets := secret.Map{"prod/logs-auth": {"username": []byte("elastic"), "password": []byte("changeme")}}
	_, err = b.Connect(context.Background(), secrets, &appbinding.ConnectOptions{WaitTimeout: time.Minute})
	fmt.Println(b, err)
	fmt.Println(secrets)

	b.Spec.Secret.Name = "typo"
	_, err = b.Connect(context.Background(), secrets, nil)
	fmt.Println(err)
	// Output:
	// GET / as elastic
	// appbinding prod/logs <nil>
	// map[prod/logs-auth:[redacted] keys password, username]
	// appbinding prod/logs: spec.secret: secret prod/typo: file does not exist
}
