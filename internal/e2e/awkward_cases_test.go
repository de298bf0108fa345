package e2e_test

import "strings"

const (
	nativeRed     = "it fails, or has what shards there are"
	nativeNowhere = "it is restored to no node, and stays red"
)

// awkwardIndices are cases of indices, their names, settings, aliases and documents.
var awkwardIndices = []awkward{
	{name: "plain", about: "an index with one document", script: `PUT /aw-plain
{"settings":{"number_of_replicas":0}}

POST /aw-plain/_bulk?refresh=true
{"index":{"_id":"0"}}
{"a":1.0,"b":"é \u00e9 9007199254740993"}`},
	{name: "hidden", about: "a hidden index", script: `PUT /aw-hidden
{"settings":{"number_of_replicas":0,"hidden":true}}

POST /aw-hidden/_bulk?refresh=true
{"index":{"_id":"0"}}
{"a":1.0,"b":"é \u00e9 9007199254740993"}`},
	{name: "hidden-alias", about: "a hidden alias", script: `PUT /aw-hidden-alias
{"settings":{"number_of_replicas":0},
"aliases":{"aw-ha":{"is_hidden":true}}}

POST /aw-hidden-alias/_bulk?refresh=true
{"index":{"_id":"0"}}
{"a":1.0,"b":"é \u00e9 9007199254740993"}`},
	{name: "dot", about: "an index whose name begins with a dot", script: `PUT /.aw-dot
{"settings":{"number_of_replicas":0}}

POST /.aw-dot/_bulk?refresh=true
{"index":{"_id":"0"}}
{"a":1.0,"b":"é \u00e9 9007199254740993"}`, indices: []string{".aw-dot"}},
	{name: "empty", about: "an index without documents", script: `PUT /aw-empty
{"settings":{"number_of_replicas":0}}`},
	{name: "closed", about: "a closed index", script: `PUT /aw-closed
{"settings":{"number_of_replicas":0}}

POST /aw-closed/_bulk?refresh=true
{"index":{"_id":"0"}}
{"a":1.0,"b":"é \u00e9 9007199254740993"}

POST /aw-closed/_close`, omitted: "it is closed"},
	{name: "red", about: "an index whose primary is nowhere", script: `PUT /aw-red?wait_for_active_shards=0
{"settings":{"number_of_replicas":0,"routing.allocation.require.box":"nowhere"}}`, omitted: "no started primary", native: nativeRed},
	{name: "partial", about: "an index of two shards, one of which has no primary", script: `PUT /aw-partial?wait_for_active_shards=0
{"settings":{"number_of_replicas":0,"number_of_shards":2,"routing.allocation.total_shards_per_node":1}}`, omitted: "no started primary", native: nativeRed},
	{name: "unsatisfiable", about: "allocation filters that no node satisfies", script: `PUT /aw-unsatisfiable
{"settings":{"number_of_replicas":0}}

POST /aw-unsatisfiable/_bulk?refresh=true
{"index":{"_id":"0"}}
{"a":1.0,"b":"é \u00e9 9007199254740993"}

PUT /aw-unsatisfiable/_settings
{"index.routing.allocation.include.box":"nowhere","index.routing.allocation.exclude.rack":"r1"}`, native: nativeNowhere},
	{name: "require-later", about: "a required attribute that no node has", script: `PUT /aw-require-later
{"settings":{"number_of_replicas":0}}

POST /aw-require-later/_bulk?refresh=true
{"index":{"_id":"0"}}
{"a":1.0,"b":"é \u00e9 9007199254740993"}

PUT /aw-require-later/_settings
{"index.routing.allocation.require.box":"nowhere"}`, native: nativeNowhere},
	{name: "active-shards", about: "writes that wait for a replica", script: `PUT /aw-active-shards
{"settings":{"number_of_replicas":0}}

POST /aw-active-shards/_bulk?refresh=true
{"index":{"_id":"0"}}
{"a":1.0,"b":"é \u00e9 9007199254740993"}

PUT /aw-active-shards/_settings
{"index.number_of_replicas":1,"index.write.wait_for_active_shards":"2"}`},
	{name: "block-write", about: "a write block", script: `PUT /aw-block-write
{"settings":{"number_of_replicas":0}}

POST /aw-block-write/_bulk?refresh=true
{"index":{"_id":"0"}}
{"a":1.0,"b":"é \u00e9 9007199254740993"}

PUT /aw-block-write/_settings
{"index.blocks.write":true}`},
	{name: "block-read-only", about: "a read-only block", script: `PUT /aw-block-read-only
{"settings":{"number_of_replicas":0}}

POST /aw-block-read-only/_bulk?refresh=true
{"index":{"_id":"0"}}
{"a":1.0,"b":"é \u00e9 9007199254740993"}

PUT /aw-block-read-only/_settings
{"index.blocks.read_only":true}`},
	{name: "block-metadata", about: "a block on metadata", script: `PUT /aw-block-metadata
{"settings":{"number_of_replicas":0}}

POST /aw-block-metadata/_bulk?refresh=true
{"index":{"_id":"0"}}
{"a":1.0,"b":"é \u00e9 9007199254740993"}

PUT /aw-block-metadata/_settings
{"index.blocks.metadata":true}`, omitted: "cluster_block_exception"},
	{name: "block-read", about: "a block on reads", script: `PUT /aw-block-read
{"settings":{"number_of_replicas":0}}

POST /aw-block-read/_bulk?refresh=true
{"index":{"_id":"0"}}
{"a":1.0,"b":"é \u00e9 9007199254740993"}

PUT /aw-block-read/_settings
{"index.blocks.read":true}`, omitted: "cluster_block_exception"},
	{name: "alias-filter", about: "an alias with a filter", script: `PUT /aw-alias-filter
{"settings":{"number_of_replicas":0},
"aliases":{"aw-af":{"filter":{"bool":{"must":[{"term":{"a":1}},{"range":{"n":{"gte":1.0}}}]}}}}}

POST /aw-alias-filter/_bulk?refresh=true
{"index":{"_id":"0"}}
{"a":1.0,"b":"é \u00e9 9007199254740993"}`},
	{name: "alias-routing", about: "aliases with routing, also one for search and one for indexing", script: `PUT /aw-alias-routing
{"settings":{"number_of_replicas":0,"number_of_shards":3},
"aliases":{"aw-ar":{"routing":"r 1"},"aw-ar2":{"search_routing":"a,b","index_routing":"a"}}}

POST /aw-alias-routing/_bulk?refresh=true
{"index":{"_id":"0"}}
{"a":1.0,"b":"é \u00e9 9007199254740993"}`},
	{name: "alias-write", about: "an alias on two indices, one of which is written to", script: `PUT /aw-alias-w1
{"settings":{"number_of_replicas":0},"aliases":{"aw-aw":{"is_write_index":false}}}

PUT /aw-alias-w1/_doc/1?refresh=true
{"n":1}

PUT /aw-alias-w2
{"settings":{"number_of_replicas":0},"aliases":{"aw-aw":{"is_write_index":true}}}

PUT /aw-alias-w2/_doc/1?refresh=true
{"n":2}`, indices: []string{"aw-alias-w1", "aw-alias-w2"}},
	{name: "date-math", about: "a name made by date math", script: `PUT /%3Caw-math-%7B2024.02.29%7C%7C%2Fd%7Byyyy.MM.dd%7D%7D%3E
{"settings":{"number_of_replicas":0}}

POST /%3Caw-math-%7B2024.02.29%7C%7C%2Fd%7Byyyy.MM.dd%7D%7D%3E/_bulk?refresh=true
{"index":{"_id":"0"}}
{"a":1.0,"b":"é \u00e9 9007199254740993"}`, indices: []string{"aw-math-2024.02.29"}},
	{name: "excluded", about: "an index that the selection excludes", script: `PUT /aw-not-this
{"settings":{"number_of_replicas":0}}

POST /aw-not-this/_bulk?refresh=true
{"index":{"_id":"0"}}
{"a":1.0,"b":"é \u00e9 9007199254740993"}`, indices: []string{}, gone: "aw-not-this"},
	{name: "letters", about: "every kind of character that a name may have", script: `PUT /aw-%C3%A9%E6%97%A5%E6%9C%AC%F0%9F%98%80+%21%40%24%25%5E%26%28%29%3D%7B%7D%5B%5D%3B%27%60.~_-0129az
{"settings":{"number_of_replicas":0}}

POST /aw-%C3%A9%E6%97%A5%E6%9C%AC%F0%9F%98%80+%21%40%24%25%5E%26%28%29%3D%7B%7D%5B%5D%3B%27%60.~_-0129az/_bulk?refresh=true
{"index":{"_id":"0"}}
{"a":1.0,"b":"é \u00e9 9007199254740993"}`, indices: []string{"aw-é日本😀+!@$%^&()={}[];'`.~_-0129az"}},
	{name: "long-name", about: "a name of 255 bytes", script: `PUT /aw-` + strings.Repeat("x", 252) + `
{"settings":{"number_of_replicas":0}}

POST /aw-` + strings.Repeat("x", 252) + `/_bulk?refresh=true
{"index":{"_id":"0"}}
{"a":1.0,"b":"é \u00e9 9007199254740993"}`, indices: []string{"aw-" + strings.Repeat("x", 252)}},
	{name: "ids", about: "ids with slashes, quotes, control characters, dots, emoji, and of 512 bytes", script: `PUT /aw-ids
{"settings":{"number_of_replicas":0}}

POST /aw-ids/_bulk?refresh=true
{"index":{"_id":" "}}
{"id":" "}
{"index":{"_id":"a/b"}}
{"id":"a/b"}
{"index":{"_id":"../up"}}
{"id":"../up"}
{"index":{"_id":"per%20cent"}}
{"id":"per%20cent"}
{"index":{"_id":"q?x=y#z"}}
{"id":"q?x=y#z"}
{"index":{"_id":"日本語 😀"}}
{"id":"日本語 😀"}
{"index":{"_id":"tab\t"}}
{"id":"tab\t"}
{"index":{"_id":"new\nline"}}
{"id":"new\nline"}
{"index":{"_id":"nul\u0000"}}
{"id":"nul\u0000"}
{"index":{"_id":"."}}
{"id":"."}
{"index":{"_id":"_under"}}
{"id":"_under"}
{"index":{"_id":"\\"}}
{"id":"\\"}
{"index":{"_id":"\""}}
{"id":"\""}
{"index":{"_id":"` + strings.Repeat("x", 512) + `"}}
{"id":"` + strings.Repeat("x", 512) + `"}`},
	{name: "ids-all", about: "ids of every character up to U+02FF, and of some from each plane", script: awkwardIDs()},
	{name: "shrunk", about: "an index shrunk, split and cloned, with the read-only block it needs", script: `PUT /aw-big
{"settings":{"number_of_replicas":0,"number_of_shards":4}}

` + awkwardBulk("aw-big", 40) + `

PUT /aw-big/_settings
{"index.blocks.write":true}

POST /aw-big/_shrink/aw-shrunk?wait_for_active_shards=1
{"settings":{"index.number_of_shards":2}}

POST /aw-big/_split/aw-split?wait_for_active_shards=1
{"settings":{"index.number_of_shards":8}}

POST /aw-big/_clone/aw-clone?wait_for_active_shards=1

GET /_cluster/health/aw-shrunk,aw-split,aw-clone?wait_for_no_initializing_shards=true`, indices: []string{"aw-big", "aw-shrunk", "aw-split", "aw-clone"}},
	{name: "many", about: "ten indices at once", script: awkwardManyScript(), indices: awkwardMany()},
	{name: "pipelines", about: "a default pipeline that does not exist, and a final one", script: `PUT /_ingest/pipeline/aw-empty
{"description":"é <&>","version":3,"_meta":{"n":1.0},"processors":[]}

PUT /aw-pipelines
{"settings":{"number_of_replicas":0}}

PUT /aw-pipelines/_doc/1?refresh=true
{"n":1.10}

PUT /aw-pipelines/_settings
{"index.default_pipeline":"aw-missing","index.final_pipeline":"aw-empty"}`, indices: []string{"aw-pipelines"}, objects: []string{"/_ingest/pipeline/aw-empty"}},
	{name: "final-pipeline", about: "a final pipeline that does not exist", script: `PUT /aw-final-pipeline/_doc/1?refresh=true
{"n":1.10}

PUT /aw-final-pipeline/_settings
{"index.final_pipeline":"aw-missing"}`},
	{name: "external", about: "documents of external versions: they begin at version 1 again", script: `PUT /aw-external/_doc/1?version=9007199254740993&version_type=external
{"n":1}

PUT /aw-external/_doc/2?version=5&version_type=external_gte&refresh=true
{"n":2}`},
	{name: "same-id", about: "one _id in several shards, by routing", script: `PUT /aw-same-id
{"settings":{"number_of_replicas":0,"number_of_shards":3}}

POST /aw-same-id/_bulk?refresh=true
{"index":{"_id":"same","routing":"a"}}
{"r":"a"}
{"index":{"_id":"same","routing":"b"}}
{"r":"b"}
{"index":{"_id":"same","routing":"c"}}
{"r":"c"}`},
	{name: "routing-required", about: "routing is required", script: `PUT /aw-routing-required
{"settings":{"number_of_replicas":0,"number_of_shards":2},
"mappings":{"_routing":{"required":true}}}

POST /aw-routing-required/_bulk?refresh=true
{"index":{"_id":"1","routing":"r \"ü/😀"}}
{"a":1}`},
	{name: "partitioned", about: "a routing partition of several shards", script: `PUT /aw-partitioned
{"settings":{"number_of_replicas":0,"number_of_shards":4,"routing_partition_size":2},
"mappings":{"_routing":{"required":true}}}

POST /aw-partitioned/_bulk?refresh=true
{"index":{"_id":"0","routing":"r"}}
{"a":0}
{"index":{"_id":"1","routing":"r"}}
{"a":1}
{"index":{"_id":"2","routing":"r"}}
{"a":2}
{"index":{"_id":"3","routing":"r"}}
{"a":3}
{"index":{"_id":"4","routing":"r"}}
{"a":4}
{"index":{"_id":"5","routing":"r"}}
{"a":5}
{"index":{"_id":"6","routing":"r"}}
{"a":6}
{"index":{"_id":"7","routing":"r"}}
{"a":7}
{"index":{"_id":"8","routing":"r"}}
{"a":8}`},
	{name: "sorted", about: "an index sorted by two fields", script: `PUT /aw-sorted
{"settings":{"number_of_replicas":0,"sort.field":["d","n"],"sort.order":["desc","asc"]},
"mappings":{"properties":{"d":{"type":"date"},"n":{"type":"long"}}}}

POST /aw-sorted/_bulk?refresh=true
{"index":{"_id":"0"}}
{"d":"2026-01-01","n":1}
{"index":{"_id":"1"}}
{"d":"2026-01-02","n":2}`},
	{name: "search-slow", about: "settings of slow logs, translog, merging, refresh", script: `PUT /aw-search-slow
{"settings":{"number_of_replicas":0,"search.slowlog.threshold.query.warn":"10s","refresh_interval":"-1","max_result_window":20000,"translog.durability":"async","priority":7,"merge.scheduler.max_thread_count":1}}

POST /aw-search-slow/_bulk?refresh=true
{"index":{"_id":"0"}}
{"a":1.0,"b":"é \u00e9 9007199254740993"}`},
	{name: "small-window", about: "a small result window", script: `PUT /aw-small-window
{"settings":{"number_of_replicas":0,"max_result_window":2000}}

POST /aw-small-window/_bulk?refresh=true
{"index":{"_id":"0"}}
{"n":0}
{"index":{"_id":"1"}}
{"n":1}
{"index":{"_id":"2"}}
{"n":2}
{"index":{"_id":"3"}}
{"n":3}
{"index":{"_id":"4"}}
{"n":4}
{"index":{"_id":"5"}}
{"n":5}
{"index":{"_id":"6"}}
{"n":6}
{"index":{"_id":"7"}}
{"n":7}
{"index":{"_id":"8"}}
{"n":8}
{"index":{"_id":"9"}}
{"n":9}
{"index":{"_id":"10"}}
{"n":10}
{"index":{"_id":"11"}}
{"n":11}
{"index":{"_id":"12"}}
{"n":12}
{"index":{"_id":"13"}}
{"n":13}
{"index":{"_id":"14"}}
{"n":14}
{"index":{"_id":"15"}}
{"n":15}
{"index":{"_id":"16"}}
{"n":16}
{"index":{"_id":"17"}}
{"n":17}
{"index":{"_id":"18"}}
{"n":18}
{"index":{"_id":"19"}}
{"n":19}
{"index":{"_id":"20"}}
{"n":20}
{"index":{"_id":"21"}}
{"n":21}
{"index":{"_id":"22"}}
{"n":22}
{"index":{"_id":"23"}}
{"n":23}
{"index":{"_id":"24"}}
{"n":24}
{"index":{"_id":"25"}}
{"n":25}
{"index":{"_id":"26"}}
{"n":26}
{"index":{"_id":"27"}}
{"n":27}
{"index":{"_id":"28"}}
{"n":28}
{"index":{"_id":"29"}}
{"n":29}`},
	{name: "expand", about: "replicas by the number of nodes", script: `PUT /aw-expand
{"settings":{"auto_expand_replicas":"0-1"}}

POST /aw-expand/_bulk?refresh=true
{"index":{"_id":"0"}}
{"a":1.0,"b":"é \u00e9 9007199254740993"}`},
	{name: "replicas", about: "more replicas than nodes", script: `PUT /aw-replicas
{"settings":{"number_of_replicas":3}}

POST /aw-replicas/_bulk?refresh=true
{"index":{"_id":"0"}}
{"a":1.0,"b":"é \u00e9 9007199254740993"}`},
	{name: "deleted", about: "documents deleted and replaced", script: `` + awkwardBulk("aw-deleted", 9) + `

DELETE /aw-deleted/_doc/3?refresh=true

PUT /aw-deleted/_doc/4?refresh=true
{"n":44}`},
	{name: "pretty", about: "a source with line breaks: it is compacted", script: `PUT /aw-pretty/_doc/1?refresh=true
{
  "a" : 1.0,
  "b" : [ 1,
 2 ]
}`},
	{name: "block-allow-delete", about: "a read-only block that allows deletes", script: `PUT /aw-block-allow-delete
{"settings":{"number_of_replicas":0}}

POST /aw-block-allow-delete/_bulk?refresh=true
{"index":{"_id":"0"}}
{"a":1.0,"b":"é \u00e9 9007199254740993"}

PUT /aw-block-allow-delete/_settings
{"index.blocks.read_only_allow_delete":true}`},
	{name: "alias-shared", about: "an alias of two indices with a filter of its own on each", script: `PUT /aw-shared-1
{"settings":{"number_of_replicas":0},"aliases":{"aw-shared":{"filter":{"term":{"n":1}}}}}

PUT /aw-shared-1/_doc/1?refresh=true
{"n":1}

PUT /aw-shared-2
{"settings":{"number_of_replicas":0},"aliases":{"aw-shared":{"filter":{"range":{"n":{"gt":1}}},"routing":"r"}}}

PUT /aw-shared-2/_doc/1?refresh=true&routing=r
{"n":2}`, indices: []string{"aw-shared-1", "aw-shared-2"}},
	{name: "all-deleted", about: "an index all of whose documents are deleted", script: `PUT /aw-all-deleted
{"settings":{"number_of_replicas":0}}

PUT /aw-all-deleted/_doc/1?refresh=true
{"n":1}

DELETE /aw-all-deleted/_doc/1?refresh=true`},
	{name: "generated-ids", about: "ids that the server made", script: `PUT /aw-generated-ids
{"settings":{"number_of_replicas":0,"number_of_shards":2}}

POST /aw-generated-ids/_bulk?refresh=true
{"index":{}}
{"n":0}
{"index":{}}
{"n":1}
{"index":{}}
{"n":2}`},
	{name: "routing-shards", about: "a number of routing shards of its own", script: `PUT /aw-routing-shards
{"settings":{"number_of_replicas":0,"number_of_shards":3,"number_of_routing_shards":9}}

` + awkwardBulk("aw-routing-shards", 30)},
	{name: "compressed", about: "best_compression", only: "8.", lacks: "the published jars lack the library that it takes", script: `PUT /aw-compressed
{"settings":{"number_of_replicas":0,"codec":"best_compression"}}

` + awkwardBulk("aw-compressed", 30)},
	{name: "unnumbered", about: "disabled sequence numbers", only: "9.", lacks: "the setting came later", script: `PUT /aw-unnumbered
{"settings":{"number_of_replicas":0,"number_of_shards":2,"disable_sequence_numbers":true,"seq_no.index_options":"doc_values_only"}}

` + awkwardBulk("aw-unnumbered", 30) + "\n\nPOST /aw-unnumbered/_forcemerge?max_num_segments=1\n\n" + awkwardBulk("aw-unnumbered", 5)},
	{name: "time-series", about: "a time series index", script: `PUT /aw-time-series
{"settings":{"number_of_replicas":0,"codec":"default","mode":"time_series","routing_path":["host"],"time_series.start_time":"2025-01-01T00:00:00Z","time_series.end_time":"2025-01-02T00:00:00Z"},
"mappings":{"properties":{"@timestamp":{"type":"date"},"host":{"type":"keyword","time_series_dimension":true},"v":{"type":"double","time_series_metric":"gauge"}}}}

POST /aw-time-series/_bulk?refresh=true
{"create":{}}
{"@timestamp":"2025-01-01T01:00:00.000Z","host":"a","v":1.5}
{"create":{}}
{"@timestamp":"2025-01-01T01:00:00.000Z","host":"b","v":2.5}
{"create":{}}
{"@timestamp":"2025-01-01T02:00:00.000Z","host":"a","v":3.5}`},
	{name: "logsdb", about: "a logsdb index, sorted by host and time", script: `PUT /aw-logsdb
{"settings":{"number_of_replicas":0,"codec":"default","mode":"logsdb"},
"mappings":{"properties":{"host.name":{"type":"keyword"}}}}

POST /aw-logsdb/_bulk?refresh=true
{"create":{"_id":"1"}}
{"@timestamp":"2025-01-01T00:00:00.000Z","host.name":"h","message":"m"}
{"create":{"_id":"2"}}
{"@timestamp":"2025-01-02T00:00:00.000Z","host.name":"g","message":"n"}`, indices: []string{"aw-logsdb"}},
}
