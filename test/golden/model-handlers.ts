/** Owns the golden cases of the decoder: logits, loss and gradients, log-probabilities, the cache, greedy decoding. */

import { join } from 'node:path';
import { generate } from '../../src/generate/index.ts';
import { backwardThroughLogps, tokenLogps } from '../../src/losses/index.ts';
import { type Decoder, KvCache, loadModel, type RowLayout, stepContext } from '../../src/models/index.ts';
import { loadTokenizer } from '../../src/text/index.ts';
import {
  arange,
  cat,
  type DType,
  ids,
  noGrad,
  scope,
  type Tensor,
  tensor,
  zeros,
} from '../../src/torch/index.ts';
import { cutMicroBatches, predictingStates } from '../../src/train/micro-batches.ts';
import { type Case, chunked, type Got, type Handlers, root, type Tensors } from './case.ts';
import { paddedLayout, positionsOf } from './model-step.ts';

export const modelHandlers: Handlers = {
  'model.logits': (one, inputs) => {
    const exact = withModel(one, 'f32', (model) => logitsOf(model, inputs));
    if (!one.expected['logits_bf16']) return exact;
    const known = exact['logits'] as Float32Array;
    const rounded = withModel(one, 'bf16', (model) => logitsOf(model, inputs)['logits'] as Float32Array);
    return {
      logits_upcast_f32: known,
      logits_bf16: rounded,
      // A bound, not a value: what is below it counts as it.
      mean_abs_error_budget: Math.max(
        meanDifference(rounded, known, inputs.get('attention_mask')!),
        one.expected['mean_abs_error_budget']!.value as number,
      ),
    };
  },
  'model.packed': (one, inputs) =>
    withModel(one, 'f32', (model) => {
      const positions_BT = inputs.get('position_ids')!;
      const starts = [...positions_BT.toInt32()].map((position) => Number(position === 0));
      return scope(() => {
        const segments_BT = tensor(starts, { dtype: 'i64', shape: positions_BT.shape }).cumsum(1);
        return { logits: run(model, inputs, { positions_BT, segments_BT }) };
      });
    }),
  'model.loss': (one, inputs) => {
    const exact = withModel(one, 'f32', (model) => lossAndGradients(model, inputs));
    if (!one.expected['loss_bf16']) return exact;
    const rounded = withModel(one, 'bf16', (model) => lossAndGradients(model, inputs));
    return { ...renamed(exact, 'upcast_f32'), ...renamed(rounded, 'bf16') };
  },
  'model.completion_logps': (one, inputs) =>
    withModel(one, 'f32', (model) => completionLogps(one, model, inputs)),
  'model.kv_cache': (one, inputs) =>
    withModel(one, 'f32', (model) => stepwiseCache(one, model, inputs.get('input_ids')!)),
  'model.greedy': async (one) => {
    const folder = folderOf(one);
    using policy = loadModel(folder, { dtype: 'f32', computeDtype: 'f32', device: 'cpu' });
    using model = policy.snapshot();
    const prompts = one.inputs['prompts']!.value as number[][];
    const requests = prompts.map((promptIds, i) => ({ problemId: `${i}`, promptIds, samples: 1 }));
    const greedy = async (stopIds: number[]) => {
      const common = { temperature: 0, topP: 1, seed: 1, step: 0, stopIds };
      const maxNewTokens = one.params['max_new_tokens'] as number;
      const groups = await generate(model, loadTokenizer(folder), requests, { ...common, maxNewTokens });
      return groups.map(([first]) => [...first!.completionIds]);
    };
    const ended = await greedy(one.params['eos_token_ids']);
    const width = Math.max(...ended.map((row) => row.length));
    return {
      tokens_without_eos: await greedy([]),
      tokens_with_eos_trimmed: ended,
      tokens_with_eos: ended.map((row) => [
        ...row,
        ...new Array<number>(width - row.length).fill(one.params['pad_token_id']),
      ]),
    };
  },
};

