package query

import (
	"fmt"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/escrow-backup/escrow/layout"
)

func TestMatch(t *testing.T) {
	d := layout.Document{Index: "i", ID: "7", Routing: "r", Source: []byte(`{"user":{"id":"kim","tags":["a","b"]},"a.b":{"c":5},
	 "n":9007199254740993,"f":1.50,"yes":true,"nil":null,"none":[],"@timestamp":"2026-01-02T10:00:00.250Z","ms":1767348000250,
	 "list":[{"k":"x","v":1},{"k":"y","v":2}],"word":"fox","digits":"12","esc":"\u00e9"}`)}
	for q, want := range map[string]bool{
		`{"match_all":{}}`:                                                true,
		`{"ids":{"values":["7","8"]}}`:                                    true,
		`{"ids":{"values":[]}}`:                                           false,
		`{"term":{"user.id":"kim"}}`:                                      true,
		`{"term":{"user.id":"Kim"}}`:                                      false,
		`{"term":{"user":"kim"}}`:                                         false,
		`{"term":{"user.id.x":"kim"}}`:                                    false,
		`{"term":{"user.tags":{"value":"b"}}}`:                            true,
		`{"term":{"a.b.c":5.0}}`:                                          true,
		`{"term":{"a.b.c":"5"}}`:                                          true,
		`{"term":{"n":9007199254740992}}`:                                 false,
		`{"term":{"n":9007199254740993}}`:                                 true,
		`{"term":{"f":15e-1}}`:                                            true,
		`{"term":{"yes":true}}`:                                           true,
		`{"term":{"yes":"true"}}`:                                         true,
		`{"term":{"esc":"é"}}`:                                            true,
		`{"term":{"_id":7}}`:                                              true,
		`{"term":{"_routing":"r"}}`:                                       true,
		`{"terms":{"list.k":["z","y"]}}`:                                  true,
		`{"terms":{"list.k":["z"]}}`:                                      false,
		`{"prefix":{"word":"fo"}}`:                                        true,
		`{"prefix":{"word":"ox"}}`:                                        false,
		`{"exists":{"field":"user.tags"}}`:                                true,
		`{"exists":{"field":"nil"}}`:                                      false,
		`{"exists":{"field":"none"}}`:                                     false,
		`{"range":{"n":{"gt":9007199254740992}}}`:                         true,
		`{"range":{"n":{"gt":9007199254740993}}}`:                         false,
		`{"range":{"f":{"gte":1.5,"lt":1.6}}}`:                            true,
		`{"range":{"f":{"lt":1e99999999}}}`:                               true,
		`{"range":{"digits":{"gte":12,"lte":12}}}`:                        true,
		`{"range":{"list.v":{"gt":1}}}`:                                   true,
		`{"range":{"word":{"gte":"fo","lt":"fp"}}}`:                       true,
		`{"range":{"gone":{"gte":1}}}`:                                    false,
		`{"range":{"@timestamp":{"gte":"2026-01-02","lt":"2026-01-03"}}}`: true,
		`{"range":{"@timestamp":{"gte":"2026-01-02T11:00:00.250+01:00","lte":"2026-01-02T10:00:00.250Z"}}}`: true,
		`{"range":{"@timestamp":{"gt":"2026-01-02T10:00:00.250Z"}}}`:                                        false,
		`{"range":{"ms":{"gte":"2026-01-02T10:00:00.250Z","lt":"2026-01-02T10:00:00.251Z"}}}`:               true,
		`{"bool":{}}`: true,
		`{"bool":{"must":{"term":{"word":"fox"}},"must_not":[{"exists":{"field":"nil"}}]}}`: true,
		`{"bool":{"filter":[{"term":{"word":"fox"}},{"term":{"word":"dog"}}]}}`:             false,
		`{"bool":{"should":[{"term":{"word":"dog"}},{"term":{"word":"fox"}}]}}`:             true,
		`{"bool":{"should":[{"term":{"word":"dog"}}]}}`:                                     false,
		`{"bool":{"must":[{"match_all":{}}],"should":[{"term":{"word":"dog"}}]}}`:           true,
		`{"bool":{"must_not":[{"term":{"word":"fox"}}]}}`:                                   false,
	} {
		p, err := Parse([]byte(q))
		require.NoError(t, err, q)
		got, err := p.Match(&d)
		require.NoError(t, err, q)
		require.Equal(t, want, got, q)
	}
}

