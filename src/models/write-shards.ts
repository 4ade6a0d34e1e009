/** Owns cutting a checkpoint's weights into files of a bounded size, with the index that names them. Knows no model. */

import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { dtypeBytes, type Tensor } from '../torch/index.ts';
import { writeSafetensors } from './safetensors.ts';

/**
 * Writes model.safetensors, or where that would be larger than `maxBytes` several shards and their index, as
 * transformers does: in order, each as full as it goes, a tensor larger than the bound in a shard of its own.
 */
export function writeShards(folder: string, state: ReadonlyMap<string, Tensor>, maxBytes: number): void {
  const shards = cut(state, maxBytes);
  if (shards.length <= 1) {
    writeSafetensors(join(folder, 'model.safetensors'), state);
    return;
  }
  const weightMap: Record<string, string> = {};
  const number = (value: number) => String(value).padStart(5, '0');
  shards.forEach((shard, i) => {
    const file = `model-${number(i + 1)}-of-${number(shards.length)}.safetensors`;
    writeSafetensors(join(folder, file), shard);
    for (const name of shard.keys()) weightMap[name] = file;
  });
  const values = [...state.values()];
  const metadata = {
    total_parameters: values.reduce((sum, value) => sum + value.numel, 0),
    total_size: values.reduce((sum, value) => sum + bytesOf(value), 0),
  };
  const index = JSON.stringify({ metadata, weight_map: weightMap }, null, 2);
  writeFileSync(join(folder, 'model.safetensors.index.json'), `${index}\n`);
}

function cut(state: ReadonlyMap<string, Tensor>, maxBytes: number): Map<string, Tensor>[] {
  const shards: Map<string, Tensor>[] = [];
  let room = 0;
  for (const [name, value] of state) {
    const bytes = bytesOf(value);
    if (shards.length === 0 || bytes > room) {
      shards.push(new Map());
      room = maxBytes;
    }
    shards.at(-1)!.set(name, value);
    room -= bytes;
  }
  return shards;
}

function bytesOf(value: Tensor): number {
  return value.numel * dtypeBytes(value.dtype);
}
