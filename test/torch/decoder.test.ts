import { describe, expect, it } from 'vitest';
import { causalAttention } from '../../src/models/attention.ts';
import { KvCache, stepContext } from '../../src/models/index.ts';
import { backward, ids, liveTensors, noGrad, op, scope, type Tensor } from '../../src/torch/index.ts';
import { assertNoLeaks, largestDifference, takeGradients, tinyModel } from './tiny.ts';

assertNoLeaks();

const sequences = [
  [1, 5, 9, 13, 4, 7],
  [1, 6, 6],
  [1, 20, 11, 3, 8, 9, 10, 12],
];

describe.each([
  ['grouped heads, tied', {}],
  ['ungrouped heads, untied', { keyValueHeads: 4, tieEmbeddings: false }],
] as const)('decoding with a cache: %s', (_name, changes) => {
  it('equals the full forward for ragged sequences', () => {
    using policy = tinyModel(changes);
    using model = policy.snapshot();
    const { keyValueHeads } = model.config;
    using cache = new KvCache(
      { layers: 2, keyValueHeads, headDim: 8, slots: 3, capacity: 16, prefixes: 0, prefixCapacity: 0 },
      'f32',
      'cpu',
    );
    noGrad(() =>
      scope(() => {
        for (let position = 0; position < 8; position++) {
          const tokens = sequences.map((sequence) => sequence[Math.min(position, sequence.length - 1)]!);
          const places = sequences.map((sequence) => Math.min(position, sequence.length - 1));
          const context = stepContext(
            cache,
            model.rope,
            places.map((place, slot) => ({ slot, position: place, prefix: 0, prefixLength: 0 })),
          );
          const hidden = model.step(ids(tokens), context);
          const stepped = model.logits(hidden).toFloat32();
          sequences.forEach((sequence, row) => {
            const seen = sequence.slice(0, places[row]! + 1);
            const full = policy
              .logits(policy.forward(ids(seen, [1, seen.length])))
              .toFloat32()
              .slice(-25);
            expect(largestDifference(stepped.slice(row * 25, (row + 1) * 25), full)).toBeLessThan(1e-5);
          });
        }
      }),
    );
  });
});

it('a pass holds what one block makes, however many there are', () => {
  using policy = tinyModel({ layers: 5 });
  const tokens = sequences[0]!;
  const alive: number[][] = [[], [], []];
  scope(() => {
    const row = ids(tokens, [1, tokens.length]);
    const last = ids([tokens.length - 1]);
    noGrad(() => policy.prefill(row, last, () => alive[0]!.push(liveTensors())));
    noGrad(() =>
      policy.extend(row, 0, (_, keys, values) => {
        alive[1]!.push(liveTensors());
        return { keys, values };
      }),
    );
    policy.prefill(row, last, () => alive[2]!.push(liveTensors()));
  });
  for (const counts of alive) expect(counts).toEqual(new Array(5).fill(counts[0]));
});

describe('attention', () => {
  it.each([7, 600])('over %i tokens equals the library in value and gradient', (t) => {
    scope(() => {
      const make = (heads: number) => (op('aten::randn')([2, t, heads, 8]) as Tensor).requiresGrad_();
      const inputs = [make(4), make(2), make(2)] as const;
      const weight = op('aten::randn')([2, t, 32]) as Tensor;
      const results = [
        () => causalAttention(...inputs),
        () =>
          (
            op('aten::scaled_dot_product_attention')(
              inputs[0].transpose(1, 2),
              inputs[1].transpose(1, 2),
              inputs[2].transpose(1, 2),
              { is_causal: true, enable_gqa: true },
            ) as Tensor
          )
            .transpose(1, 2)
            .reshape([2, t, 32]),
      ].map((compute) => {
        const out = compute();
        backward(out.mul(weight).sum());
        const gradients = inputs.map((input) => input.grad!.toFloat32());
        for (const input of inputs) input.grad = null;
        return [out.toFloat32(), ...gradients];
      });
      results[0]!.forEach((values, i) => {
        expect(largestDifference(values, results[1]![i]!)).toBeLessThan(2e-5);
      });
    });
  });

  it('right padding changes nothing before it', () => {
    using model = tinyModel();
    scope(() => {
      const plain = model.forward(ids(sequences[0]!, [1, 6])).toFloat32();
      const padded = model.forward(ids([...sequences[0]!, 0, 0, 0], [1, 9])).toFloat32();
      expect(largestDifference(plain, padded.slice(0, plain.length))).toBeLessThan(1e-5);
    });
  });
});

