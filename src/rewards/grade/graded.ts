/** Owns the types of grading an answer against a reference. Grades nothing. */

import type { Verdict } from '../reward.ts';

/** The named sets of rules that answers can be judged by; docs/graders.md says what each one does. */
export const PROFILES = [
  'default',
  'r1-zero',
  'r1-zero-slow',
  'question-only',
  'question-only-slow',
  'boxed-tag',
  'gsm8k-strict',
  'gsm8k-flexible',
  'math-verify',
  'hendrycks',
  'seed-unified',
] as const;

export type Profile = (typeof PROFILES)[number];

export interface GradeOptions {
  /** Default `default`. */
  readonly profile?: Profile;
  /** Which sides are whole texts that still hold their answer somewhere; default `prediction`. */
  readonly extract?: 'none' | 'prediction' | 'both';
  /** Hard limit in milliseconds for what cannot be decided inline; default 2,000. */
  readonly deadline?: number;
}

/** A verdict with its reason (a short stable word) and what was compared. */
export interface Graded {
  readonly verdict: Verdict;
  /** The profile's own number (0, 0.5, 1); null where unverifiable. */
  readonly score: number | null;
  readonly reason: string;
  /** The answer as found in the prediction; null where there is none. */
  readonly extracted: string | null;
  /** Both sides as they were compared; null where they could not be read. */
  readonly prediction: string | null;
  readonly reference: string | null;
}
