/** Owns `--set key.path=value`: finds the key in a raw recipe and replaces its value. Validates no value. */

import { parse } from 'yaml';
import { messageOf, ReckonError } from '../util/errors.ts';
import { type KeyPath, suggest } from './nearest.ts';
import { recipeJsonSchema } from './schema.ts';

/** One override, applied: where it landed, and the flag as the user wrote it. */
export interface AppliedOverride {
  readonly path: KeyPath;
  readonly flag: string;
}

/** A key path with a value to put there, from a flag. */
export interface Override {
  readonly key: string;
  readonly value: unknown;
  readonly flag: string;
}

type Container = Record<string | number, unknown>;

/** Reads `key.path=value`; the value is YAML (`1e-3`, `true`, `[0.9, 0.99]`). */
export function parseOverride(text: string): Override {
  const flag = `--set ${text}`;
  const equals = text.indexOf('=');
  if (equals < 1) fail(`expected --set key.path=value, found ${flag}`);
  try {
    return { key: text.slice(0, equals).trim(), value: parse(text.slice(equals + 1)), flag };
  } catch (error) {
    return fail(`${flag}: the value is not YAML (${messageOf(error).split('\n')[0]})`);
  }
}

/**
 * Puts values into a raw recipe, changing it. The first part of a key is a key of the recipe, or the type or label of
 * one stage (`sft.steps`); list entries are addressed from 0 (`stages.2.steps` or `stages[2].steps`).
 */
export function applyOverrides(raw: Container, overrides: readonly Override[]): AppliedOverride[] {
  return overrides.map((override) => {
    const path = resolvePath(raw, override);
    setAt(raw, path, override);
    return { path, flag: override.flag };
  });
}

function resolvePath(raw: Container, { key, flag }: Override): string[] {
  const parts = key.replaceAll('[', '.').replaceAll(']', '').split('.');
  if (parts.some((part) => part === '')) fail(`${flag}: ${key} has an empty part; write key.path=value`);
  const first = parts[0]!;
  const topLevel = Object.keys(recipeJsonSchema().properties ?? {});
  if (topLevel.includes(first)) return parts;
  const stages = Array.isArray(raw['stages']) ? (raw['stages'] as unknown[]) : [];
  const matching = matchingStages(stages, first);
  if (matching.length === 1) return ['stages', String(matching[0]), ...parts.slice(1)];
  if (matching.length > 1) {
    const places = matching.map((index) => `stages[${index}]`).join(', ');
    fail(`${flag}: ${first} could be ${places}; name one of them by its index or label`);
  }
  const names = [...new Set([...topLevel, ...stages.flatMap(namesOf)])];
  return fail(`${flag}: ${first} is neither a recipe key nor a stage; ${suggest(first, names)}`);
}

/** Stages of this type, or else those with this label: an evaluation is often labelled after what it follows. */
function matchingStages(stages: readonly unknown[], name: string): number[] {
  const having = (key: string): number[] =>
    stages.flatMap((stage, i) => (isContainer(stage) && stage[key] === name ? [i] : []));
  const ofType = having('type');
  return ofType.length > 0 ? ofType : having('label');
}

function namesOf(stage: unknown): string[] {
  if (!isContainer(stage)) return [];
  return [stage['type'], stage['label']].filter((name): name is string => typeof name === 'string');
}

function setAt(raw: Container, path: readonly string[], { value, flag }: Override): void {
  let target = raw;
  for (const [depth, part] of path.entries()) {
    if (Array.isArray(target)) checkIndex(target, part, path.slice(0, depth), flag);
    if (depth === path.length - 1) {
      Object.defineProperty(target, part, { value, writable: true, enumerable: true, configurable: true });
      return;
    }
    const inner = Object.hasOwn(target, part) ? target[part] : undefined;
    if (inner === undefined || inner === null) target[part] = {};
    else if (!isContainer(inner))
      fail(`${flag}: ${path.slice(0, depth + 1).join('.')} is a value, not a mapping`);
    if (!Object.hasOwn(target, part)) fail(`${flag}: ${part} is not a key`);
    target = target[part] as Container;
  }
}

function checkIndex(list: readonly unknown[], part: string, path: readonly string[], flag: string): void {
  if (/^\d{1,6}$/.test(part) && Number(part) < list.length) return;
  const name = path.join('.');
  fail(`${flag}: ${name} has entries 0 to ${list.length - 1}, found ${name}.${part}`);
}

function isContainer(value: unknown): value is Container {
  return typeof value === 'object' && value !== null;
}

function fail(message: string): never {
  throw new ReckonError('recipe', 'recipe-override', message);
}
