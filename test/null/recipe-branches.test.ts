/** Owns the tests of recipes whose stages name what they start from, and of what such a stage depends on. */

import { describe, expect, it } from 'vitest';
import { derivePlan, parseRecipe } from '../../src/recipe/index.ts';
import { stageInputs } from '../../src/run/stage-inputs.ts';
import { BudgetClock } from '../../src/train/budget.ts';

const recipe = (stages: string) =>
  parseRecipe(
    `version: 1
name: branches
task: { name: game24 }
model: { init: {} }
stages:
  - type: prepare
${stages}`,
    'recipe.yaml',
  );

const BRANCHES = `  - { type: sft, label: start, steps: 5 }
  - { type: grpo, from: start, steps: 7 }
  - { type: evaluate, label: grpo }
  - { type: model, label: wide, init: { hiddenSize: 256, heads: 8, keyValueHeads: 2 } }
  - { type: sft, label: teacher, from: wide, steps: 9 }
  - { type: distill, from: start, teacher: teacher, steps: 3, budget: { generatedTokens: 100, measureEvery: 50 } }
  - { type: evaluate, label: other, from: grpo }`;

describe('a recipe that branches', () => {
  it('has a stage depend on what made its model and its teachers, and on nothing beside', () => {
    const stagesOf = (index: number) => [
      ...new Set(
        Object.keys(stageInputs(recipe(BRANCHES), index)).flatMap((key) => /^stages\[\d+\]/.exec(key) ?? []),
      ),
    ];
    expect(stagesOf(2)).toEqual(['stages[1]', 'stages[2]']);
    expect(stagesOf(3)).toEqual(['stages[1]', 'stages[2]', 'stages[3]']);
    expect(stagesOf(5)).toEqual(['stages[4]', 'stages[5]']);
    expect(stagesOf(6)).toEqual(['stages[1]', 'stages[4]', 'stages[5]', 'stages[6]']);
    expect(stagesOf(7)).toEqual(['stages[1]', 'stages[2]', 'stages[7]']);
  });

  it('depends on how problems are evaluated only where a stage measures', () => {
    const keys = (index: number) => Object.keys(stageInputs(recipe(BRANCHES), index)).join();
    expect(keys(2)).not.toContain('evaluation');
    expect(keys(6)).toContain('evaluation.samplesPerProblem');
  });

  it('refuses an origin that is no earlier stage with a model, with the nearest name', () => {
    const refused = (stages: string) => (message: RegExp) => expect(() => recipe(stages)).toThrow(message);
    refused('  - { type: sft, label: start, steps: 5 }\n  - { type: grpo, from: strat, steps: 7 }')(
      /stages\[2\]\.from is strat, which is no earlier stage that leaves a model; did you mean start\?/,
    );
    refused('  - { type: sft, from: later, steps: 5 }\n  - { type: grpo, label: later, steps: 7 }')(
      /stages\[1\]\.from is later/,
    );
    refused(
      '  - { type: sft, steps: 5 }\n  - { type: evaluate, label: x }\n  - { type: grpo, from: x, steps: 7 }',
    )(/stages\[3\]\.from is x/);
  });

  it('refuses a further model that is described twice or not at all, or whose heads do not fit', () => {
    expect(() => recipe('  - { type: model, label: wide }')).toThrow(/neither init nor path/);
    expect(() => recipe('  - { type: model, label: wide, path: x, init: {} }')).toThrow(/both init and path/);
    expect(() => recipe('  - { type: model, label: wide, init: { hiddenSize: 200, heads: 7 } }')).toThrow(
      /init\.hiddenSize must be a multiple of heads = 7/,
    );
  });

  it('says in its plan that a budget ends a stage', () => {
    const { summary } = derivePlan(recipe(BRANCHES)).stages[6]!;
    expect(summary).toMatch(/; or until 100 tokens are sampled$/);
  });

  it('gives budgets only to stages that sample', () => {
    expect(() => recipe('  - { type: sft, steps: 5, budget: { generatedTokens: 10 } }')).toThrow(
      /stages\[1\]\.budget is not a known key/,
    );
  });
});

describe('a budget of sampled tokens', () => {
  const schedule = {
    steps: 100,
    learningRate: 1,
    warmupSteps: 2,
    schedule: 'linear',
    minLearningRateRatio: 0.1,
  } as const;

  it('decays the rate with its share, after a warm-up in steps, and ends at the floor', () => {
    const clock = new BudgetClock({ generatedTokens: 1000 }, 0);
    clock.add(100);
    expect(clock.learningRate(1, schedule)).toBe(0.5);
    clock.add(400);
    expect(clock.learningRate(3, schedule)).toBeCloseTo(0.55, 12);
    clock.add(700);
    expect(clock.usedUp).toBe(true);
    expect(clock.learningRate(4, schedule)).toBeCloseTo(0.1, 12);
  });

  it('tells where a step crossed a multiple, also after a resume, and not at the end', () => {
    const clock = new BudgetClock({ generatedTokens: 1000, measureEvery: 250 }, 240);
    clock.add(20);
    expect(clock.endStep()).toBe(true);
    clock.add(200);
    expect(clock.endStep()).toBe(false);
    clock.add(600);
    expect(clock.endStep()).toBe(false);
    expect(clock.generated).toBe(1060);
  });

  it('does nothing where there is none', () => {
    const clock = new BudgetClock(null, 0);
    clock.add(1e9);
    expect(clock.usedUp).toBe(false);
    expect(clock.endStep()).toBe(false);
    expect(clock.learningRate(51, schedule)).toBeCloseTo(0.1 + (0.9 * 49) / 98, 12);
  });
});
