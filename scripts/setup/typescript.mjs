/** Compiles src/ into dist/ with tsc when it changed; it knows nothing of what the code does. */
import { chmodSync, existsSync, mkdirSync, renameSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { SetupFailure } from './failure.mjs';
import { filesUnder, hashOf, readOr, removeOnInterrupt, writeAside } from './files.mjs';
import { run } from './process.mjs';

const BIN = join('cli', 'main.js');

function sourceHash(root) {
  const settings = ['tsconfig.json', 'tsconfig.build.json', 'package-lock.json'].map((name) =>
    join(root, name),
  );
  return hashOf(root, [...filesUnder(join(root, 'src')), ...settings.filter((path) => existsSync(path))]);
}

/** Whether dist/ is what src/ and the TypeScript settings give; an installed package has no src/, and came with its dist/. */
export function isDistFresh({ root }) {
  if (!existsSync(join(root, 'src'))) return true;
  return readOr(join(root, 'dist', '.stamp')) === sourceHash(root);
}

/** Compiles aside and swaps: dist/ is the old one or the new one, without files of sources that are gone. */
export async function compileTypeScript({ root, env, report }) {
  report.line('compiling TypeScript');
  const stamp = sourceHash(root);
  const dist = join(root, 'dist');
  const aside = join(root, 'dist.new');
  const old = join(root, 'build', 'dist.old');
  const forget = removeOnInterrupt(aside);
  try {
    for (const folder of [aside, old]) rmSync(folder, { recursive: true, force: true });
    const tsc = join(root, 'node_modules', '.bin', 'tsc');
    const { code, output } = await run(tsc, ['-p', 'tsconfig.build.json', '--outDir', aside], {
      cwd: root,
      env,
    });
    if (code !== 0) {
      const first = output.split('\n').find((line) => line.includes('error')) ?? output.split('\n', 1)[0];
      throw new SetupFailure(
        `src/ does not compile (${first.trim()}): correct it, or see all of it with npx tsc -p tsconfig.build.json.`,
      );
    }
    if (existsSync(join(aside, BIN))) chmodSync(join(aside, BIN), 0o755);
    writeAside(join(aside, '.stamp'), stamp);
    mkdirSync(join(root, 'build'), { recursive: true });
    if (existsSync(dist)) renameSync(dist, old);
    renameSync(aside, dist);
  } finally {
    for (const folder of [aside, old]) rmSync(folder, { recursive: true, force: true });
    forget();
  }
}
