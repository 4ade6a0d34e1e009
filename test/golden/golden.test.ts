/**
 * Owns the comparison with the Python reference stack: every case below GOLDEN_DIR (by default the few beside this
 * file) whose kind is known. The cases were made for this project with torch 2.13, transformers 5.18 and TRL 1.13.
 */

import { describe, expect, it } from 'vitest';
import { liveTensors } from '../../src/torch/index.ts';
import { compared, findCases, type Handlers, tensorsOf } from './case.ts';
import { distillationHandlers } from './distillation-handlers.ts';
import { intrinsicHandlers } from './intrinsic-handlers.ts';
import { loraHandlers } from './lora-handlers.ts';
import { modelHandlers } from './model-handlers.ts';
import { optimHandlers } from './optim-handlers.ts';
import { Parity } from './parity.ts';
import { policyHandlers } from './policy-handlers.ts';
import { ppoHandlers } from './ppo-handlers.ts';
import { preferenceHandlers } from './preference-handlers.ts';
import { rlHandlers } from './rl-handlers.ts';
import { samplingHandlers } from './sampling-handlers.ts';
import { sftHandlers } from './sft-handlers.ts';
import { stepHandlers } from './step-handlers.ts';
import { tokenizerHandlers } from './tokenizer-handlers.ts';
import { trainHandlers } from './train-handlers.ts';

const handlers: Handlers = {
  ...distillationHandlers,
  ...intrinsicHandlers,
  ...loraHandlers,
  ...modelHandlers,
  ...optimHandlers,
  ...policyHandlers,
  ...ppoHandlers,
  ...preferenceHandlers,
  ...rlHandlers,
  ...samplingHandlers,
  ...sftHandlers,
  ...stepHandlers,
  ...tokenizerHandlers,
  ...trainHandlers,
};
const found = findCases();
const skipped = new Map<string, number>();
const parity = new Parity();

function skip(reason: string): void {
  skipped.set(reason, (skipped.get(reason) ?? 0) + 1);
}

describe.skipIf(found.length === 0)('golden cases', () => {
  it.each(found.filter((one) => handlers[one.kind]).map((one) => [one.id, one] as const))(
    '%s',
    async (id, one) => {
      const before = liveTensors();
      const inputs = tensorsOf(id, 'inputs');
      const expected = tensorsOf(id, 'expected');
      const got = await handlers[one.kind]!(one, inputs);
      if (typeof got === 'string') skip(`${one.kind}: ${got}`);
      else {
        const comparison = compared(one, got, inputs, expected);
        expect(comparison.count).toBeGreaterThan(0);
        parity.add(one.kind, comparison);
      }
      for (const value of [...inputs.values(), ...expected.values()]) value.dispose();
      expect(liveTensors()).toBe(before);
    },
  );

  it('says what it left out', () => {
    for (const one of found) if (!handlers[one.kind]) skip(`${one.kind}: not built yet`);
    const total = [...skipped.values()].reduce((a, b) => a + b, 0);
    process.stdout.write(`golden: ${found.length - total} of ${found.length} cases compared\n`);
    for (const [reason, count] of skipped) process.stdout.write(`golden: skipped ${count} x ${reason}\n`);
    expect(found.length).toBeGreaterThan(total);
    const path = process.env['RECKON_PARITY'];
    if (path !== undefined) parity.write(path);
  });
});
