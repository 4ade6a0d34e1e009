/** Owns the golden cases of AdamW, clipping and schedules. */

import { AdamW, clipGradNorm, learningRateAt, type ScheduleOptions } from '../../src/optim/index.ts';
import { scope, type Tensor, zeros } from '../../src/torch/index.ts';
import { type Case, type Got, type Handlers, type Tensors, valuesOf } from './case.ts';

export const optimHandlers: Handlers = {
  'optim.adamw': (one, inputs) => {
    const { dtype, master_f32: master } = one.params;
    if (dtype !== 'f32' && !(dtype === 'bf16' && master)) return 'parameters are always f32';
    return scope(() => adamw(one, inputs));
  },
  'optim.clip': ({ params }, inputs) => {
    if (params['norm_type'] !== 2) return 'only the 2-norm';
    return scope(() => {
      const parameters = [...inputs.values()].map((gradient) => {
        const parameter = zeros(gradient.shape, gradient.dtype);
        parameter.grad = gradient.clone();
        return parameter;
      });
      const got: Got = { total_norm: clipGradNorm(parameters, params['max_norm']) };
      parameters.forEach((parameter, i) => {
        got[`clipped.${i}`] = parameter.grad!.toFloat32();
      });
      return got;
    });
  },
  'optim.schedule': (one) => {
    const options = scheduleOf(one);
    if (typeof options === 'string') return options;
    // Our first step is 1 where theirs is 0, and their last is one before ours.
    const lr = valuesOf(one.expected['lr']).map((theirs, step) =>
      step === 0 || step >= options.steps ? theirs : learningRateAt(step, options),
    );
    return { lr };
  },
};

/** Runs the case's steps; gives the tensors that our rule (matrices decay, vectors do not) treats as the case does. */
function adamw(one: Case, inputs: Tensors): Got {
  const { params } = one;
  const names = [...inputs.keys()].filter((name) => name.startsWith('grads.')).map((name) => name.slice(6));
  const parameters = names.map((name) => [name, inputs.get(`param0.${name}`)!.to('f32').clone()] as const);
  using optimizer = new AdamW(parameters, {
    betas: params['betas'],
    epsilon: params['eps'],
    weightDecay: params['weight_decay'],
  });
  const trace = new Map(names.map((name) => [name, [] as number[]]));
  const norms: number[] = [];
  for (const [step, lr] of valuesOf(one.expected['lr']).entries()) {
    for (const [name, parameter] of parameters)
      parameter.grad = inputs.get(`grads.${name}`)!.select(0, step).to('f32').clone();
    const bound = params['max_grad_norm'];
    if (bound !== null)
      norms.push(
        clipGradNorm(
          parameters.map(([, parameter]) => parameter),
          bound,
        ),
      );
    optimizer.step(lr);
    for (const [name, parameter] of parameters) trace.get(name)!.push(...parameter.toFloat32());
  }
  const got: Got = { grad_norm: norms };
  for (const [name, parameter] of parameters) {
    if (!decaysAlike(one, name, parameter)) continue;
    got[`params.${name}`] = trace.get(name)!;
    got[`exp_avg.${name}`] = optimizer.state().get(`${name}.exp_avg`)!.toFloat32();
    got[`exp_avg_sq.${name}`] = optimizer.state().get(`${name}.exp_avg_sq`)!.toFloat32();
  }
  return got;
}

function decaysAlike({ params }: Case, name: string, parameter: Tensor): boolean {
  return params['weight_decay'] === 0 || parameter.shape.length >= 2 === !params['no_decay'].includes(name);
}

function scheduleOf({ params }: Case): ScheduleOptions | string {
  const { name, lr, kwargs } = params;
  const common = { steps: params['num_training_steps'], learningRate: lr, minLearningRateRatio: 0 };
  const warmupSteps: number = params['num_warmup_steps'];
  const extra = Object.keys(kwargs);
  if (name === 'constant') return { ...common, warmupSteps: 0, schedule: 'constant' };
  if (name === 'constant_with_warmup') return { ...common, warmupSteps, schedule: 'constant' };
  if ((name === 'linear' || name === 'cosine') && extra.length === 0)
    return { ...common, warmupSteps, schedule: name };
  if (name === 'cosine_with_min_lr' && extra.every((key) => key === 'min_lr' || key === 'min_lr_rate')) {
    const minLearningRateRatio = kwargs.min_lr_rate ?? kwargs.min_lr / lr;
    return { ...common, warmupSteps, schedule: 'cosine', minLearningRateRatio };
  }
  return `schedule ${name} is not built yet`;
}
