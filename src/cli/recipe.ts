/** Owns `reckon recipe check`: validates a recipe and prints its derived plan. Loads no libtorch. */

import type { Command } from 'commander';
import { derivePlan, formatPlan, grpoPresets, loadRecipe } from '../recipe/index.ts';
import { formatTable } from '../util/format.ts';
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
    .command('presets')
    .description('list the presets of `grpo` stages and what each sets')
    .addHelpText('after', '\nExample:\n  reckon recipe presets')
    .action((_options, command: Command) => {
      const options = command.optsWithGlobals<GlobalOptions>();
      const rows = Object.entries(grpoPresets).map(([name, preset]) => [name, settingsOf(preset)]);
      printResult(
        options,
        { presets: grpoPresets },
        formatTable([['preset', 'sets'], ...rows], ['left', 'left']),
      );
      finish(0);
    });
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

/** A preset as `key: value` words; nested keys with a dot. */
function settingsOf(preset: object): string {
  const words = Object.entries(preset).flatMap(([key, value]) =>
    typeof value === 'object' && value !== null
      ? Object.entries(value as object)
          .filter(([, one]) => one !== null && one !== false && one !== 0)
          .map(([inner, one]) => `${key}.${inner} ${one}`)
      : [`${key} ${value}`],
  );
  return words.length > 0 ? words.join(', ') : 'the defaults';
}
