package task

import (
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"
)

// +kubebuilder:object:generate=false

// Variables are values by name.
type Variables map[string]string

// +kubebuilder:object:generate=false

// UndefinedError says which variables are used and have neither a value nor a default, all of them at once.
type UndefinedError struct {
	// Variables are the names, each with the places that use it, such as "function elasticsearch-backup: args[3]".
	Variables map[string][]string
}

// Error names the variables and the first place of each.
func (e *UndefinedError) Error() string {
	var parts []string
	for _, name := range slices.Sorted(maps.Keys(e.Variables)) {
		parts = append(parts, fmt.Sprintf("${%s} (%s)", name, e.Variables[name][0]))
	}
	return "undefined variables: " + strings.Join(parts, ", ")
}

// +kubebuilder:object:generate=false

// expander replaces variables in strings and keeps what goes wrong until the end.
type expander struct {
	vars      Variables
	undefined map[string][]string
	errs      []error
}

// expand replaces ${X} and ${X:=default} in s; $${ stands for ${. The default is used where X has no value at all, not where it
// is empty. Values are not looked into again.
func (e *expander) expand(at, s string) string {
	if !strings.Contains(s, "${") {
		return s
	}
	var out strings.Builder
	for {
		i := strings.Index(s, "${")
		if i < 0 {
			out.WriteString(s)
			return out.String()
		}
		if i > 0 && s[i-1] == '$' {
			out.WriteString(s[:i-1] + "${")
			s = s[i+2:]
			continue
		}
		out.WriteString(s[:i])
		body, rest, closed := strings.Cut(s[i+2:], "}")
		if !closed {
			e.errs = append(e.errs, fmt.Errorf("%s: a variable has no closing brace", at))
			return out.String()
		}
		name, fallback, optional := strings.Cut(body, ":=")
		value, found := e.vars[name]
		switch {
		case !variableName(name):
			e.errs = append(e.errs, fmt.Errorf("%s: ${%s} is not a variable: want ${NAME} or ${NAME:=default}", at, name))
		case found:
			out.WriteString(value)
		case optional:
			out.WriteString(fallback)
		default:
			if e.undefined == nil {
				e.undefined = map[string][]string{}
			}
			e.undefined[name] = append(e.undefined[name], at)
		}
		s = rest
	}
}

func variableName(s string) bool {
	for i, r := range s {
		letter := r == '_' || r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z'
		if !letter && (i == 0 || (r < '0' || r > '9') && r != '-' && r != '.') {
			return false
		}
	}
	return s != ""
}

// expandIn replaces variables in every string of v, keys of maps included, and stores the result in out. It goes through
// what was parsed, so that no value can change the structure.
func expandIn[T any](e *expander, at string, v *T) (*T, error) {
	data, err := json.Marshal(v)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", at, err)
	}
	var tree any
	d := json.NewDecoder(strings.NewReader(string(data)))
	d.UseNumber()
	if err := d.Decode(&tree); err != nil {
		return nil, fmt.Errorf("%s: %w", at, err)
	}
	tree = e.walk(at, "", tree)
	if data, err = json.Marshal(tree); err != nil {
		return nil, fmt.Errorf("%s: %w", at, err)
	}
	out := new(T)
	if err := json.Unmarshal(data, out); err != nil {
		return nil, fmt.Errorf("%s: %w", at, err)
	}
	return out, nil
}

// Expand gives a copy of v with the variables in its strings replaced, as [Resolve] does it. at names v in errors; one wraps an [*UndefinedError] if
// variables without a default have no value.
func Expand[T any](at string, v *T, vars Variables) (*T, error) {
	e := &expander{vars: vars}
	out, err := expandIn(e, at, v)
	if err == nil {
		err = e.err()
	}
	if err != nil {
		return nil, err
	}
	return out, nil
}

func (e *expander) walk(at, path string, v any) any {
	place := at + ": " + strings.TrimPrefix(path, ".")
	switch v := v.(type) {
	case string:
		return e.expand(place, v)
	case []any:
		for i := range v {
			v[i] = e.walk(at, fmt.Sprintf("%s[%d]", path, i), v[i])
		}
	case map[string]any:
		out := make(map[string]any, len(v))
		for _, k := range slices.Sorted(maps.Keys(v)) {
			out[e.expand(place, k)] = e.walk(at, path+"."+k, v[k])
		}
		return out
	}
	return v
}

func (e *expander) err() error {
	if len(e.errs) > 0 {
		return e.errs[0]
	}
	if len(e.undefined) > 0 {
		return &UndefinedError{Variables: e.undefined}
	}
	return nil
}
