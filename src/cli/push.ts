/**
 * Owns `reckon push`: which files of a model or adapter folder go to the hub, what is asked before anything becomes
 * public, and the upload. Knows nothing of what is in the weights.
 */

import { existsSync, lstatSync, readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { pathToFileURL } from 'node:url';
import type { CommitOperation } from '@huggingface/hub';
import type { Command } from 'commander';
import { modelCard } from '../checkpoints/model-card.ts';
import { readModelInfo } from '../checkpoints/model-info.ts';
import { hubSettings, isHubId, statusOf } from '../hub/index.ts';
import { messageOf, ReckonError } from '../util/errors.ts';
import { formatBytes, formatTable } from '../util/format.ts';
import { confirmed } from './confirm.ts';
import { type ExitCode, type GlobalOptions, printResult } from './output.ts';

interface PushOptions extends GlobalOptions {
  readonly public?: boolean;
  readonly yes?: boolean;
  readonly dryRun?: boolean;
  readonly branch: string;
  readonly message: string;
  readonly base?: string;
}

/** Adds the command; `finish` takes its exit code. */
export function addPushCommand(program: Command, finish: (code: ExitCode) => void): void {
  program
    .command('push')
    .description(
      'upload a model or adapter with its tokenizer and card to the hub; private unless you say so',
    )
    .argument('<folder>', 'model or adapter folder, such as a checkpoint')
    .argument('<repo>', 'name on the hub, org/name; created if missing')
    .option('--public', 'make a new repository public; asks first')
    .option('--base <org/name>', "hub id of an adapter's base, written into its config and card")
    .option('--branch <name>', 'branch to commit to', 'main')
    .option('--message <text>', 'title of the commit', 'Upload with reckon')
    .option('--dry-run', 'list the files and stop')
    .option('--yes', 'do not ask')
    .addHelpText(
      'after',
      '\nThe token is read from HF_TOKEN or the file that the hub tools keep it in; HF_ENDPOINT names another hub.\n\nExample:\n  reckon push runs/quickstart/04-grpo/checkpoints/step-000400 your-name/game24-tiny',
    )
    .action(async (folder: string, repo: string, _options, command: Command) => {
      finish(await push(folder, repo, command.optsWithGlobals<PushOptions>()));
    });
}

/** One file of the upload: of the folder, or with text of its own. */
interface Upload {
  readonly path: string;
  readonly bytes: number;
  readonly text: string | null;
}

async function push(folder: string, repo: string, options: PushOptions): Promise<ExitCode> {
  for (const name of [repo, ...(options.base === undefined ? [] : [options.base])]) {
    if (!isHubId(name))
      throw new ReckonError('usage', 'bad-repo', `expected a name as org/name, found '${name}'`);
  }
  const uploads = uploadsOf(folder, repo, options.base);
  const bytes = uploads.reduce((sum, one) => sum + one.bytes, 0);
  const total = `${uploads.length} files, ${formatBytes(bytes)}`;
  const files = uploads.map((one) => ({ path: one.path, bytes: one.bytes }));
  if (options.json !== true) printResult(options, {}, table(uploads));
  if (options.dryRun === true) {
    printResult(options, { repo, files, uploaded: false }, `${total}; nothing uploaded (--dry-run)`);
    return 0;
  }
  const hub = access();
  if (!(await prepareRepo(repo, hub, options))) {
    printResult(options, { repo, files, uploaded: false }, 'nothing uploaded');
    return 0;
  }
  const url = await upload(folder, repo, uploads, hub, options);
  printResult(options, { repo, files, uploaded: true, url }, `${total} uploaded: ${url}`);
  return 0;
}

/** The files that belong to a model; not the trainer's state, which nobody else can use. */
function uploadsOf(folder: string, repo: string, base: string | undefined): Upload[] {
  const isAdapter = existsSync(join(folder, 'adapter_config.json'));
  if (!isAdapter && !existsSync(join(folder, 'config.json'))) {
    throw new ReckonError(
      'usage',
      'no-model-folder',
      `expected a folder with config.json or adapter_config.json, found neither in ${folder}`,
    );
  }
  const info = readModelInfo(folder);
  const own = new Map<string, string>();
  if (isAdapter) own.set('adapter_config.json', adapterConfigFor(folder, base));
  if (info && isGeneratedCard(folder, modelCard(info))) {
    own.set('README.md', modelCard(base === undefined ? info : { ...info, base }, repo));
  }
  const names = readdirSync(folder).filter(
    (name) => !name.startsWith('.') && name !== 'manifest.json' && lstatSync(join(folder, name)).isFile(),
  );
  return [...new Set([...names, ...own.keys()])].sort().map((path) => {
    const text = own.get(path) ?? null;
    const bytes = text === null ? lstatSync(join(folder, path)).size : Buffer.byteLength(text);
    return { path, bytes, text };
  });
}

/** A card that somebody has edited is theirs. */
function isGeneratedCard(folder: string, card: string): boolean {
  const path = join(folder, 'README.md');
  return !existsSync(path) || readFileSync(path, 'utf8') === card;
}

/** An adapter must name a base that others can get: a path of this machine says nothing to them. */
function adapterConfigFor(folder: string, base: string | undefined): string {
  const path = join(folder, 'adapter_config.json');
  let config: Record<string, unknown>;
  try {
    config = JSON.parse(readFileSync(path, 'utf8')) as Record<string, unknown>;
  } catch (error) {
    throw new ReckonError('data', 'bad-adapter-folder', `${path} cannot be read: ${messageOf(error)}`);
  }
  const named = config['base_model_name_or_path'];
  const isPath =
    typeof named !== 'string' || existsSync(join(folder, named)) || !/^[^./][^/]*\/[^/]+$/.test(named);
  if (base === undefined && isPath) {
    throw new ReckonError(
      'usage',
      'no-base-id',
      `the adapter names its base '${named}', which nobody else has; give its name on the hub with --base org/name, or push the merged model (reckon merge)`,
    );
  }
  const stated = base === undefined ? config : { ...config, base_model_name_or_path: base };
  return `${JSON.stringify(stated, null, 2)}\n`;
}

function table(uploads: readonly Upload[]): string {
  return formatTable(
    [['file', 'size'], ...uploads.map(({ path, bytes }) => [path, formatBytes(bytes)])],
    ['left', 'right'],
  );
}

interface Access {
  readonly accessToken: string;
  readonly hubUrl: string;
}

function access(): Access {
  const { endpoint, token, offline } = hubSettings();
  if (offline) {
    throw new ReckonError(
      'environment',
      'offline',
      'HF_HUB_OFFLINE is set, so nothing is uploaded; unset it',
    );
  }
  if (token !== null) return { accessToken: token, hubUrl: endpoint };
  throw new ReckonError(
    'environment',
    'no-token',
    'expected a token of the hub with write access, and neither HF_TOKEN nor a file of its own tools has one; set HF_TOKEN',
  );
}

/** True once the repository is there and it was agreed that what is uploaded may be seen by who can see it. */
async function prepareRepo(repo: string, hub: Access, options: PushOptions): Promise<boolean> {
  const found = await visibilityOf(repo, hub);
  const agree = (question: string) => options.yes === true || confirmed(question);
  if (found === 'public') return agree(`${repo} is public: anyone will be able to read the upload. Go on?`);
  if (found === 'private') {
    if (options.public !== true) return true;
    const message = `${repo} is there and private, and --public makes new repositories public only; change it on its page`;
    throw new ReckonError('usage', 'repo-is-private', message);
  }
  if (options.public === true && !(await agree(`Make ${repo} public, for anyone to read?`))) return false;
  const visibility = options.public === true ? 'public' : 'private';
  const { createRepo } = await import('@huggingface/hub');
  try {
    await createRepo({ ...hub, repo: { type: 'model', name: repo }, visibility });
    return true;
  } catch (error) {
    // A repository without a commit is there and yet not found.
    if (statusOf(error) !== 409) throw explained(repo, error);
    return await agree(`${repo} is there, empty, and may be public. Go on?`);
  }
}

async function visibilityOf(repo: string, hub: Access): Promise<'public' | 'private' | null> {
  const { modelInfo } = await import('@huggingface/hub');
  try {
    return (await modelInfo({ ...hub, name: repo })).private ? 'private' : 'public';
  } catch (error) {
    if (statusOf(error) === 404) return null;
    throw explained(repo, error);
  }
}

async function upload(
  folder: string,
  repo: string,
  uploads: readonly Upload[],
  hub: Access,
  options: PushOptions,
): Promise<string> {
  const operations: CommitOperation[] = uploads.map(({ path, text }) => ({
    operation: 'addOrUpdate',
    path,
    content: text === null ? pathToFileURL(join(folder, path)) : new Blob([text]),
  }));
  const { branch, message: title } = options;
  const { commit } = await import('@huggingface/hub');
  try {
    const done = await commit({ ...hub, repo: { type: 'model', name: repo }, operations, branch, title });
    return done?.commit.url ?? `${hub.hubUrl}/${repo}`;
  } catch (error) {
    throw explained(repo, error);
  }
}

/** What the hub refused, and what to do; never the token. */
function explained(repo: string, error: unknown): ReckonError {
  const status = statusOf(error);
  const advice =
    status === 401
      ? 'the token is not valid; make a new one'
      : status === 403
        ? 'the token may not write there; use one with write access to this name'
        : status === null
          ? 'check the network and HF_ENDPOINT, and give the same command again'
          : 'give the same command again, or look at the page of the repository';
  const cause = error instanceof Error && error.cause instanceof Error ? ` (${error.cause.message})` : '';
  return new ReckonError(
    'environment',
    'hub-refused',
    `the hub did not take ${repo}: ${messageOf(error)}${cause}; ${advice}`,
    { cause: error },
  );
}
