/** Owns how large a recipe's model is, from its keys, its config.json or its name. Reads no weights. */

import { existsSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { cachedModel } from '../hub/index.ts';
import type { AdapterRecipe } from './adapter.ts';
import { parentIndex } from './lineage.ts';
import type { ModelInit, Recipe } from './recipe.ts';

/** The numbers of an architecture that memory and time follow from. */
export interface ModelShape {
  readonly hiddenSize: number;
  readonly layers: number;
  readonly heads: number;
  readonly keyValueHeads: number;
  readonly headDim: number;
  readonly intermediateSize: number;
  readonly vocabSize: number;
  readonly tieEmbeddings: boolean;
}

/** A model's size; the shape is null where only the number of parameters is known. */
export interface ModelSize {
  readonly parameters: number;
  readonly shape: ModelShape | null;
}

/** Character-level vocabularies of new models are about this large. */
const CHARACTERS = 64;

/** The size of the model that a recipe starts from, or null where nothing here says it. */
export function modelSize({ model }: Recipe): ModelSize | null {
  if (model.init !== undefined) return sized(shapeOfInit(model.init));
  return model.path === undefined ? null : sizeOf(model.path);
}

/** The size of a model folder or hub name: its config.json where it is here, else the `7B` in its name. */
export function sizeOf(name: string): ModelSize | null {
  const folder = existsSync(name) ? name : cachedFolder(name);
  const shape = folder === null ? null : readShape(join(folder, 'config.json'));
  if (shape !== null) return sized(shape);
  const billions = /(?:^|[-_/])(\d{1,4}(?:\.\d{1,3})?)B(?=$|[-_@])/i.exec(name);
  return billions === null ? null : { parameters: Number(billions[1]) * 1e9, shape: null };
}

/** The size of the model that the stage at `index` starts from, or makes: a teacher may be of another. */
export function sizeAt(recipe: Recipe, index: number): ModelSize | null {
  const stage = recipe.stages[index]!;
  if (stage.type === 'model')
    return stage.init === undefined
      ? stage.path === undefined
        ? null
        : sizeOf(stage.path)
      : sized(shapeOfInit(stage.init));
  const parent = parentIndex(recipe.stages, index);
  return parent === null ? modelSize(recipe) : sizeAt(recipe, parent);
}

/** Parameters of a low-rank adapter on the layers that it names. */
export function adapterParameters(
  { rank, targetModules }: AdapterRecipe,
  { parameters, shape }: ModelSize,
): number {
  if (shape === null) return Math.round(rank * Math.sqrt(parameters) * 30);
  const { hiddenSize, layers, heads, keyValueHeads, headDim, intermediateSize } = shape;
  const [query, value] = [heads * headDim, keyValueHeads * headDim];
  // Inputs and outputs of the linear layers of a block.
  const linear: Readonly<Record<string, number>> = {
    q_proj: hiddenSize + query,
    k_proj: hiddenSize + value,
    v_proj: hiddenSize + value,
    o_proj: query + hiddenSize,
    gate_proj: hiddenSize + intermediateSize,
    up_proj: hiddenSize + intermediateSize,
    down_proj: intermediateSize + hiddenSize,
  };
  const named = Array.isArray(targetModules) ? targetModules.filter((name) => name in linear) : [];
  const names = named.length > 0 ? named : Object.keys(linear);
  return rank * layers * names.reduce((sum, name) => sum + (linear[name] ?? 0), 0);
}

function sized(shape: ModelShape): ModelSize {
  const { hiddenSize, layers, heads, keyValueHeads, headDim, intermediateSize, vocabSize, tieEmbeddings } =
    shape;
  const attention = 2 * hiddenSize * heads * headDim + 2 * hiddenSize * keyValueHeads * headDim;
  const layer = attention + 3 * hiddenSize * intermediateSize + 2 * hiddenSize;
  const embeddings = vocabSize * hiddenSize * (tieEmbeddings ? 1 : 2);
  return { parameters: layers * layer + embeddings + hiddenSize, shape };
}

function shapeOfInit(init: ModelInit): ModelShape {
  return { ...init, headDim: init.hiddenSize / init.heads, vocabSize: CHARACTERS };
}

function cachedFolder(name: string): string | null {
  try {
    return cachedModel(name, null);
  } catch {
    return null;
  }
}

/** The keys of a config.json that Qwen and Llama share; null where one of them is missing. */
function readShape(path: string): ModelShape | null {
  if (!existsSync(path)) return null;
  try {
    const config = JSON.parse(readFileSync(path, 'utf8')) as Record<string, unknown>;
    const number = (key: string, otherwise = Number.NaN): number => Number(config[key] ?? otherwise);
    const heads = number('num_attention_heads');
    const shape = {
      hiddenSize: number('hidden_size'),
      layers: number('num_hidden_layers'),
      heads,
      keyValueHeads: number('num_key_value_heads', heads),
      headDim: number('head_dim', number('hidden_size') / heads),
      intermediateSize: number('intermediate_size'),
      vocabSize: number('vocab_size'),
      tieEmbeddings: config['tie_word_embeddings'] === true,
    };
    return Object.values(shape).some((value) => Number.isNaN(value)) ? null : shape;
  } catch {
    return null;
  }
}
