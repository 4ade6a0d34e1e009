/** Owns the public door of grading: inline where plain numbers decide, in threads with a deadline for all else. */

import { ReckonError } from '../../util/errors.ts';
import { type Graded, type GradeOptions, PROFILES } from './graded.ts';
import { gradeInline } from './inline.ts';
import type { GradeRow } from './judge.ts';
import { GraderPool } from './pool.ts';

let shared: GraderPool | null = null;

/**
 * Judges a prediction against a reference, or any of several, by a named profile. A verdict comes at once where plain
 * numbers decide it; else a promise of one, from a thread, no later than the deadline. Never rejects for any text;
 * throws `unknown-profile`.
 */
export function grade(
  prediction: string,
  reference: string | readonly string[],
  options: GradeOptions = {},
): Graded | Promise<Graded> {
  checkProfile(options);
  const row: GradeRow = {
    prediction,
    references: typeof reference === 'string' ? [reference] : reference,
    options,
  };
  const inline = gradeInline(row);
  if (inline !== null) return inline;
  shared ??= new GraderPool();
  return shared.grade(row);
}

/** Ends the threads that `grade` started; the next call starts new ones. */
export async function closeGraders(): Promise<void> {
  const pool = shared;
  shared = null;
  await pool?.close();
}

function checkProfile({ profile }: GradeOptions): void {
  if (profile === undefined || PROFILES.includes(profile)) return;
  throw new ReckonError(
    'usage',
    'unknown-profile',
    `Expected one of ${PROFILES.join(', ')} as the grading profile, found '${profile}'; docs/graders.md says what each does.`,
  );
}
