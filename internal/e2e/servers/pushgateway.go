package servers

import (
	"fmt"
	"testing"

	"github.com/escrow-backup/escrow/internal/e2e/need"
)

// Pushgateway starts Prometheus' Pushgateway and returns its URL.
func Pushgateway(t testing.TB) string {
	t.Helper()
	program := need.Program(t, "prometheus-pushgateway", "apt-get install prometheus-pushgateway")
	addr := fmt.Sprintf("127.0.0.1:%d", freePort(t))
	start(t, nil, program, "--web.listen-address="+addr).awaitPort(t, addr)
	return "http://" + addr
}
