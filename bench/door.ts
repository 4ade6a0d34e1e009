/** Owns the measuring of the operator door: what one call costs from TypeScript. */

import { op, scope, type Tensor, tensor } from '../src/torch/index.ts';
import { type Measurement, summarised } from './measure.ts';

const callsPerScope = 100;
const scopes = 2000;

/** `add` on four floats through the typed method and through the generic `op`, scope included. */
export function benchDoor(repeats: number): Measurement[] {
  const a = tensor([1, 2, 3, 4]);
  const b = tensor([1, 2, 3, 4]);
  const generic = op('aten::add', 'Tensor') as (x: Tensor, y: Tensor) => unknown;
  const rows = [
    timed('door: add, typed', () => a.add(b), repeats, 'under 1.5'),
    timed('door: add, generic op()', () => generic(a, b), repeats),
  ];
  a.dispose();
  b.dispose();
  return rows;
}

function timed(name: string, call: () => unknown, repeats: number, aim?: string): Measurement {
  const run = () => {
    const started = performance.now();
    for (let i = 0; i < scopes; i++) {
      scope(() => {
        for (let j = 0; j < callsPerScope; j++) call();
      });
    }
    return ((performance.now() - started) * 1000) / (scopes * callsPerScope);
  };
  run();
  return summarised(name, Array.from({ length: repeats }, run), 'us', aim);
}
