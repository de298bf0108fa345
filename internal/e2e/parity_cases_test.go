package e2e_test

import (
	"fmt"
	"strings"
)

// parityCases are the requests of TestParity. A blank line ends a request; its first line is the method and the path, the rest
// is the body. Before the method, @status compares the status alone, @v9 sends it to that version only,
// and @name keeps the id of a point in time or a scroll, which ${name} then stands for.
var parityCases = []struct{ name, script string }{
	{"create", `
PUT /parity-a
{"settings":{"number_of_shards":2,"number_of_replicas":0,"index":{"refresh_interval":"17s"}},"mappings":{"properties":{"k":{"type":"keyword"},"o":{"properties":{"n":{"type":"long"}}}}},"aliases":{"parity-x":{},"parity-y":{"routing":"r","filter":{"term":{"k":"v"}}},"parity-z":{"is_write_index":true,"search_routing":"a,b","index_routing":"a","is_hidden":true}}}

GET /parity-a

GET /parity-a?flat_settings=true

GET /parity-x

HEAD /parity-a

HEAD /parity-none

GET /parity-none

GET /parity-none?ignore_unavailable=true

GET /parity-none*

GET /parity-none*?allow_no_indices=false

GET /parity-a/_mapping

GET /parity-a/_settings

GET /parity-a/_settings/index.refresh*

GET /parity-a/_alias

GET /parity-a/_alias/parity-x

GET /parity-a/_alias/parity-q

PUT /parity-a

PUT /parity-x

PUT /Parity-B

PUT /_parity

PUT /parity-b%20c

PUT /parity-b
{"settings":{"foo":1}}

PUT /parity-b
{"settings":{"index.uuid":"x"}}

PUT /parity-b
{"settings":{"number_of_shards":0}}

PUT /parity-b
{"settings":{"number_of_replicas":-1}}

PUT /parity-b
{"settings":{"number_of_shards":"x"}}

PUT /parity-b
{"setings":{}}

PUT /parity-b
{"mappings":{"properties":{"a":{"type":"nonsense"}}}}

PUT /parity-b
{"mappings":{"properties":{"a":{"foo":"x"}}}}

PUT /parity-b
{"mappings":{"propertties":{"a":{"type":"long"}}}}

PUT /parity-b
{"aliases":{"parity-a":{}}}

PUT /parity-b
{"aliases":{"parity-b":{}}}

@status PUT /parity-b
{"broken

PUT /parity-b

GET /parity-b

DELETE /parity-x

DELETE /parity-*

DELETE /parity-none

DELETE /parity-none?ignore_unavailable=true

DELETE /parity-a,parity-b

GET /parity-a
`},
	{"settings", `
PUT /parity-a
{"settings":{"number_of_replicas":0,"refresh_interval":"17s","hidden":false}}

PUT /parity-a/_settings
{"index.refresh_interval":"5s","index":{"priority":7}}

GET /parity-a/_settings

PUT /parity-a/_settings
{"refresh_interval":null,"index.priority":null,"number_of_replicas":null}

GET /parity-a/_settings

PUT /parity-a/_settings
{"number_of_replicas":0,"settings":{"index.priority":3}}

PUT /parity-a/_settings
{"number_of_shards":3}

PUT /parity-a/_settings
{"codec":"best_compression"}

PUT /parity-a/_settings
{"nonsense":1}

PUT /parity-none/_settings
{"priority":1}

PUT /parity-a/_settings
{"index.blocks.write":true}

POST /parity-a/_doc/1
{"a":1}

POST /parity-a/_bulk?pipeline=_none
{"index":{"_id":"1"}}
{"a":1}

PUT /parity-a/_settings
{"index.priority":5}

PUT /parity-a/_settings
{"index.blocks.write":null,"index.blocks.read":true}

GET /parity-a/_search

GET /parity-a/_doc/1

GET /parity-a/_count

PUT /parity-a/_settings
{"index.blocks.read":false,"index.blocks.read_only":true}

GET /parity-a/_settings

POST /parity-a/_bulk
{"index":{"_id":"1"}}
{"a":1}

PUT /parity-a/_mapping
{"properties":{"z":{"type":"long"}}}

DELETE /parity-a

PUT /parity-a/_settings
{"index.priority":1}

PUT /parity-a/_settings
{"index.blocks.read_only":false}

PUT /parity-a/_block/write

PUT /parity-a/_block/nonsense

GET /parity-a/_settings

PUT /parity-a/_settings
{"index.blocks.write":null}

GET /parity-a/_settings

PUT /parity-a/_settings
{"index.blocks.read_only_allow_delete":true}

POST /parity-a/_bulk
{"index":{"_id":"1"}}
{"a":1}

PUT /parity-a/_settings
{"index.blocks.read_only_allow_delete":null,"index.blocks.write":null,"index.blocks.metadata":true}

GET /parity-a

PUT /parity-a/_settings
{"index.blocks.metadata":null}

DELETE /parity-a
`},
	{"close", `
PUT /parity-a
{"settings":{"number_of_replicas":0}}

PUT /parity-a/_doc/1?refresh=true
{"a":1}

POST /parity-a/_close

GET /parity-a

GET /parity-*

GET /parity-*?expand_wildcards=all

GET /parity-a/_search

GET /parity-*/_search

GET /parity-a/_count

GET /parity-a/_doc/1

POST /parity-a/_doc/1
{}

POST /parity-a/_bulk
{"index":{"_id":"1"}}
{"a":1}

POST /parity-a/_refresh

POST /parity-a/_pit?keep_alive=1m

GET /parity-a/_stats

PUT /parity-a/_settings
{"codec":"best_compression","priority":4}

PUT /parity-a/_settings
{"number_of_shards":4}

GET /parity-a/_settings?expand_wildcards=all

GET /_cluster/state/metadata/parity-a?filter_path=metadata.indices.*.state

POST /parity-a/_open

GET /parity-a/_search

POST /parity-none/_close

POST /parity-none/_open
`},
	{"clone", `
PUT /parity-a
{"settings":{"number_of_shards":2,"number_of_replicas":0,"refresh_interval":"9s"},"mappings":{"properties":{"k":{"type":"keyword"}}},"aliases":{"parity-x":{}}}

POST /parity-a/_bulk?refresh=true
{"index":{"_id":"1"}}
{"k":"a"}
{"index":{"_id":"2"}}
{"k":"b"}
{"index":{"_id":"1"}}
{"k":"c"}
{"delete":{"_id":"2"}}

PUT /parity-a/_clone/parity-b

PUT /parity-a/_settings
{"index.blocks.write":true}

PUT /parity-a/_clone/parity-b
{"settings":{"index.blocks.write":null,"index.number_of_replicas":0}}

GET /parity-b?filter_path=*.aliases,*.mappings,*.settings.index.number_of_shards,*.settings.index.refresh_interval

GET /_cluster/health/parity-b?wait_for_status=green&filter_path=status

GET /parity-b/_search?seq_no_primary_term=true&version=true

PUT /parity-none/_clone/parity-c

PUT /parity-a/_clone/parity-b
`},
	{"aliases", `
PUT /parity-a
{"settings":{"number_of_replicas":0},"mappings":{"properties":{"k":{"type":"keyword"}}}}

PUT /parity-b
{"settings":{"number_of_replicas":0,"number_of_shards":2}}

POST /_aliases
{"actions":[{"add":{"index":"parity-a","alias":"parity-x","filter":{"term":{"k":"v"}}}},{"add":{"indices":["parity-a","parity-b"],"alias":"parity-y","routing":"r"}}]}

GET /_alias/parity-*

GET /_alias/parity-y

GET /_alias/parity-none

POST /parity-a/_bulk?refresh=true
{"index":{"_id":"1"}}
{"k":"v"}
{"index":{"_id":"2"}}
{"k":"w"}

GET /parity-x/_search

GET /parity-x/_count

PUT /parity-x/_doc/3?refresh=true
{"k":"v"}

PUT /parity-y/_doc/3
{"k":"v"}

POST /_aliases
{"actions":[{"add":{"index":"parity-b","alias":"parity-y","is_write_index":true,"index_routing":"q","search_routing":"q,r"}}]}

POST /parity-y/_bulk?refresh=true
{"index":{"_id":"7"}}
{"n":1}

GET /parity-b/_search

GET /parity-b/_doc/7?routing=q

POST /_aliases
{"actions":[{"add":{"index":"parity-a","alias":"parity-y","is_write_index":true}}]}

POST /_aliases
{"actions":[{"add":{"index":"parity-a","alias":"parity-b"}}]}

POST /_aliases
{"actions":[{"add":{"index":"parity-none","alias":"parity-q"}}]}

POST /_aliases
{"actions":[{"remove":{"index":"parity-a","alias":"parity-q"}}]}

POST /_aliases
{"actions":[{"remove":{"index":"parity-a","alias":"parity-q","must_exist":false}}]}

POST /_aliases
{"actions":[]}

POST /_aliases
{"actions":[{"add":{"index":"parity-a","alias":"parity-w"}},{"remove":{"index":"parity-a","alias":"parity-none","must_exist":true}}]}

GET /parity-a/_alias

PUT /parity-a/_alias/parity-v
{"routing":"q"}

DELETE /parity-a/_alias/parity-v

DELETE /parity-a/_alias/parity-v

HEAD /_alias/parity-v

GET /_alias/parity-x,parity-none

POST /_aliases
{"actions":[{"remove_index":{"index":"parity-a"}},{"add":{"index":"parity-b","alias":"parity-a"}}]}

GET /parity-a/_alias
`},
	{"resolve", `
PUT /parity-a
{"settings":{"number_of_replicas":0},"aliases":{"parity-x":{}}}

PUT /parity-b
{"settings":{"number_of_replicas":0}}

PUT /parity-h
{"settings":{"number_of_replicas":0,"hidden":true}}

POST /parity-b/_close

GET /_resolve/index/parity-*

GET /_resolve/index/parity-*?expand_wildcards=open

GET /_resolve/index/parity-*?expand_wildcards=open,closed

GET /_resolve/index/parity-*?expand_wildcards=all

GET /_resolve/index/parity-*?expand_wildcards=open,hidden

GET /_resolve/index/parity-a,parity-h

GET /_resolve/index/parity-x

GET /_resolve/index/parity-none

GET /_resolve/index/parity-none*

GET /parity-*/_settings?filter_path=*.settings.index.hidden,*.settings.index.number_of_replicas

GET /parity-*/_settings?expand_wildcards=open,hidden&filter_path=*.settings.index.number_of_replicas
`},
	{"bulk", `
PUT /parity-a
{"settings":{"number_of_replicas":0},"mappings":{"properties":{"l":{"type":"long"}}}}

POST /parity-a/_bulk
{"index":{"_id":"1"}}
{"l":1}
{"create":{"_id":"1"}}
{"l":1}
{"create":{"_id":"2","routing":"r"}}
{"l":2}
{"update":{"_id":"1"}}
{"doc":{"l":5}}
{"update":{"_id":"1"}}
{"doc":{"l":5}}
{"update":{"_id":"9"}}
{"doc":{"l":5}}
{"update":{"_id":"8"}}
{"doc":{"l":5},"doc_as_upsert":true}
{"update":{"_id":"7"}}
{"doc":{"l":5},"upsert":{"l":6}}
{"delete":{"_id":"1"}}
{"delete":{"_id":"1"}}
{"index":{"_id":"3"}}
{"l":"x"}
{"index":{"_id":"4","if_seq_no":0,"if_primary_term":1}}
{"l":1}
{"index":{"_id":"2","if_seq_no":100,"if_primary_term":1}}
{"l":1}
{"index":{"_id":"e","_index":"parity-none-B"}}
{}
{"index":{"_id":"e"}}
{}

POST /parity-a/_bulk?refresh=true
{"index":{"_id":"5","version":7,"version_type":"external"}}
{"l":1}
{"index":{"_id":"5","version":7,"version_type":"external"}}
{"l":1}
{"index":{"_id":"5","version":7,"version_type":"external_gte"}}
{"l":2}
{"index":{"_id":"5","version":9,"version_type":"external"}}
{"l":3}
{"delete":{"_id":"5","version":3,"version_type":"external"}}
{"delete":{"_id":"5","version":30,"version_type":"external"}}
{"index":{"_id":"5","version":20,"version_type":"external"}}
{"l":4}
{"create":{"_id":"5"}}
{"l":5}

GET /parity-a/_doc/5

POST /parity-a/_bulk
{"index":{"_id":"1"}}
{"l":1}<cut>

POST /parity-a/_bulk
{"foo":{"_id":"1"}}
{"l":1}

POST /parity-a/_bulk
["index"]
{"l":1}

POST /parity-a/_bulk
{"index":{"_id":"1","nonsense":true}}
{"l":1}

@status POST /parity-a/_bulk
{"index":{"_id":"1"}}
{"l":x}

POST /parity-a/_bulk
{"index":{"_id":"1"}}
[1]

POST /parity-a/_bulk
{"index":{"_id":"1"}}
null

POST /parity-a/_bulk
{"index":{"_id":"1"}}

POST /parity-a/_bulk
{"index":{"_id":""}}
{"l":1}

POST /parity-a/_bulk
{"index":{"_id":"` + long513 + `"}}
{"l":1}

POST /parity-a/_bulk

POST /_bulk
{"index":{"_id":"1"}}
{"l":1}

GET /parity-a/_bulk

POST /parity-a/_bulk?pipeline=_none
{"index":{"_id":"p"}}
{"l":1}

POST /parity-a/_bulk?pipeline=parity-none
{"index":{"_id":"p2"}}
{"l":1}

POST /parity-a/_bulk?require_alias=true
{"index":{"_id":"p3"}}
{"l":1}

POST /parity-none/_bulk?require_alias=true
{"index":{"_id":"p3"}}
{"l":1}

POST /parity-none/_bulk
{"delete":{"_id":"p3"}}

POST /parity-a/_bulk?filter_path=errors,items.*.error,items.*.status
{"index":{"_id":"f1"}}
{"l":1}
{"create":{"_id":"f1"}}
{"l":1}

POST /parity-a/_bulk?filter_path=items.*.error
{"index":{"_id":"f1"}}
{"l":1}

GET /parity-a/_search?sort=_seq_no&seq_no_primary_term=true&version=true

PUT /parity-r
{"settings":{"number_of_replicas":0,"number_of_shards":3},"mappings":{"_routing":{"required":true}}}

POST /parity-r/_bulk?refresh=true
{"index":{"_id":"1"}}
{"l":1}
{"index":{"_id":"1","routing":"a"}}
{"l":1}
{"delete":{"_id":"1"}}
{"index":{"_id":"1","routing":"b"}}
{"l":1}
{"update":{"_id":"1"}}
{"doc":{}}
{"index":{}}
{"l":3}

GET /parity-r/_doc/1

GET /parity-r/_doc/1?routing=a

PUT /parity-r/_doc/1
{}

GET /parity-r/_search?sort=_seq_no
`},
	{"documents", `
PUT /parity-a
{"settings":{"number_of_replicas":0,"number_of_shards":1,"refresh_interval":-1}}

PUT /parity-a/_doc/1
{"a":1.0, "b":[1.5,2e2]}

PUT /parity-a/_doc/1
{"a":2}

PUT /parity-a/_create/1
{"a":2}

PUT /parity-a/_doc/1?op_type=create
{"a":2}

GET /parity-a/_doc/1

GET /parity-a/_doc/1?_source=false

GET /parity-a/_doc/1?_source_includes=b

GET /parity-a/_source/1

HEAD /parity-a/_doc/1

HEAD /parity-a/_doc/2

GET /parity-a/_doc/2

GET /parity-a/_source/2

GET /parity-none/_doc/2

GET /parity-a/_search

POST /parity-a/_refresh

GET /parity-a/_search

POST /parity-a/_update/1
{"doc":{"c":{"d":1}}}

POST /parity-a/_update/1
{"doc":{"c":{"d":1}}}

POST /parity-a/_update/2
{"doc":{"c":{"d":1}}}

DELETE /parity-a/_doc/1

DELETE /parity-a/_doc/1

GET /parity-a/_doc/1

GET /parity-a/_count

POST /parity-a/_refresh

GET /parity-a/_count

@status PUT /parity-a/_doc/1
{"a":1

PUT /parity-a/_doc/1

PUT /parity-a/_doc/1
[]

PUT /parity-a/_doc/1?if_seq_no=3&if_primary_term=1
{"a":1}

PUT /parity-a/_doc/1?routing=x&refresh=true
{"a":1}

GET /parity-a/_doc/1?routing=x

GET /parity-a/_doc/1?routing=x&_source=false

POST /parity-a/_mget
{"ids":["1","2"]}

POST /_mget
{"docs":[{"_index":"parity-a","_id":"1","routing":"x","_source":false},{"_index":"parity-none","_id":"1"}]}

GET /parity-a/_mapping

POST /parity-none/_refresh
`},
	{"stats", `
PUT /parity-a
{"settings":{"number_of_replicas":0,"number_of_shards":2}}

POST /parity-a/_bulk?refresh=true
{"index":{"_id":"1"}}
{"a":1}
{"index":{"_id":"2"}}
{"a":1}
{"index":{"_id":"3"}}
{"a":1}
{"delete":{"_id":"3"}}

GET /parity-a/_stats?level=shards&filter_path=_shards,indices.*.shards.*.seq_no,indices.*.shards.*.routing.state,indices.*.shards.*.routing.primary,indices.*.health,indices.*.status

GET /parity-a/_stats/docs,store?level=shards&filter_path=indices.*.shards.*.seq_no,indices.*.primaries.docs.count,_all.primaries.docs.count

GET /parity-none/_stats?level=shards

@status GET /parity-a/_stats/nonsense

GET /_cluster/state/metadata/parity-a?filter_path=metadata.indices.*.primary_terms,metadata.indices.*.state,metadata.indices.*.routing_num_shards,metadata.indices.*.aliases

POST /parity-a/_close

POST /parity-a/_open

GET /_cluster/state/metadata/parity-a?filter_path=metadata.indices.*.primary_terms

@status GET /_cluster/state/metadata/parity-none

GET /_cluster/state/metadata/parity-none*?filter_path=metadata.indices

GET /_cluster/health/parity-a?filter_path=status,timed_out,active_primary_shards,unassigned_shards

GET /_cluster/health/parity-none?timeout=10ms&filter_path=status,timed_out

POST /parity-a/_flush

POST /parity-a/_forcemerge

GET /parity-a/_stats?level=shards&filter_path=indices.*.shards.*.commit.user_data.max_seq_no,indices.*.shards.*.commit.user_data.local_checkpoint

@status GET /_nodes

@status GET /

GET /?filter_path=version.number,tagline

POST /

@status GET /_cat/indices/parity-*?format=json
`},
	{"point in time", `
PUT /parity-a
{"settings":{"number_of_replicas":0,"number_of_shards":2}}

POST /parity-a/_bulk?refresh=true
` + bulkNumbers + `

@p POST /parity-a/_pit?keep_alive=1m

@s POST /parity-a/_pit?keep_alive=1m&preference=_shards:0

POST /parity-a/_bulk?refresh=true
{"delete":{"_id":"n3"}}
{"index":{"_id":"n4"}}
{"n":400}
{"index":{"_id":"new"}}
{"n":5}

POST /_search
{"pit":{"id":"${p}","keep_alive":"2m"},"size":3,"sort":[{"n":"asc"}]}

POST /_search
{"pit":{"id":"${p}"},"size":3,"sort":[{"n":{"order":"desc"}}],"search_after":[25]}

POST /_search
{"pit":{"id":"${p}"},"size":2,"sort":[{"n":{"order":"desc"}}],"search_after":[25,0]}

POST /_search
{"pit":{"id":"${s}"},"size":100,"sort":["_shard_doc"],"track_total_hits":false,"_source":false}

POST /_search
{"pit":{"id":"${s}"},"size":2,"sort":["_shard_doc"],"search_after":[3],"track_total_hits":false,"seq_no_primary_term":true,"version":true}

POST /_search
{"pit":{"id":"${s}"},"size":3,"sort":["_seq_no"],"query":{"range":{"_seq_no":{"gte":2,"lt":12}}}}

POST /_search
{"pit":{"id":"${s}"},"size":3,"sort":["_doc"]}

POST /_search
{"pit":{"id":"${p}"},"size":1}

POST /parity-a/_search
{"pit":{"id":"${p}"},"size":1}

POST /_search?preference=_shards:0
{"pit":{"id":"${p}"},"size":1}

@status POST /_search
{"pit":{"id":"nonsense"},"size":1}

@status POST /_search
{"pit":{"id":""},"size":1}

POST /_search
{"pit":{"id":"${p}"},"from":1,"search_after":[1],"sort":[{"n":"asc"}]}

DELETE /_pit
{"id":"${p}"}

DELETE /_pit
{"id":"${p}"}

POST /_search
{"pit":{"id":"${p}"},"size":1}

DELETE /_pit
{"id":"${s}"}

POST /_search
{"pit":{"id":"${s}"},"size":1}

POST /parity-a/_pit

POST /parity-a/_pit?keep_alive=x

@status POST /parity-a/_pit?keep_alive=2d

POST /parity-none/_pit?keep_alive=1m

@q POST /parity-none/_pit?keep_alive=1m&ignore_unavailable=true

@s POST /parity-a/_pit?keep_alive=1m

DELETE /parity-a

POST /_search
{"pit":{"id":"${s}"},"size":1}
`},
	{"search", `
PUT /parity-a
{"settings":{"number_of_replicas":0},"mappings":{"properties":{"k":{"type":"keyword"},"n":{"type":"long"},"d":{"type":"date"},"b":{"type":"boolean"},"f":{"type":"double"},"t":{"type":"text","fields":{"raw":{"type":"keyword"}}},"ip":{"type":"ip"}}}}

POST /parity-a/_bulk?refresh=true
{"index":{"_id":"1"}}
{"k":"a","n":1,"d":"2026-01-01","b":true,"f":0.5,"t":"Hello World","ip":"10.0.0.1","o":{"x":1,"y":{"z":2}}}
{"index":{"_id":"2"}}
{"k":"b","n":9007199254740993,"d":"2026-01-02T03:04:05.678Z","b":false,"f":1e2,"t":"hello","ip":"10.0.0.20","o":{"x":2}}
{"index":{"_id":"3","routing":"r"}}
{"k":["a","c"],"n":[5,7],"d":1767500000000,"b":"true","f":3,"t":"other words"}
{"index":{"_id":"4"}}
{"k":null,"n":3}
{"index":{"_id":"5"}}
{"k":"z","n":-4,"f":-1.5}

GET /parity-a/_search

POST /parity-a/_search
{"query":{"match_all":{}},"size":0}

POST /parity-a/_search
{"query":{"match_none":{}}}

POST /parity-a/_search
{"query":{"range":{"_seq_no":{"gte":1,"lt":3}}},"sort":["_seq_no"]}

POST /parity-a/_search
{"query":{"range":{"_seq_no":{"gt":1,"lte":9223372036854775807}}},"sort":[{"_seq_no":"desc"}],"seq_no_primary_term":true}

POST /parity-a/_search
{"query":{"term":{"k":"a"}}}

POST /parity-a/_search
{"query":{"term":{"n":{"value":7}}}}

POST /parity-a/_search
{"query":{"terms":{"_id":["1","5"]}}}

POST /parity-a/_search
{"query":{"term":{"_id":"4"}}}

POST /parity-a/_search
{"query":{"terms":{"k":["b","c","q"]}}}

POST /parity-a/_search
{"query":{"term":{"_routing":"r"}}}

POST /parity-a/_search
{"query":{"ids":{"values":["1","5","nope"]}}}

POST /parity-a/_search
{"query":{"exists":{"field":"k"}}}

POST /parity-a/_search
{"query":{"exists":{"field":"o"}},"_source":false}

POST /parity-a/_search
{"query":{"exists":{"field":"_routing"}},"_source":false}

POST /parity-a/_search
{"query":{"exists":{"field":"nope"}},"_source":false}

POST /parity-a/_search
{"query":{"bool":{"filter":[{"range":{"n":{"gte":1}}}],"must_not":[{"term":{"k":"b"}}],"should":[{"term":{"k":"a"}}]}},"sort":["_doc"],"_source":false}

POST /parity-a/_search
{"query":{"bool":{"should":[{"term":{"k":"z"}},{"term":{"b":true}}],"minimum_should_match":1}},"sort":["_doc"],"_source":false}

POST /parity-a/_search
{"query":{"bool":{"should":[{"term":{"k":"z"}},{"term":{"b":"true"}}]}},"sort":["_doc"],"_source":false}

POST /parity-a/_search
{"query":{"bool":{}},"_source":false,"sort":["_doc"]}

POST /parity-a/_search
{"query":{"range":{"d":{"gte":"2026-01-02","lt":"2026-01-03"}}},"_source":false}

POST /parity-a/_search
{"query":{"range":{"d":{"gt":"2026-01-01T00:00:00Z"}}},"_source":false,"sort":["_doc"]}

POST /parity-a/_search
{"query":{"range":{"n":{"gt":9007199254740992}}},"_source":false}

POST /parity-a/_search
{"query":{"range":{"ip":{"gte":"10.0.0.3"}}},"_source":false}

POST /parity-a/_search
{"query":{"match":{"t":"Hello"}},"_source":false,"sort":["_doc"]}

POST /parity-a/_search
{"query":{"term":{"t.raw":"Hello World"}},"_source":false}

POST /parity-a/_search
{"query":{"term":{"t":"Hello"}},"_source":false}

POST /parity-a/_search
{"query":{"prefix":{"t.raw":"hel"}},"_source":false}

POST /parity-a/_search
{"query":{"wildcard":{"t.raw":{"value":"*wor*"}}},"_source":false}

POST /parity-a/_search
{"query":{"constant_score":{"filter":{"term":{"k":"a"}}}},"_source":false}

POST /parity-a/_search
{"query":{"nonsense":{}}}

POST /parity-a/_search
{"query":{}}

POST /parity-a/_search
{"nonsense":1}

@status POST /parity-a/_search
{"broken

POST /parity-a/_search
{"query":{"range":{"n":{"gte":"x"}}}}

POST /parity-a/_search
{"query":{"range":{"d":{"gte":"x"}}}}

POST /parity-a/_search
{"query":{"term":{"n":"x"}}}

POST /parity-a/_search
{"sort":[{"n":"asc"}],"_source":false}

POST /parity-a/_search
{"sort":[{"n":{"order":"desc"}}],"_source":false}

POST /parity-a/_search
{"sort":[{"k":"asc"},{"n":"desc"}],"_source":false}

POST /parity-a/_search
{"sort":[{"k":{"order":"desc","missing":"_first"}}],"_source":false}

POST /parity-a/_search
{"sort":[{"d":"desc"}],"_source":false}

POST /parity-a/_search
{"sort":[{"f":"desc"}],"_source":false}

POST /parity-a/_search
{"sort":[{"b":"asc"},"_seq_no"],"_source":false}

POST /parity-a/_search
{"sort":["nope"],"_source":false}

POST /parity-a/_search
{"sort":["t"],"_source":false}

POST /parity-a/_search
{"sort":["_shard_doc"],"_source":false}

POST /parity-a/_search
{"sort":["_seq_no"],"search_after":[2],"_source":false}

POST /parity-a/_search
{"sort":[{"n":"asc"}],"search_after":[3],"size":2,"_source":false}

POST /parity-a/_search
{"sort":[{"k":"asc"},{"_seq_no":"asc"}],"search_after":["a",0],"_source":false}

POST /parity-a/_search
{"sort":[{"n":"asc"}],"search_after":[3,4],"_source":false}

POST /parity-a/_search
{"search_after":[3],"_source":false}

POST /parity-a/_search
{"sort":[{"n":"asc"}],"search_after":["x"],"_source":false}

POST /parity-a/_search
{"size":10001}

POST /parity-a/_search
{"size":9999,"from":2}

POST /parity-a/_search
{"size":-1}

POST /parity-a/_search
{"from":-1}

POST /parity-a/_search
{"size":2,"from":1,"sort":["_doc"],"_source":false}

POST /parity-a/_search?size=1&sort=n:desc&_source=false

POST /parity-a/_search
{"size":1,"track_total_hits":true,"_source":false}

POST /parity-a/_search
{"size":1,"track_total_hits":false,"_source":false}

POST /parity-a/_search
{"size":1,"track_total_hits":2,"_source":false}

POST /parity-a/_search
{"size":1,"track_total_hits":5,"_source":false}

POST /parity-a/_search
{"size":1,"_source":["o.y","k"]}

POST /parity-a/_search
{"size":1,"_source":"o.*"}

POST /parity-a/_search
{"size":3,"_source":{"includes":["o","n","f"],"excludes":["o.y"]},"sort":["_doc"]}

POST /parity-a/_search
{"size":3,"_source":{"excludes":["o","t"]},"sort":["_doc"]}

POST /parity-a/_search?_source_excludes=o,t,k&size=1

POST /parity-a/_search
{"size":3,"stored_fields":"_none_","_source":false,"sort":["_seq_no"]}

POST /parity-a/_search
{"size":1,"stored_fields":"_none_","sort":["_seq_no"]}

POST /parity-a/_search
{"size":3,"stored_fields":["_routing"],"sort":["_seq_no"]}

POST /parity-none/_search

POST /parity-none/_search?ignore_unavailable=true

POST /parity-none*/_search

POST /parity-a/_search?preference=_shards:0
{"size":1,"_source":false}

POST /parity-a/_search?preference=_shards:5
{"size":1,"_source":false}

POST /parity-a/_search?preference=_shards:x
{"size":1,"_source":false}

POST /parity-a/_count
{"query":{"term":{"k":"a"}}}

POST /parity-a/_count
{"query":{"nonsense":{}}}

GET /parity-none/_count

GET /parity-none*/_count

POST /parity-a/_count
{"size":1}
`},
	{"scroll", `
PUT /parity-a
{"settings":{"number_of_replicas":0,"number_of_shards":1}}

POST /parity-a/_bulk?refresh=true
` + bulkNumbers + `

@s POST /parity-a/_search?scroll=1m
{"size":12,"sort":["_doc"]}

POST /_search/scroll
{"scroll":"1m","scroll_id":"${s}"}

POST /_search/scroll
{"scroll":"1m","scroll_id":"${s}"}

POST /_search/scroll
{"scroll":"1m","scroll_id":"${s}"}

DELETE /_search/scroll
{"scroll_id":"${s}"}

DELETE /_search/scroll
{"scroll_id":["${s}"]}

POST /_search/scroll
{"scroll":"1m","scroll_id":"${s}"}

@status POST /_search/scroll
{"scroll":"1m","scroll_id":"nonsense"}

POST /_search/scroll
{"scroll":"1m"}

POST /parity-a/_search?scroll=1m
{"size":0}

POST /parity-a/_search?scroll=1m
{"track_total_hits":false}

POST /parity-a/_search?scroll=1m
{"size":10001}

POST /parity-a/_search?scroll=1m
{"from":3}

POST /parity-a/_search?scroll=1m
{"search_after":[3],"sort":["n"]}

POST /parity-a/_search?scroll=2d
`},
	{"aggregations", `
PUT /parity-a
{"settings":{"number_of_replicas":0,"number_of_shards":1},"mappings":{"properties":{"k":{"type":"keyword"},"n":{"type":"long"},"f":{"type":"double"},"d":{"type":"date"},"b":{"type":"boolean"}}}}

POST /parity-a/_bulk?refresh=true
{"index":{"_id":"1"}}
{"k":"a","n":1,"f":0.25,"d":"2026-01-01","b":true}
{"index":{"_id":"2"}}
{"k":"b","n":12,"f":1e2,"d":"2026-01-02","b":false}
{"index":{"_id":"3"}}
{"k":["a","c"],"n":[25,27],"f":3}
{"index":{"_id":"4"}}
{"n":3}
{"index":{"_id":"5"}}
{"k":"z","n":-4,"f":-1.5}

POST /parity-a/_search
{"size":0,"aggs":{"h":{"histogram":{"field":"_seq_no","interval":2,"min_doc_count":1},"aggs":{"s":{"sum":{"field":"_seq_no"}},"m":{"max":{"field":"_seq_no"}}}}}}

POST /parity-a/_search
{"size":0,"aggs":{"h":{"histogram":{"field":"_seq_no","interval":3,"offset":1,"min_doc_count":1}}}}

POST /parity-a/_search
{"query":{"terms":{"_seq_no":[0,3,99]}},"sort":[{"_seq_no":"asc"}],"_source":false,"stored_fields":"_none_"}

PUT /parity-a/_settings
{"index.max_terms_count":2}

POST /parity-a/_search
{"query":{"terms":{"_seq_no":[0,3,99]}}}

POST /parity-a/_search
{"size":0,"query":{"terms":{"_seq_no":[0,3]}}}

PUT /parity-a/_settings
{"index.max_terms_count":null}

POST /parity-a/_search
{"size":0,"query":{"range":{"_seq_no":{"gte":1,"lt":4}}},"aggs":{"h":{"histogram":{"field":"_seq_no","interval":2,"offset":1,"min_doc_count":0}}}}

POST /parity-a/_search
{"size":0,"aggs":{"h":{"histogram":{"field":"n","interval":10}}}}

POST /parity-a/_search
{"size":0,"aggs":{"h":{"histogram":{"field":"n","interval":10,"offset":5,"min_doc_count":2}}}}

POST /parity-a/_search
{"size":0,"aggs":{"h":{"histogram":{"field":"n","interval":0}}}}

POST /parity-a/_search
{"size":0,"aggs":{"h":{"histogram":{"field":"n","interval":10,"keyed":true}}}}

POST /parity-a/_search
{"size":0,"aggs":{"r":{"range":{"field":"_seq_no","ranges":[{"key":"x","from":2,"to":4},{"from":0,"to":2},{"to":1},{"from":4},{"key":"w","from":3,"to":3}]},"aggs":{"s":{"sum":{"field":"_seq_no"}}}}}}

POST /parity-a/_search
{"size":0,"aggs":{"r":{"range":{"field":"n","ranges":[{"from":"1","to":"12.5"},{"from":20}]}}}}

POST /parity-a/_search
{"size":0,"aggs":{"r":{"range":{"field":"n","ranges":[{"key":"10000000000","from":10000000000,"to":20000000000}]}}}}

POST /parity-a/_search
{"size":0,"aggs":{"r":{"range":{"field":"n","keyed":true,"ranges":[{"key":"q","from":1,"to":5}]}}}}

POST /parity-a/_search
{"size":0,"aggs":{"r":{"range":{"field":"n","ranges":[]}}}}

POST /parity-a/_search
{"size":0,"aggs":{"a":{"sum":{"field":"n"}},"b":{"stats":{"field":"n"}},"c":{"min":{"field":"f"}},"d":{"max":{"field":"f"}},"e":{"value_count":{"field":"n"}},"f":{"avg":{"field":"f"}},"g":{"value_count":{"field":"k"}}}}

POST /parity-a/_search
{"size":0,"query":{"match_none":{}},"aggs":{"a":{"sum":{"field":"n"}},"b":{"stats":{"field":"n"}},"c":{"min":{"field":"f"}},"e":{"value_count":{"field":"n"}},"f":{"avg":{"field":"f"}},"h":{"histogram":{"field":"n","interval":10}},"t":{"terms":{"field":"k"}}}}

POST /parity-a/_search
{"size":0,"aggs":{"a":{"filter":{"term":{"k":"a"}},"aggs":{"s":{"sum":{"field":"n"}}}},"b":{"filters":{"filters":{"x":{"term":{"k":"a"}},"y":{"match_all":{}}}}},"c":{"filters":{"filters":[{"term":{"k":"a"}},{"exists":{"field":"f"}}]}}}}

POST /parity-a/_search
{"size":0,"aggs":{"a":{"terms":{"field":"k"},"aggs":{"s":{"max":{"field":"n"}}}},"b":{"terms":{"field":"n","size":2}},"c":{"terms":{"field":"b"}},"d":{"terms":{"field":"f"}},"e":{"terms":{"field":"_index"}}}}

POST /parity-a/_search
{"size":0,"aggs":{"a":{"nonsense":{"field":"n"}}}}

POST /parity-a/_search
{"size":0,"aggs":{"a":{"sum":{"field":"nope"}}}}

POST /parity-a/_search
{"size":0,"aggs":{"a":{"sum":{"field":"k"}}}}

POST /parity-a/_search
{"size":0,"aggs":{"a":{"terms":{"field":"nope"}}}}

POST /parity-none*/_search
{"size":0,"aggs":{"a":{"sum":{"field":"n"}}}}
`},
	{"mappings", `
PUT /parity-a
{"settings":{"number_of_replicas":0},"mappings":{"properties":{"l":{"type":"long"},"i":{"type":"byte"},"d":{"type":"date"},"b":{"type":"boolean"},"v":{"type":"dense_vector","dims":2,"index":false},"s":{"dynamic":"strict","properties":{"k":{"type":"keyword"}}},"ip":{"type":"ip"},"k":{"type":"keyword"},"o":{"type":"object"},"m":{"type":"long","ignore_malformed":true},"x":{"type":"object","enabled":false},"g":{"type":"geo_point"},"n":{"type":"nested"},"h":{"type":"half_float"}}}}

POST /parity-a/_bulk?pipeline=_none
{"index":{"_id":"1"}}
{"l":"x"}
{"index":{"_id":"2"}}
{"l":1.5}
{"index":{"_id":"3"}}
{"l":"12"}
{"index":{"_id":"4"}}
{"l":9223372036854775808}
{"index":{"_id":"5"}}
{"i":300}
{"index":{"_id":"6"}}
{"d":"yesterday"}
{"index":{"_id":"7"}}
{"d":"2026-02-03T04:05:06"}
{"index":{"_id":"8"}}
{"b":"yes"}
{"index":{"_id":"9"}}
{"b":1}
{"index":{"_id":"10"}}
{"v":[1]}
{"index":{"_id":"11"}}
{"v":[1,2]}
{"index":{"_id":"12"}}
{"s":{"q":1}}
{"index":{"_id":"13"}}
{"s":{"k":"x"}}
{"index":{"_id":"14"}}
{"ip":"300.1.1.1"}
{"index":{"_id":"15"}}
{"k":{"a":1}}
{"index":{"_id":"16"}}
{"o":1}
{"index":{"_id":"17"}}
{"m":"bad"}
{"index":{"_id":"18"}}
{"x":{"any":[1,"a",{}]}}
{"index":{"_id":"19"}}
{"l":{"a":1}}
{"index":{"_id":"20"}}
{"l":true}
{"index":{"_id":"21"}}
{"b":""}
{"index":{"_id":"22"}}
{"l":""}
{"index":{"_id":"23"}}
{"k":5,"l":null,"d":1767500000000}
{"index":{"_id":"24"}}
{"n":[{"a":1},{"a":2}]}
{"index":{"_id":"25"}}
{"n":5}
{"index":{"_id":"28"}}
{"h":1e9}
{"index":{"_id":"29"}}
{"":1}
{"index":{"_id":"30"}}
{"_id":"x"}
{"index":{"_id":"31"}}
{"a..b":1}

PUT /parity-b
{"settings":{"number_of_replicas":0},"mappings":{"dynamic":"strict","properties":{"l":{"type":"long"}}}}

POST /parity-b/_bulk
{"index":{"_id":"1"}}
{"l":1}
{"index":{"_id":"2"}}
{"q":1}

PUT /parity-c
{"settings":{"number_of_replicas":0}}

POST /parity-c/_bulk?refresh=true
{"index":{"_id":"1"}}
{"l":1,"f":1.5,"s":"text","b":true,"d":"2026-01-01","o":{"a":{"b":1}},"n":null,"e":[],"a":[1,2],"dd":"20260101"}
{"index":{"_id":"2"}}
{"l":"x"}
{"index":{"_id":"3"}}
{"o":5}
{"index":{"_id":"4"}}
{"x.y.z":5}

GET /parity-c/_mapping

PUT /parity-c/_mapping
{"properties":{"l":{"type":"keyword"}}}

PUT /parity-c/_mapping
{"properties":{"new":{"type":"keyword","ignore_above":10}},"dynamic":"false"}

PUT /parity-c/_mapping
{"properties":{"new":{"type":"nonsense"}}}

GET /parity-c/_mapping

POST /parity-c/_bulk
{"index":{"_id":"5"}}
{"unknown":1}

GET /parity-c/_mapping

PUT /parity-none/_mapping
{"properties":{}}
`},
	{"vectors", `
PUT /parity-a
{"settings":{"number_of_replicas":0},"mappings":{"properties":{"v":{"type":"dense_vector","dims":2,"index":false},"o":{"properties":{"w":{"type":"dense_vector","dims":2,"index":false}}}}}}

POST /parity-a/_bulk?refresh=true
{"index":{"_id":"1"}}
{"a":1,"v":[0.5,2.0],"o":{"w":[1.5,2.5],"b":"x"}}

GET /parity-a/_search

POST /parity-a/_search
{"_source":{"exclude_vectors":false}}

POST /parity-a/_search
{"_source":{"exclude_vectors":true}}

@v9 POST /parity-a/_search?_source_exclude_vectors=false

POST /parity-a/_search
{"_source":["v"]}

GET /parity-a/_doc/1

@v9 GET /parity-a/_doc/1?_source_exclude_vectors=false

GET /parity-a

@v9 PUT /parity-b
{"settings":{"number_of_replicas":0,"index.mapping.exclude_source_vectors":false},"mappings":{"properties":{"v":{"type":"dense_vector","dims":2,"index":false}}}}

@v9 POST /parity-b/_bulk?refresh=true
{"index":{"_id":"1"}}
{"a":1,"v":[0.5,2.0]}

@v9 GET /parity-b/_search
`},
	{"sources", `
PUT /parity-a
{"settings":{"number_of_replicas":0},"mappings":{"_source":{"enabled":false}}}

PUT /parity-a/_doc/1?refresh=true
{"a":1}

GET /parity-a/_search

GET /parity-a/_doc/1

GET /parity-a/_source/1

POST /parity-a/_update/1
{"doc":{"a":2}}
`},
	{"templates", `
PUT /_component_template/parity-c
{"template":{"settings":{"number_of_shards":2,"index.refresh_interval":"5s"},"mappings":{"properties":{"a":{"type":"long"}}}},"version":3,"_meta":{"x":1}}

GET /_component_template/parity-c

PUT /_index_template/parity-t
{"index_patterns":["parity-t-*"],"composed_of":["parity-c"],"priority":500,"template":{"settings":{"number_of_replicas":0},"aliases":{"parity-al":{}}}}

GET /_index_template/parity-t

GET /_index_template/parity-none

GET /_index_template/parity-none*

GET /_component_template/parity-none

HEAD /_index_template/parity-t

HEAD /_index_template/parity-none

PUT /_index_template/parity-u
{"index_patterns":["parity-u-*"],"composed_of":["parity-none"]}

PUT /_index_template/parity-u
{"index_patterns":["parity-u-*"],"template":{"settings":{"nonsense":1}}}

PUT /_index_template/parity-u
{"nonsense":1}

PUT /_index_template/parity-u
{"index_patterns":["parity-u-*"],"priority":501}

GET /_index_template/parity-u

DELETE /_component_template/parity-c

DELETE /_index_template/parity-t

DELETE /_index_template/parity-t

DELETE /_component_template/parity-c

PUT /_template/parity-l
{"index_patterns":["parity-l-*"],"settings":{"number_of_shards":2},"order":3}

GET /_template/parity-l

GET /_template/parity-none

DELETE /_template/parity-l

DELETE /_template/parity-l
`},
	{"pipelines", `
GET /_ingest/pipeline/parity-none

GET /_ingest/pipeline/parity-none*

PUT /_ingest/pipeline/parity-p
{"description":"d","processors":[],"version":2,"_meta":{"a":1}}

GET /_ingest/pipeline/parity-p

PUT /_ingest/pipeline/parity-q
{"description":"d"}

PUT /parity-a
{"settings":{"number_of_replicas":0,"default_pipeline":"parity-missing","final_pipeline":"parity-p"}}

GET /parity-a/_settings

POST /parity-a/_bulk
{"index":{"_id":"1"}}
{"a":1}

POST /parity-a/_bulk?pipeline=_none
{"index":{"_id":"1"}}
{"a":1}

POST /parity-a/_bulk?pipeline=parity-p&refresh=true
{"index":{"_id":"2"}}
{"a": 1.0}
{"delete":{"_id":"9"}}

PUT /parity-a/_doc/3
{"a":1}

GET /parity-a/_search

PUT /parity-a/_settings
{"default_pipeline":null,"final_pipeline":null}

GET /parity-a/_settings

DELETE /_ingest/pipeline/parity-p
`},
	{"datastreams", `
PUT /_index_template/parity-ds
{"index_patterns":["parity-ds*"],"data_stream":{},"priority":9,"template":{"settings":{"number_of_replicas":0},"mappings":{"properties":{"n":{"type":"long"}}}}}

@status PUT /parity-ds-a

@status PUT /_data_stream/parity-none

@status PUT /parity-ds-a/_doc/1
{"@timestamp":"2025-01-01T00:00:00Z"}

PUT /_data_stream/parity-ds-a

@status PUT /_data_stream/parity-ds-a

@status PUT /parity-ds-a/_create/1?refresh=true
{"@timestamp":"2025-01-01T00:00:00Z","n":1}

@status PUT /parity-ds-a/_doc/1
{"@timestamp":"2025-01-01T00:00:00Z","n":2}

GET /parity-ds-a/_count

GET /parity-ds-*/_count

@status GET /_data_stream/parity-ds-none

@status GET /_data_stream/parity-no*

@status DELETE /parity-ds-a

@status PUT /parity-ds-a/_alias/parity-al
{"filter":{"term":{"n":1}}}

GET /parity-al/_count

@status PUT /parity-ds-a/_alias/parity-al2
{"routing":"x"}

PUT /parity-m
{"settings":{"number_of_replicas":0},"mappings":{"properties":{"@timestamp":{"type":"date"}}},"aliases":{"parity-ds-m":{"is_write_index":true}}}

PUT /parity-m2
{"settings":{"number_of_replicas":0},"mappings":{"properties":{"@timestamp":{"type":"date"}}},"aliases":{"parity-other":{}}}

PUT /parity-m3
{"settings":{"number_of_replicas":0},"mappings":{"properties":{"@timestamp":{"type":"date"}}}}

@status POST /_data_stream/_migrate/parity-nothing

POST /_data_stream/_migrate/parity-ds-m

@status POST /_data_stream/_modify
{"actions":[{"add_backing_index":{"data_stream":"parity-ds-m","index":"parity-m2"}}]}

POST /_data_stream/_modify
{"actions":[{"add_backing_index":{"data_stream":"parity-ds-m","index":"parity-m3"}}]}

GET /parity-m3

@status POST /_data_stream/_modify
{"actions":[{"remove_backing_index":{"data_stream":"parity-ds-m","index":"parity-m"}}]}

@status POST /_data_stream/_modify
{"actions":[{"add_backing_index":{"data_stream":"parity-ds-m","index":"parity-m3"}}]}

@status DELETE /parity-m

POST /_data_stream/_modify
{"actions":[{"remove_backing_index":{"data_stream":"parity-ds-m","index":"parity-m3"}},{"add_backing_index":{"data_stream":"parity-ds-m","index":"parity-m3"}}]}

PUT /_data_stream/parity-ds-m/_lifecycle
{"data_retention":"7d"}

GET /_data_stream/parity-ds-m/_lifecycle

PUT /_data_stream/parity-ds-m/_options
{"failure_store":{"enabled":true}}

GET /_data_stream/parity-ds-m/_options

DELETE /_data_stream/parity-ds-m/_options

GET /_data_stream/parity-ds-m/_options

GET /_resolve/index/parity-*?expand_wildcards=open

GET /parity-m/_alias

@status DELETE /_index_template/parity-ds

DELETE /_data_stream/parity-ds-m

DELETE /_data_stream/parity-ds-a

DELETE /_index_template/parity-ds

DELETE /parity-m2
`},
}

// long513 is an id that is one byte too long.
var long513 = strings.Repeat("i", 513)

// bulkNumbers indexes thirty documents n0 to n29.
var bulkNumbers = func() string {
	var b strings.Builder
	for i := range 30 {
		fmt.Fprintf(&b, "{\"index\":{\"_id\":\"n%d\"}}\n{\"n\":%d}\n", i, i)
	}
	return strings.TrimSpace(b.String())
}()
