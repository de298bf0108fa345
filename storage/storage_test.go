package storage_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"log"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"sigs.k8s.io/yaml"

	"github.com/escrow-backup/escrow/repository"
	"github.com/escrow-backup/escrow/repository/backend"
	"github.com/escrow-backup/escrow/repository/backend/backendtest"
	"github.com/escrow-backup/escrow/repository/backend/mem"
	"github.com/escrow-backup/escrow/repository/repositorytest"
	"github.com/escrow-backup/escrow/secret"
	"github.com/escrow-backup/escrow/storage"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// head begins every object here; the backend is indented by four.
const head = `
apiVersion: stash.appscode.com/v1alpha1
kind: Repository
metadata:
  name: repo
  namespace: demo
spec:
  backend:
`

// places are backends as users of Stash write them, by the kind of place, with what they come to.
var places = map[string]struct {
	yaml, url, bucket, prefix string
	settings                  backend.Settings
}{
	"local": {`
    local: {mountPath: /safe/data, subPath: es, persistentVolumeClaim: {claimName: backups}}
    storageSecretName: sec`, "local:/safe/data", "/safe/data", "", backend.Settings{}},
	"s3": {`
    s3: {endpoint: "https://minio.example.org:9000/", bucket: backups, prefix: /demo/es/, region: eu-west-1, insecureTLS: true}
    storageSecretName: sec`, "s3:https://minio.example.org:9000/backups/demo/es", "backups", "demo/es",
		backend.Settings{Region: "eu-west-1", InsecureTLS: true}},
	"gcs": {`
    gcs: {bucket: backups, prefix: demo/es, maxConnections: 7}
    storageSecretName: sec`, "gs:backups:/demo/es", "backups", "demo/es", backend.Settings{Connections: 7}},
	"azure": {`
    azure: {container: backups, prefix: demo/es, maxConnections: 8}
    storageSecretName: sec`, "azure:backups:/demo/es", "backups", "demo/es", backend.Settings{Connections: 8}},
	"swift": {`
    swift: {container: backups, prefix: demo/es}
    storageSecretName: sec`, "swift:backups:/demo/es", "backups", "demo/es", backend.Settings{}},
	"b2": {`
    b2: {bucket: backups, prefix: demo/es, maxConnections: 9}
    storageSecretName: sec`, "b2:backups:demo/es", "backups", "demo/es", backend.Settings{Connections: 9}},
	"rest": {`
    rest: {url: "http://rest.demo.svc:8000/es"}
    storageSecretName: sec`, "rest:http://rest.demo.svc:8000/es", "", "", backend.Settings{}},
	"sftp": {`
    sftp: {host: backup.example.org, port: 2222, user: es, path: /srv/es}
    storageSecretName: sec`, "sftp://es@backup.example.org:2222//srv/es", "backup.example.org", "/srv/es", backend.Settings{}},
}

const policy = `
  wipeOut: true
  usagePolicy: {allowedNamespaces: {from: Selector, selector: {matchLabels: {team: search}}}}
status:
  observedGeneration: 1
  firstBackupTime: "2026-01-02T03:04:05Z"
  lastBackupTime: "2026-02-03T04:05:06Z"
  integrity: true
  totalSize: 1.207 GiB
  snapshotCount: 7
  snapshotsRemovedOnLastCleanup: 1
  references: [{apiGroup: stash.appscode.com, kind: BackupConfiguration, namespace: demo, name: es}]
`

func parse(t *testing.T, text string) *storage.Repository {
	t.Helper()
	r, err := storage.Parse([]byte(text))
	require.NoError(t, err)
	return r
}

