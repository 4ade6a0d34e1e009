/** What people get wrong: each of these gives its one sentence, soon, before anything is trained or downloaded. */

import { chmodSync, existsSync, mkdirSync, readdirSync, writeFileSync } from 'node:fs';
import { createServer, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import { dirname, join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { openRecipe } from '../../src/recipe/index.ts';
import { ReckonError } from '../../src/util/errors.ts';
import { busyness, processorMs } from '../null/timing.ts';
import { ROOT, startReckon, temporaryFolder } from './tiny-run.ts';

const GOOD = `version: 1
name: mistakes
task: { name: game24 }
model:
  init: { layers: 2, hiddenSize: 64, heads: 4, keyValueHeads: 2 }
sampling: { maxCompletionTokens: 64 }
stages:
  - type: prepare
  - type: sft
    steps: 10
  - { type: evaluate, label: sft }
  - type: grpo
    steps: 3
    promptsPerStep: 4
    groupSize: 4
  - type: report
`;

interface Mistake {
  readonly name: string;
  /** What the good recipe has, and what it has in its place. */
  readonly change?: readonly [string, string];
  /** The whole recipe, where a change does not do. */
  readonly text?: string;
  /** A command line, in place of the recipe alone; FILE and FOLDER are filled in. */
  readonly words?: readonly string[];
  readonly env?: Readonly<Record<string, string>>;
  readonly file?: string;
  /** What else lies in the folder, by name. */
  readonly files?: Readonly<Record<string, string>>;
  /** Part of the sentence. */
  readonly says: string;
  readonly code?: 1 | 2;
}

const inStage = (name: string, change: readonly [string, string], says: string): Mistake => ({
  name,
  change,
  says,
});
const withData = (name: string, lines: string, says: string): Mistake => ({
  name,
  change: ['steps: 10', 'steps: 10\n    dataFile: FOLDER/data.jsonl'],
  files: { 'data.jsonl': lines },
  says: `FILE:11: stages[1].dataFile names FOLDER/data.jsonl, which cannot be used: FOLDER/data.jsonl${says}`,
});
const ofTask = (name: string, task: string, says: string): Mistake =>
  inStage(name, ['{ name: game24 }', task], `FILE:3: task${says}`);
const ofModel = (name: string, files: Readonly<Record<string, string>>, says: string): Mistake => ({
  name,
  change: [INIT(), '  path: FOLDER/model'],
  files,
  says: `FILE:5: model.path is FOLDER/model, ${says}`,
});
const FILE_TASK = '{ name: file, path: FOLDER/p.jsonl, columns: { question: q, answer: a } }';
const withFlag = (name: string, words: readonly string[], says: string): Mistake => ({
  name,
  words: ['recipe', 'check', 'FILE', ...words],
  says,
});
const run = ['run', 'FILE', '--runs-dir', 'FOLDER/runs'];

const MISTAKES: readonly Mistake[] = [
  inStage(
    'a misspelt key',
    ['sampling:', 'smapling:'],
    'FILE:6: smapling is not a known key; did you mean sampling?',
  ),
  inStage(
    'a misspelt key of a stage',
    ['steps: 10', 'stpes: 10'],
    'FILE:10: stages[1].stpes is not a known key; did you mean steps?',
  ),
  inStage(
    'a key of another stage',
    ['steps: 10', 'steps: 10\n    groupSize: 4'],
    'FILE:11: stages[1].groupSize is not a known key',
  ),
  inStage(
    'a word for a number',
    ['steps: 10', 'steps: many'],
    'FILE:10: stages[1].steps must be a number, found "many"',
  ),
  inStage(
    'a fraction for a count',
    ['steps: 10', 'steps: 1.5'],
    'FILE:10: stages[1].steps must be a whole number, found 1.5',
  ),
  inStage(
    'no steps',
    ['    steps: 3\n', ''],
    'stages[3] holds neither steps nor dataEpochs; give one of the two',
  ),
  inStage('negative steps', ['steps: 10', 'steps: -1'], 'stages[1].steps must be at least 1, found -1'),
  inStage('an unknown stage', ['type: grpo', 'type: grop'], 'FILE:12: stages[3].type must be one of'),
  inStage(
    'an impossible batch',
    ['groupSize: 4', 'groupSize: 4\n    optimizerBatch: 5'],
    'must divide promptsPerStep x groupSize = 4 x 4 = 16, found 5',
  ),
  inStage('a group of one', ['groupSize: 4', 'groupSize: 1'], 'stages[3].groupSize must be at least 2'),
  inStage(
    'a warm-up longer than the stage',
    ['steps: 10', 'steps: 10\n    warmupSteps: 20'],
    'stages[1].warmupSteps must be at most steps = 10, found 20',
  ),
  inStage(
    'heads that do not divide the width',
    ['heads: 4', 'heads: 5'],
    'model.init.hiddenSize must be a multiple of heads = 5',
  ),
  inStage(
    'key-value heads that do not divide the heads',
    ['keyValueHeads: 2', 'keyValueHeads: 3'],
    'model.init.keyValueHeads must divide heads = 4',
  ),
  inStage(
    'completions longer than the positions',
    ['maxCompletionTokens: 64', 'maxCompletionTokens: 512'],
    'must be less than model.init.maxPositions = 512',
  ),
  inStage('two models', ['  init:', '  path: x\n  init:'], 'model holds both init and path'),
  inStage(
    'no model',
    ['  init: { layers: 2, hiddenSize: 64, heads: 4, keyValueHeads: 2 }', '  {}'],
    'model holds neither init nor path',
  ),
  inStage('nothing prepared', ['  - type: prepare\n', ''], 'stages[0].type must be prepare'),
  inStage(
    'a report in the middle',
    ['  - type: prepare\n', '  - type: prepare\n  - type: report\n'],
    'is report, which stands last and once',
  ),
  inStage('a label twice', ['  - type: report', '  - { type: evaluate, label: sft }'], 'repeats sft'),
  inStage(
    'a KL term without a reference',
    ['groupSize: 4', 'groupSize: 4\n    kl: { beta: 0.1 }'],
    'reference must be',
  ),
  inStage(
    'an unknown reward',
    ['groupSize: 4', 'groupSize: 4\n    rewards: [{ name: corect, weight: 1 }]'],
    'did you mean correct?',
  ),
  inStage(
    'rewards that all weigh nothing',
    ['groupSize: 4', 'groupSize: 4\n    rewards: [{ name: correct, weight: 0 }]'],
    'must hold at least one weight above 0',
  ),
  inStage(
    'a reward whose file is missing',
    ['groupSize: 4', 'groupSize: 4\n    rewards: [{ file: nowhere.ts, weight: 1 }]'],
    'nowhere.ts',
  ),
  inStage(
    'data that is missing',
    ['steps: 10', 'steps: 10\n    dataFile: FOLDER/trian.jsonl'],
    'did you mean FOLDER/train.jsonl?',
  ),
  inStage(
    'a wrong split',
    ['stages:', 'evaluation: { split: tset }\nstages:'],
    'evaluation.split must be validation or test, found "tset"; did you mean test?',
  ),
  inStage('an unknown task', ['name: game24', 'name: gsm9k'], 'gsm9k'),
  inStage(
    'a split without problems',
    ['task: { name: game24 }', 'evaluation: { split: validation }\ntask: { name: game24, split: seed3 }'],
    'FILE:3: evaluation.split must be test, because the split seed3 of game24 has no validation problems',
  ),
  inStage(
    'a key of another task',
    ['{ name: game24 }', '{ name: game24, digits: 3 }'],
    'task.digits is not a known key',
  ),
  inStage(
    'an unknown device',
    ['stages:', 'compute: { device: gpu }\nstages:'],
    'compute.device must be auto or cpu or cuda, found "gpu"',
  ),
  inStage(
    'more than all of the probability',
    ['maxCompletionTokens: 64', 'maxCompletionTokens: 64, topP: 1.5'],
    'sampling.topP must be at most 1, found 1.5',
  ),
  inStage(
    'a start that no stage leaves',
    ['type: grpo', 'type: grpo\n    from: stf'],
    'is stf, which is no earlier stage that leaves a model; did you mean sft?',
  ),
  inStage(
    'an adapter of no width',
    ['steps: 10', 'steps: 10\n    adapter: { rank: 0 }'],
    'stages[1].adapter.rank must be at least 1, found 0',
  ),
  inStage(
    'an unknown preset',
    ['groupSize: 4', 'groupSize: 4\n    preset: dapoo'],
    'found "dapoo"; did you mean dapo?',
  ),
  inStage(
    'a name that is a path',
    ['name: mistakes', 'name: runs/mine'],
    'name must consist of letters, digits',
  ),
  inStage(
    'a tracker without a project',
    ['stages:', 'tracking: { wandb: { mode: offline } }\nstages:'],
    'tracking.wandb.project is missing',
  ),
  inStage(
    'a key twice',
    ['    steps: 10\n', '    steps: 10\n    steps: 20\n'],
    'FILE:11: the key steps stands twice in one mapping',
  ),
  inStage('what is no YAML', ['model:\n', 'model: [\n'], 'not valid YAML'),
  inStage(
    'an alias of nothing',
    ['version: 1', 'version: *one'],
    'FILE:1: *one is not defined; set &one before it',
  ),
  inStage('two recipes in one file', ['task:', '---\ntask:'], 'FILE:3: a recipe is one YAML document'),
  withData('data with a broken line', '{"text": "a"}\n{"text\n', ':2: expected one valid JSON value'),
  withData('data cut off in its last line', '{"text": "a"}\n{"te', ':2: expected one valid JSON value'),
  withData(
    'data of another form',
    '{"text": "a"}\n{"prompt": "b", "answer": 4}\n',
    ':2: expected text, messages, or prompt and completion (both texts or both messages), and tools as a list or its JSON, found prompt (text), answer (number)',
  ),
  withData('empty data', '', ' is empty; a line of it holds text, messages'),
  {
    name: 'pairs of another form',
    change: [
      '  - type: report',
      '  - { type: dpo, steps: 1, pairsFile: FOLDER/pairs.jsonl }\n  - type: report',
    ],
    files: { 'pairs.jsonl': '{"prompt": "a", "chosen": "b"}\n' },
    says: 'FOLDER/pairs.jsonl:1: expected prompt, chosen and rejected as text, or their ids, found prompt (text), chosen (text)',
  },
  inStage(
    'a teacher that is nowhere',
    ['  - type: report', '  - { type: distill, steps: 1, teacher: gropo }\n  - type: report'],
    'FILE:16: stages[4].teacher is gropo, which is neither an earlier stage that leaves a model, nor a folder here, nor org/name on the hub; did you mean grpo?',
  ),
  inStage(
    'a reference that is nowhere',
    ['groupSize: 4', 'groupSize: 4\n    reference: ./base'],
    'stages[3].reference is ./base, which is neither',
  ),
  ofTask('problems that are missing', FILE_TASK, '.path names FOLDER/p.jsonl, and there is no such file'),
  ofTask(
    'pass rates that are missing',
    '{ name: game24, passRates: { file: FOLDER/tarin.jsonl } }',
    '.passRates.file names FOLDER/tarin.jsonl, and there is no such file; did you mean FOLDER/train.jsonl?',
  ),
  ofTask(
    'a lowest rate above the highest',
    '{ name: game24, passRates: { file: FOLDER/train.jsonl, min: 0.9, max: 0.1 } }',
    '.passRates must be valid (min at most max)',
  ),
  ofTask(
    'a range from its end',
    '{ name: countdown, numbers: [4, 3] }',
    '.numbers must be valid (the least first), found [4,3]',
  ),
  ofModel('a folder that is no model', { 'model/x': '' }, 'a folder without config.json'),
  ofModel(
    'a model without its tokenizer',
    { 'model/config.json': '{"model_type": "qwen2"}' },
    'a folder without tokenizer.json',
  ),
  { name: 'an empty recipe', text: '', says: 'the recipe is empty' },
  inStage(
    'a version of the future',
    ['version: 1', 'version: 7'],
    'FILE:1: version 7 of the recipe format is newer than this reckon',
  ),
  {
    name: 'a recipe that is missing',
    words: ['run', 'FOLDER/nowhere.yaml'],
    says: 'there is no recipe file FOLDER/nowhere.yaml',
  },
  {
    name: 'a folder for a recipe',
    words: ['run', 'FOLDER'],
    says: 'is a folder; name the recipe.yaml inside it',
  },
  {
    name: 'a TypeScript recipe with a slip',
    file: 'recipe.ts',
    text: 'export default {\n  version: 1,,\n};\n',
    says: 'FILE:2: not valid TypeScript',
  },
  {
    name: 'a TypeScript recipe that never comes',
    file: 'recipe.ts',
    text: 'await new Promise(() => {});\nexport default {};\n',
    words: ['recipe', 'check', 'FILE'],
    says: 'waits for something that never comes',
  },
  {
    name: 'a TypeScript recipe that ends the process',
    file: 'recipe.ts',
    text: 'process.exit(0);\nexport default {};\n',
    words: ['recipe', 'check', 'FILE'],
    says: 'has ended the process by process.exit; take that call out',
  },
  withFlag(
    'an override of no key',
    ['--set', 'sft.stpes=1'],
    '--set sft.stpes=1: stages[1].stpes is not a known key; did you mean steps?',
  ),
  withFlag(
    'an override without a value',
    ['--set', 'sft.steps'],
    'expected --set key.path=value, found --set sft.steps',
  ),
  withFlag(
    'an option that is no option',
    ['--sett', 'sft.steps=1'],
    "unknown option '--sett' (Did you mean --set?)",
  ),
  {
    name: 'problems without the column',
    change: ['{ name: game24 }', FILE_TASK],
    files: { 'p.jsonl': '{"question": "1 + 1", "a": "2"}\n' },
    words: ['recipe', 'check', 'FILE'],
    says: 'FOLDER/p.jsonl:1, column "q": expected text, found no such column; the row has question, a',
    code: 1,
  },
  {
    name: 'to start afresh and from a stage',
    words: [...run, '--fresh', '--from', 'grpo'],
    says: '--fresh and --from say different things about where to begin; give one of them',
  },
  {
    name: 'a seed beside seeds',
    words: [...run, '--seed', '3', '--seeds', '1,2'],
    says: '--seed and --seeds both say the seed',
  },
  {
    name: 'a seed that is none',
    words: [...run, '--seed', 'x'],
    says: 'it must be a whole number, 0 or more; see --help',
  },
  {
    name: 'a stage that is not there',
    words: [...run, '--from', 'grop'],
    says: '--from grop names no stage of this recipe; did you mean grpo?',
  },
  {
    name: 'a stage whose model is not there yet',
    words: [...run, '--only', 'grpo'],
    says: '--only 04-grpo needs the result of 01-prepare',
    code: 1,
  },
  {
    name: 'a checkpoint that is not there',
    words: [...run, '--resume-from', 'sft:5'],
    says: 'there is no such checkpoint; this run has none yet',
  },
  {
    name: 'a sweep measured by what no run measures',
    words: ['sweep', 'FILE', '--grid', 'sft.steps=10,20', '--measure', 'sff'],
    says: '--measure sff names no evaluation of the recipe; did you mean sft?',
  },
  {
    name: 'a sweep whose name is a path',
    words: ['sweep', 'FILE', '--grid', 'sft.steps=10,20', '--name', '../x'],
    says: '--name ../x: name must consist of letters',
  },
  { name: 'a sweep over nothing', words: ['sweep', 'FILE'], says: 'a sweep needs a key to go over' },
  {
    name: 'a model folder that is not there',
    change: [INIT(), '  path: ./no/model/here'],
    words: run,
    says: 'FILE:5: model.path is ./no/model/here, which is neither a folder here nor the name of a model on the hub',
  },
  {
    name: 'a model that the hub does not have',
    change: [INIT(), '  path: nobody/nothing'],
    words: run,
    env: { HF_TOKEN: 'hf_right' },
    says: 'the model nobody/nothing does not exist',
    code: 1,
  },
  {
    name: 'a model for others',
    change: [INIT(), '  path: nobody/private'],
    words: run,
    env: { HF_TOKEN: '' },
    says: 'private or does not exist',
    code: 1,
  },
  {
    name: 'a token that the hub does not know',
    change: [INIT(), '  path: nobody/private'],
    words: run,
    env: { HF_TOKEN: 'hf_old' },
    says: 'the hub does not know this token; make a new one and set HF_TOKEN',
    code: 1,
  },
  {
    name: 'a token that is none',
    change: [INIT(), '  path: nobody/private'],
    words: run,
    env: { HF_TOKEN: 'secret' },
    says: 'a token of the hub begins with hf_',
    code: 1,
  },
  {
    name: 'a run that does not fit on the disk',
    change: [
      'layers: 2, hiddenSize: 64, heads: 4',
      'layers: 9000, hiddenSize: 65536, intermediateSize: 65536, heads: 64',
    ],
    words: run,
    says: 'free some space, keep fewer checkpoints',
    code: 1,
  },
  {
    name: 'a folder that may not be written',
    words: ['run', 'FILE', '--runs-dir', 'FOLDER/denied/runs'],
    says: 'may not be written or read by this user',
    code: 1,
  },
  {
    name: 'a file in the way',
    words: ['run', 'FILE', '--runs-dir', 'FOLDER/train.jsonl'],
    says: 'FOLDER/train.jsonl',
    code: 1,
  },
  {
    name: 'a run that is not there',
    words: ['report', 'nowhere', '--runs-dir', 'FOLDER'],
    says: 'nowhere',
    code: 1,
  },
];

function INIT(): string {
  return '  init: { layers: 2, hiddenSize: 64, heads: 4, keyValueHeads: 2 }';
}

let hub: Server;
let endpoint: string;

beforeAll(async () => {
  hub = createServer((request, response) => {
    const token = request.headers.authorization;
    const known = token === undefined || token === 'Bearer hf_right';
    response.writeHead(!known || token === undefined ? 401 : 404, { 'content-type': 'application/json' });
    response.end('{"error": "no"}');
  });
  await new Promise<void>((resolve) => hub.listen(0, '127.0.0.1', resolve));
  endpoint = `http://127.0.0.1:${(hub.address() as AddressInfo).port}`;
});

afterAll(() => {
  hub.closeAllConnections();
  hub.close();
});

/** A folder with the recipe, and what else mistakes need. */
function lay({ change, text, files = {}, file = 'recipe.yaml' }: Mistake): { folder: string; path: string } {
  const folder = temporaryFolder();
  const path = join(folder, file);
  if (change !== undefined) expect(GOOD).toContain(change[0]);
  const recipe = text ?? (change === undefined ? GOOD : GOOD.replace(change[0], change[1]));
  writeFileSync(path, recipe.replaceAll('FOLDER', folder));
  writeFileSync(join(folder, 'train.jsonl'), '');
  for (const [name, content] of Object.entries(files)) {
    mkdirSync(dirname(join(folder, name)), { recursive: true });
    writeFileSync(join(folder, name), content);
  }
  mkdirSync(join(folder, 'denied'), { mode: 0o555 });
  chmodSync(folder, 0o755);
  return { folder, path };
}

interface Outcome {
  readonly code: number | null;
  readonly stderr: string;
  readonly seconds: number;
  readonly folder: string;
  readonly path: string;
}

async function commit(mistake: Mistake): Promise<Outcome> {
  const { folder, path } = lay(mistake);
  const { words = ['recipe', 'check', 'FILE'], env } = mistake;
  const filled = words.map((word) => word.replaceAll('FILE', path).replaceAll('FOLDER', folder));
  const denied = words.some((word) => word.includes('denied')) && process.getuid?.() === 0;
  const start = performance.now();
  const hubSettings = {
    HF_ENDPOINT: endpoint,
    HF_HOME: join(folder, 'hub'),
    HF_HUB_OFFLINE: '',
    HF_TOKEN: '',
  };
  const options = { cwd: ROOT, env: { ...hubSettings, ...env }, ...(denied ? { uid: 65534 } : {}) };
  const { code, stderr } = await startReckon(filled, options).ended;
  return { code, stderr, seconds: (performance.now() - start) / 1000, folder, path };
}

const LIMIT_S = 2;
const fill = (text: string, folder: string, path: string): string =>
  text.replaceAll('FILE', path).replaceAll('FOLDER', folder);

it('there are 40 mistakes at least', () => {
  expect(MISTAKES.length).toBeGreaterThanOrEqual(40);
  expect(new Set(MISTAKES.map(({ name }) => name)).size).toBe(MISTAKES.length);
});

describe('a mistake in a recipe', () => {
  it.each(MISTAKES.filter(({ words }) => words === undefined))(
    'such as $name is one sentence',
    async (mistake) => {
      const { folder, path } = lay(mistake);
      let error: unknown;
      const took = await processorMs(async () => {
        error = await openRecipe(path).catch((thrown: unknown) => thrown);
      });
      expect(took).toBeLessThan(2000);
      expect(error).toBeInstanceOf(ReckonError);
      const { message, category } = error as ReckonError;
      expect(message).toContain(fill(mistake.says, folder, path));
      expect(message).not.toContain('\n');
      expect(['recipe', 'usage']).toContain(category);
    },
  );
});

describe('a mistake on the command line, the disk or the hub', () => {
  it.each(MISTAKES.filter(({ words }) => words !== undefined))(
    'such as $name is one sentence, at once',
    async (mistake) => {
      let outcome = await commit(mistake);
      // Other tests share the machine: the time is that of the best of three, on a machine as busy as it is.
      for (let again = 0; again < 2 && outcome.seconds >= LIMIT_S; again++) outcome = await commit(mistake);
      const limit = outcome.seconds < LIMIT_S ? LIMIT_S : LIMIT_S * busyness();
      const { code, stderr, seconds, folder, path } = outcome;
      expect(stderr).toContain(fill(mistake.says, folder, path));
      expect(stderr).toMatch(/^error: [^\n]+\n$/);
      expect(stderr).not.toContain('not expected');
      expect(code).toBe(mistake.code ?? 2);
      expect(seconds).toBeLessThan(limit);
      const runs = join(folder, 'runs', 'mistakes');
      if (existsSync(runs)) expect(readdirSync(runs).filter((name) => /^\d/.test(name))).toEqual([]);
    },
  );
});

it('the recipe without a mistake is good, and a wrong one is one sentence of the command', async () => {
  expect(await commit({ name: 'none', says: '' })).toMatchObject({ code: 0, stderr: '' });
  const { code, stderr } = await commit(MISTAKES[0]!);
  expect(code).toBe(2);
  expect(stderr).toMatch(/^error: [^\n]+ did you mean sampling\?\n$/);
});
