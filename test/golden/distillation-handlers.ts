/** Owns the golden cases of distillation: divergences of given logits, from hidden states in chunks, and on models. */

import { backwardThroughDivergence, divergenceTerms } from '../../src/losses/index.ts';
import { backward, type DType, full, ids, noGrad, scope, type Tensor, zeros } from '../../src/torch/index.ts';
import type { Case, Got, Handlers, Tensors } from './case.ts';
import { gradientsOf, paddedLayout, trainableModel } from './model-step.ts';

export const distillationHandlers: Handlers = {
  'gkd.loss': (one, inputs) => {
    const double = scope(() => divergence(one, inputs, 'f64'));
    return {
      ...scope(() => divergence(one, inputs, 'f32')),
      loss_f64: double['loss'],
      grad_student_logits_f64: double['grad_student_logits'],
    };
  },
  'gkd.step': (one, inputs) => {
    using student = trainableModel(one);
    using teacher = trainableModel(one, 'teacher');
    const labels = inputs.get('labels')!;
    const width = labels.size(1);
    // A label is predicted one position before it stands.
    const places = [...labels.toInt32()].flatMap((label, i) =>
      label !== -100 && i % width > 0 ? [i - 1] : [],
    );
    const loss = scope(() => {
      const statesOf = (model: typeof student) => ({
        hidden_ND: model
          .forward(inputs.get('input_ids')!, paddedLayout(inputs.get('attention_mask')))
          .view([-1, model.config.hiddenSize])
          .indexSelect(0, ids(places)),
        head_VD: model.headWeight,
      });
      const weights_N = full([places.length], 1 / (one.params['num_items_in_batch'] ?? places.length));
      return backwardThroughDivergence(
        statesOf(student),
        noGrad(() => statesOf(teacher)),
        weights_N,
        { beta: one.params['beta'], temperature: 1, chunkTokens: 5 },
      ).loss;
    });
    return { loss, ...gradientsOf(student) };
  },
  'distill.chunked': (one, inputs) => scope(() => chunkedDivergence(one, inputs)),
};

function divergence({ params }: Case, inputs: Tensors, dtype: DType): Got {
  const leaf = inputs.get('student_logits')!.to(dtype).clone().requiresGrad_();
  const logps = (logits: Tensor) => logits.div(params['temperature']).logSoftmax(-1);
  const terms = divergenceTerms(logps(leaf), logps(inputs.get('teacher_logits')!.to(dtype)), {
    beta: params['beta'],
  });
  const labels = inputs.get('labels');
  const known = labels
    ?.eq(full([1], -100, 'i64'))
    .logicalNot()
    .to(dtype);
  const counted = known
    ? terms
        .view([-1, leaf.size(-1)])
        .indexSelect(0, ids([...known.toFloat64()].flatMap((one, i) => (one ? [i] : []))))
    : terms;
  const count = known ? counted.size(0) : leaf.size(0);
  const sum = counted.sum();
  const loss = (() => {
    if ((params['num_items_in_batch'] ?? null) !== null) return sum.div(params['num_items_in_batch']);
    if (params['reduction'] === 'batchmean') return sum.div(Math.max(1, count));
    if (params['reduction'] === 'sum') return sum;
    return params['reduction'] === 'mean' ? sum.div(counted.numel) : counted;
  })();
  backward(loss.sum());
  const value = loss.shape.length === 0 ? loss.item() : loss.toFloat64();
  return { loss: value, grad_student_logits: leaf.grad!.toFloat64() };
}

function chunkedDivergence({ params }: Case, inputs: Tensors): Got {
  const flat = (name: string) => {
    const hidden = inputs.get(name)!;
    return hidden.view([-1, hidden.size(-1)]);
  };
  const mask = [...inputs.get('completion_mask')!.toInt32()];
  const places = ids(mask.flatMap((one, i) => (one ? [i] : [])));
  const count = places.size(0);
  const hidden = flat('student_hidden').clone().requiresGrad_();
  const head = inputs.get('student_lm_head')!.clone().requiresGrad_();
  const { loss, entropy } = backwardThroughDivergence(
    { hidden_ND: hidden.indexSelect(0, places), head_VD: head },
    { hidden_ND: flat('teacher_hidden').indexSelect(0, places), head_VD: inputs.get('teacher_lm_head')! },
    full([count], 1 / (params['num_items_in_batch'] ?? Math.max(1, count))),
    { beta: params['beta'], temperature: params['temperature'], chunkTokens: params['chunk_size'] },
  );
  return {
    loss,
    entropy_sum: entropy,
    n_valid: count,
    grad_student_hidden: (hidden.grad ?? zeros(hidden.shape)).toFloat32(),
    grad_student_lm_head: (head.grad ?? zeros(head.shape)).toFloat32(),
  };
}
