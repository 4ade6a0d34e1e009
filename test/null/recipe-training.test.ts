import { describe, expect, it } from 'vitest';
import { derivePlan, estimate, formatRecipe, parseRecipe, type Recipe } from '../../src/recipe/index.ts';

/** A recipe whose second stage is the one under test. */
function recipeOf(stage: string): Recipe {
  const text = `version: 1
name: stages
task: { name: game24 }
model: { init: { layers: 2 } }
stages:
  - type: prepare
  - { ${stage} }
  - type: report
`;
  return parseRecipe(text, 'r.yaml');
}

const stageOf = (stage: string) => recipeOf(stage).stages[1]!;
const planOf = (stage: string) => derivePlan(recipeOf(stage)).stages[1]!;
const errorOf = (stage: string): string => {
  try {
    recipeOf(stage);
  } catch (error) {
    return (error as Error).message;
  }
  throw new Error('nothing was thrown');
};

describe('the sft stage', () => {
  it('is of steps or of epochs', () => {
    expect(planOf('type: sft, steps: 1000').summary).toContain(
      '1,000 steps of 64 sequences = 64,000 sequences',
    );
    expect(planOf('type: sft, epochs: 1, dataFile: a.jsonl').summary).toContain(
      '1 pass over the data of a.jsonl',
    );
    expect(errorOf('type: sft')).toContain('stages[1] holds neither steps nor epochs');
    expect(errorOf('type: sft, steps: 1, epochs: 1')).toContain('stages[1] holds both steps and epochs');
    expect(errorOf('type: sft, steps: 5, warmupSteps: 6')).toContain('at most steps = 5, found 6');
  });

  it('validates where something depends on it', () => {
    expect(errorOf('type: sft, steps: 1, keepBest: true')).toContain(
      'must be at least 1 where keepBest is set',
    );
    expect(errorOf('type: sft, steps: 1, patience: 2')).toContain('must be at least 1 where patience is set');
    expect(stageOf('type: sft, steps: 1, patience: 2, validateEvery: 5')).toMatchObject({ keepBest: false });
  });
});

describe('passes over the data', () => {
  it('stand in place of steps, in the plan too', () => {
    expect(planOf('type: grpo, dataEpochs: 2').summary).toBe(
      '2 passes over the problems in steps of 8 problems x 8 completions, updates of 64, learning rate 0.0001 (constant)',
    );
    expect(planOf('type: dpo, dataEpochs: 1').summary).toContain(
      '1 pass over the problems in steps of 32 problems x 8 completions, pairs in batches of 32',
    );
    expect(planOf('type: dpo, dataEpochs: 3, pairsFile: p.jsonl').summary).toContain(
      '3 passes over the pairs of p.jsonl in batches of 32',
    );
  });

  it.each(['grpo', 'dpo'])('of %s are given, or steps are', (type) => {
    expect(errorOf(`type: ${type}`)).toContain('stages[1] holds neither steps nor dataEpochs');
    expect(errorOf(`type: ${type}, steps: 1, dataEpochs: 1`)).toContain(
      'stages[1] holds both steps and dataEpochs; give one of the two',
    );
  });

  it('count no problems that are drawn again', () => {
    expect(errorOf('type: grpo, preset: dapo, dataEpochs: 1')).toContain(
      'dataEpochs must be left out where maxDraws is above 1',
    );
  });

  it('are in the estimate by what is known of the data', () => {
    const recipe = recipeOf('type: grpo, dataEpochs: 2, promptsPerStep: 100, groupSize: 4');
    const machine = { threads: 2, bf16: false, memoryBytes: 1e10 };
    const found = estimate(recipe, derivePlan(recipe), machine)!;
    // 1,162 problems twice.
    expect(found.stages[1]).toMatchObject({ steps: 24, sampledMost: 2 * 1162 * 4 * 256 });
  });
});

describe('the dpo stage', () => {
  it('derives beta and the weight of the likelihood from its objective', () => {
    expect(stageOf('type: dpo, steps: 1')).toMatchObject({ objective: 'sigmoid', beta: 0.1, nllWeight: 0 });
    expect(stageOf('type: dpo, steps: 1, objective: simpo')).toMatchObject({ beta: 2, gamma: 0.5 });
    expect(stageOf('type: dpo, steps: 1, objective: orpo')).toMatchObject({ beta: 0.1, nllWeight: 1 });
    expect(stageOf('type: dpo, steps: 1, objective: cpo, nllWeight: 0')).toMatchObject({ nllWeight: 0 });
  });

  it('says what it will do', () => {
    const { summary, numbers } = planOf('type: dpo, steps: 10, promptsPerStep: 8, groupSize: 4');
    expect(summary).toContain('10 steps of 8 problems x 4 completions = 320 rollouts');
    expect(numbers['rollouts']).toBe(320);
    const file = planOf('type: dpo, steps: 10, pairsFile: p.jsonl, objective: ipo');
    expect(file.summary).toContain('10 updates of 32 pairs of p.jsonl, ipo with beta 0.1');
  });

  it('refuses what cannot work', () => {
    expect(errorOf('type: dpo, steps: 1, groupSize: 1')).toContain('a pair takes two completions');
    expect(errorOf('type: dpo, steps: 1, precompute: true')).toContain(
      'needs a pairsFile and a reference that stays as it is',
    );
    expect(errorOf('type: dpo, steps: 1, precompute: true, pairsFile: p, objective: kto')).toContain(
      'must be false for kto',
    );
    expect(errorOf('type: dpo, steps: 1, objective: exo_pair')).toContain('must be above 0 for exo_pair');
    expect(errorOf('type: dpo, steps: 1, objective: sigmoyd')).toContain('did you mean sigmoid?');
  });
});

