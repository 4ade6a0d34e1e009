import { spawn } from 'node:child_process';
import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { writeModelCard } from '../../src/checkpoints/model-card.ts';
import { type ModelInfo, readModelInfo, writeModelInfo } from '../../src/checkpoints/model-info.ts';
import { HubServer } from './hub-server.ts';

const ROOT = fileURLToPath(new URL('../..', import.meta.url));
const MAIN = join(ROOT, 'dist', 'cli', 'main.js');

let folder: string;
let hub: HubServer;
let endpoint: string;

beforeEach(async () => {
  folder = mkdtempSync(join(tmpdir(), 'reckon-push-'));
  hub = new HubServer();
  endpoint = await hub.start();
});
afterEach(async () => {
  await hub.stop();
  rmSync(folder, { recursive: true, force: true });
});

/** `reckon push` in a process of its own that knows no hub but the one on the loopback. */
async function push(
  words: readonly string[],
  changes: NodeJS.ProcessEnv = {},
): Promise<{ code: number | null; stdout: string; stderr: string }> {
  const child = spawn(process.execPath, [MAIN, 'push', ...words], {
    cwd: ROOT,
    env: { ...process.env, HF_ENDPOINT: endpoint, HF_TOKEN: 'hf_right', HF_HOME: folder, ...changes },
    stdio: ['ignore', 'pipe', 'pipe'],
  });
  const texts = { stdout: '', stderr: '' };
  child.stdout.on('data', (data: Buffer) => (texts.stdout += data.toString()));
  child.stderr.on('data', (data: Buffer) => (texts.stderr += data.toString()));
  const code = await new Promise<number | null>((resolve) => child.on('close', resolve));
  expect(texts.stdout + texts.stderr).not.toContain('hf_right');
  return { code, ...texts };
}

const info: ModelInfo = {
  version: 1,
  base: 'org/base',
  parents: [{ name: '01-prepare/checkpoints/step-000000', sha256: null }],
  how: 'grpo',
  steps: 400,
  tokens: 1_234_567,
  adapter: null,
  data: { task: { name: 'game24' } },
  recipe: 'abc',
  versions: { reckon: '0.1.0' },
};

/** A folder as a checkpoint is, with weights that are only bytes. */
function modelFolder(name = 'model'): string {
  const path = join(folder, name);
  mkdirSync(join(path, 'trainer'), { recursive: true });
  for (const file of ['config.json', 'tokenizer.json', 'tokenizer_config.json', 'manifest.json', '.hidden'])
    writeFileSync(join(path, file), `{"${file}": 1}\n`);
  writeFileSync(join(path, 'trainer', 'state.json'), '{}');
  writeFileSync(join(path, 'model.safetensors'), Buffer.alloc(300_000, 7));
  writeModelInfo(path, info);
  writeModelCard(path, info);
  return path;
}

function adapterFolder(base: string): string {
  const path = join(folder, 'adapter');
  mkdirSync(path);
  writeFileSync(join(path, 'adapter_config.json'), JSON.stringify({ r: 4, base_model_name_or_path: base }));
  writeFileSync(join(path, 'adapter_model.safetensors'), Buffer.alloc(1000, 5));
  const adapter = { type: 'lora', rank: 4, alpha: 8, targetModules: 'all-linear', merged: false } as const;
  writeModelInfo(path, { ...info, base: null, adapter });
  writeModelCard(path, { ...info, base: null, adapter });
  return path;
}

