import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { estimateAdvantages } from '../../src/advantages/index.ts';
import { formatRecipe, idleKeys, parseRecipe, parseResolved, type Recipe } from '../../src/recipe/index.ts';
import { findChanges, placeStages } from '../../src/run/changes.ts';
import { readRunRecipe, writeRunRecipe } from '../../src/run/directory.ts';
import { hashInputs, stageInputs } from '../../src/run/stage-inputs.ts';
import { writeStageRecord } from '../../src/run/stage-record.ts';

const textOf = (stage: string, more = ''): string => `version: 1
name: idle
task: { name: game24 }
model: { init: { layers: 2 } }
${more}
stages:
  - type: prepare
  - { ${stage} }
`;
const recipeOf = (stage: string, more?: string): Recipe => parseRecipe(textOf(stage, more), 'r.yaml');
const errorOf = (stage: string): string => {
  try {
    recipeOf(stage);
  } catch (error) {
    return (error as Error).message;
  }
  throw new Error('nothing was thrown');
};

const grpo = 'type: grpo, steps: 2';
const ppo = 'type: ppo, steps: 2';
const dpo = 'type: dpo, steps: 2';
const distill = 'type: distill, steps: 2, teacher: t';

/** What a stage holds, the key that has no effect there, and a part of why. */
const IDLE: readonly (readonly [stage: string, key: string, because: string])[] = [
  [`${grpo}, advantages: { baseline: none, scale: batch }`, 'advantages.scale', 'baseline none divides by'],
  [`${grpo}, advantages: { baseline: none, scale: group }`, 'advantages.scale', 'baseline none divides by'],
  [`${grpo}, preset: rloo, advantages: { scale: group }`, 'advantages.scale', 'leave-one-out divides by'],
  [`${grpo}, advantages: { baseline: leave-one-out, ddof: 0 }`, 'advantages.ddof', 'divides by nothing'],
  [`${grpo}, advantages: { baseline: none, epsilon: 0.1 }`, 'advantages.epsilon', 'divides by nothing'],
  [`${grpo}, preset: dr-grpo, advantages: { ddof: 0 }`, 'advantages.ddof', 'scale none divides by nothing'],
  [`${grpo}, advantages: { scale: none, epsilon: 1 }`, 'advantages.epsilon', 'scale none divides by nothing'],
  [`${grpo}, advantages: { baseline: decoupled, scale: none }`, 'advantages.scale', 'by its own std'],
  [`${grpo}, advantages: { baseline: decoupled, ddof: 0 }`, 'advantages.ddof', 'by its own std'],
  [`${grpo}, advantages: { maxMomentum: 0.2, ddof: 0 }`, 'advantages.ddof', 'running std'],
  [`${grpo}, preset: gmpo, clip: { cap: 3 }`, 'clip.cap', 'gmpo reads low and high alone'],
  [`${grpo}, preset: cispo, clip: { dual: 3 }`, 'clip.dual', 'cispo reads high alone'],
  [`${grpo}, preset: cispo, clip: { low: 0.1 }`, 'clip.low', 'cispo reads high alone'],
  [`${grpo}, preset: vespo, clip: { high: 0.3 }`, 'clip.high', 'vespo clips nothing'],
  [`${grpo}, preset: reinforce, ratioLevel: sequence`, 'ratioLevel', 'reinforce has no such ratio'],
  [`${grpo}, kl: { corrected: true }`, 'kl.corrected', 'no KL term with kl.beta 0'],
  [`${grpo}, preset: rloo, kl: { corrected: true }`, 'kl.corrected', 'kl.place is reward'],
  [`${grpo}, kl: { place: reward }`, 'kl.place', 'no KL term with kl.beta 0'],
  [`${grpo}, kl: { estimator: k1 }`, 'kl.estimator', 'no KL without a reference'],
  [`${grpo}, importance: { max: 3 }`, 'importance.max', 'sampled from the policy itself'],
  [`${grpo}, temperatureSchedule: linear`, 'temperatureSchedule', 'without temperatureEnd'],
  [`${grpo}, referenceDevice: cpu`, 'referenceDevice', 'reference is none'],
  [`${grpo}, intrinsic: { teacher: t, form: logprob, gamma: 0.9 }`, 'intrinsic.gamma', 'no next state'],
  [`${grpo}, intrinsic: { teacher: t, form: logprob, truncated: mask }`, 'intrinsic.truncated', 'no next'],
  [
    `${ppo}, intrinsic: { teacher: t, normaliser: { name: robust, momentum: 0.5 } }`,
    'intrinsic.normaliser.momentum',
    'robust has no moving averages',
  ],
  [`${grpo}, minLearningRateRatio: 0.1`, 'minLearningRateRatio', 'schedule constant'],
  [`${ppo}, kl: { horizon: 5 }`, 'kl.horizon', 'fixed without kl.target'],
  [`${ppo}, reference: none, kl: { coefficient: 0.1 }`, 'kl.coefficient', 'no KL without a reference'],
  [`${ppo}, value: { model: start, coefficient: 0.5 }`, 'value.coefficient', 'shares no loss'],
  [`${dpo}, objective: hinge, labelSmoothing: 0.1`, 'labelSmoothing', 'hinge does not read it'],
  [`${dpo}, gamma: 1`, 'gamma', 'sigmoid does not read it'],
  [`${dpo}, undesirableWeight: 2`, 'undesirableWeight', 'sigmoid does not read it'],
  [`${dpo}, objective: simpo, reference: previous`, 'reference', 'simpo has no reference'],
  [`${dpo}, objective: orpo, referenceSync: { every: 2 }`, 'referenceSync', 'orpo has no reference'],
  [`${dpo}, objective: sft, beta: 0.3`, 'beta', 'sft does not read it'],
  [`${dpo}, pairsFile: p.jsonl, groupSize: 4`, 'groupSize', 'nothing is sampled with a pairsFile'],
  [`${dpo}, pairsFile: p.jsonl, budget: { generatedTokens: 9 }`, 'budget', 'nothing is sampled'],
  [`${dpo}, pairsFile: p.jsonl, epochs: 3`, 'epochs', 'passes over a pairsFile are dataEpochs'],
  [`${distill}, objective: log-ratio, beta: 1`, 'beta', 'log-ratio is no divergence'],
  [`${distill}, onPolicyShare: 1, offPolicyData: demonstrations`, 'offPolicyData', 'no other steps'],
  [`${distill}, onPolicyShare: 1, generations: { file: g }`, 'generations', 'the teacher samples nothing'],
  [`type: sft, steps: 2, learn: assistant`, 'learn', 'no conversations'],
  [`type: sft, steps: 2, validationFile: v.jsonl`, 'validationFile', 'validateEvery 0'],
  [`type: expert-iteration, steps: 2, shortestFirst: true`, 'shortestFirst', 'all correct completions are'],
];

