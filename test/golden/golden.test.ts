/**
 * Owns the comparison with the Python reference stack: every case below GOLDEN_DIR (by default the few beside this
 * file) whose kind is known here. The cases were made for this project with torch 2.13, transformers 5.18 and TRL 1.13.
 */

import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { describe, expect, it } from 'vitest';
import { decoupledAdvantages, groupAdvantages } from '../../src/advantages/index.ts';
import { loadModel, readSafetensors } from '../../src/models/index.ts';
import { AdamW, clipGradNorm } from '../../src/optim/index.ts';
import { backward, liveTensors, noGrad, scope, type Tensor, zeros } from '../../src/torch/index.ts';

const root = process.env['GOLDEN_DIR'] ?? join(dirname(fileURLToPath(import.meta.url)), 'cases');

interface Entry {
  readonly value?: unknown;
  readonly rtol?: number;
  readonly atol?: number;
  readonly mask?: string;
}

interface Case {
  readonly id: string;
  readonly kind: string;
  // biome-ignore lint/suspicious/noExplicitAny: parameters differ by kind and are read where they are known
  readonly params: Record<string, any>;
  readonly uses: Readonly<Record<string, string>>;
  readonly inputs: Readonly<Record<string, Entry>>;
  readonly expected: Readonly<Record<string, Entry>>;
}

type Tensors = ReadonlyMap<string, Tensor>;
/** What a handler computed, by the name of the expected entry. */
type Got = Readonly<Record<string, ArrayLike<number> | number>>;
type Handler = (one: Case, inputs: Tensors) => Got | string;

const f32 = { dtype: 'f32', computeDtype: 'f32', device: 'cpu' } as const;

const handlers: Readonly<Record<string, Handler>> = {
  'model.logits': (one, inputs) => {
    const folder = modelOf(one);
    if (!isPlainQwen2(folder)) return 'another architecture, dtype or sharding';
    if (one.id.includes('leftpad')) return 'left padding is not used';
    using model = loadModel(folder, f32);
    return noGrad(() =>
      scope(() => ({ logits: model.logits(model.forward(inputs.get('input_ids')!)).toFloat32() })),
    );
  },
  'model.loss': (one, inputs) => {
    const folder = modelOf(one);
    if (!isPlainQwen2(folder)) return 'another architecture, dtype or sharding';
    using model = loadModel(folder, f32);
    for (const [, parameter] of model.namedParameters()) parameter.requiresGrad_();
    const labels = [...inputs.get('labels')!.toInt32()];
    const width = inputs.get('labels')!.size(1);
    return scope(() => {
      const logits = model.logits(model.forward(inputs.get('input_ids')!));
      const rows = labels.flatMap((label, i) =>
        i % width > 0 && label !== -100 ? [[i - 1, label] as const] : [],
      );
      const all = logits.view([-1, model.config.vocabSize]).logSoftmax(-1);
      const loss = rows
        .map(([place, label]) => all.select(0, place).select(0, label))
        .reduce((sum, logp) => sum.add(logp))
        .mul(-1 / rows.length);
      backward(loss);
      const got: Record<string, ArrayLike<number> | number> = { loss: loss.item() };
      for (const [name, parameter] of model.namedParameters())
        got[`grad.${name}`] = parameter.grad!.toFloat32();
      return got;
    });
  },
  'grpo.advantages': ({ params }, inputs) => {
    const matrix = inputs.get('rewards_per_func')!;
    const rows = chunked([...matrix.toFloat64()], matrix.size(1)).map((row) =>
      row.map((value) => (Number.isNaN(value) ? null : value)),
    );
    const weights: number[] = params['reward_weights'];
    const size: number = params['num_generations'];
    if (params['multi_objective_aggregation'] === 'normalize_then_sum') {
      const { advantages } = decoupledAdvantages(chunked(rows, size), weights, { epsilon: params['eps'] });
      return { advantages: advantages.flat(), advantages_f64: advantages.flat() };
    }
    const totals = rows.map((row) =>
      row.every((value) => value === null)
        ? null
        : row.reduce<number>((sum, value, k) => sum + (value === null ? 0 : weights[k]! * value), 0),
    );
    const { advantages } = groupAdvantages(chunked(totals, size), {
      scale: params['scale_rewards'],
      epsilon: params['eps'],
      ddof: params['ddof'],
    });
    return { advantages: advantages.flat(), advantages_f64: advantages.flat() };
  },
  'optim.adamw': ({ params }, inputs) => {
    if (
      params['dtype'] !== 'f32' ||
      params['weight_decay'] !== 0 ||
      params['lr_scheduler'] ||
      params['max_grad_norm']
    ) {
      return 'decay on vectors, schedules inside and other dtypes are not ours';
    }
    const names = [...inputs.keys()].filter((name) => name.startsWith('grads.')).map((name) => name.slice(6));
    return scope(() => {
      const parameters = names.map((name) => [name, inputs.get(`param0.${name}`)!.clone()] as const);
      using optimizer = new AdamW(parameters, {
        betas: params['betas'],
        epsilon: params['eps'],
        weightDecay: 0,
      });
      const trace = new Map(names.map((name) => [name, [] as number[]]));
      for (let step = 0; step < params['steps']; step++) {
        for (const [name, parameter] of parameters)
          parameter.grad = inputs.get(`grads.${name}`)!.select(0, step);
        optimizer.step(params['lr']);
        for (const [name, parameter] of parameters) trace.get(name)!.push(...parameter.toFloat32());
      }
      return Object.fromEntries(
        names.flatMap((name) => [
          [`params.${name}`, trace.get(name)!],
          [`exp_avg.${name}`, optimizer.state().get(`${name}.exp_avg`)!.toFloat32()],
          [`exp_avg_sq.${name}`, optimizer.state().get(`${name}.exp_avg_sq`)!.toFloat32()],
        ]),
      );
    });
  },
  'optim.clip': ({ params }, inputs) => {
    if (params['norm_type'] !== 2 || [...inputs.values()].some((value) => value.dtype !== 'f32')) {
      return 'only the 2-norm of f32 gradients';
    }
    return scope(() => {
      const parameters = [...inputs.values()].map((gradient) => {
        const parameter = zeros(gradient.shape);
        parameter.grad = gradient.clone();
        return parameter;
      });
      const total = clipGradNorm(parameters, params['max_norm']);
      if (!Number.isFinite(total)) return 'the trainer stops before it clips what is not finite';
      const got: Record<string, ArrayLike<number> | number> = { total_norm: total };
      parameters.forEach((parameter, i) => {
        got[`clipped.${i}`] = parameter.grad!.toFloat32();
      });
      return got;
    });
  },
};

