import { describe, expect, it } from 'vitest';
import { derivePlan, parseRecipe } from '../../src/recipe/index.ts';

const recipe = (stages: string): string => `version: 1
name: c
task: {name: game24}
model: {init: {}}
stages:
  - type: prepare
  - {type: evaluate, label: before}
  - {type: sft, steps: 1}
  - {type: evaluate, label: after}
${stages}
`;

describe('the compare stage', () => {
  it('takes all evaluations before it, or those it names', () => {
    const plan = derivePlan(
      parseRecipe(
        recipe('  - type: compare\n  - {type: compare, label: two, evaluations: [before, after]}'),
        'r',
      ),
    );
    expect(plan.stages.slice(4).map(({ directory, summary }) => [directory, summary])).toEqual([
      ['05-compare-all', 'all evaluations so far, compared in pairs on the same problems'],
      ['06-compare-two', 'before, after, compared in pairs on the same problems'],
    ]);
  });

  it.each([
    [
      '  - {type: compare, evaluations: [before, aftr]}',
      'stages[4].evaluations[1] is aftr, which no evaluate stage before it has as its label; did you mean after?',
    ],
    ['  - {type: compare, evaluations: [before]}', 'stages[4].evaluations must have at least 2 entries'],
  ])('%s', (stages, message) => {
    expect(() => parseRecipe(recipe(stages), 'r')).toThrow(message);
  });

  it('needs two evaluations', () => {
    const one = recipe('  - type: compare').replace('  - {type: evaluate, label: after}\n', '');
    expect(() => parseRecipe(one, 'r')).toThrow('stages[3] needs two evaluate stages before it, found 1');
  });
});
