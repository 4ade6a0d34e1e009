/** Owns what every form of the report says, as rows and sentences; refuses to know HTML, Markdown and terminals. */

import { relative } from 'node:path';
import type { Evaluation, Transcript } from '../evaluate/evaluation.ts';
import { formatCount, formatDuration, formatEnergy, formatNumber, formatPercent } from '../util/format.ts';
import type { Interval } from '../util/statistics.ts';
import { evaluationAt, evaluationsOf, linesOf, type ModelStage, measuredAlike } from './lineage.ts';
import { type RunData, type RunStage, runLineage } from './read-run.ts';

/** Header and rows of the results table, an evaluation a row. */
export function resultsTable(evaluations: readonly Evaluation[]): string[][] {
  const header = ['model', 'split', 'problems', 'pass@1', 'pass@8', 'format', 'tokens', 'unverifiable'];
  const rows = evaluations.map((evaluation) => [
    evaluation.label,
    evaluation.split,
    String(evaluation.n),
    intervalText(evaluation.passAt1),
    intervalText(evaluation.passAt8),
    intervalText(evaluation.format),
    formatNumber(evaluation.lengthMean, 3),
    String(evaluation.unverifiable),
  ]);
  return [header, ...rows];
}

/** A share with its interval: `53.6 % [46.5, 60.3]`. */
export function intervalText(estimate: Interval | null): string {
  if (estimate === null) return formatPercent(null);
  const { mean, low, high } = estimate;
  return `${formatPercent(mean)} [${(100 * low).toFixed(1)}, ${(100 * high).toFixed(1)}]`;
}

/** What the columns of the results table mean, with the numbers of this run. */
export function resultsCaption(evaluations: readonly Evaluation[]): string {
  const first = evaluations[0];
  if (first === undefined) return 'Nothing has been measured yet.';
  const same = evaluations.every(
    (each) => each.samplesPerProblem === first.samplesPerProblem && each.temperature === first.temperature,
  );
  const kind =
    first.intervals === undefined ? 'bootstrap intervals over problems' : 'intervals, clustered by problem';
  const k = first.samplesPerProblem;
  const sampled = same
    ? `; ${k === 1 ? 'one sample' : `${k} samples`} a problem${first.temperature === 0 ? ', greedy' : ` at temperature ${first.temperature}`}`
    : '; sampled differently from row to row';
  return (
    `Shares with 95 % ${kind}${sampled}. ` +
    `pass@1: mean share of correct samples. pass@8: chance that one of 8 samples is correct. ` +
    `format: samples that keep the task's format. tokens: mean length of a completion.`
  );
}

/** What the run asked of which model, in a sentence or two. */
export function settingSentence(run: RunData): string {
  const { task, seed, model } = run.setting;
  const what = `How much better does a model get at ${task ?? 'the task'} through ${stageList(run)}?`;
  const asked = run.evaluations[0]?.n;
  const measure = asked === undefined ? '' : ` Measured on ${asked} problems that no training saw.`;
  const facts = [model === undefined ? '' : `Model: ${model}.`, seed === undefined ? '' : `Seed: ${seed}.`];
  return [what + measure, ...facts.filter((fact) => fact !== '')].join(' ');
}

/** Stages one after the other, or each branch behind what it starts from. */
function stageList(run: RunData): string {
  const stages = runLineage(run);
  const lines = linesOf(stages).flatMap(({ origin, stages: own }) => {
    const trained = own.filter(({ steps }) => steps > 0);
    const told = trained.map(({ name, steps }) => `${name} (${steps} steps)`).join(' and then ');
    return trained.length === 0 ? [] : [{ origin: nameOf(stages, origin?.folder), told }];
  });
  return lines.length === 0 ? 'its stages' : byOrigin(lines, ', ');
}

/** Lines behind the name of what they start from. */
function byOrigin(
  lines: readonly { readonly origin: string | null; readonly told: string }[],
  between: string,
): string {
  const origins = [...new Set(lines.map(({ origin }) => origin))];
  const parts = origins.map((origin) => {
    const those = lines.filter((line) => line.origin === origin).map(({ told }) => told);
    return `${origin === null ? '' : `from ${origin}: `}${those.join(origin === null ? between : ', ')}`;
  });
  return parts.join('; ');
}