describe('a key that nothing reads', () => {
  it.each(IDLE)('in { %s } is an error: %s', (stage, key, because) => {
    const message = errorOf(stage);
    expect(message).toContain(`stages[1].${key} must be left out, because `);
    expect(message).toContain(because);
    expect(message).toMatch(/, found .+/);
  });

  it.each([
    `${grpo}, preset: reinforce, clip: { cap: null, dual: null }, kl: { beta: 0, corrected: false }`,
    `${grpo}, advantages: { baseline: none, scale: none }`,
    `${grpo}, preset: a5, advantages: { scale: none }`,
    `${grpo}, preset: reinforce-pp, kl: { beta: 0 }`,
    `${grpo}, reference: start, kl: { estimator: k1 }`,
    `${grpo}, replay: {}, importance: { max: 3 }`,
    `${grpo}, importance: { always: true, level: sequence }`,
    `${ppo}, reference: none, kl: { coefficient: 0 }`,
    `${dpo}, objective: simpo, reference: none`,
    `${distill}, onPolicyShare: 1, generations: null`,
    `type: sft, steps: 2, learn: assistant, dataFile: d.jsonl`,
  ])('is none in { %s }', (stage) => {
    const recipe = recipeOf(stage);
    expect(parseRecipe(formatRecipe(recipe), 'resolved.yaml')).toEqual(recipe);
  });

  it('depends on how completions are sampled', () => {
    const weighed = `${grpo}, importance: { max: 3 }`;
    expect(recipeOf(weighed, 'sampling: { topP: 0.9 }').stages[1]).toMatchObject({ importance: { max: 3 } });
  });

  it('is a reference of none where the loss compares with one', () => {
    expect(errorOf(`${dpo}, reference: none`)).toContain('because sigmoid compares with a reference');
  });
});

it('every key of advantages is idle exactly where the estimator does not read it', () => {
  const batch = {
    totals: [
      [0, 1, 4],
      [2, 2.5, 7],
    ],
    parts: [
      [[0], [1], [4]],
      [[2], [2.5], [7]],
    ],
    weights: [1],
  };
  const other = { scale: 'batch', ddof: 0, epsilon: 0.5 } as const;
  for (const baseline of ['group', 'leave-one-out', 'decoupled', 'none'] as const)
    for (const scale of ['group', 'none'] as const)
      for (const key of ['scale', 'ddof', 'epsilon'] as const) {
        const options = { baseline, scale, ddof: 1, epsilon: 1e-4 } as const;
        const values = (more: object) => estimateAdvantages(batch, { ...options, ...more }).advantages;
        const reads = JSON.stringify(values({})) !== JSON.stringify(values({ [key]: other[key] }));
        const text = textOf(`${grpo}, advantages: { baseline: ${baseline}, scale: ${scale} }`);
        const idle = idleKeys(parseResolved(text, 'r.yaml'), 1).map(({ keys }) => keys.join('.'));
        expect(`${baseline} ${scale} ${key} ${!reads}`).toBe(
          `${baseline} ${scale} ${key} ${idle.includes(`advantages.${key}`)}`,
        );
      }
});

describe('a run of an earlier version, which took such keys', () => {
  const before = `${grpo}, preset: gmpo, clip: { cap: 3 }, advantages: { baseline: none, scale: group }`;

  function run(stage: string): { folder: string; previous: Recipe } {
    const folder = mkdtempSync(join(tmpdir(), 'reckon-idle-'));
    writeRunRecipe(folder, parseResolved(textOf(stage), 'r.yaml'));
    const previous = readRunRecipe(folder)!;
    for (const { name, index } of placeStages(previous)) {
      mkdirSync(join(folder, name));
      writeStageRecord(join(folder, name), {
        version: 1,
        type: previous.stages[index]!.type,
        status: 'stopped',
        inputHash: hashInputs(stageInputs(previous, index)),
        parent: null,
        output: null,
        startedAt: '',
        seconds: 0,
      });
    }
    writeFileSync(join(folder, 'run.log'), '');
    return { folder, previous };
  }

  it('is read, and goes on once they are left out', () => {
    const { folder, previous } = run(before);
    const now = recipeOf(`${grpo}, preset: gmpo, advantages: { baseline: none }`);
    expect(findChanges(folder, previous, now, placeStages(now))).toEqual([]);
    const other = recipeOf(`${grpo}, preset: gmpo, advantages: { baseline: none }, clip: { high: 0.3 }`);
    expect(findChanges(folder, previous, other, placeStages(other))).toMatchObject([{ name: '02-grpo' }]);
    rmSync(folder, { recursive: true });
  });
});
