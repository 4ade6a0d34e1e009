/** Compiles native/ into build/reckon.node by calling the compiler itself; it takes libtorch as given. */
import { existsSync, mkdirSync, readdirSync, renameSync, rmSync } from 'node:fs';
import { availableParallelism } from 'node:os';
import { join, relative } from 'node:path';
import { diskFull, SetupFailure } from './failure.mjs';
import { filesUnder, hashOf, readJson, readOr, removeOnInterrupt, writeAside } from './files.mjs';
import { run } from './process.mjs';

const CXX20 =
  '#include <concepts>\n#include <span>\ntemplate <std::integral T> T f(std::span<T> s) { return s[0]; }\n';
const DISK_FULL = /No space left on device|Disk quota exceeded/;

/** The compiler to use: CXX where it is set, else the first of c++, g++, clang++ that knows C++20. */
export async function findCompiler(env) {
  const named = (env.CXX ?? '').split(' ').filter((word) => word !== '');
  const candidates = named.length > 0 ? [named] : [['c++'], ['g++'], ['clang++']];
  for (const [program, ...first] of candidates) {
    const args = [...first, '-std=c++20', '-x', 'c++', '-fsyntax-only', '-'];
    if ((await run(program, args, { env, input: CXX20 })).code !== 0) continue;
    const { stdout } = await run(program, [...first, '--version'], { env });
    return { program, first, name: stdout.split('\n', 1)[0] || program };
  }
  const what = named.length > 0 ? `CXX=${env.CXX} is` : 'There is';
  throw new SetupFailure(
    `${what} no working C++20 compiler: install one (Debian or Ubuntu: apt-get install g++; Fedora: dnf install gcc-c++; macOS: xcode-select --install) or name one in CXX, and run again.`,
  );
}

/** The .cpp files of the addon: native/*.cpp and native/kernels/*.cpp. */
export function addonSources(root) {
  return [join(root, 'native'), join(root, 'native', 'kernels')].flatMap((folder) =>
    existsSync(folder)
      ? readdirSync(folder)
          .filter((name) => name.endsWith('.cpp'))
          .sort()
          .map((name) => join(folder, name))
      : [],
  );
}

const stampFile = (root) => join(root, 'build', 'addon.stamp');

const identity = ({ folder, version, size, cxx11Abi }) => `${folder} ${version} ${size} ${cxx11Abi}`;

function nativeHash(root, torch, env) {
  const files = filesUnder(join(root, 'native'), (name) => /\.(cpp|h|hpp)$/.test(name));
  return hashOf(root, files, [
    flags(root, torch).join(' '),
    linkFlags(torch).join(' '),
    identity(torch),
    env.CXX ?? '',
  ]);
}

/** Whether build/reckon.node is what these sources, flags and libtorch give. */
export function isAddonFresh({ root, env }, torch) {
  if (addonSources(root).length === 0) return true;
  if (!existsSync(join(root, 'build', 'reckon.node'))) return false;
  return readOr(stampFile(root)) === nativeHash(root, torch, env);
}

/** Compiles what changed, two files at once, and links; build/reckon.node is replaced whole or not at all. */
export async function compileAddon(context, torch, compiler) {
  const { root, env, report } = context;
  const sources = addonSources(root);
  const stamp = nativeHash(root, torch, env);
  mkdirSync(join(root, 'build', 'obj'), { recursive: true });
  report.line(`compiling the ${sources.length} files of native/ with ${compiler.name}`);
  const objects = [];
  const waiting = sources.map((source) => ({ source, object: objectOf(root, source) }));
  for (const { object } of waiting) objects.push(object);
  const worker = async () => {
    for (let next = waiting.shift(); next; next = waiting.shift()) {
      await compileFile(context, torch, compiler, next).catch((error) => {
        waiting.length = 0;
        throw error;
      });
    }
  };
  const results = await Promise.allSettled(
    Array.from({ length: Math.min(2, availableParallelism()) }, worker),
  );
  const failed = results.find((result) => result.status === 'rejected');
  if (failed) throw failed.reason;
  const made = join(root, 'build', 'reckon.node');
  await produce(context, compiler, made, [...objects, ...linkFlags(torch)], 'the addon');
  writeAside(stampFile(root), stamp);
}

