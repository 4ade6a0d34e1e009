/** Owns which layers of a model an adapter changes, by PEFT's rules of matching, and with what rank and scale. */

import { Embedding, Head, type Layer, Linear, layersOf, type Module } from '../nn/index.ts';
import { ReckonError } from '../util/errors.ts';
import { type AdapterConfig, isAllLinear } from './adapter-config.ts';
import { matchesStart, matchesWhole } from './adapter-pattern.ts';

/** A layer that gets a low-rank update of scale * b a. */
export interface LowRankTarget {
  readonly path: string;
  readonly layer: Linear | Embedding | Head;
  readonly rank: number;
  readonly scale: number;
}

/** What an adapter changes: layers with a low-rank update, and layers stored whole. */
export interface AdapterTargets {
  readonly lowRank: readonly LowRankTarget[];
  readonly whole: readonly { readonly path: string; readonly layer: Layer }[];
}

/** The targets in the model's order; throws `no-target-layers` where nothing matches. */
export function adapterTargets(model: Module, config: AdapterConfig): AdapterTargets {
  const layers = [...layersOf(model)].map(([path, layer]) => ({ path, layer }));
  const whole = layers.filter(({ path }) => isStoredWhole(path, config.modulesToSave));
  const lowRank = layers
    .filter(({ path, layer }) => isTarget(path, layer, config))
    .map(({ path, layer }) => ({ path, layer: adaptable(path, layer, config), ...rankOf(path, config) }));
  if (lowRank.length > 0) return { lowRank, whole };
  throw new ReckonError(
    'data',
    'no-target-layers',
    `the adapter's target_modules ${JSON.stringify(config.targetModules)} match no layer of the model, whose layers have paths such as '${layers[1]?.path}'`,
  );
}

function isTarget(path: string, layer: Layer, config: AdapterConfig): boolean {
  const { targetModules, excludeModules, modulesToSave } = config;
  if (isNamed(path, excludeModules)) return false;
  if (modulesToSave.some((name) => matchesStart(`(^|.*\\.)${name}($|\\..*)`, path))) return false;
  if (isAllLinear(targetModules)) return layer instanceof Linear;
  if (typeof targetModules === 'string') return matchesWhole(targetModules, path);
  if (targetModules.includes(path)) return true;
  return isNamed(path, targetModules) && isInLayers(path, config);
}

/** A string is a pattern of whole paths; names of a list are whole paths or their last parts. */
function isNamed(path: string, wanted: string | readonly string[]): boolean {
  if (typeof wanted === 'string') return matchesWhole(wanted, path);
  return wanted.some((name) => path === name || path.endsWith(`.${name}`));
}

/** The first number of the path, after one of the patterns, must be among the layers. */
function isInLayers(path: string, { layersToTransform, layersPattern }: AdapterConfig): boolean {
  if (layersToTransform === null) return true;
  const patterns =
    layersPattern.length > 0 ? layersPattern.map((one) => `(?:^|.*?\\.)${one}`) : ['.*?\\.[^.]*'];
  const parts = path.split('.');
  for (const pattern of patterns) {
    const at = parts.findIndex(
      (part, i) =>
        i < parts.length - 1 && /^\d+$/.test(part) && matchesWhole(pattern, parts.slice(0, i).join('.')),
    );
    if (at >= 0) return layersToTransform.includes(Number(parts[at]));
  }
  return false;
}

/** As in PEFT: a module counts whose path ends with the name, letters before it or not, and all below it. */
function isStoredWhole(path: string, modulesToSave: readonly string[]): boolean {
  const parts = path.split('.');
  return parts.some((_, i) => {
    const upTo = parts.slice(0, i + 1).join('.');
    return modulesToSave.some((name) => upTo.endsWith(name));
  });
}

function rankOf(path: string, config: AdapterConfig): { rank: number; scale: number } {
  const rank = byPattern(config.rankPattern, path) ?? config.rank;
  const alpha = byPattern(config.alphaPattern, path) ?? config.alpha;
  return { rank, scale: alpha / (config.rslora ? Math.sqrt(rank) : rank) };
}

function byPattern(pattern: Readonly<Record<string, number>>, path: string): number | undefined {
  return Object.entries(pattern).find(([key]) => matchesStart(`(.*\\.)?(${key})$`, path))?.[1];
}

function adaptable(path: string, layer: Layer, config: AdapterConfig): Linear | Embedding | Head {
  const known = layer instanceof Linear || layer instanceof Head;
  if (known || (layer instanceof Embedding && !config.dora)) return layer;
  throw new ReckonError(
    'data',
    'unsupported-adapter',
    `the adapter's target_modules match '${path}', which takes no ${config.dora ? 'DoRA' : 'LoRA'} update; ${layer instanceof Embedding ? 'use LoRA for it' : 'store it whole with modules_to_save'}`,
  );
}