func TestWhatIsNotUnderstoodIsAnError(t *testing.T) {
	for q, want := range map[string]string{
		``:                                     "query: EOF",
		`[]`:                                   "an object with one member",
		`{}`:                                   "an object with one member",
		`{"match":{"a":"b"}}`:                  "match: it is none of",
		`{"match_all":{"boost":2}}`:            "match_all: want {}",
		`{"match_all":{}} x`:                   "something follows it",
		`{"ids":{"value":["1"]}}`:              `unknown field "value"`,
		`{"term":{"a":{"value":1,"boost":2}}}`: `term: a: json: unknown field "boost"`,
		`{"term":{"a":null}}`:                  "no text, number or boolean",
		`{"term":{"a":{}}}`:                    "no text, number or boolean",
		`{"term":{"a":1,"b":2}}`:               "one member",
		`{"terms":{"a":"b"}}`:                  "terms: a: ",
		`{"exists":{}}`:                        "no field",
		`{"range":{"a":{"from":1}}}`:           "range: a: from is not supported",
		`{"range":{"a":{"gte":"now-1d"}}}`:     "date math is not supported",
		`{"range":{"a":{"gte":true}}}`:         "no text or number",
		`{"range":{"a":{}}}`:                   "want an object with gt",
		`{"bool":{"boost":1}}`:                 "bool: boost is not supported",
		`{"bool":{"must":[{"fuzzy":{}}]}}`:     "bool: must: fuzzy: it is none of",
	} {
		_, err := Parse([]byte(q))
		require.ErrorContains(t, err, want, q)
	}
	for source, q := range map[string]string{
		`{"a":"x"}`:     `{"range":{"a":{"gte":1}}}`,
		`{"a":"soon"}`:  `{"range":{"a":{"gte":"2026-01-01"}}}`,
		`{"a":{"b":1}}`: `{"range":{"a":{"gte":"2026-01-01"}}}`,
		`{"a":5}`:       `{"range":{"a":{"gte":"x"}}}`,
		`{"a":`:         `{"exists":{"field":"a"}}`,
	} {
		p, err := Parse([]byte(q))
		require.NoError(t, err)
		_, err = p.Match(&layout.Document{Index: "i", ID: "1", Source: []byte(source)})
		require.ErrorContains(t, err, `index i: document "1": `, source)
	}
}

func TestBetween(t *testing.T) {
	at := func(s string) time.Time {
		v, err := ParseTime(s)
		require.NoError(t, err)
		return v
	}
	q := Between("@timestamp", at("2026-01-02"), at("2026-01-03T00:00:00+01:00"))
	for v, want := range map[string]bool{
		`"2026-01-02"`: true, `"2026-01-02T22:59:59.999999999Z"`: true, `"2026-01-02T23:00:00Z"`: false, `"2026-01-01T23:59:59,9Z"`: false,
		`1767312000000`: true, `1767311999999.9`: false, `"1767312000000"`: true, `99999999999999999`: false, `null`: false,
	} {
		got, err := q.Match(&layout.Document{Source: fmt.Appendf(nil, `{"@timestamp":%s}`, v)})
		require.NoError(t, err, v)
		require.Equal(t, want, got, v)
	}
	open := Between("t", time.Time{}, time.Time{})
	ok, err := open.Match(&layout.Document{Source: []byte(`{"t":"1999"}`)})
	require.NoError(t, err)
	require.True(t, ok)
	_, err = open.Match(&layout.Document{Source: []byte(`{"t":"never"}`)})
	require.ErrorContains(t, err, `field t: "never" is no time`)
}

func FuzzParse(f *testing.F) {
	f.Add(`{"bool":{"must":[{"range":{"a.b":{"gte":"2026"}}}]}}`, `{"a":[{"b":1e400}]}`)
	f.Add(`{"term":{"a":1}}`, `{"a":1.0}`)
	f.Fuzz(func(t *testing.T, q, source string) {
		p, err := Parse([]byte(q))
		if err != nil {
			return
		}
		d := layout.Document{ID: "1", Source: []byte(source)}
		first, ferr := p.Match(&d)
		again, aerr := p.Match(&d)
		require.Equal(t, ferr == nil, aerr == nil)
		require.Equal(t, first, again)
	})
}
