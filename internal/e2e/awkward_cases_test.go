package e2e_test

import (
	"fmt"
	"strings"
)

// awkwardCases are the cases of TestAwkward. Everything that they make is named aw-something. The block read_only_allow_delete is not
// among them: a server takes it off by itself once its disk has room.
var awkwardCases = []awkward{
	{name: "plain", script: `PUT /aw-plain
{"settings":{"number_of_replicas":0}}

POST /aw-plain/_bulk?refresh=true
{"index":{"_id":"0"}}
{"a":1.0,"b":"é \u00e9 9007199254740993"}`},
	{name: "hidden", script: `PUT /aw-hidden
{"settings":{"number_of_replicas":0,"hidden":true}}

POST /aw-hidden/_bulk?refresh=true
{"index":{"_id":"0"}}
{"a":1.0,"b":"é \u00e9 9007199254740993"}`},
	{name: "hidden-alias", script: `PUT /aw-hidden-alias
{"settings":{"number_of_replicas":0},
"aliases":{"aw-ha":{"is_hidden":true}}}

POST /aw-hidden-alias/_bulk?refresh=true
{"index":{"_id":"0"}}
{"a":1.0,"b":"é \u00e9 9007199254740993"}`},
	{name: "dot", script: `PUT /.aw-dot
{"settings":{"number_of_replicas":0}}

POST /.aw-dot/_bulk?refresh=true
{"index":{"_id":"0"}}
{"a":1.0,"b":"é \u00e9 9007199254740993"}`, indices: []string{".aw-dot"}},
	{name: "empty", script: `PUT /aw-empty
{"settings":{"number_of_replicas":0}}`},
	{name: "closed", script: `PUT /aw-closed
{"settings":{"number_of_replicas":0}}

POST /aw-closed/_bulk?refresh=true
{"index":{"_id":"0"}}
{"a":1.0,"b":"é \u00e9 9007199254740993"}

POST /aw-closed/_close`, omitted: "it is closed"},
	{name: "red", script: `PUT /aw-red?wait_for_active_shards=0
{"settings":{"number_of_replicas":0,"routing.allocation.require.box":"nowhere"}}`, omitted: "no started primary"},
	{name: "unsatisfiable", script: `PUT /aw-unsatisfiable
{"settings":{"number_of_replicas":0}}

POST /aw-unsatisfiable/_bulk?refresh=true
{"index":{"_id":"0"}}
{"a":1.0,"b":"é \u00e9 9007199254740993"}

PUT /aw-unsatisfiable/_settings
{"index.routing.allocation.include.box":"nowhere","index.routing.allocation.exclude.rack":"r1"}`},
	{name: "require-later", script: `PUT /aw-require-later
{"settings":{"number_of_replicas":0}}

POST /aw-require-later/_bulk?refresh=true
{"index":{"_id":"0"}}
{"a":1.0,"b":"é \u00e9 9007199254740993"}

PUT /aw-require-later/_settings
{"index.routing.allocation.require.box":"nowhere"}`},
	{name: "block-write", script: `PUT /aw-block-write
{"settings":{"number_of_replicas":0}}

POST /aw-block-write/_bulk?refresh=true
{"index":{"_id":"0"}}
{"a":1.0,"b":"é \u00e9 9007199254740993"}

PUT /aw-block-write/_settings
{"index.blocks.write":true}`},
	{name: "block-read-only", script: `PUT /aw-block-read-only
{"settings":{"number_of_replicas":0}}

POST /aw-block-read-only/_bulk?refresh=true
{"index":{"_id":"0"}}
{"a":1.0,"b":"é \u00e9 9007199254740993"}

PUT /aw-block-read-only/_settings
{"index.blocks.read_only":true}`},
	{name: "block-metadata", script: `PUT /aw-block-metadata
{"settings":{"number_of_replicas":0}}

POST /aw-block-metadata/_bulk?refresh=true
{"index":{"_id":"0"}}
{"a":1.0,"b":"é \u00e9 9007199254740993"}

PUT /aw-block-metadata/_settings
{"index.blocks.metadata":true}`, omitted: "cluster_block_exception"},
	{name: "block-read", script: `PUT /aw-block-read
{"settings":{"number_of_replicas":0}}

POST /aw-block-read/_bulk?refresh=true
{"index":{"_id":"0"}}
{"a":1.0,"b":"é \u00e9 9007199254740993"}

PUT /aw-block-read/_settings
{"index.blocks.read":true}`, omitted: "cluster_block_exception"},
	{name: "no-source", script: `PUT /aw-no-source
{"settings":{"number_of_replicas":0},
"mappings":{"_source":{"enabled":false}}}

POST /aw-no-source/_bulk?refresh=true
{"index":{"_id":"0"}}
{"a":1.0,"b":"é \u00e9 9007199254740993"}`, omitted: "its documents have no _source"},
	{name: "excludes", script: `PUT /aw-excludes
{"settings":{"number_of_replicas":0},
"mappings":{"_source":{"excludes":["secret"]}}}

POST /aw-excludes/_bulk?refresh=true
{"index":{"_id":"0"}}
{"a":1,"secret":"s"}`, omitted: "leaves fields out of _source", partly: true},
	{name: "includes", script: `PUT /aw-includes
{"settings":{"number_of_replicas":0},
"mappings":{"_source":{"includes":["a*"]}}}

POST /aw-includes/_bulk?refresh=true
{"index":{"_id":"0"}}
{"a":1,"b":"s"}`, omitted: "leaves fields out of _source", partly: true},
	{name: "alias-filter", script: `PUT /aw-alias-filter
{"settings":{"number_of_replicas":0},
"aliases":{"aw-af":{"filter":{"bool":{"must":[{"term":{"a":1}},{"range":{"n":{"gte":1.0}}}]}}}}}

POST /aw-alias-filter/_bulk?refresh=true
{"index":{"_id":"0"}}
{"a":1.0,"b":"é \u00e9 9007199254740993"}`},
	{name: "alias-routing", script: `PUT /aw-alias-routing
{"settings":{"number_of_replicas":0,"number_of_shards":3},
"aliases":{"aw-ar":{"routing":"r 1"},"aw-ar2":{"search_routing":"a,b","index_routing":"a"}}}

POST /aw-alias-routing/_bulk?refresh=true
{"index":{"_id":"0"}}
{"a":1.0,"b":"é \u00e9 9007199254740993"}`},
	{name: "alias-write", script: `PUT /aw-alias-w1
{"settings":{"number_of_replicas":0},"aliases":{"aw-aw":{"is_write_index":false}}}

PUT /aw-alias-w1/_doc/1?refresh=true
{"n":1}

PUT /aw-alias-w2
{"settings":{"number_of_replicas":0},"aliases":{"aw-aw":{"is_write_index":true}}}

PUT /aw-alias-w2/_doc/1?refresh=true
{"n":2}`, indices: []string{"aw-alias-w1", "aw-alias-w2"}},
	{name: "date-math", script: `PUT /%3Caw-math-%7B2024.02.29%7C%7C%2Fd%7Byyyy.MM.dd%7D%7D%3E
{"settings":{"number_of_replicas":0}}

POST /%3Caw-math-%7B2024.02.29%7C%7C%2Fd%7Byyyy.MM.dd%7D%7D%3E/_bulk?refresh=true
{"index":{"_id":"0"}}
{"a":1.0,"b":"é \u00e9 9007199254740993"}`, indices: []string{"aw-math-2024.02.29"}},
	{name: "excluded", script: `PUT /aw-not-this
{"settings":{"number_of_replicas":0}}

POST /aw-not-this/_bulk?refresh=true
{"index":{"_id":"0"}}
{"a":1.0,"b":"é \u00e9 9007199254740993"}`, indices: []string{}, gone: "aw-not-this"},
	{name: "letters", script: `PUT /aw-%C3%A9%E6%97%A5%E6%9C%AC+%21%40%24%25%5E%26%28%29%3D%7B%7D%5B%5D%3B%27.~_-
{"settings":{"number_of_replicas":0}}

POST /aw-%C3%A9%E6%97%A5%E6%9C%AC+%21%40%24%25%5E%26%28%29%3D%7B%7D%5B%5D%3B%27.~_-/_bulk?refresh=true
{"index":{"_id":"0"}}
{"a":1.0,"b":"é \u00e9 9007199254740993"}`, indices: []string{"aw-é日本+!@$%^&()={}[];'.~_-"}},
	{name: "long-name", script: `PUT /aw-` + strings.Repeat("x", 252) + `
{"settings":{"number_of_replicas":0}}

POST /aw-` + strings.Repeat("x", 252) + `/_bulk?refresh=true
{"index":{"_id":"0"}}
{"a":1.0,"b":"é \u00e9 9007199254740993"}`, indices: []string{"aw-" + strings.Repeat("x", 252)}},
	{name: "ids", script: `PUT /aw-ids
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
{"index":{"_id":"` + strings.Repeat("x", 511) + `"}}
{"id":"` + strings.Repeat("x", 511) + `"}`},
	{name: "shrunk", script: `PUT /aw-big
{"settings":{"number_of_replicas":0,"number_of_shards":4}}

POST /aw-big/_bulk?refresh=true
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
{"n":29}
{"index":{"_id":"30"}}
{"n":30}
{"index":{"_id":"31"}}
{"n":31}
{"index":{"_id":"32"}}
{"n":32}
{"index":{"_id":"33"}}
{"n":33}
{"index":{"_id":"34"}}
{"n":34}
{"index":{"_id":"35"}}
{"n":35}
{"index":{"_id":"36"}}
{"n":36}
{"index":{"_id":"37"}}
{"n":37}
{"index":{"_id":"38"}}
{"n":38}
{"index":{"_id":"39"}}
{"n":39}

PUT /aw-big/_settings
{"index.blocks.write":true}

POST /aw-big/_shrink/aw-shrunk?wait_for_active_shards=1
{"settings":{"index.number_of_shards":2}}

POST /aw-big/_split/aw-split?wait_for_active_shards=1
{"settings":{"index.number_of_shards":8}}

POST /aw-big/_clone/aw-clone?wait_for_active_shards=1

GET /_cluster/health/aw-shrunk,aw-split,aw-clone?wait_for_no_initializing_shards=true`, indices: []string{"aw-big", "aw-shrunk", "aw-split", "aw-clone"}},
	{name: "many", script: awkwardManyScript(), indices: awkwardMany()},
	{name: "pipelines", script: `PUT /_ingest/pipeline/aw-empty
{"description":"é <&>","version":3,"_meta":{"n":1.0},"processors":[]}

PUT /aw-pipelines
{"settings":{"number_of_replicas":0}}

PUT /aw-pipelines/_doc/1?refresh=true
{"n":1.10}

PUT /aw-pipelines/_settings
{"index.default_pipeline":"aw-missing","index.final_pipeline":"aw-empty"}`, indices: []string{"aw-pipelines"}, objects: []string{"/_ingest/pipeline/aw-empty"}},
	{name: "external", script: `PUT /aw-external/_doc/1?version=9007199254740993&version_type=external
{"n":1}

PUT /aw-external/_doc/2?version=5&version_type=external_gte&refresh=true
{"n":2}`},
	{name: "same-id", script: `PUT /aw-same-id
{"settings":{"number_of_replicas":0,"number_of_shards":3}}

POST /aw-same-id/_bulk?refresh=true
{"index":{"_id":"same","routing":"a"}}
{"r":"a"}
{"index":{"_id":"same","routing":"b"}}
{"r":"b"}
{"index":{"_id":"same","routing":"c"}}
{"r":"c"}`},
	{name: "routing-required", script: `PUT /aw-routing-required
{"settings":{"number_of_replicas":0,"number_of_shards":2},
"mappings":{"_routing":{"required":true}}}

POST /aw-routing-required/_bulk?refresh=true
{"index":{"_id":"1","routing":"r \"ü/😀"}}
{"a":1}`},
	{name: "partitioned", script: `PUT /aw-partitioned
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
	{name: "fields", script: `PUT /aw-fields
{"settings":{"number_of_replicas":0,"mapping.total_fields.limit":1600},"mappings":{"properties":{` + awkwardFields() + `}}}

PUT /aw-fields/_doc/1?refresh=true
{"f1499":"x"}`},
	{name: "analyzers", script: `PUT /aw-analyzers
{"settings":{"number_of_replicas":0,"analysis":{"analyzer":{"mine":{"type":"custom","tokenizer":"standard","filter":["lowercase","own"]}},"filter":{"own":{"type":"stop","stopwords":["é","the"]}}}},
"mappings":{"properties":{"t":{"type":"text","analyzer":"mine","search_analyzer":"standard"}}}}

POST /aw-analyzers/_bulk?refresh=true
{"index":{"_id":"0"}}
{"t":"The É"}`},
	{name: "normalizer", script: `PUT /aw-normalizer
{"settings":{"number_of_replicas":0,"analysis":{"normalizer":{"low":{"type":"custom","filter":["lowercase"]}}}},
"mappings":{"properties":{"k":{"type":"keyword","normalizer":"low"}}}}

POST /aw-normalizer/_bulk?refresh=true
{"index":{"_id":"0"}}
{"k":"É x"}`},
	{name: "subobjects", script: `PUT /aw-subobjects
{"settings":{"number_of_replicas":0},
"mappings":{"subobjects":false}}

POST /aw-subobjects/_bulk?refresh=true
{"index":{"_id":"0"}}
{"a":1,"a.b":2}`},
	{name: "similarity", script: `PUT /aw-similarity
{"settings":{"number_of_replicas":0,"similarity":{"own":{"type":"BM25","b":"0.5"}}},
"mappings":{"properties":{"t":{"type":"text","similarity":"own","term_vector":"yes","norms":false}}}}

POST /aw-similarity/_bulk?refresh=true
{"index":{"_id":"0"}}
{"t":"x"}`},
	{name: "sorted", script: `PUT /aw-sorted
{"settings":{"number_of_replicas":0,"sort.field":["d","n"],"sort.order":["desc","asc"]},
"mappings":{"properties":{"d":{"type":"date"},"n":{"type":"long"}}}}

POST /aw-sorted/_bulk?refresh=true
{"index":{"_id":"0"}}
{"d":"2026-01-01","n":1}
{"index":{"_id":"1"}}
{"d":"2026-01-02","n":2}`},
	{name: "nested", script: `PUT /aw-nested
{"settings":{"number_of_replicas":0},
"mappings":{"properties":{"n":{"type":"nested","properties":{"m":{"type":"nested"}}}}}}

POST /aw-nested/_bulk?refresh=true
{"index":{"_id":"0"}}
{"n":[{"a":1,"m":[{"b":1}]},{"a":2}]}`},
	{name: "dynamic-templates", script: `PUT /aw-dynamic-templates
{"settings":{"number_of_replicas":0},
"mappings":{"dynamic_templates":[{"s":{"match_mapping_type":"string","mapping":{"type":"keyword"}}}],"date_detection":false}}

POST /aw-dynamic-templates/_bulk?refresh=true
{"index":{"_id":"0"}}
{"s":"x","d":"2026-01-01"}`},
	{name: "runtime", script: `PUT /aw-runtime
{"settings":{"number_of_replicas":0},
"mappings":{"runtime":{"r":{"type":"keyword"}}}}

POST /aw-runtime/_bulk?refresh=true
{"index":{"_id":"0"}}
{"a":1.0,"b":"é \u00e9 9007199254740993"}`},
	{name: "meta", script: `PUT /aw-meta
{"settings":{"number_of_replicas":0},
"mappings":{"_meta":{"n":1.10,"é":[null,{}]},"dynamic":"runtime"}}

POST /aw-meta/_bulk?refresh=true
{"index":{"_id":"0"}}
{"a":1.0,"b":"é \u00e9 9007199254740993"}`},
	{name: "dense", script: `PUT /aw-dense
{"settings":{"number_of_replicas":0},
"mappings":{"properties":{"v":{"type":"dense_vector","dims":4,"index":false}}}}

POST /aw-dense/_bulk?refresh=true
{"index":{"_id":"0"}}
{"v":[0.1,1.0,-2.5,3e-2],"p":1.5}`, vectors: true},
	{name: "dense-indexed", script: `PUT /aw-dense-indexed
{"settings":{"number_of_replicas":0},
"mappings":{"properties":{"v":{"type":"dense_vector","dims":4,"similarity":"cosine"}}}}

POST /aw-dense-indexed/_bulk?refresh=true
{"index":{"_id":"0"}}
{"v":[0.1,1.0,-2.5,3.0],"p":1.5}`, vectors: true},
	{name: "synthetic", script: `PUT /aw-synthetic
{"settings":{"number_of_replicas":0,"mapping.source.mode":"synthetic"},
"mappings":{"properties":{"a":{"type":"keyword"},"n":{"type":"long"}}}}

POST /aw-synthetic/_bulk?refresh=true
{"index":{"_id":"0"}}
{"n":3,"a":["b","a"]}`},
	{name: "numbers", script: `PUT /aw-numbers
{"settings":{"number_of_replicas":0},
"mappings":{"properties":{"v":{"type":"double"}}}}

POST /aw-numbers/_bulk?refresh=true
{"index":{"_id":"0"}}
{"v":9007199254740993}
{"index":{"_id":"1"}}
{"v":-9223372036854775808}
{"index":{"_id":"2"}}
{"v":1.0}`},
	{name: "decimals", script: `PUT /aw-decimals
{"settings":{"number_of_replicas":0},
"mappings":{"enabled":false}}

POST /aw-decimals/_bulk?refresh=true
{"index":{"_id":"0"}}
{"v":1E400}
{"index":{"_id":"1"}}
{"v":-0}
{"index":{"_id":"2"}}
{"v":-0.0}
{"index":{"_id":"3"}}
{"v":3.14159265358979323846264338327950288}
{"index":{"_id":"4"}}
{"v":18446744073709551617}
{"index":{"_id":"5"}}
{"v":"\ud800"}
{"index":{"_id":"6"}}
{"v":{"__proto__":{}}}
{"index":{"_id":"7"}}
{"v":"\u2028"}
{"index":{"_id":"8"}}
{"v":[[],{}]}
{"index":{"_id":"9"}}
{"v":null}
{"index":{"_id":"10"}}
{"v":" x "}`},
	{name: "duplicates-order", script: `PUT /aw-duplicates-order
{"settings":{"number_of_replicas":0},
"mappings":{"enabled":false}}

POST /aw-duplicates-order/_bulk?refresh=true
{"index":{"_id":"0"}}
{ "b" : 1 , "a":  2 }`},
	{name: "type-boolean", script: `PUT /aw-type-boolean
{"settings":{"number_of_replicas":0},
"mappings":{"properties":{"f":{"type":"boolean"}}}}

POST /aw-type-boolean/_bulk?refresh=true
{"index":{"_id":"0"}}
{"f":true}
{"index":{"_id":"1"}}
{"f":null}`},
	{name: "type-byte", script: `PUT /aw-type-byte
{"settings":{"number_of_replicas":0},
"mappings":{"properties":{"f":{"type":"byte"}}}}

POST /aw-type-byte/_bulk?refresh=true
{"index":{"_id":"0"}}
{"f":1}
{"index":{"_id":"1"}}
{"f":null}`},
	{name: "type-short", script: `PUT /aw-type-short
{"settings":{"number_of_replicas":0},
"mappings":{"properties":{"f":{"type":"short"}}}}

POST /aw-type-short/_bulk?refresh=true
{"index":{"_id":"0"}}
{"f":-5}
{"index":{"_id":"1"}}
{"f":null}`},
	{name: "type-integer", script: `PUT /aw-type-integer
{"settings":{"number_of_replicas":0},
"mappings":{"properties":{"f":{"type":"integer"}}}}

POST /aw-type-integer/_bulk?refresh=true
{"index":{"_id":"0"}}
{"f":7}
{"index":{"_id":"1"}}
{"f":null}`},
	{name: "type-long", script: `PUT /aw-type-long
{"settings":{"number_of_replicas":0},
"mappings":{"properties":{"f":{"type":"long"}}}}

POST /aw-type-long/_bulk?refresh=true
{"index":{"_id":"0"}}
{"f":9007199254740993}
{"index":{"_id":"1"}}
{"f":null}`},
	{name: "type-float", script: `PUT /aw-type-float
{"settings":{"number_of_replicas":0},
"mappings":{"properties":{"f":{"type":"float"}}}}

POST /aw-type-float/_bulk?refresh=true
{"index":{"_id":"0"}}
{"f":1.10}
{"index":{"_id":"1"}}
{"f":null}`},
	{name: "type-half-float", script: `PUT /aw-type-half-float
{"settings":{"number_of_replicas":0},
"mappings":{"properties":{"f":{"type":"half_float"}}}}

POST /aw-type-half-float/_bulk?refresh=true
{"index":{"_id":"0"}}
{"f":0.5}
{"index":{"_id":"1"}}
{"f":null}`},
	{name: "type-double", script: `PUT /aw-type-double
{"settings":{"number_of_replicas":0},
"mappings":{"properties":{"f":{"type":"double"}}}}

POST /aw-type-double/_bulk?refresh=true
{"index":{"_id":"0"}}
{"f":1e2}
{"index":{"_id":"1"}}
{"f":null}`},
	{name: "type-date", script: `PUT /aw-type-date
{"settings":{"number_of_replicas":0},
"mappings":{"properties":{"f":{"type":"date"}}}}

POST /aw-type-date/_bulk?refresh=true
{"index":{"_id":"0"}}
{"f":"2026-01-01"}
{"index":{"_id":"1"}}
{"f":null}`},
	{name: "type-date-nanos", script: `PUT /aw-type-date-nanos
{"settings":{"number_of_replicas":0},
"mappings":{"properties":{"f":{"type":"date_nanos"}}}}

POST /aw-type-date-nanos/_bulk?refresh=true
{"index":{"_id":"0"}}
{"f":"2026-01-01T00:00:00.123456789Z"}
{"index":{"_id":"1"}}
{"f":null}`},
	{name: "type-keyword", script: `PUT /aw-type-keyword
{"settings":{"number_of_replicas":0},
"mappings":{"properties":{"f":{"type":"keyword"}}}}

POST /aw-type-keyword/_bulk?refresh=true
{"index":{"_id":"0"}}
{"f":"é"}
{"index":{"_id":"1"}}
{"f":null}`},
	{name: "type-text", script: `PUT /aw-type-text
{"settings":{"number_of_replicas":0},
"mappings":{"properties":{"f":{"type":"text"}}}}

POST /aw-type-text/_bulk?refresh=true
{"index":{"_id":"0"}}
{"f":"t"}
{"index":{"_id":"1"}}
{"f":null}`},
	{name: "type-ip", script: `PUT /aw-type-ip
{"settings":{"number_of_replicas":0},
"mappings":{"properties":{"f":{"type":"ip"}}}}

POST /aw-type-ip/_bulk?refresh=true
{"index":{"_id":"0"}}
{"f":"::1"}
{"index":{"_id":"1"}}
{"f":null}`},
	{name: "type-geo-point", script: `PUT /aw-type-geo-point
{"settings":{"number_of_replicas":0},
"mappings":{"properties":{"f":{"type":"geo_point"}}}}

POST /aw-type-geo-point/_bulk?refresh=true
{"index":{"_id":"0"}}
{"f":{"lat":1.50,"lon":-2.0}}
{"index":{"_id":"1"}}
{"f":null}`},
	{name: "type-integer-range", script: `PUT /aw-type-integer-range
{"settings":{"number_of_replicas":0},
"mappings":{"properties":{"f":{"type":"integer_range"}}}}

POST /aw-type-integer-range/_bulk?refresh=true
{"index":{"_id":"0"}}
{"f":{"gte":1,"lt":5}}
{"index":{"_id":"1"}}
{"f":null}`},
	{name: "type-long-range", script: `PUT /aw-type-long-range
{"settings":{"number_of_replicas":0},
"mappings":{"properties":{"f":{"type":"long_range"}}}}

POST /aw-type-long-range/_bulk?refresh=true
{"index":{"_id":"0"}}
{"f":{"gt":1}}
{"index":{"_id":"1"}}
{"f":null}`},
	{name: "type-float-range", script: `PUT /aw-type-float-range
{"settings":{"number_of_replicas":0},
"mappings":{"properties":{"f":{"type":"float_range"}}}}

POST /aw-type-float-range/_bulk?refresh=true
{"index":{"_id":"0"}}
{"f":{"gte":1.10}}
{"index":{"_id":"1"}}
{"f":null}`},
	{name: "type-date-range", script: `PUT /aw-type-date-range
{"settings":{"number_of_replicas":0},
"mappings":{"properties":{"f":{"type":"date_range"}}}}

POST /aw-type-date-range/_bulk?refresh=true
{"index":{"_id":"0"}}
{"f":{"gte":"2026-01-01"}}
{"index":{"_id":"1"}}
{"f":null}`},
	{name: "type-ip-range", script: `PUT /aw-type-ip-range
{"settings":{"number_of_replicas":0},
"mappings":{"properties":{"f":{"type":"ip_range"}}}}

POST /aw-type-ip-range/_bulk?refresh=true
{"index":{"_id":"0"}}
{"f":"10.0.0.0/8"}
{"index":{"_id":"1"}}
{"f":null}`},
	{name: "type-binary", script: `PUT /aw-type-binary
{"settings":{"number_of_replicas":0},
"mappings":{"properties":{"f":{"type":"binary"}}}}

POST /aw-type-binary/_bulk?refresh=true
{"index":{"_id":"0"}}
{"f":"AQI="}
{"index":{"_id":"1"}}
{"f":null}`},
	{name: "type-completion", script: `PUT /aw-type-completion
{"settings":{"number_of_replicas":0},
"mappings":{"properties":{"f":{"type":"completion"}}}}

POST /aw-type-completion/_bulk?refresh=true
{"index":{"_id":"0"}}
{"f":["a","b"]}
{"index":{"_id":"1"}}
{"f":null}`},
	{name: "type-flattened", script: `PUT /aw-type-flattened
{"settings":{"number_of_replicas":0},
"mappings":{"properties":{"f":{"type":"flattened"}}}}

POST /aw-type-flattened/_bulk?refresh=true
{"index":{"_id":"0"}}
{"f":{"a":{"b":1.0}}}
{"index":{"_id":"1"}}
{"f":null}`},
	{name: "type-object", script: `PUT /aw-type-object
{"settings":{"number_of_replicas":0},
"mappings":{"properties":{"f":{"type":"object"}}}}

POST /aw-type-object/_bulk?refresh=true
{"index":{"_id":"0"}}
{"f":{"a":1}}
{"index":{"_id":"1"}}
{"f":null}`},
	{name: "ignore-malformed", script: `PUT /aw-ignore-malformed
{"settings":{"number_of_replicas":0,"mapping.ignore_malformed":true},
"mappings":{"properties":{"f":{"type":"long"}}}}

POST /aw-ignore-malformed/_bulk?refresh=true
{"index":{"_id":"0"}}
{"f":"no"}`},
	{name: "copy-to", script: `PUT /aw-copy-to
{"settings":{"number_of_replicas":0},
"mappings":{"properties":{"f":{"type":"keyword","copy_to":"g"},"g":{"type":"text"},"h":{"type":"alias","path":"f"}}}}

POST /aw-copy-to/_bulk?refresh=true
{"index":{"_id":"0"}}
{"f":"x"}`},
	{name: "search-slow", script: `PUT /aw-search-slow
{"settings":{"number_of_replicas":0,"search.slowlog.threshold.query.warn":"10s","refresh_interval":"-1","max_result_window":20000,"translog.durability":"async","priority":7,"merge.scheduler.max_thread_count":1}}

POST /aw-search-slow/_bulk?refresh=true
{"index":{"_id":"0"}}
{"a":1.0,"b":"é \u00e9 9007199254740993"}`},
	{name: "small-window", script: `PUT /aw-small-window
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
	{name: "expand", script: `PUT /aw-expand
{"settings":{"auto_expand_replicas":"0-1"}}

POST /aw-expand/_bulk?refresh=true
{"index":{"_id":"0"}}
{"a":1.0,"b":"é \u00e9 9007199254740993"}`},
	{name: "replicas", script: `PUT /aw-replicas
{"settings":{"number_of_replicas":3}}

POST /aw-replicas/_bulk?refresh=true
{"index":{"_id":"0"}}
{"a":1.0,"b":"é \u00e9 9007199254740993"}`},
	{name: "deleted", script: `POST /aw-deleted/_bulk?refresh=true
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

DELETE /aw-deleted/_doc/3?refresh=true

PUT /aw-deleted/_doc/4?refresh=true
{"n":44}`},
	{name: "pretty", script: `PUT /aw-pretty/_doc/1?refresh=true
{
  "a" : 1.0,
  "b" : [ 1,
 2 ]
}`},
	{name: "template-composable", script: `PUT /_component_template/aw-c
{"version":2,"_meta":{"a":1.0},"template":{"settings":{"index.number_of_replicas":0},"mappings":{"properties":{"a":{"type":"keyword"}}},"aliases":{"aw-ca":{"filter":{"term":{"a":"b"}}}}}}

PUT /_index_template/aw-t
{"index_patterns":["awt-*"],"composed_of":["aw-c","aw-none"],"ignore_missing_component_templates":["aw-none"],"priority":7}`, objects: []string{"/_component_template/aw-c", "/_index_template/aw-t"}},
	{name: "template-legacy", script: `PUT /_template/aw-l
{"index_patterns":["awl-*"],"order":3,"version":9,"settings":{"index.number_of_replicas":"0"},"mappings":{"properties":{"a":{"type":"long"}}},"aliases":{"aw-la":{}}}`, objects: []string{"/_template/aw-l"}},
	{name: "stream", script: `PUT /_index_template/aw-ds
{"index_patterns":["aw-ds-*"],"data_stream":{},"priority":5,"template":{"settings":{"index.number_of_replicas":0},"lifecycle":{"data_retention":"7d"},"data_stream_options":{"failure_store":{"enabled":true}}}}

POST /aw-ds-one/_bulk?refresh=true
{"create":{"_id":"1"}}
{"@timestamp":"2025-01-01T00:00:00Z","f":1.10}

POST /aw-ds-one/_rollover

POST /aw-ds-one/_bulk?refresh=true
{"create":{"_id":"2"}}
{"@timestamp":"2025-01-02T00:00:00Z","f":2.0}`, streams: []string{"aw-ds-one"}, objects: []string{"/_index_template/aw-ds"}},
	{name: "stream-logsdb", script: `PUT /_index_template/aw-logsdb
{"index_patterns":["aw-logsdb-*"],"data_stream":{},"template":{"settings":{"index.mode":"logsdb","index.number_of_replicas":0}}}

PUT /_data_stream/aw-logsdb-one

GET /_cluster/health?wait_for_no_initializing_shards=true

POST /aw-logsdb-one/_bulk?refresh=true
{"create":{"_id":"1"}}
{"@timestamp":"2025-01-01T00:00:00Z","host.name":"h","message":"m"}`, streams: []string{"aw-logsdb-one"}, objects: []string{"/_index_template/aw-logsdb"}},
}

func awkwardMany() (names []string) {
	for n := range 50 {
		names = append(names, fmt.Sprintf("aw-many-%d", n))
	}
	return names
}

// awkwardFields are the mappings of 1,500 fields.
func awkwardFields() string {
	fields := make([]string, 1500)
	for n := range fields {
		fields[n] = fmt.Sprintf(`"f%d":{"type":"keyword"}`, n)
	}
	return strings.Join(fields, ",")
}

func awkwardManyScript() string {
	var b strings.Builder
	for n, name := range awkwardMany() {
		fmt.Fprintf(&b, "PUT /%s/_doc/1?refresh=true\n{\"n\":%d}\n\n", name, n)
	}
	return b.String()
}
