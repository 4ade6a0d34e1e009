/** Owns `reckon evaluate`: a run, checkpoint, model folder or hub id measured on a task. Samples nothing itself. */

import { statSync } from 'node:fs';
import { join, resolve } from 'node:path';
import { type Command, InvalidArgumentError, Option } from 'commander';
import type { Evaluation } from '../evaluate/evaluation.ts';
import { formatRecipe, parseRecipe, parseResolved, type Recipe } from '../recipe/index.ts';
import { watchSignals } from '../run/index.ts';
import { ReckonError } from '../util/errors.ts';
import { type Endpoint, type EndpointOptions, endpointOf, servedBy } from './endpoint.ts';
import type { Compared } from './evaluate-distances.ts';
import type { EvaluationRequest } from './evaluate-model.ts';
import { type EvaluationTarget, findTargets, safeName } from './evaluate-targets.ts';
import { type ExitCode, type GlobalOptions, printResult } from './output.ts';
import { collect, positive, seedList, share, temperature } from './values.ts';

/** The options of the command as they were given. */
export interface EvaluateOptions extends GlobalOptions, EndpointOptions {
  readonly runsDir: string;
  readonly task?: string;
  readonly set?: readonly string[];
  readonly split: EvaluationRequest['split'];
  readonly samples?: number;
  readonly temperature?: number;
  readonly topP: number;
  readonly greedy?: boolean;
  readonly seeds?: readonly number[];
  readonly limit?: number;
  readonly batch: number;
  readonly maxPrompt?: number;
  readonly maxCompletion?: number;
  readonly tokenizer?: string;
  readonly allCheckpoints?: boolean;
  readonly against?: readonly string[];
  readonly label?: string;
  readonly out?: string;
  readonly ids?: boolean;
  readonly weights: 'full' | 'int8';
  readonly fresh?: boolean;
}

/** Adds the command; `finish` takes its exit code. */
export function addEvaluateCommand(program: Command, finish: (code: ExitCode) => void): void {
  const command = program
    .command('evaluate')
    .description('measure a model on a task; an interrupted evaluation is resumed')
    .argument(
      '[model]',
      'name of a run, run:stage, a checkpoint, a model or adapter folder, or a hub id; with --endpoint, where the task and the tokenizer come from',
    )
    .option('--runs-dir <folder>', 'folder that holds the runs', 'runs')
    .option('--task <name>', "task of a recipe; by default that of the model's run")
    .option(
      '--set <key=value>',
      'change a key of the recipe, such as task.splitSeed=1; may be repeated',
      collect,
    )
    .addOption(
      new Option('--split <split>', 'which problems')
        .choices(['train', 'validation', 'test'])
        .default('test'),
    )
    .option('--samples <k>', "completions of each problem; by default the recipe's", positive)
    .option('--temperature <t>', "0 is greedy; by default the recipe's", temperature)
    .option('--top-p <p>', 'share of probability kept', share, 1)
    .option('--greedy', 'one sample of each problem at temperature 0')
    .option(
      '--seeds <list>',
      "one evaluation for each of these seeds, and the spread; by default the recipe's seed",
      seedList,
    )
    .option('--limit <n>', 'only the first problems of the split', positive)
    .option('--batch <n>', 'sequences at once', positive, 512)
    .option('--max-prompt <tokens>', 'leave out problems with longer prompts', positive)
    .option('--max-completion <tokens>', "longest completion; by default the recipe's", positive)
    .option('--tokenizer <model>', "folder or hub id of the tokenizer; by default the model's own")
    .addOption(
      new Option('--weights <format>', 'int8 samples with the matrices rounded to 8 bit')
        .choices(['full', 'int8'])
        .default('full'),
    )
    .option('--all-checkpoints', 'every checkpoint of a run, with a curve')
    .option(
      '--against <model>',
      'distance between the distributions of both models; may be repeated once',
      collect,
    )
    .option('--label <name>', 'name of the files; by default made from model and settings', fileName)
    .option('--out <folder>', "where the files go; by default the run's evaluations, or ./evaluations")
    .option('--ids', 'keep token ids in the rows')
    .option('--fresh', 'discard what this evaluation has done before');
  servedBy(command)
    .addHelpText(
      'after',
      '\nExample:\n  reckon evaluate quickstart --samples 8\n  reckon evaluate quickstart --all-checkpoints --greedy\n  reckon evaluate models/mine --task game24 --limit 20 --max-completion 128\n  reckon evaluate --endpoint http://localhost:8000 --model Qwen/Qwen2.5-0.5B-Instruct --tokenizer Qwen/Qwen2.5-0.5B-Instruct --task gsm8k',
    )
    .action(async (model: string | undefined, _options, command: Command) => {
      finish(await evaluate(model, command.optsWithGlobals<EvaluateOptions>()));
    });
}

