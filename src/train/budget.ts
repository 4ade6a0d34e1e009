/**
 * Owns how far a stage has come in sampled tokens: its end, its learning rate and when it is measured, where a budget rules
 * and where steps do. Samples nothing.
 */

import { learningRateAt, type ScheduleOptions } from '../optim/index.ts';

/** A bound in sampled tokens, and measurements on the way to it. */
export interface TokenBudget {
  /** The stage ends with the step in which so many completion tokens, discarded ones included, have been sampled. */
  readonly generatedTokens: number;
  /** Sampled tokens between measurements; none unless given. */
  readonly measureEvery?: number | undefined;
}

/** Counts sampled tokens; `generated` begins with what a checkpoint remembers. */
export class BudgetClock {
  private readonly budget: TokenBudget | null;
  private total: number;
  private atLastStep: number;

  constructor(budget: TokenBudget | null, generated: number) {
    this.budget = budget;
    this.total = generated;
    this.atLastStep = generated;
  }

  /** Completion tokens sampled so far. */
  get generated(): number {
    return this.total;
  }

  add(tokens: number): void {
    this.total += tokens;
  }

  get usedUp(): boolean {
    return this.budget !== null && this.total >= this.budget.generatedTokens;
  }

  /** Ends a step; true where it crossed a multiple of `measureEvery` and did not end the stage. */
  endStep(): boolean {
    const every = this.budget?.measureEvery;
    const crossed =
      every !== undefined && Math.floor(this.total / every) > Math.floor(this.atLastStep / every);
    this.atLastStep = this.total;
    return crossed && !this.usedUp;
  }

  /**
   * The learning rate of a step: by its number, or under a budget by the share that is used up, this step's samples
   * included. A warm-up always counts steps.
   */
  learningRate(step: number, options: ScheduleOptions): number {
    if (this.budget === null || step <= options.warmupSteps) return learningRateAt(step, options);
    const share = Math.min(1, this.total / this.budget.generatedTokens);
    return learningRateAt(share * options.steps, { ...options, warmupSteps: 0 });
  }
}
