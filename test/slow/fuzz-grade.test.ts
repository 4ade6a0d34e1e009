import { describe, expect, it } from 'vitest';
import { compareAnswerTexts } from '../../src/rewards/grade/answer.ts';
import { PROFILES } from '../../src/rewards/grade/graded.ts';
import { GraderPool } from '../../src/rewards/grade/pool.ts';
import { Rng } from '../../src/util/rng.ts';
import { casesOf } from '../null/rewards-cases.ts';

const scale = Number(process.env['RECKON_SLOW_SCALE'] ?? 1);
const inputs = Math.ceil(20_000 * scale);
const expressions = Math.ceil(200 * scale);

/** Pieces that graders have choked on. */
const PIECES = [
  '\\frac{',
  '}{',
  '}',
  '{',
  '\\boxed{',
  '\\left(',
  '\\right)',
  '$',
  '$$',
  '\\(',
  '\\)',
  '^',
  '_',
  '^{',
  '!',
  '!!',
  '9^9^9',
  '10^{10^{10}}',
  '\\sqrt[',
  ']',
  '[',
  '(',
  ')',
  '\\text{ and }',
  ' or ',
  ',',
  '\\,',
  '1,000',
  '0.5',
  '-',
  '+',
  '\\pm',
  '\\cdot',
  '/',
  '=',
  '<',
  '\\le',
  '\\infty',
  '\\cup',
  '|',
  '\\begin{pmatrix}',
  '\\\\',
  '&',
  '\\end{pmatrix}',
  '####',
  '<answer>',
  '</answer>',
  '</think>',
  'the answer is ',
  '%',
  '\\%',
  '^\\circ',
  'x',
  'y',
  'sin',
  '\\sin',
  '\\log_',
  '\\sum_{i=1}^{9}',
  '\\binom{5}{2}',
  '\u0000',
  '\ud83d',
  '答案是',
  '½',
  ' ',
  '\n',
  '7',
  '12345678901234567890',
  '\\int',
  '\\lim_{x\\to0}',
  '\\lfloor',
  '\\rfloor',
  '__import__',
  '\t',
  '\f',
  '1e999',
  '0',
  '\\div',
  ':',
];

describe('graders under random and mutated input', () => {
  it(`${inputs} inputs: no thread dies, no row outlasts its deadline`, async () => {
    const seeds = casesOf('equiv')
      .flatMap(({ prediction, reference }) => [prediction, reference])
      .filter((text) => typeof text === 'string') as string[];
    const pool = new GraderPool({ workers: 2, deadline: 20_000 });
    const reasons = new Map<string, number>();
    const culprits: string[] = [];
    for (let done = 0; done < inputs; done += 500) {
      const texts = Array.from({ length: Math.min(500, inputs - done) }, (_, i) =>
        randomText(done + i, seeds),
      );
      const graded = await Promise.all(
        texts.map((prediction, i) => {
          const reference = i % 2 === 0 ? seeds[(done + i) % seeds.length]! : texts[(i + 1) % texts.length]!;
          return pool.grade({
            prediction,
            references: [reference],
            options: {
              profile: PROFILES[i % PROFILES.length]!,
              extract: i % 3 === 0 ? 'none' : 'prediction',
            },
          });
        }),
      );
      for (const [i, { reason }] of graded.entries()) {
        reasons.set(reason, (reasons.get(reason) ?? 0) + 1);
        if (reason === 'timeout' || reason === 'worker-died') culprits.push(JSON.stringify(texts[i]));
      }
    }
    await pool.close();
    expect(culprits.slice(0, 5)).toEqual([]);
    expect(reasons.size).toBeGreaterThan(5);
  }, 900_000);

  it(`${expressions} random expressions: what exact algebra calls equal, a computer algebra system does too`, async () => {
    const { ComputeEngine } = await import('@cortex-js/compute-engine');
    const engine = new ComputeEngine();
    let equal = 0;
    for (let i = 0; i < expressions; i++) {
      const rng = new Rng({ seed: i, purpose: 'oracle' });
      const [a, b] = [expression(rng, 3), expression(rng, 2)];
      // Every second pair is one expression and its expansion by the other system.
      const other = i % 2 === 0 ? engine.box(['Expand', engine.parse(a).json]).evaluate().latex : b;
      const ours = compareAnswerTexts(a, other);
      const difference = engine
        .box(['Expand', ['Subtract', engine.parse(a).json, engine.parse(other).json]])
        .evaluate();
      if (ours.equal === true && ours.reason !== 'rounded') {
        equal++;
        expect(difference.simplify().is(0), `${a} | ${other} | ${difference.latex}`).toBe(true);
      } else expect(difference.is(0), `${a} | ${other}`).toBe(false);
    }
    expect(equal).toBeGreaterThan(expressions / 4);
  }, 600_000);
});

function randomText(index: number, seeds: readonly string[]): string {
  const rng = new Rng({ seed: index, purpose: 'fuzz' });
  if (rng.uniform() < 0.4)
    return Array.from({ length: 1 + rng.integer(40) }, () => PIECES[rng.integer(PIECES.length)]!).join('');
  let text = seeds[rng.integer(seeds.length)]!.slice(-2000);
  for (let i = 1 + rng.integer(4); i > 0; i--) {
    const at = rng.integer(text.length + 1);
    const piece = PIECES[rng.integer(PIECES.length)]!;
    const cut = rng.integer(3) === 0 ? rng.integer(12) : 0;
    text = text.slice(0, at) + piece.repeat(rng.integer(20) === 0 ? 200 : 1) + text.slice(at + cut);
  }
  return text;
}

/** Sums, products and small powers of letters and whole numbers. */
function expression(rng: Rng, depth: number): string {
  if (depth === 0 || rng.uniform() < 0.2) return ['x', 'y', String(1 + rng.integer(9))][rng.integer(3)]!;
  const [left, right] = [expression(rng, depth - 1), expression(rng, depth - 1)];
  switch (rng.integer(4)) {
    case 0:
      return `(${left}+${right})`;
    case 1:
      return `(${left}-${right})`;
    case 2:
      return `(${left})\\cdot(${right})`;
    default:
      return `(${left})^{${2 + rng.integer(2)}}`;
  }
}
