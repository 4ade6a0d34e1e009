/** Owns the golden cases of AdamW, clipping and schedules. */

import { join } from 'node:path';
import { loadModel } from '../../src/models/index.ts';
import {
  AdamW,
  clipGradNorm,
  decaysByDefault,
  type ScheduleName,
  type ScheduleShape,
  scheduleFactor,
  warmupStepsOf,
} from '../../src/optim/index.ts';
import { backward, type DType, scope, zeros } from '../../src/torch/index.ts';
import { type Case, type Got, type Handlers, root, type Tensors, valuesOf } from './case.ts';

export const optimHandlers: Handlers = {
  'optim.adamw': (one, inputs) => {
    const { dtype, master_f32: master } = one.params as { dtype: DType; master_f32: boolean };
    const own = scope(() => adamw(one, inputs, master ? 'f32' : dtype));
    const double = Object.entries(scope(() => adamw(one, inputs, 'f64')));
    const twins = double.flatMap(([name, value]) =>
      name.startsWith('params.') ? [[name.replace('params.', 'params_f64.'), value] as const] : [],
    );
    return { ...own, ...Object.fromEntries(twins) };
  },
  'optim.clip': ({ params }, inputs) =>
    scope(() => {
      const parameters = [...inputs.values()].map((gradient) => {
        const parameter = zeros(gradient.shape, gradient.dtype);
        parameter.grad = gradient.clone();
        return parameter;
      });
      const order = Number(params['norm_type']) as 1 | 2;
      const got: Got = { total_norm: clipGradNorm(parameters, params['max_norm'], order) };
      [...inputs.keys()].forEach((name, i) => {
        got[name.replace('grad', 'clipped')] = parameters[i]!.grad!.toFloat32();
      });
      return got;
    }),
  'optim.schedule': (one) => ({
    lr: valuesOf(one.expected['lr']).map((_, step) => rateAt(one.params, step)),
  }),
  'optim.decay_names': (one) => {
    const options = { dtype: 'f32', computeDtype: 'f32', device: 'cpu' } as const;
    using model = loadModel(join(root, one.uses['model']!), options);
    const names = [...model.namedParameters()];
    const having = (decays: boolean) => {
      const found = new Set(
        names.flatMap(([name, value]) => (decaysByDefault(name, value) === decays ? [name] : [])),
      );
      // The order of the reference's module tree is not ours.
      const listed = one.expected[decays ? 'decay' : 'no_decay']!.value as string[];
      return [
        ...listed.filter((name) => found.has(name)),
        ...[...found].filter((name) => !listed.includes(name)),
      ];
    };
    return { decay: having(true), no_decay: having(false) };
  },
  'optim.toy': (one, inputs) => scope(() => toyRegression(one, inputs)),
  'optim.warmup_steps': (one) => {
    const rows = one.expected['rows']!.value as { warmup_steps: number; num_training_steps: number }[];
    return {
      rows: rows.map((row) => ({ ...row, result: warmupStepsOf(row.warmup_steps, row.num_training_steps) })),
    };
  },
};

/** Runs the case's steps in `dtype`. */
function adamw(one: Case, inputs: Tensors, dtype: DType): Got {
  const { params } = one;
  const names = [...inputs.keys()].filter((name) => name.startsWith('grads.')).map((name) => name.slice(6));
  const parameters = names.map((name) => [name, inputs.get(`param0.${name}`)!.to(dtype).clone()] as const);
  using optimizer = new AdamW(parameters, {
    betas: params['betas'],
    epsilon: params['eps'],
    weightDecay: params['weight_decay'],
    decays: (name) => !params['no_decay'].includes(name),
  });
  const trace = new Map(names.map((name) => [name, [] as number[]]));
  const rounded = new Map(names.map((name) => [name, [] as number[]]));
  const norms: number[] = [];
  const lr = ratesOf(one);
  for (const [step, rate] of lr.entries()) {
    for (const [name, parameter] of parameters)
      parameter.grad = inputs.get(`grads.${name}`)!.select(0, step).to(dtype).clone();
    const bound = params['max_grad_norm'];
    if (bound !== null)
      norms.push(
        clipGradNorm(
          parameters.map(([, parameter]) => parameter),
          bound,
        ),
      );
    optimizer.step(rate);
    for (const [name, parameter] of parameters) {
      trace.get(name)!.push(...parameter.toFloat64());
      if (dtype === 'f32') rounded.get(name)!.push(...parameter.to('bf16').toFloat64());
    }
  }
  const got: Got = { lr, grad_norm: norms };
  for (const [name] of parameters) {
    got[`params.${name}`] = trace.get(name)!;
    got[`params_bf16.${name}`] = rounded.get(name)!;
    got[`exp_avg.${name}`] = optimizer.state().get(`${name}.exp_avg`)!.toFloat64();
    got[`exp_avg_sq.${name}`] = optimizer.state().get(`${name}.exp_avg_sq`)!.toFloat64();
  }
  return got;
}

