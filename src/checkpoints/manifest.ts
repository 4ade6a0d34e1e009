/** Owns manifest.json, the list of a checkpoint's files with sizes and checksums; knows not what the files mean. */

import { existsSync, readdirSync, readFileSync, statSync } from 'node:fs';
import { join } from 'node:path';
import * as z from 'zod';
import { messageOf, ReckonError } from '../util/errors.ts';
import { sha256OfFile, syncPath, writeFileAtomic } from '../util/files.ts';

/** The name of the manifest inside a checkpoint folder. */
export const MANIFEST_FILE = 'manifest.json';

const entrySchema = z.strictObject({
  path: z
    .string()
    .refine((path) => isInside(path), 'a path inside the checkpoint folder')
    .describe('path inside the folder, with / on every system'),
  size: z.int().nonnegative().describe('bytes'),
  sha256: z.string().length(64).describe('hexadecimal digits'),
});

/** manifest.json, version 1. */
export const manifestSchema: z.ZodType<Manifest> = z.strictObject({
  version: z.literal(1),
  step: z.int().nonnegative(),
  files: z.array(entrySchema),
});

/** One file of a checkpoint; `path` is relative to its folder, `size` in bytes. */
export interface ManifestEntry {
  readonly path: string;
  readonly size: number;
  readonly sha256: string;
}

/** What a whole checkpoint holds. */
export interface Manifest {
  readonly version: 1;
  readonly step: number;
  readonly files: readonly ManifestEntry[];
}

/** Lists and syncs every file under the folder and writes manifest.json last. */
export function writeManifest(folder: string, step: number): Manifest {
  const files = listFiles(folder)
    .filter((path) => path !== MANIFEST_FILE)
    .map((path) => describeFile(folder, path));
  const manifest: Manifest = { version: 1, step, files };
  writeFileAtomic(join(folder, MANIFEST_FILE), `${JSON.stringify(manifest, null, 2)}\n`);
  return manifest;
}

/** Null when every listed file is there with its size and checksum, else what is wrong, as part of a sentence. */
export function findDamage(folder: string, step: number): string | null {
  const path = join(folder, MANIFEST_FILE);
  if (!existsSync(path)) return `${MANIFEST_FILE} is missing`;
  try {
    const manifest = manifestSchema.parse(JSON.parse(readFileSync(path, 'utf8')));
    if (manifest.step !== step) return `${MANIFEST_FILE} is of step ${manifest.step}`;
    for (const entry of manifest.files) {
      const damage = findFileDamage(folder, entry);
      if (damage !== null) return damage;
    }
    return null;
  } catch (error) {
    return `${MANIFEST_FILE} cannot be read (${messageOf(error).split('\n')[0]})`;
  }
}

function findFileDamage(folder: string, entry: ManifestEntry): string | null {
  const path = join(folder, entry.path);
  if (!existsSync(path)) return `${entry.path} is missing`;
  const { size } = statSync(path);
  if (size !== entry.size) return `${entry.path} has ${size} bytes instead of ${entry.size}`;
  return sha256OfFile(path) === entry.sha256 ? null : `${entry.path} does not match its checksum`;
}

function describeFile(folder: string, path: string): ManifestEntry {
  const absolute = join(folder, path);
  syncPath(absolute);
  return { path, size: statSync(absolute).size, sha256: sha256OfFile(absolute) };
}

/** Every file under a folder, sorted, with / between names; folders are synced on the way. */
function listFiles(folder: string, prefix = ''): string[] {
  const found = readdirSync(folder, { withFileTypes: true }).flatMap((entry) => {
    const path = prefix + entry.name;
    if (entry.isDirectory()) return listFiles(join(folder, entry.name), `${path}/`);
    if (entry.isFile()) return [path];
    throw new ReckonError('run', 'checkpoint-odd-file', `a checkpoint holds plain files only, found ${path}`);
  });
  syncPath(folder);
  return found.sort();
}

function isInside(path: string): boolean {
  return !path.startsWith('/') && !path.includes('\\') && !path.split('/').some((part) => part === '..');
}
