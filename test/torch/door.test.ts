import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import {
  backward,
  enableGrad,
  fromBytes,
  full,
  Generator,
  ids,
  liveTensors,
  noGrad,
  op,
  Scope,
  scope,
  setThreads,
  Tensor,
  tensor,
  threads,
  zeros,
} from '../../src/torch/index.ts';

let before = 0;
beforeEach(() => {
  before = liveTensors();
});
afterEach(() => {
  expect(liveTensors()).toBe(before);
});

describe('operators', () => {
  it('computes, broadcasts and keeps integer scalars integral', () =>
    scope(() => {
      const a = tensor([1, 2, 3, 4], { shape: [2, 2] });
      expect([...a.add(tensor([10, 20])).toFloat32()]).toEqual([11, 22, 13, 24]);
      expect(ids([1, 2]).add(1).dtype).toBe('i64');
      expect(ids([1, 2]).add(0.5).dtype).toBe('f32');
      expect([...a.matmul(a).toFloat32()]).toEqual([7, 10, 15, 22]);
      expect(a.linear(a, tensor([1, 1])).shape).toEqual([2, 2]);
    }));

  it('reaches any operator by name, with named arguments, lists and several results', () =>
    scope(() => {
      const a = tensor([3, 1, 2]);
      expect([...(op('aten::add', 'Tensor')(a, a, { alpha: 2 }) as Tensor).toFloat32()]).toEqual([9, 3, 6]);
      const [values, indices] = op('aten::topk')(a, 2) as [Tensor, Tensor];
      expect([...values.toFloat32()]).toEqual([3, 2]);
      expect([...indices.toInt32()]).toEqual([0, 2]);
      const parts = op('aten::split', 'Tensor')(a, 2) as Tensor[];
      expect(parts.map((part) => part.shape)).toEqual([[2], [1]]);
      expect([...(op('aten::cat')([a, a], 0) as Tensor).toFloat32()]).toEqual([3, 1, 2, 3, 1, 2]);
      expect(op('aten::equal')(a, a)).toBe(true);
    }));

  it('round-trips every dtype through bytes', () =>
    scope(() => {
      const values = new Float32Array([1.5, -2, 0.25]);
      expect([...fromBytes(values, 'f32', [3]).toFloat32()]).toEqual([1.5, -2, 0.25]);
      for (const dtype of ['bf16', 'f16', 'f64', 'f32'] as const) {
        const there = fromBytes(values, 'f32', [3]).to(dtype);
        const back = fromBytes(there.toBytes(), dtype, [3]);
        expect([...back.toFloat32()]).toEqual([1.5, -2, 0.25]);
        expect(back.dtype).toBe(dtype);
      }
      expect([...tensor([1, 0], { dtype: 'bool' }).toInt32()]).toEqual([1, 0]);
      expect(tensor([7], { dtype: 'i64' }).item()).toBe(7);
      expect([
        ...tensor([1, 2, 3, 4], { shape: [2, 2] })
          .transpose(0, 1)
          .toFloat32(),
      ]).toEqual([1, 3, 2, 4]);
    }));
});

