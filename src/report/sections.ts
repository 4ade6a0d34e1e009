/** Owns the sections of a report as titles, sentences, tables and texts; refuses to know HTML and Markdown. */

import { parse } from 'yaml';
import { evaluationAnswers } from '../evaluate/answer-set.ts';
import { compareSets } from '../evaluate/compare.ts';
import type { Evaluation } from '../evaluate/evaluation.ts';
import { formatNumber } from '../util/format.ts';
import type { ChartSpec } from './charts.ts';
import { pairsTable } from './comparison-text.ts';
import { diagnose, nothingFound } from './diagnosis.ts';
import { DISTANCE_CAPTION, distanceTable } from './distance-text.ts';
import { atKTable, factsTable } from './evaluation-text.ts';
import type { ReportExtras } from './extras.ts';
import { type ExtremeRollouts, rankOf } from './last-rollouts.ts';
import { askedAlike, evaluatedBefore } from './lineage.ts';
import { methodCharts, methodsTable } from './methods-report.ts';
import { type RunData, runLineage } from './read-run.ts';
import { stageTree } from './results.ts';
import type { RolloutLine } from './rollouts.ts';
import { TRAINING_FACTS_CAPTION, trainingFactsTable } from './training-facts.ts';

/** A part of a section. */
export type Block =
  | { readonly kind: 'text'; readonly text: string }
  | { readonly kind: 'table'; readonly rows: readonly (readonly string[])[] }
  | { readonly kind: 'tree'; readonly text: string }
  | { readonly kind: 'chart'; readonly spec: ChartSpec }
  | { readonly kind: 'rollout'; readonly title: string; readonly line: RolloutLine };

/** A titled part of a report. */
export interface Section {
  readonly title: string;
  readonly blocks: readonly Block[];
}

const text = (content: string): Block => ({ kind: 'text', text: content });
const table = (rows: readonly (readonly string[])[]): Block[] =>
  rows.length > 1 ? [{ kind: 'table', rows }] : [];

const tree = (content: string | null): Block[] => (content === null ? [] : [{ kind: 'tree', text: content }]);

/** The sections before the training curves: setting and data. */
export function openingSections(run: RunData, extras: ReportExtras): Section[] {
  return filled([
    {
      title: 'Setting',
      blocks: [...tree(stageTree(run)), ...table(stagesTable(run)), ...table(settingTable(run))],
    },
    {
      title: 'Data',
      blocks: table([
        ['split', 'problems'],
        ...extras.problems.map(([split, count]) => [split, String(count)]),
      ]),
    },
  ]);
}

/** The sections after the results: comparison, further numbers, the game, rollouts. */
export function resultSections(run: RunData, extras: ReportExtras): Section[] {
  const last = run.evaluations.at(-1);
  const distances = run.evaluations.flatMap((evaluation) => evaluation.distances ?? []);
  return filled([
    { title: 'Methods from one start', blocks: methodBlocks(extras) },
    { title: 'Before and after', blocks: comparisonBlocks(run) },
    {
      title: last === undefined ? '' : `More of ${last.label}`,
      blocks: last?.details === undefined ? [] : [...table(factsTable(last)), ...table(atKTable(last))],
    },
    {
      title: 'Distance between models',
      blocks: distances.length === 0 ? [] : [...table(distanceTable(distances)), text(DISTANCE_CAPTION)],
    },
    {
      title: '24 game',
      blocks:
        extras.game24 === null
          ? []
          : [text(GAME24_CAPTION(extras.game24.label)), ...table(extras.game24.table)],
    },
    { title: 'Best and worst rollouts', blocks: extremeBlocks(extras) },
  ]);
}

/** The sections after the training curves: what the history comes to, and what is wrong with it. */
export function trainingSections(run: RunData): Section[] {
  const findings = diagnose(run.stages);
  const facts = trainingFactsTable(run.stages);
  return filled([
    {
      title: 'Training in numbers',
      blocks: facts.length > 1 ? [...table(facts), text(TRAINING_FACTS_CAPTION)] : [],
    },
    {
      title: 'Diagnosis',
      blocks:
        findings.length === 0
          ? facts.length > 1
            ? [text(nothingFound(run.stages))]
            : []
          : table([
              ['stage', 'found', 'seen', 'try'],
              ...findings.map(({ stage, rule, saw, advice }) => [stage, rule, saw, advice]),
            ]),
    },
  ]);
}

function filled(sections: readonly Section[]): Section[] {
  return sections.filter(({ blocks }) => blocks.length > 0);
}

const GAME24_CAPTION = (label: string): string =>
  `Of the evaluation "${label}", means over samples. invalid lines break the format, the arithmetic or the numbers; repeated lines stood there before. ` +
  'Puzzles by exact search: many, some, few ways by the share of first steps that still lead to 24 (above 25 %, above 10 %, fewer).';

