/** Owns where reckon's own files lie, from its sources or from what was built of them, and its version. */

import { existsSync, readFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';

/** Whether these are the sources, under a loader of TypeScript, and not what was built. */
export const FROM_SOURCES: boolean = import.meta.url.endsWith('.ts');

/**
 * The folder of the reckon package, in a clone or installed: the nearest one above with a package.json. A build puts code
 * of many sources into one file, so no code may count the folders between its file and the root.
 */
export const PACKAGE_ROOT: string = packageRoot(dirname(fileURLToPath(import.meta.url)));

/** The folder of the modules that run: `src` or `dist`. */
export const MODULES: string = join(PACKAGE_ROOT, FROM_SOURCES ? 'src' : 'dist');

/** What starts the thread of `src/<name>.ts`; in a source tree a file beside it that brings a loader of TypeScript. */
export function threadFile(name: string): string {
  return join(MODULES, `${name}${FROM_SOURCES ? '-source.mjs' : '.js'}`);
}

/** reckon's own version. */
export function reckonVersion(): string {
  const manifest = JSON.parse(readFileSync(join(PACKAGE_ROOT, 'package.json'), 'utf8')) as {
    version: string;
  };
  return manifest.version;
}

function packageRoot(folder: string): string {
  const parent = dirname(folder);
  return existsSync(join(folder, 'package.json')) || parent === folder ? folder : packageRoot(parent);
}
