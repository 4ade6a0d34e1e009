/**
 * Owns how near a predicted answer is to the reference by the measures of "Intrinsic reward distillation": exact match,
 * numerical accuracy, partial correctness. They are kept for comparison with published numbers; verdicts come from graders.
 */

import { mean } from '../util/statistics.ts';

/** Whether two answers are the same text, but for the case of letters and space around them. */
export function exactMatch(prediction: string, reference: string): boolean {
  return prediction.trim().toLowerCase() === reference.trim().toLowerCase();
}

/** Whether the last numbers of both texts differ by less than the tolerance; false where one has none. */
export function numericalMatch(prediction: string, reference: string, tolerance = 1e-6): boolean {
  const [found, wanted] = [lastNumber(prediction), lastNumber(reference)];
  return found !== null && wanted !== null && Math.abs(found - wanted) < tolerance;
}

/**
 * The last number of a text, or null. A comma that groups thousands is part of its number, which the published measure
 * reads as two numbers: 93 answers of GSM8K have one.
 */
export function lastNumber(text: string): number | null {
  const found = text.match(NUMBER)?.at(-1);
  return found === undefined ? null : Number(found.replaceAll(',', ''));
}

const NUMBER = /-?(?:\d{1,3}(?:,\d{3})+(?!\d)|\d+)(?:\.\d+)?/g;

const STEPS: readonly (readonly [below: number, score: number])[] = [
  [1e-4, 1],
  [0.01, 0.9],
  [0.05, 0.7],
  [0.1, 0.5],
  [0.5, 0.2],
];

/**
 * 1, 0.9, 0.7, 0.5, 0.2 or 0 by the relative error below 0.01 %, 1 %, 5 %, 10 %, 50 % or above; the absolute error where the
 * reference is 0; 0 without a prediction.
 */
export function partialCorrectness(prediction: number | null, reference: number): number {
  if (prediction === null) return 0;
  const size = Math.abs(reference);
  const error = Math.abs(prediction - reference) / (size < 1e-10 ? 1 : size);
  return STEPS.find(([below]) => error < below)?.[1] ?? 0;
}

/** The three measures over many answers, as shares; `partialCorrectness` only where every reference has a number. */
export interface AnswerAccuracy {
  readonly exactMatch: number;
  readonly numericalAccuracy: number;
  readonly partialCorrectness: number | null;
}

/** The measures of predicted answers against references; null predictions match nothing. NaN for an empty list. */
export function answerAccuracy(
  answers: readonly { readonly prediction: string | null; readonly reference: string }[],
): AnswerAccuracy {
  const references = answers.map(({ reference }) => lastNumber(reference));
  const share = (match: (prediction: string, reference: string) => boolean): number =>
    mean(
      answers.map(({ prediction, reference }) => Number(prediction !== null && match(prediction, reference))),
    );
  const partial = answers.map(({ prediction }, i) =>
    partialCorrectness(prediction === null ? null : lastNumber(prediction), references[i] ?? Number.NaN),
  );
  return {
    exactMatch: share(exactMatch),
    numericalAccuracy: share(numericalMatch),
    partialCorrectness: references.includes(null) ? null : mean(partial),
  };
}

/** What the composite score is made of; what was not measured is left out and the weights of the rest grow. */
export interface CompositeParts {
  readonly numericalAccuracy: number;
  readonly cosineSimilarity?: number | undefined;
  readonly trainingStability?: number | undefined;
}

/** 0.4 numerical accuracy + 0.3 cosine similarity to the teacher + 0.3 training stability, over the weights present. */
export function compositeScore({
  numericalAccuracy,
  cosineSimilarity,
  trainingStability,
}: CompositeParts): number {
  const parts = [
    [0.4, numericalAccuracy],
    [0.3, cosineSimilarity],
    [0.3, trainingStability],
  ] as const;
  const known = parts.filter((part): part is [0.4 | 0.3, number] => part[1] !== undefined);
  const weight = known.reduce((sum, [each]) => sum + each, 0);
  return known.reduce((sum, [each, value]) => sum + each * value, 0) / weight;
}
