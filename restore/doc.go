// Package restore brings a backup back into an Elasticsearch cluster, and compares the two. It reads any fs.FS in the
// layout that package layout describes: a snapshot in a repository, a directory, a map in a test.
//
// Documents can be chosen by a function, by package query's conditions and by time, without a server: see [Options]. A filter sees what
// lies in the backup, every document of it is read, and the whole of it is checked against the manifest all the same. Settings and mappings
// can be changed on the way ([Override]).
//
// A [Plan] says which indices are restored under which names and what happens to those that exist ([Conflict]); it is
// made without writing anything. [Plan.Run] carries it out. [Load] is the bulk loader alone, for documents from
// anywhere. [Verify] compares a cluster with a backup.
//
// # The order
//
// Indices come first, then data streams; what of a backup comes before and after them is said under Sections. Of each kind, and of the
// indices of a data stream, small ones are restored several at a time ([Options.IndicesAtOnce]), since a server takes longer to make an
// index than to take a few documents; then the large ones, one after the other; at last those that write to an alias which another writes
// to until it is replaced. The first error stops the rest: what is whole stays, what is not is deleted again.
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
// xpack.ccr.* and soft_deletes.enabled where it is false. If the cluster has another version than the backup's, neither are those
// that it does not know; it is asked, by simulating an index template. [PlannedIndex].Removed names them all. The mode of _source in a mapping of version 8, also of
// a template, which version 9 overlooks, becomes the setting of the same meaning (mapping.source.mode). A mapping that such a
// cluster does not take, and a template that it would refuse, is an error that names it, before anything is written (of a template that is
// composed of others, only its settings are asked about). On the backup's own version, or if it may not be asked, a setting that the
// server does not know is an error that names it.
//
// A system index is the server's own, such as .tasks: it makes one as it sees fit, whatever it is asked for, and without the alias that marks an
// unfinished one. A restore of it is an error that says so, and [Options.DocumentsOnly] loads its documents.
//
// A restored index counts as complete when every document that was chosen was acknowledged by the server, or refused where
// [Options.MaxRejects] allows it, the number and the digest of the documents read from the backup are those of the manifest, and the server
// counts as many as were acknowledged after a refresh. In a new
// index a document whose id exists already is refused: ids are unique in a shard only, and two documents of one id and
// different routings that meet in one shard would become one.
//
// Until then the index carries an alias that begins with [UnfinishedPrefix]. When loading fails, the index is deleted
// again, but only if it is the one that this run created. Where a node is lost, and with it a shard of an index that is being loaded, that index is
// deleted and made anew on the others, up to three times; one that was there before, and has no replicas, is an error that names the shard. So is
// an index that was loaded and is not whole any more at the end of the restore, since its replicas are made after it was loaded. [Replace] deletes the old
// index when the new one is whole beside it, and clones that to its name: where a node is lost just then and does not come back, the restore
// fails, the old index is gone, and [Options.Resume] makes the index of the backup. After a crash the alias tells that the index is not whole, and the next restore
// fails and names it, unless it replaces the index.
//
// # Going on after an interruption
//
// [Options.Resume] goes on with a restore that was interrupted. Indices that carry the alias are deleted and made anew, as are the copies that
// [Replace] loads (index-escrow-xxxxxxxxxx). An index without it is kept if it is what the restore would make: every setting and the mapping as in
// the backup (what else a template adds does not count), the same aliases, and the same documents, which are read for that and
// compared by their digest; blocks that are still missing are put. Any other index is none of the interrupted restore's, and the conflict
// modes hold. So is one that has been written to since, one without documents that the server refused, and one whose documents
// this server shows otherwise than they were sent, such as vectors in version 9. Indices of a data stream that were loaded are kept
// likewise, and the data stream is put together from where that stopped. Sections are written again where they are not equal, and
// enrich policies executed again.
//
// # Aliases and renaming
//
// Aliases keep their names when an index is renamed: they then point to the renamed index too. [Options.RenameAliases] gives them others. An alias that has the
// name of an index is an error, and so is a second index that an alias writes to. If an index template of the cluster
// matches, the aliases, pipelines, blocks and allocation filters that it would add are taken away again; mappings and
// other settings that it adds stay, and [Verify] names them.
//
// Transforms (source.index, dest.index and dest.aliases), enrich policies (indices) and watches (the indices of searches, the index of actions)
// follow: a name of what is restored becomes its new one; a pattern becomes another that matches under their new names just what it
// matched of what is restored, if there is one; an index that a transform or a watch makes itself and the backup does not hold is named by
// [Options.Rename]. Names that stay though a rule is about them, such as those made of the date, are in [PlannedObject].Note. Index templates,
// roles and snapshot policies keep their patterns.
//
// # Sections
//
// What else a backup holds is restored around the indices, in this order, so that each finds what it needs: cluster_settings,
// stored_scripts, ingest_pipelines, security_roles, security_role_mappings, security_users, slm_policies, ilm_policies,
// component_templates, index_templates, legacy_templates; indices; data streams; enrich_policies, which are executed, then
// the pipelines that use them; transforms, watches, kibana_spaces, kibana_objects. Members that a server adds to what it
// shows, and refuses to take, are neither written nor compared: dates, versions, in_use_by, authorization and the like. An
// object that is equal is left alone; for others the conflict modes hold, and Merge replaces them.
//
// An object that the cluster or a product keeps (its name begins with a dot, or its _meta says "managed") is made where there
// is none of its name, and else left, unless [Options.Managed] is set; reserved roles and users cannot be written. A
// section that the cluster does not have is an error, before anything is written, if an object of it would have to be made.
// Transforms are restored stopped, and without checkpoints: started, they begin anew. A user without a hash of the
// password in the backup gets a password that nobody knows.
//
// # Data streams
//
// A data stream is restored whole: its backing indices are loaded first, under the names that they had, and so are those of
// its failure store. Then the one that is written to becomes the data stream (_data_stream/_migrate), and the others are put
// before it in their order (_data_stream/_modify). Each such step raises the generation by one, and a small index is put in
// and taken out until it is that of the backup; it is higher only where the data stream was itself made of more indices at once.
// Aliases, lifecycle, options, settings and mappings of the data stream follow, then the lifecycle policies of the indices,
// whose age counts from the restore. Whether it is hidden and allows routing comes from the index template for its name,
// which the cluster must have or the restore bring along. Indices follow the name of their data stream when it is renamed.
// Replace loads everything beside the data stream that is there, and then swaps; Merge is refused, since a data stream
// takes new documents only. The index that is newest in the backup is the one that is written to.
package restore
