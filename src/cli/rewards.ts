/** Owns `reckon rewards`: a recipe's rewards on sample completions, as a table. Loads no libtorch and trains nothing. */

import type { Command } from 'commander';
import type { ScoredGroup } from '../rewards/index.ts';
import { formatTable } from '../util/format.ts';
import { type ExitCode, type GlobalOptions, printResult } from './output.ts';
import type { LabelledGroup } from './sample-completions.ts';
import { collect, wholeNumber } from './values.ts';

interface TestOptions extends GlobalOptions {
  readonly set?: readonly string[];
  readonly stage?: string;
  readonly problems: number;
  readonly completions?: string;
}

/** Adds the commands; `finish` takes the exit code. */
export function addRewardsCommand(program: Command, finish: (code: ExitCode) => void): void {
  const rewards = program.command('rewards').description('work with rewards');
  rewards.addHelpText('after', '\nExample:\n  reckon rewards test recipes/quickstart/recipe.yaml');
  rewards
    .command('list')
    .description('list the rewards that every task can use, and their settings')
    .addHelpText('after', '\nExample:\n  reckon rewards list')
    .action(async (_options, command: Command) => {
      const { builtInRewards } = await import('../rewards/index.ts');
      const list = Object.entries(builtInRewards).map(([name, { takes, says }]) => ({ name, takes, says }));
      const rows = list.map(({ name, takes, says }) => [name, takes.join(', '), says]);
      const table = formatTable([['reward', 'takes', 'is'], ...rows], ['left', 'left', 'left']);
      printResult(command.optsWithGlobals<GlobalOptions>(), { rewards: list }, table);
      finish(0);
    });
  rewards
    .command('test')
    .description("run a recipe's rewards on sample completions and show what each gives")
    .argument('<recipe>', 'recipe file')
    .option('--set <key=value>', 'change a key, such as grpo.steps=100; may be repeated', collect)
    .option('--stage <label>', 'label or type of the stage; by default the first with rewards')
    .option('--problems <n>', 'problems to take samples of', wholeNumber, 2)
    .option(
      '--completions <file>',
      'JSONL with `completion` and optionally `problemId`, instead of the samples',
    )
    .addHelpText('after', '\nExample:\n  reckon rewards test recipes/quickstart/recipe.yaml --problems 1')
    .action(async (file: string, _options, command: Command) => {
      await test(file, command.optsWithGlobals<TestOptions>());
      finish(0);
    });
}

async function test(file: string, options: TestOptions): Promise<void> {
  const { openRecipe } = await import('../recipe/index.ts');
  const { openTaskOf, rewardsOf } = await import('../run/stages/task.ts');
  const { scoreGroups } = await import('../rewards/index.ts');
  const { givenCompletions, rewardStage, sampleCompletions } = await import('./sample-completions.ts');
  const recipe = await openRecipe(file, options);
  const { name, chosen } = rewardStage(recipe, options.stage);
  const task = await openTaskOf(recipe);
  const groups =
    options.completions === undefined
      ? sampleCompletions(recipe, task, options.problems)
      : givenCompletions(recipe, task, options.completions);
  const scored = await scoreGroups(task, rewardsOf(recipe, chosen), groups);
  const names = chosen.map((one) => one.name);
  const samples = samplesOf(groups, scored);
  const rows = samples.map(({ problem, sample, verdict, parts, reward }) => [
    problem,
    sample,
    verdict,
    ...names.map((one) => formatScore(parts[one] ?? null)),
    formatScore(reward),
  ]);
  const weights = chosen.map((one) => `${one.name} x ${one.weight}`);
  const table = formatTable(
    [['problem', 'sample', 'verdict', ...weights, 'sum'], ...rows],
    ['left', 'left', 'left'],
  );
  printResult(options, { stage: name, rewards: chosen, samples }, `${name}\n\n${table}`);
}

function samplesOf(groups: readonly LabelledGroup[], scored: readonly ScoredGroup[]) {
  return scored.flatMap((group, g) =>
    group.scored.map((one, i) => ({
      problem: group.problem.id,
      sample: groups[g]!.labels[i]!,
      completion: one.rollout.text,
      verdict: one.judgement.verdict,
      reason: one.judgement.reason,
      parts: one.parts,
      reward: one.reward,
    })),
  );
}

/** Three digits behind the point at most; unknown is a dash. */
function formatScore(score: number | null): string {
  return score === null ? '-' : String(Number(score.toFixed(3)));
}
