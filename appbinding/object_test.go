package appbinding_test

import (
	"fmt"
	"reflect"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"sigs.k8s.io/yaml"

	"github.com/escrow-backup/escrow/appbinding"
)

const manifest = `apiVersion: appcatalog.appscode.com/v1alpha1
kind: AppBinding
metadata:
  name: es
  namespace: prod
spec:
  type: kubedb.com/elasticsearch
  version: xpack-8.19.0
  appRef: {apiGroup: kubedb.com, kind: Elasticsearch, namespace: prod, name: es}
  clientConfig:
    service: {scheme: https, name: es, port: 9200}
    serverName: es
  secret: {name: es-auth}
  tlsSecret: {kind: Secret, name: es-tls}
  secretTransforms:
  - renameKey: {from: user, to: username}
  - addKey: {key: a, value: YWJj, stringValue: x}
  - addKeysFrom: {secretRef: {name: more}}
  - removeKey: {key: b}
  parameters:
    apiVersion: appcatalog.appscode.com/v1alpha1
    kind: StashAddon
    stash: {addon: {backupTask: {name: elasticsearch-backup-8.2.0, params: [{name: args, value: x}]}}}
`

func TestParse(t *testing.T) {
	b, err := appbinding.Parse([]byte(manifest))
	require.NoError(t, err)
	require.Equal(t, "es-auth", b.Spec.Secret.Name)
	require.Equal(t, "abc", string(b.Spec.SecretTransforms[1].AddKey.Value))
	// Written again it says the same.
	out, err := yaml.Marshal(b)
	require.NoError(t, err)
	var want, got map[string]any
	require.NoError(t, yaml.Unmarshal([]byte(manifest), &want))
	require.NoError(t, yaml.Unmarshal(out, &got))
	delete(got["metadata"].(map[string]any), "creationTimestamp")
	require.Equal(t, want, got)

	b, err = appbinding.Parse([]byte(manifest + "  surprise: 1\n"))
	require.True(t, runtime.IsStrictDecodingError(err), "%v", err)
	require.ErrorContains(t, err, "surprise")
	require.Equal(t, "es", b.Name)
}

func TestParseRefuses(t *testing.T) {
	const head = "apiVersion: appcatalog.appscode.com/v1alpha1\nkind: AppBinding\nmetadata: {name: es, namespace: prod}\nspec:\n"
	for text, want := range map[string]string{
		"{":                           "not valid YAML",
		"kind: Secret\n":              `kind "Secret"`,
		"a: 1\na: 2\n":                "not valid YAML",
		head + "  clientConfig: {}\n": "appbinding prod/es: spec.clientConfig: one of url and service is required",
		head + "  clientConfig: {url: http://h, service: {name: x}}\n":                 "exclude each other",
		head + "  clientConfig: {url: 'http://u:s3cr3t@'}\n":                           "spec.clientConfig.url: has no host",
		head + "  clientConfig: {service: {name: x, port: 70000}}\n":                   "spec.clientConfig.service.port: 70000",
		head + "  clientConfig: {service: {name: x, scheme: ftp}}\n":                   "spec.clientConfig.service.scheme",
		head + "  clientConfig: {service: {name: x, port: s3cr3t}}\n":                  "port: is a string, wants int32",
		head + "  clientConfig: {url: http://h}\n  secret: {kind: Vault, name: x}\n":   "spec.secret:  Vault is not a Secret",
		head + "  clientConfig: {url: http://h}\n  secretTransforms: [{}]\n":           "spec.secretTransforms[0]: has 0 of",
		head + "  clientConfig: {url: http://h}\n  secretTransforms: [{addKey: {}}]\n": "spec.secretTransforms[0].addKey.key: is required",
		head + "  clientConfig: {url: http://h, caBundle: s3cr3t}\n":                   "parse appbinding: ",
	} {
		b, err := appbinding.Parse([]byte(text))
		require.ErrorContains(t, err, want, text)
		require.NotContains(t, err.Error(), "s3cr3t")
		require.Nil(t, b)
	}
}

