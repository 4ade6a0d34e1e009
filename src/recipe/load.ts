/** Owns reading a recipe from YAML or TypeScript and writing the resolved one back; every error names its line. Runs nothing. */

import { readFileSync } from 'node:fs';
import { dirname } from 'node:path';
import {
  type Document,
  isAlias,
  isMap,
  isScalar,
  isSeq,
  LineCounter,
  type Pair,
  parseDocument,
  stringify,
  visit,
  type YAMLError,
} from 'yaml';
import { messageOf, ReckonError } from '../util/errors.ts';
import { errorCode } from '../util/files.ts';
import { isModuleFile } from '../util/typescript.ts';
import { checkCombinations } from './checks.ts';
import { importRecipe, lineInModule } from './define.ts';
import { checkFiles } from './files.ts';
import { checkIdle } from './idle.ts';
import { describeIssue, type RecipeProblem } from './issues.ts';
import { migrate } from './migrate.ts';
import type { KeyPath } from './nearest.ts';
import { type AppliedOverride, applyOverrides, type Override, parseOverride } from './overrides.ts';
import type { Recipe } from './recipe.ts';
import { withRewardFiles } from './reward-files.ts';
import { recipeSchema } from './schema.ts';

/** What the command line changes in a recipe. */
export interface RecipeOverrides {
  /** `key.path=value`, in order. */
  readonly set?: readonly string[] | undefined;
  readonly seed?: number | undefined;
  readonly name?: string | undefined;
}

/** A recipe as it was written: what it holds, and where each key stands (null where nobody can tell). */
interface Source {
  readonly file: string;
  readonly raw: Record<string, unknown>;
  lineOf(path: KeyPath): number | null;
}

interface YamlSource {
  readonly file: string;
  readonly text: string;
  readonly lines: LineCounter;
  readonly document: Document.Parsed;
}

/**
 * Reads, overrides, validates and completes a recipe, a YAML file or a TypeScript module with a `defineRecipe` as its
 * default export, and looks for the files that it names. Whatever is wrong with it is one ReckonError of category
 * `recipe` whose sentence names file and line (or the flag), the key path and the nearest valid key.
 */
export async function openRecipe(file: string, overrides: RecipeOverrides = {}): Promise<Recipe> {
  const source = isModuleFile(file) ? await moduleSource(file) : yamlSource(readRecipeFile(file), file);
  const asked = finish(source, overrides, (recipe) => checkFiles(recipe));
  const { recipe, problems } = await withRewardFiles(asked, dirname(file));
  if (problems.length > 0) throw firstError(source, [], problems);
  return recipe;
}

/** `openRecipe` for YAML alone, at once, and without a look for other files. */
export function loadRecipe(file: string, overrides: RecipeOverrides = {}): Recipe {
  return parseRecipe(readRecipeFile(file), file, overrides);
}

/** `loadRecipe` for text that is already read; `file` is only named in errors. */
export function parseRecipe(text: string, file: string, overrides: RecipeOverrides = {}): Recipe {
  return finish(yamlSource(text, file), overrides, () => []);
}

/** `parseRecipe` for what a run wrote: an earlier version may have taken keys that have no effect. */
export function parseResolved(text: string, file: string, overrides: RecipeOverrides = {}): Recipe {
  return finish(yamlSource(text, file), overrides, () => [], 'resolved');
}

function finish(
  source: Source,
  overrides: RecipeOverrides,
  checkMore: (recipe: Recipe) => RecipeProblem[],
  origin: 'written' | 'resolved' = 'written',
): Recipe {
  const { raw } = source;
  const applied = applyOverrides(raw, listOverrides(overrides));
  migrate(raw, placeOf(source, ['version']));
  const parsed = recipeSchema.safeParse(raw);
  const idle = (recipe: Recipe) => (origin === 'written' ? checkIdle(recipe, raw) : []);
  const problems = parsed.success
    ? [checkCombinations, idle, checkMore].reduce<RecipeProblem[]>(
        (found, check) => (found.length > 0 ? found : check(parsed.data)),
        [],
      )
    : parsed.error.issues.flatMap((issue) => describeIssue(issue, raw));
  if (problems.length > 0) throw firstError(source, applied, problems);
  return parsed.data!;
}

/** The resolved recipe as YAML, every default written out; `parseRecipe` reads it back to an equal recipe. */
export function formatRecipe(recipe: Recipe): string {
  return `# The recipe of this run as it was resolved, every default written out.\n${stringify(recipe)}`;
}

function readRecipeFile(file: string): string {
  try {
    return readFileSync(file, 'utf8');
  } catch (error) {
    const code = errorCode(error);
    if (code === 'ENOENT') return fail('recipe-missing', `there is no recipe file ${file}; check the path`);
    if (code === 'EISDIR')
      return fail('recipe-missing', `${file} is a folder; name the recipe.yaml inside it`);
    return fail('recipe-missing', `the recipe file ${file} cannot be read (${code || messageOf(error)})`);
  }
}

function yamlSource(text: string, file: string): Source {
  const yaml = parseYaml(text, file);
  return { file, raw: toPlain(yaml), lineOf: (path) => lineOf(yaml, path) };
}

