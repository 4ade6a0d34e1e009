/** Owns the Task of problems whose answers are compared with a reference. Extracts and compares nothing itself. */

import type { Problem } from '../../data/problem.ts';
import { workedSolution } from '../../data/solutions.ts';
import type { PromptTemplate } from '../../prompts/index.ts';
import { ReckonError } from '../../util/errors.ts';
import type { Judgement } from '../reward.ts';
import type { Demonstration, Judged, Splits, Task } from '../task.ts';

/** Judges a completion of a problem: the one door to graders. */
export type Judge = (completion: string, problem: Problem) => Judgement | Promise<Judgement>;

/** What makes such a task. */
export interface AnswerTaskParts {
  readonly name: string;
  readonly splits: Splits;
  readonly template: PromptTemplate;
  readonly judge: Judge;
  /** Keeps GSM8K's `<<48/2=24>>` in demonstrations. */
  readonly calculator?: boolean;
  readonly notes?: readonly string[];
  /** The completion that demonstrates a problem, where it is not made of its worked solution. */
  readonly demonstration?: (problem: Problem) => string;
}

/** Verdicts of this many completions are remembered, because a reward and the evaluation ask for the same one. */
const REMEMBERED = 4096;

/** Problems posed by a template, demonstrated by their worked solutions and judged by a grader. */
export function answerTask(parts: AnswerTaskParts): Task {
  const { name, splits, template, calculator = false, notes = [] } = parts;
  const judge = remembering(parts.judge);
  const demonstrate = (problem: Problem): Demonstration => {
    if (parts.demonstration !== undefined)
      return { prompt: template.prompt(problem.question), completion: parts.demonstration(problem) };
    if (problem.reference === '') throw noAnswer(problem);
    return {
      prompt: template.prompt(problem.question),
      completion: template.completion(workedSolution(problem, calculator)),
    };
  };
  let alphabet: readonly string[] | undefined;
  return {
    name,
    splits,
    notes,
    stop: template.stop,
    get alphabet() {
      alphabet ??= charactersOf(
        Object.values(splits)
          .flat()
          .flatMap((problem: Problem) =>
            problem.reference === '' && parts.demonstration === undefined
              ? [template.prompt(problem.question), OPERATORS]
              : Object.values(demonstrate(problem)),
          ),
      );
      return alphabet;
    },
    prompt: (problem) => template.prompt(problem.question),
    demonstrate,
    judge: (problem, completion) => {
      const formatOk = template.keepsFormat(completion);
      const judgement = judge(completion, problem);
      return judgement instanceof Promise
        ? judgement.then((known): Judged => ({ judgement: known, formatOk }))
        : { judgement, formatOk };
    },
    rewards: {
      correct: ({ problem, rollout }) => {
        const judgement = judge(rollout.text, problem);
        return judgement instanceof Promise ? judgement.then(correctness) : correctness(judgement);
      },
      format: ({ rollout }) => Number(template.keepsFormat(rollout.text)),
    },
  };
}

function correctness({ verdict }: Judgement): number | null {
  return verdict === 'unverifiable' ? null : Number(verdict === 'correct');
}

function remembering(judge: Judge): Judge {
  const known = new Map<string, Judgement | Promise<Judgement>>();
  return (completion, problem) => {
    const key = `${problem.id}\u0000${completion}`;
    const before = known.get(key);
    if (before !== undefined) return before;
    if (known.size >= REMEMBERED) known.clear();
    const judgement = judge(completion, problem);
    known.set(key, judgement);
    if (judgement instanceof Promise) {
      return judgement.then((found) => {
        known.set(key, found);
        return found;
      });
    }
    return judgement;
  };
}

function noAnswer({ id }: Problem): ReckonError {
  const message = `${id} has no known answer, so it cannot be demonstrated; give the data answers, or only reward completions`;
  return new ReckonError('data', 'no-answer', message);
}

/** What an answer may be written in where none is known. */
const OPERATORS = '0123456789 +-*/()';

/** Every character of the texts, in code point order. */
function charactersOf(texts: readonly string[]): string[] {
  const characters = new Set<string>();
  for (const text of texts) for (const character of text) characters.add(character);
  return [...characters].sort();
}
