/** Owns how stages find the models that they name beside the one they train. Loads nothing. */

import { type IntrinsicRecipe, ownModels } from '../../recipe/index.ts';

interface Naming {
  /** The folder of an earlier stage's model, or what it is given where no such stage is. */
  modelFolder(name: string): string;
}

/** A model by its folder or an earlier stage; words such as `start` stay words. */
export function modelOf(context: Naming, name: string): string {
  return ownModels.includes(name) ? name : context.modelFolder(name);
}

/** A stage's intrinsic reward with its teacher found; null without one. */
export function intrinsicOf(
  context: Naming & { readonly stage: { readonly intrinsic: IntrinsicRecipe | null } },
): IntrinsicRecipe | null {
  const { intrinsic } = context.stage;
  return intrinsic && { ...intrinsic, teacher: context.modelFolder(intrinsic.teacher) };
}
