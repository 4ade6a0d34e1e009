/**
 * Owns the reference policy as an explicit object: none, the model that the stage began with, another model, and any of
 * them moved towards the policy every few steps (Gorbatovski et al. 2024). Knows no loss.
 */

import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { type Decoder, loadModel, saveModel } from '../models/index.ts';
import { mergedParameters } from '../nn/index.ts';
import { noGrad, scope } from '../torch/index.ts';
import { ReckonError } from '../util/errors.ts';
import { parentOf } from './context.ts';
import type { Session, TrainContext } from './session.ts';
import { loadTeacher } from './teacher.ts';

export interface ReferenceOptions {
  /** `none`, `start` (the model that the stage began with; under an adapter it shares the base), or a model folder. */
  readonly reference: string;
  /** After every so many steps it becomes `mixup` policy + (1 - mixup) reference; null leaves it as it is. */
  readonly referenceSync?: { readonly every: number; readonly mixup: number } | null;
  /** Where it computes; the run's device by default. */
  readonly referenceDevice?: string | undefined;
}

const savedFolder = join('trainer', 'reference');

/** Holds the reference policy; one that is synced is in the session's checkpoints. */
export class Reference implements Disposable {
  private readonly options: ReferenceOptions;
  /** The weights as they are mixed, in f32; null where nothing is. */
  private readonly whole: Decoder | null;
  private frozen: Decoder | null;

  constructor(session: Session, context: TrainContext, options: ReferenceOptions) {
    const { reference, referenceSync = null, referenceDevice } = options;
    const { compute } = context;
    const placed = { ...context, compute: { ...compute, device: referenceDevice ?? compute.device } };
    this.options = options;
    this.whole = reference === 'none' || !referenceSync ? null : openWhole(session, placed, reference);
    this.frozen = this.whole?.snapshot() ?? openFrozen(session, placed, reference);
    try {
      if (this.frozen) requireSameRows(session.policy, this.frozen, reference);
    } catch (error) {
      this[Symbol.dispose]();
      throw error;
    }
    const { whole } = this;
    if (whole) session.alsoSave((folder) => saveModel(whole, join(folder, savedFolder)));
  }

  /** To be read only, until the next `follow`; null for none. */
  get model(): Decoder | null {
    return this.frozen;
  }

  /** Moves towards the policy where `step`, whose updates are done, is one of those. */
  follow(policy: Decoder, step: number): void {
    const { whole, options } = this;
    if (!whole || !options.referenceSync || step % options.referenceSync.every !== 0) return;
    const { mixup } = options.referenceSync;
    noGrad(() =>
      scope(() => {
        const theirs = new Map(mergedParameters(policy));
        for (const [name, own] of whole.namedParameters()) {
          const value = theirs.get(name)!.to(own.dtype, own.device);
          own.copy_(mixup === 1 ? value : own.mul(1 - mixup).add(value, mixup));
        }
      }),
    );
    this.frozen?.[Symbol.dispose]();
    this.frozen = whole.snapshot();
  }

  [Symbol.dispose](): void {
    this.frozen?.[Symbol.dispose]();
    this.frozen = null;
    this.whole?.[Symbol.dispose]();
  }
}

function openWhole(session: Session, context: TrainContext, reference: string): Decoder {
  const { dtype, device } = context.compute;
  const saved = session.resumedFrom && join(session.resumedFrom, savedFolder);
  const start = reference === 'start' ? parentOf(context) : reference;
  const folder = saved && existsSync(saved) ? saved : start;
  return loadModel(folder, { dtype: 'f32', computeDtype: dtype, device });
}

function openFrozen(session: Session, context: TrainContext, reference: string): Decoder | null {
  if (reference === 'none') return null;
  if (reference === 'start') return session.startReference(context.compute.device);
  return loadTeacher(context, reference, session.tokenizer);
}

/** Log-probabilities over vocabularies of different sizes do not compare. */
function requireSameRows(policy: Decoder, reference: Decoder, name: string): void {
  const [ours, theirs] = [policy.headWeight.size(0), reference.headWeight.size(0)];
  if (ours === theirs) return;
  const found = `the policy has ${ours} rows of vocabulary and the reference ${name} has ${theirs}`;
  throw new ReckonError('recipe', 'other-vocabulary', `${found}; take a reference of the same shape`);
}
