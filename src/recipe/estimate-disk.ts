/** Owns how many bytes of disk a stage leaves: checkpoints, problems, rollouts, rows of evaluations. Writes none. */

import type { Setting } from './estimate.ts';
import { adapterParameters, type ModelSize } from './model-size.ts';
import { kindOf, type Stage } from './stages.ts';

/** Weights and moments in f32, and gradients are not kept. */
const BYTES_A_TRAINED_WEIGHT = 12;
/** config.json, state.json, manifest.json and what is as small. */
const CHECKPOINT_FILES = 8e3;
/** Of tokenizer.json a word of the vocabulary, its merges included. */
const TOKENIZER_BYTES_A_WORD = 70;
/** A line of rollouts or rows without its text and its ids: names, rewards, the verdict and its reason. */
const LINE_BYTES = 330;
/** A number by token as text. */
const TOKEN_REWARD_BYTES = 9;
/** A problem as a line: question, solution, what else is known. */
const PROBLEM_BYTES_A_TOKEN = 2;

/** Parameters that a stage trains. */
export function trainableOf(stage: Stage, size: ModelSize): number {
  if (!kindOf(stage.type).trains) return 0;
  const adapter = 'adapter' in stage ? stage.adapter : undefined;
  return adapter === undefined ? size.parameters : adapterParameters(adapter, size);
}

/** Bytes of one checkpoint: of a stage that trains with its optimizer, else of the weights. */
export function checkpointBytesOf({ size }: Setting, stage: Stage, trainable: number): number {
  const files = CHECKPOINT_FILES + (size.shape?.vocabSize ?? 152_000) * TOKENIZER_BYTES_A_WORD;
  if (trainable > 0) return trainable * BYTES_A_TRAINED_WEIGHT + files;
  return stage.type === 'prepare' || stage.type === 'model' ? size.parameters * 4 + files : 0;
}

/** What of a stage stays on the disk. */
export function diskOf(
  { recipe, size, facts }: Setting,
  stage: Stage,
  checkpointBytes: number,
  work: { readonly rollouts: number; readonly sampled: number; readonly steps: number },
): number {
  const { keepLast, keepBest, every } = recipe.checkpoints;
  const made = kindOf(stage.type).trains ? Math.max(1, Math.ceil(work.steps / every)) : 1;
  // As often as not the best one is among the newest.
  const kept = Math.min(keepLast + keepBest / 2, made);
  const { train, validation, test } = facts.counts;
  const letters = size.shape !== null && size.shape.vocabSize < 256;
  const problemTokens = (train + validation + test) * (facts.promptTokens + facts.solutionTokens);
  const problems = stage.type === 'prepare' ? problemTokens * (letters ? 1 : 4) * PROBLEM_BYTES_A_TOKEN : 0;
  // The text of a completion's token, and ids, of the prompt too, where they are kept.
  const idBytes = Math.log10(size.shape?.vocabSize ?? 152_000) + 1;
  const byToken = stage.type === 'distill' || ('intrinsic' in stage && Boolean(stage.intrinsic));
  const ids = stage.type === 'evaluate' ? 0 : work.sampled + work.rollouts * facts.promptTokens;
  const texts = work.sampled * ((letters ? 1 : 4) + (byToken ? TOKEN_REWARD_BYTES : 0));
  return kept * checkpointBytes + problems + texts + ids * idBytes + work.rollouts * LINE_BYTES;
}
