import { describe, expect, it } from 'vitest';
import {
  AdamW,
  clipGradNorm,
  decaysByDefault,
  learningRateAt,
  scheduleFactor,
} from '../../src/optim/index.ts';
import { scope, tensor, zeros } from '../../src/torch/index.ts';
import { Rng } from '../../src/util/rng.ts';
import { assertNoLeaks, largestDifference } from './tiny.ts';

assertNoLeaks();

const rng = new Rng({ seed: 4, purpose: 'test' });
const draw = (n: number) => Array.from({ length: n }, () => rng.normal());

/** AdamW as its paper has it, in float64. */
function adamTwin(
  start: readonly number[],
  gradients: readonly number[][],
  lr: number,
  decay: number,
): number[] {
  const [beta1, beta2, epsilon] = [0.9, 0.95, 1e-8];
  const values = [...start];
  const m = values.map(() => 0);
  const v = values.map(() => 0);
  gradients.forEach((gradient, step) => {
    gradient.forEach((g, i) => {
      m[i] = beta1 * m[i]! + (1 - beta1) * g;
      v[i] = beta2 * v[i]! + (1 - beta2) * g * g;
      const mHat = m[i]! / (1 - beta1 ** (step + 1));
      const vHat = v[i]! / (1 - beta2 ** (step + 1));
      values[i] = values[i]! * (1 - lr * decay) - (lr * mHat) / (Math.sqrt(vHat) + epsilon);
    });
  });
  return values;
}

describe('AdamW', () => {
  const options = { betas: [0.9, 0.95], epsilon: 1e-8, weightDecay: 0.1 } as const;

  it('decays matrices and magnitudes of DoRA, not biases and norms, as transformers and PEFT do', () => {
    scope(() => {
      const decaying = (name: string, shape: number[]) => decaysByDefault(name, zeros(shape));
      const layer = 'model.layers.0.self_attn.q_proj';
      expect(decaying(`${layer}.lora_A.weight`, [2, 4])).toBe(true);
      expect(decaying(`${layer}.lora_magnitude_vector`, [4])).toBe(true);
      expect(decaying(`${layer}.bias`, [4])).toBe(false);
      expect(decaying('model.norm.weight', [4])).toBe(false);
    });
  });

  it('equals its formula over 20 steps, decays matrices only, and goes on exactly from a saved state', () => {
    const starts = { matrix: draw(6), vector: draw(5) };
    const gradients = {
      matrix: Array.from({ length: 20 }, () => draw(6)),
      vector: Array.from({ length: 20 }, () => draw(5)),
    };
    const run = (steps: readonly number[], from?: { values: typeof starts; optimizer: AdamW }) => {
      const matrix = tensor(from?.values.matrix ?? starts.matrix, { shape: [2, 3] })
        .requiresGrad_()
        .keep();
      const vector = tensor(from?.values.vector ?? starts.vector)
        .requiresGrad_()
        .keep();
      const optimizer = new AdamW(
        [
          ['matrix', matrix],
          ['vector', vector],
        ],
        options,
      );
      if (from) optimizer.load(from.optimizer.state());
      for (const step of steps) {
        scope(() => {
          matrix.grad = tensor(gradients.matrix[step]!, { shape: [2, 3] });
          vector.grad = tensor(gradients.vector[step]!);
          optimizer.step(0.01);
        });
      }
      const values = { matrix: [...matrix.toFloat32()], vector: [...vector.toFloat32()] };
      matrix.dispose();
      vector.dispose();
      return { values, optimizer };
    };
    const all = Array.from({ length: 20 }, (_, i) => i);
    const whole = run(all);
    expect(
      largestDifference(whole.values.matrix, adamTwin(starts.matrix, gradients.matrix, 0.01, 0.1)),
    ).toBeLessThan(1e-5);
    expect(
      largestDifference(whole.values.vector, adamTwin(starts.vector, gradients.vector, 0.01, 0)),
    ).toBeLessThan(1e-5);
    const half = run(all.slice(0, 10));
    const rest = run(all.slice(10), half);
    expect(rest.values).toEqual(whole.values);
    for (const { optimizer } of [whole, half, rest]) optimizer[Symbol.dispose]();
  });

  it('updates parameters of all dtypes in one group', () => {
    const dtypes = ['f32', 'bf16', 'f64'] as const;
    const parameters = dtypes.map((dtype) => scope(() => tensor([1, -2]).to(dtype).requiresGrad_().keep()));
    const optimizer = new AdamW(
      parameters.map((parameter, i) => [dtypes[i]!, parameter]),
      options,
    );
    for (const scale of [1, 2])
      scope(() => {
        for (const [i, parameter] of parameters.entries())
          parameter.grad = tensor([0.5 * scale, -0.25]).to(dtypes[i]!);
        optimizer.step(0.125);
      });
    const expected = adamTwin(
      [1, -2],
      [
        [0.5, -0.25],
        [1, -0.25],
      ],
      0.125,
      0,
    );
    for (const [i, parameter] of parameters.entries()) {
      const tolerance = dtypes[i] === 'bf16' ? 2 ** -6 : 1e-6;
      expect(largestDifference([...parameter.toFloat32()], expected), dtypes[i]).toBeLessThan(tolerance);
      expect(optimizer.state().get(`${dtypes[i]}.step`)!.item()).toBe(2);
      parameter.dispose();
    }
    optimizer[Symbol.dispose]();
  });

  it('refuses a saved state that lacks a tensor', () => {
    using parameter = tensor([1]);
    using optimizer = new AdamW([['p', parameter]], options);
    expect(() => optimizer.load(new Map())).toThrow(/no tensor 'p.exp_avg'/);
  });

  it('refuses a saved state of another shape, even where it would broadcast', () => {
    using parameter = tensor([1, 2, 3]);
    using other = tensor([1]);
    using optimizer = new AdamW([['p', parameter]], options);
    using saved = new AdamW([['p', other]], options);
    expect(() => optimizer.load(saved.state())).toThrow(/'p.exp_avg' must have shape \[3\], found \[1\]/);
  });
});

