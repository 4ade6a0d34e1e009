/** What a folder with libtorch holds: version, C++ ABI, CUDA; it does not know how the folder came about. */
import { existsSync, readFileSync, statSync } from 'node:fs';
import { join } from 'node:path';
import { readOr } from './files.mjs';

/** The libtorch that set-up fetches where there is none, and the oldest that it accepts. */
export const TORCH_VERSION = '2.13.0';
export const OLDEST_TORCH = '2.9';

const VERSION_HEADERS = [
  'include/torch/headeronly/version.h',
  'include/torch/csrc/api/include/torch/version.h',
];

/** Whether set-up accepts this version: 2.9, the first with the allocators' common interface, and newer 2.x. */
export function isAccepted(version) {
  const [major, minor] = version.split('.').map((part) => Number.parseInt(part, 10));
  return major === 2 && minor >= 9;
}

/**
 * Describes the libtorch in `folder`, or in its subfolder torch/ or libtorch/: { folder, version, lib, include,
 * cxx11Abi, cuda, size }, or null where headers or libraries are missing.
 */
export function describeLibtorch(folder, platform = process.platform) {
  const suffix = platform === 'darwin' ? 'dylib' : 'so';
  for (const root of [folder, join(folder, 'torch'), join(folder, 'libtorch')]) {
    const lib = join(root, 'lib');
    const main = join(lib, `libtorch_cpu.${suffix}`);
    const version = versionIn(root);
    const size = statSync(main, { throwIfNoEntry: false })?.size ?? 0;
    if (version === null || size === 0 || !existsSync(join(lib, `libc10.${suffix}`))) continue;
    const cuda = existsSync(join(lib, `libtorch_cuda.${suffix}`));
    const cxx11Abi = platform === 'darwin' || usesCxx11Abi(join(lib, `libc10.${suffix}`));
    return { folder: root, version, lib, include: join(root, 'include'), cxx11Abi, cuda, size };
  }
  return null;
}

/* Builds say their whole version (2.13.0+cpu) in one of two files; the headers hold the numbers alone. */
function versionIn(root) {
  const header = VERSION_HEADERS.map((name) => readOr(join(root, name))).find((text) =>
    text.includes(' TORCH_VERSION_MAJOR '),
  );
  if (!header) return null;
  const part = (name) => new RegExp(`^#define TORCH_VERSION_${name} (\\d+)`, 'm').exec(header)?.[1] ?? '0';
  const numbers = `${part('MAJOR')}.${part('MINOR')}.${part('PATCH')}`;
  const told =
    readOr(join(root, 'build-version')).trim() ||
    /^__version__ = '([^']+)'/m.exec(readOr(join(root, 'version.py')))?.[1];
  return told?.startsWith(numbers) ? told : numbers;
}

/* c10 passes std::string in its own interface, so its symbols carry the mark of the new ABI exactly when it was used. */
function usesCxx11Abi(library) {
  const symbols = readFileSync(library, 'latin1');
  return /_ZN3c10\w*NSt7__cxx1112basic_string/.test(symbols);
}