func TestNothingIsLost(t *testing.T) {
	for name, p := range places {
		t.Run(name, func(t *testing.T) {
			r := parse(t, head+p.yaml+policy)
			require.Equal(t, name, r.Spec.Backend.Provider())
			require.Equal(t, p.url, r.Spec.Backend.URL())
			bucket, prefix := r.Spec.Backend.Location()
			require.Equal(t, []string{p.bucket, p.prefix}, []string{bucket, prefix})

			want, err := yaml.YAMLToJSON([]byte(head + p.yaml + policy))
			require.NoError(t, err)
			before, err := json.Marshal(r)
			require.NoError(t, err)
			require.JSONEq(t, string(want), strings.Replace(string(before), `"creationTimestamp":null,`, "", 1))

			// A copy shares nothing: what is done to it is not seen in the original.
			c := r.DeepCopy()
			require.Equal(t, r, c)
			*c.Spec.UsagePolicy.AllowedNamespaces.From = "All"
			c.Spec.UsagePolicy.AllowedNamespaces.Selector.MatchLabels["team"] = "other"
			*c.Status.Integrity = false
			*c.Status.FirstBackupTime, *c.Status.LastBackupTime = metav1.Now(), metav1.Now()
			c.Status.References[0].Name = "other"
			switch b := c.Spec.Backend; name {
			case "local":
				b.Local.PersistentVolumeClaim.ClaimName, b.Local.MountPath = "other", "/other"
			case "s3":
				b.S3.Bucket = "other"
			case "gcs":
				b.GCS.Bucket = "other"
			case "azure":
				b.Azure.Container = "other"
			case "swift":
				b.Swift.Container = "other"
			case "b2":
				b.B2.Bucket = "other"
			case "rest":
				b.Rest.URL = "http://other"
			case "sftp":
				b.SFTP.Host = "other"
			}
			after, err := json.Marshal(r)
			require.NoError(t, err)
			require.Equal(t, string(before), string(after))
		})
	}
}

func TestUnknownFieldsAreReported(t *testing.T) {
	r, err := storage.Parse([]byte(head + places["s3"].yaml + "\n  later: {of: Stash}\n"))
	require.True(t, runtime.IsStrictDecodingError(err))
	require.ErrorContains(t, err, "later")
	require.Equal(t, "backups", r.Spec.Backend.S3.Bucket)
	_, err = storage.Parse([]byte(strings.Replace(head+places["s3"].yaml, "Repository", "Function", 1)))
	require.ErrorContains(t, err, `kind "Function"`)
}

func TestValidationNamesTheField(t *testing.T) {
	for text, fields := range map[string][]string{
		`    {}`:       {"spec.backend: one of"},
		`    {s3: {}}`: {"spec.backend.s3.bucket: is required"},
		`    {s3: {bucket: "a/b", endpoint: "ftp://host"}}`:                                 {"spec.backend.s3.bucket", "spec.backend.s3.endpoint"},
		`    {s3: {bucket: b}, gcs: {bucket: b}}`:                                           {"spec.backend: s3 and gcs exclude each other"},
		`    {gcs: {maxConnections: -1}}`:                                                   {"spec.backend.gcs.bucket", "spec.backend.gcs.maxConnections"},
		`    {azure: {container: c, maxConnections: 1001}}`:                                 {"spec.backend.azure.maxConnections"},
		`    {swift: {prefix: p}}`:                                                          {"spec.backend.swift.container: is required"},
		`    {b2: {bucket: "b:c"}}`:                                                         {"spec.backend.b2.bucket"},
		`    {rest: {}}`:                                                                    {"spec.backend.rest.url: is required"},
		`    {rest: {url: "http://u:s3cret@host/?q=1"}}`:                                    {"spec.backend.rest.url: has a query"},
		`    {local: {mountPath: data, subPath: ../x}}`:                                     {"spec.backend.local.mountPath", "spec.backend.local.subPath"},
		`    {sftp: {port: 70000}}`:                                                         {"spec.backend.sftp.host", "spec.backend.sftp.path", "spec.backend.sftp.port"},
		"    {swift: {container: c}}\n  usagePolicy: {allowedNamespaces: {from: Some}}":     {"spec.usagePolicy.allowedNamespaces.from"},
		"    {swift: {container: c}}\n  usagePolicy: {allowedNamespaces: {from: Selector}}": {"spec.usagePolicy.allowedNamespaces.selector: is required"},
		"    {swift: {container: c}}\n  usagePolicy: {allowedNamespaces: {from: All, selector: {}}}": {
			"spec.usagePolicy.allowedNamespaces.selector: is not used"},
	} {
		_, err := storage.Parse([]byte(head + text))
		require.Error(t, err, text)
		require.NotContains(t, err.Error(), "s3cret")
		for _, f := range fields {
			require.ErrorContains(t, err, f, text)
			require.ErrorContains(t, err, "repository demo/repo")
		}
	}
}

