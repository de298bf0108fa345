// Package estest is an in-memory Elasticsearch for unit tests: an http.Handler that answers what backups, restores and their
// tests ask for, in the shapes of Elasticsearch 8.19.
//
//	es := estest.New(t, nil)
//	client := es.Client()
//
// An index is split into shards as the real one is (murmur3 of routing or id), every operation takes the next sequence number of its
// shard, searches see refreshed state only, a point in time is a snapshot of that, and stored sources come back byte for byte.
// Inject makes requests fail in the ways that real clusters do. SetGlobalCheckpoint and Failover play a primary that is lost, PutBack a
// disk that is.
//
// Every answer that internal/e2e's TestParity asks for is the same as that of a real 8.19 and a real 9.5: status, kind of error, fields
// and values. What Options.Version changes: dense vectors in hits (9.2), how documents are shared out over shards (9.3), and details
// of a few answers (9.0).
//
// # Lies
//
// What differs from a real cluster:
//   - One node holds every primary; replicas are counted but never assigned.
//   - Data streams roll over when told to and send nothing to their failure store; lifecycle, options, settings and mappings of a data
//     stream are stored only. A search of a hidden data stream's alias finds it like any other. Failure indices must be put in by _modify.
//   - Stored scripts, policies, transforms, watches, roles and users are stored and shown, and do nothing. An enrich policy counts as executed
//     once it was asked for, and pipelines check that; users' hashes, which a search of .security shows, are made up.
//   - Nothing is refreshed but by _refresh, ?refresh, Refresh and AutoRefresh; refresh_interval is only stored.
//   - Templates are applied to data streams only, and lifecycle policies to nothing. Of pipelines, the processors set, remove, rename (of top level fields) and fail
//     run; others do nothing. A pipeline that is not there cannot be deleted, which a server that never had one allows.
//   - Mappings are stored as they were sent, with keys sorted, without the defaults that a server fills in. Dynamic templates, analysis, copy_to,
//     runtime fields and synthetic source are not applied; nested documents are searched as objects. Duplicate keys are not refused. Of texts in
//     documents only ISO dates and yyyy/MM/dd become dates. The numbers of one array may be of several types.
//   - Every hit scores 1.0. Queries: match_all, match_none, ids, exists, term, terms, match (any of the words), prefix, wildcard, range (without
//     date math), bool, constant_score. Aggregations: sum, min, max, avg, value_count, stats, filter, filters, histogram, range, terms (answered
//     sorted by name, dates without value_as_string).
//   - Document numbers are never reused and ignore merges; there are no segments, and _forcemerge does nothing.
//   - Texts of errors differ in detail, and so do the causes of malformed JSON and of malformed context ids. Failed shards are named for one shard
//     only. An unknown query parameter is ignored; what filter_path or a source filter leaves has its keys sorted.
//   - Settings are checked against a list of names; of values only numbers of shards and replicas, windows and blocks are. A setting reset to null
//     while cloning is left out, where a server shows null.
//   - In _resolve/index, an excluded index is left out of the aliases too.
//   - Scripts are refused.
//   - Keep-alive of contexts is checked when they are used or counted. Statistics hold docs, store, commit, seq_no and routing only; sizes are
//     made up, and the commit is always as new as the last operation.
//   - From Options.Version 9.2 on, asking for vectors returns the stored bytes, where a server writes such a source anew.
//   - Answers of one bulk request are not interleaved with others: the whole request holds a lock.
//   - The history of a shard is kept in memory, replaced sources too, so that Failover can undo it.
package estest
