/** Owns the timing of graders through the public `grade()`: numeric verdicts inline, symbolic ones through a thread. */

import { closeGraders, grade } from '../src/rewards/grade/grade.ts';
import { type Measurement, summarised } from './measure.ts';

const NUMERIC = 20_000;
const SYMBOLIC = 600;

/** Pairs as they come from MATH: half of them equal. Each row gets its own numbers, so that nothing is remembered. */
const PAIRS: readonly (readonly [string, string])[] = [
  ['\\frac{\\sqrt{#}}{2}', '\\frac{1}{2}\\sqrt{#}'],
  ['(x+#)^2', 'x^2+2\\cdot # x+#^2'],
  ['x \\in [#,\\infty)', 'x \\ge #'],
  ['\\begin{pmatrix}#\\\\2\\end{pmatrix}', '\\begin{pmatrix}#\\\\3\\end{pmatrix}'],
  ['\\left(\\frac{#}{3},\\frac{8}{3}\\right]', '(\\frac{#}{3},\\frac{8}{3})'],
  ['#\\pi + 3', '3 + # \\pi'],
  ['\\frac{1}{#+\\sqrt2}', '\\frac{#-\\sqrt2}{#^2-2}'],
  ['\\sin(#) + x', 'x + \\cos(#)'],
];

/** Verdicts a second, and the share of symbolic rows that took longer than 100 ms. */
export async function benchGrade(repeats: number): Promise<Measurement[]> {
  const numeric: number[] = [];
  const symbolic: number[] = [];
  const latencies: number[] = [];
  await grade('\\boxed{x}', 'y');
  for (let repeat = 0; repeat < repeats; repeat++) {
    numeric.push(await numericRate(repeat));
    symbolic.push(await symbolicRate(repeat, latencies));
  }
  await closeGraders();
  const late = latencies.filter((ms) => ms > 100).length / latencies.length;
  return [
    summarised('grade, numeric', numeric, 'verdicts/s', '50000'),
    summarised('grade, symbolic', symbolic, 'verdicts/s', '300'),
    summarised('grade, symbolic rows over 100 ms', [100 * late], '%', '0.1'),
  ];
}

async function numericRate(repeat: number): Promise<number> {
  const rows = Array.from({ length: NUMERIC }, (_, i) => {
    const value = (i * 37 + repeat) % 9973;
    return [
      `He has ${i} apples and sells ${repeat} of them.\n#### ${value.toLocaleString('en-US')}`,
      String(value),
    ] as const;
  });
  const started = performance.now();
  for (const [prediction, reference] of rows) {
    const graded = await grade(prediction, reference);
    if (graded.verdict !== 'correct') throw new Error(`expected a correct verdict, found ${graded.reason}`);
  }
  return (1000 * rows.length) / (performance.now() - started);
}

/** One row after the other: what a single verdict takes is what is timed. */
async function symbolicRate(repeat: number, latencies: number[]): Promise<number> {
  const started = performance.now();
  for (let i = 0; i < SYMBOLIC; i++) {
    const number = String(2 + i + repeat * SYMBOLIC);
    const [prediction, reference] = PAIRS[i % PAIRS.length]!;
    const before = performance.now();
    await grade(`so \\boxed{${prediction.replaceAll('#', number)}}`, reference.replaceAll('#', number));
    latencies.push(performance.now() - before);
  }
  return (1000 * SYMBOLIC) / (performance.now() - started);
}
