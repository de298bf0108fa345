package controller

import (
	"context"
	"fmt"
	"slices"

	corev1 "k8s.io/api/core/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	"k8s.io/apimachinery/pkg/api/equality"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/escrow-backup/escrow/task"
)

// account makes the ServiceAccount, and lets it have the ClusterRole in each of the namespaces. Neither belongs to one session: both are
// made once, and stay for the next ones.
func (o *Operator) access(ctx context.Context, role, namespace, account string, own bool, in ...string) error {
	labels := map[string]string{task.LabelManagedBy: "stash.appscode.com"}
	if own {
		a := &corev1.ServiceAccount{ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: account, Labels: labels}}
		if found, err := o.get(ctx, namespace, account, new(corev1.ServiceAccount)); err != nil {
			return fmt.Errorf("service account %s/%s: %w", namespace, account, err)
		} else if !found {
			if err := client.IgnoreAlreadyExists(o.Client.Create(ctx, a)); err != nil {
				return fmt.Errorf("service account %s/%s: %w", namespace, account, err)
			}
		}
	}
	slices.Sort(in)
	for _, ns := range slices.Compact(in) {
		b := &rbacv1.RoleBinding{
			ObjectMeta: metav1.ObjectMeta{Namespace: ns, Name: role + "-" + namespace + "-" + account, Labels: labels},
			RoleRef:    rbacv1.RoleRef{APIGroup: rbacv1.GroupName, Kind: "ClusterRole", Name: role},
			Subjects:   []rbacv1.Subject{{Kind: rbacv1.ServiceAccountKind, Namespace: namespace, Name: account}},
		}
		if err := o.bind(ctx, b); err != nil {
			return fmt.Errorf("role binding %s/%s: %w", ns, b.Name, err)
		}
	}
	return nil
}

func (o *Operator) bind(ctx context.Context, b *rbacv1.RoleBinding) error {
	var there rbacv1.RoleBinding
	found, err := o.get(ctx, b.Namespace, b.Name, &there)
	if err != nil {
		return err
	}
	if !found {
		return client.IgnoreAlreadyExists(o.Client.Create(ctx, b))
	}
	if there.RoleRef != b.RoleRef {
		return &foreignError{&there}
	}
	if equality.Semantic.DeepEqual(there.Subjects, b.Subjects) {
		return nil
	}
	there.Subjects = b.Subjects
	return o.Client.Update(ctx, &there)
}
