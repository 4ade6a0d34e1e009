/** Owns `reckon recipe`: checks a recipe and prints its plan and estimate, lists presets, writes the schema. Loads no libtorch. */

import { writeFileSync } from 'node:fs';
import type { Command } from 'commander';
import {
  derivePlan,
  estimate,
  formatEstimate,
  formatPlan,
  grpoPresets,
  openRecipe,
  recipeJsonSchema,
} from '../recipe/index.ts';
import { diskFree, hubModels, thisMachine } from '../run/index.ts';
import { taskFacts } from '../run/task-facts.ts';
import { formatTable } from '../util/format.ts';
import { isModuleFile } from '../util/typescript.ts';
import { type ExitCode, type GlobalOptions, printResult } from './output.ts';
import { typeCheck } from './type-check.ts';
import { collect, wholeNumber } from './values.ts';

interface CheckOptions extends GlobalOptions {
  readonly seed?: number;
  readonly set?: readonly string[];
  readonly runsDir: string;
}

interface SchemaOptions extends GlobalOptions {
  readonly out?: string;
}

/** Adds the commands; `finish` takes their exit code. */
export function addRecipeCommand(program: Command, finish: (code: ExitCode) => void): void {
  const recipe = program.command('recipe').description('check recipes, list presets, export the schema');
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
    .command('schema')
    .description('print the JSON Schema of recipes, for editors')
    .option('--out <file>', 'write it to a file')
    .addHelpText('after', '\nExample:\n  reckon recipe schema --out recipe.schema.json')
    .action((_options, command: Command) => {
      writeSchema(command.optsWithGlobals<SchemaOptions>());
      finish(0);
    });
  recipe
    .command('check')
    .description('say what is wrong with a recipe, or print what it would do and what that takes')
    .argument('<recipe>', 'recipe file (YAML or TypeScript)')
    .option('--seed <n>', 'seed of every random number', wholeNumber)
    .option('--set <key=value>', 'change a key, such as sft.steps=100; may be repeated', collect)
    .option('--runs-dir <folder>', 'folder that would hold the run', 'runs')
    .addHelpText(
      'after',
      '\nExample:\n  reckon recipe check recipes/quickstart/recipe.yaml --set sft.steps=100',
    )
    .action(async (file: string, _options, command: Command) => {
      await check(file, command.optsWithGlobals<CheckOptions>());
      finish(0);
    });
}

async function check(file: string, options: CheckOptions): Promise<void> {
  const recipe = await openRecipe(file, options);
  const typed = isModuleFile(file) ? await typeCheck(file) : null;
  const plan = derivePlan(recipe);
  const machine = thisMachine();
  const found = estimate(recipe, plan, machine, await taskFacts(recipe));
  const free = diskFree(options.runsDir);
  const types = typed === null ? [] : ['', typed ? 'types: checked' : 'types: not checked, no tsc was found'];
  const hub = await hubModels(recipe);
  const text = [formatPlan(plan), formatEstimate(found, machine, free), ...fromHub(hub), ...types].join('\n');
  printResult(options, { plan, estimate: found, hub, typesChecked: typed, recipe }, text);
}

function fromHub(models: Awaited<ReturnType<typeof hubModels>>): string[] {
  const missing = models.flatMap(({ id, here }) => (here ? [] : [id]));
  if (missing.length === 0) return [];
  return [
    `  hub     ${missing.join(' and ')} not on this machine yet: the run downloads what is missing first`,
  ];
}

function writeSchema(options: SchemaOptions): void {
  const schema = { ...recipeJsonSchema(), title: 'reckon recipe' };
  const text = JSON.stringify(schema, null, 2);
  if (options.out === undefined) {
    process.stdout.write(`${text}\n`);
    return;
  }
  writeFileSync(options.out, `${text}\n`);
  const hint = `# yaml-language-server: $schema=${options.out}`;
  printResult(
    options,
    { out: options.out },
    `${options.out} written; in a recipe, editors read the line\n${hint}`,
  );
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
