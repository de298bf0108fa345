// Command escrow backs up Elasticsearch into a repository in the restic format, and restores it from there. It uses
// the public packages of escrow only, so every line of it can be copied into a program of yours.
//
//	export RESTIC_REPOSITORY=/srv/backups RESTIC_PASSWORD=...
//	escrow init
//	escrow backup  --es http://127.0.0.1:9200 --index 'logs-*'
//	escrow verify  --es http://127.0.0.1:9200
//	escrow restore --es http://127.0.0.1:9200 --index 'logs-*' --rename 'logs-*=old-logs-*'
//	escrow backup-dir /etc/elasticsearch
//	escrow restore-dir latest /tmp/restored
//
// The repository is one that restic made or can open: "restic snapshots", "restic check" and "restic dump" work on it.
//
// # Repositories
//
// --repo takes what restic takes, with credentials from the same environment variables; the packages of the drivers list all of
// them.
//
//	/srv/backups, local:/srv/backups
//	s3:https://host:port/bucket/prefix   AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY, AWS_DEFAULT_REGION, or the machine's identity
//	azure:container:/prefix              AZURE_ACCOUNT_NAME, AZURE_ACCOUNT_KEY, or the machine's identity
//	gs:bucket:/prefix                    GOOGLE_PROJECT_ID, GOOGLE_APPLICATION_CREDENTIALS, or the machine's identity
//	swift:container:/prefix              ST_AUTH, ST_USER, ST_KEY, or OS_AUTH_URL and others
//	b2:bucket:prefix                     B2_ACCOUNT_ID, B2_ACCOUNT_KEY
//	rest:https://host:port/path/         RESTIC_REST_USERNAME, RESTIC_REST_PASSWORD
//	sftp:user@host:/path                 SSH_PRIVATE_KEY_FILE, SSH_KNOWN_HOSTS_FILE; or the agent and ~/.ssh
//	mem:
//
// The last is a repository in memory that is made when the program starts and is gone when it ends: "escrow backup --repo mem:"
// shows how long a backup takes and how large it is. With --repository FILE, the place is what a Repository object
// (stash.appscode.com/v1alpha1) says, and credentials and password are in the secret that it names, a folder below --secrets.
//
// Calls to the storage that fail for reasons that may pass are made again; a warning on standard error tells of each, unless
// --quiet. --limit-upload, --limit-download, --connections and --stuck-request-timeout hold for every kind of storage.
//
// # Exit codes
//
//	0  done
//	1  failed, or interrupted, or verify found differences, or check found problems
//	2  wrong usage
//	3  done, but something was omitted; it is named in the output
//
// A failure prints exactly one line on standard error: "escrow: operation subject: cause". Warnings may come before it.
//
// # JSON
//
// With --json, standard output is one JSON object per line. Every object has "message_type". Fields are added, never
// renamed or removed. Sizes are bytes, times are RFC 3339, durations are seconds.
//
//	status       backup, restore, verify, about once a second unless --quiet: operation, index, indices, indices_done,
//	               documents, documents_done, documents_reused, bytes_done, seconds_elapsed, and where known seconds_left,
//	               bytes_uploaded
//	initialized  init: id, repository
//	rejection    restore: index, id, routing, status, type, reason
//	planned      restore: data_stream, from, to, action, documents, removed
//	             restore-dir: path, action ("create", "replace" or "conflict"), size
//	planned_object     restore: section, name, action, note
//	difference   verify: index, missing, metadata, documents_missing, documents_extra, documents_changed, examples
//	object_difference  verify: name, missing, metadata
//	snapshot     snapshots: snapshot_id, short_id, time, hostname, username, tags, paths, parent, tree, bytes, group
//	             copy: action ("copied" or "skipped"), snapshot_id, original
//	node         ls: path, type ("file" or "dir"), size
//	problem      check: kind, subject, blob, snapshot, path, harmless, error
//	key          key list: id, in_use, created, hostname, username, error
//	change       diff: kind, path, bytes_before, bytes_after
//	loss         repair snapshots: snapshot_id, path, dir, bytes
//	forget       forget: action ("keep" or "remove"), snapshot_id, short_id, time, hostname, tags, paths, reasons, group
//	tag          tag: old_snapshot_id, new_snapshot_id, old_tags, new_tags
//	lock         unlock: id, time, exclusive, hostname, username, pid, reason
//	summary      backup: snapshot_id, parent, indices, data_streams, sections (name, objects, absent), documents,
//	               documents_read, bytes, bytes_added, segments, segments_reused, documents_reused,
//	               segments_changed, not_reused (index, shard, segments, why), verified, resumed, duration_seconds, warnings,
//	               omitted (what, why)
//	             restore: snapshot_id, dry_run, indices, skipped, kept, data_streams, objects, objects_left, documents, bytes,
//	               left_out, rejected, retried, duration_seconds, omitted
//	             verify: snapshot_id, identical, indices_checked, indices_differing, objects_differing, documents,
//	               duration_seconds, omitted
//	             backup-dir: snapshot_id, parent, files_new, files_changed, files_unmodified, dirs, bytes, bytes_added,
//	               duration_seconds, omitted
//	             restore-dir: snapshot_id, dry_run, files, links, dirs, others, bytes, duration_seconds, omitted
//	             check: problems, harmless, read_data, read_data_subset, duration_seconds
//	             key add, remove, passwd: action, id
//	             copy: copied, skipped, blobs, bytes, bytes_added
//	             stats: snapshots, files, dirs, others, bytes, blobs, blob_bytes, packed_bytes, dedup_ratio,
//	               compression_ratio
//	             diff: added, removed, changed
//	             repair index: dry_run, damaged, missing, reread, broken
//	             repair snapshots: dry_run, damaged, sound, made, forgotten
//	             migrate: dry_run, from, to
//	             export --format dir: snapshot_id, files, links, dirs, others, bytes
//	             export --format elasticdump: snapshot_id, indices, documents, bytes, omitted
//	             import-elasticdump: snapshot_id, indices, documents, bytes, bytes_added
//	             forget: dry_run, kept, removed, duration_seconds
//	             prune: dry_run, snapshots, used_blobs, used_bytes, duplicate_blobs, duplicate_bytes, unused_blobs,
//	               unused_bytes, packs_kept, packs_repacked, repacked_bytes, packs_removed, packs_unindexed, packs_missing,
//	               indexes_rewritten, freed_bytes, unused_bytes_after, duration_seconds
//	             tag: dry_run, changed
//	             unlock: dry_run, removed
//
// A summary is the last line. cat prints the stored JSON itself, dump the bytes of a file and export an archive, with and without
// --json.
//
// # Functions of Stash
//
// backup-es, restore-es, update-status and run-hook take the arguments of Stash's Functions for Elasticsearch; their help says more.
package main

import (
	"context"
	"os"
	"os/signal"
	"runtime/debug"
	"syscall"
)

// softMemoryLimit makes the garbage collector work harder near it. What is in use stays well below, but garbage of large documents would not.
const softMemoryLimit = 160 << 20

func main() {
	if os.Getenv("GOMEMLIMIT") == "" {
		debug.SetMemoryLimit(softMemoryLimit)
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	context.AfterFunc(ctx, stop) // from here on a second signal ends the program at once
	os.Exit(run(ctx, os.Args[1:], os.Getenv, os.Stdin, os.Stdout, os.Stderr))
}
