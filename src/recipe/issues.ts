/** Owns the sentence for each way a recipe can break its schema; knows neither files nor line numbers. */

import type * as z from 'zod';
import { formatPath, type KeyPath, nearest, suggest } from './nearest.ts';
import { type JsonSchema, recipeJsonSchema } from './schema.ts';

/** One thing wrong with a recipe: where, and a sentence that starts with the key path. */
export interface RecipeProblem {
  readonly path: KeyPath;
  readonly message: string;
  /** Unknown keys are told first: a misspelt key also makes the right one missing. */
  readonly unknownKey?: boolean;
}

/** The sentences for one zod issue; several where several keys of one object are unknown. */
export function describeIssue(issue: z.core.$ZodIssue, raw: unknown): RecipeProblem[] {
  const path = issue.path.filter((part): part is string | number => typeof part !== 'symbol');
  if (issue.code === 'unrecognized_keys') return issue.keys.map((key) => describeUnknown(path, key, raw));
  const { found, value } = valueAt(raw, path);
  if (!found) return [{ path, message: describeMissing(path, raw) }];
  const near = typeof value === 'string' ? nearest(value, optionsOf(issue)) : null;
  const hint = near === null ? '' : `; did you mean ${near}?`;
  return [{ path, message: `${formatPath(path)} must ${demand(issue)}, found ${show(value)}${hint}` }];
}

/** The keys that the schema knows at a path; an empty list for values that are no objects. */
function knownKeys(path: KeyPath, raw: unknown): string[] {
  return Object.keys(schemaAt(path, raw)?.properties ?? {});
}

function describeUnknown(parent: KeyPath, key: string, raw: unknown): RecipeProblem {
  const path = [...parent, key];
  const keys = knownKeys(parent, raw);
  return { path, unknownKey: true, message: `${formatPath(path)} is not a known key; ${suggest(key, keys)}` };
}

function describeMissing(path: KeyPath, raw: unknown): string {
  const description = schemaAt(path, raw)?.description;
  return `${formatPath(path)} is missing${description === undefined ? '' : ` (${description})`}`;
}

/** What the schema asks for, as the end of 'must ...'. */
function demand(issue: z.core.$ZodIssue): string {
  switch (issue.code) {
    case 'invalid_type':
      return `be ${typeName(issue.expected)}`;
    case 'invalid_value':
      return `be ${optionsOf(issue).join(' or ')}`;
    case 'invalid_union':
      return issue.discriminator === undefined
        ? demandOneOf(issue)
        : `be one of ${optionsOf(issue).join(', ')}`;
    case 'too_small':
      return size(issue.origin, issue.inclusive === true ? 'at least' : 'more than', issue.minimum);
    case 'too_big':
      return size(issue.origin, issue.inclusive === true ? 'at most' : 'less than', issue.maximum);
    case 'invalid_format':
      return `consist of ${issue.message}`;
    default:
      return `be valid (${issue.message})`;
  }
}

function demandOneOf(issue: z.core.$ZodIssueInvalidUnion): string {
  const demands = issue.errors.flatMap((branch) => branch.slice(0, 1).map(demand));
  return demands.map((text, i) => (i === 0 ? text : text.replace(/^be /, ''))).join(' or ');
}

function optionsOf(issue: z.core.$ZodIssue): string[] {
  if (issue.code === 'invalid_value') return issue.values.map(String);
  return 'options' in issue && Array.isArray(issue.options) ? issue.options.map(String) : [];
}

function size(origin: string, relation: string, limit: number | bigint): string {
  if (origin === 'array') return `have ${relation} ${limit} entries`;
  return origin === 'string' ? `have ${relation} ${limit} characters` : `be ${relation} ${limit}`;
}

function typeName(expected: string): string {
  const names: Record<string, string> = {
    int: 'a whole number',
    number: 'a number',
    string: 'text',
    boolean: 'true or false',
    object: 'a mapping of keys',
    array: 'a list',
    tuple: 'a list',
  };
  return names[expected] ?? expected;
}

function show(value: unknown): string {
  if (value === null || value === undefined) return 'nothing';
  const text = typeof value === 'number' ? String(value) : JSON.stringify(value);
  return text.length > 60 ? `${text.slice(0, 57)}...` : text;
}

/** What a raw recipe holds at a path, own keys only. */
function valueAt(raw: unknown, path: KeyPath): { found: boolean; value: unknown } {
  let value = raw;
  for (const part of path) {
    if (typeof value !== 'object' || value === null || !Object.hasOwn(value, part)) {
      return { found: false, value: undefined };
    }
    value = (value as Record<string | number, unknown>)[part];
  }
  return { found: true, value };
}

/** Walks the JSON Schema along a path, picking a stage's branch by its `type` and a task's by its `name`. */
function schemaAt(path: KeyPath, raw: unknown): JsonSchema | undefined {
  let schema: JsonSchema | undefined = recipeJsonSchema();
  for (let depth = 0; depth < path.length; depth++) {
    const part = path[depth]!;
    schema = typeof part === 'number' ? schema?.items : schema?.properties?.[part];
    const branches: readonly JsonSchema[] | undefined = schema?.oneOf ?? schema?.anyOf;
    if (branches === undefined) continue;
    const here = path.slice(0, depth + 1);
    schema = branches.find((branch) =>
      ['type', 'name', 'kind'].some((key) => {
        const wanted = branch.properties?.[key]?.const;
        return wanted !== undefined && wanted === valueAt(raw, [...here, key]).value;
      }),
    );
  }
  return schema;
}
