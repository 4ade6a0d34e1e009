import { describe, expect, it } from 'vitest';
import { type EarlyStop, Limits } from '../../src/train/limits.ts';

const stop: EarlyStop = { metric: 'reward/mean', patience: 2, minDelta: 0, window: 1 };
/** At which of these values the stage ends, counted from 1; null for never. */
function endOf(values: readonly (number | null)[], earlyStop: EarlyStop, known: readonly number[] = []) {
  const limits = new Limits(
    known.map((value) => ({ [earlyStop.metric]: value })),
    { earlyStop },
  );
  const end = values.findIndex((value) => limits.note({ [earlyStop.metric]: value }) !== null);
  return end < 0 ? null : end + 1;
}

describe('early stopping', () => {
  it('ends after so many measurements without a better one', () => {
    expect(endOf([1, 2, 2, 1.9, 5], stop)).toBe(4);
    expect(endOf([1, 2, 1, 3, 2, 4], stop)).toBeNull();
    expect(endOf([-5, -6, -7], stop)).toBe(3);
  });

  it('knows which direction is good, and how much counts', () => {
    expect(endOf([3, 2, 1, 0.5], { ...stop, metric: 'loss' })).toBeNull();
    expect(endOf([1, 2, 3], { ...stop, metric: 'loss' })).toBe(3);
    expect(endOf([1, 2, 3], { ...stop, metric: 'loss', better: 'higher' })).toBeNull();
    expect(endOf([1, 1.05, 1.08], { ...stop, minDelta: 0.1 })).toBe(3);
  });

  it('leaves out steps without the metric, and compares means of a window', () => {
    expect(endOf([1, null, null, null, 2], stop)).toBeNull();
    expect(endOf([4, 0, 5, 0, 6, 0, 7], { ...stop, window: 2 })).toBeNull();
    expect(endOf([4, 0, 3, 0, 2], { ...stop, window: 2 })).toBe(4);
  });

  it('says so still where the stage that it ended is opened again', () => {
    const reachedAfter = (values: readonly number[]) =>
      new Limits(
        values.map((value) => ({ [stop.metric]: value })),
        { earlyStop: stop },
      ).reached;
    expect(reachedAfter([1, 2, 2])).toBeNull();
    expect(reachedAfter([1, 2, 2, 1.9])).toContain('reward/mean was not better');
  });

  it('counts on from the metrics of an interrupted stage', () => {
    expect(endOf([2, 1.9], stop, [1, 2])).toBe(2);
    expect(endOf([1.9], stop, [1, 2, 2])).toBe(1);
  });
});

describe('a time limit', () => {
  it('counts the time of steps, those before an interruption included', () => {
    const limits = new Limits([{ 'time/step_s': 20 }], { timeLimitMinutes: 1 });
    expect(limits.note({ 'time/step_s': 30 })).toBeNull();
    expect(limits.note({ 'time/step_s': 10 })).toBe('1 minutes of training are over');
  });
});
