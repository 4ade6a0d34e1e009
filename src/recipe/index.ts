/** Re-exports what is public of the recipe. */

export { formatRecipe, loadRecipe, parseRecipe, type RecipeOverrides } from './load.ts';
export { derivePlan, formatPlan, type Plan, type PlannedStage } from './plan.ts';
export * from './recipe.ts';
export { type JsonSchema, recipeJsonSchema, recipeSchema } from './schema.ts';