function folderOf(one: Case): string {
  return join(root, one.uses['model'] ?? '');
}

/** Runs `use` on the case's model with f32 weights, whatever the file has. */
function withModel<T>(one: Case, computeDtype: DType, use: (model: Decoder) => T): T {
  using model = loadModel(folderOf(one), { dtype: 'f32', computeDtype, device: 'cpu' });
  return use(model);
}

function run(
  model: Decoder,
  inputs: Tensors,
  layout?: RowLayout,
  watched?: (states: Tensor) => void,
): Float32Array {
  return noGrad(() =>
    scope(() => {
      const hidden = model.forward(inputs.get('input_ids')!, layout, watched);
      watched?.(hidden);
      return model.logits(hidden).toFloat32();
    }),
  );
}

/** Padding is a segment of its own; without position ids, positions count it, as a plain call of the reference does. */
function logitsOf(model: Decoder, inputs: Tensors): Got {
  const mask = inputs.get('attention_mask');
  const given = inputs.get('position_ids');
  if (!mask) {
    const got: Got = {};
    let place = 0;
    got['logits'] = run(model, inputs, undefined, (states) => {
      got[`hidden_states.${place++}`] = states.toFloat32();
    });
    return { ...got, ...ropeOf(model, inputs.get('input_ids')!.size(1)) };
  }
  using counted = noGrad(() => scope(() => positionsOf(mask)));
  const logits = run(model, inputs, { positions_BT: counted, segments_BT: mask });
  if (!given) return { logits };
  return { logits, logits_with_position_ids: run(model, inputs, { positions_BT: given, segments_BT: mask }) };
}

/** The tables as the reference has them: sin without the sign of the rotation. */
function ropeOf(model: Decoder, length: number): Got {
  return scope(() => {
    const { cos, sin } = model.rope.upTo(length, zeros([0]));
    const half = model.config.headDim / 2;
    const [cosines, signed] = [cos.toFloat32(), sin.toFloat32()];
    return {
      rope_cos: cosines,
      rope_sin: signed.map((value, i) => (i % (2 * half) < half ? -value : value)),
      rope_inv_freq: [...model.rope.frequencies],
    };
  });
}

function meanDifference(ours: Float32Array, theirs: Float32Array, mask: Tensor): number {
  const kept = mask.toFloat64();
  const width = ours.length / kept.length;
  const differences = [...ours].flatMap((value, i) =>
    kept[Math.floor(i / width)] === 0 ? [] : [Math.abs(value - theirs[i]!)],
  );
  return differences.reduce((sum, value) => sum + value, 0) / differences.length;
}

/** Through the trainer's own path: states that predict a label, chunked log-probabilities, their backward pass. */
function lossAndGradients(model: Decoder, inputs: Tensors): Got {
  for (const [, parameter] of model.namedParameters()) parameter.requiresGrad_();
  const labels = inputs.get('labels')!;
  const width = labels.size(1);
  const rows = [...labels.toInt32()].flatMap((label, i) =>
    i % width > 0 && label !== -100 ? [[i - 1, label] as const] : [],
  );
  return scope(() => {
    const layout = paddedLayout(inputs.get('attention_mask'));
    const hidden = model.forward(inputs.get('input_ids')!, layout).view([-1, model.config.hiddenSize]);
    const loss = backwardThroughLogps(
      hidden.indexSelect(0, ids(rows.map(([place]) => place))),
      model.headWeight,
      ids(rows.map(([, label]) => label)),
      { temperature: 1, chunkTokens: 7 },
      ({ logps_N }) => logps_N.mean().neg(),
    );
    const got: Got = { loss: loss.item(), loss_num_items_in_batch_doubled: loss.item() / 2 };
    let squares = 0;
    for (const [name, parameter] of model.namedParameters()) {
      const gradient = parameter.grad!.toFloat32();
      got[`grad.${name}`] = gradient;
      squares += gradient.reduce((sum, value) => sum + value * value, 0);
    }
    return { ...got, grad_norm: Math.sqrt(squares) };
  });
}

