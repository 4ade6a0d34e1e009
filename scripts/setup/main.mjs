/** The order of the set-up's steps, its options and its exit codes; each step's work is in a file of its own. */
import { rmSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { runCommand } from './command.mjs';
import {
  addonSources,
  compileAddon,
  findCompiler,
  isAddonFresh,
  readChoice,
  writeChoice,
} from './compile.mjs';
import { SetupFailure, sentence } from './failure.mjs';
import { cacheFolder, removeTemporary } from './files.mjs';
import { describeLibtorch } from './libtorch.mjs';
import { withLock } from './lock.mjs';
import { arePackagesFresh, installPackages } from './packages.mjs';
import { run, stopPrograms } from './process.mjs';
import { createReporter } from './progress.mjs';
import { findLibtorch, leavesGpu } from './torch.mjs';
import { compileTypeScript, isDistFresh } from './typescript.mjs';

const HELP = `usage: node scripts/setup.mjs [--quiet] [--debug] [--help] [--then <words of a reckon command>]

Sets up what a clone needs and skips what has not changed: the npm packages, libtorch, the native addon
(build/reckon.node), the compiled TypeScript (dist/). Which libtorch was chosen, and why: build/torch.json.

  --quiet   print nothing but a failure
  --debug   print a failure's stack trace as well
  --help    print this
  --then    then run reckon with the words that follow

  RECKON_TORCH   a folder with libtorch (2.9 or a newer 2.x), or a build to get: cpu, cu130, 2.11.0+cu130;
                 unset: that of the last set-up, else the cached copy, else Python's torch on the PATH, else a download
                 for the CPU; a machine with an NVIDIA GPU wants one of CUDA's builds (nvidia-smi names its version)
  RECKON_CACHE   where libtorch is kept (else XDG_CACHE_HOME/reckon, ~/.cache/reckon, on macOS ~/Library/Caches/reckon)
  CXX            the C++20 compiler (else c++, g++, clang++)

To start over, delete build/, dist/ and node_modules/.
`;
const OPTIONS = ['--quiet', '--debug', '--help', '-h'];
const SIGNALS = ['SIGINT', 'SIGTERM'];
const PLATFORMS = ['linux x64', 'linux arm64', 'darwin arm64'];
const ROOT = fileURLToPath(new URL('../../', import.meta.url));

/** Runs the set-up, then the command after --then; sets the exit code: 0 done, 1 failed, 2 wrong option, 130 interrupted. */
export async function main(words, { index }) {
  const then = words.includes('--then') ? words.indexOf('--then') : words.length;
  const args = words.slice(0, then);
  const wrong = args.find((arg) => !OPTIONS.includes(arg));
  if (wrong !== undefined) {
    console.error(`set-up: ${wrong} is no option: see node scripts/setup.mjs --help.`);
    process.exitCode = 2;
    return;
  }
  if (args.includes('--help') || args.includes('-h')) {
    process.stdout.write(HELP);
    return;
  }
  const report = createReporter({ quiet: args.includes('--quiet') });
  const stop = (signal) => interrupted(report, signal);
  for (const signal of SIGNALS) process.once(signal, stop);
  try {
    const { env, platform, arch } = process;
    await setUp({ root: ROOT, env, platform, arch, cache: cacheFolder(env, platform), index, report });
    for (const signal of SIGNALS) process.off(signal, stop);
    if (then < words.length) process.exitCode = await runCommand(ROOT, words.slice(then + 1), env);
  } catch (error) {
    report.clear();
    console.error(`set-up: ${sentence(error)}`);
    if (args.includes('--debug')) console.error(error);
    process.exitCode = 1;
  }
}

function interrupted(report, signal) {
  report.clear();
  stopPrograms();
  removeTemporary();
  console.error('set-up: interrupted; run the same command again to continue.');
  process.exit(signal === 'SIGINT' ? 130 : 143);
}

/** Brings the clone at `context.root` up to date; throws a SetupFailure, and leaves no half-done step behind. */
export async function setUp(context) {
  refusePlatform(context);
  const { root, report } = context;
  if (isAllFresh(context)) return;
  await withLock(
    join(root, 'build', 'setup.lock'),
    async () => {
      if (!arePackagesFresh(context)) await installPackages(context);
      await setUpAddon(context);
      if (!isDistFresh(context)) await compileTypeScript(context);
    },
    report,
  );
}

function refusePlatform({ platform, arch }) {
  if (PLATFORMS.includes(`${platform} ${arch}`)) return;
  throw new SetupFailure(
    platform === 'win32'
      ? 'Native Windows is not supported: install WSL2 (wsl --install) and run the same command in it.'
      : `${platform} ${arch} is not supported: use Linux on x64 or arm64, or macOS on arm64.`,
  );
}

const request = ({ env, cache }) => ({ torch: env.RECKON_TORCH ?? '', cache });

/* The libtorch of the last set-up, as long as nothing else is asked for and it is still the same there. */
function lastLibtorch(context) {
  const choice = readChoice(context.root);
  const { torch, cache } = request(context);
  if (choice?.request?.cache !== cache || (torch !== '' && torch !== choice.request.torch)) return null;
  const now = describeLibtorch(choice.folder, context.platform);
  if (!now || now.version !== choice.version || now.size !== choice.size) return null;
  return { ...now, cxx11Abi: choice.cxx11Abi, source: choice.source, reason: choice.reason };
}

function isAllFresh(context) {
  const torch = lastLibtorch(context);
  return torch !== null && isAddonFresh(context, torch) && arePackagesFresh(context) && isDistFresh(context);
}

async function setUpAddon(context) {
  const { root, env, report } = context;
  const last = lastLibtorch(context);
  if (last && isAddonFresh(context, last)) return;
  const compiler = await findCompiler(env);
  const torch = last ?? (await findLibtorch(context));
  report.line(
    `libtorch ${torch.version}${torch.cuda ? ' with CUDA' : ''} in ${torch.folder}: ${torch.reason}`,
  );
  if (leavesGpu(torch, context))
    report.line(
      'this machine has an NVIDIA GPU, which this libtorch cannot use: RECKON_TORCH=cu130 npx reckon setup gets one that can',
    );
  if (addonSources(root).length > 0 && !isAddonFresh(context, torch)) {
    await compileAddon(context, torch, compiler);
    await tryAddon(root);
  }
  const asked = last ? readChoice(root).request : request(context);
  writeChoice(root, torch, { compiler: compiler.name, request: asked });
}

/* A library that is missing on this machine shows at loading, and is better said here than in the first run. */
async function tryAddon(root) {
  const addon = join(root, 'build', 'reckon.node');
  const { code, output } = await run(process.execPath, ['-e', 'require(process.argv[1])', addon]);
  if (code === 0) return;
  rmSync(addon, { force: true });
  const line = output.split('\n').find((text) => text.includes('Error')) ?? output.split('\n', 1)[0];
  throw new SetupFailure(
    `The compiled addon cannot be loaded (${line.trim()}): install what it names, or choose another libtorch with RECKON_TORCH.`,
  );
}
