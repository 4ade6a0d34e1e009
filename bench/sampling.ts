/**
 * Owns the measuring of a draw from 16 rows of 151,936 logits: plain, and with each filter by the kernel and by libtorch's
 * operators, which sort.
 */

import { type SamplingParameters, sampleTokens, uniformOf } from '../src/generate/index.ts';
import { kernelLevel, noGrad, op, scope, type Tensor, useKernels } from '../src/torch/index.ts';
import { type Measurement, summarised } from './measure.ts';

const tiny = process.env['RECKON_BENCH_TINY'] === '1';
const shape = tiny ? [2, 4096] : [16, 151_936];

const draws: readonly (readonly [string, SamplingParameters, number?])[] = [
  ['plain', { temperature: 1, topP: 1 }],
  ['top-k 50', { temperature: 1, topP: 1, topK: 50 }],
  ['top-p 0.9', { temperature: 1, topP: 0.9 }],
  ['top-k 20, top-p 0.95, min-p 0.05', { temperature: 0.7, topP: 0.95, topK: 20, minP: 0.05 }],
  ['plain, with 5 alternatives', { temperature: 1, topP: 1 }, 5],
];

/** Milliseconds a draw of all rows, by the kernel in use and by its slow twin, by turns. */
export function benchSampling(repeats: number): Measurement[] {
  const usual = kernelLevel();
  const [rows, vocabulary] = shape as [number, number];
  const uniforms = Float32Array.from({ length: rows }, (_, i) => uniformOf(i * 0x0fff_ffff));
  const logits = scope(() => (op('aten::randn')([rows, vocabulary]) as Tensor).mul(3).to('bf16')).keep();
  const timed = (level: string, parameters: SamplingParameters, alternatives: number | undefined) => {
    useKernels(level);
    const started = performance.now();
    noGrad(() =>
      scope(() => {
        sampleTokens(logits, uniforms, parameters, { alternatives });
      }),
    );
    return performance.now() - started;
  };
  const measured = draws.flatMap(([name, parameters, alternatives]) => {
    const levels = usual === 'none' ? ['none'] : [usual, 'none'];
    const times = levels.map((): number[] => []);
    for (let i = 0; i <= repeats; i++)
      for (const [k, level] of levels.entries()) {
        const time = timed(level, parameters, alternatives);
        if (i > 0) times[k]!.push(time);
      }
    return levels.map((level, k) =>
      summarised(
        `${level === 'none' ? "  libtorch's operators" : `draw of ${rows}: ${name}`}`,
        times[k]!,
        'ms',
      ),
    );
  });
  useKernels(usual);
  logits.dispose();
  return measured;
}
