package layout

import (
	"testing"

	"github.com/stretchr/testify/require"
)

func TestIDLines(t *testing.T) {
	docs := []Document{
		{ID: "plain", SeqNo: 3}, {ID: `a "quote"`, Routing: "r", SeqNo: 7}, {ID: `\`, SeqNo: 8}, {ID: `\"`, Routing: `","`, SeqNo: 9},
		{ID: "new\nline\tand \x01", SeqNo: 20}, {ID: "é日", Versioned: true, Version: 5, SeqNo: 21}, {ID: "", SeqNo: 22},
	}
	var b []byte
	last := int64(2)
	for i, d := range docs {
		b = AppendID(b, d.SeqNo-last, uint64(i), &d)
		last = d.SeqNo
	}
	n := 0
	require.NoError(t, ReadIDs(b, 2, func(l *IDLine) error {
		want := docs[n]
		require.Equal(t, string(AppendString(nil, want.ID)), string(l.ID()))
		require.Equal(t, want.SeqNo, l.SeqNo)
		require.Equal(t, uint64(n), l.Low)
		got, err := l.Document()
		require.NoError(t, err)
		require.Equal(t, Document{ID: want.ID, Routing: want.Routing, SeqNo: want.SeqNo, Deleted: true}, got)
		n++
		return nil
	}))
	require.Len(t, docs, n)
	require.Nil(t, (&IDLine{names: []byte(`5]`)}).ID())
	require.Nil(t, (&IDLine{names: []byte(`"never ends\"`)}).ID())
}
