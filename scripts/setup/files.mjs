/** Files as set-up uses them: hashes, atomic writes, folders that vanish on failure; it knows no step. */
import { createHash } from 'node:crypto';
import {
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  renameSync,
  rmSync,
  writeFileSync,
} from 'node:fs';
import { homedir } from 'node:os';
import { dirname, join, relative, resolve } from 'node:path';

const temporary = new Set();

/** Every file below `folder` that `accept` takes, sorted; none where the folder is missing. */
export function filesUnder(folder, accept = () => true) {
  if (!existsSync(folder)) return [];
  return readdirSync(folder, { withFileTypes: true, recursive: true })
    .filter((entry) => entry.isFile() && accept(entry.name))
    .map((entry) => join(entry.parentPath ?? entry.path, entry.name))
    .sort();
}

/** SHA-256 over names (relative to `root`), contents and extra strings: equal exactly when all are. */
export function hashOf(root, files, extra = []) {
  const hash = createHash('sha256');
  for (const text of extra) hash.update(`${text.length}:${text};`);
  for (const file of files) {
    const bytes = readFileSync(file);
    hash.update(`${relative(root, file)}:${bytes.length};`).update(bytes);
  }
  return hash.digest('hex');
}

/** The text of a file, or '' where there is none. */
export function readOr(path) {
  try {
    return readFileSync(path, 'utf8');
  } catch {
    return '';
  }
}

/** The JSON in a file, or null where it is missing or broken. */
export function readJson(path) {
  try {
    return JSON.parse(readFileSync(path, 'utf8'));
  } catch {
    return null;
  }
}

/** Writes a small file whole or not at all. */
export function writeAside(path, text) {
  mkdirSync(dirname(path), { recursive: true });
  const aside = `${path}.${process.pid}.tmp`;
  try {
    writeFileSync(aside, text);
    renameSync(aside, path);
  } catch (error) {
    rmSync(aside, { force: true });
    throw error;
  }
}

/** Runs `use` with a fresh folder beside its destination; whatever happens, the folder is gone afterwards. */
export async function withTemporaryFolder(parent, use) {
  mkdirSync(parent, { recursive: true });
  const folder = mkdtempSync(join(parent, '.aside-'));
  temporary.add(folder);
  try {
    return await use(folder);
  } finally {
    rmSync(folder, { recursive: true, force: true });
    temporary.delete(folder);
  }
}

/** Has `path` removed when set-up is interrupted, until the returned function is called. */
export function removeOnInterrupt(path) {
  temporary.add(path);
  return () => temporary.delete(path);
}

/** Removes what an interrupted step would leave behind. */
export function removeTemporary() {
  for (const path of temporary) rmSync(path, { recursive: true, force: true });
}

/** The user's cache: RECKON_CACHE, else the platform's custom. */
export function cacheFolder(env, platform) {
  if (env.RECKON_CACHE) return resolve(env.RECKON_CACHE);
  if (platform === 'darwin') return join(homedir(), 'Library', 'Caches', 'reckon');
  return env.XDG_CACHE_HOME
    ? join(resolve(env.XDG_CACHE_HOME), 'reckon')
    : join(homedir(), '.cache', 'reckon');
}
