import { describe, expect, it } from 'vitest';
import {
  backward,
  fromBytes,
  op,
  packed,
  packedLinear,
  product,
  scope,
  setThreads,
  type Tensor,
  threads,
  zeros,
} from '../../src/torch/index.ts';
import { at, levels, levelsAndDtypes, randn, withLevel } from './levels.ts';
import { assertNoLeaks } from './tiny.ts';

assertNoLeaks();

const meta = (shape: readonly number[], code: number): Tensor =>
  op('aten::empty', 'memory_format')(shape, code, 0, 'meta') as Tensor;
const [I32, I64, F32] = [3, 4, 6];

describe.each(levelsAndDtypes)('%s, %s: nothing to add up', (level, dtype) => {
  it('makes the product of no inputs the bias', () => {
    scope(() => {
      const bias = randn([70], dtype);
      const matrix = packed(zeros([70, 0], dtype), dtype);
      const rows = at(level, () => packedLinear(zeros([3, 0], dtype), matrix, bias).toFloat32());
      for (let row = 0; row < 3; row++)
        expect(rows.subarray(row * 70, (row + 1) * 70)).toEqual(bias.toFloat32());
    });
  });

  it('makes the gradient of a weight that no row passed 0', () => {
    scope(() => {
      const weight = randn([70, 8], dtype).requiresGrad_();
      // What freed memory holds shows in a gradient that nobody wrote.
      for (let i = 0; i < 8; i++) scope(() => randn([70, 8], dtype));
      withLevel(level, () => backward(product(zeros([0, 8], dtype), weight).sum()));
      expect([...weight.grad!.toFloat32()].every((value) => value === 0)).toBe(true);
    });
  });
});

describe.each(levelsAndDtypes)('%s, %s: what is no number', (level, dtype) => {
  it.each([0, 1])('is not drawn around at temperature %i', (temperature) => {
    // The largest logit comes before it in the same lane of every width of register.
    const values = new Float32Array(64);
    values[0] = 300;
    values[16] = Number.NaN;
    const drawn = (name: string, ...rest: readonly (number | null)[]): Tensor =>
      at(level, () => {
        const logits = fromBytes(values, 'f32', [1, 64]).to(dtype);
        const [first, second] = op(name)(
          logits,
          fromBytes(Float32Array.of(0.5), 'f32', [1]),
          temperature,
          ...rest,
        ) as Tensor[];
        return name === 'reckon::sample' ? first! : second!;
      });
    const filtered = [0, 0.9, 0, 1, null, null, null, null, null, 3];
    scope(() => {
      expect(drawn('reckon::sample').toInt32()[0]).toBe(-1);
      expect(drawn('reckon::draw', ...filtered).toFloat32()[0]).toBeNaN();
    });
  });

  it('in one key is none in what attends to it', () => {
    scope(() => {
      const one = zeros([1, 48], dtype);
      const cache = randn([2, 1, 1, 4, 16], dtype);
      cache.select(0, 0).select(2, 1).narrow(2, 3, 1).fill_(Number.NaN);
      const places = fromBytes(Int32Array.of(0, 3, 0, 0), 'i32', [1, 4]);
      const y = at(level, () =>
        (
          op('reckon::decode_attention')(
            one,
            randn([2, 1, 16], dtype),
            null,
            1e-6,
            cache,
            null,
            places,
          ) as Tensor
        ).toFloat32(),
      );
      expect([...y].every(Number.isNaN)).toBe(true);
    });
  });
});

describe('refuses, with a sentence, what it would read or write beyond', () => {
  const refusals: readonly (readonly [string, RegExp, () => unknown])[] = [
    ['a cache without values', /keys and values/, () => decode(zeros([1, 1, 1, 8, 16], 'f32'))],
    ['rotation tables without a row', /tables must be rows/, () => rotateBy(zeros([0, 16], 'f32'))],
    [
      'a weight of other columns',
      /x is \[4, 64\]/,
      () => op('reckon::product', 'out')(zeros([4, 64], 'f32'), zeros([64, 1], 'f32'), zeros([4, 64], 'f32')),
    ],
    [
      'an update of other outputs',
      /does not fit/,
      () =>
        op('reckon::add_update_rows')(
          zeros([4, 64], 'f32'),
          zeros([2, 64], 'f32'),
          zeros([2, 9], 'f32'),
          1,
          zeros([4, 8], 'f32'),
        ),
    ],
    [
      'targets on another device',
      /on meta/,
      () => op('reckon::token_terms')(zeros([4, 64], 'f32'), meta([4], I64), 1),
    ],
    [
      'starts on another device',
      /on the CPU/,
      () => op('reckon::causal_attention')(zeros([1, 4, 3, 16], 'bf16'), 1, meta([1, 4], I32)),
    ],
    [
      'a min-p above 1',
      /min-p/,
      () =>
        op('reckon::draw')(
          zeros([1, 40], 'f32'),
          fromBytes(Float32Array.of(0.5), 'f32', [1]),
          1,
          0,
          1,
          2,
          1,
          null,
          null,
          null,
          null,
          null,
          -1,
        ),
    ],
  ];
  const decode = (cache: Tensor) =>
    op('reckon::decode_attention')(
      zeros([1, 48], 'f32'),
      zeros([2, 1, 16], 'f32'),
      null,
      1e-6,
      cache,
      null,
      fromBytes(new Int32Array(4), 'i32', [1, 4]),
    );
  const rotateBy = (table: Tensor) => op('reckon::rotated_heads')(zeros([4, 2, 16], 'f32'), table, table, 2);

  it.each(refusals)('%s', (_, sentence, compute) => {
    for (const level of levels) expect(() => at(level, compute)).toThrow(sentence);
  });

  it('a weight on another device, where the kernels serve whole sequences', () => {
    const own = levels.filter((level) => level.startsWith('avx512') || level === 'amx');
    for (const level of own)
      expect(() => at(level, () => product(zeros([4, 64], 'f32'), meta([64, 64], F32)))).toThrow(
        /on the CPU/,
      );
  });

  it('a dtype that it cannot pack, whichever thread finds out', () => {
    const before = threads();
    setThreads(4);
    scope(() => {
      const weight = op('aten::to', 'dtype')(zeros([2048, 512], 'f32'), 5) as Tensor;
      for (let i = 0; i < 50; i++) expect(() => op('reckon::pack')(weight, 2)).toThrow(/f32 or bf16/);
    });
    setThreads(before);
  });
});
