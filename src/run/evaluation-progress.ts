/** Owns the progress line of an evaluation: problems sampled, and the share of right answers once some are judged. */

import type { EvaluationState } from '../evaluate/index.ts';
import { Progress, type ProgressStream } from '../track/progress.ts';

/** Tells a stream how far an evaluation of so many problems is. */
export function progressOf(
  label: string,
  problems: number,
  { stream, quiet }: { readonly stream: ProgressStream; readonly quiet: boolean },
): (state: EvaluationState) => void {
  const startedAt = performance.now() / 1000;
  let progress: Progress | undefined;
  let counted = 0;
  let correct = 0;
  return ({ sampled, judged, before, rows }) => {
    for (; counted < rows.length; counted++) correct += Number(rows[counted]!.verdict === 'correct');
    // The last line is the one with all verdicts.
    if (sampled === problems && judged < problems) return;
    progress ??= new Progress({ stage: label, steps: problems, stream, quiet, startStep: before, startedAt });
    progress.update(sampled, counted === 0 ? {} : { 'accuracy/mean': correct / counted });
    if (judged === problems) progress.finish();
  };
}
