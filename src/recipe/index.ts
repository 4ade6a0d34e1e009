/** Re-exports what is public of the recipe. */

export { defineRecipe, type RecipeInput, type RewardInput, type StageInput } from './define.ts';
export type { EngineRecipe, RemoteEngineRecipe } from './engine.ts';
export {
  type Estimate,
  estimate,
  formatEstimate,
  type Machine,
  type StageEstimate,
  type TaskFacts,
} from './estimate.ts';
export { namedData } from './files.ts';
export { idleKeys } from './idle.ts';
export { ancestors, leavesModel, MODEL_KEYS, modelStage, parentIndex, stageName } from './lineage.ts';
export {
  formatRecipe,
  loadRecipe,
  openRecipe,
  parseRecipe,
  parseResolved,
  type RecipeOverrides,
} from './load.ts';
export { RECIPE_VERSION } from './migrate.ts';
export { nearest, suggest } from './nearest.ts';
export { derivePlan, formatPlan, type Plan, type PlannedStage } from './plan.ts';
export * from './recipe.ts';
export { type JsonSchema, recipeJsonSchema, recipeSchema } from './schema.ts';
export type { BudgetRecipe } from './stages/budget.ts';
export { type CompareStage, evaluationLabels } from './stages/compare.ts';
export type { DistillStage } from './stages/distill.ts';
export type { DpoStage } from './stages/dpo.ts';
export type { EvaluateStage } from './stages/evaluate.ts';
export type { ExpertIterationStage } from './stages/expert-iteration.ts';
export type { GrpoStage } from './stages/grpo.ts';
export { type GrpoPresetName, grpoPresetNames, grpoPresets } from './stages/grpo-presets.ts';
export type { IntrinsicRecipe } from './stages/intrinsic.ts';
export type { OptimisationRecipe } from './stages/optimisation.ts';
export type { PrepareStage } from './stages/prepare.ts';
export { ownModels } from './stages/reference.ts';
export type { ReportStage } from './stages/report.ts';
export type { RewardRecipe } from './stages/rewards.ts';
export type { SftStage } from './stages/sft.ts';
export { kindOf, type Stage, type StageOf, type StageType, stageTypes } from './stages.ts';
export { parseTask, type TaskRecipe, taskNames } from './task.ts';
export type { TrackingRecipe, WandbRecipe } from './tracking.ts';
