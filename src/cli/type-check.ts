/** Owns type-checking a TypeScript recipe with the user's own compiler, or reckon's. Loads neither recipe nor compiler. */

import { execFile } from 'node:child_process';
import { existsSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { delimiter, dirname, join, resolve } from 'node:path';
import { ReckonError } from '../util/errors.ts';
import { FROM_SOURCES, MODULES, PACKAGE_ROOT } from '../util/place.ts';

/**
 * Checks the types of a module; false where there is no `tsc` beside it, in reckon or on the PATH. The first error is a
 * ReckonError `recipe-types` that names file and line.
 */
export async function typeCheck(file: string): Promise<boolean> {
  const compiler = findCompiler(dirname(resolve(file)));
  if (compiler === null) return false;
  const folder = mkdtempSync(join(tmpdir(), 'reckon-types-'));
  try {
    writeFileSync(join(folder, 'tsconfig.json'), JSON.stringify(configFor(file)));
    const output = await run(compiler, ['-p', folder, '--pretty', 'false'], dirname(resolve(file)));
    const errors = output.split('\n').flatMap(readError);
    if (errors.length === 0) return true;
    const { line, message } = errors[0]!;
    const more = errors.length === 1 ? '' : ` (and ${errors.length - 1} more)`;
    throw new ReckonError('recipe', 'recipe-types', `${file}:${line}: ${message}${more}`);
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
}

/** The settings of the check; `reckon` means the declarations of the reckon that runs. */
function configFor(file: string): object {
  const ending = FROM_SOURCES ? '.ts' : '.d.ts';
  const typeRoots = [dirname(resolve(file)), PACKAGE_ROOT].map((folder) =>
    join(folder, 'node_modules', '@types'),
  );
  return {
    files: [resolve(file)],
    compilerOptions: {
      strict: true,
      noEmit: true,
      target: 'es2022',
      lib: ['es2023', 'esnext.disposable'],
      module: 'nodenext',
      skipLibCheck: true,
      allowImportingTsExtensions: true,
      allowJs: true,
      paths: {
        reckon: [join(MODULES, `index${ending}`)],
        'reckon/*': [join(MODULES, '*', `index${ending}`)],
      },
      types: typeRoots.some((folder) => existsSync(join(folder, 'node'))) ? ['node'] : [],
      typeRoots,
    },
  };
}

/** `node <tsc>` of the nearest TypeScript package, or a `tsc` on the PATH. */
function findCompiler(folder: string): readonly string[] | null {
  const roots = [...withParents(folder), PACKAGE_ROOT].map((root) =>
    join(root, 'node_modules', 'typescript', 'bin', 'tsc'),
  );
  const script = roots.find((path) => existsSync(path));
  if (script !== undefined) return [process.execPath, script];
  const folders = (process.env['PATH'] ?? '').split(delimiter).filter((one) => one !== '');
  const program = folders.map((one) => join(one, 'tsc')).find((path) => existsSync(path));
  return program === undefined ? null : [program];
}

function withParents(folder: string): string[] {
  const parent = dirname(folder);
  return parent === folder ? [folder] : [folder, ...withParents(parent)];
}

function run(
  [program = '', ...first]: readonly string[],
  words: readonly string[],
  cwd: string,
): Promise<string> {
  return new Promise((done, fail) => {
    execFile(program, [...first, ...words], { cwd, timeout: 60_000 }, (error, stdout, stderr) => {
      const failed = error !== null && typeof error.code !== 'number';
      if (failed)
        fail(
          new ReckonError('environment', 'tsc-failed', `tsc did not run: ${error.message.split('\n')[0]}`),
        );
      else done(`${stdout}\n${stderr}`);
    });
  });
}

/** `recipe.ts(3,5): error TS2322: message`; what follows is indented and left out. */
function readError(text: string): { line: string; message: string }[] {
  const match = /^\S[^()]*\((\d+),\d+\): error TS\d+: (.*)$/.exec(text);
  if (match !== null) return [{ line: match[1]!, message: match[2]! }];
  const whole = /^error TS\d+: (.*)$/.exec(text);
  return whole === null ? [] : [{ line: '1', message: whole[1]! }];
}
