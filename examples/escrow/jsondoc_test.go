package main

import (
	"go/ast"
	"go/parser"
	"go/token"
	"os"
	"reflect"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// printed gives the names of the fields of every struct that is printed with --json.
func printed(t *testing.T) (all []string) {
	t.Helper()
	files, err := os.ReadDir(".")
	require.NoError(t, err)
	for _, file := range files {
		if !strings.HasSuffix(file.Name(), ".go") || strings.HasSuffix(file.Name(), "_test.go") {
			continue
		}
		f, err := parser.ParseFile(token.NewFileSet(), file.Name(), nil, 0)
		require.NoError(t, err)
		ast.Inspect(f, func(n ast.Node) bool {
			s, ok := n.(*ast.StructType)
			if !ok {
				return true
			}
			var names []string
			for _, field := range s.Fields.List {
				if field.Tag == nil {
					continue
				}
				text, err := strconv.Unquote(field.Tag.Value)
				require.NoError(t, err)
				name, _, _ := strings.Cut(reflect.StructTag(text).Get("json"), ",")
				names = append(names, name)
			}
			if len(names) > 0 && names[0] == "message_type" {
				all = append(all, ordered(names[1:]))
			}
			return true
		})
	}
	return all
}

func ordered(names []string) string {
	slices.Sort(names)
	return strings.Join(names, " ")
}

// The package's comment names the fields of all that --json prints, and nothing else.
func TestJSONIsDocumented(t *testing.T) {
	text, err := os.ReadFile("main.go")
	require.NoError(t, err)
	_, list, ok := strings.Cut(string(text), "// # JSON\n")
	require.True(t, ok)
	list, _, ok = strings.Cut(list, "// A summary is the last line.")
	require.True(t, ok)
	const continued = "//\t               "
	var entries []string
	for line := range strings.Lines(list) {
		switch rest, more := strings.CutPrefix(line, continued); {
		case !strings.HasPrefix(line, "//\t"):
		case more:
			entries[len(entries)-1] += " " + strings.TrimSpace(rest)
		default:
			_, fields, ok := strings.Cut(line, ": ")
			require.True(t, ok, line)
			entries = append(entries, strings.TrimSpace(fields))
		}
	}
	for i, e := range entries {
		e = regexp.MustCompile(` \([^)]*\)|and where known `).ReplaceAllString(e, "")
		entries[i] = ordered(strings.Split(e, ", "))
	}
	want := printed(t)
	require.Greater(t, len(want), 30)
	slices.Sort(want)
	slices.Sort(entries)
	require.Equal(t, want, entries)
}
