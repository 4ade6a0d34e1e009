/** Owns older versions of the recipe format: what is renamed, and what must be changed by hand. Validates no value. */

import { ReckonError } from '../util/errors.ts';

/** The version that this reckon reads and writes. */
export const RECIPE_VERSION = 1;

/** A step from one version to the next. Keys are `key.path`, or `<stage type>.<key>` for a key of all stages of a type. */
export interface Migration {
  /** Old key to new key, in the same mapping. */
  readonly renamed: Readonly<Record<string, string>>;
  /** Keys that mean nothing any more or something else, and what to do instead. */
  readonly removed: Readonly<Record<string, string>>;
}

/** By the version that a recipe has. Version 0 is that of the drafts before the first release. */
const MIGRATIONS: Readonly<Record<number, Migration>> = {
  0: {
    renamed: {},
    removed: {
      'sft.tracesPerProblem': 'demonstrations are drawn anew at every step; leave the key out',
    },
  },
};

type Mapping = Record<string, unknown>;

/**
 * Brings a raw recipe of an older version up to date, changing it; one of a newer version, or with a key that cannot be
 * carried over, is a `recipe-version` error that names the key. What is no version at all is left to the schema.
 */
export function migrate(
  raw: Mapping,
  place: string,
  migrations: Readonly<Record<number, Migration>> = MIGRATIONS,
  current: number = RECIPE_VERSION,
): void {
  const version = raw['version'];
  if (typeof version !== 'number' || !Number.isInteger(version)) return;
  if (version > current) {
    const message = `${place}: version ${version} of the recipe format is newer than this reckon, which reads up to ${current}; update reckon`;
    throw new ReckonError('recipe', 'recipe-version', message);
  }
  for (let from = version; from >= 0 && from < current; from++) {
    const step = migrations[from];
    if (step !== undefined) apply(raw, step, from, place);
    raw['version'] = from + 1;
  }
}

function apply(raw: Mapping, { renamed, removed }: Migration, from: number, place: string): void {
  for (const [key, advice] of Object.entries(removed)) {
    if (holders(raw, key).length === 0) continue;
    const message = `${place}: ${key} of recipe version ${from} is no longer there: ${advice}, and write version: ${from + 1}`;
    throw new ReckonError('recipe', 'recipe-version', message);
  }
  for (const [key, name] of Object.entries(renamed)) {
    for (const { holder, last } of holders(raw, key)) {
      put(holder, name.split('.'), holder[last]);
      delete holder[last];
    }
  }
}

/** The mappings that hold a key: the recipe's own, or all stages of a type. */
function holders(raw: Mapping, key: string): { holder: Mapping; last: string }[] {
  const parts = key.split('.');
  const last = parts.pop()!;
  const stages = (Array.isArray(raw['stages']) ? raw['stages'] : []).filter(isMapping);
  const roots = [
    ...stages.filter((stage) => stage['type'] === parts[0]).map((stage) => [stage, parts.slice(1)] as const),
    [raw, parts] as const,
  ];
  return roots.flatMap(([root, way]) => {
    const holder = way.reduce<unknown>((value, part) => (isMapping(value) ? value[part] : undefined), root);
    return isMapping(holder) && Object.hasOwn(holder, last) ? [{ holder, last }] : [];
  });
}

function put(holder: Mapping, parts: readonly string[], value: unknown): void {
  const [first = '', ...rest] = parts;
  if (rest.length === 0) {
    holder[first] ??= value;
    return;
  }
  const inner = isMapping(holder[first]) ? holder[first] : {};
  holder[first] = inner;
  put(inner, rest, value);
}

function isMapping(value: unknown): value is Mapping {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}
