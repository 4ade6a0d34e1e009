/** Owns the `report` stage of a recipe. Runs nothing. */

import * as z from 'zod';
import { keysOf, type StageKind } from './kind.ts';

/** Writes summary.json, report.md and report.html. */
export interface ReportStage {
  readonly type: 'report';
}

export const reportKind: StageKind<ReportStage> = {
  schema: keysOf<ReportStage>(
    z.strictObject({ type: z.literal('report') }).describe('writes summary.json, report.md and report.html'),
  ),
  trains: false,
  samples: false,
  summarises: true,
  check: () => [],
  plan: () => ({ summary: 'summary.json, report.md and report.html', numbers: {} }),
};