describe('clipGradNorm', () => {
  it('scales a long gradient, leaves a short one, and returns the norm before', () => {
    scope(() => {
      const a = tensor([0, 0]);
      const b = tensor([0]);
      a.grad = tensor([3, 0]);
      b.grad = tensor([4]);
      expect(clipGradNorm([a, b], 10)).toBeCloseTo(5, 6);
      expect([...a.grad!.toFloat32()]).toEqual([3, 0]);
      expect(clipGradNorm([a, b], 1)).toBeCloseTo(5, 6);
      expect(a.grad!.toFloat32()[0]).toBeCloseTo(0.6, 5);
      expect(b.grad!.toFloat32()[0]).toBeCloseTo(0.8, 5);
      b.grad = tensor([Number.NaN]);
      expect(clipGradNorm([a, b], 1)).toBeNaN();
      expect(a.grad!.toFloat32()[0]).toBeNaN();
      expect(clipGradNorm([], 1)).toBe(0);
    });
  });
});

describe('learningRateAt', () => {
  const base = { steps: 110, learningRate: 1, warmupSteps: 10, minLearningRateRatio: 0.1 };
  it.each([
    ['constant', 110, 1],
    ['linear', 60, 0.55],
    ['linear', 110, 0.1],
    ['cosine', 60, 0.55],
    ['cosine', 110, 0.1],
    ['cosine', 10, 1],
    ['linear', 5, 0.5],
    ['linear', 1, 0.1],
  ] as const)('%s at step %i is %f', (schedule, step, expected) => {
    expect(learningRateAt(step, { ...base, schedule })).toBeCloseTo(expected, 9);
  });

  it.each(['constant', 'linear', 'cosine', 'wsd'] as const)(
    '%s: a single step is at the peak',
    (schedule) => {
      const single = { steps: 1, learningRate: 0.3, warmupSteps: 0, minLearningRateRatio: 0, schedule };
      expect(learningRateAt(1, single)).toBe(0.3);
      expect(learningRateAt(1, { ...single, warmupSteps: 1 })).toBe(0.3);
      // Of two the last is at the floor, as the curve of a longer stage is.
      expect(learningRateAt(1, { ...single, steps: 2 })).toBeGreaterThan(0);
    },
  );
});

describe('schedules', () => {
  it('polynomial: at its floor beyond the last step, also where the warm-up is longer than the run', () => {
    const shape = { steps: 2, warmupSteps: 4, minRatio: 0.1 };
    const factors = [0, 1, 2, 3, 4, 5].map((step) => scheduleFactor('polynomial', step, shape));
    // As transformers 5.18 has it.
    expect(factors).toEqual([0, 0.25, 0.5, 0.75, 0.1, 0.1]);
  });
});
