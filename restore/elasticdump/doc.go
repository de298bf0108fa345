// Package elasticdump reads and writes directories of the programs elasticdump and multielasticdump, which back up
// Elasticsearch into files of JSON. [Open] shows such a directory in the layout of package layout, so that package restore can
// restore and verify it and a repository can take it in; [Export] writes a backup so that multielasticdump can load it.
//
//	<index>.json            the documents, a search hit a line: {"_index":...,"_id":...,"_routing":...,"_source":{...}}
//	<index>.split-<n>.json  likewise, where --fileSize was given
//	<index>.mapping.json    {"<index>":{"mappings":{...}}}
//	<index>.settings.json   {"<index>":{"settings":{"index":{...}}}}
//	<index>.analyzer.json   {"<index>":{"settings":{"index":{"analysis":{...}}}}}
//	<index>.alias.json      {"<index>":{"aliases":{...}}}
//	<index>.template.json   legacy templates by name
//
// In all but those of documents and mappings the JSON stands in a JSON text: "{\"<index>\":{...}}". Plain JSON is taken, too.
// Each may be compressed with gzip and then ends in .json.gz. The bytes of _source pass through as they stand in the files; they are
// not the server's own, since elasticdump has parsed and written them anew, and lost what JavaScript's numbers cannot hold. What else
// it does not keep (component and index templates, pipelines, data streams, versions, documents that it could not read) is not there
// to be brought back, and nothing in the files tells.
//
// An index whose name ends in a word from above, such as x.mapping, cannot be told from the mapping of x.
package elasticdump
