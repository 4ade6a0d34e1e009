/** Owns the `prepare` stage: problems, tokenizer and the model to start from. */

import { mkdirSync } from 'node:fs';
import { join } from 'node:path';
import { writeCheckpoint } from '../../checkpoints/index.ts';
import { saveModel } from '../../models/index.ts';
import { characterTokenizer, loadTokenizer } from '../../text/index.ts';
import { computeWith } from '../../train/compute.ts';
import type { StageOutcome } from '../../train/context.ts';
import { writeFileAtomic } from '../../util/files.ts';
import { appendJsonl } from '../../util/jsonl.ts';
import type { RunStageContext } from '../stages.ts';
import { requireLaterEvaluations } from './evaluation-room.ts';
import { initialModel } from './initial-model.ts';
import { taskOf } from './task.ts';

/** Problems as JSONL, the tokenizer, and the model that later stages start from. */
export async function prepare(context: RunStageContext<'prepare'>): Promise<StageOutcome> {
  const { recipe, directory, seed } = context;
  const task = taskOf(recipe);
  computeWith(context.compute);
  for (const [split, problems] of Object.entries(task.splits)) {
    mkdirSync(join(directory, 'problems'), { recursive: true });
    const path = join(directory, 'problems', `${split}.jsonl`);
    writeFileAtomic(path, '');
    appendJsonl(path, problems);
  }
  writeFileAtomic(join(directory, 'problems', 'notes.json'), `${JSON.stringify(task.notes ?? [])}\n`);
  const { train, validation, test } = task.splits;
  context.log(
    `${context.name}: ${task.name}, ${train.length} problems to train on, ${validation.length} for validation, ${test.length} held out`,
  );
  const tokenizer =
    recipe.model.path === undefined ? characterTokenizer(task.alphabet) : loadTokenizer(recipe.model.path);
  using model = initialModel(recipe.model, tokenizer, seed);
  requireLaterEvaluations(context, { tokenizer, maxPositions: model.config.maxPositions });
  const { path } = await writeCheckpoint(directory, 0, (folder) => {
    saveModel(model, folder);
    tokenizer.save(folder);
  });
  context.log(
    `${context.name}: a model of ${(model.parameterCount / 1e6).toFixed(2)} M parameters, a vocabulary of ${tokenizer.size}`,
  );
  context.setOutput(path);
  return 'done';
}
