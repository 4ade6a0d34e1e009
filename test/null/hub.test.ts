import { createHash } from 'node:crypto';
import {
  existsSync,
  lstatSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  readlinkSync,
  rmSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import { cachedModel, hubSettings, localDataset, localModel, parseRepoId } from '../../src/hub/index.ts';
import { DownloadServer } from './hub-downloads.ts';

const weights = Buffer.from(Array.from({ length: 200_000 }, (_, i) => (i * 31) % 251));
const files = {
  'config.json': '{"model_type":"qwen2"}',
  'tokenizer.json': '{}',
  'model.safetensors': weights,
  'pytorch_model.bin': 'pickle',
  'original/params.json': '{}',
  'README.md': '# card',
};

let home: string;
let server: DownloadServer;
let lines: string[];
const options = { log: (line: string) => lines.push(line), retryDelayMs: 1 };
const repo = (name: string) => join(home, 'hub', name);
const sha256 = (content: Buffer) => createHash('sha256').update(content).digest('hex');

beforeEach(async () => {
  home = mkdtempSync(join(tmpdir(), 'reckon-hub-'));
  server = new DownloadServer();
  lines = [];
  for (const name of [
    'HF_TOKEN',
    'HUGGING_FACE_HUB_TOKEN',
    'HF_HUB_CACHE',
    'HUGGINGFACE_HUB_CACHE',
    'HF_HUB_OFFLINE',
  ])
    vi.stubEnv(name, '');
  vi.stubEnv('TRANSFORMERS_OFFLINE', '');
  vi.stubEnv('HF_TOKEN_PATH', '');
  vi.stubEnv('HF_HOME', home);
  vi.stubEnv('HF_ENDPOINT', await server.start());
});
afterEach(async () => {
  vi.unstubAllEnvs();
  await server.stop();
  rmSync(home, { recursive: true, force: true });
});

describe('a model by its hub id', () => {
  it('lies in the cache as the Python library has it: blobs by checksum, links by commit, refs', async () => {
    const commit = server.add('org/tiny', files);
    const folder = await localModel('org/tiny', options);
    expect(folder).toBe(join(repo('models--org--tiny'), 'snapshots', commit));
    expect(readdirSync(folder).sort()).toEqual(['config.json', 'model.safetensors', 'tokenizer.json']);
    expect(readFileSync(join(folder, 'model.safetensors')).equals(weights)).toBe(true);
    expect(lstatSync(join(folder, 'model.safetensors')).isSymbolicLink()).toBe(true);
    expect(readlinkSync(join(folder, 'model.safetensors'))).toBe(`../../blobs/${sha256(weights)}`);
    // Git's own hash names a small file, as `git hash-object` gives it.
    expect(readlinkSync(join(folder, 'tokenizer.json'))).toBe(
      '../../blobs/9e26dfeeb6e641a33dae4961196235bdb965b21b',
    );
    expect(readFileSync(join(repo('models--org--tiny'), 'refs', 'main'), 'utf8')).toBe(commit);
    expect(cachedModel('org/tiny', null)).toBe(folder);
    expect(lines.join('\n')).toMatch(/downloading org\/tiny: 3 files/);
  });

  it('is not downloaded twice, and only what changed comes with a new commit', async () => {
    const first = server.add('org/tiny', files);
    await localModel('org/tiny', options);
    server.requests.length = 0;
    await localModel('org/tiny', options);
    expect(server.requests.filter((request) => request.includes('/cdn/'))).toEqual([]);
    const second = server.commit('org/tiny', { ...files, 'config.json': '{"model_type":"qwen3"}' });
    const folder = await localModel('org/tiny', options);
    expect(folder).toContain(second);
    expect(
      new Set(
        server.requests
          .filter((request) => /^GET \/cdn\//.test(request))
          .map((request) => request.split(' ')[1]),
      ),
    ).toEqual(new Set([`/cdn/${second}/config.json`]));
    expect(readFileSync(join(folder, 'config.json'), 'utf8')).toContain('qwen3');
    const old = await localModel(`org/tiny@${first}`, options);
    expect(readFileSync(join(old, 'config.json'), 'utf8')).toContain('qwen2');
  });

  it('may name a branch or tag with slashes', async () => {
    const commit = server.add('org/tiny', files);
    server.repos.get('org/tiny')!.refs.set('refs/pr/1', commit);
    server.commit('org/tiny', { ...files, 'config.json': '{}' });
    expect(await localModel('org/tiny@refs/pr/1', options)).toContain(commit);
    expect(readFileSync(join(repo('models--org--tiny'), 'refs', 'refs', 'pr', '1'), 'utf8')).toBe(commit);
  });

  it('takes shards where there is no single file, and no other weights', async () => {
    const shards = { 'model-00001-of-00002.safetensors': 'a', 'model-00002-of-00002.safetensors': 'b' };
    server.add('org/large', {
      'model.safetensors.index.json': '{}',
      ...shards,
      'consolidated.safetensors': 'c',
    });
    const folder = await localModel('org/large', options);
    expect(readdirSync(folder).sort()).toEqual([...Object.keys(shards), 'model.safetensors.index.json']);
    server.add('org/pickled', { 'config.json': '{}', 'pytorch_model.bin': 'pickle' });
    await expect(localModel('org/pickled', options)).rejects.toThrow(/found pytorch_model\.bin/);
  });

  it('brings the base of an adapter along', async () => {
    server.add('org/tiny', files);
    const base = JSON.stringify({ base_model_name_or_path: 'org/tiny' });
    server.add('org/adapter', { 'adapter_config.json': base, 'adapter_model.safetensors': 'x' });
    const folder = await localModel('org/adapter', options);
    expect(readdirSync(folder).sort()).toEqual(['adapter_config.json', 'adapter_model.safetensors']);
    expect(existsSync(join(cachedModel('org/tiny', null)!, 'model.safetensors'))).toBe(true);
  });
});

describe('a download that is cut off', () => {
  it('goes on where it stopped, within one call', async () => {
    const commit = server.add('org/tiny', files);
    server.faults.set('model.safetensors', [{ cutAfter: 70_000 }, { status: 503 }, { cutAfter: 50_000 }]);
    const folder = await localModel('org/tiny', options);
    expect(readFileSync(join(folder, 'model.safetensors')).equals(weights)).toBe(true);
    const ranges = server.requests.filter((request) =>
      request.startsWith(`GET /cdn/${commit}/model.safetensors`),
    );
    const begins = ranges
      .map((request) => Number(/bytes=(\d+)-199999/.exec(request)?.[1] ?? 0))
      .filter((begin) => begin > 0);
    expect(begins.length).toBeGreaterThan(0);
    expect(begins).toEqual([...begins].sort((a, b) => a - b));
    expect(lines.join('\n')).toMatch(/model\.safetensors: going on at \d+ %/);
  });

  it('goes on in the next call, and with what the Python library left', async () => {
    server.add('org/tiny', files);
    const blobs = join(repo('models--org--tiny'), 'blobs');
    mkdirSync(blobs, { recursive: true });
    writeFileSync(join(blobs, `${sha256(weights)}.incomplete`), weights.subarray(0, 150_000));
    const folder = await localModel('org/tiny', options);
    expect(readFileSync(join(folder, 'model.safetensors')).equals(weights)).toBe(true);
    expect(server.requests.some((request) => request.endsWith('model.safetensors bytes=150000-199999'))).toBe(
      true,
    );
    expect(readdirSync(blobs).filter((name) => name.endsWith('.incomplete'))).toEqual([]);
  });

  it('begins again where the rest does not fit, and keeps nothing that is damaged', async () => {
    server.add('org/tiny', files);
    const blobs = join(repo('models--org--tiny'), 'blobs');
    mkdirSync(blobs, { recursive: true });
    writeFileSync(join(blobs, `${sha256(weights)}.incomplete`), Buffer.alloc(150_000, 1));
    const folder = await localModel('org/tiny', options);
    expect(readFileSync(join(folder, 'model.safetensors')).equals(weights)).toBe(true);
    server.add('org/other', { ...files, 'model.safetensors': weights.subarray(1) });
    server.faults.set('model.safetensors', [{ garbled: true }]);
    await expect(localModel('org/other', options)).rejects.toMatchObject({ code: 'hub-damaged' });
    expect(readdirSync(join(repo('models--org--other'), 'blobs')).filter((name) => name.length > 40)).toEqual(
      [],
    );
  });

  it('is an error after five tries', async () => {
    server.add('org/tiny', files);
    server.faults.set(
      'config.json',
      Array.from({ length: 5 }, () => ({ status: 503 })),
    );
    await expect(localModel('org/tiny', options)).rejects.toMatchObject({ code: 'hub-failed' });
    expect(lines.filter((line) => line.includes('trying again'))).toHaveLength(4);
  });
});

describe('a repository that cannot be read says why', () => {
  const codeOf = (name: string) => localModel(name, options).then(String, (error) => error.code);

  it('without a token, with another account, with a token that is none', async () => {
    server.add('org/secret', files);
    server.repos.get('org/secret')!.readers = ['hf_owner'];
    expect(await codeOf('org/secret')).toBe('hub-private-or-missing');
    vi.stubEnv('HF_TOKEN', 'hf_stranger');
    expect(await codeOf('org/secret')).toBe('hub-missing');
    expect(await codeOf('org/nowhere')).toBe('hub-missing');
    vi.stubEnv('HF_TOKEN', 'hf_wrong');
    expect(await codeOf('org/secret')).toBe('hub-bad-token');
    vi.stubEnv('HF_TOKEN', 'hf_owner');
    expect(await codeOf('org/secret')).toContain('models--org--secret');
    vi.stubEnv('HF_TOKEN', 'secret');
    expect(await codeOf('org/secret')).toBe('bad-token');
  });

  it('reads the token that the tools of the hub keep', async () => {
    server.add('org/secret', files);
    server.repos.get('org/secret')!.readers = ['hf_owner'];
    writeFileSync(join(home, 'token'), 'hf_owner\n');
    expect(await codeOf('org/secret')).toContain('models--org--secret');
  });

  it('gated, without the revision, a data set', async () => {
    server.add('org/gated', files);
    server.repos.get('org/gated')!.gated = true;
    expect(await codeOf('org/gated')).toBe('hub-gated');
    server.add('org/tiny', files);
    await expect(localModel('org/tiny@v9', options)).rejects.toThrow(
      /is there and has no branch, tag or commit 'v9'/,
    );
    server.add('org/data', { 'train.jsonl': '{}' }, 'dataset');
    vi.stubEnv('HF_TOKEN', 'hf_owner');
    expect(await codeOf('org/data')).toBe('hub-missing');
    expect(await codeOf('not a name')).toBe('no-model-folder');
    expect(await codeOf('org/tiny@../x')).toBe('bad-revision');
  });

  it('refuses a listing whose paths leave the folder', async () => {
    server.add('org/evil', { ...files, '../../outside.json': '{}' });
    await expect(localModel('org/evil', options)).rejects.toThrow(/not a file of a repository/);
  });
});

describe('without the network', () => {
  it('HF_HUB_OFFLINE takes the cache and asks nothing', async () => {
    server.add('org/tiny', files);
    const folder = await localModel('org/tiny', options);
    server.requests.length = 0;
    vi.stubEnv('HF_HUB_OFFLINE', '1');
    expect(await localModel('org/tiny', options)).toBe(folder);
    await expect(localModel('org/other', options)).rejects.toMatchObject({ code: 'offline' });
    await expect(localModel('org/tiny@v2', options)).rejects.toThrow(/not in the cache/);
    expect(server.requests).toEqual([]);
  });

  it('a hub that is out of reach leaves what the cache has, and says so', async () => {
    server.add('org/tiny', files);
    const folder = await localModel('org/tiny', options);
    await server.stop();
    expect(await localModel('org/tiny', options)).toBe(folder);
    expect(lines.at(-1)).toMatch(/could not be reached.*taking what the cache has/);
    await expect(localModel('org/other', options)).rejects.toMatchObject({ code: 'hub-unreachable' });
  });
});

describe('names and places', () => {
  it('a folder that is there comes before the hub', async () => {
    mkdirSync(join(home, 'org', 'tiny'), { recursive: true });
    expect(await localModel(join(home, 'org', 'tiny'), options)).toBe(join(home, 'org', 'tiny'));
    expect(server.requests).toEqual([]);
  });

  it('data sets have a place of their own, and of their files those that are chosen', async () => {
    server.add(
      'org/data',
      { 'data/train.jsonl': '{"a":1}\n', 'data/test.jsonl': '{}\n', 'README.md': '' },
      'dataset',
    );
    const folder = await localDataset(
      'org/data',
      (paths) => paths.filter((path) => path.endsWith('train.jsonl')),
      options,
    );
    expect(folder).toContain('datasets--org--data');
    expect(readFileSync(join(folder, 'data', 'train.jsonl'), 'utf8')).toBe('{"a":1}\n');
    expect(existsSync(join(folder, 'data', 'test.jsonl'))).toBe(false);
  });

  it('the environment says where things are', () => {
    expect(hubSettings().cache).toBe(join(home, 'hub'));
    vi.stubEnv('HF_HUB_CACHE', '/elsewhere');
    expect(hubSettings().cache).toBe('/elsewhere');
    vi.stubEnv('HF_ENDPOINT', 'https://mirror.example/');
    expect(hubSettings().endpoint).toBe('https://mirror.example');
  });

  it.each([
    ['org/name', { kind: 'model', name: 'org/name', revision: 'main' }],
    ['org/name@v1.0', { kind: 'model', name: 'org/name', revision: 'v1.0' }],
    ['./folder', null],
    ['/tmp/model', null],
    ['a/b/c', null],
    ['gpt2', null],
    ['org/..', null],
  ])('%s', (text, id) => {
    expect(parseRepoId(text, 'model')).toEqual(id);
  });
});
