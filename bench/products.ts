/**
 * Owns the measuring of products beside the library's on the same weights: packed bf16 ones, few rows to many, of which there
 * are so many copies that none stays in a cache, as in a model; and those of training, forward and with their gradients.
 */

import {
  backward,
  kernelsServe,
  noGrad,
  op,
  packed,
  packedLinear,
  product,
  scope,
  type Tensor,
} from '../src/torch/index.ts';
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
  return [
    ...noGrad(() => shapes.flatMap(([ins, outs]) => scope(() => shapeOf(ins, outs, repeats)))),
    ...(['bf16', 'f32'] as const).flatMap((dtype) =>
      shapes.flatMap(([ins, outs]) => scope(() => trained(ins, outs, dtype, repeats))),
    ),
  ];
}

/** By turns, after one of each to warm up. */
function byTurns(
  name: string,
  repeats: number,
  ours: () => number,
  theirs: () => number,
): [ours: Measurement, theirs: Measurement] {
  const pairs = Array.from({ length: repeats + 1 }, () => [ours(), theirs()] as const).slice(1);
  const side = (label: string, i: 0 | 1) => {
    const speeds = pairs.map((pair) => pair[i]);
    return summarised(label, speeds, 'GFLOP/s');
  };
  return [side(name, 0), side("  the library's", 1)];
}

/** A product of 2,048 rows and its gradients of inputs and weight. */
function trained(ins: number, outs: number, dtype: 'bf16' | 'f32', repeats: number): Measurement[] {
  const [rows, times] = tiny ? [16, 1] : [2048, 5];
  const random = (shape: number[]) => scope(() => (op('aten::randn')(shape) as Tensor).to(dtype));
  const x = random([rows, ins]).requiresGrad_();
  const weight = random([outs, ins]).requiresGrad_();
  const slope = random([rows, outs]);
  const speed = (way: () => Tensor, passes: 1 | 3) => {
    const started = performance.now();
    for (let i = 0; i < times; i++) {
      scope(() => (passes === 1 ? noGrad(way) : backward(way(), slope)));
      x.grad = null;
      weight.grad = null;
    }
    return (2e-6 * passes * times * rows * ins * outs) / (performance.now() - started);
  };
  return ([1, 3] as const).flatMap((passes) => {
    const name = `${ins} to ${outs}, ${dtype}, rows: ${rows}, ${passes === 1 ? 'forward' : 'with gradients'}`;
    return byTurns(
      name,
      repeats,
      () => speed(() => product(x, weight), passes),
      () => speed(() => x.linear(weight), passes),
    );
  });
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
    const speed = (way: (copy: number) => Tensor) => {
      const started = performance.now();
      for (let i = 0; i < used; i++) scope(() => void way(i));
      return (2e-6 * rows * ins * outs * used) / (performance.now() - started);
    };
    return byTurns(
      `${ins} to ${outs}, rows: ${rows}`,
      repeats,
      () => speed((copy) => packedLinear(x, matrices[copy]!)),
      () => speed((copy) => x.linear(weights[copy]!)),
    );
  });
}
