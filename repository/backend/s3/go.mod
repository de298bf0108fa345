module github.com/escrow-backup/escrow/repository/backend/s3

go 1.26.0

replace github.com/escrow-backup/escrow => ../../..