func FuzzParse(f *testing.F) {
	f.Add([]byte(manifest))
	f.Fuzz(func(t *testing.T, data []byte) {
		b, err := appbinding.Parse(data)
		if (b == nil) != (err != nil && !runtime.IsStrictDecodingError(err)) {
			t.Fatalf("%v, %v", b, err)
		}
	})
}

// fill sets everything below v to something.
func fill(v reflect.Value) {
	switch v.Kind() {
	case reflect.Pointer:
		v.Set(reflect.New(v.Type().Elem()))
		fill(v.Elem())
	case reflect.Struct:
		if v.Type() == reflect.TypeFor[metav1.Time]() {
			v.Set(reflect.ValueOf(metav1.NewTime(time.Unix(1, 0))))
			return
		}
		for i := range v.NumField() {
			fill(v.Field(i))
		}
	case reflect.Slice:
		v.Set(reflect.MakeSlice(v.Type(), 2, 2))
		for i := range 2 {
			fill(v.Index(i))
		}
	case reflect.Map:
		key, value := reflect.New(v.Type().Key()).Elem(), reflect.New(v.Type().Elem()).Elem()
		fill(key)
		fill(value)
		v.Set(reflect.MakeMap(v.Type()))
		v.SetMapIndex(key, value)
	case reflect.String:
		v.SetString("x")
	case reflect.Bool:
		v.SetBool(true)
	case reflect.Int32, reflect.Int64:
		v.SetInt(7)
	case reflect.Uint8:
		v.SetUint(7)
	case reflect.Interface: // runtime.RawExtension.Object
	default:
		panic(v.Type().String())
	}
}

// requireApart checks that a and b share no memory. Times are values, though they point at a zone.
func requireApart(t *testing.T, a, b reflect.Value, path string) {
	switch a.Kind() {
	case reflect.Pointer:
		if !a.IsNil() {
			require.NotEqual(t, a.Pointer(), b.Pointer(), path)
			requireApart(t, a.Elem(), b.Elem(), path)
		}
	case reflect.Struct:
		if a.Type() == reflect.TypeFor[metav1.Time]() {
			return
		}
		for i := range a.NumField() {
			requireApart(t, a.Field(i), b.Field(i), path+"."+a.Type().Field(i).Name)
		}
	case reflect.Slice:
		require.NotEqual(t, a.Pointer(), b.Pointer(), path)
		for i := range a.Len() {
			requireApart(t, a.Index(i), b.Index(i), fmt.Sprintf("%s[%d]", path, i))
		}
	case reflect.Map:
		require.NotEqual(t, a.Pointer(), b.Pointer(), path)
	}
}

func TestDeepCopy(t *testing.T) {
	var l appbinding.AppBindingList
	fill(reflect.ValueOf(&l).Elem())
	c := l.DeepCopyObject().(*appbinding.AppBindingList)
	require.True(t, reflect.DeepEqual(&l, c))
	requireApart(t, reflect.ValueOf(&l), reflect.ValueOf(c), "list")
	one := l.Items[0].DeepCopyObject().(*appbinding.AppBinding)
	require.True(t, reflect.DeepEqual(&l.Items[0], one))
	require.Equal(t, &appbinding.AppBinding{}, new(appbinding.AppBinding).DeepCopy())
	require.Nil(t, (*appbinding.AppBinding)(nil).DeepCopy())
	require.Nil(t, (*appbinding.AppBindingList)(nil).DeepCopyObject())
}

func TestScheme(t *testing.T) {
	s := runtime.NewScheme()
	require.NoError(t, appbinding.AddToScheme(s))
	o, err := s.New(appbinding.GroupVersion.WithKind(appbinding.Kind))
	require.NoError(t, err)
	require.IsType(t, &appbinding.AppBinding{}, o)
	require.True(t, s.Recognizes(appbinding.GroupVersion.WithKind("AppBindingList")))
	require.Equal(t, "appbindings.appcatalog.appscode.com", appbinding.Resource("appbindings").String())
}
