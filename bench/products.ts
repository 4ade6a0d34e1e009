/**
 * Owns the measuring of products with packed bf16 weights, few rows to many, beside the library's on the same weights. There
 * are so many copies of a weight that none stays in a cache, as in a model.
 */

import { kernelsServe, noGrad, op, packed, packedLinear, scope, type Tensor } from '../src/torch/index.ts';
import { type Measurement, summarised } from './measure.ts';

const tiny = process.env['RECKON_BENCH_TINY'] === '1';
/** Those of the 0.5 B shape: queries, keys and values; gate and up; down. */
const shapes = tiny
  ? ([[64, 64]] as const)
  : ([
      [896, 1152],
      [896, 9728],
      [4864, 896],
    ] as const);
const rowCounts = tiny ? [1, 16] : [1, 16, 64, 2048];
const weightBytes = tiny ? 1 << 16 : 200e6;

/** GFLOP/s of both, by turns; of one row it is nearly the GB/s in which weights pass. */
export function benchProducts(repeats: number): Measurement[] {
  return noGrad(() => shapes.flatMap(([ins, outs]) => scope(() => shapeOf(ins, outs, repeats))));
}

function shapeOf(ins: number, outs: number, repeats: number): Measurement[] {
  const random = (shape: number[]) => scope(() => (op('aten::randn')(shape) as Tensor).to('bf16'));
  const copies = Math.max(1, Math.ceil(weightBytes / (2 * ins * outs)));
  const weights = Array.from({ length: copies }, () => random([outs, ins]));
  if (!kernelsServe(weights[0]!)) return [];
  const matrices = weights.map((weight) => packed(weight, 'bf16'));
  return rowCounts.flatMap((rows) => {
    const x = random([rows, ins]);
    const used = rows > 64 ? Math.min(copies, 4) : copies;
    const speed = (product: (copy: number) => Tensor) => {
      const started = performance.now();
      for (let i = 0; i < used; i++) scope(() => void product(i));
      return (2e-6 * rows * ins * outs * used) / (performance.now() - started);
    };
    const ours: number[] = [];
    const theirs: number[] = [];
    for (let i = 0; i <= repeats; i++) {
      const pair = [
        speed((copy) => packedLinear(x, matrices[copy]!)),
        speed((copy) => x.linear(weights[copy]!)),
      ] as const;
      if (i === 0) continue;
      ours.push(pair[0]);
      theirs.push(pair[1]);
    }
    return [
      summarised(`${ins} to ${outs}, rows: ${rows}`, ours, 'GFLOP/s'),
      summarised("  the library's", theirs, 'GFLOP/s'),
    ];
  });
}
