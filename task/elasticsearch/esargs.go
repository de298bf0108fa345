package elasticsearch

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"github.com/elastic/elastic-transport-go/v8/elastictransport"
)

// dumpArgs is what of the arguments of multielasticdump means something here.
type dumpArgs struct {
	match       string
	concurrency int
	templates   bool // are wanted
	// ignored are the arguments without effect, each with the reason.
	ignored []string
}

// split cuts a command line at blanks that are in no quotes, as a shell does.
func split(s string) ([]string, error) {
	var out []string
	var word strings.Builder
	inWord, quote := false, rune(0)
	escaped := false
	for _, r := range s {
		switch {
		case escaped:
			word.WriteRune(r)
			escaped = false
		case quote != 0 && r == quote:
			quote = 0
		case r == '\\' && quote == '"':
			escaped = true
		case quote != 0:
			word.WriteRune(r)
		case r == '\'' || r == '"':
			quote, inWord = r, true
		case r == ' ' || r == '\t' || r == '\n':
			if inWord {
				out = append(out, word.String())
				word.Reset()
				inWord = false
			}
		default:
			word.WriteRune(r)
			inWord = true
		}
	}
	if quote != 0 || escaped {
		return nil, errors.New("a quote is not closed")
	}
	if inWord {
		out = append(out, word.String())
	}
	return out, nil
}

// parseDumpArgs reads "--name=value", "--name value" and "--name".
func parseDumpArgs(s string) (*dumpArgs, error) {
	words, err := split(s)
	if err != nil {
		return nil, usagef("--es-args: %v", err)
	}
	d := &dumpArgs{templates: true}
	for i := 0; i < len(words); i++ {
		name, isFlag := strings.CutPrefix(words[i], "--")
		if !isFlag {
			return nil, usagef("--es-args: unexpected %q", words[i])
		}
		name, value, given := strings.Cut(name, "=")
		if !given && i+1 < len(words) && !strings.HasPrefix(words[i+1], "--") {
			i++
			value = words[i]
		}
		switch name {
		case "match":
			d.match = value
		case "concurrency", "parallel":
			if d.concurrency, err = strconv.Atoi(value); err != nil || d.concurrency < 1 {
				return nil, usagef("--es-args: --%s: %q is no number of requests", name, value)
			}
		case "includeType":
			d.templates = slices.Contains(list(value), "template")
			d.note(name, "only template chooses anything: an index is backed up with all that belongs to it")
		case "ignoreType":
			types := list(value)
			d.templates = d.templates && !slices.Contains(types, "template")
			if slices.Contains(types, "data") {
				return nil, usagef("--es-args: --ignoreType=data: a backup without documents is none")
			}
			if slices.ContainsFunc(types, func(t string) bool { return t != "template" }) {
				d.note(name, "only template can be left out: an index is backed up with all that belongs to it")
			}
		case "searchBody", "transform", "sourceOnly", "skip", "size", "offset", "quiet-errors", "ignore-errors":
			if name == "searchBody" || name == "transform" || name == "size" && value != "-1" {
				return nil, usagef("--es-args: --%s: would back up a part of the documents, and is not supported", name)
			}
			d.note(name, "has no effect")
		case "limit", "scrollTime", "timeout", "maxSockets", "fsCompress", "fileSize", "retryAttempts", "retryDelay", "noRefresh", "debug",
			"quiet", "bulkAction", "interval", "order", "direction", "support-big-int", "big-int-fields", "prefix", "suffix", "headers":
			d.note(name, "is not needed")
		default:
			d.note(name, "is not known")
		}
	}
	return d, nil
}

func (d *dumpArgs) note(name, why string) {
	d.ignored = append(d.ignored, fmt.Sprintf("--es-args: --%s: %s", name, why))
}

// matcher is what the regular expression chooses. Go's have no lookahead, but the one at the beginning, which is in Stash's documentation, says
// what is left out: ^(?!\.).+ are all names that begin with no dot.
func (d *dumpArgs) matcher() (func(name string) bool, error) {
	compile := func(s string) (*regexp.Regexp, error) {
		r, err := regexp.Compile(s)
		if err != nil {
			return nil, usagef("--es-args: --match: %v", err)
		}
		return r, nil
	}
	pattern := d.match
	var not *regexp.Regexp
	if rest, found := strings.CutPrefix(pattern, "^(?!"); found {
		end := closing(rest)
		if end < 0 {
			return nil, usagef("--es-args: --match: a group is not closed")
		}
		var err error
		if not, err = compile("^(?:" + rest[:end] + ")"); err != nil {
			return nil, err
		}
		pattern = "^" + rest[end+1:]
	}
	yes, err := compile(pattern)
	if err != nil {
		return nil, err
	}
	return func(name string) bool { return yes.MatchString(name) && (not == nil || !not.MatchString(name)) }, nil
}

// closing is where the group that s is in ends.
func closing(s string) int {
	depth := 0
	for i := 0; i < len(s); i++ {
		switch s[i] {
		case '\\':
			i++
		case '(':
			depth++
		case ')':
			if depth == 0 {
				return i
			}
			depth--
		}
	}
	return -1
}

// choose gives the names among them that the expression matches.
func (d *dumpArgs) choose(names []string) ([]string, error) {
	if d.match == "" {
		return nil, nil
	}
	match, err := d.matcher()
	if err != nil {
		return nil, err
	}
	var out []string
	for _, n := range names {
		if match(n) {
			out = append(out, n)
		}
	}
	if len(out) == 0 {
		return nil, fmt.Errorf("--es-args: --match=%s matches none of %d indices", d.match, len(names))
	}
	return out, nil
}

// sections are what else is backed up or restored.
func (d *dumpArgs) sections() []string {
	if d.templates {
		return nil
	}
	return []string{"stored_scripts", "ingest_pipelines", "slm_policies", "ilm_policies", "enrich_policies", "transforms", "watches"}
}

// names are the indices and data streams of the cluster. Backing indices stand for their data stream.
func names(ctx context.Context, es elastictransport.Interface) ([]string, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "/_resolve/index/*?expand_wildcards=open,hidden", nil)
	if err != nil {
		return nil, err
	}
	res, err := es.Perform(req)
	if err != nil {
		return nil, fmt.Errorf("list indices: %w", err)
	}
	defer func() { _ = res.Body.Close() }() // read to its end, or of no use
	body, err := io.ReadAll(res.Body)
	if err != nil {
		return nil, fmt.Errorf("list indices: %w", err)
	}
	if res.StatusCode != http.StatusOK {
		return nil, fmt.Errorf("list indices: the cluster answers %s", res.Status)
	}
	var answer struct {
		Indices []struct {
			Name       string `json:"name"`
			DataStream string `json:"data_stream"`
		} `json:"indices"`
		DataStreams []struct {
			Name string `json:"name"`
		} `json:"data_streams"`
	}
	if err := json.Unmarshal(body, &answer); err != nil {
		return nil, fmt.Errorf("list indices: %w", err)
	}
	var out []string
	for _, i := range answer.Indices {
		if i.DataStream == "" {
			out = append(out, i.Name)
		}
	}
	for _, d := range answer.DataStreams {
		out = append(out, d.Name)
	}
	slices.Sort(out)
	return out, nil
}
