/**
 * Owns a bounded memory of scored rollouts: first in, first out, none older than a bound. A step may learn from some of
 * them again, with importance weights for the policy that sampled them. Knows no loss.
 */

import { existsSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import type { StopReason } from '../rollouts/index.ts';
import { readJsonl } from '../util/jsonl.ts';
import { Rng } from '../util/rng.ts';
import { mean } from '../util/statistics.ts';
import type { PolicySequence } from './policy-update.ts';
import type { Session } from './session.ts';

export interface ReplayOptions {
  /** Groups kept at most; the oldest go first. */
  readonly capacity: number;
  /** Groups of earlier steps that a step learns from beside its own. */
  readonly groupsPerStep: number;
  /** Steps after its own in which a group may still be learned from. */
  readonly maxAge: number;
}

/** A rollout that says why it ended, with its advantage. */
export type EndedSequence = PolicySequence & { readonly stopReason: StopReason };

/** The sequences of one problem with the advantages that they had when they were sampled. */
interface ReplayedGroup {
  readonly step: number;
  readonly sequences: readonly EndedSequence[];
}

const file = join('trainer', 'replay.jsonl');

/** The memory of a session; it is in every checkpoint. */
export class Replay {
  private readonly options: ReplayOptions;
  private groups: ReplayedGroup[];

  constructor(session: Session, options: ReplayOptions) {
    this.options = options;
    const saved = session.resumedFrom && join(session.resumedFrom, file);
    this.groups =
      saved && existsSync(saved) ? readJsonl(saved, (value) => value as unknown as ReplayedGroup) : [];
    session.alsoSave((folder) =>
      writeFileSync(join(folder, file), this.groups.map((group) => `${JSON.stringify(group)}\n`).join('')),
    );
  }

  /** What a step learns from beside its own groups: no group twice, drawn by seed and step alone; and their mean age. */
  draw(step: number, seed: number): { readonly sequences: EndedSequence[]; readonly age: number | null } {
    this.groups = this.groups.filter((group) => step - group.step <= this.options.maxAge);
    const drawn = new Rng({ seed, purpose: 'replay', step })
      .shuffled(this.groups)
      .slice(0, this.options.groupsPerStep);
    return {
      sequences: drawn.flatMap((group) => group.sequences.map((one) => ({ ...one, replayed: true }))),
      age: drawn.length > 0 ? mean(drawn.map((group) => step - group.step)) : null,
    };
  }

  /** Keeps the groups of a step, each of which has taught something; the oldest beyond the capacity go. */
  add(step: number, groups: readonly (readonly EndedSequence[])[]): void {
    const teaching = groups.filter((group) => group.some(hasAdvantage));
    this.groups.push(...teaching.map((sequences) => ({ step, sequences: sequences.map(essence) })));
    this.groups = this.groups.slice(-this.options.capacity);
  }
}

function hasAdvantage({ advantage, tokenAdvantages }: PolicySequence): boolean {
  return tokenAdvantages?.some((one) => one !== 0) ?? advantage !== 0;
}

/** Without what training does not read. */
function essence(sequence: EndedSequence): EndedSequence {
  const { promptIds, completionIds, logps, samplingLogps, advantage, tokenAdvantages, stopReason } = sequence;
  const own = { promptIds, completionIds, logps, samplingLogps, advantage, stopReason };
  return tokenAdvantages ? { ...own, tokenAdvantages } : own;
}
