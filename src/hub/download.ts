/**
 * Owns bringing one file of a repository into the cache, once for all processes that want it at the same time: goes on
 * where an earlier try was cut off, tries again when the network fails, and keeps nothing whose checksum is not the
 * announced one.
 */

import { createHash } from 'node:crypto';
import {
  createReadStream,
  createWriteStream,
  existsSync,
  mkdirSync,
  renameSync,
  rmSync,
  statSync,
} from 'node:fs';
import { dirname } from 'node:path';
import { Readable } from 'node:stream';
import { pipeline } from 'node:stream/promises';
import type { ReadableStream } from 'node:stream/web';
import { messageOf, ReckonError } from '../util/errors.ts';
import { renameDurably } from '../util/files.ts';
import { withBlobLock } from './blob-lock.ts';
import { blobPath } from './cache.ts';
import { isPassing } from './refusal.ts';
import { type RepoId, repoText } from './repo-id.ts';
import type { HubSettings } from './settings.ts';

/** A file as the hub lists it. */
export interface RepoFile {
  readonly path: string;
  readonly size: number;
  /** Its name in the cache: SHA-256 of a large file, git's own hash of a small one. */
  readonly checksum: string;
}

/** How requests are made. */
export interface Requests {
  readonly settings: HubSettings;
  readonly fetch: typeof fetch;
  /** What the hub said last: the status, or null where it did not answer, and its own word for a refusal. */
  readonly last: { status: number | null; reason: string | null };
  /** Told of every file that is begun, and of every try that failed. */
  readonly log: (line: string) => void;
  /** Before the second try; doubled before every further one. */
  readonly retryDelayMs: number;
}

const tries = 5;

/** The path of a file's content in the cache, downloaded where it is not there yet; waits for a process that does so. */
export async function downloadBlob(
  id: RepoId,
  commit: string,
  file: RepoFile,
  requests: Requests,
): Promise<string> {
  const { cache } = requests.settings;
  const target = blobPath(cache, id, file.checksum);
  if (existsSync(target)) return target;
  const bring = async () => {
    if (existsSync(target)) return;
    const partial = partialOf(target);
    await fetchWhole(id, commit, file, partial, requests);
    renameDurably(partial, target);
  };
  await withBlobLock(cache, id, file.checksum, bring, (who) =>
    requests.log(`${file.path}: waiting for ${who}, which downloads it`),
  );
  return target;
}

/** The file that what comes is written to; takes over what the Python library, which has another name for it, left. */
function partialOf(target: string): string {
  const partial = `${target}.reckon.incomplete`;
  const theirs = `${target}.incomplete`;
  mkdirSync(dirname(target), { recursive: true });
  if (sizeOf(theirs) > sizeOf(partial)) renameSync(theirs, partial);
  return partial;
}

/** Fills the partial file until it is what was announced. */
async function fetchWhole(
  id: RepoId,
  commit: string,
  file: RepoFile,
  partial: string,
  requests: Requests,
): Promise<void> {
  for (let attempt = 1; ; attempt++) {
    const before = sizeOf(partial);
    try {
      await fetchRest(id, commit, file, partial, requests);
      if (sizeOf(partial) < file.size) throw new Error('the connection ended too early');
      const damage = await damageOf(partial, file);
      if (damage === null) return;
      rmSync(partial, { force: true });
      throw before > 0 ? new Error(damage) : damaged(id, file, damage);
    } catch (error) {
      const failure = withStatus(error, requests.last.status);
      if (attempt === tries || !isPassing(failure)) throw failure;
      requests.log(`${file.path}: ${messageOf(error)}; trying again`);
      await new Promise((resolve) => setTimeout(resolve, requests.retryDelayMs * 2 ** (attempt - 1)));
    }
  }
}

/** Appends to the partial file what it lacks. */
async function fetchRest(
  id: RepoId,
  commit: string,
  { path, size }: RepoFile,
  partial: string,
  { settings, fetch, log }: Requests,
): Promise<void> {
  if (sizeOf(partial) > size) rmSync(partial);
  const start = sizeOf(partial);
  if (start > 0 && start === size) return;
  const { downloadFile } = await import('@huggingface/hub');
  const blob = await downloadFile({
    repo: { type: id.kind, name: id.name },
    path,
    revision: commit,
    hubUrl: settings.endpoint,
    fetch,
    ...(settings.token === null ? {} : { accessToken: settings.token }),
  });
  if (!blob) {
    const message = `${repoText(id)} lists ${path} and does not have it; try again later`;
    throw new ReckonError('environment', 'hub-failed', message);
  }
  if (start > 0) log(`${path}: going on at ${Math.floor((100 * start) / size)} %`);
  const rest = start === 0 ? blob : blob.slice(start, size);
  await pipeline(
    Readable.fromWeb(rest.stream() as ReadableStream),
    createWriteStream(partial, { flags: start === 0 ? 'w' : 'a' }),
  );
}

/** The library passes on a refusal within a stream as its text alone. */
function withStatus(error: unknown, status: number | null): unknown {
  if (error instanceof ReckonError || status === null || status < 400) return error;
  return Object.assign(new Error(messageOf(error)), { statusCode: status });
}

function sizeOf(path: string): number {
  return existsSync(path) ? statSync(path).size : 0;
}

/** What is wrong with a downloaded file; null for nothing. */
async function damageOf(path: string, { size, checksum }: RepoFile): Promise<string | null> {
  const found = sizeOf(path);
  if (found !== size) return `${found} bytes came where ${size} were announced`;
  const isLarge = checksum.length === 64;
  const hash = createHash(isLarge ? 'sha256' : 'sha1');
  if (!isLarge) hash.update(`blob ${size}\0`);
  for await (const chunk of createReadStream(path, { highWaterMark: 1 << 20 })) hash.update(chunk as Buffer);
  return hash.digest('hex') === checksum ? null : 'the bytes that came are not those that were announced';
}

function damaged(id: RepoId, { path }: RepoFile, damage: string): ReckonError {
  return new ReckonError(
    'environment',
    'hub-damaged',
    `${path} of ${repoText(id)} arrived damaged: ${damage}; give the same command again`,
  );
}
