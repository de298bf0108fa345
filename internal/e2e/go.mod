module github.com/escrow-backup/escrow/internal/e2e

go 1.26.0

replace github.com/escrow-backup/escrow => ../..

require (
	github.com/elastic/elastic-transport-go/v8 v8.11.0
	github.com/stretchr/testify v1.12.1
)

require (
	github.com/go-logr/logr v1.4.3 // indirect
	github.com/go-logr/stdr v1.2.2 // indirect
	go.opentelemetry.io/otel v1.29.0 // indirect
	go.opentelemetry.io/otel/metric v1.29.0 // indirect
	go.opentelemetry.io/otel/trace v1.29.0 // indirect
	go.yaml.in/yaml/v3 v3.0.5 // indirect
)
