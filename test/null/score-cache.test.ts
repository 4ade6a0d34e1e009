import {
  appendFileSync,
  mkdtempSync,
  readFileSync,
  rmSync,
  statSync,
  truncateSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import fc from 'fast-check';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { EvictionOrder, type EvictionPolicy } from '../../src/rewards/intrinsic/eviction.ts';
import { ScoreCache, type ScoreCacheOptions } from '../../src/rewards/intrinsic/score-cache.ts';
import type { SoftValues } from '../../src/rewards/intrinsic/soft-bellman.ts';

const entryBytes = 52;
let folder = '';
beforeEach(() => (folder = mkdtempSync(join(tmpdir(), 'reckon-scores-'))));
afterEach(() => rmSync(folder, { recursive: true, force: true }));

function open(changes: Partial<ScoreCacheOptions> = {}): ScoreCache {
  const options = {
    teacher: 'a',
    alpha: 1,
    maxBytes: 100 * entryBytes,
    eviction: 'lru' as const,
    ...changes,
  };
  return new ScoreCache(join(folder, 'scores.bin'), options);
}

/** What a teacher would say: a number that follows from all ids up to a token. */
function valuesOf(promptIds: readonly number[], completionIds: readonly number[]): SoftValues {
  const at = (salt: number) =>
    Float64Array.from(completionIds, (_, t) =>
      [...promptIds, ...completionIds.slice(0, t + 1)].reduce((sum, id) => Math.sin(sum * 1.7 + id), salt),
    );
  return { q: at(0), v: at(1), mean: at(2), logp: at(3) };
}

const first = (values: SoftValues, count: number): SoftValues => ({
  q: values.q.slice(0, count),
  v: values.v.slice(0, count),
  mean: values.mean.slice(0, count),
  logp: values.logp.slice(0, count),
});

describe('a cache of scores', () => {
  it('finds what completions share from their beginning, wherever the prompt ends', () => {
    using cache = open();
    const values = valuesOf([1, 2], [3, 4, 5]);
    cache.store([1, 2], [3, 4, 5], values);
    expect(cache.find([1, 2], [3, 4, 5])).toEqual(values);
    expect(cache.find([1, 2], [3, 4, 9, 5])).toEqual(first(values, 2));
    expect(cache.find([1, 2, 3], [4, 5]).q).toEqual(values.q.slice(1));
    expect(cache.find([2, 1], [3, 4, 5]).q.length).toBe(0);
    expect(cache.counts()).toMatchObject({ asked: 12, found: 7, evicted: 0, bytes: 3 * entryBytes });
  });

  it('does not mix teachers or alphas in one file', () => {
    const values = valuesOf([1], [2, 3]);
    {
      using cache = open();
      cache.store([1], [2, 3], values);
    }
    {
      using other = open({ alpha: 0.5 });
      expect(other.find([1], [2, 3]).q.length).toBe(0);
    }
    using other = open({ teacher: 'b' });
    expect(other.find([1], [2, 3]).q.length).toBe(0);
    using same = open();
    expect(same.find([1], [2, 3])).toEqual(values);
  });

  it('is there again in a later process, less a tail that was cut anywhere', () => {
    const completions = [
      [5, 6],
      [7, 8, 9],
      [5, 6, 10],
    ];
    const ends: number[] = [];
    {
      using cache = open();
      for (const ids of completions) {
        cache.store([1], ids, valuesOf([1], ids));
        ends.push(cache.counts().fileBytes);
      }
      expect(statSync(join(folder, 'scores.bin')).size).toBe(ends[2]);
    }
    const whole = readFileSync(join(folder, 'scores.bin'));
    for (let size = whole.length; size >= 16; size -= 7) {
      writeFileSync(join(folder, 'scores.bin'), whole.subarray(0, size));
      using cache = open();
      const kept = ends.filter((end) => end <= size).length;
      for (const ids of completions.slice(0, kept)) expect(cache.find([1], ids)).toEqual(valuesOf([1], ids));
      expect(cache.find([1], [7, 8, 9]).q.length).toBe(kept >= 2 ? 3 : 0);
      cache.store([1], [7, 8, 9], valuesOf([1], [7, 8, 9]));
      using again = open();
      expect(again.find([1], [7, 8, 9])).toEqual(valuesOf([1], [7, 8, 9]));
    }
  });

  it('drops records whose bytes changed, and all after them', () => {
    {
      using cache = open();
      for (const ids of [[5], [6], [7]]) cache.store([], ids, valuesOf([], ids));
    }
    const path = join(folder, 'scores.bin');
    const bytes = readFileSync(path);
    bytes[16 + 60 + 30]! ^= 1;
    writeFileSync(path, bytes);
    using cache = open();
    expect([5, 6, 7].map((id) => cache.find([], [id]).q.length)).toEqual([1, 0, 0]);
    expect(statSync(path).size).toBe(16 + 60);
  });

  it('goes on from a snapshot as if nothing had come between, compactions and evictions included', () => {
    const sequence = fc.array(fc.integer({ min: 0, max: 2 }), { minLength: 1, maxLength: 6 });
    const history = fc.array(sequence, { minLength: 1, maxLength: 40 });
    const eviction = fc.constantFrom<EvictionPolicy>('lru', 'lfu', 'fifo');
    const saved = join(folder, 'saved.bin');
    const use = (cache: ScoreCache, all: readonly number[][]) =>
      all.map((ids) => {
        const { length } = cache.find([4], ids).q;
        cache.store([4], ids, valuesOf([4], ids));
        return length;
      });
    fc.assert(
      fc.property(history, history, history, eviction, fc.integer({ min: 0, max: 20 }), (...drawn) => {
        const [before, lost, after, policy, room] = drawn;
        const options = { maxBytes: room * entryBytes, eviction: policy };
        let wanted: number[];
        {
          using cache = open({ ...options, restore: null });
          use(cache, before);
          cache.snapshot(saved);
          wanted = use(cache, after);
        }
        {
          using cache = open({ ...options, restore: saved });
          use(cache, lost);
        }
        using cache = open({ ...options, restore: saved });
        expect(use(cache, after)).toEqual(wanted);
      }),
      { numRuns: 100 },
    );
  });

  it('begins empty where it is told to', () => {
    {
      using cache = open();
      cache.store([], [5], valuesOf([], [5]));
    }
    using cache = open({ restore: null });
    expect(cache.find([], [5]).q.length).toBe(0);
  });

  it('refuses a file of another kind', () => {
    writeFileSync(join(folder, 'scores.bin'), 'something else entirely');
    expect(() => open()).toThrow('is no cache of scores');
    truncateSync(join(folder, 'scores.bin'), 0);
    appendFileSync(join(folder, 'scores.bin'), 'reckon');
    expect(() => open()).toThrow('is no cache of scores');
  });

  it('stays within its bytes in memory and on disk, and what it finds is true', () => {
    const sequence = fc.array(fc.integer({ min: 0, max: 2 }), { minLength: 1, maxLength: 8 });
    const eviction = fc.constantFrom<EvictionPolicy>('lru', 'lfu', 'fifo');
    fc.assert(
      fc.property(
        fc.array(sequence, { maxLength: 60 }),
        eviction,
        fc.integer({ min: 0, max: 20 }),
        (all, policy, room) => {
          rmSync(join(folder, 'scores.bin'), { force: true });
          using cache = open({ maxBytes: room * entryBytes, eviction: policy });
          for (const ids of all) {
            const known = cache.find([4], ids);
            expect(known).toEqual(first(valuesOf([4], ids), known.q.length));
            cache.store([4], ids, valuesOf([4], ids));
            expect(cache.counts().bytes).toBeLessThanOrEqual(room * entryBytes);
          }
          expect(statSync(join(folder, 'scores.bin')).size).toBeLessThanOrEqual(2 * room * entryBytes + 8192);
        },
      ),
      { numRuns: 60 },
    );
  });
});

describe('the order of eviction', () => {
  const dropped = (policy: EvictionPolicy) => {
    const order = new EvictionOrder(policy);
    for (const key of ['a', 'b', 'c']) order.add(key);
    for (const key of ['a', 'a', 'c', 'b', 'c', 'a', 'b', 'c']) order.use(key);
    order.add('d');
    order.use('d');
    const listed = [...order.entries()].map(([key]) => key);
    const evicted = listed.map(() => order.evict());
    expect(evicted).toEqual(listed);
    return evicted.join('');
  };

  it('is by last use, by number of uses, or by arrival', () => {
    expect(dropped('lru')).toBe('abcd');
    expect(dropped('lfu')).toBe('dbac');
    expect(dropped('fifo')).toBe('abcd');
    const order = new EvictionOrder('lru');
    for (const key of ['a', 'b', 'c']) order.add(key);
    order.use('a');
    expect([order.evict(), order.evict(), order.evict()]).toEqual(['b', 'c', 'a']);
  });
});
