/** Owns a grading thread: rows in, one verdict out for each, in order. Knows no deadline; its parent ends it. */

import { parentPort } from 'node:worker_threads';
import { type GradeRow, judge } from './judge.ts';

parentPort?.on('message', (rows: readonly GradeRow[]) => {
  for (const row of rows) parentPort?.postMessage(judge(row));
});
parentPort?.postMessage('ready');
