/** Owns the distances between an evaluated model and others, on the completions that the first one sampled. */

import { join } from 'node:path';
import {
  type ModelDistance,
  readEvaluation,
  readRows,
  tokenDistances,
  writeEvaluation,
} from '../evaluate/index.ts';
import { loadModel } from '../models/index.ts';
import { resolveCompute } from '../run/stage-functions.ts';
import { loadTokenizer, type Tokenizer } from '../text/index.ts';
import { setThreads } from '../torch/index.ts';
import { ReckonError } from '../util/errors.ts';
import { writeFileAtomic } from '../util/files.ts';
import { type EvaluationRequest, evaluationFiles } from './evaluate-model.ts';
import { type EvaluationTarget, findTargets } from './evaluate-targets.ts';

/**
 * The distances of all pairs among the evaluated model and one or two others, along the first sample of each problem, also
 * written into the evaluation and, token by token, to `<label>.distances.jsonl`. Throws `other-tokenizer` where ids mean
 * different things.
 */
export async function measureDistances(
  target: EvaluationTarget,
  request: EvaluationRequest,
  against: readonly string[],
  runsDir: string,
): Promise<ModelDistance[]> {
  const others: EvaluationTarget[] = [];
  for (const name of against) others.push((await findTargets(name, { runsDir }))[0]!);
  const models = [target, ...others];
  const vocabulary = commonVocabulary(models);
  const rows = readRows(evaluationFiles(request.out, request.label).rows).filter(
    (row) => row.sampleIndex === 0,
  );
  const sequences = rows.map(({ promptIds = [], completionIds = [] }) => ({ promptIds, completionIds }));
  const { dtype, device, threads } = await resolveCompute(request.recipe);
  setThreads(threads);
  const load = (folder: string) => loadModel(folder, { dtype: 'f32', computeDtype: dtype, device });
  const temperature = request.temperature === 0 ? 1 : request.temperature;
  const distances: ModelDistance[] = [];
  const lines: string[] = [];
  for (const [i, one] of models.entries())
    for (const other of models.slice(i + 1)) {
      using p = load(one.folder);
      using q = load(other.folder);
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
  const { result } = evaluationFiles(request.out, request.label);
  writeEvaluation(result, { ...readEvaluation(result), distances });
  return distances;
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
