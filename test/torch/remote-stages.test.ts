/** Whole runs whose completions come from servers: baseline, GRPO with pushed adapters, evaluation, PPO, the command line. */

import { existsSync, readdirSync, readFileSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { Command } from 'commander';
import { afterAll, beforeAll, beforeEach, describe, expect, it, vi } from 'vitest';
import { addEvaluateCommand } from '../../src/cli/evaluate.ts';
import { addGenerateCommand } from '../../src/cli/generate.ts';
import { readEvaluation } from '../../src/evaluate/index.ts';
import { type Decoder, loadModel } from '../../src/models/index.ts';
import { parseRecipe } from '../../src/recipe/index.ts';
import { executeRun } from '../../src/run/index.ts';
import { loadTokenizer } from '../../src/text/index.ts';
import { roomyFolder } from './room.ts';
import { Harness, recipeWith } from './stage-harness.ts';
import { VllmServer } from './vllm-server.ts';

const lora = 'adapter: { rank: 4, alpha: 8 }';
const optimisation = 'microBatchTokens: 512, learningRate: 5.0e-3';
const size = 'promptsPerStep: 4, groupSize: 4, optimizerBatch: 16';
const rewards = 'rewards: [{ name: process, weight: 1 }]';
const grpo = (more = '') =>
  `- { type: grpo, steps: 2, ${size}, ${optimisation}, ${lora}, ${rewards}${more} }`;

const harness = new Harness();
let model: Decoder;
let server: VllmServer;
let runs: string;

beforeAll(async () => {
  await harness.prepare(recipeWith('- { type: evaluate, label: none }'));
  runs = roomyFolder('reckon-remote-');
  model = loadModel(harness.start, { dtype: 'f32', computeDtype: 'f32', device: 'cpu' });
  server = new VllmServer({ model, tokenizer: loadTokenizer(harness.start), name: 'tiny' });
  await server.start();
});
afterAll(async () => {
  await server.stop();
  model[Symbol.dispose]();
  harness[Symbol.dispose]();
  rmSync(runs, { recursive: true, force: true });
});
beforeEach(() => {
  server.asked.length = 0;
  server.adapterCalls.length = 0;
  server.answersFor = (name) => name;
});

const recipeText = (name: string, stages: string, engine = ''): string => `version: 1
name: ${name}
seed: 3
task: { name: game24 }
model: { path: ${JSON.stringify(harness.start)} }
compute: { dtype: f32, threads: 1 }
sampling: { maxCompletionTokens: 12 }
engine: { kind: remote, servers: ['${server.url}'], model: tiny, mismatch: 1.0e-4, probe: { tolerance: 1.0e-4 } ${engine} }
evaluation: { samplesPerProblem: 1, split: validation }
checkpoints: { every: 1, keepLast: 2 }
stages:
  - type: prepare
  ${stages}
`;

async function run(text: string): Promise<string[]> {
  const lines: string[] = [];
  await executeRun(parseRecipe(text, 'recipe.yaml'), {
    runsDirectory: runs,
    quiet: true,
    stream: { write: (line: string) => lines.push(line) },
    load: () => import('../../src/run/stage-functions.ts'),
  });
  return lines;
}

function metricsOf(name: string, stage: string): Record<string, number>[] {
  const text = readFileSync(join(runs, name, stage, 'metrics.jsonl'), 'utf8');
  return text
    .trim()
    .split('\n')
    .map((line) => JSON.parse(line));
}

describe('a run with servers', () => {
  it('measures, trains two steps of GRPO and measures again', { timeout: 120_000 }, async () => {
    const stages = `- { type: evaluate, label: base }
  ${grpo()}
  - { type: evaluate, label: grpo }
  - type: report`;
    await run(recipeText('whole', stages));
    const rows = metricsOf('whole', '03-grpo');
    expect(rows).toHaveLength(2);
    for (const row of rows) {
      expect(row['policy/logp_mismatch_mean']).toBeLessThan(1e-5);
      expect(row['policy/ratio_mean']).toBeCloseTo(1, 6);
    }
    expect(rows.some((row) => row['grad_norm']! > 0)).toBe(true);
    const pushed = server.adapterCalls.map((call) => call.replace(/-[0-9a-f]{8}$/, ''));
    expect(pushed).toEqual([
      'load whole-03-grpo-v1',
      'load whole-03-grpo-v2',
      'unload whole-03-grpo-v1',
      'unload whole-03-grpo-v2',
      'load whole-step-000002',
      'unload whole-step-000002',
    ]);
    expect(server.adapterNames).toEqual([]);
    expect(readdirSync(join(runs, 'whole', '03-grpo', 'adapters'))).toEqual([]);
    const evaluations = join(runs, 'whole', 'evaluations');
    expect(readEvaluation(join(evaluations, 'base.json')).n).toBeGreaterThan(10);
    expect(readEvaluation(join(evaluations, 'grpo.json')).checkpoint).toBe('03-grpo/checkpoints/step-000002');
    expect(existsSync(join(runs, 'whole', 'report.md'))).toBe(true);
  });

  it('of pairs and distillation, each learning from what the servers wrote', {
    timeout: 120_000,
  }, async () => {
    const teacher = `teacher: ${JSON.stringify(harness.start)}`;
    const stages = `- { type: dpo, steps: 2, promptsPerStep: 8, groupSize: 4, compare: first-error, ${optimisation}, ${lora} }
  - { type: distill, steps: 2, ${teacher}, onPolicyShare: 1, promptsPerStep: 4, groupSize: 2, ${optimisation}, ${lora} }`;
    await run(recipeText('learners', stages));
    for (const [stage, completions] of [
      ['02-dpo', 2 * 8 * 4],
      ['03-distill', 2 * 4 * 2],
    ] as const) {
      expect(metricsOf('learners', stage)).toHaveLength(2);
      const served = server.asked.filter(({ model: name }) => name.startsWith(`learners-${stage}-v`));
      // Beside the rollouts, the probe of each version.
      expect(served).toHaveLength(completions + 2);
      const path = join(runs, 'learners', stage, 'rollouts', 'train.jsonl');
      const rows = readFileSync(path, 'utf8').trim().split('\n');
      expect(rows).toHaveLength(completions);
    }
    expect(server.adapterNames).toEqual([]);
    expect(metricsOf('learners', '03-distill').every((row) => row['distillation/on_policy'] === 1)).toBe(
      true,
    );
  });

  it('stops where a server serves another version than the one that was pushed', async () => {
    server.answersFor = () => 'tiny';
    await expect(run(recipeText('stale', grpo()))).rejects.toMatchObject({
      code: 'remote-other-weights',
      message: expect.stringMatching(
        /probe of stale-02-grpo-v2-[0-9a-f]{8} .*the base tiny without an adapter/,
      ),
    });
  });

  it('of PPO and expert iteration, with top-p, and a measurement on the way', {
    timeout: 120_000,
  }, async () => {
    using processed = new VllmServer({
      model,
      tokenizer: loadTokenizer(harness.start),
      name: 'tiny',
      logprobs: 'processed',
    });
    const url = await processed.start();
    const budget = 'budget: { generatedTokens: 100000, measureEvery: 100 }';
    const stages = `- { type: expert-iteration, steps: 1, ${size}, ${optimisation}, ${lora}, ${budget} }
  - { type: ppo, steps: 2, epochs: 1, ${size}, ${optimisation}, ${lora}, ${rewards} }`;
    const text = recipeText('others', stages, ', logprobs: processed')
      .replace(server.url, url)
      .replace('maxCompletionTokens: 12', 'maxCompletionTokens: 12, topP: 0.9, temperature: 0.8');
    await run(text);
    const [first] = metricsOf('others', '02-expert-iteration');
    expect(first!['evaluation/pass_at_1']).toBeGreaterThanOrEqual(0);
    const rows = metricsOf('others', '03-ppo');
    expect(rows).toHaveLength(2);
    // Nothing says the untruncated log-probabilities of these tokens, so nothing is compared.
    expect(rows[0]!['policy/logp_mismatch_mean']).toBeNull();
    expect(processed.adapterNames).toEqual([]);
  });
});

describe('reckon evaluate --endpoint', () => {
  const limits = ['--greedy', '--limit', '12', '--max-completion', '24', '--seeds', '3', '--json', '--quiet'];

  async function reckon(...words: string[]): Promise<string> {
    const program = new Command('reckon').option('--json').option('--quiet').exitOverride();
    addEvaluateCommand(program, () => undefined);
    addGenerateCommand(program, () => undefined);
    const printed: string[] = [];
    const spy = vi
      .spyOn(process.stdout, 'write')
      .mockImplementation((text) => printed.push(String(text)) > 0);
    try {
      await program.parseAsync(['node', 'reckon', ...words]);
    } finally {
      spy.mockRestore();
    }
    return printed.join('');
  }

  it('gives what the model here gives', { timeout: 120_000 }, async () => {
    const out = ['--out', join(runs, 'out')];
    const task = ['--task', 'game24', '--set', 'compute.dtype=f32'];
    await reckon('evaluate', harness.start, ...task, ...limits, ...out, '--label', 'here');
    const servers = ['--endpoint', server.url, '--endpoint', `${server.url}/v1`, '--model', 'tiny'];
    const tokenizer = ['--tokenizer', harness.start];
    await reckon('evaluate', ...servers, ...tokenizer, '--task', 'game24', ...limits, ...out);
    const [here, there] = ['here', 'tiny-game24-greedy-first12'].map((label) =>
      readEvaluation(join(runs, 'out', `${label}.json`)),
    );
    expect(there!.problems).toEqual(here!.problems);
    expect(there!.transcripts).toEqual(here!.transcripts);
    expect(there!.checkpoint).toContain(`tiny at ${server.url}`);
    expect(server.asked).toHaveLength(12);
  });

  it('says what is missing or clashes', async () => {
    const refused = async (...words: string[]) =>
      await reckon('evaluate', ...words).then(
        () => '',
        (error: Error) => error.message,
      );
    expect(await refused()).toContain('name a model, or servers with --endpoint');
    expect(await refused('--endpoint', server.url)).toContain('--endpoint needs --model');
    expect(await refused('--endpoint', server.url, '--model', 'tiny')).toContain('--tokenizer and --task');
    expect(await refused(harness.start, '--model', 'tiny')).toContain('give their --endpoint too');
    expect(await refused('--endpoint', 'localhost:8000', '--model', 'tiny')).toContain('http:// or https://');
    const against = ['--endpoint', server.url, '--model', 'tiny', '--against', harness.start];
    expect(await refused(harness.start, ...against)).toContain('leave out --against');
  });
});
