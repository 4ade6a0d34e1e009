/** Terms of tokens from logits as they come: the draw's own bits, and gradients no further from f32 than libtorch's. */

import { beforeEach, describe, expect, it } from 'vitest';
import { sampleTokens } from '../../src/generate/sampler.ts';
import { termsOfLogits } from '../../src/losses/index.ts';
import {
  backward,
  type DType,
  fromBytes,
  ids,
  manualSeed,
  noGrad,
  scope,
  setThreads,
  type Tensor,
  threads,
  tokenSlopes,
  tokenTerms,
} from '../../src/torch/index.ts';
import { at, levels, levelsAndDtypes, randn, sameBits, withLevel } from './levels.ts';
import { assertNoLeaks, largestDifference } from './tiny.ts';

assertNoLeaks();
beforeEach(() => manualSeed(6));

const [count, vocabulary] = [13, 301];
const logitsOf = (dtype: DType) => scope(() => randn([count, vocabulary], 'f32').mul(4).to(dtype));
const targets = () => ids(Array.from({ length: count }, (_, i) => (i * 89) % vocabulary));

/** Terms and the gradient of the logits for given gradients of the terms; null where a term is not used. */
function ways(
  logits: Tensor,
  termsOf: (logits: Tensor) => { logps_N: Tensor; entropies_N: Tensor },
  slopes: { logps: Tensor | null; entropies: Tensor | null },
): { logps: Float32Array; entropies: Float32Array; gradient: Float32Array } {
  return scope(() => {
    const leaf = logits.detach().clone().requiresGrad_();
    const { logps_N, entropies_N } = termsOf(leaf);
    const parts = [slopes.logps?.mul(logps_N), slopes.entropies?.mul(entropies_N)].flatMap((part) =>
      part ? [part.sum()] : [],
    );
    backward(parts.reduce((a, b) => a.add(b)));
    using gradient = leaf.grad!;
    leaf.grad = null;
    return {
      logps: logps_N.toFloat32(),
      entropies: entropies_N.toFloat32(),
      gradient: gradient.toFloat32(),
    };
  });
}

describe.each(levelsAndDtypes)('terms of tokens, %s %s', (level, dtype) => {
  it.each([1, 0.7])('have the bits that the draw gave them at temperature %d', (temperature) => {
    using logits = logitsOf(dtype);
    const uniforms = Float32Array.from({ length: count }, (_, i) => (i + 0.5) / count);
    const parameters = { temperature, topP: 1 };
    const drawn = at(level, () => sampleTokens(logits, uniforms, parameters));
    const told = at(level, () => sampleTokens(logits, uniforms, parameters, { alternatives: 0 }));
    for (const number of [1, 3]) {
      const before = threads();
      setThreads(number);
      const [logps, entropies] = at(level, () => {
        const terms = tokenTerms(logits, ids([...drawn.ids]), temperature);
        return [terms.logps_N.toFloat32(), terms.entropies_N.toFloat32()] as const;
      });
      setThreads(before);
      expect(sameBits(logps, drawn.logps)).toBe(true);
      expect(sameBits(entropies, told.statistics!.entropies)).toBe(true);
    }
  });

  it.each([
    ['log-probabilities', true, false],
    ['entropies', false, true],
    ['both', true, true],
  ])('have the gradient of %s', (_name, byLogps, byEntropies) => {
    using logits = logitsOf(dtype);
    scope(() => {
      const temperature = 1.3;
      const slopes = {
        logps: byLogps ? randn([count], 'f32') : null,
        entropies: byEntropies ? randn([count], 'f32') : null,
      };
      const exact = ways(logits.to('f32'), (x) => termsOfLogits(x.div(temperature), targets()), slopes);
      const own = withLevel(level, () => ways(logits, (x) => tokenTerms(x, targets(), temperature), slopes));
      expect(largestDifference(own.logps, exact.logps)).toBeLessThan(1e-5);
      expect(largestDifference(own.entropies, exact.entropies)).toBeLessThan(1e-5);
      const largest = exact.gradient.reduce((most, value) => Math.max(most, Math.abs(value)), 0);
      // In bf16 rounded once, to eight bits.
      expect(largestDifference(own.gradient, exact.gradient)).toBeLessThan(
        largest * (dtype === 'f32' ? 2e-6 : 2 ** -8),
      );
      const inPlace = at(level, () => {
        const terms = tokenTerms(logits, targets(), temperature);
        const asked = { logps_N: slopes.logps, entropies_N: slopes.entropies };
        return tokenSlopes(logits.clone(), targets(), temperature, terms, asked).toFloat32();
      });
      expect(sameBits(inPlace, own.gradient)).toBe(true);
    });
  });

  it('show a number that is none, in its own row alone', () => {
    scope(() => {
      const values = logitsOf('f32').toFloat32();
      values[2 * vocabulary + 7] = Number.NaN;
      values[4 * vocabulary + 300] = Number.NaN;
      values[5 * vocabulary] = Number.NEGATIVE_INFINITY;
      const logits = fromBytes(values, 'f32', [count, vocabulary]).to(dtype);
      const slopes = { logps: fromBytes(new Float32Array(count).fill(1), 'f32', [count]), entropies: null };
      const { logps, gradient } = withLevel(level, () =>
        ways(logits, (x) => tokenTerms(x, targets(), 1), slopes),
      );
      const isBroken = (i: number) => i === 2 || i === 4;
      for (let i = 0; i < count; i++) {
        expect(Number.isNaN(logps[i])).toBe(isBroken(i));
        const row = gradient.subarray(i * vocabulary, (i + 1) * vocabulary);
        expect(row.some(Number.isNaN)).toBe(isBroken(i));
      }
    });
  });
});

describe('terms of tokens', () => {
  const refused = (call: (logits: Tensor) => unknown) => () =>
    withLevel(levels.at(-1)!, () => noGrad(() => scope(() => call(logitsOf('f32')))));

  it.each([
    [(x: Tensor) => tokenTerms(x, ids(new Array<number>(count).fill(vocabulary)), 1), /none of 301 ids/],
    [(x: Tensor) => tokenTerms(x, ids([-1]), 1), /a whole number for each of 13 rows/],
    [(x: Tensor) => tokenTerms(x, targets(), 0), /temperature must be above 0/],
    [(x: Tensor) => tokenTerms(x.narrow(1, 0, 3), targets(), 1), /none of 3 ids/],
  ])('refuse what does not fit: %s', (call, message) => {
    expect(refused(call)).toThrow(message);
  });
});
