/** Owns the `distill` stage of a recipe. Runs nothing. */

import * as z from 'zod';
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
  share,
} from './kind.ts';
import {
  checkSchedule,
  describeRate,
  idleSchedule,
  type OptimisationRecipe,
  optimisationKeys,
} from './optimisation.ts';

/** Learning from a teacher's distributions; a step is one batch of `promptsPerStep` x `groupSize` sequences. */
export interface DistillStage extends Omit<OptimisationRecipe, 'optimizerBatch'> {
  readonly type: 'distill';
  readonly label?: string | undefined;
  readonly budget?: BudgetRecipe | undefined;
  readonly teacher: string;
  readonly teacherDevice?: string | undefined;
  readonly objective: 'divergence' | 'log-ratio' | 'sequence';
  readonly beta: number;
  readonly softening: number;
  readonly onPolicyShare: number;
  readonly offPolicyData: 'teacher' | 'demonstrations';
  readonly generations: { readonly file?: string | undefined } | null;
  readonly promptsPerStep: number;
  readonly groupSize: number;
}

/** As the recipe has it, before the share follows from the objective. */
type Keys = Omit<DistillStage, 'onPolicyShare'> & {
  readonly onPolicyShare?: number | undefined;
};

const onPolicyShares = { divergence: 0.5, 'log-ratio': 1, sequence: 0 } as const;

export const distillKind: StageKind<DistillStage> = {
  schema: keysOf<Keys>(
    z
      .strictObject({
        type: z.literal('distill'),
        label: label().optional(),
        steps: count().describe('optimizer steps, each on fresh sequences'),
        teacher: z
          .string()
          .min(1)
          .describe("the teacher's model folder; its tokenizer must be the student's"),
        teacherDevice: z
          .string()
          .min(1)
          .optional()
          .describe(
            'where the teacher computes; by default with the policy, or with device auto on a GPU of its own where there are several',
          ),
        objective: z
          .enum(['divergence', 'log-ratio', 'sequence'])
          .default('divergence')
          .describe(
            'GKD, a policy gradient with log(teacher / student) as advantage, or cross-entropy on teacher samples',
          ),
        beta: share()
          .default(0.5)
          .describe('of the divergence: 0 forward KL, 1 reverse KL, between them JSD'),
        softening: z
          .number()
          .positive()
          .default(1)
          .describe('temperature of both distributions in the divergence'),
        onPolicyShare: share()
          .optional()
          .describe(
            'share of steps on samples of the student; by default 0.5, 1 for log-ratio, 0 for sequence',
          ),
        offPolicyData: z
          .enum(['teacher', 'demonstrations'])
          .default('teacher')
          .describe('whose sequences the other steps learn from'),
        generations: z
          .strictObject({
            file: z
              .string()
              .min(1)
              .optional()
              .describe("JSONL that other runs read too; by default one in the stage's folder"),
          })
          .nullable()
          .prefault({})
          .describe(
            "the teacher's completions of a prompt are kept and read again; null samples anew at every visit",
          ),
        promptsPerStep: count().default(16).describe('problems for each step'),
        groupSize: count().default(4).describe('sequences for each problem'),
        budget: budgetKey(),
        ...optimisationKeys({ learningRate: 1e-4, schedule: 'constant' }),
      })
      .describe('distillation: learning from a teacher model'),
  ),
  trains: true,
  samples: true,
  derive: (stage) => ({
    ...stage,
    onPolicyShare: stage.onPolicyShare ?? onPolicyShares[stage.objective],
  }),
  check,
  idle,
  plan,
};

function check(stage: DistillStage, path: KeyPath): RecipeProblem[] {
  const found = checkSchedule(stage, path);
  const wanted = stage.objective === 'log-ratio' ? 1 : 0;
  if (stage.objective !== 'divergence' && stage.onPolicyShare !== wanted) {
    const reason =
      wanted === 1
        ? 'because its gradient is that of own samples'
        : 'because it learns what another model wrote';
    const text = `must be ${wanted} for ${stage.objective}, ${reason}, found ${stage.onPolicyShare}`;
    found.push(problem([...path, 'onPolicyShare'], text));
  }
  return found;
}

function idle(stage: DistillStage): IdleKey[] {
  const { objective, onPolicyShare, offPolicyData } = stage;
  const found = idleSchedule(stage);
  if (objective !== 'divergence') {
    const because = `objective ${objective} is no divergence`;
    found.push({ keys: ['beta'], because }, { keys: ['softening'], because });
  }
  if (onPolicyShare === 1)
    found.push({ keys: ['offPolicyData'], because: 'onPolicyShare 1 leaves no other steps' });
  if (onPolicyShare === 1 || offPolicyData === 'demonstrations')
    found.push({ keys: ['generations'], because: 'the teacher samples nothing', off: null });
  if (onPolicyShare === 0 && offPolicyData === 'demonstrations')
    found.push({ keys: ['budget'], because: 'nothing is sampled' });
  return found;
}

function plan(stage: DistillStage, recipe: Recipe): StageWords {
  const { steps, promptsPerStep, groupSize, objective, onPolicyShare, teacher } = stage;
  const sequencesPerStep = promptsPerStep * groupSize;
  const checkpoints = Math.ceil(steps / recipe.checkpoints.every);
  const batches = `${grouped(steps)} steps of ${promptsPerStep} problems x ${groupSize} sequences`;
  const how = `${objective} from ${teacher}, ${Math.round(100 * onPolicyShare)} % on-policy`;
  return {
    summary: `${batches}, ${how}, ${describeRate(stage)}`,
    numbers: { steps, sequencesPerStep, sequences: steps * sequencesPerStep, checkpoints },
  };
}
