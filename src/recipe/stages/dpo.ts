/** Owns the `dpo` stage of a recipe. Runs nothing. */

import * as z from 'zod';
import { needsReference, smoothsLabels } from '../../losses/preference-names.ts';
import type { RecipeProblem } from '../issues.ts';
import type { KeyPath } from '../nearest.ts';
import type { Recipe } from '../recipe.ts';
import { type BudgetRecipe, budgetKey } from './budget.ts';
import {
  count,
  grouped,
  type IdleKey,
  keysOf,
  label,
  problem,
  type StageKind,
  type StageWords,
} from './kind.ts';
import { checkLength, type LengthRecipe, lengthKeys, passesOver } from './length.ts';
import { describeRate, idleSchedule, type OptimisationRecipe, optimisationKeys } from './optimisation.ts';
import { checkReference, type ReferenceRecipe, referenceKeys } from './reference.ts';

const objectives = [
  'sigmoid',
  'sigmoid_norm',
  'hinge',
  'ipo',
  'robust',
  'exo_pair',
  'discopop',
  'nca_pair',
  'bco_pair',
  'sppo_hard',
  'apo_zero',
  'apo_down',
  'aot',
  'aot_unpaired',
  'sft',
  'simpo',
  'cpo',
  'orpo',
  'kto',
] as const;

type Objective = (typeof objectives)[number];

/**
 * Learning from preference pairs; `steps` counts optimizer steps over a file, rollout steps over own completions, and
 * `dataEpochs` passes over the file or over the problems.
 */
export interface DpoStage extends Omit<OptimisationRecipe, 'steps'>, LengthRecipe, ReferenceRecipe {
  readonly type: 'dpo';
  readonly label?: string | undefined;
  readonly budget?: BudgetRecipe | undefined;
  readonly objective: Objective;
  readonly beta: number;
  readonly labelSmoothing: number;
  readonly gamma: number;
  readonly nllWeight: number;
  readonly desirableWeight: number;
  readonly undesirableWeight: number;
  readonly pairsFile?: string | undefined;
  readonly promptsPerStep: number;
  readonly groupSize: number;
  readonly compare: 'outcome' | 'first-error';
  readonly pairsPerProblem: number;
  readonly reference: string;
  readonly precompute: boolean;
  readonly epochs: number;
}

/** As the recipe has it, before `beta` and `nllWeight` follow from the objective. */
type Keys = Omit<DpoStage, 'beta' | 'nllWeight'> & {
  readonly beta?: number | undefined;
  readonly nllWeight?: number | undefined;
};

export const dpoKind: StageKind<DpoStage> = {
  schema: keysOf<Keys>(
    z
      .strictObject({
        type: z.literal('dpo'),
        label: label().optional(),
        ...lengthKeys(
          'optimizer steps over a file, or rollout steps over own completions',
          'the pairs of the file, or over the problems',
        ),
        objective: z
          .enum(objectives)
          .default('sigmoid')
          .describe("which loss, by TRL's names; sigmoid is DPO"),
        beta: z
          .number()
          .positive()
          .optional()
          .describe('sharpness of the preference; by default 2 for simpo, 0.1 for all others'),
        labelSmoothing: z
          .number()
          .min(0)
          .lt(0.5)
          .default(0)
          .describe('share of pairs believed to be the wrong way round'),
        gamma: z.number().min(0).default(0.5).describe('target margin of simpo'),
        nllWeight: z
          .number()
          .min(0)
          .optional()
          .describe(
            'factor of the cross-entropy of chosen completions; by default 1 for orpo and cpo, else 0',
          ),
        desirableWeight: z.number().min(0).default(1).describe('factor of chosen completions in kto'),
        undesirableWeight: z.number().min(0).default(1).describe('factor of rejected completions in kto'),
        pairsFile: z
          .string()
          .min(1)
          .optional()
          .describe('JSONL of prompt, chosen and rejected; without it pairs are made of own completions'),
        promptsPerStep: count().default(32).describe('problems sampled for each step'),
        groupSize: count().default(8).describe('completions for each problem'),
        compare: z
          .enum(['outcome', 'first-error'])
          .default('outcome')
          .describe('correct against incorrect completions, or a right line against the first wrong one'),
        pairsPerProblem: count().default(4).describe('most pairs made of the completions of a problem'),
        reference: z
          .string()
          .min(1)
          .default('start')
          .describe(
            '`start` (the model that the stage begins with), `previous` (the policy before each step), a model folder or an earlier stage',
          ),
        ...referenceKeys(),
        precompute: z
          .boolean()
          .default(false)
          .describe('the reference scores all pairs of the file once and is freed'),
        epochs: count().default(1).describe("passes over the pairs of a step's completions"),
        optimizerBatch: count().default(32).describe('pairs in one optimizer step'),
        budget: budgetKey(),
        ...optimisationKeys({ learningRate: 1e-5, schedule: 'linear' }),
      })
      .describe('learning from preference pairs: DPO and its family'),
  ),
  trains: true,
  samples: true,
  derive: (stage) => ({
    ...stage,
    beta: stage.beta ?? (stage.objective === 'simpo' ? 2 : 0.1),
    nllWeight: stage.nllWeight ?? (stage.objective === 'orpo' || stage.objective === 'cpo' ? 1 : 0),
  }),
  check,
  idle,
  plan,
};