const BEFORE_AFTER_CAPTION =
  'difference: share of right samples after less that before, in points, with a 95 % interval from 10,000 paired bootstrap samples of problems. ' +
  "only before, only after, p: problems whose first answer is right in one alone, and McNemar's exact test on them. " +
  'won, lost: problems with a larger, a smaller share of right samples after.';

/** Each evaluation with that of the nearest model before it in its own line, on the same problems in the same way. */
function comparisonBlocks(run: RunData): Block[] {
  const lineage = runLineage(run);
  const pairs = run.evaluations.flatMap((evaluation) => {
    const before = evaluatedBefore(evaluation, run.evaluations, lineage).find(
      (other) => askedAlike(evaluation, other) && sharesProblems(evaluation, other),
    );
    return before === undefined ? [] : [[before, evaluation] as const];
  });
  if (pairs.length === 0) return [];
  const rows = pairs.map(([a, b]) => {
    const sets = [a, b].map((one) => evaluationAnswers(one, one.label));
    return pairsTable(compareSets(sets))[1]!;
  });
  const shown = [0, 1, 2, 3, 4, 5, 7, 8];
  const header = ['before', 'after', 'difference', 'only before', 'only after', 'p', 'won', 'lost'];
  return [...table([header, ...rows.map((row) => shown.map((i) => row[i]!))]), text(BEFORE_AFTER_CAPTION)];
}

function methodBlocks({ methods }: ReportExtras): Block[] {
  if (methods.length === 0) return [];
  const { rows, caption } = methodsTable(methods);
  const [chart] = methodCharts(methods);
  return [...table(rows), text(caption), { kind: 'chart', spec: chart!.spec }];
}

function sharesProblems(a: Evaluation, b: Evaluation): boolean {
  const ids = new Set(a.problems.map(({ id }) => id));
  return b.problems.some(({ id }) => ids.has(id));
}

function extremeBlocks({ extremes }: ReportExtras): Block[] {
  return extremes.flatMap(({ best, worst, stage, step, by }) => {
    const what = by === 'reward' ? 'rewards' : `mean ${by}s of tokens`;
    const titled = (which: string, lines: readonly RolloutLine[]): Block[] =>
      lines.map((line) => {
        const rank = `${by === 'reward' ? by : `mean ${by}`} ${formatNumber(rankValue(line, by))}`;
        return { kind: 'rollout', title: `${which}: ${rank}, problem ${line.problemId}`, line };
      });
    return [
      text(`Best and worst ${what} among the rollouts of step ${step} of ${stage}: picked by result.`),
      ...titled('Best', best),
      ...titled('Worst', worst),
    ];
  });
}

/** As it was recorded: a divergence ranks by its negative. */
function rankValue(line: RolloutLine, by: ExtremeRollouts['by']): number {
  return by === 'divergence' ? -rankOf(line, by) : rankOf(line, by);
}

type Plain = Readonly<Record<string, unknown>>;

/** What of a stage tells one experiment from another, in this order. */
const TELLING = [
  'label',
  'preset',
  'steps',
  'epochs',
  'iterations',
  'promptsPerStep',
  'groupSize',
  'optimizerBatch',
  'learningRate',
  'schedule',
  'beta',
  'epsilon',
  'epsilonHigh',
  'kl.beta',
  'loss',
  'objective',
  'advantages',
  'adapter.rank',
  'teacher',
  'from',
];

function stagesTable({ recipeText }: RunData): string[][] {
  const { stages } = plain(safely(recipeText));
  if (!Array.isArray(stages)) return [];
  const rows = stages.map((stage) => {
    const flat = flatten(plain(stage));
    const told = TELLING.filter((key) => flat.has(key)).map((key) => `${key} ${flat.get(key)}`);
    return [String(plain(stage)['type'] ?? ''), told.join(', ')];
  });
  return [['stage', 'with'], ...rows];
}

function settingTable({ recipeText }: RunData): string[][] {
  const recipe = plain(safely(recipeText));
  const parts = ['seed', 'task', 'model', 'compute', 'sampling', 'evaluation'].flatMap((key) =>
    [...flatten({ [key]: recipe[key] })].filter(([, value]) => value !== ''),
  );
  return [['setting', 'value'], ...parts.map(([key, value]) => [key, value])];
}

function safely(recipe: string | undefined): unknown {
  try {
    return parse(recipe ?? '');
  } catch {
    return null;
  }
}

function plain(value: unknown): Plain {
  return typeof value === 'object' && value !== null ? (value as Plain) : {};
}

/** Scalars by dotted keys; lists of scalars as one. */
function flatten(value: Plain, prefix = ''): Map<string, string> {
  const flat = new Map<string, string>();
  for (const [key, part] of Object.entries(value)) {
    const name = `${prefix}${key}`;
    if (Array.isArray(part)) flat.set(name, part.map((one) => JSON.stringify(one) ?? '').join(', '));
    else if (typeof part === 'object' && part !== null)
      for (const [inner, scalar] of flatten(part as Plain, `${name}.`)) flat.set(inner, scalar);
    else if (part !== undefined && part !== null) flat.set(name, String(part));
  }
  return flat;
}
