package e2e_test

// awkwardObjects are cases of templates, pipelines, settings of the cluster and data streams, and those whose backup or restore
// takes options of its own.
var awkwardObjects = []awkward{
	{name: "template-composable", about: "an index template made of a component template and of one that does not exist", script: `PUT /_component_template/aw-c
{"version":2,"_meta":{"a":1.0},"template":{"settings":{"index.number_of_replicas":0},"mappings":{"properties":{"a":{"type":"keyword"}}},"aliases":{"aw-ca":{"filter":{"term":{"a":"b"}}}}}}

PUT /_index_template/aw-t
{"index_patterns":["awt-*"],"composed_of":["aw-c","aw-none"],"ignore_missing_component_templates":["aw-none"],"priority":7}`, objects: []string{"/_component_template/aw-c", "/_index_template/aw-t"}},
	{name: "template-legacy", about: "a legacy template with an alias", script: `PUT /_template/aw-l
{"index_patterns":["awl-*"],"order":3,"version":9,"settings":{"index.number_of_replicas":"0"},"mappings":{"properties":{"a":{"type":"long"}}},"aliases":{"aw-la":{}}}`, objects: []string{"/_template/aw-l"}},
	{name: "stream", about: "a data stream after a rollover, with lifecycle and failure store", script: `PUT /_index_template/aw-ds
{"index_patterns":["aw-ds-*"],"data_stream":{},"priority":5,"template":{"settings":{"index.number_of_replicas":0},"lifecycle":{"data_retention":"7d"},"data_stream_options":{"failure_store":{"enabled":true}}}}

POST /aw-ds-one/_bulk?refresh=true
{"create":{"_id":"1"}}
{"@timestamp":"2025-01-01T00:00:00Z","f":1.10}

POST /aw-ds-one/_rollover

POST /aw-ds-one/_bulk?refresh=true
{"create":{"_id":"2"}}
{"@timestamp":"2025-01-02T00:00:00Z","f":2.0}`, streams: []string{"aw-ds-one"}, objects: []string{"/_index_template/aw-ds"}},
	{name: "stream-logsdb", about: "a logsdb data stream", script: `PUT /_index_template/aw-logsdb
{"index_patterns":["aw-logsdb-*"],"data_stream":{},"template":{"settings":{"index.mode":"logsdb","index.codec":"default","index.number_of_replicas":0}}}

PUT /_data_stream/aw-logsdb-one

GET /_cluster/health?wait_for_no_initializing_shards=true

POST /aw-logsdb-one/_bulk?refresh=true
{"create":{"_id":"1"}}
{"@timestamp":"2025-01-01T00:00:00Z","host.name":"h","message":"m"}`, streams: []string{"aw-logsdb-one"}, objects: []string{"/_index_template/aw-logsdb"}},
	{name: "pipeline", about: "an ingest pipeline with a version and _meta", script: `PUT /_ingest/pipeline/aw-p
{"description":"é <&>","version":3,"_meta":{"n":1.0},"processors":[]}`, objects: []string{"/_ingest/pipeline/aw-p"}},
	{name: "cluster-settings", about: "persistent settings of the cluster, if asked for", script: `PUT /_cluster/settings
{"persistent":{"indices.recovery.max_bytes_per_sec":"55mb","indices.recovery.max_concurrent_file_chunks":"3"}}`, settings: "indices.recovery."},
	{name: "stream-lifecycle", about: "a data stream whose lifecycle was changed after it was made", script: `PUT /_index_template/aw-lc
{"index_patterns":["aw-lc-*"],"data_stream":{},"template":{"settings":{"index.number_of_replicas":0},"lifecycle":{"data_retention":"7d"}}}

PUT /_data_stream/aw-lc-one

POST /aw-lc-one/_bulk?refresh=true
{"create":{"_id":"1"}}
{"@timestamp":"2025-01-01T00:00:00Z","f":1.10}

PUT /_data_stream/aw-lc-one/_lifecycle
{"data_retention":"30d"}`, streams: []string{"aw-lc-one"}, objects: []string{"/_index_template/aw-lc"}},
	{name: "stream-failures", about: "a data stream with two failure indices", script: `PUT /_index_template/aw-fs
{"index_patterns":["aw-fs-*"],"data_stream":{},"template":{"settings":{"index.number_of_replicas":0},"data_stream_options":{"failure_store":{"enabled":true}}}}

PUT /_data_stream/aw-fs-one

POST /aw-fs-one/_bulk?refresh=true
{"create":{"_id":"1"}}
{"@timestamp":"2025-01-01T00:00:00Z","f":1.10}

PUT /.fs-aw-fs-one-2025.01.01-000002
{"settings":{"index.number_of_replicas":0},"mappings":{"properties":{"@timestamp":{"type":"date"}}}}

PUT /.fs-aw-fs-one-2025.01.01-000002/_doc/1?refresh=true
{"@timestamp":"2025-01-01T00:00:00Z","error":{"message":"no"}}

PUT /.fs-aw-fs-one-2025.01.02-000003
{"settings":{"index.number_of_replicas":0},"mappings":{"properties":{"@timestamp":{"type":"date"}}}}

POST /_data_stream/_modify
{"actions":[{"add_backing_index":{"data_stream":"aw-fs-one","index":".fs-aw-fs-one-2025.01.01-000002","failure_store":true}},{"add_backing_index":{"data_stream":"aw-fs-one","index":".fs-aw-fs-one-2025.01.02-000003","failure_store":true}}]}`,
		streams: []string{"aw-fs-one"}, objects: []string{"/_index_template/aw-fs"}},
	{name: "stream-alias", about: "an alias of a data stream, with a filter, that is written to", script: `PUT /_index_template/aw-sa
{"index_patterns":["aw-sa-*"],"data_stream":{},"template":{"settings":{"index.number_of_replicas":0}}}

PUT /_data_stream/aw-sa-one

POST /aw-sa-one/_bulk?refresh=true
{"create":{"_id":"1"}}
{"@timestamp":"2025-01-01T00:00:00Z","f":1.10}

POST /_aliases
{"actions":[{"add":{"index":"aw-sa-one","alias":"aw-sa-all","is_write_index":true,"filter":{"term":{"f":1}}}}]}`, streams: []string{"aw-sa-one"}, objects: []string{"/_index_template/aw-sa"}},
	{name: "stream-time-series", about: "a time series data stream", script: `PUT /_index_template/aw-ts
{"index_patterns":["aw-ts-*"],"data_stream":{},"template":{"settings":{"index.codec":"default","index.mode":"time_series","index.routing_path":["host"],"index.number_of_replicas":0,"index.time_series.start_time":"2025-01-01T00:00:00Z","index.time_series.end_time":"2025-01-02T00:00:00Z"},"mappings":{"properties":{"@timestamp":{"type":"date"},"host":{"type":"keyword","time_series_dimension":true},"v":{"type":"double","time_series_metric":"gauge"}}}}}

PUT /_data_stream/aw-ts-one

POST /aw-ts-one/_bulk?refresh=true
{"create":{}}
{"@timestamp":"2025-01-01T01:00:00.000Z","host":"a","v":1.5}
{"create":{}}
{"@timestamp":"2025-01-01T02:00:00.000Z","host":"b","v":2.5}`, streams: []string{"aw-ts-one"}, objects: []string{"/_index_template/aw-ts"}},
	{name: "system", about: "a system index, which the server makes as it sees fit", result: "the restore fails and says so; with `DocumentsOnly` whole", script: `PUT /.tasks/_doc/aw:1?refresh=true
{"completed":true,"task":{"node":"n","id":1.0}}`, own: ownSystem},
	{name: "versions", about: "external versions, with the option Versions", result: "whole, with the versions", script: `PUT /awo-versions
{"settings":{"number_of_replicas":0,"number_of_shards":2}}

PUT /awo-versions/_doc/1?version=9007199254740993&version_type=external
{"n":1}

PUT /awo-versions/_doc/2?version=5&version_type=external_gte
{"n":2}

PUT /awo-versions/_doc/3
{"n":3}

PUT /awo-versions/_doc/3?refresh=true
{"n":33}`, own: ownVersions},
	{name: "unnumbered-increment", about: "disabled sequence numbers, in an increment after documents changed and were merged", result: "whole", only: "9.", lacks: "the setting came later", script: `PUT /awo-unnumbered-increment
{"settings":{"number_of_replicas":0,"disable_sequence_numbers":true,"seq_no.index_options":"doc_values_only"}}

` + awkwardBulk("awo-unnumbered-increment", 300), own: ownIncrement},
	{name: "refused-strict", about: "documents with fields that a mapping, strict by now, refuses", result: refusedResult, script: `PUT /awo-refused-strict
{"settings":{"number_of_replicas":0},
"mappings":{"dynamic":false,"properties":{"n":{"type":"long"}}}}

POST /awo-refused-strict/_bulk?refresh=true
{"index":{"_id":"old"}}
{"n":1,"gone":true}
{"index":{"_id":"new"}}
{"n":2}

PUT /awo-refused-strict/_mapping
{"dynamic":"strict"}`, own: ownRefused("strict_dynamic_mapping_exception")},
	{name: "refused-malformed", about: "documents with values that a field ignored once and refuses now", result: refusedResult, script: `PUT /awo-refused-malformed
{"settings":{"number_of_replicas":0},
"mappings":{"properties":{"n":{"type":"long","ignore_malformed":true}}}}

POST /awo-refused-malformed/_bulk?refresh=true
{"index":{"_id":"old"}}
{"n":"no"}
{"index":{"_id":"new"}}
{"n":2}

PUT /awo-refused-malformed/_mapping
{"properties":{"n":{"type":"long","ignore_malformed":false}}}`, own: ownRefused("document_parsing_exception")},
}