func TestUsagePolicy(t *testing.T) {
	labels := map[string]string{"team": "search"}
	for text, want := range map[string][3]bool{ // its own namespace, one with the labels, one without
		"": {true, false, false},
		"\n  usagePolicy: {allowedNamespaces: {}}":                                                                                    {true, false, false},
		"\n  usagePolicy: {allowedNamespaces: {from: Same}}":                                                                          {true, false, false},
		"\n  usagePolicy: {allowedNamespaces: {from: All}}":                                                                           {true, true, true},
		"\n  usagePolicy: {allowedNamespaces: {from: Selector, selector: {matchLabels: {team: search}}}}":                             {true, true, false},
		"\n  usagePolicy: {allowedNamespaces: {from: Selector, selector: {matchExpressions: [{key: team, operator: DoesNotExist}]}}}": {true, false, true},
	} {
		r := parse(t, head+places["swift"].yaml+text)
		for i, ns := range []struct {
			name   string
			labels map[string]string
		}{{"demo", nil}, {"search", labels}, {"other", nil}} {
			got, err := r.Allows(ns.name, ns.labels)
			require.NoError(t, err)
			require.Equal(t, want[i], got, "%s: %s", text, ns.name)
		}
	}
	r := parse(t, head+places["swift"].yaml)
	from := storage.FromNamespaces("Some")
	r.Spec.UsagePolicy = &storage.UsagePolicy{AllowedNamespaces: storage.AllowedNamespaces{From: &from}}
	_, err := r.Allows("other", nil)
	require.ErrorContains(t, err, "spec.usagePolicy.allowedNamespaces.from")
}

func TestScheme(t *testing.T) {
	s := runtime.NewScheme()
	require.NoError(t, storage.AddToScheme(s))
	o, err := s.New(storage.GroupVersion.WithKind("Repository"))
	require.NoError(t, err)
	require.IsType(t, &storage.Repository{}, o)
	kinds, _, err := s.ObjectKinds(&storage.RepositoryList{Items: []storage.Repository{{}}})
	require.NoError(t, err)
	require.Equal(t, "stash.appscode.com/v1alpha1, Kind=RepositoryList", kinds[0].String())
	l := &storage.RepositoryList{Items: []storage.Repository{*parse(t, head+places["s3"].yaml)}}
	c := l.DeepCopyObject().(*storage.RepositoryList)
	c.Items[0].Spec.Backend.S3.Bucket = "other"
	require.Equal(t, "backups", l.Items[0].Spec.Backend.S3.Bucket)
}

func TestBackendIsOpenedWithTheSecretAlone(t *testing.T) {
	t.Setenv("AWS_ACCESS_KEY_ID", "of the environment")
	secrets := secret.Map{"demo/sec": {"RESTIC_PASSWORD": []byte("s3cret"), "AWS_SECRET_ACCESS_KEY": []byte("of the secret")}}
	for name, p := range places {
		var m backend.Mux
		var location string
		var settings *backend.Settings
		for _, scheme := range []string{"local", "s3", "gs", "azure", "swift", "b2", "rest", "sftp"} {
			m.Handle(scheme, func(_ context.Context, l string, s *backend.Settings) (backend.Backend, error) {
				location, settings = scheme+":"+l, s
				return mem.New(), nil
			})
		}
		r := parse(t, head+p.yaml)
		b, err := r.Backend(t.Context(), &m, secrets)
		require.NoError(t, err)
		require.NoError(t, b.Close())
		require.Equal(t, p.url, location, name)
		require.Empty(t, settings.Value("AWS_ACCESS_KEY_ID"))
		require.Equal(t, "of the secret", settings.Value("AWS_SECRET_ACCESS_KEY"))
		settings.Lookup = nil
		require.Equal(t, p.settings, *settings, name)
		pw, err := r.Password(t.Context(), secrets)
		require.NoError(t, err)
		require.Equal(t, repository.Password("s3cret"), pw)

		for _, from := range []secret.Source{nil, secret.Map{}} {
			_, err = r.Backend(t.Context(), &m, from)
			require.ErrorContains(t, err, "repository demo/repo: spec.backend.storageSecretName: ")
		}
		_, err = r.Password(t.Context(), secret.Map{"sec": {"AWS_SECRET_ACCESS_KEY": []byte("s3cret")}})
		require.ErrorIs(t, err, fs.ErrNotExist)
		require.ErrorContains(t, err, "RESTIC_PASSWORD")
		require.NotContains(t, err.Error(), "s3cret")
		_, err = r.Backend(t.Context(), new(backend.Mux), secrets)
		require.ErrorContains(t, err, "unknown scheme")
		r.Spec.Backend = storage.Backend{}
		_, err = r.Backend(t.Context(), &m, secrets)
		require.ErrorContains(t, err, "spec.backend: one of")
	}
}

