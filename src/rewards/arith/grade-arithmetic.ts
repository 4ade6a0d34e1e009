/** Owns the choice among the profiles that judge arithmetic puzzles. Holds none of their rules. */

import { ReckonError } from '../../util/errors.ts';
import type { ArithmeticPuzzle, GradedArithmetic } from './graded-arithmetic.ts';
import {
  gradeReasoningGym24,
  gradeReasoningGymCountdown,
  gradeTinyZero,
  gradeTreeOfThoughts,
} from './reference-profiles.ts';
import { searchTraceRewards } from './search-trace.ts';
import { gradeStrict } from './strict.ts';

const profiles: Readonly<Record<string, (completion: string, puzzle: ArithmeticPuzzle) => GradedArithmetic>> =
  {
    strict: (completion, puzzle) => gradeStrict(completion, puzzle),
    tinyzero: gradeTinyZero,
    'tree-of-thoughts': gradeTreeOfThoughts,
    'reasoning-gym-countdown': gradeReasoningGymCountdown,
    'reasoning-gym-puzzle24': gradeReasoningGym24,
    seed3: (completion, { numbers }) => {
      const { outcome, total } = searchTraceRewards(numbers, completion);
      const reason = outcome === 1 ? 'correct' : 'wrong-trace';
      return { verdict: outcome === 1 ? 'correct' : 'incorrect', score: total, reason, extracted: '' };
    },
  };

/** The named sets of rules; `strict` is ours. */
export type ArithmeticProfile =
  | 'strict'
  | 'tinyzero'
  | 'tree-of-thoughts'
  | 'reasoning-gym-countdown'
  | 'reasoning-gym-puzzle24'
  | 'seed3';

export const ARITHMETIC_PROFILES: readonly ArithmeticProfile[] = Object.keys(profiles) as ArithmeticProfile[];

/** Judges a completion of an arithmetic puzzle by a named profile; throws `unknown-profile` for any other name. */
export function gradeArithmetic(
  completion: string,
  puzzle: ArithmeticPuzzle,
  profile: ArithmeticProfile = 'strict',
): GradedArithmetic {
  const judge = Object.hasOwn(profiles, profile) ? profiles[profile] : undefined;
  if (judge) return judge(completion, puzzle);
  const message = `expected a profile of ${ARITHMETIC_PROFILES.join(', ')}, found ${profile}`;
  throw new ReckonError('usage', 'unknown-profile', message);
}
