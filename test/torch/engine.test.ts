import { describe, expect, it } from 'vitest';
import {
  type Completion,
  type GenerationOptions,
  generate,
  localEngine,
  sampleTokens,
  uniformOf,
} from '../../src/generate/index.ts';
import type { Decoder } from '../../src/models/index.ts';
import { collectGroups, type Group } from '../../src/rollouts/index.ts';
import { fromBytes, ids, noGrad, scope, tensor } from '../../src/torch/index.ts';
import { cutMicroBatches } from '../../src/train/micro-batches.ts';
import { recordedLogps } from '../../src/train/policy-update.ts';
import { Rng } from '../../src/util/rng.ts';
import { assertNoLeaks, tinyModel, tokenizer } from './tiny.ts';

assertNoLeaks();

const requests = [
  { problemId: 'a', promptIds: [1, 5, 9, 13], samples: 5 },
  { problemId: 'b', promptIds: [1, 6], samples: 3 },
  { problemId: 'c', promptIds: [1, 20, 11, 3, 8, 9, 10], samples: 4 },
];

function options(changes: Partial<GenerationOptions> = {}): GenerationOptions {
  return { temperature: 1, topP: 1, maxNewTokens: 24, stopIds: [2], seed: 7, step: 3, ...changes };
}

async function sample(
  policy: Decoder,
  changes: Partial<GenerationOptions> = {},
  which = requests,
): Promise<Completion[][]> {
  using model = policy.snapshot();
  return await generate(model, tokenizer, which, options(changes));
}

