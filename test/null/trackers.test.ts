import { execFileSync, spawnSync } from 'node:child_process';
import {
  appendFileSync,
  chmodSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { beforeEach, describe, expect, it } from 'vitest';
import { parseRecipe } from '../../src/recipe/index.ts';
import { executeRun, exportRun } from '../../src/run/index.ts';
import { crc32c, maskedCrc32c } from '../../src/track/crc32c.ts';
import { eventRecord } from '../../src/track/event-records.ts';
import {
  MetricsWriter,
  RunFollower,
  readEvents,
  TensorBoardTracker,
  type TrackEvent,
  type Tracker,
  WandbTracker,
} from '../../src/track/index.ts';
import { FIXTURE_RECIPE, fixtureFunctions } from './run-fixture.ts';

let run: string;
let said: string[];
const say = (sentence: string): void => {
  said.push(sentence);
};

const news = { failed: say, told: (): void => undefined };

beforeEach(() => {
  run = mkdtempSync(join(tmpdir(), 'reckon-track-'));
  said = [];
});

/** A stage folder with metrics of some steps; later calls append. */
function write(stage: string, steps: readonly number[], resumeFromStep?: number): void {
  mkdirSync(join(run, stage), { recursive: true });
  const stageFile = { version: 1, startedAt: '2026-01-01T00:00:00.000Z' };
  writeFileSync(join(run, stage, 'stage.json'), JSON.stringify(stageFile));
  const options = resumeFromStep === undefined ? {} : { resumeFromStep };
  using metrics = MetricsWriter.open(join(run, stage, 'metrics.jsonl'), options);
  for (const step of steps) metrics.write(step, { loss: 1 / step, 'time/step_s': 2, 'policy/kl': null });
}

function eventFile(folder: string): string {
  const names = readdirSync(folder);
  expect(names).toHaveLength(1);
  return join(folder, names[0]!);
}

const events = (folder: string): TrackEvent[] => readEvents(readFileSync(eventFile(folder)));

describe('crc32c', () => {
  it('equals the published test vectors', () => {
    expect(crc32c(Buffer.from('123456789'))).toBe(0xe3069283);
    expect(crc32c(Buffer.alloc(32))).toBe(0x8a9136aa);
    expect(crc32c(Buffer.alloc(32, 0xff))).toBe(0x62a8ab43);
    expect(crc32c(Buffer.from(Array.from({ length: 32 }, (_, i) => i)))).toBe(0x46dd794e);
    expect(maskedCrc32c(Buffer.alloc(0))).toBe(0xa282ead8);
  });
});

describe('event records', () => {
  it('are read back, large steps and numbers that are not finite too', () => {
    const written: TrackEvent[] = [
      { wallTime: 1.5, step: 0, fileVersion: 'brain.Event:2', scalars: {} },
      { wallTime: 1e9, step: 2 ** 40, scalars: { loss: 0.5, 'länge/α': -3 } },
      { wallTime: 2, step: 3, scalars: { x: Number.NaN, y: Number.POSITIVE_INFINITY } },
    ];
    expect(readEvents(Buffer.concat(written.map(eventRecord)))).toEqual(written);
  });

  it('that are damaged or cut off are an error', () => {
    const record = eventRecord({ wallTime: 1, step: 1, scalars: { loss: 1 } });
    for (let at = 0; at < record.length; at++) {
      const damaged = Buffer.from(record);
      damaged[at] = damaged[at]! ^ 1;
      expect(() => readEvents(damaged)).toThrow('no whole event file');
      if (at > 0) expect(() => readEvents(record.subarray(0, at))).toThrow('no whole event file');
    }
  });
});

describe('TensorBoard files', () => {
  it('hold every step once, also after the metrics are cut back', () => {
    const folder = join(run, 'tensorboard');
    write('02-sft', [1, 2, 3]);
    const follower = new RunFollower(run, [new TensorBoardTracker(folder)], say);
    follower.look();
    follower.look();
    write('02-sft', [4], 3);
    follower.look();
    expect(events(join(folder, '02-sft')).map(({ step }) => step)).toEqual([0, 1, 2, 3, 4]);
    write('02-sft', [2], 1);
    follower.look();
    const found = events(join(folder, '02-sft'));
    expect(found.map(({ step }) => step)).toEqual([0, 1, 2]);
    expect(found[0]!.fileVersion).toBe('brain.Event:2');
    expect(found[2]).toMatchObject({
      wallTime: Date.parse('2026-01-01') / 1000 + 4,
      scalars: { loss: 0.5, 'time/step_s': 2 },
    });
    expect(said).toEqual([]);
  });

  it('leave a line that is only half written for later', () => {
    const folder = join(run, 'tensorboard');
    write('02-sft', [1]);
    const follower = new RunFollower(run, [new TensorBoardTracker(folder)], say);
    follower.look();
    const metrics = join(run, '02-sft', 'metrics.jsonl');
    appendFileSync(metrics, '{"step":2,"lo');
    follower.look();
    expect(events(join(folder, '02-sft')).map(({ step }) => step)).toEqual([0, 1]);
    appendFileSync(metrics, 'ss":1}\n{"step":3,"loss":1}\n');
    follower.look();
    expect(events(join(folder, '02-sft')).map(({ step }) => step)).toEqual([0, 1, 2, 3]);
    expect(said).toEqual([]);
  });

  it('are the same when a run is exported afterwards, evaluations beside them', async () => {
    write('02-sft', [1, 2]);
    mkdirSync(join(run, 'evaluations'));
    writeFileSync(
      join(run, 'evaluations', 'sft.json'),
      '{"passAt1": {"mean": 0.25}, "format": {"mean": 0.5}}',
    );
    const folder = join(run, 'logs');
    const recipe = parseRecipe(FIXTURE_RECIPE, 'r.yaml');
    for (let again = 0; again < 2; again++)
      await exportRun(run, recipe, { tracking: { tensorboard: true }, folder, failed: say, told: say });
    expect(events(join(folder, '02-sft')).map(({ step }) => step)).toEqual([0, 1, 2]);
    expect(events(join(folder, 'evaluations'))[1]!.scalars).toEqual({
      'pass_at_1/sft': 0.25,
      'format/sft': 0.5,
    });
  });

  it('are what TensorBoard reads', () => {
    const python = process.env['RECKON_PYTHON'] ?? 'python3';
    write('02-sft', [1, 2, 3]);
    new RunFollower(run, [new TensorBoardTracker(join(run, 'tensorboard'))], say).look();
    const program = `
import json, sys
try:
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
except ImportError:
    sys.exit(3)
found = EventAccumulator(sys.argv[1])
found.Reload()
print(json.dumps([[e.step, e.wall_time, e.value] for e in found.Scalars('loss')]))`;
    const { status, stdout } = spawnSync(python, ['-c', program, join(run, 'tensorboard', '02-sft')], {
      encoding: 'utf8',
    });
    if (status !== 0) return console.log(`skipped: ${python} has no tensorboard`);
    const start = Date.parse('2026-01-01') / 1000;
    expect(JSON.parse(stdout)).toEqual([
      [1, start + 2, 1],
      [2, start + 4, 0.5],
      [3, start + 6, Math.fround(1 / 3)],
    ]);
  });
});

/** A program that stands for the user's Python: it keeps what it is told. */
function fakePython(body: string): string {
  const path = join(run, 'python');
  writeFileSync(path, `#!/bin/sh\n${body}\n`);
  chmodSync(path, 0o755);
  return path;
}

describe('Weights & Biases', () => {
  const tracked = { directory: '/runs/r', name: 'r', config: { seed: 1 } };
  const options = { project: 'p', mode: 'offline' } as const;

  it('is told the run once, then rows by stage, over lines of JSON', async () => {
    const heard = join(run, 'heard.jsonl');
    write('02-sft', [1, 2]);
    const tracker = new WandbTracker(tracked, options, news, fakePython(`cat > ${heard}`));
    await new RunFollower(run, [tracker], say).close();
    const lines = readFileSync(heard, 'utf8')
      .trim()
      .split('\n')
      .map((line) => JSON.parse(line) as object);
    expect(lines).toEqual([
      {
        init: expect.objectContaining({
          project: 'p',
          mode: 'offline',
          name: 'r',
          config: { seed: 1 },
        }),
      },
      { stage: '02-sft', startedAt: Date.parse('2026-01-01') / 1000 },
      { stage: '02-sft', step: 1, log: { '02-sft/loss': 1, '02-sft/time/step_s': 2, '02-sft/step': 1 } },
      { stage: '02-sft', step: 2, log: { '02-sft/loss': 0.5, '02-sft/time/step_s': 2, '02-sft/step': 2 } },
    ]);
    expect(said).toEqual([]);
  });

  it('outlives what else its Python prints, and a Ctrl-C that is meant for the run', async () => {
    write('02-sft', [1]);
    const heard = join(run, 'heard.jsonl');
    const talker = fakePython(
      `ps -o pgid= -p $$ > ${run}/group; echo "Welcome, {}"; echo null; cat > ${heard}`,
    );
    await new RunFollower(run, [new WandbTracker(tracked, options, news, talker)], say).close();
    expect(readFileSync(heard, 'utf8')).toContain('"log"');
    const own = execFileSync('ps', ['-o', 'pgid=', '-p', String(process.pid)], { encoding: 'utf8' });
    expect(readFileSync(join(run, 'group'), 'utf8').trim()).not.toBe(own.trim());
    expect(said).toEqual([]);
  });

  it.each([
    ['without the package', () => fakePython('exit 3'), /has no package wandb, .* `pip install wandb`/],
    ['without Python', () => join(run, 'no-python'), /has no package wandb/],
    [
      'that breaks off',
      () => fakePython('echo "wandb: no API key" >&2; exit 1'),
      /^Weights & Biases stopped \(wandb: no API key\); the run goes on without it$/,
    ],
  ])('%s is one sentence, and no error', async (_name, python, sentence) => {
    write(
      '02-sft',
      Array.from({ length: 50 }, (_, i) => i + 1),
    );
    const follower = new RunFollower(run, [new WandbTracker(tracked, options, news, python())], say);
    follower.look();
    await new Promise((resolve) => setTimeout(resolve, 100));
    write('02-sft', [51], 50);
    await follower.close();
    expect(said).toHaveLength(1);
    expect(said[0]).toMatch(sentence);
  });
});

describe('a tracker that fails', () => {
  it('never stops a run, and the others go on', async () => {
    const broken: Tracker = {
      name: 'Broken',
      log: () => {
        throw new Error('no more');
      },
      evaluation: () => undefined,
      close: () => Promise.reject(new Error('not even this')),
    };
    write('02-sft', [1]);
    const folder = join(run, 'tensorboard');
    const follower = new RunFollower(run, [broken, new TensorBoardTracker(folder)], say);
    follower.look();
    write('02-sft', [2], 1);
    await follower.close();
    expect(said).toEqual(['Broken failed (no more); the run goes on without it']);
    expect(events(join(folder, '02-sft'))).toHaveLength(3);
  });

  it('is said in run.log, the run done', async () => {
    const recipe = parseRecipe(
      `${FIXTURE_RECIPE}tracking: {tensorboard: true, wandb: {project: p}}\n`,
      'r.yaml',
    );
    const path = process.env['PATH'];
    process.env['RECKON_PYTHON'] = join(run, 'nowhere');
    try {
      const result = await executeRun(recipe, {
        runsDirectory: run,
        stream: { write: () => true },
        load: async () => ({
          stageFunctions: {
            ...fixtureFunctions(0),
            prepare: async (context) => {
              appendFileSync(join(context.directory, 'metrics.jsonl'), '{"step":1,"loss":1}\n');
              return 'done';
            },
          },
          resolveCompute: async () => ({ device: 'cpu', dtype: 'f32', threads: 1, kernels: 'none' }),
        }),
      });
      expect(result.status).toBe('done');
    } finally {
      delete process.env['RECKON_PYTHON'];
      process.env['PATH'] = path;
    }
    expect(readFileSync(join(run, 'tiny', 'run.log'), 'utf8')).toContain('has no package wandb');
    expect(events(join(run, 'tiny', 'tensorboard', '01-prepare')).map(({ step }) => step)).toEqual([0, 1]);
  });
});
