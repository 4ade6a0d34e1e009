/** Owns how models in folders are told apart without reading their weights. */

import { createHash } from 'node:crypto';
import { existsSync, readdirSync, readFileSync, statSync } from 'node:fs';
import { join } from 'node:path';
import { MANIFEST_FILE } from './manifest.ts';

const FILES = ['config.json', 'adapter_config.json', 'model.safetensors', 'adapter_model.safetensors'];

/** 16 hexadecimal digits: of the checksums of its manifest where it has one, else of names, sizes and times of its weights. */
export function modelFingerprint(folder: string): string {
  const hash = createHash('sha256');
  const manifest = join(folder, MANIFEST_FILE);
  if (existsSync(manifest)) hash.update(readFileSync(manifest));
  else {
    const shards = readdirSync(folder).filter((name) => /^model-.*\.safetensors$/.test(name));
    for (const name of [...FILES, ...shards.sort()]) {
      const path = join(folder, name);
      if (existsSync(path)) hash.update(`${name} ${statSync(path).size} ${statSync(path).mtimeMs}\n`);
    }
  }
  return hash.digest('hex').slice(0, 16);
}