describe('generate', () => {
  it('greedy: every token is the argmax of a full forward over what came before', async () => {
    using policy = tinyModel();
    const [[one]] = (await sample(policy, { temperature: 0, stopIds: [] }, [requests[0]!])) as [[Completion]];
    const sequence = [...one.promptIds];
    for (const id of one.completionIds) {
      const logits = noGrad(() =>
        scope(() => policy.logits(policy.forward(ids(sequence, [1, sequence.length]))).toFloat32()),
      );
      const last = logits.slice(-tokenizer.size);
      expect(last.indexOf(Math.max(...last))).toBe(id);
      sequence.push(id);
    }
    expect(one.completionIds).toHaveLength(24);
    expect(one.stopReason).toBe('length');
  });

  it('greedy in bf16: the argmax of a full forward but where the two likeliest are within 0.05', async () => {
    using policy = tinyModel({}, 'bf16');
    const groups = await sample(policy, { temperature: 0, stopIds: [] });
    let near = 0;
    for (const one of groups.map((group) => group[0]!)) {
      const sequence = [...one.promptIds, ...one.completionIds];
      const logits = noGrad(() =>
        scope(() => policy.logits(policy.forward(ids(sequence, [1, sequence.length]))).toFloat32()),
      );
      one.completionIds.forEach((id, i) => {
        const first = (one.promptIds.length + i - 1) * tokenizer.size;
        const row = [...logits.subarray(first, first + tokenizer.size)];
        const [most, second] = row.toSorted((a, b) => b - a) as [number, number];
        if (most - second < 0.05) near++;
        else expect(row.indexOf(most)).toBe(id);
      });
    }
    expect(near).toBeLessThan(groups.length * 24 * 0.2);
  });

  it('a completion is the same alone, in any batch, and with any number of rows', async () => {
    using policy = tinyModel();
    const whole = await sample(policy);
    expect(whole.map((group) => group.length)).toEqual([5, 3, 4]);
    expect(new Set(whole.flat().map((one) => one.completionIds.join())).size).toBeGreaterThan(8);
    const lengths = new Set(whole.flat().map((one) => one.completionIds.length));
    expect(lengths.size).toBeGreaterThan(3); // some leave early, so rows are given away
    for (const maxRows of [1, 2, 3, 7]) {
      const again = await sample(policy, { maxRows });
      again.flat().forEach((one, i) => {
        expect(one.completionIds).toEqual(whole.flat()[i]!.completionIds);
        expect(one.stopReason).toBe(whole.flat()[i]!.stopReason);
      });
    }
    const alone = await sample(policy, {}, [requests[2]!]);
    expect(alone[0]!.map((one) => one.completionIds)).toEqual(whole[2]!.map((one) => one.completionIds));
    const other = await sample(policy, { step: 4 });
    expect(other.flat().map((one) => one.completionIds)).not.toEqual(
      whole.flat().map((one) => one.completionIds),
    );
  });

  it.each([
    ['f32', 1e-5, 1e-5],
    ['bf16', 0.02, 0.003],
  ] as const)('log-probabilities are those of the trainer (%s)', async (dtype, most, mean) => {
    using policy = tinyModel({}, dtype);
    for (const temperature of [1, 0.7]) {
      const completions = (await sample(policy, { temperature })).flat();
      const batches = cutMicroBatches(completions, 100_000, 0);
      const trainer = recordedLogps(policy, batches, temperature)[0]!;
      const engine = batches[0]!.order.flatMap((i) => completions[i]!.logps);
      const differences = engine.map((logp, i) => Math.abs(logp - trainer[i]!));
      expect(Math.max(...differences)).toBeLessThan(most);
      expect(differences.reduce((a, b) => a + b, 0) / differences.length).toBeLessThan(mean);
      for (const one of completions) expect(one.samplingLogps).toEqual(one.logps);
    }
  });

  it('ends by eos, stop string, length and abort, and keeps what ended it', async () => {
    using policy = tinyModel();
    const byEos = (await sample(policy)).flat().filter((one) => one.stopReason === 'eos');
    expect(byEos.length).toBeGreaterThan(0);
    for (const one of byEos) {
      expect(one.completionIds.at(-1)).toBe(2);
      expect(one.completionIds.slice(0, -1)).not.toContain(2);
      expect(one.text).toBe(tokenizer.decode(one.completionIds));
    }
    const stopped = (await sample(policy, { stopStrings: ['3', '4'] }))
      .flat()
      .filter((one) => one.stopReason === 'stop');
    expect(stopped.length).toBeGreaterThan(0);
    for (const one of stopped) expect(one.text).toMatch(/^[^34]*[34]$/);
    expect(
      (await sample(policy, { maxNewTokens: 1, stopIds: [] }))
        .flat()
        .every((one) => one.stopReason === 'length'),
    ).toBe(true);
    let asked = 0;
    const aborted = await sample(policy, { stopIds: [], stopRequested: () => ++asked > 5 });
    expect(aborted.flat().every((one) => one.stopReason === 'aborted')).toBe(true);
    expect(aborted.flat()[0]!.completionIds).toHaveLength(5);
  });

  it('computes for no sequence that is finished', async () => {
    using policy = tinyModel();
    using model = policy.snapshot();
    const fed: number[] = [];
    const step = model.step.bind(model);
    model.step = (tokens, context) => {
      fed.push(tokens.size(0));
      return step(tokens, context);
    };
    const few = requests.map((request) => ({ ...request, samples: 2 })); // up to seven rows nothing is rounded up
    const completions = (await generate(model, tokenizer, few, options())).flat();
    expect(fed.reduce((a, b) => a + b, 0)).toBe(
      completions.reduce((sum, one) => sum + one.completionIds.length - 1, 0),
    );
  });

  it.each([
    [{ maxNewTokens: 700 }, /640 positions|has 640/],
    [{ temperature: -1 }, /temperature/],
    [{ topP: 0 }, /topP/],
    [{ maxNewTokens: 0 }, /needs a prompt/],
  ])('refuses %j', async (changes, message) => {
    using policy = tinyModel();
    await expect(sample(policy, changes)).rejects.toThrow(message);
  });

  it('completes a problem that comes twice in a step in other words the second time', async () => {
    using policy = tinyModel();
    using engine = localEngine(policy, tokenizer);
    const problem = (question: string) => ({ id: question, question, reference: '', meta: {} });
    const [a, b] = [problem('1 2'), problem('3 4 5')];
    const collect = (...problems: ReturnType<typeof problem>[]) =>
      collectGroups(engine, tokenizer, problems, ({ question }) => question, { ...options(), groupSize: 3 });
    const idsOf = ({ rollouts }: Group) => rollouts.map(({ completionIds }) => completionIds);
    const once = await collect(a, b);
    const twice = await collect(a, b, a);
    expect(twice.map(({ problem }) => problem)).toEqual([a, b, a]);
    expect(twice.slice(0, 2).map(idsOf)).toEqual(once.map(idsOf));
    expect(twice[2]!.rollouts.map(({ sampleIndex }) => sampleIndex)).toEqual([3, 4, 5]);
    for (const again of idsOf(twice[2]!)) expect(idsOf(twice[0]!)).not.toContainEqual(again);
  });

  it.each([-1, 1000])(
    'reads prompts of any lengths with the pad id %i, which is no token',
    async (padTokenId) => {
      using policy = tinyModel();
      using other = tinyModel({ padTokenId });
      const completions = async (model: Decoder) =>
        (await sample(model)).flat().map((one) => one.completionIds);
      expect(await completions(other)).toEqual(await completions(policy));
    },
  );

  it('refuses an empty prompt', async () => {
    using policy = tinyModel();
    await expect(sample(policy, {}, [{ problemId: 'a', promptIds: [], samples: 1 }])).rejects.toThrow(
      /needs a prompt/,
    );
  });
});

