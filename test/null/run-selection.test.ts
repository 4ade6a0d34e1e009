import {
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { beforeEach, describe, expect, it } from 'vitest';
import { listCheckpoints, newestWholeCheckpoint, writeCheckpoint } from '../../src/checkpoints/folder.ts';
import { parseRecipe } from '../../src/recipe/index.ts';
import {
  executeRun,
  type RunResult,
  type RunStageContext,
  type StageFunctions,
  type StageSelection,
} from '../../src/run/index.ts';
import { fixtureFunctions } from './run-fixture.ts';

const RECIPE = `version: 1
name: tiny
task: {name: game24}
model: {init: {}}
stages:
  - type: prepare
  - {type: sft, steps: 4, schedule: constant}
  - {type: evaluate, label: after-sft}
  - {type: grpo, steps: 2}
  - {type: evaluate, label: after-grpo}
  - type: report
`;

const COMPUTE = { device: 'cpu', dtype: 'f32', threads: 1, kernels: 'none' } as const;

let runs: string;
let lines: string;

beforeEach(() => {
  runs = mkdtempSync(join(tmpdir(), 'reckon-select-'));
  lines = '';
});

/** A trainer that counts, with a checkpoint after every step, and goes on from the newest as real ones do. */
async function count(context: RunStageContext<'sft' | 'grpo'>): Promise<'done' | 'stopped'> {
  const { newest } = newestWholeCheckpoint(context.directory);
  const steps = context.stage.steps ?? 0;
  let done = newest === null ? '' : readFileSync(join(newest.path, 'done.txt'), 'utf8');
  for (let step = (newest?.step ?? 0) + 1; step <= steps; step++) {
    done += `${step}@${context.stage.learningRate} `;
    context.log(`${context.name} step ${step}`);
    await writeCheckpoint(context.directory, step, (folder) => writeFileSync(join(folder, 'done.txt'), done));
  }
  context.setOutput(newestWholeCheckpoint(context.directory).newest!.path);
  return 'done';
}

const functions: StageFunctions = {
  ...fixtureFunctions(0),
  sft: count,
  grpo: count,
  evaluate: async ({ runDirectory, stage, log, parent }) => {
    mkdirSync(join(runDirectory, 'evaluations'), { recursive: true });
    writeFileSync(join(runDirectory, 'evaluations', `${stage.label}.json`), '{}');
    log(`evaluating ${parent}`);
    return 'done';
  },
};

function execute(
  { fresh, ...selection }: StageSelection & { readonly fresh?: boolean } = {},
  recipe = RECIPE,
): Promise<RunResult> {
  lines = '';
  return executeRun(parseRecipe(recipe, 'r.yaml'), {
    runsDirectory: runs,
    stream: { write: (text: string) => (lines += text) },
    selection,
    fresh,
    load: async () => ({ stageFunctions: functions, resolveCompute: async () => COMPUTE }),
  });
}

const run = (): string => join(runs, 'tiny');
const trail = (stage: string): string => {
  const { newest } = newestWholeCheckpoint(join(run(), stage));
  return readFileSync(join(newest!.path, 'done.txt'), 'utf8').trim();
};
const steps = (stage: string): number[] => listCheckpoints(join(run(), stage)).map(({ step }) => step);

describe('flags that say different things', () => {
  it.each<StageSelection & { readonly fresh?: boolean }>([
    { fresh: true, from: 'grpo' },
    { fresh: true, resumeFrom: 'sft:2' },
    { fresh: true, extend: true },
    { from: 'grpo', resumeFrom: 'sft:2' },
    { from: 'grpo', extend: true },
  ])('are refused and leave everything as it is: %j', async (flags) => {
    await execute();
    await expect(execute(flags)).rejects.toThrow('give one of them');
    expect(lines).toBe('');
    await execute();
    expect(lines.match(/done already/g)).toHaveLength(6);
  });
});

it('an evaluation that is gone is made again, from the same model', async () => {
  await execute();
  rmSync(join(run(), 'evaluations', 'after-sft.json'));
  await execute();
  expect(lines).toContain(
    '03-evaluate-after-sft: its result evaluations/after-sft.json is lost (it is not there); running it again',
  );
  expect(lines).toContain(`evaluating ${join(run(), '02-sft')}`);
  expect(lines).toContain('04-grpo: done already');
});

it('other settings of an evaluation say what training --from would do again, and what measures without it', async () => {
  await execute();
  const more = `${RECIPE}evaluation: { samplesPerProblem: 16 }\n`;
  await expect(execute({}, more)).rejects.toThrow(
    /03-evaluate-after-sft ran: evaluation\.samplesPerProblem was \d+ and is 16; reckon evaluate tiny:02-sft measures .*--from 03-evaluate-after-sft runs it and what follows again \(it trains 04-grpo again\)/,
  );
  // Nothing is trained behind the last one, so nothing need be said.
  const last = RECIPE.replace('  - {type: evaluate, label: after-sft}\n', '');
  rmSync(run(), { recursive: true });
  await execute({}, last);
  await expect(execute({}, `${last}evaluation: { samplesPerProblem: 16 }\n`)).rejects.toThrow(
    /is 16; --from 04-evaluate-after-grpo runs it and what follows again, --fresh/,
  );
});

describe('data that has changed since a stage read it', () => {
  it('is noticed as a changed recipe is, and is no matter for stages before', async () => {
    const file = join(runs, 'data.jsonl');
    const recipe = RECIPE.replace('steps: 4,', `steps: 4, dataFile: ${file},`);
    writeFileSync(file, '{"text": "2"}\n');
    await execute({}, recipe);
    await execute({}, recipe);
    expect(lines.match(/done already/g)).toHaveLength(6);
    writeFileSync(file, '{"text": "3"}\n');
    await expect(execute({}, recipe)).rejects.toThrow(
      'the recipe has changed since 02-sft ran: stages[1].dataFile names data that is not what it was; --from 02-sft runs it',
    );
    await expect(execute({ extend: true }, recipe)).rejects.toMatchObject({ code: 'recipe-changed' });
    await execute({ resumeFrom: 'sft:2' }, recipe);
    expect(lines).toContain(
      '02-sft goes on from step 2, with a changed recipe (stages[1].dataFile names data',
    );
    expect(lines).toContain('01-prepare: done already');
    await execute({}, recipe);
    expect(lines.match(/done already/g)).toHaveLength(6);
  });

  it('of a task is that of the first stage, in every file of a folder', async () => {
    const folder = join(runs, 'data');
    mkdirSync(folder);
    for (const part of ['train', 'test']) writeFileSync(join(folder, `${part}.jsonl`), '{"question": "1"}\n');
    const recipe = RECIPE.replace('name: game24', `name: gsm8k, path: ${folder}`);
    await execute({}, recipe);
    writeFileSync(join(folder, 'test.jsonl'), '{"question": "2"}\n');
    await expect(execute({}, recipe)).rejects.toThrow(
      'since 01-prepare ran: task.path names data that is not what it was',
    );
    await execute({ fresh: true }, recipe);
    expect(lines).toContain('02-sft step 1');
  });
});

describe('--from', () => {
  it('runs a stage and all later ones again, by folder, type, label or number', async () => {
    await execute();
    for (const from of ['04-grpo', 'grpo', '4']) {
      await execute({ from });
      expect(lines).toContain('thrown away because of --from: 04-grpo, 05-evaluate-after-grpo, 06-report');
      expect(lines).toContain('03-evaluate-after-sft: done already');
      expect(lines).toContain('04-grpo step 1');
    }
    await execute({ from: 'after-grpo' });
    expect(lines).toContain('04-grpo: done already');
    expect(lines).toContain('05-evaluate-after-grpo: started');
    expect(existsSync(join(run(), 'evaluations', 'after-grpo.json'))).toBe(true);
  });

  it('lets a changed recipe through where it begins no later than the change', async () => {
    await execute();
    const changed = RECIPE.replace('{type: grpo, steps: 2}', '{type: grpo, steps: 2, learningRate: 0.5}');
    await expect(execute({}, changed)).rejects.toThrow(
      'the recipe has changed since 04-grpo ran: stages[3].learningRate was 0.0001 and is 0.5; --from 04-grpo runs it',
    );
    await expect(execute({ from: '5' }, changed)).rejects.toMatchObject({ code: 'recipe-changed' });
    await execute({ from: 'grpo' }, changed);
    expect(trail('04-grpo')).toBe('1@0.5 2@0.5');
    expect(lines).toContain('02-sft: done already');
  });

  it('throws stages away that the recipe no longer has', async () => {
    await execute();
    await execute({ from: 'grpo' }, RECIPE.replace('  - {type: evaluate, label: after-grpo}\n', ''));
    expect(readdirSync(run()).filter((name) => /^\d/.test(name))).toEqual([
      '01-prepare',
      '02-sft',
      '03-evaluate-after-sft',
      '04-grpo',
      '05-report',
    ]);
    expect(readdirSync(run()).filter((name) => name.startsWith('.'))).toEqual([]);
    expect(readdirSync(join(run(), 'evaluations'))).toEqual(['after-sft.json']);
    await execute({ from: '3' }, RECIPE.replace('label: after-sft', 'label: again'));
    expect(readdirSync(join(run(), 'evaluations')).sort()).toEqual(['after-grpo.json', 'again.json']);
  });

  it.each([
    ['grop', '--from grop names no stage of this recipe; did you mean grpo?'],
    ['evaluate', 'could be 03-evaluate-after-sft, 05-evaluate-after-grpo; name one of them by its folder'],
    ['9', 'known here: 01-prepare'],
  ])('refuses %s', async (from, message) => {
    await expect(execute({ from })).rejects.toThrow(message);
  });
});

describe('--only', () => {
  it('runs one stage, and refuses one whose model is not there', async () => {
    await expect(execute({ only: 'sft' })).rejects.toThrow(
      '--only 02-sft needs the result of 01-prepare, which is not done; run it first',
    );
    await execute({ only: 'prepare' });
    await execute({ only: 'sft' });
    expect(lines).toContain('02-sft step 4');
    expect(lines).not.toContain('evaluating');
    await execute({ only: 'grpo' });
    expect(trail('04-grpo')).toBe('1@0.0001 2@0.0001');
    expect(existsSync(join(run(), '03-evaluate-after-sft'))).toBe(false);
    await execute({ only: 'after-sft' });
    expect(lines).toContain(`evaluating ${join(run(), '02-sft', 'checkpoints', 'step-000004')}`);
  });

  it('asks for the stages whose models it reads, and for no others', async () => {
    const branched = RECIPE.replace(
      '  - type: report\n',
      '  - {type: grpo, label: other, from: sft, steps: 1}\n  - type: report\n',
    );
    for (const only of ['prepare', 'sft', 'other']) await execute({ only }, branched);
    expect(trail('06-grpo-other')).toBe('1@0.0001');
    expect(existsSync(join(run(), '04-grpo'))).toBe(false);
    await expect(execute({ only: 'report' }, branched)).rejects.toThrow('needs the result of 04-grpo');
  });

  it('with --from runs one stage again', async () => {
    await execute();
    await execute({ from: 'sft', only: 'sft' });
    expect(lines).toContain('02-sft step 1');
    expect(lines).not.toContain('04-grpo step');
    expect(existsSync(join(run(), '04-grpo'))).toBe(false);
  });

  it('with --from refuses a stage whose model that would throw away', async () => {
    await execute();
    await expect(execute({ from: 'sft', only: 'grpo' })).rejects.toThrow(
      '--only 04-grpo needs the result of 02-sft, which would be thrown away',
    );
    await execute();
    expect(lines.match(/done already/g)).toHaveLength(6);
  });
});

describe('--resume-from', () => {
  it('goes on from an earlier checkpoint, by stage:step or folder', async () => {
    await execute();
    const folder = join(run(), '02-sft', 'checkpoints', 'step-000002');
    for (const resumeFrom of ['sft:2', folder, '02-sft/checkpoints/step-000002']) {
      await execute({ resumeFrom });
      expect(lines).toContain('02-sft goes on from step 2');
      expect(lines).not.toContain('02-sft step 2');
      expect(lines).toContain('02-sft step 3');
      expect(lines).toContain('04-grpo step 1');
    }
    expect(steps('02-sft')).toEqual([1, 2, 3, 4]);
  });

  it('takes a changed recipe from there on, and says so', async () => {
    await execute();
    await execute(
      { resumeFrom: 'sft:3' },
      RECIPE.replace('schedule: constant', 'schedule: constant, learningRate: 0.5'),
    );
    expect(lines).toContain(
      '02-sft goes on from step 3, with a changed recipe (stages[1].learningRate was 0.001 and is 0.5)',
    );
    expect(trail('02-sft')).toBe('1@0.001 2@0.001 3@0.001 4@0.5');
  });

  it('refuses to go back behind the best model of a stage, which is kept alone', async () => {
    await execute();
    await writeCheckpoint(join(run(), '02-sft', 'best'), 3, (folder) => writeFileSync(join(folder, 'x'), ''));
    await expect(execute({ resumeFrom: 'sft:2' })).rejects.toMatchObject({ code: 'best-not-kept' });
    await execute({ resumeFrom: 'sft:3' });
    expect(lines).toContain('02-sft goes on from step 3');
  });

  it('refuses what is no whole checkpoint of this run', async () => {
    await execute();
    await expect(execute({ resumeFrom: 'sft:9' })).rejects.toThrow('known here: 02-sft:1, 02-sft:2');
    await expect(execute({ resumeFrom: runs })).rejects.toThrow('is no checkpoint of a stage of this run');
    await expect(execute({ resumeFrom: 'sft:1', from: 'sft' })).rejects.toThrow('give one of them');
    writeFileSync(join(run(), '02-sft', 'checkpoints', 'step-000002', 'done.txt'), 'x');
    await expect(execute({ resumeFrom: 'sft:2' })).rejects.toMatchObject({ code: 'checkpoint-damaged' });
    expect(steps('02-sft')).toEqual([1, 2, 3, 4]);
  });
});

describe('--extend', () => {
  const longer = RECIPE.replace('type: sft, steps: 4', 'type: sft, steps: 6');

  it('goes on with a finished stage, and runs again what came of it', async () => {
    await execute();
    await expect(execute({}, longer)).rejects.toThrow('--extend goes on from its last checkpoint');
    await execute({ extend: true }, longer);
    expect(lines).toContain('02-sft is extended (stages[1].steps was 4 and is 6)');
    expect(lines).not.toContain('schedule');
    expect(lines).not.toContain('02-sft step 4');
    expect(lines).toContain('04-grpo step 1');
    expect(steps('02-sft')).toEqual([1, 2, 3, 4, 5, 6]);
    await execute({}, longer);
    expect(lines.match(/done already/g)).toHaveLength(6);
  });

  it('says that a schedule of the shorter stage stays in the result', async () => {
    const cosine = (text: string): string => text.replace('schedule: constant', 'schedule: cosine');
    await execute({}, cosine(RECIPE));
    await execute({ extend: true }, cosine(longer));
    expect(lines).toContain('followed the shorter cosine schedule');
  });

  it('covers no other change', async () => {
    await execute();
    const other = longer.replace('schedule: constant', 'schedule: constant, learningRate: 0.5');
    await expect(execute({ extend: true }, other)).rejects.toMatchObject({ code: 'recipe-changed' });
    await expect(execute({ extend: true }, RECIPE.replace('sft, steps: 4', 'sft, steps: 3'))).rejects.toThrow(
      'stages[1].steps was 4 and is 3',
    );
    expect(trail('02-sft')).toBe('1@0.001 2@0.001 3@0.001 4@0.001');
  });
});
