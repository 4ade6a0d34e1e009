/** Owns what the report folder shows to the others. */

export * from './analysis-text.ts';
export * from './chart-math.ts';
export * from './charts.ts';
export * from './comparison-text.ts';
export * from './curves.ts';
export * from './diagnosis.ts';
export * from './distance-text.ts';
export * from './evaluation-text.ts';
export * from './extras.ts';
export * from './game24.ts';
export * from './html.ts';
export * from './last-rollouts.ts';
export * from './markdown.ts';
export * from './methods.ts';
export * from './read-run.ts';
export * from './results.ts';
export * from './rollouts.ts';
export * from './sections.ts';
export * from './seeds-report.ts';
export * from './shading.ts';
export * from './summary.ts';
export * from './sweep-report.ts';
export * from './terminal.ts';
export * from './training-facts.ts';
export * from './write-report.ts';