function nameOf(stages: readonly ModelStage[], folder: string | undefined): string | null {
  return stages.find((stage) => stage.folder === folder)?.name ?? null;
}

/**
 * pass@1 after each evaluation, in one line: the run's answer. What branches off is told behind what it starts from. What was
 * measured by hand, perhaps on other problems, is left to the table where the recipe measures.
 */
export function headline(run: RunData): string {
  const stages = runLineage(run);
  const measured = ownEvaluations(run);
  const lines = linesOf(stages).flatMap((line) => {
    const placed = evaluationsOf(line, measured).map(({ evaluation }) => evaluation);
    const origin = nameOf(stages, line.origin?.folder);
    return placed.length === 0 ? [] : [{ origin, placed, told: arrows(placed) }];
  });
  const told = new Set(lines.flatMap(({ placed }) => placed));
  const others = measured.filter((evaluation) => !told.has(evaluation));
  const all = [byOrigin(lines, '; '), arrows(others)].filter((part) => part !== '');
  return all.length === 0 ? 'No evaluation yet.' : `pass@1: ${all.join('; ')}`;
}

/** Those of the run's own stages; without any, those that were measured in one way. */
function ownEvaluations({ stages, evaluations }: RunData): readonly Evaluation[] {
  const labels = stages.flatMap(({ type, name }) =>
    type === 'evaluate' ? [name.replace(/^evaluate-/, '')] : [],
  );
  const own = evaluations.filter(({ label }) => labels.includes(label));
  return own.length > 0 ? own : measuredAlike(evaluations);
}

function arrows(evaluations: readonly Evaluation[]): string {
  return evaluations.map(({ passAt1, label }) => `${formatPercent(passAt1.mean)} ${label}`).join(' → ');
}

/** The stages that leave models as a tree of text, with their steps and the pass@1 of their last model; null for a chain. */
export function stageTree(run: RunData): string | null {
  const stages = runLineage(run);
  if (linesOf(stages).length < 2) return null;
  const alike = measuredAlike(run.evaluations);
  const told = ({ folder, name, steps }: ModelStage): string => {
    const measured = evaluationAt({ folder, step: steps }, alike);
    const facts = [
      ...(steps > 0 ? [`${formatCount(steps)} steps`] : []),
      ...(measured === undefined ? [] : [`pass@1 ${formatPercent(measured.passAt1.mean)}`]),
    ];
    return facts.length === 0 ? name : `${name}: ${facts.join(', ')}`;
  };
  const below = (stage: ModelStage, indent: string): string[] => {
    const children = stages.filter(({ parent }) => parent?.folder === stage.folder);
    return children.flatMap((child, i) => {
      const last = i === children.length - 1;
      const at = child.parent!.step === stage.steps ? '' : ` (from step ${child.parent!.step})`;
      return [
        `${indent}${last ? '└─ ' : '├─ '}${told(child)}${at}`,
        ...below(child, `${indent}${last ? '   ' : '│  '}`),
      ];
    });
  };
  const roots = stages.filter(({ parent }) => parent === null);
  return roots.flatMap((root) => [told(root), ...below(root, '')]).join('\n');
}

/**
 * Transcripts of the last evaluation, evenly spaced over its problems: chosen by place, never by result. Fewer where
 * there are fewer.
 */
export function chosenTranscripts(evaluations: readonly Evaluation[], count = 3): Transcript[] {
  const all = evaluations.at(-1)?.transcripts ?? [];
  const chosen = Math.min(count, all.length);
  return Array.from({ length: chosen }, (_, i) => all[Math.floor(((i + 0.5) * all.length) / chosen)]).filter(
    (transcript) => transcript !== undefined,
  );
}

