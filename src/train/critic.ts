/** Owns PPO's value function: a head on the policy's trunk or on a model apart, its optimizer, loss and files. Knows no rollouts. */

import { join } from 'node:path';
import { valueLoss } from '../losses/index.ts';
import { type Decoder, loadModel, readSafetensors, ValueHead, writeSafetensors } from '../models/index.ts';
import { AdamW } from '../optim/index.ts';
import { loadTokenizer } from '../text/index.ts';
import { backward, fromBytes, noGrad, scope, type Tensor } from '../torch/index.ts';
import { parentOf } from './context.ts';
import {
  gathered,
  type MicroBatch,
  predictingStates,
  spread,
  type TrainingSequence,
  trainingStates,
} from './micro-batches.ts';
import type { Session, SessionOptions, TrainContext } from './session.ts';
import { requireSameTokens } from './teacher.ts';

/** A sequence with what its value loss needs, one number a completion token. */
export interface ValuedSequence extends TrainingSequence {
  /** Of the value function before the step's updates. */
  readonly values: readonly number[];
  readonly returns: readonly number[];
  /** Nothing is learned from it: its score is not known, and neither are its returns. */
  readonly unscored?: boolean;
}

/** Sums over completion tokens. */
export interface ValueSums {
  /** 1/2 of the squared error, clipped. */
  loss: number;
  clipped: number;
}

export interface CriticOptions extends SessionOptions {
  /**
   * What the head reads: `trunk`, the policy's own hidden states, or a value model apart that begins as the model the
   * stage began with (`start`) or as the one in a folder.
   */
  readonly valueModel: string;
}

const file = join('trainer', 'value-head.safetensors');

/** The value function of a session, as its checkpoint has it; every checkpoint has it again, with its moments. */
export class Critic implements Disposable {
  readonly head: ValueHead;
  /** The model whose hidden states the head reads, where that is not the policy. */
  readonly trunk: Decoder | null;
  private readonly optimizer: AdamW;

  constructor(session: Session, context: TrainContext, options: CriticOptions) {
    const { policy } = session;
    this.trunk = options.valueModel === 'trunk' ? null : openTrunk(session, context, options.valueModel);
    this.head = new ValueHead((this.trunk ?? policy).config.hiddenSize, policy.device);
    this.optimizer = new AdamW(this.parameters(), options);
    if (session.resumedFrom) this.load(join(session.resumedFrom, file));
    session.alsoSave((folder) => writeSafetensors(join(folder, file), this.state()));
  }

  /** Everything of the value function that learns, by name. */
  parameters(): Map<string, Tensor> {
    const trunk = [...(this.trunk?.namedParameters() ?? [])];
    return new Map([
      ...this.head.namedParameters(),
      ...trunk.map(([name, value]) => [`trunk.${name}`, value] as const),
    ]);
  }

  /** Updates what has a gradient, and drops the gradient. */
  step(learningRate: number): void {
    this.optimizer.step(learningRate);
  }

  private state(): Map<string, Tensor> {
    return new Map([...this.parameters(), ...this.optimizer.state()]);
  }

  private load(path: string): void {
    const saved = readSafetensors(path);
    try {
      noGrad(() =>
        scope(() => {
          for (const [name, value] of this.parameters()) value.copy_(saved.get(name)!);
        }),
      );
      this.optimizer.load(saved);
    } finally {
      for (const value of saved.values()) value.dispose();
    }
  }

  [Symbol.dispose](): void {
    this.optimizer[Symbol.dispose]();
    this.head[Symbol.dispose]();
    this.trunk?.[Symbol.dispose]();
  }
}

/** A trainable f32 copy of a model that reads the student's tokens. */
function openTrunk(session: Session, context: TrainContext, model: string): Decoder {
  const { dtype, device, gradientCheckpointing } = context.compute;
  const folder = model === 'start' ? parentOf(context) : model;
  requireSameTokens(folder, loadTokenizer(folder), session.tokenizer);
  const trunk = loadModel(folder, { dtype: 'f32', computeDtype: dtype, device });
  trunk.gradientCheckpointing = gradientCheckpointing ?? false;
  for (const [, value] of trunk.namedParameters()) value.requiresGrad_();
  return trunk;
}

/** The value loss of one micro-batch from the states that predict its tokens, a mean over `tokens`; adds to `sums`. */
export function valueTerm(
  head: ValueHead,
  hidden_ND: Tensor,
  batch: MicroBatch,
  sequences: readonly ValuedSequence[],
  options: { readonly clip: number | null; readonly tokens: number; readonly sums: ValueSums },
): Tensor {
  const { clip, tokens, sums } = options;
  const floats = (values: Float32Array) =>
    fromBytes(values, 'f32', [values.length]).to('f32', hidden_ND.device);
  const weights = sequences.map((one) => (one.unscored ? 0 : 1 / tokens));
  const { loss, clipped_N } = valueLoss(
    {
      values_N: head.forward(hidden_ND),
      oldValues_N: floats(gathered(batch, sequences, (one) => one.values)),
      returns_N: floats(gathered(batch, sequences, (one) => one.returns)),
      weights_N: floats(spread(batch, sequences, weights)),
    },
    clip,
  );
  sums.loss += noGrad(() => loss.detach().item()) * tokens;
  sums.clipped += noGrad(() => clipped_N.to('f32').sum().item());
  return loss;
}

/**
 * Accumulates the gradient of the mean value loss into the head, and into the model below it only where that `learns`: the
 * policy stays as it is in value pre-training.
 */
export function accumulateValueGradient(
  model: Decoder,
  head: ValueHead,
  batches: readonly MicroBatch[],
  sequences: readonly ValuedSequence[],
  clip: number | null,
  learns = false,
): ValueSums {
  const sums: ValueSums = { loss: 0, clipped: 0 };
  const tokens = batches.reduce((sum, batch) => sum + batch.targets.length, 0);
  for (const batch of batches)
    scope(() => {
      const { hidden_ND, close } = learns
        ? trainingStates(model, batch)
        : { ...noGrad(() => predictingStates(model, batch)), close: () => undefined };
      backward(valueTerm(head, hidden_ND, batch, sequences, { clip, tokens, sums }));
      close();
    });
  return sums;
}

/**
 * 1 - Var(return - value) / Var(return) over what is scored: 1 is perfect, 0 no better than a constant; null where returns do
 * not vary.
 */
export function explainedVariance(sequences: readonly ValuedSequence[]): number | null {
  const scored = sequences.filter((one) => !one.unscored);
  const returns = scored.flatMap((one) => one.returns);
  const errors = scored.flatMap((one) => one.returns.map((value, t) => value - one.values[t]!));
  const total = variance(returns);
  return total > 0 ? 1 - variance(errors) / total : null;
}

function variance(values: readonly number[]): number {
  const centre = values.reduce((sum, value) => sum + value, 0) / values.length;
  return values.reduce((sum, value) => sum + (value - centre) ** 2, 0) / values.length;
}
