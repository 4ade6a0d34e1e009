/**
 * Owns sets of answers as they are compared: an evaluation with its rows, or answers exported by reckon or by the scripts of
 * other projects. Samples and grades nothing, but for numbers that an export holds itself.
 */

import { existsSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { completionColumns, referenceColumns } from '../data/columns.ts';
import { ReckonError } from '../util/errors.ts';
import { jsonlLines } from '../util/jsonl.ts';
import { type Evaluation, readEvaluation } from './evaluation.ts';
import { type EvaluationRow, rowSchema } from './rows.ts';

/** One answer with as much as its source tells. */
export interface Answer {
  readonly completion: string;
  readonly correct: boolean;
  /** The source's own word: a verdict, or why. */
  readonly reason: string;
}

/** All answers to one problem. */
export interface ProblemAnswers {
  readonly id: string;
  readonly question: string;
  readonly solution: string | null;
  readonly samples: number;
  readonly correct: number;
  /** Null where the source does not tell. */
  readonly formatOk: number | null;
  readonly meanTokens: number | null;
  /** In order of samples; perhaps only the first. */
  readonly answers: readonly Answer[];
}

/** Answers of one model to many problems. */
export interface AnswerSet {
  readonly name: string;
  readonly problems: readonly ProblemAnswers[];
}

/** An evaluation's answers, from its rows where they lie beside it. */
export function answersOfEvaluation(path: string, name: string): AnswerSet {
  const evaluation = readEvaluation(path);
  const rows = evaluation.rows === undefined ? '' : join(dirname(path), evaluation.rows);
  if (rows !== '' && existsSync(rows)) return readAnswers(rows, name);
  return evaluationAnswers(evaluation, name);
}

/** What an evaluation itself tells of its answers: counts, and the first sample of each problem. */
export function evaluationAnswers(evaluation: Evaluation, name: string): AnswerSet {
  return { name, problems: evaluation.problems.map((problem, i) => ofResult(evaluation, problem, i)) };
}

function ofResult(
  evaluation: Evaluation,
  problem: Evaluation['problems'][number],
  i: number,
): ProblemAnswers {
  const { id, question, samples, correct, formatOk } = problem;
  const transcript = evaluation.transcripts[i];
  const first =
    transcript === undefined
      ? []
      : [
          {
            completion: transcript.completion,
            correct: transcript.verdict === 'correct',
            reason: transcript.reason,
          },
        ];
  return { id, question, solution: null, samples, correct, formatOk, meanTokens: null, answers: first };
}

/** Reads exported answers: see {@link answerOf} for what a line may hold. Throws `no-answers` for an empty file. */
export function readAnswers(path: string, name: string): AnswerSet {
  const problems = new Map<string, ReadAnswer[]>();
  let place = 0;
  for (const { number, value } of jsonlLines(path)) {
    const answer = answerOf(value, place++);
    if (answer === null)
      throw new ReckonError(
        'data',
        'not-an-answer',
        `${path}:${number}: expected an answer with a completion (or response) and a verdict, reward or numbers to compare, found ${Object.keys(Object(value)).join(', ') || typeof value}`,
      );
    const before = problems.get(answer.id);
    if (before === undefined) problems.set(answer.id, [answer]);
    else before.push(answer);
  }
  if (problems.size === 0) throw new ReckonError('data', 'no-answers', `${path} holds no answers`);
  return { name, problems: [...problems.values()].map(gathered) };
}

interface ReadAnswer extends Answer {
  readonly id: string;
  readonly question: string;
  readonly solution: string | null;
  readonly formatOk: boolean | null;
  readonly tokens: number | null;
}

function gathered(answers: readonly ReadAnswer[]): ProblemAnswers {
  const [{ id, question, solution }] = answers as [ReadAnswer];
  const count = (test: (answer: ReadAnswer) => boolean): number => answers.filter(test).length;
  const known = answers.every(({ formatOk }) => formatOk !== null);
  const tokens = answers.map((answer) => answer.tokens);
  return {
    id,
    question,
    solution,
    samples: answers.length,
    correct: count(({ correct }) => correct),
    formatOk: known ? count(({ formatOk }) => formatOk === true) : null,
    meanTokens: tokens.includes(null) ? null : tokens.reduce((sum: number, n) => sum + n!, 0) / tokens.length,
    answers: answers.map(({ completion, correct, reason }) => ({ completion, correct, reason })),
  };
}

type Line = Readonly<Record<string, unknown>>;

/**
 * An answer of a line: a row of `reckon evaluate`; or any object with `completion` or `response`, known by `problemId`, `id` or
 * `index` (else by its question or place), right where `verdict` says so, `correct` is true, `reward` is at least 1, or
 * `answer_num` equals `ground_truth_num` (within 1e-6) or `answer_text` the `ground_truth_text`. Null where it tells neither.
 */
function answerOf(line: unknown, place: number): ReadAnswer | null {
  const row = rowSchema.safeParse(line);
  if (row.success) return ofRow(row.data);
  if (typeof line !== 'object' || line === null) return null;
  const fields = line as Line;
  const completion = text(fields, completionColumns);
  const correct = correctness(fields);
  if (completion === null || correct === null) return null;
  const question = text(fields, ['question', 'prompt', 'problem']) ?? '';
  const id = fields['problemId'] ?? fields['id'] ?? fields['index'] ?? (question === '' ? place : question);
  return {
    id: String(id),
    question,
    solution: text(fields, referenceColumns),
    completion,
    correct,
    reason: text(fields, ['reason', 'verdict', 'error']) ?? (correct ? 'correct' : 'incorrect'),
    formatOk: typeof fields['formatOk'] === 'boolean' ? fields['formatOk'] : null,
    tokens: typeof fields['tokens'] === 'number' ? fields['tokens'] : null,
  };
}

function ofRow(row: EvaluationRow): ReadAnswer {
  const { problemId: id, question, solution, completion, verdict, reason, formatOk, tokens } = row;
  return { id, question, solution, completion, correct: verdict === 'correct', reason, formatOk, tokens };
}

function correctness(fields: Line): boolean | null {
  const { verdict, correct, reward, answer_num: found, ground_truth_num: wanted } = fields;
  if (typeof verdict === 'string') return verdict === 'correct';
  if (typeof correct === 'boolean') return correct;
  if (typeof found === 'number' && typeof wanted === 'number') return Math.abs(found - wanted) < 1e-6;
  const [said, truth] = [text(fields, ['answer_text']), text(fields, ['ground_truth_text'])];
  if (said !== null && truth !== null) return said.trim().toLowerCase() === truth.trim().toLowerCase();
  return typeof reward === 'number' ? reward >= 1 : null;
}

function text(fields: Line, names: readonly string[]): string | null {
  const found = names.map((name) => fields[name]).find((value) => typeof value === 'string');
  return typeof found === 'string' ? found : null;
}
