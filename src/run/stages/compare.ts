/** Owns the `compare` stage: evaluations of the run against each other. Samples nothing. */

import { mkdirSync } from 'node:fs';
import { join } from 'node:path';
import { answersOfEvaluation } from '../../evaluate/answer-set.ts';
import { compareSets } from '../../evaluate/compare.ts';
import { evaluationLabels } from '../../recipe/index.ts';
import { CAPTION, comparisonText, markdownTable, pairsTable, setsTable } from '../../report/index.ts';
import type { StageOutcome } from '../../train/context.ts';
import { writeFileAtomic } from '../../util/files.ts';
import type { RunStageContext } from '../stages.ts';
import { evaluationPath } from './evaluate.ts';

/** Writes comparisons/<label>.json and .md, and prints the tables. */
export async function compare(context: RunStageContext<'compare'>): Promise<StageOutcome> {
  const { recipe, stage, runDirectory, index, seed } = context;
  const labels = stage.evaluations ?? evaluationLabels(recipe, index);
  const sets = labels.map((label) => answersOfEvaluation(evaluationPath(runDirectory, label), label));
  const comparison = compareSets(sets, seed);
  const folder = join(runDirectory, 'comparisons');
  mkdirSync(folder, { recursive: true });
  const markdown = [
    `# ${recipe.name}: ${stage.label}`,
    `${comparison.shared} shared problems.`,
    markdownTable(setsTable(comparison)),
    markdownTable(pairsTable(comparison)),
    CAPTION,
  ];
  writeFileAtomic(
    join(folder, `${stage.label}.json`),
    `${JSON.stringify({ version: 1, ...comparison }, null, 2)}\n`,
  );
  writeFileAtomic(join(folder, `${stage.label}.md`), `${markdown.join('\n\n')}\n`);
  context.log(comparisonText(comparison, 0));
  return 'done';
}
