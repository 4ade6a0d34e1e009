/** Owns the `report` stage: summary.json and the report. */

import { type Evaluation, readEvaluation } from '../../evaluate/index.ts';
import type { Recipe } from '../../recipe/index.ts';
import { makeSummary, terminalReport, writeReport, writeSummary } from '../../report/index.ts';
import type { StageOutcome } from '../../train/context.ts';
import type { RunStageContext } from '../stages.ts';
import { evaluationPath } from './evaluate.ts';

/** summary.json, report.html, report.md, and the same table in the terminal. */
export async function report(context: RunStageContext<'report'>): Promise<StageOutcome> {
  const { recipe, runDirectory, seed } = context;
  const summary = makeSummary(
    { task: recipe.task.name, seed, seconds: context.elapsedSeconds() },
    evaluationsOf(recipe, runDirectory),
  );
  writeSummary(runDirectory, summary);
  const written = writeReport(runDirectory);
  if (!context.quiet) context.log(terminalReport(written.run));
  context.log(`the whole report: ${written.htmlPath}`);
  return 'done';
}

function evaluationsOf(recipe: Recipe, runDirectory: string): Evaluation[] {
  return recipe.stages.flatMap((stage) =>
    stage.type === 'evaluate' ? [readEvaluation(evaluationPath(runDirectory, stage.label))] : [],
  );
}
