// Package backup reads an Elasticsearch cluster into files: a snapshot of a repository ([Run]), any other [Target] such as a
// directory ([Dump]), or a stream of documents ([Documents]). What the files look like is described in package layout.
//
// A selection is the indices that a backup was asked for. A shard is read from a point in time of its own, in segments:
// ranges of sequence numbers that the server first counts and that are then read in parallel, so that every document is
// accounted for. A backup that could not read everything it was asked for fails and leaves no snapshot; with
// [Options.AllowOmissions] it names in the manifest what is missing.
//
// # Increments
//
// Each operation on a shard has a sequence number. Operations at or below the shard's global checkpoint are on every in-sync
// copy and are not rolled back; so what is alive in a range below it can only become less, as long as nothing that hides an
// older version of a document is rolled back later either. A shard is sealed when all that its point in time showed was below
// the checkpoint before the backup went on. In the next backup, a segment of a sealed shard which still has the same
// number of documents and the same sum of sequence numbers is the same segment: its blobs are taken over, unread. In one that
// has fewer documents some died: those whose ids new documents have. Where one more is missing, the sums tell which; where there are several, the
// segment is counted again in small parts, and of parts that still miss more than one the server is asked which are left, by the sequence
// numbers in the ids file and without any document. The segment's blobs are taken over as well; the sidecar names the dead, and delete
// lines for them are put at the end of the shard's file, before all that is read ([IncrementLog]). What the server answers
// is held against what earlier backups took for dead. A shard is read whole when its parent was not sealed, when its index uuid, history,
// or primary term say that it is not the same shard going on, when a document appears where documents can only go, when
// its log is mostly delete lines, and when Options.Full asks for it. Of its segments those are read again that lie
// above the parent's checkpoint, that hold one sequence number twice, and, the worst first and at most a fiftieth of the shard
// (but a MiB at least) in a run, those of which more than half is dead. [Result] says why something was not reused.
//
// A shard on which nothing was done since is not even opened: its highest sequence number, history and primary term are the parent's, whose
// checkpoint had reached that number before its point in time was opened. It is taken over whole, once its last document was found to be the
// parent's and as many are alive as then. Such a shard costs the server one small search, and its share of a refresh of the index and of a look
// at its statistics.
//
// A shard is read only when what its primary had done is on all its copies, and in one primary term from before the refresh until the
// point in time is open: a copy that has just got a new primary does not show, for a moment, what was acknowledged long ago.
//
// This rests on an argument about what a cluster does. [Options.VerifyEvery] puts it to the test in every 30th increment, unless told otherwise.
// A disk that is put back to an earlier image, as of a virtual machine, is no part of it: it has the same uuids, and goes on counting.
// It is found by a lower term or checkpoint, by a document below the parent's checkpoint of a later term, by the last document
// there, which is another one, and by counts and sums. What none of that shows is taken for the same: that needs every document written
// since below the parent's checkpoint to have died, or the last to be equal to the byte, none of a later term, and in every
// segment the count and sum that the parent and later deaths explain; or the same count and highest sequence number in the shard, and its last
// document equal to the byte. Only [Options.VerifyEvery] and [Options.Full] find that. After such a thing, make a full backup.
//
// # Data streams and sections
//
// A data stream is backed up with all its backing indices and those of its failure store, as it was when the backup began:
// an index that a rollover adds later is not in it. What else a cluster holds, such as templates, pipelines and policies, is
// backed up in sections ([Options.Sections]). A section that the cluster does not have, which it says with status 400, 404
// or 405 or by its license, is recorded as absent. One that may not be read (403) is an omission, and so is an object in
// which the server hides a secret (watches with passwords). Objects that the server or a product keeps are recorded like
// all others; the restore treats them differently.
//
// # What reading costs
//
// A server stores documents in compressed blocks and unpacks a block once for all documents of a page that lie in it, but only where all
// documents of the page in a segment of its own are neighbours; else once for each document, which costs 2.4 times as much with the default codec,
// and 20 to 45 times as much with best_compression. By their sequence numbers, documents are no neighbours where several clients indexed at a time, where
// the index is sorted, and beside deleted ones. So a backup looks where the documents of a range lie, which costs a quarter of reading them, and reads
// each run of neighbours as a page of its own, if what the server says that it took shows that this is less. Documents with nested ones are never
// neighbours, and nothing cures that. [Progress] gives the time left by the speed of late and
// not by that of the beginning, and [Options.DocsPerSecond] and [Options.BytesPerSecond] leave the cluster strength for others. Where a cluster
// must not hold points in time for as long as a slow repository takes, [Options.Interim] takes the documents to a directory first.
//
// # What is left out
//
// By default what cannot be backed up whole is an error that names everything of the kind; with [Options.AllowOmissions] it is named in the
// manifest. Closed indices are omissions where the selection names or matches them: they are not opened for a backup, which would
// change the cluster. So are red indices and those of which one shard is missing, never a part of an index; frozen ones, which old servers leave
// out of searches; indices blocked for reads or metadata; indices without _source; and those whose mapping leaves fields out of
// _source, which are backed up as the server shows them. An index that is deleted while the backup runs is one, too, and one that is made
// anew under its name is never a mixture of both. An index that is created meanwhile is not in the backup. A pattern
// that matches nothing is a warning, a name that does not exist an error. Where a user may not see all documents of an index, the backup fails.
//
// Indices and data
// streams whose names begin with a dot are taken only where a pattern that begins with a dot matches them. Of security
// there are roles, role mappings and users, if asked for; of users the hash of the password only where the index that
// holds it may be searched. API keys and tokens, the checkpoints of transforms and the history of policies cannot be read.
package backup
