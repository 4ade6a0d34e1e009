/** Compiles native/ into build/reckon.node by calling the compiler itself; it takes libtorch as given. */
import { existsSync, mkdirSync, readdirSync, readFileSync, renameSync, rmSync } from 'node:fs';
import { availableParallelism, totalmem } from 'node:os';
import { dirname, join, relative } from 'node:path';
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

/** Compiles what changed, one piece per core, and links; build/reckon.node is replaced whole or not at all. */
export async function compileAddon(context, torch, compiler) {
  const { root, env, report } = context;
  const stamp = nativeHash(root, torch, env);
  mkdirSync(join(root, 'build', 'obj'), { recursive: true });
  report.line(`compiling the ${addonSources(root).length} files of native/ with ${compiler.name}`);
  const pieces = piecesOf(root);
  const waiting = [...pieces];
  const worker = async () => {
    for (let next = waiting.shift(); next; next = waiting.shift()) {
      await compilePiece(context, torch, compiler, next).catch((error) => {
        waiting.length = 0;
        throw error;
      });
    }
  };
  const workers = Math.min(availableParallelism(), Math.floor(totalmem() / BYTES_OF_A_COMPILER));
  const results = await Promise.allSettled(Array.from({ length: Math.max(1, workers) }, worker));
  const failed = results.find((result) => result.status === 'rejected');
  if (failed) throw failed.reason;
  const made = join(root, 'build', 'reckon.node');
  const objects = pieces.map(({ name }) => objectOf(root, name));
  await produce(context, compiler, made, [...objects, ...linkFlags(torch)], 'the addon');
  writeAside(stampFile(root), stamp);
}

/* What one run of the compiler may take, with room to spare: libtorch's headers alone take 1 GB. */
const BYTES_OF_A_COMPILER = 2 ** 31;

const objectOf = (root, name) => join(root, 'build', 'obj', `${name.replaceAll('/', '-')}.o`);

/* What is compiled at once: a file that needs no libtorch alone, the others by what they need of it, since reading its
   headers takes most of the time. Those come first: they take longest. */
function piecesOf(root) {
  const native = join(root, 'native');
  const groups = { gradients: [], operators: [], door: [] };
  const alone = [];
  for (const file of addonSources(root)) {
    const text = readFileSync(file, 'utf8');
    const name = relative(native, file);
    if (text.includes('#include "training-arguments.h"')) groups.gradients.push(name);
    else if (!/^#include <(ATen|c10|torch)\//m.test(text)) alone.push({ name, files: [name] });
    else groups[dirname(file) === native ? 'door' : 'operators'].push(name);
  }
  const joined = Object.entries(groups).filter(([, files]) => files.length > 0);
  return [...joined.map(([name, files]) => ({ name, files })), ...alone];
}

async function compilePiece(context, torch, compiler, { name, files }) {
  const { root } = context;
  const sources = files.map((file) => join(root, 'native', file));
  const headers = filesUnder(join(root, 'native'), (header) => /\.(h|hpp)$/.test(header));
  const options = flags(root, torch);
  const stamp = hashOf(root, [...sources, ...headers], [options.join(' '), identity(torch), compiler.name]);
  const object = objectOf(root, name);
  if (existsSync(object) && readOr(`${object}.stamp`) === stamp) return;
  const source = files.length === 1 ? sources[0] : `${object.slice(0, -2)}.cpp`;
  if (files.length > 1) writeAside(source, files.map((file) => `#include "../../native/${file}"\n`).join(''));
  await produce(context, compiler, object, [...options, '-c', source], `native/${files.join(', native/')}`);
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

/* In a clone its own node_modules holds them, beside an installed package one further up. */
function nodeHeaders(root) {
  const below = (folder) => join(folder, 'node_modules', 'node-api-headers', 'include');
  let folder = root;
  while (!existsSync(below(folder)) && dirname(folder) !== folder) folder = dirname(folder);
  return below(existsSync(below(folder)) ? folder : root);
}

function flags(root, torch) {
  const system = [torch.include, join(torch.include, 'torch', 'csrc', 'api', 'include'), nodeHeaders(root)];
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
