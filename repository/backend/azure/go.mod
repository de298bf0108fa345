module github.com/escrow-backup/escrow/repository/backend/azure

go 1.26.0

replace github.com/escrow-backup/escrow => ../../..
