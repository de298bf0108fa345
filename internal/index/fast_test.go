package index

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

const zeros = "0000000000000000000000000000000000000000000000000000000000000000"

const canonical = `{"packs":[{"id":"` + zeros + `","blobs":[{"id":"` + zeros + `","type":"tree","offset":0,"length":100},{"id":"` + zeros +
	`","type":"data","offset":100,"length":4294967295,"uncompressed_length":7}]},{"id":"` + zeros + `","blobs":[]}]}`

func TestDecodeFastReadsWhatIsWritten(t *testing.T) {
	for _, text := range []string{canonical, canonical + "\n", `{"packs":[]}`} {
		fast, ok := decodeFast([]byte(text))
		require.True(t, ok, text)
		slow, err := decodeJSON([]byte(text))
		require.NoError(t, err)
		require.Equal(t, slow, fast)
	}
	for old, other := range map[string]string{
		`"packs"`: ` "packs"`, "]}]}": "]}]}]}", "4294967295": "4294967296", `100}`: `100,}`, `:7`: `:07`, `:100}`: `:}`, `:100,`: `:1e2,`,
		`"tree"`: `"treed"`, `"data"`: `""`, `:0,`: `:-0,`, "000\",\"type": "\",\"type", "},{": "}{", `:100}`[1:]: "31}",
	} {
		_, ok := decodeFast([]byte(strings.Replace(canonical, old, other, 1)))
		require.False(t, ok, other)
	}
}

// FuzzDecodeFast holds what decodeFast takes to what encoding/json makes of it.
func FuzzDecodeFast(f *testing.F) {
	f.Add([]byte(canonical))
	f.Add([]byte(`{"packs":[]}` + "\n"))
	f.Fuzz(func(t *testing.T, text []byte) {
		fast, ok := decodeFast(text)
		if !ok {
			return
		}
		slow, err := decodeJSON(text)
		require.NoError(t, err)
		require.Equal(t, slow, fast)
	})
}
