package storage

import (
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
)

// Kind of a Repository.
const Kind = "Repository"

// GroupVersion is the API group and version of this package's objects.
var GroupVersion = schema.GroupVersion{Group: "stash.appscode.com", Version: "v1alpha1"}

// AddToScheme makes the types known to a scheme, so that clients of Kubernetes can read and write them.
func AddToScheme(s *runtime.Scheme) error {
	s.AddKnownTypes(GroupVersion, &Repository{}, &RepositoryList{})
	metav1.AddToGroupVersion(s, GroupVersion)
	return nil
}
