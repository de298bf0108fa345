// Package layout defines what a backup looks like inside a snapshot (format 1): the file names, the manifest, the
// documents' two-line form, the sidecars and the digest. Package backup writes it, package restore reads it, and a
// person with curl can load it by hand.
//
//	manifest.json                         a [Manifest]: what is here, and what was left out
//	indices/<index>/index.json            the index's settings, mappings and aliases: the server's own bytes
//	indices/<index>/shard-<n>.ndjson      the documents of shard n, as the body of a _bulk request
//	indices/<index>/shard-<n>.segments.json  a [Sidecar]: which ranges of sequence numbers lie where in the two others
//	indices/<index>/shard-<n>.ids         a line per document: its sequence number, id and routing
//	cluster/<section>.json                what the cluster holds beside indices, such as pipelines: by name, the server's own bytes
//	cluster/data_streams.json             data streams: by name, a [Stream]
//
// index.json is what GET /<index> answers for that one index, without the outer object that names it:
// {"aliases":{...},"mappings":{...},"settings":{"index":{...}}}.
//
// # Sections and data streams
//
// A section's file is one JSON object: for each object's name, what the server shows of that object. What it is called and
// where it comes from:
//
//	cluster_settings        a persistent setting each: its value, of GET /_cluster/settings?flat_settings=true (opt-in)
//	stored_scripts          GET /_cluster/state/metadata, metadata.stored_scripts
//	ingest_pipelines        GET /_ingest/pipeline
//	security_roles          GET /_security/role (opt-in)
//	security_role_mappings  GET /_security/role_mapping (opt-in)
//	security_users          GET /_security/user, with "password_hash" where .security may be searched (opt-in)
//	slm_policies            GET /_slm/policy
//	ilm_policies            GET /_ilm/policy
//	component_templates     GET /_component_template, an element's "component_template"
//	index_templates         GET /_index_template, an element's "index_template"
//	legacy_templates        GET /_template
//	enrich_policies         GET /_enrich/policy, an element each
//	transforms              GET /_transform, an element each
//	watches                 POST /_watcher/_query/watches, an element each
//	kibana_spaces           GET /api/spaces/space of Kibana (opt-in)
//	kibana_objects          POST /api/saved_objects/_export of every space, under <space>/<type>/<id> (opt-in)
//
// The manifest names the sections that were asked for, how many objects each has, and those that the cluster does not have. A
// data stream's backing indices, and those of its failure store, lie among the indices. A section without objects has no
// file. Backups made before there were sections have none.
//
// # Documents
//
// Each document is two lines, an action and the source:
//
//	{"index":{"_id":"7","routing":"a"}}
//	{"user":"kim","n":9007199254740993}
//
// The action has "routing" only where the document has one. In a backup that was asked for versions it also has
// "version" and "version_type", which is always external_gte: {"index":{"_id":"7","version":3,"version_type":"external_gte"}}. A
// delete line has them too then, with the version of the document that it removes, so that whatever follows is not older.
//
// The source is the exact bytes that the server holds,
// except that one with a raw newline in it is compacted ([AppendCompact]), since a line cannot hold it. Documents are in the order of
// their sequence numbers in each segment, where the index has them. A pair {"delete":{...}} {"delete":{...}} may stand instead of a
// document and removes what came before under the same id and routing; deletes always stand in pairs of lines, so that
// cutting the file after any even number of lines gives valid requests:
//
//	split -l 20000 shard-0.ndjson part-
//	curl -H 'Content-Type: application/x-ndjson' --data-binary @part-aa "$ES/<index>/_bulk?pipeline=_none"
//
// The lines are for an index with as many primary shards as the one they are of: elsewhere the files of several shards can meet in one.
// Restoring with package restore needs no such care, since it passes over what is dead.
//
// # Segments
//
// A segment is the documents of a shard whose sequence numbers lay in a half-open range when it was read. Segments do not overlap,
// and each is one or several whole blobs in a repository, both in the documents file and in the ids file.
// The sidecar names each segment's range, count, sum of sequence numbers, digest and length in bytes, in the order of the
// files. An increment may keep a segment in which documents have died: the file is then a log. The sidecar has the ordinals of the
// dead, and the numbers of what is alive; delete lines for each of them stand after the segment, and before every
// document that took its id afterwards. Where nothing is dead, segments ascend and there are no delete lines.
//
// A line of the ids file is a JSON array: [delta,digest,"id"] or [delta,digest,"id","routing"], and with versions
// [delta,digest,"id","routing",version], where the routing may be empty. The first delta of a segment counts from
// the segment's beginning, every other from the document before. The digest is the lower half of the document's, as a number. In
// backups with sidecars of format 1 there is none: [delta,"id"].
//
// # Digest
//
// A document's digest is the XXH3-128 hash of its two lines, newlines included, as they stand in the file, but without the version: so
// backups with and without versions can be compared, and both with a cluster. The digest of
// a shard, an index or a segment is the sum of its documents' digests modulo 2^128: it does not depend on their order, nor on
// how many shards they are spread over. Where documents have died, only its lower half is known, 16 hexadecimal digits in place of 32:
// of each document's digest only that is kept. It finds accidents, not forgeries: those are what the repository's own
// SHA-256 and authenticated encryption are for.
package layout
