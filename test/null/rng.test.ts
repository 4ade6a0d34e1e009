import { describe, expect, it } from 'vitest';
import { philox, Rng } from '../../src/util/rng.ts';

describe('philox', () => {
  it('gives the known answers of the Random123 distribution', () => {
    expect(philox([0, 0, 0, 0], [0, 0])).toEqual([0x6627e8d5, 0xe169c58d, 0xbc57ac4c, 0x9b00dbd8]);
    const ones = 0xffffffff;
    expect(philox([ones, ones, ones, ones], [ones, ones])).toEqual([
      0x408f276d, 0x41c83b0e, 0xa20bc7c6, 0x6d5451fd,
    ]);
    expect(philox([0x243f6a88, 0x85a308d3, 0x13198a2e, 0x03707344], [0xa4093822, 0x299f31d0])).toEqual([
      0xd16cfe09, 0x94fdcceb, 0x5001e420, 0x24126ea1,
    ]);
  });
});

describe('Rng', () => {
  const id = { seed: 1, purpose: 'sample', step: 3, id: 'p7', index: 2 };

  it('reads the same number at a position in any order', () => {
    const forward = new Rng(id);
    const expected = Array.from({ length: 20 }, () => forward.uniform());
    const backward = new Rng(id);
    for (let i = 19; i >= 0; i--) expect(backward.uniformAt(i)).toBe(expected[i]);
  });

  it('gives different streams for every part of the id', () => {
    const variants = [
      id,
      { ...id, seed: 2 },
      { ...id, seed: 1 + 2 ** 32 },
      { ...id, purpose: 'shuffle' },
      { ...id, step: 4 },
      { ...id, id: 'p8' },
      { ...id, index: 3 },
    ];
    expect(new Set(variants.map((v) => new Rng(v).wordAt(0))).size).toBe(variants.length);
  });

  it('is uniform and normal in its first moments', () => {
    const rng = new Rng(id);
    const n = 100_000;
    let sum = 0;
    let normal = 0;
    let square = 0;
    for (let i = 0; i < n; i++) {
      sum += rng.uniform();
      const z = rng.normal();
      normal += z;
      square += z * z;
    }
    expect(sum / n).toBeCloseTo(0.5, 2);
    expect(normal / n).toBeCloseTo(0, 1);
    expect(square / n).toBeCloseTo(1, 1);
  });

  it('shuffles to a permutation and leaves its input alone', () => {
    const items = [1, 2, 3, 4, 5, 6, 7, 8];
    const copy = new Rng(id).shuffled(items);
    expect([...copy].sort()).toEqual(items);
    expect(copy).not.toEqual(items);
    expect(items).toEqual([1, 2, 3, 4, 5, 6, 7, 8]);
  });
});
