/** Owns bringing a repository at a revision into the cache, as far as its files are wanted. Knows no file's meaning. */

import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { ReckonError } from '../util/errors.ts';
import { formatBytes } from '../util/format.ts';
import { cachedSnapshot, linkBlob, snapshotFolder, writeRef } from './cache.ts';
import { downloadBlob, type RepoFile, type Requests } from './download.ts';
import { refusal } from './refusal.ts';
import { type RepoId, repoText } from './repo-id.ts';
import { type HubSettings, hubSettings } from './settings.ts';

/** What is told, and how long is waited. */
export interface DownloadOptions {
  /** Lines for a person: what is downloaded, what failed and is tried again. */
  readonly log?: (line: string) => void;
  /** Milliseconds before the second try; default 1,000. */
  readonly retryDelayMs?: number;
  /** In place of what the environment says. */
  readonly settings?: HubSettings;
}

/** Which of a repository's files are wanted, given all of their paths. */
export type FileChoice = (paths: readonly string[]) => readonly string[];

/**
 * The folder of a repository's snapshot in the cache, with the wanted files in it. Offline, and where the hub cannot be
 * reached, what the cache has; what it is then is for the reader to find out.
 */
export async function openSnapshot(
  id: RepoId,
  choose: FileChoice,
  options: DownloadOptions = {},
): Promise<string> {
  const settings = options.settings ?? hubSettings();
  const cached = cachedSnapshot(settings.cache, id);
  if (settings.offline) {
    if (cached !== null) return cached;
    const message = `${repoText(id)} is not in the cache (${settings.cache}), and HF_HUB_OFFLINE is set; unset it, or download it first`;
    throw new ReckonError('environment', 'offline', message);
  }
  const log = options.log ?? (() => undefined);
  const last: Requests['last'] = { status: null, reason: null };
  const watched: typeof fetch = async (...request) => {
    Object.assign(last, { status: null, reason: null });
    const response = await fetch(...request);
    Object.assign(last, { status: response.status, reason: response.headers.get('x-error-code') });
    return response;
  };
  try {
    const requests = { settings, fetch: watched, last, log, retryDelayMs: options.retryDelayMs ?? 1000 };
    return await download(id, choose, requests);
  } catch (error) {
    const refused = refusal(error, id, settings, last.reason);
    if (refused.code !== 'hub-unreachable' || cached === null) throw refused;
    log(`${refused.message}; taking what the cache has`);
    return cached;
  }
}

async function download(id: RepoId, choose: FileChoice, requests: Requests): Promise<string> {
  const { cache } = requests.settings;
  const commit = await commitOf(id, requests);
  const files = await listed(id, commit, requests);
  const folder = snapshotFolder(cache, id, commit);
  const chosen = new Set(choose([...files.keys()]));
  const missing = [...files.values()].filter(
    ({ path }) => chosen.has(path) && !existsSync(join(folder, path)),
  );
  writeRef(cache, id, commit);
  if (missing.length > 0) {
    const bytes = missing.reduce((sum, file) => sum + file.size, 0);
    requests.log(`downloading ${repoText(id)}: ${missing.length} files, ${formatBytes(bytes)}, to ${folder}`);
  }
  for (const file of missing) {
    linkBlob(await downloadBlob(id, commit, file, requests), join(folder, file.path));
  }
  return folder;
}

/** The commit that the revision is now. */
async function commitOf({ kind, name, revision }: RepoId, requests: Requests): Promise<string> {
  const { datasetInfo, modelInfo } = await import('@huggingface/hub');
  const about = { ...access(requests), name, revision };
  const { sha } =
    kind === 'model'
      ? await modelInfo({ ...about, additionalFields: ['sha'] })
      : await datasetInfo({ ...about, additionalFields: ['sha'] });
  if (/^[0-9a-f]{40}$/.test(sha)) return sha;
  throw new ReckonError('environment', 'hub-failed', `the hub names '${sha}' as the commit of ${name}`);
}

/** Every file of a commit; a path that would leave the folder is an error. */
async function listed(id: RepoId, commit: string, requests: Requests): Promise<Map<string, RepoFile>> {
  const { listFiles } = await import('@huggingface/hub');
  const files = new Map<string, RepoFile>();
  const about = { repo: { type: id.kind, name: id.name }, revision: commit, recursive: true } as const;
  for await (const entry of listFiles({ ...about, ...access(requests) })) {
    if (entry.type !== 'file') continue;
    const { path, size, oid, lfs } = entry;
    const checksum = lfs?.oid ?? oid ?? '';
    const inside = !path.split('/').some((part) => ['', '.', '..'].includes(part)) && !/[\\:]/.test(path);
    if (!inside || !/^(?:[0-9a-f]{40}|[0-9a-f]{64})$/.test(checksum)) {
      const message = `the hub lists a file '${path}' with the checksum '${checksum}' in ${repoText(id)}, which is not a file of a repository`;
      throw new ReckonError('environment', 'hub-failed', message);
    }
    files.set(path, { path, size: lfs?.size ?? size, checksum });
  }
  return files;
}

function access({ settings, fetch }: Requests): {
  hubUrl: string;
  fetch: typeof fetch;
  accessToken?: string;
} {
  const { endpoint, token } = settings;
  return { hubUrl: endpoint, fetch, ...(token === null ? {} : { accessToken: token }) };
}
