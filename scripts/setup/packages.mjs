/** The npm packages: installed exactly as the lock says, only when it changed; it knows no package by name. */
import { existsSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { diskFull, SetupFailure } from './failure.mjs';
import { hashOf, readJson, readOr, writeAside } from './files.mjs';
import { run } from './process.mjs';

const stampFile = (root) => join(root, 'node_modules', '.reckon-lock');

const lockHash = (root) => hashOf(root, [join(root, 'package-lock.json')]);

/**
 * Whether node_modules is what package-lock.json asks for; a complete install by hand is recognised and stamped. Without
 * a lock, which npm never publishes, this is an installed package, and npm has seen to what it needs.
 */
export function arePackagesFresh({ root }) {
  if (!existsSync(join(root, 'package-lock.json'))) return true;
  const stamp = lockHash(root);
  if (readOr(stampFile(root)) === stamp) return true;
  if (!installedMatchesLock(root)) return false;
  writeAside(stampFile(root), stamp);
  return true;
}

/* npm writes what it installed to node_modules/.package-lock.json; optional packages of other platforms are left out of it. */
function installedMatchesLock(root) {
  const wanted = readJson(join(root, 'package-lock.json'))?.packages ?? {};
  const installed = readJson(join(root, 'node_modules', '.package-lock.json'))?.packages;
  if (!installed) return false;
  return Object.entries(wanted).every(([path, { version, optional }]) => {
    if (path === '') return true;
    return path in installed ? installed[path].version === version : optional === true;
  });
}

/** Runs `npm ci`. */
export async function installPackages({ root, env, report }) {
  report.line('installing the npm packages of package-lock.json');
  const args = ['ci', '--no-audit', '--no-fund', '--prefer-offline'];
  const { code, output, missing } = await run('npm', args, { cwd: root, env });
  if (code === 0) {
    writeAside(stampFile(root), lockHash(root));
    return;
  }
  if (missing)
    throw new SetupFailure('npm is not on the PATH: install the npm that comes with Node, and run again.');
  if (!existsSync(join(root, 'node_modules', '.package-lock.json'))) {
    rmSync(join(root, 'node_modules'), { recursive: true, force: true });
  }
  if (/ENOSPC|EDQUOT/.test(output)) throw diskFull(root);
  const remedy = /in sync/.test(output)
    ? 'run npm install once, which brings package-lock.json in line'
    : "check the network and npm's registry setting";
  throw new SetupFailure(`npm ci failed (${firstError(output)}): ${remedy}, then run again.`);
}

/* npm names a code and a number before it says what happened, and the log file afterwards. */
function firstError(output) {
  const said = output
    .split('\n')
    .filter((line) => line.startsWith('npm error'))
    .map((line) => line.slice('npm error'.length).trim());
  const line = said.find((text) => text !== '' && !/^(code|errno|syscall|A complete log)/.test(text));
  return (line ?? output.trim().split('\n').at(-1) ?? '').slice(0, 200);
}
