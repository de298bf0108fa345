// Package rbactest compares what programs ask of the API of Kubernetes with what their roles allow, in tests. A call is a line such as
// "update backupsessions/status stash.appscode.com": verb, resource, and the API group, if it has a name.
package rbactest

import (
	"bufio"
	"bytes"
	"context"
	"fmt"
	"os"
	"slices"
	"strings"

	rbacv1 "k8s.io/api/rbac/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/util/yaml"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/client/apiutil"
	"sigs.k8s.io/controller-runtime/pkg/client/interceptor"
	sigsyaml "sigs.k8s.io/yaml"
)

// Call names a call on an object, or on a list of them.
func Call(verb string, o runtime.Object, sub string, scheme *runtime.Scheme) (string, error) {
	gvk, err := apiutil.GVKForObject(o, scheme)
	if err != nil {
		return "", err
	}
	kind := strings.ToLower(strings.TrimSuffix(gvk.Kind, "List"))
	resource := kind + "s"
	switch {
	case strings.HasSuffix(kind, "ch"):
		resource = kind + "es"
	case strings.HasSuffix(kind, "y"):
		resource = strings.TrimSuffix(kind, "y") + "ies"
	}
	if sub != "" {
		resource += "/" + sub
	}
	return strings.TrimSpace(verb + " " + resource + " " + gvk.Group), nil
}

// Watch is the API as a program sees it: through is told of each call, and makes it by calling do, or does not.
func Watch(api client.WithWatch, through func(call string, do func() error) error) client.WithWatch {
	call := func(verb string, o runtime.Object, sub string, do func() error) error {
		name, err := Call(verb, o, sub, api.Scheme())
		if err != nil {
			return err
		}
		return through(name, do)
	}
	return interceptor.NewClient(api, interceptor.Funcs{
		Get: func(ctx context.Context, c client.WithWatch, key client.ObjectKey, o client.Object, opts ...client.GetOption) error {
			return call("get", o, "", func() error { return c.Get(ctx, key, o, opts...) })
		},
		List: func(ctx context.Context, c client.WithWatch, l client.ObjectList, opts ...client.ListOption) error {
			return call("list", l, "", func() error { return c.List(ctx, l, opts...) })
		},
		Create: func(ctx context.Context, c client.WithWatch, o client.Object, opts ...client.CreateOption) error {
			return call("create", o, "", func() error { return c.Create(ctx, o, opts...) })
		},
		Update: func(ctx context.Context, c client.WithWatch, o client.Object, opts ...client.UpdateOption) error {
			return call("update", o, "", func() error { return c.Update(ctx, o, opts...) })
		},
		Patch: func(ctx context.Context, c client.WithWatch, o client.Object, p client.Patch, opts ...client.PatchOption) error {
			return call("patch", o, "", func() error { return c.Patch(ctx, o, p, opts...) })
		},
		Delete: func(ctx context.Context, c client.WithWatch, o client.Object, opts ...client.DeleteOption) error {
			return call("delete", o, "", func() error { return c.Delete(ctx, o, opts...) })
		},
		DeleteAllOf: func(ctx context.Context, c client.WithWatch, o client.Object, opts ...client.DeleteAllOfOption) error {
			return call("deletecollection", o, "", func() error { return c.DeleteAllOf(ctx, o, opts...) })
		},
		SubResourceUpdate: func(ctx context.Context, c client.Client, sub string, o client.Object, opts ...client.SubResourceUpdateOption) error {
			return call("update", o, sub, func() error { return c.SubResource(sub).Update(ctx, o, opts...) })
		},
		SubResourcePatch: func(ctx context.Context, c client.Client, sub string, o client.Object, p client.Patch, opts ...client.SubResourcePatchOption) error {
			return call("patch", o, sub, func() error { return c.SubResource(sub).Patch(ctx, o, p, opts...) })
		},
	})
}

// Allowed are the calls that a ClusterRole in a file of manifests allows.
func Allowed(file, role string) ([]string, error) {
	data, err := os.ReadFile(file)
	if err != nil {
		return nil, err
	}
	documents := yaml.NewYAMLReader(bufio.NewReader(bytes.NewReader(data)))
	for {
		doc, err := documents.Read()
		if err != nil {
			return nil, fmt.Errorf("cluster role %s: %w", role, err)
		}
		var o metav1.PartialObjectMetadata
		if err := sigsyaml.Unmarshal(doc, &o); err != nil {
			return nil, err
		}
		if o.Kind != "ClusterRole" || o.Name != role {
			continue
		}
		var r rbacv1.ClusterRole
		if err := sigsyaml.UnmarshalStrict(doc, &r); err != nil {
			return nil, err
		}
		return lines(r.Rules), nil
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

// Compare says which calls are not allowed, and what is allowed though nobody asks for it. unseen says of what is allowed that no client can
// be seen asking for it: the server does, or a library.
func Compare(allowed, calls []string, unseen func(string) bool) error {
	var wrong []string
	for _, c := range calls {
		if !slices.Contains(allowed, c) {
			wrong = append(wrong, "not allowed, but asked for: "+c)
		}
	}
	for _, a := range allowed {
		if !slices.Contains(calls, a) && !unseen(a) {
			wrong = append(wrong, "allowed, but never asked for: "+a)
		}
	}
	if len(wrong) > 0 {
		return fmt.Errorf("the role is not what it should be:\n%s", strings.Join(slices.Compact(wrong), "\n"))
	}
	return nil
}
