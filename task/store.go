package task

import (
	"context"
	"encoding/json"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"sync"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/yaml"

	"github.com/escrow-backup/escrow/secret"
)

// +kubebuilder:object:generate=false

// A Store is where the objects and the secrets are: the API of Kubernetes (package kube), a directory ([DirStore]) or memory
// ([MemoryStore]). Implementations may be used concurrently.
type Store interface {
	secret.Source
	// Get reads the object of into's type and that name into it. If there is none, the error wraps fs.ErrNotExist.
	Get(ctx context.Context, namespace, name string, into Object) error
	// UpdateStatus reads the object into into, has it changed, and stores its status. Where others changed the object meanwhile, it does all
	// of it again, so that change may be called more than once. An error of change ends it.
	UpdateStatus(ctx context.Context, namespace, name string, into Object, change func() error) error
}

func typeName(o Object) string { return reflect.TypeOf(o).Elem().Name() }

func notFound(o Object, namespace, name string) error {
	return fmt.Errorf("%s: %w", describe(typeName(o), namespace, name), fs.ErrNotExist)
}

// copyInto makes into what o is.
func copyInto(o, into Object) error {
	data, err := json.Marshal(o)
	if err != nil {
		return err
	}
	reflect.ValueOf(into).Elem().SetZero()
	return json.Unmarshal(data, into)
}

// +kubebuilder:object:generate=false

// MemoryStore keeps objects and secrets in memory. Its zero value is empty and ready.
type MemoryStore struct {
	// Secrets by "namespace/name" or "name".
	Secrets secret.Map

	mu      sync.Mutex
	objects map[string]Object
}

// NewMemoryStore has copies of the objects.
func NewMemoryStore(secrets secret.Map, objects ...Object) *MemoryStore {
	s := &MemoryStore{Secrets: secrets}
	for _, o := range objects {
		s.Put(o)
	}
	return s
}

func storeKey(o Object, namespace, name string) string {
	return typeName(o) + " " + namespace + "/" + name
}

// Put stores a copy of the object, status included.
func (s *MemoryStore) Put(o Object) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.objects == nil {
		s.objects = map[string]Object{}
	}
	s.objects[storeKey(o, o.GetNamespace(), o.GetName())] = o.DeepCopyObject().(Object)
}

// Delete removes the object of o's type and name, if there is one.
func (s *MemoryStore) Delete(o Object) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.objects, storeKey(o, o.GetNamespace(), o.GetName()))
}

// Secret implements secret.Source.
func (s *MemoryStore) Secret(ctx context.Context, namespace, name string) (secret.Data, error) {
	return s.Secrets.Secret(ctx, namespace, name)
}

// Get implements [Store].
func (s *MemoryStore) Get(_ context.Context, namespace, name string, into Object) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	o := s.objects[storeKey(into, namespace, name)]
	if o == nil {
		return notFound(into, namespace, name)
	}
	return copyInto(o, into)
}

// UpdateStatus implements [Store]. What else change changed is kept, too.
func (s *MemoryStore) UpdateStatus(_ context.Context, namespace, name string, into Object, change func() error) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	key := storeKey(into, namespace, name)
	if s.objects[key] == nil {
		return notFound(into, namespace, name)
	}
	if err := copyInto(s.objects[key], into); err != nil {
		return err
	}
	if err := change(); err != nil {
		return err
	}
	s.objects[key] = into.DeepCopyObject().(Object)
	return nil
}

// +kubebuilder:object:generate=false

// DirStore keeps objects in the files of a directory, an object a file, whose names end in .yaml, .yml or .json.
type DirStore struct {
	secret.Source
	dir string
	mu  sync.Mutex
}

// NewDirStore reads objects in dir, and takes secrets from elsewhere, such as secret.Dir.
func NewDirStore(dir string, secrets secret.Source) *DirStore {
	return &DirStore{Source: secrets, dir: dir}
}

// Get implements [Store].
func (s *DirStore) Get(_ context.Context, namespace, name string, into Object) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	_, err := s.find(namespace, name, into)
	return err
}

// find reads the object and returns its file.
func (s *DirStore) find(namespace, name string, into Object) (string, error) {
	entries, err := os.ReadDir(s.dir)
	if err != nil {
		return "", err
	}
	for _, e := range entries {
		if !slices.Contains([]string{".yaml", ".yml", ".json"}, filepath.Ext(e.Name())) {
			continue
		}
		file := filepath.Join(s.dir, e.Name())
		data, err := os.ReadFile(file)
		if err != nil {
			return "", err
		}
		var o metav1.PartialObjectMetadata
		if err := yaml.Unmarshal(data, &o); err != nil {
			return "", fmt.Errorf("%s: not an object of Kubernetes", file)
		}
		if o.Kind != typeName(into) || o.Name != name || o.Namespace != namespace {
			continue
		}
		reflect.ValueOf(into).Elem().SetZero()
		if err := yaml.Unmarshal(data, into); err != nil {
			return "", fmt.Errorf("%s: a field has a value of the wrong form", file)
		}
		return file, nil
	}
	return "", fmt.Errorf("%s: %w", s.dir, notFound(into, namespace, name))
}

// UpdateStatus implements [Store]: the file is replaced as a whole.
func (s *DirStore) UpdateStatus(_ context.Context, namespace, name string, into Object, change func() error) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	file, err := s.find(namespace, name, into)
	if err != nil {
		return err
	}
	if err := change(); err != nil {
		return err
	}
	data, err := yaml.Marshal(into)
	if strings.HasSuffix(file, ".json") {
		data, err = json.MarshalIndent(into, "", "  ")
	}
	if err != nil {
		return err
	}
	next := file + ".new"
	if err := os.WriteFile(next, data, 0o600); err != nil {
		return err
	}
	return os.Rename(next, file)
}
