package kubelet

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"

	authv1 "k8s.io/api/authentication/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// volumes makes the pod's volumes and returns their paths on this machine by name. It may be called again after an error.
func (p *pod) volumes(ctx context.Context) (map[string]string, error) {
	paths := map[string]string{}
	for i := range p.object.Spec.Volumes {
		v := &p.object.Spec.Volumes[i]
		path, err := p.volume(ctx, v)
		if err != nil {
			return nil, fmt.Errorf("volume %s: %w", v.Name, err)
		}
		paths[v.Name] = path
	}
	return paths, nil
}

func (p *pod) volume(ctx context.Context, v *corev1.Volume) (string, error) {
	f := &files{pod: p, dir: filepath.Join(p.dir, "volumes", v.Name), mode: corev1.SecretVolumeSourceDefaultMode}
	if p.object.Spec.SecurityContext != nil {
		f.group = p.object.Spec.SecurityContext.FSGroup
	}
	switch {
	case v.HostPath != nil:
		return v.HostPath.Path, nil
	case v.PersistentVolumeClaim != nil:
		return p.claim(ctx, v.PersistentVolumeClaim.ClaimName)
	case v.Ephemeral != nil:
		return p.claim(ctx, p.object.Name+"-"+v.Name)
	}
	if err := errors.Join(os.MkdirAll(f.dir, 0o777), os.Chmod(f.dir, 0o777)); err != nil {
		return "", err
	}
	var err error
	switch {
	case v.EmptyDir != nil:
	case v.Secret != nil:
		f.defaultMode(v.Secret.DefaultMode)
		err = f.secret(ctx, v.Secret.SecretName, v.Secret.Items, v.Secret.Optional)
	case v.ConfigMap != nil:
		f.defaultMode(v.ConfigMap.DefaultMode)
		err = f.configMap(ctx, v.ConfigMap.Name, v.ConfigMap.Items, v.ConfigMap.Optional)
	case v.DownwardAPI != nil:
		f.defaultMode(v.DownwardAPI.DefaultMode)
		err = f.downward(v.DownwardAPI.Items)
	case v.Projected != nil:
		f.defaultMode(v.Projected.DefaultMode)
		err = f.projected(ctx, v.Projected.Sources)
	default:
		err = errors.New("its kind is not known here")
	}
	return f.dir, err
}

// claim returns the folder behind a claim that is bound.
func (p *pod) claim(ctx context.Context, name string) (string, error) {
	claim, err := p.kubelet.client.CoreV1().PersistentVolumeClaims(p.object.Namespace).Get(ctx, name, metav1.GetOptions{})
	if err != nil {
		return "", err
	}
	if claim.Status.Phase != corev1.ClaimBound {
		return "", fmt.Errorf("claim %s is not bound", name)
	}
	v, err := p.kubelet.client.CoreV1().PersistentVolumes().Get(ctx, claim.Spec.VolumeName, metav1.GetOptions{})
	if err != nil {
		return "", err
	}
	if v.Spec.HostPath == nil {
		return "", fmt.Errorf("persistent volume %s is not a folder of this machine", v.Name)
	}
	return v.Spec.HostPath.Path, nil
}

// files writes the files of a volume.
type files struct {
	pod   *pod
	dir   string
	mode  int32
	group *int64 // who may read them beside root
}

func (f *files) defaultMode(mode *int32) {
	if mode != nil {
		f.mode = *mode
	}
}

func (f *files) write(name string, data []byte, mode *int32) error {
	path := filepath.Join(f.dir, filepath.Clean("/"+name))
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		return err
	}
	bits := os.FileMode(f.mode)
	if mode != nil {
		bits = os.FileMode(*mode)
	}
	if err := os.WriteFile(path, data, 0o600); err != nil {
		return err
	}
	if f.group != nil {
		bits |= 0o040
		if err := os.Chown(path, 0, int(*f.group)); err != nil {
			return err
		}
	}
	return os.Chmod(path, bits)
}

func (f *files) keys(data map[string][]byte, items []corev1.KeyToPath) error {
	if items == nil {
		for key := range data {
			items = append(items, corev1.KeyToPath{Key: key, Path: key})
		}
	}
	for _, item := range items {
		v, found := data[item.Key]
		if !found {
			return fmt.Errorf("key %s: %w", item.Key, errNoKey)
		}
		if err := f.write(item.Path, v, item.Mode); err != nil {
			return err
		}
	}
	return nil
}

func (f *files) secret(ctx context.Context, name string, items []corev1.KeyToPath, may *bool) error {
	data, err := f.pod.secret(ctx, name)
	if err == nil {
		err = f.keys(data, items)
	}
	if optional(may, err) {
		return nil
	}
	return err
}

func (f *files) configMap(ctx context.Context, name string, items []corev1.KeyToPath, may *bool) error {
	data, err := f.pod.configMap(ctx, name)
	if err == nil {
		err = f.keys(data, items)
	}
	if optional(may, err) {
		return nil
	}
	return err
}

func (f *files) downward(items []corev1.DownwardAPIVolumeFile) error {
	for _, item := range items {
		if item.FieldRef == nil {
			return fmt.Errorf("file %s: only fields are known here", item.Path)
		}
		value, err := f.pod.field(item.FieldRef.FieldPath)
		if err != nil {
			return err
		}
		if err := f.write(item.Path, []byte(value), item.Mode); err != nil {
			return err
		}
	}
	return nil
}

func (f *files) projected(ctx context.Context, sources []corev1.VolumeProjection) error {
	for _, s := range sources {
		var err error
		switch {
		case s.Secret != nil:
			err = f.secret(ctx, s.Secret.Name, s.Secret.Items, s.Secret.Optional)
		case s.ConfigMap != nil:
			err = f.configMap(ctx, s.ConfigMap.Name, s.ConfigMap.Items, s.ConfigMap.Optional)
		case s.DownwardAPI != nil:
			err = f.downward(s.DownwardAPI.Items)
		case s.ServiceAccountToken != nil:
			err = f.token(ctx, s.ServiceAccountToken)
		default:
			err = errors.New("a source of a kind that is not known here")
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// token writes a token of the pod's service account. It is not renewed: an hour is longer than a test.
func (f *files) token(ctx context.Context, s *corev1.ServiceAccountTokenProjection) error {
	o := f.pod.object
	request := &authv1.TokenRequest{Spec: authv1.TokenRequestSpec{
		ExpirationSeconds: s.ExpirationSeconds,
		BoundObjectRef:    &authv1.BoundObjectReference{APIVersion: "v1", Kind: "Pod", Name: o.Name, UID: o.UID},
	}}
	if s.Audience != "" {
		request.Spec.Audiences = []string{s.Audience}
	}
	accounts := f.pod.kubelet.client.CoreV1().ServiceAccounts(o.Namespace)
	answer, err := accounts.CreateToken(ctx, o.Spec.ServiceAccountName, request, metav1.CreateOptions{})
	if err != nil {
		return err
	}
	// As for everybody in the pod, whoever it runs as.
	return f.write(s.Path, []byte(answer.Status.Token), new(int32(0o644)))
}