function ratesOf({ params }: Case): number[] {
  const { steps, lr, lr_scheduler: scheduler } = params;
  return Array.from({ length: steps as number }, (_, step) =>
    scheduler ? rateAt({ kwargs: {}, ...scheduler, lr }, step) : lr,
  );
}

/** Least squares on a line of matrices, from the gradient to the clipped step. */
function toyRegression({ params }: Case, inputs: Tensors): Got {
  const W = inputs.get('W0')!.clone().requiresGrad_();
  const b = inputs.get('b0')!.clone().requiresGrad_();
  using optimizer = new AdamW(
    [
      ['W', W],
      ['b', b],
    ],
    {
      betas: params['betas'],
      epsilon: params['eps'],
      weightDecay: params['weight_decay'],
      decays: () => true,
    },
  );
  const losses: number[] = [];
  const norms: number[] = [];
  for (let step = 0; step < params['steps']; step++) {
    const error = inputs.get('X')!.linear(W, b).sub(inputs.get('y')!);
    const loss = error.square().mean();
    backward(loss);
    losses.push(loss.item());
    norms.push(clipGradNorm([W, b], params['max_grad_norm']));
    optimizer.step(params['lr']);
  }
  return { W: W.toFloat32(), b: b.toFloat32(), losses, grad_norms: norms };
}

/** The learning rate of step 0, 1, ... of a schedule of transformers. */
export function rateAt(params: Case['params'], step: number): number {
  const [name, shape] = scheduleOf(params);
  return params['lr'] * scheduleFactor(name, step, shape);
}

/** A schedule of transformers by our names. */
function scheduleOf(params: Case['params']): [ScheduleName, ScheduleShape] {
  const { name, lr, kwargs } = params;
  const minRatio = kwargs.min_lr_rate ?? kwargs.min_lr_ratio ?? (kwargs.min_lr ?? kwargs.lr_end ?? 0) / lr;
  const constant = name === 'constant';
  const given = {
    minRatio: name === 'polynomial' && kwargs.lr_end === undefined ? 1e-7 / lr : minRatio,
    cycles: kwargs.num_cycles,
    power: kwargs.power,
    timescale: kwargs.timescale,
    warmupRatio: kwargs.warmup_lr_rate,
    decaySteps: kwargs.num_decay_steps,
    stableSteps: kwargs.num_stable_steps,
    warmupShape: kwargs.warmup_type,
    decayShape: kwargs.decay_type,
  };
  const known = Object.entries(given).filter(([, value]) => value !== undefined && value !== null);
  const shape: ScheduleShape = {
    steps: params['num_training_steps'],
    warmupSteps: constant ? 0 : params['num_warmup_steps'],
    ...Object.fromEntries(known),
  };
  return [ours[name]!, shape];
}

const ours: Readonly<Record<string, ScheduleName>> = {
  constant: 'constant',
  constant_with_warmup: 'constant',
  linear: 'linear',
  cosine: 'cosine',
  cosine_with_min_lr: 'cosine',
  cosine_warmup_with_min_lr: 'cosine-early-warmup',
  cosine_with_restarts: 'cosine-restarts',
  polynomial: 'polynomial',
  inverse_sqrt: 'inverse-sqrt',
  warmup_stable_decay: 'wsd',
};
