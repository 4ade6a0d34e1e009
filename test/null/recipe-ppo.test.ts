import { describe, expect, it } from 'vitest';
import { derivePlan, parseRecipe, type Recipe } from '../../src/recipe/index.ts';

function recipeOf(keys: string): Recipe {
  const text = `version: 1
name: stages
task: { name: game24 }
model: { init: { layers: 2 } }
stages:
  - type: prepare
  - { type: ppo, ${keys} }
`;
  return parseRecipe(text, 'r.yaml');
}

const stageOf = (keys: string) => recipeOf(keys).stages[1]!;
const errorOf = (keys: string): string => {
  try {
    recipeOf(keys);
  } catch (error) {
    return (error as Error).message;
  }
  throw new Error('nothing was thrown');
};

describe('the ppo stage', () => {
  it('derives its batch and says what it will do', () => {
    expect(stageOf('steps: 1, promptsPerStep: 6, groupSize: 2')).toMatchObject({
      optimizerBatch: 12,
      epochs: 4,
      gamma: 1,
      lambda: 0.95,
      truncated: 'ends',
      value: { coefficient: 0.1, clip: 0.2, rateRatio: 1, pretrainingSteps: 0 },
      kl: { coefficient: 0.05, estimator: 'k1', target: null },
      intrinsic: null,
      adaptiveWeights: null,
    });
    const keys =
      'steps: 10, promptsPerStep: 8, groupSize: 4, optimizerBatch: 16, epochs: 3, intrinsic: { teacher: big }';
    const { summary, numbers } = derivePlan(recipeOf(keys)).stages[1]!;
    expect(summary).toContain(
      '10 steps of 8 problems x 4 completions = 320 rollouts, 60 updates of 16 in 3 epochs',
    );
    expect(summary).toContain('intrinsic reward of big');
    expect(numbers).toMatchObject({ updatesPerStep: 6, updates: 60, rollouts: 320 });
  });

  it('refuses what cannot work', () => {
    expect(errorOf('steps: 1, promptsPerStep: 6, optimizerBatch: 4')).toContain('must divide');
    expect(errorOf('steps: 1, reference: none, kl: { target: 6 }')).toContain(
      'must be start where kl.target is set',
    );
    expect(errorOf('steps: 1, kl: { target: 6, coefficient: 0 }')).toContain('must be more than 0');
    expect(errorOf('steps: 2, value: { pretrainingSteps: 2 }')).toContain(
      'must be less than steps = 2, found 2',
    );
    expect(
      errorOf(
        'steps: 1, rewards: [{ name: correct, weight: 1 }, { name: format, weight: 0 }], adaptiveWeights: {}',
      ),
    ).toContain('needs at least 2 weighted rewards, found 1');
    expect(errorOf('steps: 1, adaptiveWeights: {}')).toContain('needs at least 2 weighted rewards, found 1');
    const two = 'steps: 1, rewards: [{ name: correct, weight: 1 }, { name: format, weight: 1 }]';
    expect(errorOf(`${two}, adaptiveWeights: { least: 0.6 }`)).toContain('must leave room for 2 shares');
    expect(errorOf('steps: 1, intrinsic: { form: bellman }')).toContain('teacher');
  });

  it('may be taught by a teacher alone', () => {
    const silent = 'steps: 1, rewards: [{ name: correct, weight: 0 }]';
    expect(errorOf(silent)).toContain('at least one weight above 0');
    expect(errorOf(`${silent}, intrinsic: { teacher: big, weight: 0 }`)).toContain(
      'at least one weight above 0',
    );
    expect(stageOf(`${silent}, intrinsic: { teacher: big }`)).toMatchObject({
      intrinsic: { form: 'bellman', alpha: 1, gamma: 1, weight: 0.02, cache: null },
    });
  });
});
