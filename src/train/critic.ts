/** Owns PPO's value function: a head on the policy's trunk with its optimizer, its loss and its files. Knows no rollouts. */

import { join } from 'node:path';
import { valueLoss } from '../losses/index.ts';
import { type Decoder, readSafetensors, ValueHead, writeSafetensors } from '../models/index.ts';
import { AdamW } from '../optim/index.ts';
import { backward, fromBytes, full, noGrad, scope, type Tensor } from '../torch/index.ts';
import { gathered, type MicroBatch, predictingStates, type TrainingSequence } from './micro-batches.ts';
import type { Session, SessionOptions } from './session.ts';

/** A sequence with what its value loss needs, one number a completion token. */
export interface ValuedSequence extends TrainingSequence {
  /** Of the value function before the step's updates. */
  readonly values: readonly number[];
  readonly returns: readonly number[];
}

/** Sums over completion tokens. */
export interface ValueSums {
  /** 1/2 of the squared error, clipped. */
  loss: number;
  clipped: number;
}

const file = join('trainer', 'value-head.safetensors');

/** The value head of a session, as its checkpoint has it; every checkpoint has it again, with its moments. */
export class Critic implements Disposable {
  readonly head: ValueHead;
  private readonly optimizer: AdamW;

  constructor(session: Session, options: SessionOptions) {
    const { policy } = session;
    this.head = new ValueHead(policy.config.hiddenSize, policy.device);
    this.optimizer = new AdamW(this.head.namedParameters(), options);
    if (session.resumedFrom) this.load(join(session.resumedFrom, file));
    session.alsoSave((folder) => writeSafetensors(join(folder, file), this.state()));
  }

  /** Values of every completion token's state by micro-batch, in its order of tokens, no gradient. */
  recordedValues(policy: Decoder, batches: readonly MicroBatch[]): Float32Array[] {
    return batches.map((batch) =>
      noGrad(() => scope(() => this.head.forward(predictingStates(policy, batch).hidden_ND).toFloat32())),
    );
  }

  /** Updates the head that has a gradient, and drops the gradient. */
  step(learningRate: number): void {
    this.optimizer.step(learningRate);
  }

  private state(): Map<string, Tensor> {
    return new Map([...this.head.namedParameters(), ...this.optimizer.state()]);
  }

  private load(path: string): void {
    const saved = readSafetensors(path);
    try {
      noGrad(() =>
        scope(() => {
          for (const [name, value] of this.head.namedParameters()) value.copy_(saved.get(name)!);
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
  }
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
  const floats = (read: (one: ValuedSequence) => readonly number[]) => {
    const values = gathered(batch, sequences, read);
    return fromBytes(values, 'f32', [values.length]).to('f32', hidden_ND.device);
  };
  const { loss, clipped_N } = valueLoss(
    {
      values_N: head.forward(hidden_ND),
      oldValues_N: floats((one) => one.values),
      returns_N: floats((one) => one.returns),
      weights_N: full([batch.targets.length], 1 / tokens, 'f32', hidden_ND.device),
    },
    clip,
  );
  sums.loss += noGrad(() => loss.detach().item()) * tokens;
  sums.clipped += noGrad(() => clipped_N.to('f32').sum().item());
  return loss;
}

/** Accumulates the gradient of the value loss into the head alone: the policy stays as it is (value pre-training). */
export function accumulateValueGradient(
  policy: Decoder,
  head: ValueHead,
  batches: readonly MicroBatch[],
  sequences: readonly ValuedSequence[],
  clip: number | null,
): ValueSums {
  const sums: ValueSums = { loss: 0, clipped: 0 };
  const tokens = batches.reduce((sum, batch) => sum + batch.targets.length, 0);
  for (const batch of batches)
    scope(() => {
      const hidden_ND = noGrad(() => predictingStates(policy, batch).hidden_ND);
      backward(valueTerm(head, hidden_ND, batch, sequences, { clip, tokens, sums }));
    });
  return sums;
}

/** 1 - Var(return - value) / Var(return): 1 is perfect, 0 no better than a constant; null where returns do not vary. */
export function explainedVariance(sequences: readonly ValuedSequence[]): number | null {
  const returns = sequences.flatMap((one) => one.returns);
  const errors = sequences.flatMap((one) => one.returns.map((value, t) => value - one.values[t]!));
  const spread = variance(returns);
  return spread > 0 ? 1 - variance(errors) / spread : null;
}

function variance(values: readonly number[]): number {
  const centre = values.reduce((sum, value) => sum + value, 0) / values.length;
  return values.reduce((sum, value) => sum + (value - centre) ** 2, 0) / values.length;
}
