/** Owns the distances between an evaluated model and others, on the completions that the first one sampled. */

import { join } from 'node:path';
import {
  type Evaluation,
  type ModelDistance,
  readEvaluation,
  readRows,
  tokenDistances,
  withDistances,
  writeEvaluation,
} from '../evaluate/index.ts';
import { loadFrozen } from '../models/index.ts';
import { resolveCompute } from '../run/stage-functions.ts';
import { loadTokenizer, type Tokenizer } from '../text/index.ts';
import { setThreads } from '../torch/index.ts';
import { ReckonError } from '../util/errors.ts';
import { writeFileAtomic } from '../util/files.ts';
import { type EvaluationRequest, evaluationFiles } from './evaluate-model.ts';
import { type EvaluationTarget, findTargets } from './evaluate-targets.ts';

/** Models whose ids mean the same up to `vocabulary`, the evaluated one first. */
export interface Compared {
  readonly models: readonly EvaluationTarget[];
  readonly vocabulary: number;
}

/** The evaluated model and one or two others by name. Throws `other-tokenizer` where ids mean different things. */
export async function comparedModels(
  target: EvaluationTarget,
  against: readonly string[],
  runsDir: string,
): Promise<Compared> {
  const models = [target];
  for (const name of against) models.push((await findTargets(name, { runsDir }))[0]!);
  return { models, vocabulary: commonVocabulary(models) };
}

/**
 * Measures the distances of all pairs of models along the first sample of each problem; they go into the evaluation, which is
 * given back, and token by token to `<label>.distances.jsonl`.
 */
export async function measureDistances(
  { models, vocabulary }: Compared,
  request: EvaluationRequest,
): Promise<Evaluation> {
  const { result, rows: rowsFile } = evaluationFiles(request.out, request.label);
  const rows = readRows(rowsFile).filter((row) => row.sampleIndex === 0);
  const sequences = rows.map(({ promptIds = [], completionIds = [] }) => ({ promptIds, completionIds }));
  const { dtype, device, threads } = await resolveCompute(request.recipe);
  setThreads(threads);
  const temperature = request.temperature === 0 ? 1 : request.temperature;
  const distances: ModelDistance[] = [];
  const lines: string[] = [];
  for (const [i, one] of models.entries())
    for (const other of models.slice(i + 1)) {
      using p = loadFrozen(one.folder, { dtype, device });
      using q = loadFrozen(other.folder, { dtype, device });
      const { overall, perToken } = await tokenDistances(p, q, sequences, { vocabulary, temperature });
      const pair = { p: one.checkpoint, q: other.checkpoint };
      distances.push({ ...pair, ...overall });
      for (const [r, { klPq, klQp, js, cosine, top1Agree }] of perToken.entries()) {
        const arrays = Object.entries({ klPq, klQp, js, cosine, top1Agree }).map(([name, values]) => [
          name,
          [...values],
        ]);
        lines.push(JSON.stringify({ ...pair, problemId: rows[r]!.problemId, ...Object.fromEntries(arrays) }));
      }
    }
  writeFileAtomic(join(request.out, `${request.label}.distances.jsonl`), `${lines.join('\n')}\n`);
  const evaluation = withDistances(readEvaluation(result), distances);
  writeEvaluation(result, evaluation);
  return evaluation;
}

/** How many ids mean the same to all models: tokenizers of one family may differ in what was added at the end. */
function commonVocabulary(models: readonly EvaluationTarget[]): number {
  const [first, ...rest] = models.map(({ folder }) => loadTokenizer(folder)) as [Tokenizer, ...Tokenizer[]];
  const size = Math.min(first.size, ...rest.map((tokenizer) => tokenizer.size));
  for (const [i, tokenizer] of rest.entries()) {
    for (let id = 0; id < size; id++) {
      if (tokenizer.decodeAll([id]) === first.decodeAll([id])) continue;
      const name = models[i + 1]!.checkpoint;
      const message = `${name} has another tokenizer than ${models[0]!.checkpoint} (id ${id} differs); distances need the same ids`;
      throw new ReckonError('usage', 'other-tokenizer', message);
    }
  }
  return size;
}
