/** Owns the verdict of every profile on one prediction and its references. Knows no worker and no deadline. */

import { compareAnswerTexts, isBareAnswer } from './answer.ts';
import { extractAnswer, MAX_TEXT } from './extract.ts';
import type { Graded, GradeOptions, Profile } from './graded.ts';
import { scoreQuestionOnly, scoreR1Zero } from './profiles/r1-zero.ts';
import {
  equalGsm8k,
  equalHendrycks,
  extractGsm8kFlexible,
  extractGsm8kStrict,
  extractHendrycks,
  extractUnified,
  gradeLikeMathVerify,
  scoreBoxedTag,
} from './profiles/simple.ts';
import type { Comparison } from './scalar.ts';

/** One prediction with the references of which any may be met. */
export interface GradeRow {
  readonly prediction: string;
  readonly references: readonly string[];
  readonly options: GradeOptions;
}

/** The first reference that is met, or the most telling of the failures: unverifiable before incorrect. */
export function judge({ prediction, references, options }: GradeRow): Graded {
  const text = prediction.slice(-MAX_TEXT);
  let worst: Graded | null = null;
  for (const reference of references) {
    const graded = judgeOne(
      options.profile ?? 'default',
      text,
      reference.slice(-MAX_TEXT),
      options.extract ?? 'prediction',
    );
    if (graded.verdict === 'correct') return graded;
    if (worst === null || graded.verdict === 'unverifiable') worst = graded;
  }
  return worst ?? noReference();
}

function noReference(): Graded {
  return {
    verdict: 'unverifiable',
    score: null,
    reason: 'no-reference',
    extracted: null,
    prediction: null,
    reference: null,
  };
}

type Extract = NonNullable<GradeOptions['extract']>;

function judgeOne(profile: Profile, text: string, reference: string, extract: Extract): Graded {
  switch (profile) {
    case 'default':
      return judgeDefault(text, reference, extract);
    case 'r1-zero':
    case 'r1-zero-slow':
      return scored(scoreR1Zero(text, reference, profile === 'r1-zero'));
    case 'question-only':
    case 'question-only-slow':
      return scored(scoreQuestionOnly(text, reference, profile === 'question-only'));
    case 'boxed-tag': {
      const { score, answer } = scoreBoxedTag(text);
      return {
        ...verdictOf(answer, answer === null ? null : compareAnswerTexts(answer, referenceAnswer(reference))),
        score,
      };
    }
    case 'gsm8k-strict':
      return byEquality(extractGsm8kStrict(text), extractGsm8kStrict(reference) ?? reference, equalGsm8k);
    case 'gsm8k-flexible':
      return byEquality(extractGsm8kFlexible(text), extractGsm8kStrict(reference) ?? reference, equalGsm8k);
    case 'hendrycks':
      return byEquality(
        extract === 'none' ? text : extractHendrycks(text),
        extractHendrycks(reference) ?? reference,
        equalHendrycks,
      );
    case 'seed-unified': {
      const answer = extractUnified(text);
      return verdictOf(
        answer,
        answer === null ? null : compareAnswerTexts(answer, extractUnified(reference) ?? reference),
      );
    }
    case 'math-verify': {
      const graded = gradeLikeMathVerify(text, reference);
      return verdictOf(graded.extracted, graded);
    }
  }
}

function judgeDefault(text: string, reference: string, extract: Extract): Graded {
  const answer = extract === 'none' ? text : extractAnswer(text, isBareAnswer);
  const expected = extract === 'both' ? extractAnswer(reference, isBareAnswer) : referenceAnswer(reference);
  if (expected === null || expected.trim() === '') return { ...noReference(), reason: 'empty-reference' };
  return verdictOf(
    answer,
    answer === null || answer.trim() === '' ? null : compareAnswerTexts(answer, expected),
  );
}

/** A reference that holds marks of an answer, or prose around it, is a worked solution; anything else is the answer. */
function referenceAnswer(reference: string): string {
  const marked = /\\boxed|\\fbox|####|<answer>/.test(reference);
  if (!marked && (!/[a-z]{2,}\s/i.test(reference) || isBareAnswer(reference))) return reference;
  return extractAnswer(reference, isBareAnswer) ?? reference;
}

function verdictOf(
  extracted: string | null,
  comparison: (Comparison & { prediction?: string | null; reference?: string | null }) | null,
): Graded {
  if (comparison === null)
    return {
      verdict: 'incorrect',
      score: 0,
      reason: 'no-answer',
      extracted: null,
      prediction: null,
      reference: null,
    };
  const { equal, reason } = comparison;
  return {
    verdict: equal === null ? 'unverifiable' : equal ? 'correct' : 'incorrect',
    score: equal === null ? null : equal ? 1 : 0,
    reason,
    extracted,
    prediction: comparison.prediction ?? null,
    reference: comparison.reference ?? null,
  };
}

function scored({
  format,
  answer,
  extracted,
}: {
  format: 0 | 1;
  answer: 0 | 1;
  extracted: string | null;
}): Graded {
  const reason =
    format === 0 ? 'format' : answer === 1 ? 'correct' : extracted === null ? 'no-answer' : 'different';
  return {
    verdict: answer === 1 ? 'correct' : 'incorrect',
    score: answer,
    reason,
    extracted,
    prediction: extracted,
    reference: null,
  };
}

function byEquality(
  answer: string | null,
  reference: string,
  equal: (a: string, b: string) => boolean,
): Graded {
  if (answer === null) return verdictOf(null, null);
  const same = equal(answer, reference);
  return verdictOf(answer, {
    equal: same,
    reason: same ? 'identical' : 'different',
    prediction: answer,
    reference,
  });
}
