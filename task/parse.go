package task

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"sigs.k8s.io/yaml"

	"github.com/escrow-backup/escrow/internal/manifest"
)

// +kubebuilder:object:generate=false

// Object is any object of this package, of package storage or of package appbinding.
type Object interface {
	runtime.Object
	metav1.Object
	// Validate returns an error that names every field that cannot be used, each on a line of its own.
	Validate() error
	// String names the object, such as "backupsession namespace/name".
	String() string
}

// kinds makes an empty object of each kind.
var kinds = map[string]func() Object{
	KindFunction:            func() Object { return new(Function) },
	KindTask:                func() Object { return new(Task) },
	KindBackupConfiguration: func() Object { return new(BackupConfiguration) },
	KindBackupSession:       func() Object { return new(BackupSession) },
	KindRestoreSession:      func() Object { return new(RestoreSession) },
	KindBackupBlueprint:     func() Object { return new(BackupBlueprint) },
	KindBackupBatch:         func() Object { return new(BackupBatch) },
	KindRestoreBatch:        func() Object { return new(RestoreBatch) },
}

// Parse reads one object of this package from YAML or JSON, and validates it. What kind it is of says its type.
//
// A field that this package does not know is reported with an error for which runtime.IsStrictDecodingError is true; the
// object is then returned too, complete but for that field, and the caller decides. Every other error comes with nil.
func Parse(data []byte) (Object, error) {
	var t metav1.TypeMeta
	// An error may quote a value: package manifest says it without.
	_ = yaml.Unmarshal(data, &t)
	empty := kinds[t.Kind]
	if empty == nil && t.Kind != "" {
		return nil, fmt.Errorf("parse: kind %q: want one of %s", t.Kind, strings.Join(slices.Sorted(maps.Keys(kinds)), ", "))
	}
	if empty == nil {
		return nil, errors.New("parse: not an object of Kubernetes: it has no kind")
	}
	o := empty()
	err := manifest.Parse(data, GroupVersion.WithKind(t.Kind), o, empty())
	if err != nil && !runtime.IsStrictDecodingError(err) {
		return nil, err
	}
	return o, err
}
