/** Owns the measuring of one GRPO step, split into rollouts and update, through the functions that the trainer calls. */

import { lossWeights } from '../src/losses/index.ts';
import { Decoder, initialWeights, type ModelConfig, qwen2Traits } from '../src/models/index.ts';
import { AdamW, clipGradNorm } from '../src/optim/index.ts';
import { collectGroups } from '../src/rollouts/index.ts';
import { characterTokenizer } from '../src/text/index.ts';
import { type DType, scope } from '../src/torch/index.ts';
import { cutMicroBatches } from '../src/train/micro-batches.ts';
import { accumulatePolicyGradient } from '../src/train/policy-update.ts';
import { type Measurement, summarised } from './measure.ts';

const prompts = 8;
const groupSize = 8;
const newTokens = 128;
const repeats = 7;

/** 8 prompts x 8 completions x 128 tokens with a 5 M parameter model, in bf16 and f32. */
export async function benchGrpoStep(): Promise<Measurement[]> {
  return [...(await measured('bf16')), ...(await measured('f32'))];
}

const config: ModelConfig = {
  ...qwen2Traits,
  vocabSize: 256,
  hiddenSize: 256,
  layers: 6,
  heads: 8,
  keyValueHeads: 4,
  headDim: 32,
  intermediateSize: 832,
  tieEmbeddings: true,
  maxPositions: 256,
  ropeTheta: 10_000,
  rmsEps: 1e-6,
  initializerRange: 0.02,
  bosTokenId: 1,
  eosTokenIds: [2],
  padTokenId: 0,
};

async function measured(dtype: DType): Promise<Measurement[]> {
  const tokenizer = characterTokenizer(
    Array.from({ length: 253 }, (_, i) => String.fromCodePoint(0x100 + i)),
  );
  using policy = scope(() => new Decoder(config, initialWeights(config, 1), dtype));
  for (const [, parameter] of policy.namedParameters()) parameter.requiresGrad_();
  using optimizer = new AdamW(policy.namedParameters(), {
    betas: [0.9, 0.95],
    epsilon: 1e-8,
    weightDecay: 0,
  });
  const rollout: number[] = [];
  const update: number[] = [];
  for (let step = 0; step <= repeats; step++) {
    const times = await oneStep(policy, tokenizer, optimizer, step);
    if (step === 0) continue;
    rollout.push(times.rollout);
    update.push(times.update);
  }
  const size = `${(policy.parameterCount / 1e6).toFixed(1)} M, ${dtype}`;
  return [
    summarised(
      `GRPO step (${size})`,
      rollout.map((seconds, i) => seconds + update[i]!),
      's',
      'under 1.2',
    ),
    summarised(`  rollouts (${size})`, rollout, 's'),
    summarised(`  update (${size})`, update, 's'),
  ];
}

async function oneStep(
  policy: Decoder,
  tokenizer: ReturnType<typeof characterTokenizer>,
  optimizer: AdamW,
  step: number,
): Promise<{ rollout: number; update: number }> {
  const started = performance.now();
  using snapshot = policy.snapshot();
  const problems = Array.from({ length: prompts }, (_, i) => ({
    id: `p${i}`,
    question: '',
    reference: '',
    meta: {},
  }));
  const groups = await collectGroups(
    snapshot,
    tokenizer,
    problems,
    () => String.fromCodePoint(0x101).repeat(16),
    {
      temperature: 1,
      topP: 1,
      maxNewTokens: newTokens,
      stopIds: [], // every completion runs to its full length
      groupSize,
      seed: 1,
      step,
    },
  );
  const sampled = performance.now();
  const sequences = groups.flatMap((group) =>
    group.rollouts.map((rollout, i) => ({ ...rollout, advantage: i % 2 === 0 ? 1 : -1 })),
  );
  accumulatePolicyGradient({
    policy,
    reference: null,
    sequences,
    batches: cutMicroBatches(sequences, 4096, 0),
    weights: lossWeights(
      sequences.map((sequence) => sequence.completionIds.length),
      'tokens',
      newTokens,
    ),
    oldLogps: null,
    temperature: 1,
    truncated: false,
    loss: { clip: { low: 0.2, high: 0.2 }, kl: { beta: 0, estimator: 'k3' } },
  });
  clipGradNorm(policy.stateDict().values(), 1);
  optimizer.step(1e-4);
  return { rollout: (sampled - started) / 1000, update: (performance.now() - sampled) / 1000 };
}
