/** Owns `reckon recipe check`: validates a recipe and prints its derived plan. Loads no libtorch. */

import type { Command } from 'commander';
import { derivePlan, formatPlan, loadRecipe } from '../recipe/index.ts';
import { type ExitCode, type GlobalOptions, printResult } from './output.ts';
import { collect, wholeNumber } from './run.ts';

interface CheckOptions extends GlobalOptions {
  readonly seed?: number;
  readonly set?: readonly string[];
}

/** Adds the command; `finish` takes its exit code. */
export function addRecipeCommand(program: Command, finish: (code: ExitCode) => void): void {
  const recipe = program.command('recipe').description('work with recipes');
  recipe.addHelpText('after', '\nExample:\n  reckon recipe check recipes/quickstart/recipe.yaml');
  recipe
    .command('check')
    .description('say what is wrong with a recipe, or print the plan that follows from it')
    .argument('<recipe>', 'recipe file (YAML)')
    .option('--seed <n>', 'seed of every random number', wholeNumber)
    .option('--set <key=value>', 'change a key, such as sft.steps=100; may be repeated', collect)
    .addHelpText(
      'after',
      '\nExample:\n  reckon recipe check recipes/quickstart/recipe.yaml --set sft.steps=100',
    )
    .action((file: string, _options, command: Command) => {
      const options = command.optsWithGlobals<CheckOptions>();
      const checked = loadRecipe(file, options);
      const plan = derivePlan(checked);
      printResult(options, { plan, recipe: checked }, formatPlan(plan));
      finish(0);
    });
}
