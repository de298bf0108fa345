package storage

import (
	"fmt"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
)

func (a AllowedNamespaces) from() FromNamespaces {
	if a.From == nil || *a.From == "" {
		return NamespacesFromSame
	}
	return *a.From
}

// Allows reports whether objects in the namespace, which has these labels, may use the Repository.
func (r *Repository) Allows(namespace string, nsLabels map[string]string) (bool, error) {
	if namespace == r.Namespace || r.Spec.UsagePolicy == nil {
		return namespace == r.Namespace, nil
	}
	a := r.Spec.UsagePolicy.AllowedNamespaces
	switch from := a.from(); from {
	case NamespacesFromAll:
		return true, nil
	case NamespacesFromSame:
		return false, nil
	case NamespacesFromSelector:
		// A selector that is nil selects nothing.
		s, err := metav1.LabelSelectorAsSelector(a.Selector)
		if err != nil {
			return false, fmt.Errorf("%v: spec.usagePolicy.allowedNamespaces.selector: %w", r, err)
		}
		return s.Matches(labels.Set(nsLabels)), nil
	default:
		return false, fmt.Errorf("%v: spec.usagePolicy.allowedNamespaces.from: %q is none of All, Same and Selector", r, from)
	}
}
