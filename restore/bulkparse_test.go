package restore

import (
	"fmt"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestParseBulk(t *testing.T) {
	answer := `{"took":3,"errors":true,"items":[
	 {"index":{"_index":"i","_id":"a\"b","_version":1,"result":"created","_shards":{"total":1},"status":201}},
	 {"index":{"_index":"i","_id":"2","status":400,"error":{"type":"document_parsing_exception","reason":"bad ] }","caused_by":{"type":"x","reason":"deep"}}}},
	 {"delete":{"_id":"é","result":"not_found","status":404}}
	], "x":null}`
	var got []string
	n, err := parseBulk([]byte(answer), func(i int, o *outcome) error {
		s := fmt.Sprintf("%d %s %s %d", i, o.id, o.result, o.status)
		if o.err != nil {
			typ, reason := o.cause()
			s += " " + typ + "|" + reason
		}
		if i == 0 {
			require.True(t, o.sameID(`a"b`))
			require.False(t, o.sameID(`a\"b`))
		}
		got = append(got, s)
		return nil
	})
	require.NoError(t, err)
	require.Equal(t, 3, n)
	require.Equal(t, []string{
		`0 a\"b created 201`,
		`1 2  400 document_parsing_exception|bad ] }: deep`,
		`2 é not_found 404`,
	}, got)
}

func TestParseBulkRefusesWhatIsNoWholeAnswer(t *testing.T) {
	whole := `{"took":1,"items":[{"index":{"_id":"1","result":"created","status":201}}]}`
	nop := func(int, *outcome) error { return nil }
	for i := range len(whole) {
		_, err := parseBulk([]byte(whole[:i]), nop)
		require.Error(t, err, whole[:i])
	}
	for _, bad := range []string{
		`{"took":1}`, `[]`, whole + "x", `{"items":[{}]}`, `{"items":[{"index":{"_id":1}}]}`, `{"items":[],"items":[]}`,
		`{"items":[{"index":{"status":"no"}}]}`, `{"items":[{"index":{},"index":{}}]}`,
	} {
		_, err := parseBulk([]byte(bad), nop)
		require.Error(t, err, bad)
	}
}

func FuzzParseBulk(f *testing.F) {
	f.Add([]byte(`{"items":[{"index":{"_id":"1","result":"created","status":201,"error":{"type":"x"}}}]}`))
	f.Fuzz(func(t *testing.T, b []byte) {
		calls := 0
		n, err := parseBulk(b, func(i int, o *outcome) error {
			calls++
			if o.err != nil {
				o.cause()
			}
			o.sameID("1")
			return nil
		})
		if err == nil && n != calls {
			t.Fatalf("%d items, %d calls", n, calls)
		}
	})
}

func BenchmarkParseBulk(b *testing.B) {
	var sb strings.Builder
	sb.WriteString(`{"took":30,"errors":false,"items":[`)
	for i := range 5000 {
		if i > 0 {
			sb.WriteByte(',')
		}
		fmt.Fprintf(&sb, `{"index":{"_index":"logs","_id":"%d","_version":1,"result":"created","_shards":{"total":1,"successful":1,"failed":0},"_seq_no":%d,"_primary_term":1,"status":201}}`, i, i)
	}
	sb.WriteString(`]}`)
	answer := []byte(sb.String())
	b.SetBytes(int64(len(answer)))
	b.ReportAllocs()
	for b.Loop() {
		if _, err := parseBulk(answer, func(int, *outcome) error { return nil }); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkEncode(b *testing.B) {
	d := Document{Index: "logs", ID: "abcdefghijklmnop", Routing: "r", Source: []byte(`{"m":"` + strings.Repeat("x", 800) + `"}`)}
	batch := &batch{}
	b.SetBytes(int64(len(d.Source)))
	b.ReportAllocs()
	for i := 0; b.Loop(); i++ {
		if i%5000 == 0 {
			batch.reset(5 << 20)
		}
		if err := batch.add(&d, uint64(i), d.Index); err != nil {
			b.Fatal(err)
		}
	}
}
