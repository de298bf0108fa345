package elastic

import (
	"fmt"
	"slices"
	"strings"
)

// Chosen is a section that was asked for, and which of its objects.
type Chosen struct {
	*Section
	objects []string // patterns of their names; nil: all
}

// Has reports whether an object is among those asked for.
func (c *Chosen) Has(name string) bool { return c.objects == nil || Match(c.objects, name) }

// Choose finds the sections that are asked for, in the order of restoring. An entry is a section's name, or a pattern of
// names, and after a slash may follow a name or pattern of objects; "default" is every section that is not opt-in, which
// no entry stands for too, and "none" alone is none. kibana says whether there is a Kibana to ask.
func Choose(entries []string, kibana bool) ([]Chosen, error) {
	if slices.Equal(entries, []string{"none"}) {
		return nil, nil
	}
	if len(entries) == 0 {
		entries = []string{"default"}
	}
	matched := map[string]bool{}
	var chosen []Chosen
	for _, s := range Sections() {
		c := Chosen{Section: s}
		whole, any := false, false
		for _, e := range entries {
			pattern, object, part := strings.Cut(e, "/")
			switch {
			case e == "default":
				matched[e] = true
				if s.OptIn {
					continue
				}
			case !Match([]string{pattern}, s.Name):
				continue
			}
			matched[e] = true
			if s.Kibana && !kibana {
				if pattern == s.Name {
					return nil, fmt.Errorf("section %s: it needs a connection to Kibana", s.Name)
				}
				continue
			}
			any = true
			if part {
				c.objects = append(c.objects, object)
			} else {
				whole = true
			}
		}
		if whole {
			c.objects = nil
		}
		if any {
			chosen = append(chosen, c)
		}
	}
	for _, e := range entries {
		if !matched[e] {
			return nil, fmt.Errorf("section %q: there is none of that name; there are %s", e, strings.Join(sectionNames(), ", "))
		}
	}
	return chosen, nil
}

func sectionNames() []string {
	var names []string
	for _, s := range Sections() {
		names = append(names, s.Name)
	}
	return names
}
