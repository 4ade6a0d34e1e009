/** Owns the golden cases of adapters: logits beside and merged, loss, gradients and merged weights. */

import { join } from 'node:path';
import { backwardThroughLogps } from '../../src/losses/index.ts';
import { adapterTargets, type Decoder, loadAdapter, loadModel } from '../../src/models/index.ts';
import {
  adapterParameters,
  mergeAdapter,
  mergedParameters,
  unmergeAdapter,
  useAdapter,
  withAdapter,
} from '../../src/nn/index.ts';
import { type DType, ids, noGrad, scope, type Tensor } from '../../src/torch/index.ts';
import { type Case, type Got, type Handlers, root, type Tensors } from './case.ts';
import { paddedLayout } from './model-step.ts';

export const loraHandlers: Handlers = {
  lora: (one, inputs) => {
    if (!one.expected['logits_upcast_f32']) return adapted(one, inputs, 'f32');
    const exact = adapted(one, inputs, 'f32');
    const rounded = adapted(one, inputs, 'bf16');
    const upcast = Object.entries(exact).map(
      ([name, value]) => [name.replace(/^(logits|loss|grad)/, '$1_upcast_f32'), value] as const,
    );
    return { ...Object.fromEntries(upcast), ...rounded };
  },
};

/** Everything about the case, with weights and activations in `dtype`. */
function adapted(one: Case, inputs: Tensors, dtype: DType): Got {
  using model = loadModel(join(root, one.uses['model']!), { dtype, computeDtype: dtype, device: 'cpu' });
  const config = loadAdapter(model, 'tested', join(root, one.uses['adapter']!));
  const targets = adapterTargets(model, config).lowRank;
  const got: Got = {
    scaling: Object.fromEntries(targets.map(({ path, scale }) => [path, scale])),
    base_logits: logitsOf(model, inputs),
  };
  useAdapter(model, 'tested');
  got['logits'] = logitsOf(model, inputs);
  Object.assign(got, lossAndGradients(model, inputs));
  mergeAdapter(model, 'tested');
  got['merged_logits'] = logitsOf(model, inputs);
  unmergeAdapter(model, 'tested');
  withAdapter(model, 'tested', () =>
    scope(() => {
      for (const [name, value] of mergedParameters(model)) got[`merged_weight.${name}`] = value.toFloat32();
    }),
  );
  return got;
}

function logitsOf(model: Decoder, inputs: Tensors): Float32Array {
  return noGrad(() => scope(() => model.logits(hiddenOf(model, inputs)).toFloat32()));
}

function hiddenOf(model: Decoder, inputs: Tensors): Tensor {
  return model.forward(inputs.get('input_ids')!, paddedLayout(inputs.get('attention_mask')));
}

/** Through the trainer's own path: states that predict a label, chunked log-probabilities, their backward pass. */
function lossAndGradients(model: Decoder, inputs: Tensors): Got {
  const parameters = adapterParameters(model, 'tested');
  for (const parameter of parameters.values()) parameter.requiresGrad_();
  const labels = inputs.get('labels')!;
  const width = labels.size(1);
  const rows = [...labels.toInt32()].flatMap((label, i) =>
    i % width > 0 && label !== -100 ? [[i - 1, label] as const] : [],
  );
  return scope(() => {
    const hidden = hiddenOf(model, inputs).view([-1, model.config.hiddenSize]);
    const loss = backwardThroughLogps(
      hidden.indexSelect(0, ids(rows.map(([place]) => place))),
      model.headWeight,
      ids(rows.map(([, label]) => label)),
      { temperature: 1, chunkTokens: 7 },
      ({ logps_N }) => logps_N.mean().neg(),
    );
    const got: Got = { loss: loss.item() };
    for (const [name, parameter] of parameters) got[`grad.${asInPeft(name)}`] = parameter.grad!.toFloat32();
    return got;
  });
}

/** PEFT's names in memory: modules stored whole say so, and magnitudes are weights of a module of their own. */
function asInPeft(name: string): string {
  if (name.endsWith('.lora_magnitude_vector')) return `${name}.weight`;
  return name.includes('.lora_') ? name : name.replace(/\.(\w+)$/, '.modules_to_save.$1');
}
