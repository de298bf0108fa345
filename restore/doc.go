// Package restore brings a backup back into an Elasticsearch cluster, and compares the two. It reads any fs.FS in the
// layout that package layout describes: a snapshot in a repository, a directory, a map in a test.
//
// A [Plan] says which indices are restored under which names and what happens to those that exist ([Conflict]); it is
// made without writing anything. [Plan.Run] carries it out. [Load] is the bulk loader alone, for documents from
// anywhere. [Verify] compares a cluster with a backup.
//
// # What a restore does to an index
//
// The index is created with the settings, the mapping and the routing of the backup, so that every id lands in the
// shard it was in. It is loaded without replicas, pipelines, blocks and allocation filters; those are put back
// afterwards, and no other setting is touched. Ingest pipelines do not see the documents.
//
// Settings that the server makes itself, or refuses to take, are not restored: uuid, history.uuid, creation_date,
// provided_name, version.*, resize.*, shrink.source.*, split.source.*, routing.allocation.initial_recovery.*,
// verified_before_close, verified_read_only, frozen, search.throttled, downsample.*, rollup.source.*, store.snapshot.*,
// xpack.ccr.* and soft_deletes.enabled where it is false. [PlannedIndex].Removed names them. Any other setting that the
// server does not know is an error that names it.
//
// A restored index counts as complete when every document was acknowledged by the server, the number and the digest of
// the documents read from the backup are those of the manifest, and the server counts as many after a refresh. In a new
// index a document whose id exists already is refused: ids are unique in a shard only, and two documents of one id and
// different routings that meet in one shard would become one.
//
// Until then the index carries an alias that begins with [UnfinishedPrefix]. When loading fails, the index is deleted
// again, but only if it is the one that this run created. After a crash the alias tells that the index is not whole.
//
// # Aliases and renaming
//
// Aliases keep their names when an index is renamed: they then point to the renamed index too. An alias that has the
// name of an index is an error, and so is a second index that an alias writes to. If an index template of the cluster
// matches, the aliases, pipelines, blocks and allocation filters that it would add are taken away again; mappings and
// other settings that it adds stay, and [Verify] names them.
package restore
