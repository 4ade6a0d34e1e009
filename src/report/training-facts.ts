/** Owns the numbers of a whole training stage: convergence rate, stability, efficiency. Draws nothing. */

import {
  convergenceRate,
  gainPerMillionTokens,
  learningEfficiency,
  trainingStability,
} from '../evaluate/history.ts';
import { formatNumber } from '../util/format.ts';
import { placeOfCheckpoint } from './lineage.ts';
import type { RunStage } from './read-run.ts';

/** What a stage's history comes to, by the names of "Intrinsic reward distillation" where it has them. */
export interface TrainingFacts {
  readonly stage: string;
  readonly steps: number;
  readonly tokens: number;
  readonly convergenceRate: number | null;
  readonly trainingStability: number | null;
  readonly learningEfficiency: number | null;
  readonly rewardPerMillionTokens: number | null;
  readonly accuracyPerMillionTokens: number | null;
}

/** The facts of every stage that wrote metrics; null where a stage lacks the metric. */
export function trainingFacts(stages: readonly RunStage[]): TrainingFacts[] {
  return stages.filter(({ metrics }) => metrics.length > 0).map(factsOf);
}

function factsOf({ folder, metrics }: RunStage): TrainingFacts {
  const series = (name: string): { steps: number[]; values: number[] } => {
    const known = metrics.filter(({ values }) => Number.isFinite(values.get(name) ?? Number.NaN));
    return { steps: known.map(({ step }) => step), values: known.map(({ values }) => values.get(name)!) };
  };
  const losses = series('loss').values;
  const reward = series('reward/mean');
  const accuracy = series('accuracy/mean').values;
  const tokens = series('batch/tokens').values.reduce((sum, value) => sum + value, 0);
  const known = (list: readonly number[], value: number): number | null =>
    list.length > 1 && Number.isFinite(value) ? value : null;
  return {
    stage: folder,
    steps: metrics.at(-1)?.step ?? 0,
    tokens,
    convergenceRate: known(losses, convergenceRate(losses)),
    trainingStability: known(losses, trainingStability(losses)),
    learningEfficiency: known(reward.values, learningEfficiency(reward.values, reward.steps)),
    rewardPerMillionTokens: known(reward.values, gainPerMillionTokens(reward.values, tokens)),
    accuracyPerMillionTokens: known(accuracy, gainPerMillionTokens(accuracy, tokens)),
  };
}

/** The stability of the training that made a checkpoint (`05-ppo/checkpoints/step-000100`); null below 50 steps of it. */
export function stabilityOf(stages: readonly RunStage[], checkpoint: string): number | null {
  const place = placeOfCheckpoint(checkpoint);
  const metrics = stages.find(({ folder }) => folder === place?.folder)?.metrics ?? [];
  const until = metrics.filter(({ step }) => step <= place!.step);
  const losses = until.map(({ values }) => values.get('loss') ?? Number.NaN).filter(Number.isFinite);
  const stability = trainingStability(losses);
  return stability > 0 ? stability : null;
}

/** Header and rows of the facts. */
export function trainingFactsTable(stages: readonly RunStage[]): string[][] {
  const rows = trainingFacts(stages).map((facts) => [
    facts.stage,
    String(facts.steps),
    ...[
      facts.convergenceRate,
      facts.trainingStability,
      facts.learningEfficiency,
      facts.rewardPerMillionTokens,
      facts.accuracyPerMillionTokens,
    ].map((value) => formatNumber(value, 3)),
  ]);
  const head = [
    'stage',
    'steps',
    'convergence_rate',
    'training_stability',
    'learning_efficiency',
    'reward / M tokens',
    'accuracy / M tokens',
  ];
  return [head, ...rows];
}

/** What the columns mean. */
export const TRAINING_FACTS_CAPTION: string =
  'convergence_rate: how far the loss fell, (early - recent) / early over 100 steps at both ends, 0 below 200 steps. ' +
  'training_stability: 1 / (1 + standard deviation of the last 50 losses), 0 below 50 steps. ' +
  'learning_efficiency: reward gained a step. The last two: reward and accuracy gained for each million tokens trained on.';