function renamed(got: Got, suffix: string): Got {
  return Object.fromEntries(
    Object.entries(got).map(([name, value]) => [name.replace(/^(loss|grad)/, `$1_${suffix}`), value]),
  );
}

function completionLogps(one: Case, model: Decoder, inputs: Tensors): Got {
  const rows = (name: string) => {
    const matrix = inputs.get(name)!;
    return chunked([...matrix.toInt32()], matrix.size(1));
  };
  const kept = (values: number[][], mask: number[][]) =>
    values.map((row, b) => row.filter((_, t) => mask[b]![t] === 1));
  const mask = rows('completion_mask');
  const prompts = kept(rows('prompt_ids'), rows('prompt_mask'));
  const completions = kept(rows('completion_ids'), mask);
  const sequences = prompts.map((promptIds, b) => ({ promptIds, completionIds: completions[b]! }));
  const got: Got = {};
  for (const name of Object.keys(one.expected).filter((key) => key.startsWith('logps_T'))) {
    const suffix = name.slice('logps_'.length);
    const logps = mask.map((row) => row.map(() => 0));
    const entropies = mask.map((row) => row.map(() => 0));
    for (const batch of cutMicroBatches(sequences, 24, model.config.padTokenId ?? 0)) {
      if (batch.targets.length === 0) continue;
      scope(() => {
        const { hidden_ND, targets_N } = noGrad(() => predictingStates(model, batch));
        const values = tokenLogps(hidden_ND, model.headWeight, targets_N, {
          temperature: Number(suffix.slice(1)),
        });
        const [l, e] = [values.logps_N.toFloat32(), values.entropies_N.toFloat32()];
        let place = 0;
        for (const b of batch.order) {
          completions[b]!.forEach((_, t) => {
            logps[b]![t] = l[place]!;
            entropies[b]![t] = e[place++]!;
          });
        }
      });
    }
    got[`logps_${suffix}`] = logps.flat();
    got[`entropy_${suffix}`] = entropies.flat();
    got[`sum_logps_${suffix}`] = logps.map((row) => row.reduce((sum, value) => sum + value, 0));
  }
  return got;
}

/** A prefill, then one token at a time: what the engine leaves in the cache. */
function stepwiseCache(one: Case, model: Decoder, ids_BT: Tensor): Got {
  const [rows, capacity] = ids_BT.shape as [number, number];
  const { layers, keyValueHeads, headDim } = model.config;
  using frozen = model.snapshot();
  const prefill = one.params['prefill'] as number;
  const slots = rows;
  const shape = { layers, keyValueHeads, headDim, slots, capacity, prefixes: rows, prefixCapacity: prefill };
  using cache = new KvCache(shape, 'f32', 'cpu');
  return noGrad(() =>
    scope(() => {
      const all = arange(0, rows);
      frozen.prefill(ids_BT.narrow(1, 0, prefill), arange(0, rows), (layer, keys, values) =>
        cache.fill(layer, all, keys, values),
      );
      for (let position = prefill; position < capacity; position++) {
        const places = Array.from({ length: rows }, (_, row) => ({
          slot: row,
          position,
          prefix: row,
          prefixLength: prefill,
        }));
        frozen.step(ids_BT.select(1, position), stepContext(cache, frozen.rope, places));
      }
      const got: Got = {};
      for (let layer = 0; layer < layers; layer++) {
        const stepped = cache.own[layer]!.narrow(3, 0, capacity - prefill);
        const whole = cat([cache.shared[layer]!, stepped], 3);
        got[`key_cache.${layer}`] = whole.select(0, 0).toFloat32();
        got[`value_cache.${layer}`] = whole.select(0, 1).toFloat32();
      }
      return got;
    }),
  );
}
