/** Owns what is inside a training checkpoint: a Hugging Face model folder or a PEFT adapter folder, and trainer/ with state and optimizer. */

import { mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { z } from 'zod';
import { type Decoder, readSafetensors, savePolicy, writeSafetensors } from '../models/index.ts';
import type { AdamW } from '../optim/index.ts';
import type { Tokenizer } from '../text/index.ts';
import { messageOf, ReckonError } from '../util/errors.ts';

/** trainer/state.json, version 1. Random streams are functions of seed and step, so nothing of them is stored. */
export interface TrainerState {
  readonly version: 1;
  /** Which trainer wrote it. */
  readonly trainer: string;
  /** Steps done. */
  readonly step: number;
  /** Tokens trained on so far. */
  readonly tokens: number;
  /** What a trainer keeps beside weights and moments: running statistics, cursors, controllers. */
  readonly extra?: Readonly<Record<string, unknown>> | undefined;
}

const stateSchema: z.ZodType<TrainerState> = z.object({
  version: z.literal(1),
  trainer: z.string(),
  step: z.int().nonnegative(),
  tokens: z.int().nonnegative(),
  extra: z.record(z.string(), z.unknown()).optional(),
});

/** Writes what was trained (the model, or its adapter alone), tokenizer, optimizer and state into a folder. */
export function saveTrainer(
  folder: string,
  parts: {
    readonly model: Decoder;
    readonly tokenizer: Tokenizer;
    readonly optimizer: AdamW;
    readonly state: TrainerState;
  },
): void {
  const trainer = join(folder, 'trainer');
  mkdirSync(trainer, { recursive: true });
  savePolicy(parts.model, folder);
  parts.tokenizer.save(folder);
  writeSafetensors(join(trainer, 'optimizer.safetensors'), parts.optimizer.state());
  writeFileSync(join(trainer, 'state.json'), `${JSON.stringify(parts.state, null, 2)}\n`);
}

/** Reads trainer/state.json of a checkpoint. */
export function readTrainerState(folder: string): TrainerState {
  const path = join(folder, 'trainer', 'state.json');
  try {
    return stateSchema.parse(JSON.parse(readFileSync(path, 'utf8')));
  } catch (error) {
    throw new ReckonError('data', 'bad-trainer-state', `${path} cannot be read: ${messageOf(error)}`);
  }
}

/** Puts the saved moments back into an optimizer over the same parameters. */
export function loadOptimizer(folder: string, optimizer: AdamW): void {
  const saved = readSafetensors(join(folder, 'trainer', 'optimizer.safetensors'));
  try {
    optimizer.load(saved);
  } finally {
    for (const value of saved.values()) value.dispose();
  }
}