describe('gradient checkpointing', () => {
  it.each([
    ['tied', {}],
    ['untied, with padding', { tieEmbeddings: false }],
  ] as const)('gives the same loss and the same gradients: %s', (name, changes) => {
    using model = tinyModel({ layers: 4, ...changes });
    const run = (withCheckpoints: boolean) => {
      const loss = scope(() => {
        const tokens = ids([0, 5, 9, 13, 4, 7, 1, 6, 6, 2, 3, 8], [2, 6]);
        const padded = {
          positions_BT: ids([0, 0, 1, 2, 3, 4, 0, 1, 2, 3, 4, 5], [2, 6]),
          segments_BT: ids([0, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1], [2, 6]),
        };
        const layout = name === 'tied' ? undefined : padded;
        const kept = withCheckpoints ? model.forwardCheckpointed(tokens, layout) : null;
        const hidden = kept ? model.normed(kept.output) : model.forward(tokens, layout);
        const value = model.logits(hidden).logSoftmax(-1).square().mean();
        backward(value);
        kept?.close();
        return value.item();
      });
      return { loss, gradients: takeGradients(model) };
    };
    const plain = run(false);
    const spared = run(true);
    expect(spared.loss).toBe(plain.loss);
    expect([...spared.gradients.keys()]).toEqual([...plain.gradients.keys()]);
    expect(plain.gradients.size).toBe(model.stateDict().size);
    for (const [name, gradient] of spared.gradients)
      expect(largestDifference(gradient, plain.gradients.get(name)!), name).toBeLessThan(1e-6);
  });
});

describe('snapshot', () => {
  it('is a copy: an update of the policy does not reach it, and a new one has it', () => {
    using policy = tinyModel();
    using before = policy.snapshot();
    const logits = (model: typeof policy) =>
      noGrad(() => scope(() => model.logits(model.forward(ids(sequences[0]!, [1, 6]))).toFloat32()));
    const old = logits(before);
    noGrad(() =>
      scope(() => {
        for (const [, weight] of policy.namedParameters()) weight.mul_(1.2);
      }),
    );
    using after = policy.snapshot();
    expect(logits(before)).toEqual(old);
    expect(largestDifference(logits(after), old)).toBeGreaterThan(1e-3);
    expect(largestDifference(logits(after), logits(policy))).toBeLessThan(1e-5);
  });

  it('takes no gradient and gives none', () => {
    using policy = tinyModel();
    using copy = policy.snapshot();
    scope(() => expect(copy.forward(ids([1, 2], [1, 2])).requiresGrad).toBe(false));
    expect(takeGradients(policy).size).toBe(0);
  });
});

describe('the embedding row of the pad token', () => {
  const rowNorms = (padTokenId: number | null) => {
    using model = tinyModel({ padTokenId, tieEmbeddings: false });
    scope(() =>
      backward(
        model
          .forward(ids([1, 5, 0, 9, 5], [1, 5]))
          .square()
          .sum(),
      ),
    );
    const gradient = takeGradients(model).get('model.embed_tokens.weight')!;
    const width = model.config.hiddenSize;
    return [0, 5].map((row) => Math.hypot(...gradient.subarray(row * width, (row + 1) * width)));
  };

  it('takes no gradient from inputs, and others do, as in PyTorch', () => {
    const [zero, five] = rowNorms(null);
    expect(zero).toBeGreaterThan(0);
    expect(rowNorms(0)).toEqual([0, five]);
    expect(rowNorms(5)).toEqual([zero, 0]);
    expect(rowNorms(99_999)).toEqual([zero, five]);
  });
});
