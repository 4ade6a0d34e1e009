/** Owns how stages find the models that they name beside the one they train, and where these compute. Loads nothing. */

import { type IntrinsicRecipe, ownModels, type Recipe } from '../../recipe/index.ts';
import { devices } from '../../torch/index.ts';

interface Naming {
  /** The folder of an earlier stage's model, or what it is given where no such stage is. */
  modelFolder(name: string): string;
}

/** A model by its folder or an earlier stage; words such as `start` stay words. */
export function modelOf(context: Naming, name: string): string {
  return ownModels.includes(name) ? name : context.modelFolder(name);
}

/** What a stage may say of the models beside its policy. */
interface Companions {
  readonly reference?: string;
  readonly referenceSync?: unknown;
  readonly referenceDevice?: string | undefined;
  readonly adapter?: unknown;
  readonly intrinsic?: IntrinsicRecipe | null;
}

/** A stage's reference and its intrinsic reward with its teacher, found and placed. */
export function companionsOf(
  context: Naming & Placing & { readonly stage: Companions & { readonly reference: string } },
): {
  readonly reference: string;
  readonly referenceDevice: string | undefined;
  readonly intrinsic: IntrinsicRecipe | null;
} {
  const { reference, referenceSync, referenceDevice, adapter, intrinsic = null } = context.stage;
  // `none` and `previous` load nothing; `start` shares the policy's base under an adapter.
  const shared = reference === 'start' && adapter !== undefined && !referenceSync;
  const own = reference !== 'none' && reference !== 'previous' && !shared;
  const placed = placeModels(context, {
    ...(intrinsic ? { teacher: intrinsic.device } : {}),
    ...(own ? { reference: referenceDevice } : {}),
  });
  return {
    reference: modelOf(context, reference),
    referenceDevice: placed.reference,
    intrinsic: intrinsic && {
      ...intrinsic,
      teacher: context.modelFolder(intrinsic.teacher),
      device: placed.teacher,
    },
  };
}

interface Placing {
  readonly name: string;
  readonly recipe: Pick<Recipe, 'compute'>;
  readonly compute: { readonly device: string };
  log(line: string): void;
}

/** Where the models beside the policy are asked to compute; undefined where that is left to the machine. */
export type ModelPlaces = { readonly [role in 'teacher' | 'reference']?: string | undefined };

/**
 * The devices of a stage's frozen models: what the stage says, else the policy's, but with `device: auto` and several
 * GPUs one of its own each as far as there are. Prints the placement where there is anything to place.
 */
export function placeModels(
  { name, recipe, compute, log }: Placing,
  roles: ModelPlaces,
  found: readonly string[] = devices(),
): { readonly [role in keyof ModelPlaces]: string } {
  const kind = compute.device.split(':')[0]!;
  const auto = recipe.compute.device === 'auto';
  const others = found.filter((device) => auto && device !== compute.device && device.startsWith(`${kind}:`));
  const free = [...others];
  const placed: { -readonly [role in keyof ModelPlaces]: string } = {};
  for (const [role, asked] of Object.entries(roles) as [keyof ModelPlaces, string | undefined][])
    placed[role] = asked ?? free.shift() ?? others.at(-1) ?? compute.device;
  const shown = Object.entries(placed).map(([role, device]) => `${role} on ${device}`);
  if (shown.length > 0) log(`${name}: policy on ${compute.device}, ${shown.join(', ')}`);
  return placed;
}
