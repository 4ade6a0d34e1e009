/** Owns the `model` stage: a further model with the recipe's tokenizer. */

import { writeCheckpoint } from '../../checkpoints/index.ts';
import { saveModel } from '../../models/index.ts';
import { loadTokenizer } from '../../text/index.ts';
import { computeWith } from '../../train/compute.ts';
import { parentOf, type StageOutcome } from '../../train/context.ts';
import type { RunStageContext } from '../stages.ts';
import { requireLaterEvaluations } from './evaluation-room.ts';
import { initialModel } from './initial-model.ts';

/** Writes a model that later stages name in `from` or as their teacher. */
export async function model(context: RunStageContext<'model'>): Promise<StageOutcome> {
  const { stage, directory, seed, compute } = context;
  computeWith(compute);
  const tokenizer = loadTokenizer(parentOf(context));
  using made = initialModel(stage, tokenizer, seed);
  requireLaterEvaluations(context, { tokenizer, maxPositions: made.config.maxPositions });
  const { path } = await writeCheckpoint(directory, 0, (folder) => {
    saveModel(made, folder);
    tokenizer.save(folder);
  });
  context.log(`${context.name}: a model of ${(made.parameterCount / 1e6).toFixed(2)} M parameters`);
  context.setOutput(path);
  return 'done';
}
