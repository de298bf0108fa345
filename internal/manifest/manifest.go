// Package manifest reads objects of Kubernetes from YAML or JSON, and shows no value of theirs in an error: any of them may be a
// secret.
package manifest

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"strings"

	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"sigs.k8s.io/yaml"
)

// Object is what Parse reads into: a pointer to a struct.
type Object interface {
	runtime.Object
	// Validate names every field that cannot be used.
	Validate() error
	// String names the object for messages.
	String() string
}

// Parse reads and validates an object of that kind into b, which is empty, as is another, of the same type.
//
// A field that the type does not know is reported with an error for which runtime.IsStrictDecodingError is true; b is then
// complete but for that field. After every other error b is of no use.
func Parse(data []byte, kind schema.GroupVersionKind, b, another Object) error {
	noun := "parse " + strings.ToLower(kind.Kind)
	doc, err := yaml.YAMLToJSONStrict(data)
	if err != nil {
		return errors.New(noun + ": not valid YAML or JSON" + position(err))
	}
	if err := json.Unmarshal(doc, b); err != nil {
		var typeErr *json.UnmarshalTypeError
		if errors.As(err, &typeErr) {
			return fmt.Errorf("%s: %s: is a %s, wants %v", noun, fieldPath(typeErr.Field), strings.Fields(typeErr.Value)[0], typeErr.Type)
		}
		return errors.New(noun + ": a field has a value of the wrong form")
	}
	apiVersion, k := b.GetObjectKind().GroupVersionKind().ToAPIVersionAndKind()
	if apiVersion != kind.GroupVersion().String() || k != kind.Kind {
		return fmt.Errorf("%s: apiVersion %q, kind %q: wants %q, %q", noun, apiVersion, k, kind.GroupVersion(), kind.Kind)
	}
	if err := b.Validate(); err != nil {
		return fmt.Errorf("parse %w", err)
	}
	strict := json.NewDecoder(bytes.NewReader(doc))
	strict.DisallowUnknownFields()
	if err := strict.Decode(another); err != nil {
		// Not wrapped: IsStrictDecodingError does not look inside other errors.
		return runtime.NewStrictDecodingError([]error{fmt.Errorf("parse %v: %w", b, err)})
	}
	return nil
}

// fieldPath takes the names of embedded structs, which only Go has, out of a path.
func fieldPath(path string) string {
	var fields []string
	for f := range strings.SplitSeq(path, ".") {
		if f != "" && (f[0] < 'A' || f[0] > 'Z') {
			fields = append(fields, f)
		}
	}
	return strings.Join(fields, ".")
}

// position keeps what is safe of a YAML error: the line. The rest may quote a value.
func position(err error) string {
	_, rest, ok := strings.Cut(err.Error(), "line ")
	if !ok {
		return ""
	}
	digits := rest[:len(rest)-len(strings.TrimLeft(rest, "0123456789"))]
	if digits == "" {
		return ""
	}
	return " (line " + digits + ")"
}
