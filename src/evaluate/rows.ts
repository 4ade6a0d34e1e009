/** Owns the rows of an evaluation: one for each sample, as JSON lines. Judges and summarises nothing. */

import { z } from 'zod';
import { reasoningOf } from '../data/solutions.ts';
import type { Scored, Verdict } from '../rewards/reward.ts';
import type { ScoredGroup } from '../rewards/score.ts';
import type { StopReason } from '../rollouts/rollout.ts';
import { mathExpressions, reasoningSteps, stepCoverage } from '../text/reasoning.ts';
import { readJsonl } from '../util/jsonl.ts';

/** One sample with what was asked, what was said and what the grader made of it. */
export interface EvaluationRow {
  readonly problemId: string;
  readonly sampleIndex: number;
  /** The problem in plain words. */
  readonly question: string;
  /** What the model was given, as text. */
  readonly prompt: string;
  readonly completion: string;
  /** The reference answer. */
  readonly solution: string;
  /** The answer as found in the completion, or null. */
  readonly answer: string | null;
  /** 1 for a right answer, 0 for a wrong one, null where it cannot be known. */
  readonly reward: number | null;
  /** Every reward of the task, by name. */
  readonly parts: Readonly<Record<string, number | null>>;
  readonly verdict: Verdict;
  /** A short stable word, such as `no-answer`. */
  readonly reason: string;
  readonly formatOk: boolean;
  readonly stopReason: StopReason;
  /** Length of the completion. */
  readonly tokens: number;
  /** Share of the worked solution's expressions that the completion's steps have; only where the problem has some. */
  readonly stepCoverage?: number | undefined;
  /** Where asked for: the ids themselves, which are the truth. */
  readonly promptIds?: readonly number[] | undefined;
  readonly completionIds?: readonly number[] | undefined;
}

const idList = z.array(z.int().nonnegative()).optional();

/** The schema of one row. */
export const rowSchema: z.ZodType<EvaluationRow> = z.object({
  problemId: z.string(),
  sampleIndex: z.int().nonnegative(),
  question: z.string(),
  prompt: z.string(),
  completion: z.string(),
  solution: z.string(),
  answer: z.string().nullable(),
  reward: z.number().nullable(),
  parts: z.record(z.string(), z.number().nullable()),
  verdict: z.enum(['correct', 'incorrect', 'unverifiable']),
  reason: z.string(),
  formatOk: z.boolean(),
  stopReason: z.enum(['eos', 'stop', 'length', 'aborted']),
  tokens: z.int().nonnegative(),
  stepCoverage: z.number().min(0).max(1).optional(),
  promptIds: idList,
  completionIds: idList,
});

/** How rows are made of scored samples. */
export interface RowOptions {
  /** The text of a prompt's ids. */
  readonly promptText: (ids: readonly number[]) => string;
  /** Keeps the token ids in the rows. */
  readonly keepIds?: boolean;
}

/** The rows of one problem's samples, in order. */
export function rowsOf(
  { problem, scored }: ScoredGroup,
  { promptText, keepIds = false }: RowOptions,
): EvaluationRow[] {
  const solution = stepsOf(problem);
  return scored.map(({ rollout, judgement, parts, formatOk }) => ({
    problemId: problem.id,
    sampleIndex: rollout.sampleIndex,
    question: problem.question,
    prompt: promptText(rollout.promptIds),
    completion: rollout.text,
    solution: problem.reference,
    answer: judgement.extracted === '' ? null : judgement.extracted,
    reward: rewardOf(judgement.verdict),
    parts,
    verdict: judgement.verdict,
    reason: judgement.reason,
    formatOk,
    stopReason: rollout.stopReason,
    tokens: rollout.completionIds.length,
    ...(solution === null
      ? {}
      : { stepCoverage: stepCoverage(reasoningSteps(rollout.text), solution).coverage }),
    ...(keepIds ? { promptIds: rollout.promptIds, completionIds: rollout.completionIds } : {}),
  }));
}

/** The steps of a problem's worked solution; null where there is none, or no expression in it. */
function stepsOf({ meta }: ScoredGroup['problem']): readonly string[] | null {
  const { solution } = meta;
  const steps = typeof solution === 'string' ? reasoningSteps(reasoningOf(solution)) : [];
  return steps.some((step) => mathExpressions(step).length > 0) ? steps : null;
}

function rewardOf(verdict: Scored['judgement']['verdict']): number | null {
  return verdict === 'unverifiable' ? null : Number(verdict === 'correct');
}

/** Reads rows; a torn last line is left out, any other bad one is an error with file and line. */
export function readRows(path: string): EvaluationRow[] {
  return readJsonl(path, (value) => rowSchema.parse(value));
}

/** Rows gathered by problem, in the order in which problems first appear. */
export function byProblem<T extends { readonly problemId: string }>(rows: readonly T[]): T[][] {
  const groups = new Map<string, T[]>();
  for (const row of rows) {
    const group = groups.get(row.problemId);
    if (group === undefined) groups.set(row.problemId, [row]);
    else group.push(row);
  }
  return [...groups.values()];
}