describe('misuse is a clear error and never a crash', () => {
  const cases: [string, RegExp, () => unknown][] = [
    ['shapes', /aten::add\.Tensor.*f32\[3\].*f32\[2\]/, () => tensor([1, 2, 3]).add(tensor([1, 2]))],
    ['dtypes', /aten::matmul.*f32\[1, 1\].*i64\[1, 1\]/, () => zeros([1, 1]).matmul(ids([1], [1, 1]))],
    ['missing operator', /no operator aten::nothing/, () => op('aten::nothing')],
    ['operator of a newer source', /older than src\/; compile it anew/, () => op('reckon::nothing')],
    ['missing overload', /overloads.*aten::add\.Scalar/, () => op('aten::add')],
    ['number for tensor', /'self' must be a Tensor, found number 5/, () => op('aten::neg')(5)],
    ['tensor for number', /'k' must be int, found a Tensor/, () => op('aten::topk')(zeros([2]), zeros([1]))],
    ['missing argument', /'k' \(int\) is missing/, () => op('aten::topk')(zeros([2]))],
    ['too many arguments', /at most 1/, () => op('aten::neg')(zeros([1]), 1)],
    ['unknown named argument', /no argument 'beta'/, () => op('aten::neg')(zeros([1]), { beta: 1 })],
    ['string for number', /'dim' \(int\)/, () => op('aten::select', 'int')(zeros([2]), 'x', 0)],
    ['fraction for integer', /fraction/, () => zeros([2]).narrow(0, 0.5, 1)],
    ['bad bytes', /expected 8 bytes.*found 4/, () => fromBytes(new Float32Array(1), 'f32', [2])],
    ['negative size', /sizes of 0 or more/, () => fromBytes(new Float32Array(0), 'f32', [-1])],
    ['made-up handle', /already freed/, () => new Tensor(5).add(1)],
    ['no such device', /rocket/, () => zeros([1], 'f32', 'rocket')],
    ['index out of range', /out of (range|bounds)/, () => zeros([2]).indexSelect(0, ids([5]))],
    ['embedding out of range', /out of range/, () => zeros([2, 2]).embedding(ids([5]))],
    ['backward without graph', /does not require grad/, () => backward(zeros([1]))],
    ['backward of a vector', /scalar outputs/, () => backward(zeros([2]).requiresGrad_().mul(2))],
    ['item of many', /one element/, () => zeros([2]).item()],
  ];
  it.each(cases)('%s', (_name, message, act) => {
    scope(() => expect(act).toThrow(message));
  });

  it('refuses a freed tensor even when its slot has a new owner', () => {
    const dead = zeros([1]);
    dead.dispose();
    using alive = full([1], 7);
    expect(() => dead.add(1)).toThrow(/already freed/);
    expect(alive.item()).toBe(7);
    dead.dispose();
    expect(alive.item()).toBe(7);
  });
});

describe('scopes', () => {
  it('free what was made inside, but what is returned or kept', () => {
    const outside = liveTensors();
    const { a, list } = scope(() => {
      zeros([1]).add(1);
      return { a: zeros([1]), list: [zeros([1])] };
    });
    let kept: Tensor | undefined;
    scope(() => {
      kept = zeros([1]).keep();
    });
    expect(liveTensors()).toBe(outside + 3);
    expect(a.item() + list[0]!.item() + kept!.item()).toBe(0);
    for (const survivor of [a, ...list, kept!]) survivor.dispose();
  });

  it('hand survivors to the scope outside', () => {
    const outside = liveTensors();
    scope(() => {
      const inner = scope(() => zeros([1]));
      expect(inner.item()).toBe(0);
      scope(() => inner);
      expect(inner.item()).toBe(0);
    });
    expect(liveTensors()).toBe(outside);
  });

  it('free when the function throws, and refuse promises', () => {
    const outside = liveTensors();
    expect(() =>
      scope(() => {
        zeros([1]);
        throw new Error('x');
      }),
    ).toThrow('x');
    expect(() => scope(async () => 1)).toThrow(/synchronous/);
    {
      using _s = new Scope();
      zeros([4]);
    }
    expect(liveTensors()).toBe(outside);
  });
});

describe('autograd', () => {
  it('accumulates gradients and can clear them', () =>
    scope(() => {
      const x = tensor([1, 2, 3]).requiresGrad_();
      backward(x.mul(x).sum());
      backward(x.mul(2), tensor([1, 1, 1]));
      expect([...x.grad!.toFloat32()]).toEqual([4, 6, 8]);
      x.grad = null;
      expect(x.grad).toBeNull();
    }));

  it('records nothing inside noGrad and something again inside enableGrad', () =>
    scope(() => {
      const x = tensor([1]).requiresGrad_();
      expect(noGrad(() => x.mul(2)).requiresGrad).toBe(false);
      expect(noGrad(() => enableGrad(() => x.mul(2))).requiresGrad).toBe(true);
      expect(() =>
        noGrad(() => {
          throw new Error('x');
        }),
      ).toThrow();
      expect(x.mul(2).requiresGrad).toBe(true);
    }));
});

describe('runtime', () => {
  it('sets threads within reason', () => {
    const count = threads();
    setThreads(1);
    expect(threads()).toBe(1);
    expect(() => setThreads(0)).toThrow(/1 to 1024/);
    setThreads(count);
  });

  it('restores a generator exactly', () =>
    scope(() => {
      using generator = new Generator(7);
      const draw = () => [
        ...(op('aten::rand', 'generator')([3], { generator: generator.id }) as Tensor).toFloat32(),
      ];
      const state = generator.state;
      const first = draw();
      expect(draw()).not.toEqual(first);
      generator.state = state;
      expect(draw()).toEqual(first);
    }));
});
