/** Reads the graders' acceptance rows and says what our graders answer to them. */

import type { Graded, GradeOptions } from '../../src/rewards/grade/graded.ts';
import { judge } from '../../src/rewards/grade/judge.ts';
import { type Case, casesOf } from './rewards-cases.ts';

export interface GraderCase extends Case {
  readonly peer_votes?: { readonly for_expected: number; readonly of: number };
}

/** Rows of a kind whose expectation is a plain yes or no. */
export function booleanRows(kinds: readonly string[]): GraderCase[] {
  return kinds
    .flatMap((kind) => casesOf(kind) as GraderCase[])
    .filter(({ expected }) => typeof expected === 'boolean');
}

/** At least 60 % of the reference graders that were asked agree with the expectation. */
export function isUndisputed({ peer_votes: votes }: GraderCase): boolean {
  return votes !== undefined && votes.of > 0 && votes.for_expected / votes.of >= 0.6;
}

/** The verdict of a profile, with the row's own word on which side needs extraction. */
export function gradeCase(row: GraderCase, profile: GradeOptions['profile'] = 'default'): Graded {
  const references = Array.isArray(row.reference) ? row.reference : [row.reference];
  const side = row.opts?.['extract'];
  const extract =
    side === 'none' || (side === undefined && row.kind === 'equiv')
      ? 'none'
      : side === 'both'
        ? 'both'
        : 'prediction';
  return judge({
    prediction: row.prediction === null ? '' : String(row.prediction),
    references: references.filter((one) => one !== null).map(String),
    options: { profile, extract },
  });
}
