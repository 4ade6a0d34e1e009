/** Owns which model of a run came from which, as lines from where each begins; refuses to draw and to read files. */

import type { Evaluation } from '../evaluate/evaluation.ts';

/** Stage folder and step of a checkpoint. */
export interface Place {
  readonly folder: string;
  readonly step: number;
}

/** What of a stage its place in the tree follows from. */
export interface LineageStage {
  readonly folder: string;
  /** Its label, or its type where it has none. */
  readonly name: string;
  /** Steps done; 0 for a stage that trains nothing. */
  readonly steps: number;
  /** The checkpoint that it started from; null for a beginning, undefined where nothing says it. */
  readonly parent: string | null | undefined;
}

/** A stage that leaves models. */
export interface ModelStage {
  readonly folder: string;
  readonly name: string;
  readonly steps: number;
  readonly parent: Place | null;
  /** Steps of training behind its beginning, those of the stages before it. */
  readonly start: number;
  /** Stages of training behind its beginning, the last one by the share of its steps where it was not taken to its end. */
  readonly depth: number;
}

/** Stages one after the other, none of them a start of two; what branches off begins a line of its own. */
export interface Line {
  /** The checkpoint of another line that it branches off from. */
  readonly origin: Place | null;
  readonly stages: readonly ModelStage[];
}

/** An evaluation, and the steps and the stages of training behind its model. */
export interface PlacedEvaluation {
  readonly evaluation: Evaluation;
  readonly place: Place;
  readonly steps: number;
  readonly stages: number;
}

/**
 * Stage folder and step of a checkpoint's path (`04-grpo/checkpoints/step-000100`, or `04-grpo/best/checkpoints/...`);
 * undefined for another path.
 */
export function placeOfCheckpoint(checkpoint: string): Place | undefined {
  const match = /^([0-9]+-[^/]+)\/(?:best\/)?checkpoints\/step-([0-9]+)$/.exec(checkpoint);
  return match === null ? undefined : { folder: match[1] ?? '', step: Number(match[2]) };
}

/**
 * The stages that leave models, each after the one that it started from: those with steps, with an evaluation, or with a
 * stage that starts from them. A stage that does not say where it started is taken to go on from the one before.
 */
export function modelStages(
  stages: readonly LineageStage[],
  evaluations: readonly Evaluation[],
): ModelStage[] {
  const places = [...stages.map(({ parent }) => parent ?? ''), ...evaluations.map((one) => one.checkpoint)];
  const named = new Set(places.flatMap((path) => placeOfCheckpoint(path)?.folder ?? []));
  const found: ModelStage[] = [];
  for (const { folder, name, steps, parent } of stages) {
    if (steps === 0 && !named.has(folder)) continue;
    const before = found.at(-1);
    const last = before === undefined ? null : { folder: before.folder, step: before.steps };
    const place = parent === undefined ? last : (placeOfCheckpoint(parent ?? '') ?? null);
    const origin = found.find((one) => one.folder === place?.folder);
    const start = origin === undefined || place === null ? 0 : origin.start + place.step;
    const depth = origin === undefined || place === null ? 0 : stagesBehind(origin, place.step);
    found.push({ folder, name, steps, parent: origin === undefined ? null : place, start, depth });
  }
  return found;
}

/** Stages of training behind a step of a stage. */
export function stagesBehind({ depth, steps }: ModelStage, step: number): number {
  return depth + (steps === 0 ? 0 : step / steps);
}

/** The lines of a run; one where no stage is the start of two and all began at one model. */
export function linesOf(stages: readonly ModelStage[]): Line[] {
  const children = (folder: string): ModelStage[] => stages.filter(({ parent }) => parent?.folder === folder);
  const heads = stages.filter(({ parent }) => parent === null || children(parent.folder).length > 1);
  return heads.map((head) => {
    const line = [head];
    for (let next = children(head.folder); next.length === 1; next = children(next[0]!.folder))
      line.push(next[0]!);
    return { origin: head.parent, stages: line };
  });
}

/** The evaluations of a line's own models, in the order of training. */
export function evaluationsOf({ stages }: Line, evaluations: readonly Evaluation[]): PlacedEvaluation[] {
  return evaluations
    .flatMap((evaluation): PlacedEvaluation[] => {
      const place = placeOfCheckpoint(evaluation.checkpoint);
      const stage = stages.find(({ folder }) => folder === place?.folder);
      if (!place || !stage) return [];
      return [
        { evaluation, place, steps: stage.start + place.step, stages: stagesBehind(stage, place.step) },
      ];
    })
    .sort((a, b) => a.stages - b.stages);
}

/** The first evaluation of a checkpoint; undefined where there is none. */
export function evaluationAt(
  place: Place | null,
  evaluations: readonly Evaluation[],
): Evaluation | undefined {
  return evaluations.find(({ checkpoint }) => {
    const found = placeOfCheckpoint(checkpoint);
    return found !== undefined && found.folder === place?.folder && found.step === place.step;
  });
}

/** What was measured in one way, which is that of most evaluations: other tasks, splits and samplings are no points of a curve. */
export function measuredAlike(evaluations: readonly Evaluation[]): Evaluation[] {
  const kinds = [...new Set(evaluations.map(kindOf))];
  const groups = kinds.map((kind) => evaluations.filter((one) => kindOf(one) === kind));
  const most = groups.reduce((a, b) => (b.length > a.length ? b : a), []);
  // Two of one model would be one point above the other.
  return most.filter(({ checkpoint }, i) => most.findIndex((one) => one.checkpoint === checkpoint) === i);
}

/** Whether two evaluations asked in the same way; their problems may differ. */
export function askedAlike(a: Evaluation, b: Evaluation): boolean {
  return a.task === b.task && a.split === b.split && a.temperature === b.temperature;
}

function kindOf({ task, split, temperature, samplesPerProblem, n }: Evaluation): string {
  return [task, split, temperature, samplesPerProblem, n].join(' ');
}

/** The nearest earlier models of each line of descent: of the same stage, then of the one it started from, and so on. */
export function evaluatedBefore(
  evaluation: Evaluation,
  evaluations: readonly Evaluation[],
  stages: readonly ModelStage[],
): Evaluation[] {
  const before: Evaluation[] = [];
  let place = placeOfCheckpoint(evaluation.checkpoint) ?? null;
  for (let most = (place?.step ?? 0) - 1; place !== null; most = place?.step ?? 0) {
    const { folder }: Place = place;
    const those = evaluations.flatMap((one) => {
      const found = placeOfCheckpoint(one.checkpoint);
      return found?.folder === folder && found.step <= most ? [{ one, step: found.step }] : [];
    });
    before.push(...those.sort((a, b) => b.step - a.step).map(({ one }) => one));
    place = stages.find((stage) => stage.folder === folder)?.parent ?? null;
  }
  return before;
}