function objectOf(root, source) {
  return join(root, 'build', 'obj', `${relative(join(root, 'native'), source).replaceAll('/', '-')}.o`);
}

async function compileFile(context, torch, compiler, { source, object }) {
  const { root } = context;
  const headers = filesUnder(join(root, 'native'), (name) => /\.(h|hpp)$/.test(name));
  const options = flags(root, torch);
  const stamp = hashOf(root, [source, ...headers], [options.join(' '), identity(torch), compiler.name]);
  if (existsSync(object) && readOr(`${object}.stamp`) === stamp) return;
  await produce(context, compiler, object, [...options, '-c', source], relative(root, source));
  writeAside(`${object}.stamp`, stamp);
}

/* Runs the compiler with its output aside, then renames it; what the compiler says is kept in build/compile.log on failure. */
async function produce({ root, env, report }, compiler, target, args, what) {
  const aside = `${target}.tmp`;
  const forget = removeOnInterrupt(aside);
  try {
    const { code, output } = await run(compiler.program, [...compiler.first, ...args, '-o', aside], {
      env,
      cwd: root,
    });
    if (code === 0) {
      if (output.trim() !== '') report.line(`${what} compiled with warnings:\n${output.trimEnd()}`);
      renameSync(aside, target);
      return;
    }
    if (DISK_FULL.test(output)) throw diskFull(root);
    const log = join(root, 'build', 'compile.log');
    writeAside(log, output);
    throw new SetupFailure(
      `${what} does not compile (${firstError(output)}): correct it, or see all of it in ${log}.`,
    );
  } finally {
    rmSync(aside, { force: true });
    forget();
  }
}

function firstError(output) {
  const lines = output.split('\n');
  const line = lines.find((text) => /\b(error|undefined|cannot|Killed)\b/.test(text)) ?? lines[0] ?? '';
  return line.trim().slice(0, 300);
}

function flags(root, torch) {
  const system = [
    torch.include,
    join(torch.include, 'torch', 'csrc', 'api', 'include'),
    join(root, 'node_modules', 'node-api-headers', 'include'),
  ];
  return [
    '-std=c++20',
    '-O2',
    '-fPIC',
    '-Wall',
    '-Wextra',
    `-D_GLIBCXX_USE_CXX11_ABI=${torch.cxx11Abi ? 1 : 0}`,
    ...system.flatMap((folder) => ['-isystem', folder]),
  ];
}

function linkFlags({ lib, cuda }) {
  const libraries = ['-ltorch', '-ltorch_cpu', '-lc10', ...(cuda ? ['-ltorch_cuda', '-lc10_cuda'] : [])];
  const first = process.platform === 'darwin' ? ['-undefined', 'dynamic_lookup'] : ['-Wl,--no-as-needed'];
  return ['-shared', '-fPIC', `-L${lib}`, ...first, ...libraries, '-Xlinker', '-rpath', '-Xlinker', lib];
}

/** What build/torch.json says, or null. */
export const readChoice = (root) => readJson(join(root, 'build', 'torch.json'));

/** Writes build/torch.json: which libtorch, why, and the compiler that built the addon against it. */
export function writeChoice(root, torch, { compiler, request }) {
  const { version, source, reason, folder, lib, include, cxx11Abi, cuda, size } = torch;
  const choice = { version, source, reason, folder, lib, include, cxx11Abi, cuda, size, compiler, request };
  writeAside(join(root, 'build', 'torch.json'), `${JSON.stringify(choice, null, 2)}\n`);
}
