import { spawn } from 'node:child_process';
import { once } from 'node:events';
import {
  appendFileSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  renameSync,
  rmSync,
  symlinkSync,
  truncateSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { beforeEach, describe, expect, it } from 'vitest';
import { modelFingerprint } from '../../src/checkpoints/fingerprint.ts';
import {
  checkpointPath,
  listCheckpoints,
  newestWholeCheckpoint,
  pruneCheckpoints,
  writeCheckpoint,
} from '../../src/checkpoints/folder.ts';
import { findDamage, manifestSchema } from '../../src/checkpoints/manifest.ts';

let stage: string;

beforeEach(() => {
  stage = mkdtempSync(join(tmpdir(), 'reckon-checkpoints-'));
});

async function write(step: number, content = `weights ${step}`): Promise<string> {
  const { path } = await writeCheckpoint(stage, step, (folder) => {
    writeFileSync(join(folder, 'model.safetensors'), content);
    mkdirSync(join(folder, 'trainer'));
    writeFileSync(join(folder, 'trainer', 'state.json'), '{}');
  });
  return path;
}

const names = (): string[] => readdirSync(join(stage, 'checkpoints')).sort();
const steps = (): number[] => listCheckpoints(stage).map((checkpoint) => checkpoint.step);

describe('writeCheckpoint', () => {
  it('names the folder by its step and lists every file with size and checksum', async () => {
    const path = await write(100);
    expect(path).toBe(join(stage, 'checkpoints', 'step-000100'));
    const manifest = manifestSchema.parse(JSON.parse(readFileSync(join(path, 'manifest.json'), 'utf8')));
    expect(manifest.step).toBe(100);
    expect(manifest.files.map((file) => [file.path, file.size])).toEqual([
      ['model.safetensors', 11],
      ['trainer/state.json', 2],
    ]);
    expect(names()).toEqual(['step-000100']);
  });

  it('leaves the old ones and nothing else when the writer throws', async () => {
    await write(1);
    const failing = writeCheckpoint(stage, 2, (folder) => {
      writeFileSync(join(folder, 'half'), 'x');
      throw new Error('disk full');
    });
    await expect(failing).rejects.toThrow('disk full');
    expect(names()).toEqual(['step-000001']);
  });

  it('replaces a checkpoint of the same step', async () => {
    await write(5, 'old');
    const path = await write(5, 'new');
    expect(readFileSync(join(path, 'model.safetensors'), 'utf8')).toBe('new');
    expect(names()).toEqual(['step-000005']);
  });

  it('refuses links and steps that are no whole number', async () => {
    const linked = writeCheckpoint(stage, 1, (folder) => symlinkSync('/', join(folder, 'link')));
    await expect(linked).rejects.toThrow('plain files only');
    await expect(writeCheckpoint(stage, 1.5, () => undefined)).rejects.toThrow('whole number');
    expect(steps()).toEqual([]);
  });
});

describe('newestWholeCheckpoint', () => {
  it('finds nothing in a stage without checkpoints', () => {
    expect(newestWholeCheckpoint(stage)).toEqual({ newest: null, broken: [] });
  });

  it('takes the newest, also past a million steps, or the newest up to maxStep', async () => {
    for (const step of [9, 100, 1_000_000]) await write(step);
    expect(newestWholeCheckpoint(stage).newest?.step).toBe(1_000_000);
    expect(newestWholeCheckpoint(stage, { maxStep: 100 }).newest?.step).toBe(100);
    expect(newestWholeCheckpoint(stage, { maxStep: 8 }).newest).toBeNull();
  });

  const damages: [string, (path: string) => void, string][] = [
    ['a flipped byte', (path) => writeFileSync(join(path, 'model.safetensors'), 'Weights 2'), 'checksum'],
    [
      'a longer file',
      (path) => appendFileSync(join(path, 'model.safetensors'), '!'),
      '10 bytes instead of 9',
    ],
    ['a truncated file', (path) => truncateSync(join(path, 'model.safetensors'), 3), '3 bytes instead of 9'],
    ['a missing file', (path) => rmSync(join(path, 'trainer', 'state.json')), 'state.json is missing'],
    ['no manifest', (path) => rmSync(join(path, 'manifest.json')), 'manifest.json is missing'],
    ['half a manifest', (path) => truncateSync(join(path, 'manifest.json'), 20), 'cannot be read'],
  ];

  it.each(damages)('skips one with %s and says so', async (_name, damage, reason) => {
    await write(1);
    damage(await write(2));
    const { newest, broken } = newestWholeCheckpoint(stage);
    expect(newest?.step).toBe(1);
    expect(broken.map((one) => one.step)).toEqual([2]);
    expect(broken[0]!.reason).toContain(reason);
  });

  it('does not take a folder that was renamed to another step', async () => {
    renameSync(await write(1), checkpointPath(stage, 7));
    expect(newestWholeCheckpoint(stage).broken[0]!.reason).toContain('of step 1');
  });

  it('does not follow a manifest out of the folder', async () => {
    const path = await write(1);
    const manifest = { version: 1, step: 1, files: [{ path: '../../x', size: 0, sha256: '0'.repeat(64) }] };
    writeFileSync(join(path, 'manifest.json'), JSON.stringify(manifest));
    expect(findDamage(path, 1)).toContain('cannot be read');
  });

  it('puts back an old checkpoint whose successor never came, and clears what was half written', async () => {
    const path = await write(3);
    renameSync(path, join(stage, 'checkpoints', '.step-000003.old-999999'));
    mkdirSync(join(stage, 'checkpoints', '.step-000003.tmp-999999'));
    expect(newestWholeCheckpoint(stage).newest?.path).toBe(path);
    expect(names()).toEqual(['step-000003']);
  });
});

describe('pruneCheckpoints', () => {
  it('keeps the newest ones', async () => {
    for (const step of [1, 2, 3, 4]) await write(step);
    expect(pruneCheckpoints(stage, 2).map((checkpoint) => checkpoint.step)).toEqual([2, 1]);
    expect(names()).toEqual(['step-000003', 'step-000004']);
  });

  it('never removes the newest whole one, even behind broken ones, even when told to keep none', async () => {
    for (const step of [1, 2, 3, 4]) await write(step);
    for (const step of [3, 4]) rmSync(join(checkpointPath(stage, step), 'model.safetensors'));
    pruneCheckpoints(stage, 0);
    expect(steps()).toEqual([2, 4]);
    expect(newestWholeCheckpoint(stage).newest?.step).toBe(2);
  });
});

it('a writer that is killed again and again leaves a whole checkpoint and loses no more than the last', async () => {
  const script = `
    import { writeFileSync } from 'node:fs';
    import { newestWholeCheckpoint, pruneCheckpoints, writeCheckpoint } from './dist/checkpoints/folder.js';
    const stage = ${JSON.stringify(stage)};
    let step = newestWholeCheckpoint(stage).newest?.step ?? 0;
    for (;;) {
      step++;
      await writeCheckpoint(stage, step, (folder) => {
        for (const name of ['a', 'b', 'c']) writeFileSync(folder + '/' + name, name.repeat(100_000));
      });
      process.stdout.write(step + '\\n');
      pruneCheckpoints(stage, 2);
    }`;
  let told = 0;
  for (const delay of [5, 20, 35]) {
    const child = spawn(process.execPath, ['--input-type=module', '-e', script]);
    let output = '';
    child.stdout.on('data', (data: Buffer) => {
      output += data.toString();
    });
    while (output === '') await sleep(5);
    await sleep(delay);
    child.kill('SIGKILL');
    await once(child, 'close');
    told = Number(output.trim().split('\n').at(-1));
    expect(newestWholeCheckpoint(stage).newest?.step).toBeGreaterThanOrEqual(told);
    expect(names().every((name) => name.startsWith('step-'))).toBe(true);
  }
  expect(told).toBeGreaterThanOrEqual(3);
  expect(existsSync(checkpointPath(stage, told))).toBe(true);
});

it('a model without a manifest is another where a shard is another', () => {
  const shard = join(stage, 'model-00001-of-00002.safetensors');
  writeFileSync(join(stage, 'config.json'), '{}');
  const found = ['', 'one', 'other'].map((text) => {
    if (text !== '') writeFileSync(shard, text);
    return modelFingerprint(stage);
  });
  expect(new Set(found).size).toBe(3);
  expect(modelFingerprint(stage)).toBe(found[2]);
});
