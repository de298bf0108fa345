package appbinding

import (
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
)

// Kind of an AppBinding.
const Kind = "AppBinding"

// GroupVersion is the API group and version of this package's objects.
var GroupVersion = schema.GroupVersion{Group: "appcatalog.appscode.com", Version: "v1alpha1"}

// Resource gives the group's name for a resource, such as "appbindings".
func Resource(resource string) schema.GroupResource {
	return GroupVersion.WithResource(resource).GroupResource()
}

// AddToScheme makes the types known to a scheme, so that clients of Kubernetes can read and write them.
func AddToScheme(s *runtime.Scheme) error {
	s.AddKnownTypes(GroupVersion, &AppBinding{}, &AppBindingList{})
	metav1.AddToGroupVersion(s, GroupVersion)
	return nil
}
