import * as fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { type PackingStrategy, type Piece, packRows } from '../../src/data/packing.ts';

const strategies: readonly PackingStrategy[] = ['bfd', 'bfd_split', 'wrapped'];
const cases = fc.record({
  lengths: fc.array(fc.integer({ min: 0, max: 40 }), { maxLength: 60 }),
  capacity: fc.integer({ min: 1, max: 32 }),
});

/** The tokens of every row that were placed, each as often as it was. */
function placed(bins: readonly Piece[][]): Map<string, number> {
  const counts = new Map<string, number>();
  for (const { row, start, length } of bins.flat())
    for (let t = start; t < start + length; t++) {
      const key = `${row}:${t}`;
      counts.set(key, (counts.get(key) ?? 0) + 1);
    }
  return counts;
}

describe.each(strategies)('packing by %s', (strategy) => {
  it('places every token once, but for what bfd cuts off, and fills no row beyond the capacity', () => {
    fc.assert(
      fc.property(cases, ({ lengths, capacity }) => {
        const bins = packRows(lengths, capacity, strategy);
        for (const bin of bins) {
          expect(bin.reduce((sum, piece) => sum + piece.length, 0)).toBeLessThanOrEqual(capacity);
          expect(bin.every((piece) => piece.length > 0)).toBe(true);
        }
        const kept = lengths.map((length) => (strategy === 'bfd' ? Math.min(length, capacity) : length));
        const counts = placed(bins);
        expect(counts.size).toBe(kept.reduce((sum, length) => sum + length, 0));
        expect([...counts.values()].every((count) => count === 1)).toBe(true);
      }),
    );
  });
});

it('takes the fullest row with room, longest first, as a slow search over all rows does', () => {
  fc.assert(
    fc.property(cases, ({ lengths, capacity }) => {
      const slow: { pieces: number[]; space: number; since: number }[] = [];
      const order = lengths
        .map((length, row) => ({ row, length: Math.min(length, capacity) }))
        .filter(({ length }) => length > 0)
        .sort((a, b) => b.length - a.length || a.row - b.row);
      order.forEach(({ row, length }, now) => {
        const fitting = slow
          .filter((bin) => bin.space >= length)
          .sort((a, b) => a.space - b.space || a.since - b.since);
        const bin = fitting[0] ?? { pieces: [], space: capacity, since: now };
        if (!fitting[0]) slow.push(bin);
        bin.pieces.push(row);
        bin.space -= length;
        bin.since = now;
      });
      const rows = packRows(lengths, capacity, 'bfd').map((bin) => bin.map((piece) => piece.row));
      expect(rows).toEqual(slow.map((bin) => bin.pieces));
    }),
  );
});

it('leaves no place free but in the last row when it wraps', () => {
  expect(packRows([3, 4, 0, 2], 4, 'wrapped')).toEqual([
    [
      { row: 0, start: 0, length: 3 },
      { row: 1, start: 0, length: 1 },
    ],
    [
      { row: 1, start: 1, length: 3 },
      { row: 3, start: 0, length: 1 },
    ],
    [{ row: 3, start: 1, length: 1 }],
  ]);
});