/** A module's keys are looked for in its text: the line is known where a key stands there once. */
async function moduleSource(file: string): Promise<Source> {
  const text = readRecipeFile(file);
  const raw = await importRecipe(file);
  return { file, raw, lineOf: (path) => lineInModule(text, path) };
}

function parseYaml(text: string, file: string): YamlSource {
  const lines = new LineCounter();
  const document = parseDocument(text, { lineCounter: lines, prettyErrors: false });
  const error = document.errors[0] ?? document.warnings[0];
  const source = { file, text, lines, document };
  if (error !== undefined) return fail('recipe-yaml', describeYamlError(source, error));
  if (document.contents === null) {
    return fail(
      'recipe-empty',
      `${file}: the recipe is empty; it starts with \`version: 1\` and \`name: ...\``,
    );
  }
  if (!isMap(document.contents)) return fail('recipe-yaml', `${file}:1: a recipe is a mapping of keys`);
  return source;
}

function describeYamlError({ file, text, lines }: YamlSource, error: YAMLError): string {
  const { line } = lines.linePos(error.pos[0]);
  if (error.code === 'MULTIPLE_DOCS')
    return `${file}:${line}: a recipe is one YAML document; remove the --- and what does not belong to it`;
  const message = error.message.split('\n')[0]!;
  if (error.code !== 'DUPLICATE_KEY') return `${file}:${line}: not valid YAML: ${message}`;
  const key = text
    .slice(error.pos[0], error.pos[0] + 100)
    .split(':')[0]!
    .trim();
  return `${file}:${line}: the key ${key} stands twice in one mapping; remove one`;
}

function toPlain({ document, file, lines }: YamlSource): Record<string, unknown> {
  visit(document, {
    Alias: (_key, alias) => {
      if (alias.resolve(document) !== undefined) return;
      const { line } = lines.linePos(alias.range?.[0] ?? 0);
      fail('recipe-yaml', `${file}:${line}: *${alias.source} is not defined; set &${alias.source} before it`);
    },
  });
  try {
    return document.toJS({ maxAliasCount: 100 }) as Record<string, unknown>;
  } catch (error) {
    return fail('recipe-yaml', `${file}: not valid YAML: ${messageOf(error)}`);
  }
}

function listOverrides({ set = [], seed, name }: RecipeOverrides): Override[] {
  const flags: Override[] = set.map(parseOverride);
  if (seed !== undefined) flags.push({ key: 'seed', value: seed, flag: `--seed ${seed}` });
  if (name !== undefined) flags.push({ key: 'name', value: name, flag: `--name ${name}` });
  return flags;
}

/** The first problem by line, unknown keys before all others, with a count of the rest. */
function firstError(
  source: Source,
  applied: readonly AppliedOverride[],
  problems: readonly RecipeProblem[],
): ReckonError {
  const rank = (problem: RecipeProblem): number =>
    (source.lineOf(problem.path) ?? 1e6) + (problem.unknownKey === true ? 0 : 1e9);
  const first = problems.toSorted((a, b) => rank(a) - rank(b))[0]!;
  const flag = applied.findLast((override) => startsWith(first.path, override.path))?.flag;
  const place = flag ?? placeOf(source, first.path);
  const rest = problems.length - 1;
  const more = rest === 0 ? '' : ` (and ${rest} more ${rest === 1 ? 'problem' : 'problems'})`;
  const code = first.unknownKey === true ? 'recipe-unknown-key' : 'recipe-invalid';
  return new ReckonError('recipe', code, `${place}: ${first.message}${more}`);
}

/** `file:line`, or the file alone where the line is not known. */
function placeOf({ file, lineOf }: Source, path: KeyPath): string {
  const line = lineOf(path);
  return line === null ? file : `${file}:${line}`;
}

function startsWith(path: KeyPath, prefix: KeyPath): boolean {
  return prefix.every((part, i) => String(path[i]) === String(part));
}

/** The line of the key at a path, or of the nearest thing above it that stands in the file. */
function lineOf({ document, lines }: YamlSource, path: KeyPath): number {
  let node: unknown = document.contents;
  let offset = 0;
  for (const part of path) {
    if (isAlias(node)) node = node.resolve(document);
    const [place, inner] = step(node, part);
    if (place === null) break;
    offset = place;
    node = inner;
  }
  return lines.linePos(offset).line;
}

/** Where an entry of a map or list starts, and its value; null where there is none. */
function step(node: unknown, part: string | number): [number | null, unknown] {
  if (isMap(node)) {
    const pair = node.items.find(({ key }: Pair) => isScalar(key) && String(key.value) === String(part));
    return [offsetOf(pair?.key), pair?.value];
  }
  if (!isSeq(node)) return [null, null];
  const item = node.items[Number(part)];
  return [offsetOf(item), item];
}

function offsetOf(node: unknown): number | null {
  if (typeof node !== 'object' || node === null || !('range' in node)) return null;
  return Array.isArray(node.range) ? Number(node.range[0]) : null;
}

function fail(code: string, message: string): never {
  throw new ReckonError('recipe', code, message);
}