const found = findCases(root);
const skipped = new Map<string, number>();

describe.skipIf(found.length === 0)('golden cases', () => {
  it.each(found.filter((one) => handlers[one.kind]).map((one) => [one.id, one] as const))('%s', (id, one) => {
    const before = liveTensors();
    const inputs = tensorsOf(id, 'inputs');
    const expected = tensorsOf(id, 'expected');
    const got = handlers[one.kind]!(one, inputs);
    if (typeof got === 'string') {
      const reason = `${one.kind}: ${got}`;
      skipped.set(reason, (skipped.get(reason) ?? 0) + 1);
    } else {
      expect(compared(one, got, inputs, expected)).toBeGreaterThan(0);
    }
    for (const value of [...inputs.values(), ...expected.values()]) value.dispose();
    expect(liveTensors()).toBe(before);
  });

  it('says what it left out', () => {
    for (const one of found) {
      if (!handlers[one.kind])
        skipped.set(`${one.kind}: not built yet`, (skipped.get(`${one.kind}: not built yet`) ?? 0) + 1);
    }
    const total = [...skipped.values()].reduce((a, b) => a + b, 0);
    process.stdout.write(`golden: ${found.length - total} of ${found.length} cases compared\n`);
    for (const [reason, count] of skipped) process.stdout.write(`golden: skipped ${count} x ${reason}\n`);
    expect(found.length).toBeGreaterThan(total);
  });
});

/** Compares every entry that was computed and is expected; returns how many. */
function compared(one: Case, got: Got, inputs: Tensors, expected: Tensors): number {
  let count = 0;
  for (const [name, entry] of Object.entries(one.expected)) {
    const mine = got[name];
    if (mine === undefined) continue;
    const theirs = expected.get(name)?.toFloat64() ?? [entry.value as number];
    const ours = typeof mine === 'number' ? [mine] : mine;
    expect(ours.length, name).toBe(theirs.length);
    const mask =
      entry.mask === undefined ? null : (inputs.get(entry.mask) ?? expected.get(entry.mask))!.toFloat64();
    const stride = mask ? theirs.length / mask.length : 1;
    for (let i = 0; i < theirs.length; i++) {
      if (mask && mask[Math.floor(i / stride)] === 0) continue;
      const bound = (entry.atol ?? 0) + (entry.rtol ?? 0) * Math.abs(theirs[i]!);
      if (Object.is(ours[i], theirs[i]) || Math.abs(ours[i]! - theirs[i]!) <= bound) continue;
      expect.fail(`${one.id} ${name}[${i}]: expected ${theirs[i]} within ${bound}, found ${ours[i]}`);
    }
    count++;
  }
  return count;
}

function findCases(folder: string): Case[] {
  if (!existsSync(folder)) return [];
  return readdirSync(folder, { recursive: true, encoding: 'utf8' })
    .filter((path) => path.endsWith('case.json'))
    .sort()
    .map((path) => ({ ...JSON.parse(readFileSync(join(folder, path), 'utf8')), id: dirname(path) }) as Case);
}

function tensorsOf(id: string, part: 'inputs' | 'expected'): Tensors {
  const path = join(root, id, `${part}.safetensors`);
  return existsSync(path) ? readSafetensors(path) : new Map();
}

function modelOf(one: Case): string {
  return join(root, one.uses['model'] ?? '');
}

function isPlainQwen2(folder: string): boolean {
  const config = join(folder, 'config.json');
  if (!existsSync(config) || !existsSync(join(folder, 'model.safetensors'))) return false;
  const { model_type: type, dtype, torch_dtype: old } = JSON.parse(readFileSync(config, 'utf8'));
  return type === 'qwen2' && (dtype ?? old) === 'float32';
}

function chunked<T>(items: readonly T[], size: number): T[][] {
  return Array.from({ length: items.length / size }, (_, i) => items.slice(i * size, (i + 1) * size));
}
