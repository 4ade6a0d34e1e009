/** Owns the fuzzing of what reads a model's text: verifier, grammar and process check on random and mutated traces. */

import { expect, it } from 'vitest';
import { game24Problems, numbersOf, shuffledNumbers } from '../../src/data/game24.ts';
import { alphabet, parseTrace, writeTrace } from '../../src/data/game24-traces.ts';
import { checkProcess } from '../../src/rewards/game24-process.ts';
import { evaluate, judgeGame24, numbersIn, parseExpression } from '../../src/rewards/index.ts';
import { equal, fraction } from '../../src/util/fraction.ts';
import { Rng } from '../../src/util/rng.ts';
import { leastMs } from '../null/timing.ts';

const cases = Math.ceil(20_000 * Number(process.env['RECKON_SLOW_SCALE'] ?? 1));

it(`${cases} mutated traces: never a crash, never slow, and what is called correct is`, async () => {
  const problems = game24Problems();
  const rng = new Rng({ seed: 24, purpose: 'fuzz' });
  let correct = 0;
  let slowest = 0;
  for (let i = 0; i < cases; i++) {
    const problem = rng.pick(problems);
    const text = mutated(writeTrace(shuffledNumbers(problem, rng), rng), rng);
    const strict = rng.uniform() < 0.5;
    let right: string | null = null;
    const took = await leastMs(100, () => {
      const { answer } = parseTrace(text);
      checkProcess(numbersOf(problem), text, strict);
      const judgement = answer === null ? null : judgeGame24(numbersOf(problem), answer);
      right = judgement?.verdict === 'correct' ? answer : null;
    });
    slowest = Math.max(slowest, took);
    if (right === null) continue;
    correct++;
    const parsed = parseExpression(right);
    if (!parsed.ok) throw new Error(`called correct, but does not parse: ${right}`);
    expect([...numbersIn(parsed.expression)].map(Number).sort()).toEqual([...numbersOf(problem)].sort());
    expect(equal(evaluate(parsed.expression)!, fraction(24))).toBe(true);
  }
  expect(correct).toBeGreaterThan(cases / 20);
  expect(correct).toBeLessThan(cases);
  expect(slowest).toBeLessThan(100);
});

/** Up to four characters replaced, removed, doubled or inserted. */
function mutated(text: string, rng: Rng): string {
  let out = text;
  for (let n = rng.integer(5); n > 0; n--) {
    const place = rng.integer(out.length + 1);
    const middle = [rng.pick(alphabet), '', `${out[place] ?? ''}${out[place] ?? ''}`, '9'.repeat(40)][
      rng.integer(4)
    ]!;
    out = out.slice(0, place) + middle + out.slice(place + rng.integer(2));
  }
  return out;
}
