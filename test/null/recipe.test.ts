import { mkdtempSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import * as fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import {
  derivePlan,
  formatPlan,
  formatRecipe,
  type JsonSchema,
  loadRecipe,
  parseRecipe,
  type RecipeOverrides,
  recipeJsonSchema,
  type SftStage,
  stageDirectoryName,
  stageTypes,
  taskNames,
} from '../../src/recipe/index.ts';
import { formatPath, levenshtein, nearest } from '../../src/recipe/nearest.ts';
import { ReckonError } from '../../src/util/errors.ts';

const RECIPE = `version: 1
name: quick
task:
  name: game24
model:
  init:
    layers: 2
stages:
  - type: prepare
  - type: sft
    steps: 10
  - type: evaluate
    label: sft
  - type: grpo
    steps: 3
  - type: report
`;

const parse = (text: string, overrides?: RecipeOverrides): ReturnType<typeof parseRecipe> =>
  parseRecipe(text, 'r.yaml', overrides);

function errorOf(run: () => unknown): ReckonError {
  try {
    run();
  } catch (error) {
    if (error instanceof ReckonError) return error;
    throw error;
  }
  throw new Error('nothing was thrown');
}

/** The error of the recipe with one text replaced. */
function errorAfter(from: string, to: string): string {
  expect(RECIPE).toContain(from);
  const error = errorOf(() => parse(RECIPE.replace(from, to)));
  expect(error.category).toBe('recipe');
  expect(error.message).not.toContain('\n');
  return error.message;
}

describe('a valid recipe', () => {
  it('gets every default and the derived optimizer batch', () => {
    const recipe = parse(RECIPE);
    expect(recipe.sampling).toEqual({ temperature: 1, topP: 1, maxCompletionTokens: 256 });
    expect(recipe.stages[3]).toMatchObject({
      optimizerBatch: 64,
      clip: { low: 0.2, high: 0.2 },
      kl: { beta: 0, estimator: 'k3' },
      advantages: { scale: 'group', epsilon: 1e-4 },
      lossDenominator: 'tokens',
      betas: [0.9, 0.95],
      adamEpsilon: 1e-8,
      maxGradNorm: 1,
    });
  });

  it('is read back equal from the resolved recipe, whatever its numbers', () => {
    const rates = fc.double({ min: 1e-12, max: 10, noNaN: true });
    const property = fc.property(rates, fc.nat(), fc.integer({ min: 1, max: 1e9 }), (rate, seed, steps) => {
      const set = [`sft.learningRate=${rate}`, `sft.steps=${steps}`];
      const recipe = parse(RECIPE, { set, seed });
      expect((recipe.stages[1] as SftStage).learningRate).toBe(rate);
      expect(parse(formatRecipe(recipe))).toEqual(recipe);
    });
    fc.assert(property, { numRuns: 30 });
  });

  it('has a description for every key', () => {
    const missing: string[] = [];
    const visit = (schema: JsonSchema, path: string): void => {
      for (const [key, inner] of Object.entries(schema.properties ?? {})) {
        const place = `${path}.${key}`;
        if (inner.description === undefined && key !== 'type') missing.push(place);
        visit(inner, place);
      }
      for (const inner of [...(schema.anyOf ?? []), ...(schema.oneOf ?? [])]) visit(inner, path);
      if (schema.items !== undefined) visit(schema.items, `${path}[]`);
    };
    visit(recipeJsonSchema(), '');
    expect(missing).toEqual([]);
  });

  it('names stage folders by position, type and label', () => {
    const names = parse(RECIPE).stages.map(stageDirectoryName);
    expect(names).toEqual(['01-prepare', '02-sft', '03-evaluate-sft', '04-grpo', '05-report']);
  });
});

describe('a wrong recipe is one sentence with file, line, key and the nearest key', () => {
  const cases: [string, string, string][] = [
    ['layers: 2', 'layrs: 2', 'r.yaml:7: model.init.layrs is not a known key; did you mean layers?'],
    ['steps: 10', 'stpes: 10', 'r.yaml:11: stages[1].stpes is not a known key; did you mean steps?'],
    ['    layers: 2', '    qqqqqqq: 2', 'known here: hiddenSize, layers, heads'],
    ['layers: 2', 'layers: "x"', 'r.yaml:7: model.init.layers must be a number, found "x"'],
    ['layers: 2', 'layers: 2.5', 'r.yaml:7: model.init.layers must be a whole number, found 2.5'],
    ['layers: 2', 'layers: 0', 'r.yaml:7: model.init.layers must be at least 1, found 0'],
    ['layers: 2', 'layers:', 'r.yaml:7: model.init.layers must be a number, found nothing'],
    ['layers: 2', 'ropeTheta: .nan', 'r.yaml:7: model.init.ropeTheta must be a number, found NaN'],
    ['name: quick', 'name: a b', 'r.yaml:2: name must consist of letters, digits'],
    ['name: quick', 'name: ..', 'r.yaml:2: name must consist of'],
    ['name: quick\n', '', 'r.yaml:1: name is missing (name of the run'],
    ['version: 1', 'version: 2', 'r.yaml:1: version 2 of the recipe format is newer'],
    [
      'game24',
      'gam24',
      `r.yaml:4: task.name must be one of ${taskNames.join(', ')}, found "gam24"; did you mean game24?`,
    ],
    [
      'type: sft',
      'type: stf',
      `r.yaml:10: stages[1].type must be one of ${stageTypes.join(', ')}, found "stf"; did you mean sft?`,
    ],
    ['stages:', 'compute: {threads: x}\nstages:', 'r.yaml:8: compute.threads must be auto or a number'],
    ['stages:', '__proto__: {a: 1}\nstages:', 'r.yaml:8: __proto__ is not a known key'],
    [
      'steps: 3',
      'steps: 3\n    betas: [0.9, 1]',
      'r.yaml:16: stages[3].betas[1] must be less than 1, found 1',
    ],
    ['name: quick', 'name: quick\nname: other', 'r.yaml:3: the key name stands twice in one mapping'],
    ['layers: 2', 'layers: [2', 'r.yaml:8: not valid YAML'],
    ['layers: 2', 'layers: !two 2', 'r.yaml:7: not valid YAML: Unresolved tag'],
  ];

  it.each(cases)('%j -> %j', (from, to, message) => {
    expect(errorAfter(from, to)).toContain(message);
  });

  it('counts what else is wrong', () => {
    expect(errorAfter('steps: 3', 'stpes: 3\n    maxGradNorm: -1')).toMatch(/\(and 1 more problem\)$/);
  });

  it('says so of an empty file, a list, a missing file and a folder', () => {
    expect(errorOf(() => parse('# nothing\n')).code).toBe('recipe-empty');
    expect(errorOf(() => parse('- a\n')).message).toBe('r.yaml:1: a recipe is a mapping of keys');
    const folder = mkdtempSync(join(tmpdir(), 'reckon-recipe-'));
    expect(errorOf(() => loadRecipe(join(folder, 'no.yaml'))).message).toContain('there is no recipe file');
    expect(errorOf(() => loadRecipe(folder)).message).toContain('is a folder');
    writeFileSync(join(folder, 'r.yaml'), RECIPE);
    expect(loadRecipe(join(folder, 'r.yaml'))).toEqual(parse(RECIPE));
  });

  it('never fails with anything but a recipe error, whatever the text', () => {
    const lines = RECIPE.split('\n');
    const property = fc.property(fc.nat(lines.length - 1), fc.string({ maxLength: 30 }), (at, junk) => {
      try {
        parse(lines.with(at, junk).join('\n'));
      } catch (error) {
        expect(error).toBeInstanceOf(ReckonError);
      }
    });
    fc.assert(property, { numRuns: 200 });
  });
});

describe('impossible combinations', () => {
  const grpo = 'steps: 3\n    ';
  const cases: [string, string, string][] = [
    [
      'steps: 3',
      `${grpo}optimizerBatch: 7`,
      'r.yaml:16: stages[3].optimizerBatch must divide promptsPerStep x groupSize = 8 x 8 = 64',
    ],
    ['steps: 3', `${grpo}groupSize: 1`, 'r.yaml:16: stages[3].groupSize must be at least 2'],
    ['steps: 3', `${grpo}kl: {beta: 0.1}`, 'stages[3].reference must be start where kl.beta is more than 0'],
    ['steps: 3', `${grpo}rewards: [{name: correct, weight: 0}]`, 'at least one weight above 0'],
    [
      'steps: 3',
      `${grpo}rewards: [{name: correct, weight: 1}, {name: correct, weight: 1}]`,
      'repeats correct',
    ],
    [
      'steps: 3',
      `${grpo}warmupSteps: 4`,
      'r.yaml:16: stages[3].warmupSteps must be at most steps = 3, found 4',
    ],
    ['steps: 3', `${grpo}temperatureEnd: 1.0e-6`, 'stages[3].temperatureEnd must be at least 0.0001'],
    ['stages:', 'sampling: { temperature: 1.0e-6 }\nstages:', 'sampling.temperature must be at least 0.0001'],
    ['layers: 2', 'heads: 5', 'model.init.hiddenSize must be a multiple of heads = 5, found 192'],
    [
      'layers: 2',
      'heads: 64\n    keyValueHeads: 64',
      'must be even for rotary positions, found 192 / 64 = 3',
    ],
    ['layers: 2', 'keyValueHeads: 4', 'r.yaml:7: model.init.keyValueHeads must divide heads = 6, found 4'],
    [
      'layers: 2',
      'maxPositions: 256',
      'sampling.maxCompletionTokens must be less than model.init.maxPositions',
    ],
    [
      '  init:\n    layers: 2',
      '  path: x\n  init:\n    layers: 2',
      'r.yaml:5: model holds both init and path',
    ],
    ['model:\n  init:\n    layers: 2', 'model: {}', 'r.yaml:5: model holds neither init nor path'],
    ['  - type: prepare\n', '', 'r.yaml:9: stages[0].type must be prepare'],
    ['  - type: report\n', '  - type: prepare\n', 'stages[4].type is prepare, which stands first and once'],
    [
      '  - type: prepare\n',
      '  - type: prepare\n  - type: report\n',
      'stages[1].type is report, which stands last',
    ],
    ['  - type: report\n', '  - type: evaluate\n    label: sft\n', 'r.yaml:17: stages[4].label repeats sft'],
  ];

  it.each(cases)('%j -> %j', (from, to, message) => {
    expect(errorAfter(from, to)).toContain(message);
  });
});

describe('overrides', () => {
  it('reach keys, stages by type, label and index, and mappings that the file leaves out', () => {
    const recipe = parse(RECIPE.replace('label: sft', 'label: after'), {
      set: [
        'sft.steps=20',
        'after.label=later',
        'stages[3].steps=4',
        'stages.3.clip.high=0.3',
        'sampling.topP=0.9',
        'grpo.betas=[0.5, 0.6]',
      ],
      seed: 7,
      name: 'other',
    });
    expect(recipe).toMatchObject({ seed: 7, name: 'other', sampling: { topP: 0.9 } });
    expect(recipe.stages[1]).toMatchObject({ steps: 20 });
    expect(recipe.stages[2]).toMatchObject({ label: 'later' });
    expect(recipe.stages[3]).toMatchObject({ steps: 4, clip: { high: 0.3 }, betas: [0.5, 0.6] });
  });

  it('take a stage type before a label', () => {
    expect(parse(RECIPE, { set: ['sft.steps=5'] }).stages[1]).toMatchObject({ steps: 5 });
  });

  const cases: [string, string][] = [
    ['sft.stpes=3', '--set sft.stpes=3: stages[1].stpes is not a known key; did you mean steps?'],
    ['sft.steps=x', '--set sft.steps=x: stages[1].steps must be a number, found "x"'],
    ['sftt.steps=1', '--set sftt.steps=1: sftt is neither a recipe key nor a stage; did you mean sft?'],
    ['stages.9.steps=1', 'stages has entries 0 to 4, found stages.9'],
    ['name.x=1', '--set name.x=1: name is a value, not a mapping'],
    ['task.__proto__.a=1', '--set task.__proto__.a=1'],
    ['seed', 'expected --set key.path=value, found --set seed'],
    ['seed={a', '--set seed={a: the value is not YAML'],
    ['task..name=x', 'has an empty part'],
    [
      'evaluation.split=tset',
      'evaluation.split must be validation or test, found "tset"; did you mean test?',
    ],
  ];

  it.each(cases)('--set %s', (set, message) => {
    const error = errorOf(() => parse(RECIPE, { set: [set] }));
    expect(error.category).toBe('recipe');
    expect(error.message).toContain(message);
    expect(({} as Record<string, unknown>)['a']).toBeUndefined();
  });

  it('are refused where a type stands twice', () => {
    const twice = RECIPE.replace(
      '  - type: evaluate',
      '  - {type: sft, steps: 1, label: again}\n  - type: evaluate',
    );
    expect(errorOf(() => parse(twice, { set: ['sft.steps=2'] })).message).toContain(
      'could be stages[1], stages[2]',
    );
    expect(parse(twice, { set: ['again.steps=2'] }).stages[2]).toMatchObject({ steps: 2 });
  });
});

describe('the plan', () => {
  it('derives updates and sequences', () => {
    const plan = derivePlan(parse(RECIPE, { set: ['grpo.optimizerBatch=16', 'grpo.epochs=2'] }));
    expect(plan.stages[1]!.numbers).toEqual({ steps: 10, updates: 10, sequences: 640, checkpoints: 1 });
    expect(plan.stages[3]!.numbers).toEqual({
      steps: 3,
      sequencesPerStep: 64,
      updatesPerStep: 8,
      rollouts: 192,
      updates: 24,
      checkpoints: 1,
    });
    expect(formatPlan(plan)).toContain('8 problems x 8 completions = 192 rollouts, 24 updates of 16');
  });
});

describe('nearest', () => {
  it('counts edits', () => {
    expect(levenshtein('kitten', 'sitting')).toBe(3);
    expect(levenshtein('', 'abc')).toBe(3);
    expect(levenshtein('abc', 'abc')).toBe(0);
  });

  it('is null where nothing is near', () => {
    expect(nearest('stpes', ['steps', 'seed'])).toBe('steps');
    expect(nearest('promptPerStep', ['promptsPerStep'])).toBe('promptsPerStep');
    expect(nearest('zzzz', ['steps', 'seed'])).toBeNull();
  });

  it('formats key paths', () => {
    expect(formatPath(['stages', 3, 'kl', 'beta'])).toBe('stages[3].kl.beta');
  });
});
