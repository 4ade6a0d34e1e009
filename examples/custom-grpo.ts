/**
 * A GRPO loop of one's own on the public API: no recipe, no run directory, every step in sight. Give it a model folder,
 * such as a checkpoint of the quickstart: `npx tsx examples/custom-grpo.ts <folder> [steps]`.
 */

import {
  advantages,
  generate,
  losses,
  models,
  optim,
  rewards,
  rollouts,
  text,
  train,
  util,
} from '../src/index.ts';

/** Trains the model of `folder` on the 24 game by a reward of one's own; returns the mean reward of every step. */
export async function customGrpo(
  folder: string,
  steps: number,
  score: rewards.Reward['score'],
): Promise<number[]> {
  const task = rewards.game24Task(24);
  const wanted: rewards.Reward[] = [{ name: 'mine', weight: 1, score }];
  const tokenizer = text.loadTokenizer(folder);
  using policy = models.loadModel(folder, { dtype: 'f32', computeDtype: 'f32', device: 'cpu' });
  for (const [, parameter] of policy.namedParameters()) parameter.requiresGrad_();
  using optimizer = new optim.AdamW(policy.namedParameters(), {
    betas: [0.9, 0.95],
    epsilon: 1e-8,
    weightDecay: 0,
  });
  const means: number[] = [];
  for (let step = 1; step <= steps; step++) {
    const problems = task.splits.train.slice(8 * (step - 1), 8 * step);
    using engine = generate.localEngine(policy, tokenizer);
    const groups = await rollouts.collectGroups(
      engine,
      tokenizer,
      problems,
      (problem) => task.prompt(problem, new util.Rng({ seed: step, purpose: 'prompt', id: problem.id })),
      {
        groupSize: 8,
        temperature: 1,
        topP: 1,
        maxNewTokens: 64,
        stopIds: engine.eosTokenIds,
        seed: 1,
        step,
      },
    );
    const scored = await rewards.scoreGroups(task, wanted, groups);
    const totals = scored.map((group) => group.scored.map((one) => one.reward));
    const estimate = advantages.groupAdvantages(totals, { scale: 'group' });
    const sequences = scored.flatMap((group, g) =>
      group.scored.map((one, i) => ({ ...one.rollout, advantage: estimate.advantages[g]![i]! })),
    );
    train.accumulatePolicyGradient({
      policy,
      reference: null,
      sequences,
      batches: train.cutMicroBatches(sequences, 4096, policy.config.padTokenId ?? 0),
      weights: losses.lossWeights(
        sequences.map((one) => one.completionIds.length),
        'tokens',
        64,
      ),
      oldLogps: null,
      temperature: 1,
      vocabulary: generate.policyVocabulary(policy, tokenizer),
      truncated: false,
      loss: { clip: { low: 0.2, high: 0.28 }, kl: { beta: 0, estimator: 'k3' } },
    });
    optim.clipGradNorm(policy.stateDict().values(), 1);
    optimizer.step(1e-3);
    means.push(estimate.rewardMean);
    console.log(`step ${step}: reward ${estimate.rewardMean.toFixed(3)}`);
  }
  return means;
}

const { correct, process: lines } = rewards.game24Task(24).rewards;

/** One for a right answer, and up to one for lines without a slip. */
const own: rewards.RewardFunction = async (sample) =>
  ((await correct!(sample)) ?? 0) + ((await lines!(sample)) ?? 0);

const [, script, folder, steps = '20'] = process.argv;
if (script?.endsWith('custom-grpo.ts') && folder) await customGrpo(folder, Number(steps), own);