describe('sampleTokens', () => {
  const logits = [2, 1, 0.5, 0, -1, -3, 0.2, 1.5];
  const uniforms = (n: number) => {
    const rng = new Rng({ seed: 1, purpose: 'test' });
    return Float32Array.from({ length: n }, (_, i) => uniformOf(rng.wordAt(i)));
  };
  const draw = (n: number, temperature: number, topP: number) =>
    scope(() => {
      const rows = tensor(logits).unsqueeze(0).expand([n, logits.length]).contiguous();
      return sampleTokens(rows, uniforms(n), { temperature, topP });
    });
  const probabilities = (temperature: number) => {
    const exps = logits.map((logit) => Math.exp(logit / temperature));
    const total = exps.reduce((a, b) => a + b, 0);
    return exps.map((value) => value / total);
  };

  it.each([
    [1, 1],
    [0.7, 1],
    [1.5, 0.8],
  ])('draws by the distribution: chi-squared at temperature %f, top-p %f', (temperature, topP) => {
    const n = 40_000;
    const all = probabilities(temperature);
    const order = all.map((_, i) => i).sort((a, b) => all[b]! - all[a]!);
    let before = 0;
    const kept = new Map<number, number>();
    for (const token of order) {
      if (before < topP) kept.set(token, all[token]!);
      before += all[token]!;
    }
    const mass = [...kept.values()].reduce((a, b) => a + b, 0);
    const { ids: drawn, logps, samplingLogps } = draw(n, temperature, topP);
    const counts = new Map<number, number>();
    drawn.forEach((token, i) => {
      counts.set(token, (counts.get(token) ?? 0) + 1);
      expect(kept.has(token)).toBe(true);
      expect(logps[i]).toBeCloseTo(Math.log(all[token]!), 4);
      expect(samplingLogps[i]).toBeCloseTo(Math.log(all[token]! / mass), 4);
    });
    let chi = 0;
    for (const [token, p] of kept) chi += ((counts.get(token) ?? 0) - (n * p) / mass) ** 2 / ((n * p) / mass);
    expect(chi).toBeLessThan(24.3); // 7 degrees of freedom, 1 in 1,000
  });

  it('takes the likeliest at temperature 0, and never a token of probability 0', () => {
    expect(new Set(draw(50, 0, 1).ids)).toEqual(new Set([0]));
    scope(() => {
      const row = fromBytes(Float32Array.from([-Infinity, 0, -Infinity, 0, -Infinity]), 'f32', [1, 5]);
      for (const word of [0, 2 ** 31, 2 ** 32 - 1]) {
        const { ids: drawn } = sampleTokens(row, Float32Array.from([uniformOf(word)]), {
          temperature: 1,
          topP: 1,
        });
        expect([1, 3]).toContain(drawn[0]);
      }
    });
  });
});
