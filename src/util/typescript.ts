/** Owns importing a user's TypeScript file while the program runs. Knows nothing of what the file holds. */

import { existsSync, statSync } from 'node:fs';
import { register } from 'node:module';
import { resolve } from 'node:path';
import { pathToFileURL } from 'node:url';
import { messageOf, ReckonError } from './errors.ts';
import { errorCode } from './files.ts';
import { FROM_SOURCES, MODULES } from './place.ts';

/** Whether a name ends as a module does that `importUserModule` loads. */
export function isModuleFile(file: string): boolean {
  return /\.(ts|mts|js|mjs)$/.test(file);
}

/**
 * The exports of a user's TypeScript or JavaScript file. `reckon` and `reckon/<folder>` in it mean the reckon that is
 * running, wherever the file lies. What goes wrong is a `module-missing` or `module-broken` error of category `usage`.
 */
export async function importUserModule(file: string): Promise<Readonly<Record<string, unknown>>> {
  const path = resolve(file);
  if (!existsSync(path) || !statSync(path).isFile())
    throw new ReckonError('usage', 'module-missing', `there is no file ${file}; check the path`);
  try {
    const module = await (await loader()).import(pathToFileURL(path).href, import.meta.url);
    return module as Record<string, unknown>;
  } catch (error) {
    throw new ReckonError('usage', 'module-broken', describeFailure(file, path, error), { cause: error });
  }
}

/** What a module exports by a name; `a.b.0` looks inside, and calls the export where it is a function that makes the rest. */
export async function exportAt(module: Readonly<Record<string, unknown>>, path: string): Promise<unknown> {
  const [name = '', ...inner] = path.split('.');
  let value = module[name];
  if (inner.length > 0 && typeof value === 'function') value = await value();
  for (const key of inner) {
    if (typeof value !== 'object' || value === null || !Object.hasOwn(value, key)) return undefined;
    value = (value as Record<string, unknown>)[key];
  }
  return value;
}

interface Loader {
  import(specifier: string, parent: string): Promise<unknown>;
}

let started: Promise<Loader> | null = null;

/**
 * tsx, for files that are asked for and what they import. Our hook comes before tsx's own: `reckon` means the files that
 * run now (sources under tsx, else what was built), and every `.ts` is a module, whatever package.json is near it.
 */
function loader(): Promise<Loader> {
  started ??= import('tsx/esm/api').then(({ register: registerTsx }) => {
    process.setSourceMapsEnabled(true);
    const tsx = registerTsx({ namespace: 'reckon' });
    const settings = { root: `${pathToFileURL(MODULES).href}/`, ending: FROM_SOURCES ? '.ts' : '.js' };
    const code = hookSource.replace('SETTINGS', JSON.stringify(settings));
    register(`data:text/javascript,${encodeURIComponent(code)}`);
    return tsx;
  });
  return started;
}

/** Runs in the thread of Node's module hooks, so it is text; `tsx://` is how tsx wraps what is asked of it. */
const hookSource = `
const { root, ending } = SETTINGS;
export function resolve(specifier, context, next) {
  const { specifier: wanted, parentURL } = specifier.startsWith('tsx://')
    ? JSON.parse(specifier.slice(6))
    : { specifier, parentURL: context.parentURL };
  const own = /^reckon(?:\\/([a-z]+))?$/.exec(wanted);
  if (own !== null) {
    const url = root + (own[1] === undefined ? '' : own[1] + '/') + 'index' + ending;
    return ending === '.ts' ? next(url, context) : { url, format: 'module', shortCircuit: true };
  }
  if (!/^(\\.|\\/|file:).*\\.ts$/.test(wanted) || /node_modules/.test(parentURL)) return next(specifier, context);
  const url = new URL(wanted, parentURL);
  url.searchParams.set('tsx-namespace', 'reckon');
  return { url: url.href, format: 'module', shortCircuit: true };
}`;

/** One sentence: esbuild's own place and words for a syntax error, Node's for anything else. */
function describeFailure(file: string, path: string, error: unknown): string {
  const absent = errorCode(error) === 'ENOENT' ? (error as NodeJS.ErrnoException).path : undefined;
  if (absent !== undefined) return `${file}: it imports ${absent}, and there is no such file`;
  const lines = messageOf(error)
    .replaceAll(pathToFileURL(path).href, file)
    .replaceAll(path, file)
    .split('\n')
    .map((line) => line.trim())
    .filter((line) => line !== '');
  const syntax = lines.find((line) => line.includes('ERROR: '));
  if (syntax !== undefined) {
    const place = /^(.*):(\d+):\d+: ERROR: (.*)$/.exec(syntax);
    if (place !== null) return `${place[1]}:${place[2]}: not valid TypeScript: ${place[3]}`;
  }
  const line = lineIn(error, path);
  const place = line === null ? file : `${file}:${line}`;
  return `${place}: ${lines[0] ?? 'it cannot be loaded'}`;
}

/** The line of the file in an error's stack. */
function lineIn(error: unknown, path: string): number | null {
  const stack = error instanceof Error ? (error.stack ?? '') : '';
  const at = stack.split('\n').find((line) => line.includes(path));
  const match = /:(\d+):\d+\)?$/.exec(at?.trim() ?? '');
  return match === null ? null : Number(match[1]);
}
