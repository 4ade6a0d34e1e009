import { describe, expect, it } from 'vitest';
import { bestSteps, type MetricRow } from '../../src/track/index.ts';

const rows = (values: readonly Partial<MetricRow>[]): MetricRow[] =>
  values.map((row, i) => ({ step: i + 1, ...row }));

describe('bestSteps', () => {
  it('takes validation accuracy before anything else, newest at or before a step', () => {
    const metrics = rows([
      { 'validation/accuracy': 0.2, loss: 1 },
      { loss: 0.1 },
      { 'validation/accuracy': 0.5, loss: 3 },
      { 'validation/accuracy': 0.4, loss: 2 },
    ]);
    expect(bestSteps(metrics, [1, 2, 3, 4], 2)).toEqual([3, 4]);
    expect(bestSteps(metrics, [1, 2], 1)).toEqual([2]);
  });

  it('takes the lowest loss, and of equals the later step', () => {
    const metrics = rows([{ 'validation/loss': 2 }, { 'validation/loss': 1 }, { 'validation/loss': 1 }]);
    expect(bestSteps(metrics, [1, 2, 3], 3)).toEqual([3, 2, 1]);
  });

  it('means over training steps, so that one lucky batch does not win', () => {
    const metrics = rows(Array.from({ length: 30 }, (_, i) => ({ 'accuracy/mean': i === 9 ? 1 : i / 30 })));
    expect(bestSteps(metrics, [10, 20, 30], 1)).toEqual([30]);
  });

  it('is empty without metrics or wish, and passes over what is no number', () => {
    expect(bestSteps([], [1], 1)).toEqual([]);
    expect(bestSteps(rows([{ loss: 1 }]), [1], 0)).toEqual([]);
    expect(bestSteps(rows([{ loss: Number.NaN }, { loss: 2 }]), [1, 2], 2)).toEqual([2]);
  });
});
