/** One file over HTTP(S), resumed where it broke off and checked by SHA-256; it does not know what the file is for. */
import { createHash } from 'node:crypto';
import { createReadStream, mkdirSync, renameSync, rmSync, statSync } from 'node:fs';
import { open } from 'node:fs/promises';
import { dirname } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { diskFull, isDiskFull, isReadOnly, SetupFailure } from './failure.mjs';

/**
 * Downloads `url` to `path`, which appears only when complete and with the right SHA-256. Bytes gather in `path.part`;
 * after a lost connection that file stays, and this or a later call continues it with a Range request.
 */
export async function download(
  url,
  path,
  { sha256, progress = () => {}, tries = 4, idleMs = 30_000, waitMs = 500 },
) {
  const part = `${path}.part`;
  mkdirSync(dirname(path), { recursive: true });
  const resumed = sizeOf(part) > 0;
  await gather(url, part, { progress, tries, idleMs, waitMs });
  let found = await sha256Of(part);
  if (found !== sha256 && resumed) {
    rmSync(part);
    await gather(url, part, { progress, tries, idleMs, waitMs });
    found = await sha256Of(part);
  }
  if (found !== sha256) {
    rmSync(part);
    throw new SetupFailure(
      `The download of ${url} has the wrong checksum (expected ${sha256}, found ${found}) and was deleted: run again, and if it stays so do not trust that network.`,
    );
  }
  renameSync(part, path);
}

/** A small text over HTTP(S), with the address that it finally came from. */
export async function downloadText(url, { idleMs = 30_000 } = {}) {
  const response = await request(url, {}, AbortSignal.timeout(idleMs)).catch((error) => {
    throw unreachable(url, error);
  });
  if (!response.ok) throw refused(url, response.status);
  return { text: await response.text(), url: response.url };
}

/** SHA-256 of a file, in hexadecimal. */
export async function sha256Of(path) {
  const hash = createHash('sha256');
  for await (const chunk of createReadStream(path, { highWaterMark: 1 << 20 })) hash.update(chunk);
  return hash.digest('hex');
}

async function gather(url, part, { progress, tries, idleMs, waitMs }) {
  for (let failed = 0; ; ) {
    const before = sizeOf(part);
    try {
      await continuePart(url, part, { progress, idleMs });
      return;
    } catch (error) {
      if (isDiskFull(error)) {
        rmSync(part, { force: true });
        throw diskFull(dirname(part));
      }
      if (error instanceof SetupFailure || isReadOnly(error)) throw error;
      failed = sizeOf(part) > before ? 1 : failed + 1;
      if (failed >= tries) throw unreachable(url, error);
      await sleep(waitMs * 2 ** (failed - 1));
    }
  }
}

async function continuePart(url, part, { progress, idleMs }) {
  const have = sizeOf(part);
  const idle = new AbortController();
  const watch = setTimeout(() => idle.abort(new Error(`no byte for ${idleMs / 1000} s`)), idleMs);
  try {
    const response = await request(url, have > 0 ? { range: `bytes=${have}-` } : {}, idle.signal);
    if (response.status === 416) {
      await response.body?.cancel();
      if (Number(response.headers.get('content-range')?.split('/')[1]) === have) return;
      rmSync(part);
      throw new Error('the server has another file than the one begun');
    }
    if (response.status >= 500 || response.status === 429) throw new Error(`HTTP status ${response.status}`);
    if (!response.ok) throw refused(url, response.status);
    const start = response.status === 206 ? have : 0;
    if (start > 0 && !response.headers.get('content-range')?.startsWith(`bytes ${have}-`)) {
      rmSync(part);
      throw new Error('the server continued at another byte');
    }
    await append(response, part, start, (done, total) => {
      watch.refresh();
      progress(done, total);
    });
  } finally {
    clearTimeout(watch);
  }
}

async function append(response, part, start, progress) {
  const length = Number(response.headers.get('content-length'));
  const total = length > 0 ? start + length : 0;
  const file = await open(part, start > 0 ? 'a' : 'w');
  let done = start;
  try {
    for await (const chunk of response.body) {
      await file.appendFile(chunk);
      done += chunk.length;
      progress(done, total);
    }
  } finally {
    await file.close();
  }
  if (total > 0 && done !== total) throw new Error(`the connection ended at ${done} of ${total} bytes`);
}

function request(url, headers, signal) {
  return fetch(url, { headers: { 'accept-encoding': 'identity', ...headers }, signal, redirect: 'follow' });
}

function refused(url, status) {
  return new SetupFailure(
    `${url} answered with HTTP status ${status}: check the network or proxy, or point RECKON_TORCH at a libtorch folder.`,
  );
}

function unreachable(url, error) {
  const cause = error?.cause?.code ?? error?.cause?.message ?? error?.message ?? String(error);
  return new SetupFailure(
    `${url} could not be downloaded (${cause}): check the network and run again (what has arrived is kept and continued), or point RECKON_TORCH at a libtorch folder.`,
  );
}

function sizeOf(path) {
  return statSync(path, { throwIfNoEntry: false })?.size ?? 0;
}
