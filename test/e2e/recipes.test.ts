/** Recipes in TypeScript run as they are, and a run that is cut back or extended is the run that was planned so. */

import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect, it } from 'vitest';
import { essence, json, lines, runTiny, startReckon, temporaryFolder, tinyFolder } from './tiny-run.ts';

const STAGES = (steps: number): string => `
  - type: prepare
  - { type: sft, steps: ${steps}, optimizerBatch: 8, microBatchTokens: 1024, learningRate: 3.0e-3, schedule: constant }
  - { type: evaluate, label: sft }
  - type: report`;

/** What does not name the run: weights, optimizer, metrics, evaluations. */
function results(run: string): Record<string, unknown> {
  const { 'recipe.yaml': _recipe, ...rest } = essence(run);
  return rest;
}

it('a run that is extended, or goes on from an earlier checkpoint, equals the run of that length', {
  timeout: 120_000,
}, async () => {
  const folder = tinyFolder({ stages: STAGES(9) });
  const [whole, short] = await Promise.all([
    runTiny(folder, 'whole'),
    runTiny(folder, 'short', '--set', 'sft.steps=6'),
  ]);
  expect([whole.code, short.code]).toEqual([0, 0]);
  const refused = await runTiny(folder, 'short');
  expect(refused.code).toBe(1);
  expect(refused.stderr).toContain(
    'stages[1].steps was 6 and is 9; --extend goes on from its last checkpoint',
  );
  const extended = await runTiny(folder, 'short', '--extend');
  expect(extended.stdout).toContain('02-sft: resuming after step 6 of 9');
  expect(results(join(folder, 'short'))).toEqual(results(join(folder, 'whole')));
  const before = results(join(folder, 'whole'));
  const again = await runTiny(folder, 'whole', '--resume-from', 'sft:6');
  expect(again.stdout).toContain('02-sft: resuming after step 6 of 9');
  expect(again.stdout).toContain('03-evaluate-sft: started');
  expect(results(join(folder, 'whole'))).toEqual(before);
});

it('a TypeScript recipe runs, with a reward and event files of its own', { timeout: 120_000 }, async () => {
  const folder = temporaryFolder();
  const recipe = join(folder, 'recipe.ts');
  writeFileSync(
    recipe,
    `import { defineRecipe } from 'reckon/recipe';
import type { RewardFunction } from 'reckon/rewards';

export const brevity: RewardFunction = ({ rollout }) => -rollout.completionIds.length / 1000;

export default defineRecipe({
  version: 1,
  name: 'typed',
  task: { name: 'game24' },
  model: { init: { hiddenSize: 32, layers: 1, heads: 2, keyValueHeads: 1, intermediateSize: 64, maxPositions: 256 } },
  compute: { dtype: 'f32', threads: 1 },
  sampling: { maxCompletionTokens: 24 },
  tracking: { tensorboard: true },
  stages: [
    { type: 'prepare' },
    {
      type: 'grpo', steps: 2, promptsPerStep: 2, groupSize: 4, microBatchTokens: 1024,
      rewards: [{ name: 'correct', weight: 1 }, { score: brevity, weight: 0.5 }],
    },
  ],
});
`,
  );
  const run = ['run', recipe, '--runs-dir', folder, '--quiet'];
  const { code, stderr } = await startReckon(run).ended;
  expect({ code, stderr }).toEqual({ code: 0, stderr: '' });
  const metrics = lines(join(folder, 'typed', '02-grpo', 'metrics.jsonl'));
  expect(metrics.map((row) => row['step'])).toEqual([1, 2]);
  for (const row of metrics) expect(row['reward/brevity']).toBeLessThan(0);
  expect(json(join(folder, 'typed', '02-grpo', 'stage.json'))['status']).toBe('done');

  writeFileSync(recipe, readFileSync(recipe, 'utf8').replace('/ 1000', '/ 2000'));
  const changed = await startReckon(run).ended;
  expect(changed.code).toBe(1);
  expect(changed.stderr).toContain(
    'the recipe has changed since 02-grpo ran: stages[1].rewards[1].sha256 was',
  );
  const check = await startReckon(['recipe', 'check', recipe]).ended;
  expect(check.stdout).toContain('types: checked');
});

it('a task and a reward inside a TypeScript recipe go through seeds, resume and sweeps', {
  timeout: 120_000,
}, async () => {
  const folder = temporaryFolder();
  const recipe = join(folder, 'recipe.ts');
  const text = `import { defineRecipe } from 'reckon/recipe';

export default defineRecipe({
  version: 1,
  name: 'own',
  task: {
    name: 'doubles',
    problems: Array.from({ length: 30 }, (_, i) => ({ question: String(i), reference: String(2 * i) })),
    judge: (completion, problem) => completion === problem.reference,
    splits: { validation: 3, test: 5 },
  },
  model: { init: { hiddenSize: 32, layers: 1, heads: 2, keyValueHeads: 1, intermediateSize: 64, maxPositions: 64 } },
  compute: { dtype: 'f32', threads: 1 },
  sampling: { maxCompletionTokens: 6 },
  evaluation: { samplesPerProblem: 1 },
  stages: [
    { type: 'prepare' },
    {
      type: 'grpo', steps: 2, promptsPerStep: 2, groupSize: 4, microBatchTokens: 1024,
      rewards: [{ name: 'digits', weight: 1, score: ({ rollout }) => rollout.text.replace(/[^0-9]/g, '').length }],
    },
    { type: 'evaluate', label: 'end' },
  ],
});
`;
  writeFileSync(recipe, text);
  const ran = await startReckon(['run', recipe, '--runs-dir', folder, '--quiet', '--seeds', '1,2']).ended;
  expect({ code: ran.code, stderr: ran.stderr }).toEqual({ code: 0, stderr: '' });
  const first = join(folder, 'own', 'seed-1');
  expect(json(join(first, 'evaluations', 'end.json'))).toMatchObject({ n: 5, task: 'doubles' });
  const [row] = lines(join(first, '02-grpo', 'metrics.jsonl'));
  expect(row!['reward/digits']).toBeGreaterThan(0);

  // Another setting of a later stage leaves the stage with the reward as it is; another reward does not.
  writeFileSync(recipe, text.replace("label: 'end'", "label: 'last'"));
  const words = ['run', recipe, '--runs-dir', join(folder, 'own'), '--name', 'seed-1', '--seed', '1'];
  expect((await startReckon([...words, '--from', '03-evaluate-last']).ended).output).toContain(
    '02-grpo: done already',
  );
  writeFileSync(recipe, text.replace('[^0-9]', '[^0-8]'));
  const changed = await startReckon(words).ended;
  expect(changed.stderr).toContain(
    'the recipe has changed since 02-grpo ran: stages[1].rewards[0].sha256 was',
  );

  writeFileSync(recipe, text);
  const swept = await startReckon([
    'sweep',
    recipe,
    '--runs-dir',
    folder,
    '--grid',
    'task.subset=4,8',
    '--json',
  ]).ended;
  expect(swept).toMatchObject({ code: 0 });
  expect(JSON.parse(swept.stdout)).toMatchObject({ runs: [{ status: 'done' }, { status: 'done' }] });
});