function check(stage: DpoStage, path: KeyPath): RecipeProblem[] {
  const found = [...checkLength(stage, 'dataEpochs', path), ...checkReference(stage, path)];
  if (stage.pairsFile === undefined && stage.groupSize < 2) {
    const reason = 'because a pair takes two completions';
    found.push(problem([...path, 'groupSize'], `must be at least 2, ${reason}, found ${stage.groupSize}`));
  }
  if (stage.reference === 'none' && needsReference(stage.objective)) {
    const reason = `because ${stage.objective} compares with a reference`;
    found.push(problem([...path, 'reference'], `must be start, previous or a model, ${reason}, found none`));
  }
  const moves = stage.reference === 'previous' || stage.referenceSync !== null;
  if (stage.precompute && (stage.pairsFile === undefined || moves)) {
    const needs = 'needs a pairsFile and a reference that stays as it is, found true';
    found.push(problem([...path, 'precompute'], needs));
  }
  if (stage.reference === 'previous' && stage.referenceSync) {
    const reason = 'because the reference previous follows the policy in every step';
    found.push(problem([...path, 'referenceSync'], `must be null, ${reason}`));
  }
  if (stage.precompute && stage.objective === 'kto') {
    const reason = 'because the pairing of prompts for its zero point changes with every batch';
    found.push(problem([...path, 'precompute'], `must be false for kto, ${reason}, found true`));
  }
  if (stage.objective === 'exo_pair' && stage.labelSmoothing === 0) {
    found.push(problem([...path, 'labelSmoothing'], 'must be above 0 for exo_pair, such as 0.001, found 0'));
  }
  return found;
}

function idle(stage: DpoStage): IdleKey[] {
  const { objective, pairsFile } = stage;
  const because = `objective ${objective} does not read it`;
  const unread = (keys: readonly string[], reason = because, off?: unknown): IdleKey[] =>
    keys.map((key) => ({ keys: [key], because: reason, ...(off === undefined ? {} : { off }) }));
  const alone = `objective ${objective} has no reference`;
  return [
    ...idleSchedule(stage),
    ...(smoothsLabels(objective) ? [] : unread(['labelSmoothing'])),
    ...(objective === 'simpo' ? [] : unread(['gamma'])),
    ...(objective === 'kto' ? [] : unread(['desirableWeight', 'undesirableWeight'])),
    ...(objective === 'sft' ? unread(['beta']) : []),
    ...(!needsReference(objective)
      ? [
          ...unread(['reference'], alone, 'none'),
          ...unread(['referenceSync', 'referenceDevice', 'precompute'], alone),
        ]
      : []),
    ...(stage.reference === 'previous'
      ? unread(['referenceDevice'], 'the reference previous is a copy of the policy')
      : []),
    ...(pairsFile === undefined
      ? []
      : unread(
          ['promptsPerStep', 'groupSize', 'compare', 'pairsPerProblem', 'budget'],
          'nothing is sampled with a pairsFile',
        )),
    ...(pairsFile === undefined ? [] : unread(['epochs'], 'passes over a pairsFile are dataEpochs')),
  ];
}

function plan(stage: DpoStage, recipe: Recipe): StageWords {
  const { steps, dataEpochs = 0, optimizerBatch, promptsPerStep, groupSize, pairsFile } = stage;
  const rate = `${stage.objective} with beta ${stage.beta}, ${describeRate(stage)}`;
  const sequencesPerStep = promptsPerStep * groupSize;
  const own = `steps of ${promptsPerStep} problems x ${groupSize} completions`;
  const pairs = `pairs in batches of ${optimizerBatch}`;
  if (steps === undefined) {
    const file = passesOver(dataEpochs, `the pairs of ${pairsFile} in batches of ${optimizerBatch}`);
    if (pairsFile !== undefined) return { summary: `${file}, ${rate}`, numbers: { dataEpochs } };
    const problems = passesOver(dataEpochs, `the problems in ${own}`);
    return { summary: `${problems}, ${pairs}, ${rate}`, numbers: { dataEpochs, sequencesPerStep } };
  }
  const checkpoints = Math.ceil(steps / recipe.checkpoints.every);
  if (pairsFile !== undefined) {
    const summary = `${grouped(steps)} updates of ${optimizerBatch} pairs of ${pairsFile}, ${rate}`;
    const pairs = steps * optimizerBatch;
    return { summary, numbers: { steps, pairs, sequences: 2 * pairs, updates: steps, checkpoints } };
  }
  const rollouts = steps * sequencesPerStep;
  const summary = `${grouped(steps)} ${own} = ${grouped(rollouts)} rollouts, ${pairs}, ${rate}`;
  return { summary, numbers: { steps, sequencesPerStep, rollouts, checkpoints } };
}
