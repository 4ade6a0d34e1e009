/** Owns what the data folder shows to others. */

export * from './arithmetic.ts';
export { lastBoxed } from './boxed.ts';
export { type Columns, textAt, valueAt } from './columns.ts';
export * from './contamination.ts';
export * from './countdown.ts';
export { formatCsv, parseCsv } from './csv.ts';
export { DATA_ENDINGS, type DataFile, dataFiles } from './data-files.ts';
export * from './game24.ts';
export * from './game24-ablation.ts';
export * from './game24-formats.ts';
export * from './game24-search.ts';
export * from './game24-solver.ts';
export * from './game24-traces.ts';
export { parseJson, parseJsonLines } from './json-rows.ts';
export * from './mixture.ts';
export * from './packing.ts';
export * from './pass-rates.ts';
export * from './problem.ts';
export { problemsOf } from './problem-rows.ts';
export * from './problem-sets.ts';
export { type RowsBySplit, readData } from './read-data.ts';
export * from './rows.ts';
export * from './solutions.ts';
export * from './split-expression.ts';
export * from './splits.ts';
