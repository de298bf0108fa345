// Package query chooses documents by what they hold, without a server: a small part of Elasticsearch's query DSL, applied to the
// JSON of _source as it lies in a backup.
//
//	{"match_all":{}}
//	{"ids":{"values":["1","2"]}}
//	{"term":{"user.id":"kim"}}                  {"term":{"user.id":{"value":"kim"}}}
//	{"terms":{"status":[404,500]}}
//	{"prefix":{"host.name":"web-"}}
//	{"exists":{"field":"error"}}
//	{"range":{"@timestamp":{"gte":"2026-01-01","lt":"2026-02-01T00:00:00Z"}}}
//	{"bool":{"must":[...],"filter":[...],"should":[...],"must_not":[...]}}
//
// Anything else, such as an option of one of these, is an error: nothing is ignored. What differs from a server's answer, which
// looks at the index and its mapping:
//
//   - Values are compared as they stand in _source. Nothing is analyzed: {"term":{"title":"Fox"}} is for the value "Fox". Runtime
//     fields, multi-fields, copies, aliases of fields and values that a mapping makes up are not there.
//   - Two numbers are equal by value (1, 1.0 and 1e0). Otherwise the texts count: "5" equals 5, and "true" equals true.
//   - A range whose bound is a number takes numbers, and texts that are numbers. One whose bound is a date (2026-01-02,
//     2026-01-02T15:04:05.999Z, with or without an offset, UTC if without) takes dates, and numbers, which are milliseconds since
//     1970. Where a value is neither, that is an error, so that no document is left out because it could not be understood. A
//     bound that is any other text takes texts, byte by byte. Date math (now-1d, ||/d) is refused.
//   - A dotted name finds {"user":{"id":1}}, {"user.id":1} and every mixture. Of an array, also of objects, one element is enough.
//   - _id and _routing are the document's own. A bool with nothing but "should" wants one of them; beside "must" or "filter" they
//     do not matter, as a score does not.
//
// See https://www.elastic.co/docs/reference/query-languages/querydsl
package query
