/** Owns that gradient checkpointing saves memory where it is switched on last: the student of a teacher, a critic apart. */

import { spawnSync } from 'node:child_process';
import { existsSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { describe, expect, it } from 'vitest';

const built = (path: string) => JSON.stringify(fileURLToPath(new URL(`../../dist/${path}`, import.meta.url)));

const learning = {
  'a student': `accumulateDistillation(model, teacher, batches, { objective: 'divergence', beta: 0.5, softening: 1,
  sampling: { temperature: 1, topP: 1, maxCompletionTokens: 256 }, vocabulary: 64 });`,
  'a critic': `accumulateValueGradient(model, new ValueHead(128, 'cpu'), batches, sequences.map((one) => ({ ...one,
  values: one.completionIds.map(() => 0), returns: one.completionIds.map(() => 1) })), null, true);`,
};

/** MiB that a gradient of 1,024 tokens through 12 layers adds to the largest memory of a process of its own. */
function growth(learn: string, checkpointed: boolean): number {
  const script = `import { readFileSync } from 'node:fs';
const { Decoder, initialWeights, qwen2Traits, ValueHead } = await import(${built('models/index.js')});
const { scope } = await import(${built('torch/index.js')});
const { accumulateDistillation } = await import(${built('train/distill.js')});
const { accumulateValueGradient } = await import(${built('train/critic.js')});
const { cutMicroBatches } = await import(${built('train/micro-batches.js')});
const config = { ...qwen2Traits, vocabSize: 64, hiddenSize: 128, layers: 12, heads: 4, keyValueHeads: 2, headDim: 32,
  intermediateSize: 512, tieEmbeddings: true, maxPositions: 512, ropeTheta: 10000, rmsEps: 1e-6, initializerRange: 0.02,
  bosTokenId: null, eosTokenIds: [2], padTokenId: null };
const open = (one) => scope(() => new Decoder(one, initialWeights(one, 1), 'f32'));
const teacher = open({ ...config, layers: 1 });
const model = open(config);
for (const [, value] of model.namedParameters()) value.requiresGrad_();
model.gradientCheckpointing = ${checkpointed};
const sequences = [0, 1, 2, 3].map((i) => ({ promptIds: [1, 2], completionIds: Array.from({ length: 255 }, (_, t) => (t * 7 + i) % 64) }));
const batches = cutMicroBatches(sequences, 1024, 0);
const peak = () => Number(/VmHWM:\\s+(\\d+)/.exec(readFileSync('/proc/self/status', 'utf8'))[1]) / 1024;
const before = peak();
${learn}
if (batches.length !== 1) throw new Error('one micro-batch was meant');
console.log(peak() - before);`;
  const { stdout, stderr } = spawnSync(process.execPath, ['--input-type=module', '-e', script], {
    encoding: 'utf8',
  });
  expect(stderr).toBe('');
  return Number(stdout);
}

describe.skipIf(!existsSync('/proc/self/status'))('gradient checkpointing', () => {
  it.each(Object.entries(learning))(
    'of %s takes less than half of the memory',
    { timeout: 60_000 },
    (_who, learn) => {
      const [plain, checkpointed] = [growth(learn, false), growth(learn, true)];
      console.log(`${plain.toFixed(0)} MiB, checkpointed ${checkpointed.toFixed(0)} MiB`);
      expect(plain).toBeGreaterThan(50);
      expect(checkpointed).toBeLessThan(0.5 * plain);
    },
  );
});
