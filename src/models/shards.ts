/** Owns a checkpoint's weights in one file or several: the index of shards and its checks. Knows no model. */

import { existsSync, readFileSync } from 'node:fs';
import { basename, join } from 'node:path';
import { z } from 'zod';
import type { Tensor } from '../torch/index.ts';
import { messageOf, ReckonError } from '../util/errors.ts';
import { type ReadOptions, readSafetensors } from './safetensors.ts';

const single = 'model.safetensors';
const indexFile = 'model.safetensors.index.json';
const indexSchema = z.looseObject({ weight_map: z.record(z.string(), z.string()) });

/** The tensors of a model folder, read straight into the wanted dtype and place; the caller owns them. */
export function readShards(folder: string, options: ReadOptions = {}): Map<string, Tensor> {
  const index = join(folder, indexFile);
  if (existsSync(join(folder, single)) || !existsSync(index)) {
    return readSafetensors(join(folder, single), options);
  }
  const { only = () => true } = options;
  const places = new Map([...readIndex(index)].filter(([name]) => only(name)));
  const state = new Map<string, Tensor>();
  try {
    for (const shard of new Set(places.values())) {
      const read = readSafetensors(join(folder, shard), options);
      for (const [name, value] of read) {
        state.get(name)?.dispose();
        state.set(name, value);
      }
      const stray = [...read.keys()].find((name) => places.get(name) !== shard);
      if (stray !== undefined) throw wrong(index, `says nothing of '${stray}' in ${shard}`);
    }
    const missing = [...places].find(([name]) => !state.has(name));
    if (missing) throw wrong(index, `promises '${missing[0]}' in ${missing[1]}, which has none of that name`);
    return state;
  } catch (error) {
    for (const value of state.values()) value.dispose();
    throw error;
  }
}

/** Tensor -> file of the same folder. */
function readIndex(path: string): Map<string, string> {
  let map: Record<string, string>;
  try {
    map = indexSchema.parse(JSON.parse(readFileSync(path, 'utf8'))).weight_map;
  } catch (error) {
    throw new ReckonError('data', 'bad-shard-index', `${path} cannot be read: ${messageOf(error)}`);
  }
  for (const file of Object.values(map)) {
    const plain = file === basename(file) && file.endsWith('.safetensors') && !file.includes('\\');
    if (!plain) throw wrong(path, `names '${file}', which is not a safetensors file of its own folder`);
  }
  return new Map(Object.entries(map));
}

function wrong(path: string, what: string): ReckonError {
  return new ReckonError('data', 'bad-shard-index', `${path} ${what}; get the checkpoint again`);
}
