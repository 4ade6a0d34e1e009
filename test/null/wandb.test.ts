/** The real `wandb` package, where a Python has it: what is read back from its files, and from a server it logs to. */

import { spawnSync } from 'node:child_process';
import { mkdirSync, mkdtempSync, readdirSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, it } from 'vitest';
import { parseRecipe } from '../../src/recipe/index.ts';
import { exportRun } from '../../src/run/index.ts';
import { MetricsWriter, pythonCommand, RunFollower, WandbTracker } from '../../src/track/index.ts';
import { FIXTURE_RECIPE } from './run-fixture.ts';
import { startWandbServer } from './wandb-server.ts';

const PYTHON = pythonCommand();
const ABSENT = spawnSync(PYTHON, ['-c', 'import wandb']).status !== 0;
if (ABSENT) console.log(`skipped: ${PYTHON} has no wandb`);
const real = it.skipIf(ABSENT);

/** A .wandb file: a header of 7 bytes, then records as in LevelDB's logs, each a protobuf of the package. */
const READER = `
import json, struct, sys
from wandb.proto import wandb_internal_pb2 as pb
data = open(sys.argv[1], 'rb').read()
at, whole, found = 7, b'', {'history': [], 'config': {}, 'summary': {}}
while at + 7 <= len(data):
    room = 32768 - at % 32768
    if room < 7:
        at += room
        continue
    _, size, kind = struct.unpack('<IHB', data[at:at + 7])
    whole, at = whole + data[at + 7:at + 7 + size], at + 7 + size
    if kind not in (1, 4):
        continue
    record = pb.Record()
    record.ParseFromString(whole)
    whole, name = b'', record.WhichOneof('record_type')
    read = lambda items: {i.key or '/'.join(i.nested_key): json.loads(i.value_json) for i in items}
    if name == 'history':
        found['history'].append(read(record.history.item))
    elif name == 'summary':
        found['summary'].update(read(record.summary.update))
    elif name == 'run':
        found['config'].update(read(record.run.config.update))
        found['id'], found['project'] = record.run.run_id, record.run.project
print(json.dumps(found))
`;

interface Kept {
  readonly id: string;
  readonly project: string;
  readonly history: Record<string, unknown>[];
  readonly summary: Record<string, unknown>;
  readonly config: Record<string, unknown>;
}

let run: string;
let failed: string[];
let told: string[];
const news = {
  failed: (sentence: string): void => void failed.push(sentence),
  told: (sentence: string): void => void told.push(sentence),
};
const environment = { ...process.env };

beforeEach(() => {
  run = mkdtempSync(join(tmpdir(), 'reckon-wandb-'));
  failed = [];
  told = [];
});

afterEach(() => {
  process.env = { ...environment };
  rmSync(run, { recursive: true, force: true });
});

function write(steps: readonly number[], resumeFromStep?: number): void {
  mkdirSync(join(run, '02-sft'), { recursive: true });
  writeFileSync(
    join(run, '02-sft', 'stage.json'),
    JSON.stringify({ version: 1, startedAt: '2026-01-01T00:00:00.000Z' }),
  );
  using metrics = MetricsWriter.open(
    join(run, '02-sft', 'metrics.jsonl'),
    resumeFromStep === undefined ? {} : { resumeFromStep },
  );
  for (const step of steps) metrics.write(step, { loss: step === 2 ? Number.NaN : 1 / step });
}

function evaluated(): void {
  mkdirSync(join(run, 'evaluations'));
  writeFileSync(join(run, 'evaluations', 'sft.json'), '{"passAt1": {"mean": 0.25}}');
}

async function track(mode: 'online' | 'offline'): Promise<void> {
  const tracked = { directory: run, name: 'r', config: { seed: 1, task: { name: 'game24' } } };
  const tracker = new WandbTracker(tracked, { project: 'p', mode }, news, PYTHON);
  await new RunFollower(run, [tracker], news.failed).close();
}

