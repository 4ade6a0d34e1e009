/** Owns that processes which want the same file at the same time download it once, and that a dead one's lock holds nobody up. */

import { type ChildProcess, spawn, spawnSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import {
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  utimesSync,
  writeFileSync,
} from 'node:fs';
import { hostname, tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { localModel } from '../../src/hub/index.ts';
import { DownloadServer } from './hub-downloads.ts';

const hub = fileURLToPath(new URL('../../dist/hub/index.js', import.meta.url));
const weights = Buffer.from(Array.from({ length: 400_000 }, (_, i) => (i * 31) % 251));
const checksum = createHash('sha256').update(weights).digest('hex');
const files = { 'config.json': '{"model_type":"qwen2"}', 'model.safetensors': weights };

let home: string;
let cache: string;
let server: DownloadServer;
let endpoint: string;
const children: ChildProcess[] = [];

beforeEach(async () => {
  home = mkdtempSync(join(tmpdir(), 'reckon-hub-lock-'));
  cache = join(home, 'hub');
  server = new DownloadServer();
  endpoint = await server.start();
});
afterEach(async () => {
  for (const child of children.splice(0)) child.kill('SIGKILL');
  await server.stop();
  rmSync(home, { recursive: true, force: true });
});

const blobs = () => join(cache, 'models--org--tiny', 'blobs');
const lock = () => join(cache, '.locks', 'models--org--tiny', `${checksum}.lock`);
/** How often the weights' bytes were asked for; the library asks for the first byte alone to learn the size. */
const fetches = () =>
  server.requests.filter((one) => /\/cdn\/.*model\.safetensors/.test(one) && !one.endsWith('bytes=0-0'));

/** A process of its own that brings the model; what it printed when it ends. */
function bring(): { readonly child: ChildProcess; readonly ended: Promise<string> } {
  const code = `import { localModel } from ${JSON.stringify(hub)};
const folder = await localModel('org/tiny', { log: console.log, retryDelayMs: 1 });
console.log('folder ' + folder);`;
  const child = spawn(process.execPath, ['--input-type=module', '-e', code], {
    env: { ...process.env, HF_HOME: home, HF_HUB_CACHE: '', HF_ENDPOINT: endpoint, HF_TOKEN: '' },
  });
  children.push(child);
  let printed = '';
  for (const stream of [child.stdout, child.stderr])
    stream?.on('data', (data: Buffer) => {
      printed += data.toString();
    });
  return { child, ended: new Promise((resolve) => child.on('close', () => resolve(printed))) };
}

async function until(condition: () => boolean): Promise<void> {
  while (!condition()) await new Promise((resolve) => setTimeout(resolve, 20));
}

function gate(): () => void {
  let open: () => void = () => undefined;
  server.gates.set(
    'model.safetensors',
    new Promise((resolve) => {
      open = resolve;
    }),
  );
  return open;
}

describe('processes that want the same file at the same time', () => {
  it('download it once, and all have it', { timeout: 60_000 }, async () => {
    server.add('org/tiny', files);
    const open = gate();
    const [first, second] = [bring(), bring()];
    let waiting = '';
    for (const { child } of [first, second])
      child.stdout?.on('data', (data: Buffer) => {
        waiting += data.toString();
      });
    await until(() => waiting.includes('model.safetensors: waiting for process'));
    open();
    const printed = await Promise.all([first.ended, second.ended]);
    const folders = printed.map((text) => /folder (.*)/.exec(text)?.[1]);
    expect(folders[0], printed.join('\n')).toBeDefined();
    expect(folders[1]).toBe(folders[0]);
    expect(readFileSync(join(folders[0]!, 'model.safetensors')).equals(weights)).toBe(true);
    expect(fetches()).toHaveLength(1);
    expect(readdirSync(blobs())).toHaveLength(2);
    expect(readdirSync(dirname(lock()))).toEqual([]);
  });

  it('go on where one that was killed had come to', { timeout: 60_000 }, async () => {
    server.add('org/tiny', files);
    const open = gate();
    const first = bring();
    const partial = join(blobs(), `${checksum}.reckon.incomplete`);
    await until(() => existsSync(partial) && readFileSync(partial).length > 0);
    const second = bring();
    let waits = false;
    second.child.stdout?.on('data', (data: Buffer) => {
      waits ||= data.toString().includes('waiting for process');
    });
    await until(() => waits);
    first.child.kill('SIGKILL');
    server.gates.clear();
    expect(await second.ended).toMatch(/going on at \d+ %[\s\S]*folder /);
    open();
    expect(readFileSync(join(blobs(), checksum)).equals(weights)).toBe(true);
    expect(existsSync(lock())).toBe(false);
  });
});

describe('a lock that nobody holds', () => {
  const settings = () => ({ endpoint, token: null, cache, offline: false });
  const bringHere = () => localModel('org/tiny', { settings: settings(), retryDelayMs: 1 });
  const left = (text: string) => {
    mkdirSync(dirname(lock()), { recursive: true });
    writeFileSync(lock(), text);
  };

  it('of a process that is gone is taken over', async () => {
    server.add('org/tiny', files);
    const { pid } = spawnSync(process.execPath, ['-e', '']);
    left(JSON.stringify({ version: 1, pid, host: hostname(), processStart: 'x', startedAt: '' }));
    expect(readFileSync(join(await bringHere(), 'model.safetensors')).equals(weights)).toBe(true);
    expect(existsSync(lock())).toBe(false);
  });

  it('of the Python library, which leaves them empty, does not hold up; one whose download grows does', async () => {
    server.add('org/tiny', files);
    left('');
    mkdirSync(blobs(), { recursive: true });
    const theirs = join(blobs(), `${checksum}.0badf00d.incomplete`);
    writeFileSync(theirs, 'x');
    const lines: string[] = [];
    const coming = localModel('org/tiny', { settings: settings(), log: (line) => lines.push(line) });
    await until(() => lines.some((line) => line.includes('waiting for another program')));
    expect(fetches()).toEqual([]);
    const longAgo = Date.now() / 1000 - 3600;
    utimesSync(theirs, longAgo, longAgo);
    expect(readFileSync(join(await coming, 'model.safetensors')).equals(weights)).toBe(true);
    expect(existsSync(theirs)).toBe(true);
  });

  it('two calls in one process download once too', async () => {
    server.add('org/tiny', files);
    await Promise.all([bringHere(), bringHere()]);
    expect(fetches()).toHaveLength(1);
  });
});