describe('the distill stage', () => {
  it('derives whose samples it learns from', () => {
    const shares = ['divergence', 'log-ratio', 'sequence'].map(
      (objective) => stageOf(`type: distill, steps: 1, teacher: t, objective: ${objective}`) as object,
    );
    expect(shares.map((stage) => (stage as { onPolicyShare: number }).onPolicyShare)).toEqual([0.5, 1, 0]);
    expect(planOf('type: distill, steps: 5, teacher: t').summary).toContain(
      '5 steps of 16 problems x 4 sequences, divergence from t, 50 % on-policy',
    );
  });

  it('refuses what cannot work', () => {
    expect(errorOf('type: distill, steps: 1')).toContain('teacher');
    expect(
      errorOf('type: distill, steps: 1, teacher: t, objective: log-ratio, onPolicyShare: 0.5'),
    ).toContain('must be 1 for log-ratio, because its gradient is that of own samples, found 0.5');
    expect(errorOf('type: distill, steps: 1, teacher: t, objective: sequence, onPolicyShare: 1')).toContain(
      'must be 0 for sequence',
    );
  });
});

describe('the grpo stage', () => {
  it('fills the optimizer batch with replayed groups too', () => {
    expect(
      stageOf('type: grpo, steps: 1, promptsPerStep: 4, groupSize: 3, replay: { groupsPerStep: 2 }'),
    ).toMatchObject({
      optimizerBatch: 18,
      replay: { capacity: 64, groupsPerStep: 2, maxAge: 8 },
    });
    const replayed = 'type: grpo, steps: 10, promptsPerStep: 4, groupSize: 3, replay: { groupsPerStep: 2 }';
    expect(planOf(replayed).numbers).toMatchObject({ sequencesPerStep: 12, rollouts: 120, updates: 10 });
    expect(planOf(`${replayed}, optimizerBatch: 9`).numbers).toMatchObject({
      updatesPerStep: 2,
      updates: 20,
    });
  });

  it('refuses keys of which one would do nothing beside another', () => {
    const advantages = (keys: string) => `type: grpo, steps: 1, advantages: { ${keys} }`;
    for (const key of ['baseline: leave-one-out', 'scale: none', 'whiten: true'])
      expect(errorOf(advantages(`maxMomentum: 0.2, ${key}`))).toContain('with advantages.maxMomentum');
    expect(stageOf(advantages('maxMomentum: 0.2, whiten: tokens'))).toMatchObject({ type: 'grpo' });
    const kl = (place: string) =>
      `${advantages('baseline: decoupled')}, reference: start, kl: { beta: 0.1, place: ${place} }`;
    expect(errorOf(kl('reward'))).toContain('kl.place must be loss or tokens');
    expect(stageOf(kl('tokens'))).toMatchObject({ type: 'grpo' });
  });

  it('takes single completions only where no group is compared', () => {
    expect(stageOf('type: grpo, preset: reinforce-pp, steps: 1, groupSize: 1')).toMatchObject({
      reference: 'start',
      kl: { place: 'tokens', beta: 0.01 },
    });
    expect(errorOf('type: grpo, preset: rloo, steps: 1, groupSize: 1')).toContain(
      'groupSize must be at least 2',
    );
    expect(errorOf('type: grpo, preset: reinforce, steps: 1, groupSize: 1, maxDraws: 2')).toContain(
      'maxDraws must be 1',
    );
  });

  it('draws again by the rewards of the recipe alone, so it needs one', () => {
    const teacher = 'type: grpo, preset: dapo, steps: 1, intrinsic: { teacher: t }';
    expect(errorOf(`${teacher}, rewards: [{ name: correct, weight: 0 }]`)).toContain(
      'maxDraws must be 1 where no reward has a weight above 0',
    );
    expect(stageOf(teacher)).toMatchObject({ maxDraws: 4 });
    expect(stageOf(`${teacher}, maxDraws: 1, rewards: [{ name: correct, weight: 0 }]`)).toBeDefined();
  });

  it('refuses what cannot work', () => {
    expect(errorOf('type: grpo, steps: 1, referenceSync: { every: 2 }')).toContain(
      'reference must be start where referenceSync is set',
    );
    expect(
      errorOf('type: grpo, steps: 1, reference: start, referenceDevice: "cuda:1", adapter: { type: lora }'),
    ).toContain("shares the policy's base");
    expect(
      errorOf(
        'type: grpo, steps: 1, promptsPerStep: 4, groupSize: 2, replay: { groupsPerStep: 1 }, optimizerBatch: 4',
      ),
    ).toContain('must divide (promptsPerStep + replay.groupsPerStep) x groupSize = (4 + 1) x 2 = 10');
    expect(errorOf('type: grpo, steps: 1, earlyStop: { metric: reward/meen, patience: 0 }')).toContain(
      'patience',
    );
    expect(errorOf('type: grpo, steps: 1, earlyStop: { metric: rewards, patience: 2 }')).toContain(
      'must be the name of a metric',
    );
  });
});

it.each([
  'type: grpo, steps: 3, reference: other, referenceSync: { every: 2 }, replay: {}, importance: { max: 3 }, adaptiveEntropy: { target: 1 }, earlyStop: { metric: reward/mean, patience: 2 }, timeLimitMinutes: 3',
  'type: ppo, steps: 3, value: { model: start }, intrinsic: { teacher: t, truncated: mask, cache: { file: f } }',
  'type: distill, steps: 3, teacher: t, generations: null',
  'type: dpo, steps: 3',
  'type: distill, steps: 3, teacher: t',
])('the resolved recipe of { %s } is read back equal', (stage) => {
  const recipe = recipeOf(stage);
  expect(parseRecipe(formatRecipe(recipe), 'resolved.yaml')).toEqual(recipe);
});
