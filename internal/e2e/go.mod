module github.com/escrow-backup/escrow/internal/e2e

go 1.26.0

replace github.com/escrow-backup/escrow => ../..

require github.com/stretchr/testify v1.12.1

require go.yaml.in/yaml/v3 v3.0.5 // indirect
