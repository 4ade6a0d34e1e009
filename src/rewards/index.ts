/** Owns what the rewards folder shows to others. */

export * from './adaptive-weights.ts';
export {
  ARITHMETIC_PROFILES,
  type ArithmeticProfile,
  gradeArithmetic,
} from './arith/grade-arithmetic.ts';
export type { ArithmeticPuzzle, GradedArithmetic } from './arith/graded-arithmetic.ts';
export * from './arith/python-arithmetic.ts';
export * from './arith/search-trace.ts';
export * from './arith/strict.ts';
export * from './built-in.ts';
export * from './combine.ts';
export * from './functions/arithmetic-steps.ts';
export * from './functions/format.ts';
export * from './functions/length.ts';
export * from './functions/reference-formats.ts';
export * from './functions/repetition.ts';
export * from './game24.ts';
export * from './game24-task.ts';
export * from './grade/extract.ts';
export * from './grade/grade.ts';
export * from './grade/graded.ts';
export * from './grade/pool.ts';
export { type NormaliserName, normaliseAnswer } from './grade/profiles/normalise.ts';
export * from './make-reward.ts';
export * from './normalisers.ts';
export * from './reward.ts';
export * from './score.ts';
export * from './task.ts';
export * from './tasks/answer-task.ts';
export * from './tasks/countdown-task.ts';
export * from './tasks/mixture-task.ts';
export * from './tasks/open-task.ts';
export type * from './tasks/options.ts';
export * from './tasks/own-task.ts';
export * from './user-function.ts';
export * from './user-reward.ts';
