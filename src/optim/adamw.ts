/** Owns AdamW (Loshchilov and Hutter 2019) over named parameters, fused in libtorch; its state is f32 and can be saved. */

import { full, noGrad, op, scope, type Tensor, zeros } from '../torch/index.ts';
import { ReckonError } from '../util/errors.ts';

const fusedStep = op('aten::_fused_adamw_');

export interface AdamWOptions {
  readonly betas: readonly [number, number];
  readonly epsilon: number;
  /** Decoupled; only tensors of two or more dimensions decay, norms and biases do not. */
  readonly weightDecay: number;
}

interface Slot {
  readonly name: string;
  readonly parameter: Tensor;
  readonly firstMoment: Tensor;
  readonly secondMoment: Tensor;
  readonly steps: Tensor;
  readonly decays: boolean;
}

/** Owns the moments, not the parameters. */
export class AdamW implements Disposable {
  private readonly options: AdamWOptions;
  private readonly slots: readonly Slot[];

  constructor(parameters: Iterable<readonly [string, Tensor]>, options: AdamWOptions) {
    this.options = options;
    this.slots = [...parameters].map(([name, parameter]) => ({
      name,
      parameter,
      firstMoment: zeros(parameter.shape, 'f32', parameter.device).keep(),
      secondMoment: zeros(parameter.shape, 'f32', parameter.device).keep(),
      steps: full([], 0, 'f32', parameter.device).keep(),
      decays: parameter.shape.length >= 2,
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
    const pick = (read: (slot: Slot) => Tensor) => group.map(({ slot }) => read(slot));
    const steps = pick((slot) => slot.steps);
    op('aten::_foreach_add_', 'Scalar')(steps, 1);
    fusedStep(
      pick((slot) => slot.parameter),
      group.map(({ gradient }) => gradient),
      pick((slot) => slot.firstMoment),
      pick((slot) => slot.secondMoment),
      [],
      steps,
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
        for (const value of this.state().values()) value.copy_(zeros(value.shape, 'f32', value.device));
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
