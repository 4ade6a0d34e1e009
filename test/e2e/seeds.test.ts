/** The recipes of the projects before this one are good, and their offline twins run every stage to the report. */

import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { derivePlan, loadRecipe, type Stage } from '../../src/recipe/index.ts';
import { json, ROOT, startReckon, temporaryFolder } from './tiny-run.ts';

const SEEDS = ['intrinsic-distillation', 'cs336', 'game24-long-cot', 'numina-grpo'] as const;

/** Types of stages that a recipe and its twin must share; a twin may have more (its own teacher). */
const typesOf = (stages: readonly Stage[]): Set<string> => new Set(stages.map(({ type }) => type));

describe.each(SEEDS)('%s', (seed) => {
  const file = (name: string): string => join(ROOT, 'recipes', seed, `${name}.yaml`);

  it('has a recipe with a hub model, and a twin with the same stages', () => {
    const recipe = loadRecipe(file('recipe'));
    const twin = loadRecipe(file('twin'));
    expect(recipe.model.path).toMatch(/^[\w.-]+\/[\w.-]+$/);
    expect(derivePlan(recipe).stages.length).toBeGreaterThan(4);
    for (const type of typesOf(recipe.stages)) expect(typesOf(twin.stages)).toContain(type);
    expect(twin.model.path).toBeUndefined();
  });
});

it('twins run to the report', { timeout: 180_000 }, async () => {
  const runs = temporaryFolder();
  const run = async (seed: string): Promise<void> => {
    const recipe = join('recipes', seed, 'twin.yaml');
    const { code, stderr } = await startReckon(['run', recipe, '--runs-dir', runs, '--quiet'], { cwd: ROOT })
      .ended;
    expect({ seed, code, stderr }).toEqual({ seed, code: 0, stderr: '' });
    const folder = join(runs, `${seed}-twin`);
    expect(readFileSync(join(folder, 'report.html'), 'utf8')).toContain('</html>');
    if (seed === 'cs336') expect(json(join(folder, 'comparisons', 'all.json'))['pairs']).toHaveLength(6);
    const labels = loadRecipe(join(ROOT, recipe)).stages.flatMap((stage) =>
      stage.type === 'evaluate' ? [stage.label] : [],
    );
    for (const label of labels)
      expect(json(join(folder, 'evaluations', `${label}.json`))['n']).toBeGreaterThan(0);
  };
  for (let i = 0; i < SEEDS.length; i += 2) await Promise.all(SEEDS.slice(i, i + 2).map(run));
});
