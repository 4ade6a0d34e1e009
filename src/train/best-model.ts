/**
 * Owns the best model of a stage by its validation loss, and when there is no hope of a better one. What it remembers is
 * in the stage's metrics and in its `best/` folder, so a resumed stage goes on as if it had not been interrupted.
 */

import { join } from 'node:path';
import { checkpointPath, pruneCheckpoints, writeCheckpoint } from '../checkpoints/index.ts';
import { savePolicy } from '../models/index.ts';
import { readMetrics } from '../track/metrics.ts';
import type { Session } from './session.ts';

export class BestModel {
  private readonly root: string;
  private best: { readonly step: number; readonly loss: number } | null = null;
  private worseSince = 0;

  /** Reads off the stage's metrics, already cut back to where it goes on from, what was measured before. */
  constructor(directory: string) {
    this.root = join(directory, 'best');
    for (const row of readMetrics(join(directory, 'metrics.jsonl'))) {
      const loss = row['validation/loss'];
      if (typeof loss === 'number') this.note(row.step, loss);
    }
  }

  /** Validations in a row that were not better than the best before. */
  get stalled(): number {
    return this.worseSince;
  }

  /** The folder of the best model, or null before the first validation. */
  get folder(): string | null {
    return this.best && checkpointPath(this.root, this.best.step);
  }

  /** Takes a validation into account; saves the model of a session, where one is given, if it is the best so far. */
  async consider(step: number, loss: number, session: Session | null): Promise<void> {
    if (!this.note(step, loss) || session === null) return;
    await writeCheckpoint(this.root, step, (folder) => {
      savePolicy(session.policy, folder);
      session.tokenizer.save(folder);
      session.describe(folder, step);
    });
    pruneCheckpoints(this.root, 1);
  }

  private note(step: number, loss: number): boolean {
    const better = this.best === null || loss < this.best.loss;
    this.worseSince = better ? 0 : this.worseSince + 1;
    if (better) this.best = { step, loss };
    return better;
  }
}
