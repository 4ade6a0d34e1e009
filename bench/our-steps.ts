/** Owns our side's steps of generation, GRPO and LoRA, through the functions that users and trainers call. */

import { type Completion, type GenerationRequest, generate } from '../src/generate/index.ts';
import { lossWeights } from '../src/losses/index.ts';
import {
  type AdapterOptions,
  Decoder,
  initialWeights,
  loadModel,
  openPolicy,
  readerOf,
  saveModel,
} from '../src/models/index.ts';
import { trainableParameters } from '../src/nn/index.ts';
import { AdamW, clipGradNorm } from '../src/optim/index.ts';
import { characterTokenizer, specialTokens, type Tokenizer } from '../src/text/index.ts';
import { scope } from '../src/torch/index.ts';
import { accumulateCrossEntropy } from '../src/train/cross-entropy.ts';
import { cutMicroBatches } from '../src/train/micro-batches.ts';
import { accumulatePolicyGradient } from '../src/train/policy-update.ts';
import type { Question, Step } from './protocol.ts';
import type { GenerateWork, GrpoWork, SftWork } from './works.ts';

const adapter: AdapterOptions = {
  type: 'lora',
  rank: 16,
  alpha: 32,
  dropout: 0,
  targetModules: 'all-linear',
  modulesToSave: [],
  rankPattern: {},
  alphaPattern: {},
  init: 'default',
};
const optimizerOptions = { betas: [0.9, 0.95], epsilon: 1e-8, weightDecay: 0 } as const;
const learningRate = 1e-5;
const sampling = { temperature: 1, topP: 1, stopIds: [], seed: 1 } as const;

/** Writes random weights of the asked shape as a model folder, which both sides read. */
export function writeWeights({ config, folder, stored }: Question): void {
  scope(() => {
    using model = new Decoder(config, initialWeights(config, 1), stored);
    if (stored === 'f32') return saveModel(model, folder);
    using rounded = model.snapshot();
    saveModel(rounded, folder);
  });
}

/** Whole calls of `generate`; of their parts `prefill` ends with the first token of the last sequence. */
export function generationSteps(work: GenerateWork, question: Question): Step {
  const { config, prompts } = question;
  const model = work.adapter ? readerOf(opened(question, true, false).policy).model : decoding(question);
  const tokenizer = tokenizerOf(config.vocabSize);
  const longest = Math.max(...work.lengths);
  const requests: GenerationRequest[] = prompts.map((promptIds, i) => ({
    problemId: `p${i}`,
    promptIds,
    samples: work.group,
    maxNewTokens: work.lengths[i * work.group]!,
  }));
  let step = 0;
  return async () => {
    let begun = 0;
    let prefilled = 0;
    const onToken = () => {
      if (++begun === work.lengths.length) prefilled = performance.now();
    };
    const started = performance.now();
    await generate(model, tokenizer, requests, { ...sampling, maxNewTokens: longest, step: step++, onToken });
    const ended = performance.now();
    const parts = {
      prefill: (prefilled - started) / 1000,
      decodeStep: (ended - prefilled) / 1000 / Math.max(1, longest - 1),
    };
    return { seconds: (ended - started) / 1000, parts };
  };
}

/** The weights as `reckon generate` holds them. */
function decoding({ dtype, folder, stored }: Question): Decoder {
  const read = { dtype: stored, computeDtype: dtype, device: 'cpu', map: stored === dtype };
  using weights = loadModel(folder, read);
  return weights.snapshot('full', 'decoding');
}

/** Steps of GRPO as the trainer makes them, split into rollouts and update. */
export function grpoSteps(work: GrpoWork, question: Question): Step {
  const { config, prompts } = question;
  const { policy, optimizer } = opened(question, work.adapter, work.checkpointing);
  const tokenizer = tokenizerOf(config.vocabSize);
  let step = 0;
  return async () => {
    const started = performance.now();
    const rollouts = await sampled();
    const between = performance.now();
    update(rollouts);
    const ended = performance.now();
    const parts = { rollouts: (between - started) / 1000, update: (ended - between) / 1000 };
    return { seconds: (ended - started) / 1000, parts };
  };

  async function sampled(): Promise<Completion[]> {
    using reader = readerOf(policy);
    const requests = prompts.map((promptIds, i) => ({ problemId: `p${i}`, promptIds, samples: work.group }));
    const options = { ...sampling, maxNewTokens: work.newTokens, step: step++ };
    return (await generate(reader.model, tokenizer, requests, options)).flat();
  }

  function update(rollouts: readonly Completion[]): void {
    const sequences = rollouts.map((rollout, i) => ({ ...rollout, advantage: i % 2 === 0 ? 1 : -1 }));
    const lengths = sequences.map((sequence) => sequence.completionIds.length);
    accumulatePolicyGradient({
      policy,
      reference: null,
      sequences,
      batches: cutMicroBatches(sequences, budgetOf(work), 0),
      weights: lossWeights(lengths, 'tokens', work.newTokens),
      oldLogps: null,
      temperature: 1,
      truncated: false,
      loss: { clip: { low: 0.2, high: 0.2 }, kl: { beta: 0, estimator: 'k3' } },
    });
    clipGradNorm(trainableParameters(policy).values(), 1);
    optimizer.step(learningRate);
  }
}

/** Tokens of a micro-batch: that of small models is what the recipes have. */
function budgetOf({ prompt, newTokens, microBatch, adapter: big }: GrpoWork): number {
  return big ? microBatch * (prompt + newTokens) : 4096;
}

/** Supervised steps of LoRA on rows of the same length. */
export function sftSteps(work: SftWork, question: Question): Step {
  const { policy, optimizer } = opened(question, true, false);
  const sequences = question.prompts.map((ids) => ({
    promptIds: ids.slice(0, 1),
    completionIds: ids.slice(1),
  }));
  return async () => {
    const started = performance.now();
    const batches = cutMicroBatches(sequences, work.rows * work.length, 0);
    accumulateCrossEntropy(policy, batches);
    const between = performance.now();
    clipGradNorm(trainableParameters(policy).values(), 1);
    optimizer.step(learningRate);
    const ended = performance.now();
    const parts = { gradient: (between - started) / 1000, optimizer: (ended - between) / 1000 };
    return { seconds: (ended - started) / 1000, parts };
  };
}

function opened({ folder, dtype }: Question, adapted: boolean, checkpointing: boolean) {
  const policy = openPolicy(folder, {
    dtype: 'f32',
    computeDtype: dtype,
    device: 'cpu',
    seed: 1,
    ...(adapted ? { adapter } : {}),
  });
  policy.gradientCheckpointing = checkpointing;
  return { policy, optimizer: new AdamW(trainableParameters(policy), optimizerOptions) };
}

/** One character for every id, so that each can be decoded. */
export function tokenizerOf(vocabulary: number): Tokenizer {
  const characters = Array.from({ length: vocabulary + 3000 }, (_, i) => i + 0x100)
    .filter((point) => point < 0xd800 || point > 0xdfff)
    .slice(0, vocabulary - specialTokens.length);
  return characterTokenizer(characters.map((point) => String.fromCodePoint(point)));
}