/** What {@link chosenTranscripts} chose, for its heading. */
export function transcriptsCaption(evaluations: readonly Evaluation[]): string {
  const last = evaluations.at(-1);
  if (last === undefined) return 'No transcripts yet.';
  return `The first sample of problems taken at even distances from the evaluation "${last.label}": by place, not by result.`;
}

/** How earlier evaluations answered the same problem, the last one left out. */
export function earlierAnswers(
  evaluations: readonly Evaluation[],
  problemId: string,
): { label: string; transcript: Transcript }[] {
  return evaluations.slice(0, -1).flatMap(({ label, transcripts }) => {
    const transcript = transcripts.find((candidate) => candidate.problemId === problemId);
    return transcript === undefined ? [] : [{ label, transcript }];
  });
}

/** A verdict with its reason, where that says more than the verdict. */
export function verdictText({
  verdict,
  reason,
}: {
  readonly verdict: string;
  readonly reason: string;
}): string {
  return verdict === reason ? verdict : `${verdict}: ${reason}`;
}

/** Header and rows of what the run cost: steps, tokens, seconds and, where known, energy of each training stage and evaluation. */
export function costTable(run: RunData): string[][] {
  const trained = run.stages
    .filter((stage) => stage.metrics.length > 0)
    .map((stage) => ({
      name: stage.folder,
      steps: String(stage.metrics.at(-1)?.step ?? 0),
      tokens: total(stage, 'batch/tokens'),
      seconds: total(stage, 'time/step_s'),
      joules: run.energy?.stages[stage.folder],
    }));
  const measured = run.evaluations.map((evaluation) => ({
    name: `evaluation ${evaluation.label}`,
    steps: '',
    tokens: evaluation.n * evaluation.samplesPerProblem * evaluation.lengthMean,
    seconds: evaluation.seconds,
    joules: joulesOf(run, `-evaluate-${evaluation.label}`),
  }));
  const all = [...trained, ...measured];
  const sum = (values: readonly number[]): number => values.reduce((a, b) => a + b, 0);
  const energy = (joules: number | undefined): string[] =>
    run.energy === undefined ? [] : [formatEnergy(joules)];
  const rows = all.map(({ name, steps, tokens, seconds, joules }) => [
    name,
    steps,
    formatCount(Math.round(tokens)),
    formatDuration(seconds),
    ...energy(joules),
  ]);
  const tokens = sum(all.map((row) => row.tokens));
  const seconds = sum(all.map((row) => row.seconds));
  const together = ['together', '', formatCount(Math.round(tokens)), formatDuration(seconds)];
  rows.push([...together, ...energy(run.energy?.joules)]);
  return [['what', 'steps', 'tokens', 'time', ...(run.energy === undefined ? [] : ['energy'])], ...rows];
}

/** What the columns of the cost table count. */
export function costCaption({ energy }: RunData): string {
  const counted =
    'Tokens without padding: those in training steps, and those sampled by evaluations. Time: training steps and evaluations, set-up and checkpoints left out.';
  if (energy === undefined) return counted;
  return `${counted} Energy: whole stages, together the whole run; ${energy.sources.join(' and ')}, other programs on them counted too.`;
}

function joulesOf({ energy }: RunData, end: string): number | undefined {
  return Object.entries(energy?.stages ?? {}).find(([folder]) => folder.endsWith(end))?.[1];
}

function total(stage: RunStage, metric: string): number {
  return stage.metrics.reduce((sum, { values }) => sum + (values.get(metric) ?? 0), 0);
}

/** The command that repeats the run under another name: what environment.json recorded, else its resolved recipe. */
export function repeatCommand(run: RunData): string {
  const recorded = run.environment.get('command');
  if (recorded !== undefined) return recorded;
  const folder = relative(process.cwd(), run.directory);
  const path = `${folder === '' || folder.startsWith('..') ? run.directory : folder}/recipe.yaml`;
  const quoted = /^[A-Za-z0-9_./-]+$/.test(path) ? path : `'${path.replaceAll("'", "'\\''")}'`;
  return `npx reckon run ${quoted} --name ${run.name}-again`;
}