func TestObserve(t *testing.T) {
	b := mem.New()
	repo := repositorytest.Init(t, b)
	r := parse(t, head+places["swift"].yaml+policy)
	r.Generation = 5
	_, err := r.Observe(t.Context(), b, repo, nil)
	require.NoError(t, err)
	require.Zero(t, r.Status.SnapshotCount)
	require.Nil(t, r.Status.FirstBackupTime)
	require.True(t, *r.Status.Integrity, "left as it is without a check")

	times := []time.Time{time.Date(2026, 2, 1, 0, 0, 0, 0, time.UTC), time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC), time.Date(2026, 3, 1, 0, 0, 0, 0, time.UTC)}
	for i, at := range times {
		_, err := repo.Write(t.Context(), repository.Header{Time: at}, func(_ context.Context, w *repository.Writer) error {
			f, err := w.Create("file")
			if err != nil {
				return err
			}
			_, err = fmt.Fprintf(f, "%d %s", i, strings.Repeat("x", 3000))
			return errors.Join(err, f.Close())
		})
		require.NoError(t, err)
	}
	problems, err := r.Observe(t.Context(), b, repo, &storage.ObserveOptions{Check: &repository.CheckOptions{ReadData: true}})
	require.NoError(t, err)
	require.Empty(t, problems)
	require.True(t, *r.Status.Integrity)
	require.Equal(t, int64(3), r.Status.SnapshotCount)
	require.Equal(t, int64(5), r.Status.ObservedGeneration)
	require.True(t, r.Status.FirstBackupTime.Time.Equal(times[1]))
	require.True(t, r.Status.LastBackupTime.Time.Equal(times[2]))
	require.Regexp(t, `^[0-9]+\.[0-9]{3} KiB$`, r.Status.TotalSize)
	require.Equal(t, int64(1), r.Status.SnapshotsRemovedOnLastCleanup, "not observed here")

	// A repository that cannot be read changes nothing; one that is damaged is said to be.
	before := r.DeepCopy()
	_, err = r.Observe(t.Context(), backendtest.NewFaults(b).Fail("list", backend.Pack, 1, errors.New("boom")), repo, nil)
	require.ErrorContains(t, err, "observe repository demo/repo: list packs: boom")
	require.Equal(t, before, r)
	for fi, err := range b.List(t.Context(), backend.Pack) {
		require.NoError(t, err)
		require.NoError(t, b.Remove(t.Context(), fi.Handle))
		break
	}
	problems, err = r.Observe(t.Context(), b, repo, &storage.ObserveOptions{Check: &repository.CheckOptions{}})
	require.NoError(t, err)
	require.NotEmpty(t, problems)
	require.False(t, *r.Status.Integrity)
}

// From the object to an open repository, and back to the object's status.
func Example() {
	ctx := context.Background()
	r, err := storage.Parse([]byte(`
apiVersion: stash.appscode.com/v1alpha1
kind: Repository
metadata: {name: search, namespace: prod}
spec:
  backend:
    swift: {container: backups, prefix: search}
    storageSecretName: swift-secret
`))
	if err != nil {
		log.Fatal(err)
	}
	secrets := secret.Map{"prod/swift-secret": {"RESTIC_PASSWORD": []byte("changeme"), "OS_AUTH_URL": []byte("https://keystone/v3")}}

	var m backend.Mux
	m.Handle("swift", mem.NewOpener()) // a real program: swift.Opener
	b, err := r.Backend(ctx, &m, secrets)
	if err != nil {
		log.Fatal(err)
	}
	defer func() { _ = b.Close() }()
	password, err := r.Password(ctx, secrets)
	if err != nil {
		log.Fatal(err)
	}
	repo, err := repository.Init(ctx, b, password, nil) // repository.Open, the next time
	if err != nil {
		log.Fatal(err)
	}
	defer func() { _ = repo.Close() }()
	problems, err := r.Observe(ctx, b, repo, &storage.ObserveOptions{Check: &repository.CheckOptions{}})
	fmt.Println(r, r.Spec.Backend.URL(), r.Status.SnapshotCount, *r.Status.Integrity, problems, err)
	// Output: repository prod/search swift:backups:/search 0 true [] <nil>
}
