module github.com/escrow-backup/escrow/repository/backend/gcs

go 1.26.0

replace github.com/escrow-backup/escrow => ../../..