async function evaluate(model: string | undefined, options: EvaluateOptions): Promise<ExitCode> {
  checkCombinations(options);
  const targets = await targetsOf(model, options);
  const requests = [];
  for (const target of targets) requests.push({ target, requests: await requestsFor(target, options) });
  const { evaluateModel } = await import('./evaluate-model.ts');
  const compared = await comparedWith(targets[0]!, options);
  const signals = watchSignals(() => process.stderr.write('stopping; the same command goes on from here\n'));
  const stream = process.stderr;
  const hooks = { stream, quiet: options.quiet === true, stopRequested: () => signals.stopRequested() };
  const done: { request: EvaluationRequest; evaluation: Evaluation }[] = [];
  try {
    for (const { target, requests: each } of requests)
      for (const request of each) {
        const evaluation = await evaluateModel(target, request, hooks);
        if (evaluation === null) return 130;
        done.push({ request, evaluation });
      }
  } finally {
    signals.dispose();
  }
  if (compared !== null) {
    const { measureDistances } = await import('./evaluate-distances.ts');
    const { request } = done[0]!;
    done[0] = { request, evaluation: await measureDistances(compared, request) };
  }
  await print(
    done.map(({ evaluation }) => evaluation),
    done.map(({ request }) => request),
    targets[0]!.runDirectory,
    options,
  );
  return 0;
}

/** The models that --against names beside the first; a name that is none, and other tokenizers, are refused before any work. */
async function comparedWith(
  first: EvaluationTarget,
  { against, runsDir }: EvaluateOptions,
): Promise<Compared | null> {
  if (against === undefined) return null;
  const { comparedModels } = await import('./evaluate-distances.ts');
  return await comparedModels(first, against, runsDir);
}

/** The models that are measured; for one on servers, what is here of it: a run or folder, or its tokenizer alone. */
async function targetsOf(name: string | undefined, options: EvaluateOptions): Promise<EvaluationTarget[]> {
  const endpoint = endpointOf(options, options.batch);
  if (name !== undefined) {
    const targets = await findTargets(name, options);
    return endpoint ? targets.map((target) => served(target, endpoint)) : targets;
  }
  if (!endpoint || options.tokenizer === undefined) {
    const message = endpoint
      ? '--endpoint needs a model here for its task and tokenizer, or --tokenizer and --task'
      : 'name a model, or servers with --endpoint and --model';
    throw new ReckonError('usage', 'no-model', message);
  }
  const { localModel } = await import('../hub/index.ts');
  const folder = await localModel(options.tokenizer, { withWeights: false });
  const nothing = { name: '', folder, checkpoint: '', runDirectory: null, recipe: null };
  return [served(nothing, endpoint)];
}

/** A target under the name that servers have for it. */
function served(target: EvaluationTarget, { model, servers }: Endpoint): EvaluationTarget {
  return { ...target, name: safeName(model), checkpoint: `${model} at ${servers.join(', ')}` };
}

function checkCombinations(options: EvaluateOptions): void {
  const clash = (what: string): never => {
    throw new ReckonError('usage', 'evaluate-options', what);
  };
  const { greedy, samples, temperature, label, seeds, allCheckpoints, against, out } = options;
  if (greedy === true && ((samples ?? 1) > 1 || (temperature ?? 0) > 0))
    clash('--greedy is one sample at temperature 0; leave out --samples and --temperature');
  if (temperature === 0 && (samples ?? 1) > 1)
    clash('--samples above 1 at --temperature 0 would all be the same; raise the temperature');
  if (label !== undefined && (allCheckpoints === true || (seeds?.length ?? 1) > 1))
    clash('--label names one evaluation; leave it out with --all-checkpoints or several --seeds');
  if (out !== undefined && (/\.jsonl?$/.test(out) || isFile(out)))
    clash(`--out names a folder, found ${out}; the files in it are named by --label`);
  if ((against?.length ?? 0) > 2) clash('--against compares two or three models in all; name at most two');
  if (options.endpoint !== undefined && (against !== undefined || allCheckpoints === true))
    clash(
      '--endpoint measures one model, whose weights are elsewhere; leave out --against and --all-checkpoints',
    );
  if (against !== undefined && (allCheckpoints === true || (seeds?.length ?? 1) > 1))
    clash('--against compares one evaluation with others; leave out --all-checkpoints and further --seeds');
}

