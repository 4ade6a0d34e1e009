/** Owns the list of all types of stages, by the word that `type` may be. Runs nothing. */

import { type CompareStage, compareKind } from './stages/compare.ts';
import { type DistillStage, distillKind } from './stages/distill.ts';
import { type DpoStage, dpoKind } from './stages/dpo.ts';
import { type EvaluateStage, evaluateKind } from './stages/evaluate.ts';
import { type ExpertIterationStage, expertIterationKind } from './stages/expert-iteration.ts';
import { type GrpoStage, grpoKind } from './stages/grpo.ts';
import type { StageKind } from './stages/kind.ts';
import { type ModelStage, modelKind } from './stages/model.ts';
import { type PpoStage, ppoKind } from './stages/ppo.ts';
import { type PrepareStage, prepareKind } from './stages/prepare.ts';
import { type ReportStage, reportKind } from './stages/report.ts';
import { type SftStage, sftKind } from './stages/sft.ts';

interface StageByType {
  readonly prepare: PrepareStage;
  readonly model: ModelStage;
  readonly evaluate: EvaluateStage;
  readonly sft: SftStage;
  readonly 'expert-iteration': ExpertIterationStage;
  readonly grpo: GrpoStage;
  readonly ppo: PpoStage;
  readonly dpo: DpoStage;
  readonly distill: DistillStage;
  readonly compare: CompareStage;
  readonly report: ReportStage;
}

/** The words that `type` may be. */
export type StageType = keyof StageByType;
/** The stage of one type. */
export type StageOf<T extends StageType> = StageByType[T];
/** One stage of a recipe, told apart by `type`. */
export type Stage = StageOf<StageType>;

const kinds: { readonly [T in StageType]: StageKind<StageOf<T>> } = {
  prepare: prepareKind,
  model: modelKind,
  evaluate: evaluateKind,
  sft: sftKind,
  'expert-iteration': expertIterationKind,
  grpo: grpoKind,
  ppo: ppoKind,
  dpo: dpoKind,
  distill: distillKind,
  compare: compareKind,
  report: reportKind,
};

/** All types, in the order in which documentation lists them. */
export const stageTypes: readonly StageType[] = Object.keys(kinds) as StageType[];

/** What a type of stage says of itself. */
export function kindOf<T extends StageType>(type: T): StageKind<StageOf<T>> {
  return kinds[type];
}
