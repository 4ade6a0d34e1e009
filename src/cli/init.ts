/** Owns `reckon init`: a new folder with a recipe, a reward in TypeScript, its test and a README. Runs nothing. */

import { existsSync, mkdirSync, readdirSync, symlinkSync, writeFileSync } from 'node:fs';
import { basename, dirname, join, resolve } from 'node:path';
import type { Command } from 'commander';
import { ReckonError } from '../util/errors.ts';
import { PACKAGE_ROOT } from '../util/place.ts';
import { experimentFiles } from './init-files.ts';
import { type ExitCode, type GlobalOptions, printResult } from './output.ts';

interface InitOptions extends GlobalOptions {
  readonly typescript?: boolean;
}

/** Adds the command; `finish` takes its exit code. */
export function addInitCommand(program: Command, finish: (code: ExitCode) => void): void {
  program
    .command('init')
    .description('make a folder for an experiment: a recipe, a reward of your own, its test, a README')
    .argument('<folder>', 'folder to make; its name is the name of the runs')
    .option('--typescript', 'write the recipe in TypeScript instead of YAML')
    .addHelpText('after', '\nExample:\n  reckon init my-experiment')
    .action((folder: string, _options, command: Command) => {
      init(folder, command.optsWithGlobals<InitOptions>());
      finish(0);
    });
}

function init(folder: string, options: InitOptions): void {
  const name = nameFor(folder);
  if (existsSync(folder) && readdirSync(folder).length > 0)
    throw new ReckonError('usage', 'folder-exists', `${folder} is there already and not empty; name another`);
  const files = experimentFiles(name, options.typescript === true);
  mkdirSync(folder, { recursive: true });
  for (const [file, text] of Object.entries(files)) writeFileSync(join(folder, file), text);
  for (const name of ['reckon', 'tsx', 'typescript', '@types/node']) link(folder, name);
  linkCommand(folder);
  const next = `cd ${folder} && npx reckon run ${options.typescript === true ? 'recipe.ts' : 'recipe.yaml'}`;
  printResult(options, { folder, files: Object.keys(files), next }, `${folder} made; next: ${next}`);
}

/** A run's name: letters, digits, `.`, `_` and -, as the recipe wants it. */
function nameFor(folder: string): string {
  const name = basename(resolve(folder))
    .replace(/[^A-Za-z0-9._-]+/g, '-')
    .replace(/^[^A-Za-z0-9]+/, '');
  if (name !== '') return name;
  throw new ReckonError(
    'usage',
    'no-name',
    `${folder} has no letters or digits to name runs by; name another folder`,
  );
}

/** So that editor, test and compiler find this reckon and its tools without an installation. */
function link(folder: string, name: string): void {
  const target = name === 'reckon' ? resolve(PACKAGE_ROOT) : packageFolder(name);
  if (target === null) return;
  const path = join(folder, 'node_modules', name);
  mkdirSync(dirname(path), { recursive: true });
  symlinkSync(target, path, 'dir');
}

/** So that `npx reckon` and npm's scripts find the command in the folder. */
function linkCommand(folder: string): void {
  const bin = join(folder, 'node_modules', '.bin');
  mkdirSync(bin, { recursive: true });
  symlinkSync(join('..', 'reckon', 'dist', 'cli', 'main.js'), join(bin, 'reckon'));
}

function packageFolder(name: string): string | null {
  const roots = [join(PACKAGE_ROOT, 'node_modules'), dirname(resolve(PACKAGE_ROOT))];
  return roots.map((root) => resolve(root, name)).find((path) => existsSync(path)) ?? null;
}