function isFile(path: string): boolean {
  return statSync(path, { throwIfNoEntry: false })?.isFile() === true;
}

/** One request a seed, every default decided. */
async function requestsFor(target: EvaluationTarget, options: EvaluateOptions): Promise<EvaluationRequest[]> {
  const recipe = recipeOf(target, options);
  const greedy = options.greedy === true || options.temperature === 0;
  const seeds = options.seeds ?? [recipe.seed];
  const out =
    options.out ?? (target.runDirectory === null ? 'evaluations' : join(target.runDirectory, 'evaluations'));
  const { localModel } = await import('../hub/index.ts');
  const tokenizer =
    options.tokenizer === undefined ? null : await localModel(options.tokenizer, { withWeights: false });
  return seeds.map((seed) => ({
    label: options.label ?? labelOf(target, recipe, options, seeds.length > 1 ? seed : null),
    out: resolve(out),
    recipe,
    split: options.split,
    samples: greedy ? 1 : (options.samples ?? recipe.evaluation.samplesPerProblem),
    temperature: greedy ? 0 : (options.temperature ?? recipe.evaluation.temperature),
    topP: options.topP,
    seed,
    maxCompletionTokens: options.maxCompletion ?? recipe.sampling.maxCompletionTokens,
    maxPromptTokens: options.maxPrompt ?? null,
    limit: options.limit ?? null,
    batch: options.batch,
    tokenizer,
    endpoint: endpointOf(options, options.batch),
    keepIds: options.ids === true || options.against !== undefined,
    weights: options.weights,
    fresh: options.fresh === true,
  }));
}

/** The run's recipe, or the smallest one that names the task; `--set` changes either. */
function recipeOf({ recipe, folder }: EvaluationTarget, { task, set }: EvaluateOptions): Recipe {
  if (task === undefined && recipe !== null)
    return parseResolved(formatRecipe(recipe), 'recipe.yaml', { set });
  if (task === undefined)
    throw new ReckonError(
      'usage',
      'no-task',
      `${folder} is of no run, so --task must say what to measure it on`,
    );
  const path = JSON.stringify(folder);
  const text = `version: 1\nname: evaluation\ntask: { name: ${JSON.stringify(task)} }\nmodel: { path: ${path} }\nstages: [{ type: prepare }]\n`;
  return parseRecipe(text, '--task', { set });
}

function labelOf(
  target: EvaluationTarget,
  recipe: Recipe,
  { task, split, samples, temperature, greedy, limit, weights }: EvaluateOptions,
  seed: number | null,
): string {
  const parts = [
    target.name,
    ...(task === undefined || task === target.recipe?.task.name ? [] : [task]),
    ...(split === 'test' ? [] : [split]),
    ...(greedy === true || temperature === 0 ? ['greedy'] : []),
    ...(temperature === undefined || temperature === 0 || temperature === recipe.evaluation.temperature
      ? []
      : [`t${temperature}`]),
    ...(samples === undefined ? [] : [`k${samples}`]),
    ...(weights === 'int8' ? ['int8'] : []),
    ...(limit === undefined ? [] : [`first${limit}`]),
    ...(seed === null ? [] : [`seed${seed}`]),
  ];
  return parts.join('-');
}

async function print(
  evaluations: readonly Evaluation[],
  requests: readonly EvaluationRequest[],
  run: string | null,
  options: EvaluateOptions,
): Promise<void> {
  const { distanceText, evaluationText, readRun, writeCurve } = await import('../report/index.ts');
  const files = requests.map(({ out, label }) => join(out, `${label}.json`));
  const stages = options.allCheckpoints !== true || run === null ? null : readRun(run).stages;
  const curve = stages === null ? null : writeCurve(requests[0]!.out, { stages, evaluations });
  const distances = options.against === undefined ? [] : (evaluations[0]?.distances ?? []);
  const text = [
    evaluationText(evaluations),
    ...(distances.length > 0 ? [distanceText(distances)] : []),
    [...files, ...(curve === null ? [] : [curve])].join('\n'),
  ].join('\n\n');
  const short = evaluations.map(({ problems: _problems, transcripts: _transcripts, ...rest }) => rest);
  printResult(options, { evaluations: short, files, curve, distances }, text);
}

function fileName(text: string): string {
  if (/^[A-Za-z0-9][A-Za-z0-9._-]{0,99}$/.test(text)) return text;
  throw new InvalidArgumentError(
    "it must be letters, digits, '.', '_' and '-', and begin with one of the first two.",
  );
}
