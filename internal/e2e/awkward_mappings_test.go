package e2e_test

// awkwardMappings are cases of mappings, types and values.
var awkwardMappings = []awkward{
	{name: "no-source", about: "_source is disabled", script: `PUT /aw-no-source
{"settings":{"number_of_replicas":0},
"mappings":{"_source":{"enabled":false}}}

POST /aw-no-source/_bulk?refresh=true
{"index":{"_id":"0"}}
{"a":1.0,"b":"é \u00e9 9007199254740993"}`, omitted: "its documents have no _source"},
	{name: "excludes", about: "fields excluded from _source", script: `PUT /aw-excludes
{"settings":{"number_of_replicas":0},
"mappings":{"_source":{"excludes":["secret"]}}}

POST /aw-excludes/_bulk?refresh=true
{"index":{"_id":"0"}}
{"a":1,"secret":"s"}`, omitted: "leaves fields out of _source", partly: true},
	{name: "includes", about: "few fields included in _source", script: `PUT /aw-includes
{"settings":{"number_of_replicas":0},
"mappings":{"_source":{"includes":["a*"]}}}

POST /aw-includes/_bulk?refresh=true
{"index":{"_id":"0"}}
{"a":1,"b":"s"}`, omitted: "leaves fields out of _source", partly: true},
	{name: "fields", about: "1,500 fields", script: `PUT /aw-fields
{"settings":{"number_of_replicas":0,"mapping.total_fields.limit":1600},"mappings":{"properties":{` + awkwardFields() + `}}}

PUT /aw-fields/_doc/1?refresh=true
{"f1499":"x"}`},
	{name: "analyzers", about: "analyzers and filters of its own", script: `PUT /aw-analyzers
{"settings":{"number_of_replicas":0,"analysis":{"analyzer":{"mine":{"type":"custom","tokenizer":"standard","filter":["lowercase","own"]}},"filter":{"own":{"type":"stop","stopwords":["é","the"]}}}},
"mappings":{"properties":{"t":{"type":"text","analyzer":"mine","search_analyzer":"standard"}}}}

POST /aw-analyzers/_bulk?refresh=true
{"index":{"_id":"0"}}
{"t":"The É"}`},
	{name: "normalizer", about: "a normalizer of its own", script: `PUT /aw-normalizer
{"settings":{"number_of_replicas":0,"analysis":{"normalizer":{"low":{"type":"custom","filter":["lowercase"]}}}},
"mappings":{"properties":{"k":{"type":"keyword","normalizer":"low"}}}}

POST /aw-normalizer/_bulk?refresh=true
{"index":{"_id":"0"}}
{"k":"É x"}`},
	{name: "subobjects", about: "subobjects turned off", script: `PUT /aw-subobjects
{"settings":{"number_of_replicas":0},
"mappings":{"subobjects":false}}

POST /aw-subobjects/_bulk?refresh=true
{"index":{"_id":"0"}}
{"a":1,"a.b":2}`},
	{name: "similarity", about: "a similarity, term vectors, no norms", script: `PUT /aw-similarity
{"settings":{"number_of_replicas":0,"similarity":{"own":{"type":"BM25","b":"0.5"}}},
"mappings":{"properties":{"t":{"type":"text","similarity":"own","term_vector":"yes","norms":false}}}}

POST /aw-similarity/_bulk?refresh=true
{"index":{"_id":"0"}}
{"t":"x"}`},
	{name: "nested", about: "nested documents in nested documents", script: `PUT /aw-nested
{"settings":{"number_of_replicas":0},
"mappings":{"properties":{"n":{"type":"nested","properties":{"m":{"type":"nested"}}}}}}

POST /aw-nested/_bulk?refresh=true
{"index":{"_id":"0"}}
{"n":[{"a":1,"m":[{"b":1}]},{"a":2}]}`},
	{name: "dynamic-templates", about: "dynamic templates", script: `PUT /aw-dynamic-templates
{"settings":{"number_of_replicas":0},
"mappings":{"dynamic_templates":[{"s":{"match_mapping_type":"string","mapping":{"type":"keyword"}}}],"date_detection":false}}

POST /aw-dynamic-templates/_bulk?refresh=true
{"index":{"_id":"0"}}
{"s":"x","d":"2026-01-01"}`},
	{name: "runtime", about: "runtime fields", script: `PUT /aw-runtime
{"settings":{"number_of_replicas":0},
"mappings":{"runtime":{"r":{"type":"keyword"}}}}

POST /aw-runtime/_bulk?refresh=true
{"index":{"_id":"0"}}
{"a":1.0,"b":"é \u00e9 9007199254740993"}`},
	{name: "meta", about: "_meta, and new fields as runtime fields", script: `PUT /aw-meta
{"settings":{"number_of_replicas":0},
"mappings":{"_meta":{"n":1.10,"é":[null,{}]},"dynamic":"runtime"}}

POST /aw-meta/_bulk?refresh=true
{"index":{"_id":"0"}}
{"a":1.0,"b":"é \u00e9 9007199254740993"}`},
	{name: "dense", about: "dense vectors, not indexed", script: `PUT /aw-dense
{"settings":{"number_of_replicas":0},
"mappings":{"properties":{"v":{"type":"dense_vector","dims":4,"index":false}}}}

POST /aw-dense/_bulk?refresh=true
{"index":{"_id":"0"}}
{"v":[0.1,1.0,-2.5,3e-2],"p":1.5}`, vectors: true},
	{name: "dense-indexed", about: "dense vectors, indexed", script: `PUT /aw-dense-indexed
{"settings":{"number_of_replicas":0},
"mappings":{"properties":{"v":{"type":"dense_vector","dims":4,"similarity":"cosine"}}}}

POST /aw-dense-indexed/_bulk?refresh=true
{"index":{"_id":"0"}}
{"v":[0.1,1.0,-2.5,3.0],"p":1.5}`, vectors: true},
	{name: "synthetic", about: "synthetic _source", script: `PUT /aw-synthetic
{"settings":{"number_of_replicas":0,"mapping.source.mode":"synthetic"},
"mappings":{"properties":{"a":{"type":"keyword"},"n":{"type":"long"}}}}

POST /aw-synthetic/_bulk?refresh=true
{"index":{"_id":"0"}}
{"n":3,"a":["b","a"]}`},
	{name: "ignore-malformed", about: "a value that the field's type refuses, ignored", script: `PUT /aw-ignore-malformed
{"settings":{"number_of_replicas":0,"mapping.ignore_malformed":true},
"mappings":{"properties":{"f":{"type":"long"}}}}

POST /aw-ignore-malformed/_bulk?refresh=true
{"index":{"_id":"0"}}
{"f":"no"}`},
	{name: "copy-to", about: "copy_to, and a field that is an alias", script: `PUT /aw-copy-to
{"settings":{"number_of_replicas":0},
"mappings":{"properties":{"f":{"type":"keyword","copy_to":"g"},"g":{"type":"text"},"h":{"type":"alias","path":"f"}}}}

POST /aw-copy-to/_bulk?refresh=true
{"index":{"_id":"0"}}
{"f":"x"}`},
	{name: "synthetic-keep", about: "synthetic _source that keeps arrays as they came", script: `PUT /aw-synthetic-keep
{"settings":{"number_of_replicas":0,"mapping.source.mode":"synthetic","mapping.synthetic_source_keep":"arrays"},
"mappings":{"properties":{"a":{"type":"keyword"},"n":{"type":"long"}}}}

POST /aw-synthetic-keep/_bulk?refresh=true
{"index":{"_id":"0"}}
{"a":["b","a","b"],"n":3}`},
	{name: "strict", about: "a strict mapping", script: `PUT /aw-strict
{"settings":{"number_of_replicas":0},
"mappings":{"dynamic":"strict","properties":{"n":{"type":"long","null_value":0,"store":true}}}}

POST /aw-strict/_bulk?refresh=true
{"index":{"_id":"0"}}
{"n":null}
{"index":{"_id":"1"}}
{}`},
	{name: "doc-count", about: "a document that stands for several, and a value too long to be indexed", script: `PUT /aw-doc-count
{"settings":{"number_of_replicas":0},
"mappings":{"properties":{"k":{"type":"keyword","ignore_above":3}}}}

POST /aw-doc-count/_bulk?refresh=true
{"index":{"_id":"0"}}
{"_doc_count":5,"k":"long enough"}`},
	{name: "mapped-later", about: "a mapping that grew after the documents: fields, a multi-field, other parameters", script: `PUT /aw-mapped-later
{"settings":{"number_of_replicas":0},
"mappings":{"dynamic":false,"properties":{"k":{"type":"keyword"}}}}

POST /aw-mapped-later/_bulk?refresh=true
{"index":{"_id":"0"}}
{"k":"long enough","later":1.0}

PUT /aw-mapped-later/_mapping
{"properties":{"k":{"type":"keyword","ignore_above":3,"fields":{"t":{"type":"text"}}},"later":{"type":"double"}}}`},
	{name: "numbers", about: "integers beyond 2^53, and 1.0", script: `PUT /aw-numbers
{"settings":{"number_of_replicas":0},
"mappings":{"properties":{"v":{"type":"double"}}}}

POST /aw-numbers/_bulk?refresh=true
{"index":{"_id":"0"}}
{"v":9007199254740993}
{"index":{"_id":"1"}}
{"v":-9223372036854775808}
{"index":{"_id":"2"}}
{"v":1.0}`},
	{name: "decimals", about: "1E400, -0, more digits than a double has, a lone surrogate, __proto__", script: `PUT /aw-decimals
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
	{name: "duplicates-order", about: "spaces and the order of keys", script: `PUT /aw-duplicates-order
{"settings":{"number_of_replicas":0},
"mappings":{"enabled":false}}

POST /aw-duplicates-order/_bulk?refresh=true
{"index":{"_id":"0"}}
{ "b" : 1 , "a":  2 }`},
	awkwardType("boolean", `true`),
	awkwardType("byte", `1`),
	awkwardType("short", `-5`),
	awkwardType("integer", `7`),
	awkwardType("long", `9007199254740993`),
	awkwardType("float", `1.10`),
	awkwardType("half_float", `0.5`),
	awkwardType("double", `1e2`),
	awkwardType("date", `"2026-01-01"`),
	awkwardType("date_nanos", `"2026-01-01T00:00:00.123456789Z"`),
	awkwardType("keyword", `"é"`),
	awkwardType("text", `"t"`),
	awkwardType("ip", `"::1"`),
	awkwardType("geo_point", `{"lat":1.50,"lon":-2.0}`),
	awkwardType("integer_range", `{"gte":1,"lt":5}`),
	awkwardType("long_range", `{"gt":1}`),
	awkwardType("float_range", `{"gte":1.10}`),
	awkwardType("date_range", `{"gte":"2026-01-01"}`),
	awkwardType("ip_range", `"10.0.0.0/8"`),
	awkwardType("binary", `"AQI="`),
	awkwardType("completion", `["a","b"]`),
	awkwardType("flattened", `{"a":{"b":1.0}}`),
	awkwardType("object", `{"a":1}`),
}
