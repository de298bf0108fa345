package repository

import (
	"runtime/debug"
	"strings"
)

const modulePath = "github.com/escrow-backup/escrow"

// programVersion is what snapshots say about who wrote them, such as "escrow 1.2.3".
func programVersion() string {
	version := "(devel)"
	if info, ok := debug.ReadBuildInfo(); ok {
		for _, m := range append(info.Deps, &info.Main) {
			if m.Path == modulePath && m.Version != "" {
				version = m.Version
			}
		}
	}
	return "escrow " + strings.TrimPrefix(version, "v")
}
