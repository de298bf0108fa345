package deps
import (
 _ "github.com/elastic/elastic-transport-go/v8/elastictransport"
 _ "github.com/elastic/go-elasticsearch/v8"
 _ "github.com/klauspost/compress/zstd"
 _ "github.com/stretchr/testify/require"
 _ "github.com/zeebo/xxh3"
 _ "go.uber.org/goleak"
 _ "golang.org/x/crypto/poly1305"
 _ "golang.org/x/crypto/scrypt"
 _ "golang.org/x/sync/errgroup"
 _ "golang.org/x/sys/unix"
 _ "k8s.io/apimachinery/pkg/apis/meta/v1"
 _ "k8s.io/apimachinery/pkg/runtime"
 _ "sigs.k8s.io/yaml"
)