describe('reckon push', () => {
  it('makes a private repository of what belongs to a model, with a card under its name', async () => {
    const model = modelFolder();
    const { code, stdout, stderr } = await push([model, 'me/tiny', '--json', '--message', 'First']);
    expect(stderr.replace(/^npm.*\n/gm, '')).toBe('');
    expect(code).toBe(0);
    expect(JSON.parse(stdout)).toMatchObject({ uploaded: true, url: `${endpoint}/me/tiny/commit/c0` });
    const repo = hub.repos.get('me/tiny')!;
    expect([repo.private, repo.commits]).toEqual([true, ['First']]);
    expect([...repo.files.keys()].sort()).toEqual([
      'README.md',
      'config.json',
      'model.safetensors',
      'model_info.json',
      'tokenizer.json',
      'tokenizer_config.json',
    ]);
    for (const [name, bytes] of repo.files)
      if (name !== 'README.md') expect(bytes, name).toEqual(readFileSync(join(model, name)));
    const card = repo.files.get('README.md')!.toString();
    expect(card).toMatch(/^---\nbase_model: org\/base\n/);
    expect(card).toContain('# me/tiny\n');
    expect(card).toContain('from_pretrained("me/tiny")');
    expect(readFileSync(join(model, 'README.md'), 'utf8')).not.toContain('me/tiny');
  });

  it('leaves a card that somebody wrote as it is', async () => {
    const model = modelFolder();
    writeFileSync(join(model, 'README.md'), '# Mine\n');
    expect((await push([model, 'me/tiny'])).code).toBe(0);
    expect(hub.repos.get('me/tiny')!.files.get('README.md')!.toString()).toBe('# Mine\n');
  });

  it('makes nothing public unasked', async () => {
    const model = modelFolder();
    const refused = await push([model, 'me/open', '--public']);
    expect(refused).toMatchObject({ code: 2, stderr: expect.stringContaining('--yes') });
    expect(hub.repos.has('me/open')).toBe(false);
    expect((await push([model, 'me/open', '--public', '--yes'])).code).toBe(0);
    expect(hub.repos.get('me/open')!.private).toBe(false);
    hub.repos.get('me/open')!.files.clear();
    const again = await push([model, 'me/open']);
    expect(again).toMatchObject({ code: 2, stderr: expect.stringContaining('is public') });
    expect(hub.repos.get('me/open')!.files.size).toBe(0);
  });

  it('does not open a private repository that is there', async () => {
    hub.repos.set('me/closed', { private: true, files: new Map(), commits: [] });
    const { code, stderr } = await push([modelFolder(), 'me/closed', '--public', '--yes']);
    expect([code, hub.repos.get('me/closed')!.private]).toEqual([2, true]);
    expect(stderr).toContain('private');
    expect((await push([join(folder, 'model'), 'me/closed'])).code).toBe(0);
  });

  it('wants a base that others can get of an adapter', async () => {
    const adapter = adapterFolder('../model');
    modelFolder();
    const refused = await push([adapter, 'me/lora']);
    expect(refused).toMatchObject({ code: 2, stderr: expect.stringContaining('--base org/name') });
    expect((await push([adapter, 'me/lora', '--base', 'org/base'])).code).toBe(0);
    const { files } = hub.repos.get('me/lora')!;
    const config = JSON.parse(files.get('adapter_config.json')!.toString());
    expect(config).toEqual({ r: 4, base_model_name_or_path: 'org/base' });
    const card = files.get('README.md')!.toString();
    expect(card).toMatch(/^---\nbase_model: org\/base\nlibrary_name: peft\n/);
    expect(card).toContain('reckon merge org/base me/lora');
  });

  it('lists and stops under --dry-run', async () => {
    const { code, stdout } = await push([modelFolder(), 'me/tiny', '--dry-run'], { HF_TOKEN: '' });
    expect(code).toBe(0);
    expect(stdout).toMatch(/model\.safetensors +293 KiB/);
    expect(hub.requests).toEqual([]);
  });

  it.each([
    ['no token', {}, { HF_TOKEN: '' }, 'no token|HF_TOKEN'],
    ['a wrong token', {}, { HF_TOKEN: 'hf_wrong' }, 'the token is not valid'],
    ['a token that may not write', { token: null }, {}, 'may not write there'],
    ['a hub that is not there', {}, { HF_ENDPOINT: 'http://127.0.0.1:9' }, 'HF_ENDPOINT'],
    ['offline', {}, { HF_HUB_OFFLINE: '1' }, 'HF_HUB_OFFLINE'],
  ])('says what to do about %s', async (_name, server, environment, message) => {
    Object.assign(hub, server);
    const { code, stderr } = await push([modelFolder(), 'me/tiny'], environment);
    expect(code).toBe(1);
    expect(stderr).toMatch(new RegExp(message));
    expect(stderr).not.toContain('not expected');
  });

  it('reads the token that the hub tools keep', async () => {
    writeFileSync(join(folder, 'token'), 'hf_right\n');
    const { HF_TOKEN: _, ...rest } = process.env;
    expect(rest).toBeDefined();
    expect((await push([modelFolder(), 'me/tiny'], { HF_TOKEN: undefined })).code).toBe(0);
  });

  it.each([
    [['nothing-here', 'me/tiny'], 'neither'],
    [['.', 'me'], "found 'me'"],
    [['.', '../up/x'], 'org/name'],
  ])('refuses %j', async (words, message) => {
    const { code, stderr } = await push(words);
    expect(code).toBe(2);
    expect(stderr).toContain(message);
  });
});

describe('model_info.json', () => {
  it('is read back equal, and damage is said', () => {
    const model = modelFolder();
    expect(readModelInfo(model)).toEqual(info);
    expect(readModelInfo(folder)).toBeNull();
    writeFileSync(join(model, 'model_info.json'), '{"version": 9}');
    expect(() => readModelInfo(model)).toThrow(expect.objectContaining({ code: 'bad-model-info' }));
  });
});
