// Package elastic speaks to Elasticsearch for packages backup and restore: requests with retries over any transport that
// has the one method Perform, errors as the server gives them, points in time on single shards, pages of hits whose
// _source is never decoded, and the reader that turns one shard into a counted stream of documents.
//
// Nothing here trusts a 200: failed shards, time-outs and counts that do not match are errors.
package elastic
