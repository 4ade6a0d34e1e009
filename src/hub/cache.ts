/**
 * Owns the hub's cache on the disk, in the layout that the Python library shares: blobs by checksum, snapshots of links
 * to them by commit, refs from branches and tags to commits. Asks nothing over the network.
 */

import { copyFileSync, existsSync, mkdirSync, readFileSync, renameSync, symlinkSync } from 'node:fs';
import { dirname, join, relative } from 'node:path';
import { writeFileAtomic } from '../util/files.ts';
import { isCommit, type RepoId } from './repo-id.ts';

/** The folder of one repository in the cache. */
export function repoFolder(cache: string, { kind, name }: Pick<RepoId, 'kind' | 'name'>): string {
  return join(cache, [`${kind}s`, ...name.split('/')].join('--'));
}

/** Where a commit's files are seen under their own names. */
export function snapshotFolder(cache: string, id: RepoId, commit: string): string {
  return join(repoFolder(cache, id), 'snapshots', commit);
}

/** The content of a file by its checksum. */
export function blobPath(cache: string, id: RepoId, checksum: string): string {
  return join(repoFolder(cache, id), 'blobs', checksum);
}

/** The commit that a revision was when it was last asked for, or null. */
function cachedCommit(cache: string, id: RepoId): string | null {
  if (isCommit(id.revision)) return id.revision;
  const path = join(repoFolder(cache, id), 'refs', ...id.revision.split('/'));
  return existsSync(path) ? readFileSync(path, 'utf8').trim() : null;
}

/** The snapshot of a revision that is in the cache, whole or not; null where there is none. */
export function cachedSnapshot(cache: string, id: RepoId): string | null {
  const commit = cachedCommit(cache, id);
  const folder = commit === null ? null : snapshotFolder(cache, id, commit);
  return folder !== null && existsSync(folder) ? folder : null;
}

/** Remembers which commit a branch or tag is now. */
export function writeRef(cache: string, id: RepoId, commit: string): void {
  if (id.revision === commit) return;
  writeFileAtomic(join(repoFolder(cache, id), 'refs', ...id.revision.split('/')), commit);
}

let linkCount = 0;

/** Makes a blob seen in a snapshot under its name; a copy where the file system has no links. */
export function linkBlob(blob: string, path: string): void {
  mkdirSync(dirname(path), { recursive: true });
  // Made aside and renamed: another process that reads the same snapshot never finds it missing.
  const aside = `${path}.tmp-${process.pid}-${linkCount++}`;
  try {
    symlinkSync(relative(dirname(path), blob), aside);
  } catch {
    copyFileSync(blob, aside);
  }
  renameSync(aside, path);
}