/** What each of the run's folders under `<run>/wandb` holds, oldest first. */
function keptOffline(): Kept[] {
  const folders = readdirSync(join(run, 'wandb')).filter((name) => name.startsWith('offline-run-'));
  return folders.sort().map((folder) => {
    const file = readdirSync(join(run, 'wandb', folder)).find((name) => name.endsWith('.wandb'))!;
    const path = join(run, 'wandb', folder, file);
    const { stdout } = spawnSync(PYTHON, ['-c', READER, path], { encoding: 'utf8' });
    // Python writes NaN as a bare word, which is a number there and no JSON here.
    return JSON.parse(stdout.replaceAll(': NaN', ': "a number: NaN"')) as Kept;
  });
}

const stepsOf = (history: readonly Record<string, unknown>[]): unknown[] =>
  history.map((row) => row['02-sft/step']);

real(
  'keeps history, summary and config offline; a resumed run keeps its id',
  {
    timeout: 120_000,
  },
  async () => {
    write([1, 2, 3]);
    evaluated();
    await track('offline');
    const [first] = keptOffline();
    expect(first!.project).toBe('p');
    expect(stepsOf(first!.history)).toEqual([1, 2, 3]);
    expect(first!.history.map((row) => row['02-sft/loss'])).toEqual([1, 'a number: NaN', 1 / 3]);
    expect(first!.summary).toMatchObject({ 'evaluation/sft/pass_at_1': 0.25, '02-sft/step': 3 });
    expect(first!.config).toMatchObject({ seed: 1, task: { name: 'game24' } });
    write([3, 4], 2);
    await new Promise((resolve) => setTimeout(resolve, 1100)); // folders are named by the second
    await track('offline');
    const [, second] = keptOffline();
    expect(second!.id).toBe(first!.id);
    expect(stepsOf(second!.history)).toEqual([1, 2, 3, 4]);
    expect(failed).toEqual([]);
  },
);

real('tells rows that were cut back and written again once', { timeout: 120_000 }, async () => {
  write([1, 2, 3]);
  const tracker = new WandbTracker(
    { directory: run, name: 'r', config: {} },
    { project: 'p', mode: 'offline' },
    news,
    PYTHON,
  );
  const follower = new RunFollower(run, [tracker], news.failed);
  follower.look();
  write([2], 1);
  follower.look();
  write([3, 4], 2);
  await follower.close();
  expect(stepsOf(keptOffline()[0]!.history)).toEqual([1, 2, 3, 4]);
});

real('takes an exported run', { timeout: 120_000 }, async () => {
  write([1, 2]);
  const recipe = parseRecipe(FIXTURE_RECIPE, 'r.yaml');
  const wandb = { project: 'mine', mode: 'offline' } as const;
  await exportRun(run, recipe, { tracking: { tensorboard: false, wandb }, ...news });
  const [kept] = keptOffline();
  expect(kept).toMatchObject({ project: 'mine', config: { name: recipe.name, seed: recipe.seed } });
  expect(stepsOf(kept!.history)).toEqual([1, 2]);
  expect(failed).toEqual([]);
});

real(
  'logs to a server, and goes on there with the same run, each step once',
  {
    timeout: 120_000,
  },
  async () => {
    await using server = await startWandbServer();
    process.env['WANDB_BASE_URL'] = server.url;
    process.env['WANDB_API_KEY'] = 'a'.repeat(40);
    write([1, 2, 3]);
    await track('online');
    expect(told[0]).toMatch(`Weights & Biases: ${server.url}/me/p/runs/`);
    expect(stepsOf(server.history)).toEqual([1, 2, 3]);
    expect(server.summary).toMatchObject({ '02-sft/step': 3, '02-sft/loss': 1 / 3 });
    write([3, 4], 2);
    await track('online');
    expect(stepsOf(server.history)).toEqual([1, 2, 3, 4]);
    expect(failed).toEqual([]);
  },
);

real('keeps a run here that cannot get there', { timeout: 120_000 }, async () => {
  process.env['WANDB_BASE_URL'] = 'http://127.0.0.1:9';
  process.env['WANDB_API_KEY'] = 'a'.repeat(40);
  process.env['WANDB_INIT_TIMEOUT'] = '2';
  write([1, 2]);
  await track('online');
  expect(failed).toEqual([
    expect.stringMatching(/cannot be reached .* kept here; `wandb sync .*` sends it$/),
  ]);
  expect(stepsOf(keptOffline()[0]!.history)).toEqual([1, 2]);
});
