/** Owns what the recipe's `engine` comes to in a run: servers for trainers, and an engine for a model that is measured. */

import { cpSync, rmSync } from 'node:fs';
import { basename, join, resolve } from 'node:path';
import { type Engine, engineOf, PublishedPolicy, RemoteClient } from '../../generate/index.ts';
import { isAdapterFolder, loadFrozen } from '../../models/index.ts';
import type { Recipe } from '../../recipe/index.ts';
import type { Tokenizer } from '../../text/index.ts';
import type { ResolvedCompute } from '../../train/context.ts';
import type { RemoteRollouts } from '../../train/rollout-engine.ts';
import { sha256OfFile } from '../../util/files.ts';

/** Before the second try of a request. */
const backoffS = 0.5;

/** The servers as trainers take them; null where completions are sampled in this process. */
export function remoteOf({ engine }: Pick<Recipe, 'engine'>): RemoteRollouts | null {
  if (engine.kind === 'local') return null;
  const { adapters, mismatch, ...rest } = engine;
  return {
    ...rest,
    backoffS,
    adapterFolder: adapters.folder,
    serverAdapterFolder: adapters.serverFolder,
    mismatchBound: mismatch,
  };
}

/** What is measured, and on what it is loaded here. */
export interface MeasuredModel {
  readonly folder: string;
  readonly compute: ResolvedCompute;
  readonly tokenizer: Tokenizer;
}

/**
 * Calls `use` with an engine of a model folder: the model loaded for decoding, or servers that have it, an adapter folder
 * under a name of its own and any other as their base; the model here is then what their answers are probed with.
 */
export async function withEngine<T>(
  recipe: Pick<Recipe, 'engine' | 'name'>,
  { folder, compute, tokenizer }: MeasuredModel,
  options: {
    readonly prompt: () => readonly number[];
    readonly temperature: number;
    readonly log: (line: string) => void;
  },
  use: (engine: Engine) => Promise<T>,
): Promise<T> {
  const remote = remoteOf(recipe);
  if (!remote) {
    using engine = engineOf(loadFrozen(folder, compute, 'decoding'), tokenizer);
    return await use(engine);
  }
  using model = loadFrozen(folder, compute);
  const client = new RemoteClient(remote, options.log);
  const published = new PublishedPolicy(client, tokenizer, model.config.eosTokenIds, options.log);
  const placed = isAdapterFolder(folder) ? placeAdapter(recipe.name, resolve(folder), remote) : null;
  const name = placed?.name ?? remote.model;
  try {
    const version = { name, path: placed?.path ?? null, model, hasBase: false };
    const sampling = { temperature: options.temperature, topP: 1 };
    const probe = { ...remote.probe, promptIds: options.prompt(), sampling };
    return await use(await published.publish(version, probe));
  } finally {
    await published.close();
    if (placed?.copy) rmSync(placed.copy, { recursive: true, force: true });
  }
}

/** Where servers find an adapter: where it lies, or a copy in the folder that they share. */
function placeAdapter(
  run: string,
  folder: string,
  { adapterFolder, serverAdapterFolder }: RemoteRollouts,
): { readonly name: string; readonly path: string; readonly copy: string | null } {
  const hash = sha256OfFile(join(folder, 'adapter_model.safetensors')).slice(0, 8);
  const name = `${run}-${basename(folder)}-${hash}`;
  if (adapterFolder === undefined) return { name, path: folder, copy: null };
  const copy = join(resolve(adapterFolder), name);
  for (const file of ['adapter_config.json', 'adapter_model.safetensors'])
    cpSync(join(folder, file), join(copy, file));
  return { name, path: serverAdapterFolder === undefined ? copy : join(serverAdapterFolder, name), copy };
}
