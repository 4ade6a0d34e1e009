/**
 * Owns a process that makes a few training passes of LoRA, which keep some tensors and drop others in between: prints the
 * bytes that a pass keeps for its gradient at least and, after each, how many more are resident than before the first, as JSON.
 */

import { readFileSync } from 'node:fs';
import { adapterDefaults, createAdapter, Decoder, initialWeights } from '../../src/models/index.ts';
import { adapterParameters, useAdapter } from '../../src/nn/index.ts';
import { backward, freeCachedMemory, ids, scope } from '../../src/torch/index.ts';
import { tinyConfig } from './tiny.ts';

const shape = {
  hiddenSize: 256,
  layers: 12,
  heads: 4,
  keyValueHeads: 2,
  headDim: 64,
  intermediateSize: 1408,
};
const [rows, length] = [4, 256];
const policy = scope(() => {
  const config = tinyConfig(shape);
  const state = [...initialWeights(config, 1)].map(([name, value]) => [name, value.to('bf16')] as const);
  return new Decoder(config, new Map(state), 'bf16');
});
createAdapter(policy, 'policy', { ...adapterDefaults, rank: 8, alpha: 8, targetModules: 'all-linear' }, 5);
useAdapter(policy, 'policy');
for (const value of adapterParameters(policy, 'policy').values()) value.requiresGrad_();
const resident = (): number =>
  1024 * Number(/^RssAnon:\s+(\d+) kB/m.exec(readFileSync('/proc/self/status', 'utf8'))![1]);

freeCachedMemory('cpu');
const before = resident();
const after: number[] = [];
for (let pass = 0; pass < 4; pass++) {
  scope(() => {
    const tokens = Array.from({ length: rows * length }, (_, i) => 3 + ((7 * i + pass) % 20));
    backward(policy.forward(ids(tokens, [rows, length])).sum());
  });
  after.push(resident() - before);
}
// Inputs and normed inputs of attention and MLP, heads, what attention gives, gate and up, in bf16.
const width = 5 * shape.hiddenSize + 8 * 64 + 2 * shape.intermediateSize;
process.stdout.write(JSON.stringify({ kept: 2 * width * shape.layers * rows * length, after }));
