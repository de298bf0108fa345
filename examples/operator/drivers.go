package main

import (
	"github.com/escrow-backup/escrow/repository/backend"
	"github.com/escrow-backup/escrow/repository/backend/azure"
	"github.com/escrow-backup/escrow/repository/backend/b2"
	"github.com/escrow-backup/escrow/repository/backend/gcs"
	"github.com/escrow-backup/escrow/repository/backend/local"
	"github.com/escrow-backup/escrow/repository/backend/rest"
	"github.com/escrow-backup/escrow/repository/backend/s3"
	"github.com/escrow-backup/escrow/repository/backend/sftp"
	"github.com/escrow-backup/escrow/repository/backend/swift"
	"github.com/escrow-backup/escrow/repository/backend/wrap"
)

// drivers are all that a Repository can name. What fails is tried again.
func drivers() *backend.Mux {
	m := new(backend.Mux)
	for scheme, open := range map[string]backend.Opener{
		"azure": azure.Opener, "b2": b2.Opener, "gs": gcs.Opener, "local": local.Opener, "rest": rest.Opener,
		"s3": s3.Opener, "sftp": sftp.Opener, "swift": swift.Opener,
	} {
		m.Handle(scheme, wrap.RetryOpener(open, nil))
	}
	return m
}
