/** Owns AdamW (Loshchilov and Hutter 2019) over named parameters, fused in libtorch; its state can be saved. */

import { full, noGrad, op, scope, type Tensor, zeros } from '../torch/index.ts';
import { ReckonError } from '../util/errors.ts';

const fusedStep = op('aten::_fused_adamw_');
const fusedDtypes: readonly string[] = ['f32', 'f64'];

export interface AdamWOptions {
  readonly betas: readonly [number, number];
  readonly epsilon: number;
  /** Decoupled. */
  readonly weightDecay: number;
  /** Which parameters decay; `decaysByDefault` where it is silent. */
  readonly decays?: (name: string, parameter: Tensor) => boolean;
}

/**
 * Matrices decay, embeddings and the head included; biases and norms, which have one dimension, do not. DoRA's magnitudes
 * are lengths of a weight's rows and decay, as transformers has it.
 */
export function decaysByDefault(name: string, parameter: Tensor): boolean {
  return parameter.shape.length >= 2 || name.endsWith('lora_magnitude_vector');
}

interface Slot {
  readonly name: string;
  readonly parameter: Tensor;
  readonly firstMoment: Tensor;
  readonly secondMoment: Tensor;
  readonly steps: Tensor;
  readonly decays: boolean;
}

/** Owns the moments, in the dtype of their parameters (f32 masters), not the parameters. */
export class AdamW implements Disposable {
  private readonly options: AdamWOptions;
  private readonly slots: readonly Slot[];

  constructor(parameters: Iterable<readonly [string, Tensor]>, options: AdamWOptions) {
    this.options = options;
    this.slots = [...parameters].map(([name, parameter]) => ({
      name,
      parameter,
      firstMoment: zeros(parameter.shape, parameter.dtype, parameter.device).keep(),
      secondMoment: zeros(parameter.shape, parameter.dtype, parameter.device).keep(),
      steps: full([], 0, 'f32', parameter.device).keep(),
      decays: (options.decays ?? decaysByDefault)(name, parameter),
    }));
  }

  /** Updates every parameter that has a gradient, and drops the gradients. */
  step(learningRate: number): void {
    noGrad(() =>
      scope(() => {
        for (const decays of [true, false]) this.stepGroup(decays, learningRate);
      }),
    );
    for (const slot of this.slots) slot.parameter.grad = null;
  }

  private stepGroup(decays: boolean, lr: number): void {
    const group = this.slots
      .filter((slot) => slot.decays === decays)
      .map((slot) => ({ slot, gradient: slot.parameter.grad }))
      .filter((entry): entry is { slot: Slot; gradient: Tensor } => entry.gradient !== null);
    if (group.length === 0) return;
    op('aten::_foreach_add_', 'Scalar')(
      group.map(({ slot }) => slot.steps),
      1,
    );
    const fused = group.filter(({ slot }) => fusedDtypes.includes(slot.parameter.dtype));
    for (const { slot, gradient } of group.filter((entry) => !fused.includes(entry)))
      this.stepPlainly(slot, gradient, lr);
    if (fused.length === 0) return;
    const pick = (read: (slot: Slot) => Tensor) => fused.map(({ slot }) => read(slot));
    fusedStep(
      pick((slot) => slot.parameter),
      fused.map(({ gradient }) => gradient),
      pick((slot) => slot.firstMoment),
      pick((slot) => slot.secondMoment),
      [],
      pick((slot) => slot.steps),
      {
        lr,
        beta1: this.options.betas[0],
        beta2: this.options.betas[1],
        weight_decay: decays ? this.options.weightDecay : 0,
        eps: this.options.epsilon,
        amsgrad: false,
        maximize: false,
      },
    );
    // libtorch's fused step does not count as a write, and who keeps copies of weights goes by that count.
    for (const { slot } of fused) slot.parameter.unsqueeze(0).narrow(0, 0, 0).zero_();
  }

  /** Operation by operation, rounding each result: the fused kernel rounds bf16 parameters differently. */
  private stepPlainly(slot: Slot, gradient: Tensor, lr: number): void {
    const [beta1, beta2] = this.options.betas;
    const { parameter, firstMoment: m, secondMoment: v } = slot;
    const count = slot.steps.item();
    parameter.mul_(1 - lr * (slot.decays ? this.options.weightDecay : 0));
    op('aten::lerp_', 'Scalar')(m, gradient, 1 - beta1);
    op('aten::addcmul_')(v.mul_(beta2), gradient, gradient, { value: 1 - beta2 });
    const root = v
      .sqrt()
      .div(Math.sqrt(1 - beta2 ** count))
      .add(this.options.epsilon);
    op('aten::addcdiv_')(parameter, m, root, { value: -lr / (1 - beta1 ** count) });
  }

  /** The state by name, still owned by the optimizer. */
  state(): Map<string, Tensor> {
    const state = new Map<string, Tensor>();
    for (const slot of this.slots) {
      state.set(`${slot.name}.exp_avg`, slot.firstMoment);
      state.set(`${slot.name}.exp_avg_sq`, slot.secondMoment);
      state.set(`${slot.name}.step`, slot.steps);
    }
    return state;
  }

  /** Forgets all moments and step counts. */
  reset(): void {
    noGrad(() =>
      scope(() => {
        for (const value of this.state().values()) value.zero_();
      }),
    );
  }

  /** Copies a saved state in; every tensor must be there in its shape. */
  load(saved: ReadonlyMap<string, Tensor>): void {
    noGrad(() =>
      scope(() => {
        for (const [name, target] of this.state()) {
          const source = saved.get(name);
          if (!source) {
            throw new ReckonError('data', 'missing-tensor', `the saved optimizer has no tensor '${name}'`);
          }
          if (source.shape.join() !== target.shape.join()) {
            throw new ReckonError(
              'data',
              'wrong-shape',
              `the saved optimizer's tensor '${name}' must have shape [${target.shape.join(', ')}], found [${source.shape.join(', ')}]`,
            );
          }
          target.copy_(source);
        }
      }),
    );
  }

  [Symbol.dispose](): void {
    for (const value of this.state().values()) value.dispose();
  }
}
