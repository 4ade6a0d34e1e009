/** Which libtorch is used, and why: RECKON_TORCH, the cache, Python's, a download; it neither fetches nor compiles. */
import { existsSync } from 'node:fs';
import { basename, join, resolve } from 'node:path';
import { SetupFailure } from './failure.mjs';
import { fetchLibtorch } from './fetch-torch.mjs';
import { describeLibtorch, isAccepted, OLDEST_TORCH, TORCH_VERSION } from './libtorch.mjs';
import { withLock } from './lock.mjs';
import { run } from './process.mjs';

/* What a Linux machine has where NVIDIA's driver runs; the last one is WSL2's. */
const NVIDIA_DRIVER = ['/proc/driver/nvidia/version', '/dev/nvidiactl', '/usr/lib/wsl/lib/nvidia-smi'];
const VARIANT = /^(?:(\d+\.\d+\.\d+)\+)?(cpu|cu\d+)$/;

/** Finds libtorch or gets one: what describeLibtorch says, with `source` and the `reason` for the choice. */
export async function findLibtorch(context) {
  const { env, platform, arch, cache } = context;
  const asked = env.RECKON_TORCH ?? '';
  const wanted = VARIANT.exec(asked);
  if (asked !== '' && !wanted) return namedFolder(asked, platform);

  const version = wanted?.[1] ?? TORCH_VERSION;
  const variant = wanted?.[2] ?? 'cpu';
  if (platform === 'darwin' && variant !== 'cpu') {
    throw new SetupFailure(
      `RECKON_TORCH=${asked} asks for CUDA, which macOS does not have: use cpu, or unset it.`,
    );
  }
  if (!isAccepted(version)) throw tooOld(`RECKON_TORCH=${asked} asks for torch ${version}`);
  const home = join(cache, `torch-${version}-${variant}-${platform}-${arch}`);
  const because = asked === '' ? '' : `, as RECKON_TORCH=${asked} asks`;
  const cached = () => {
    const found = describeLibtorch(home, platform);
    return found && { ...found, source: 'cache', reason: `a cached copy is there${because}` };
  };
  const kept = cached();
  if (kept) return kept;

  const python = await findPythonTorch(context);
  const suits = python.found && (!wanted || python.label === `${version}+${variant}`);
  if (suits)
    return {
      ...python.found,
      source: 'python',
      reason: `Python's torch ${python.label} is on the PATH${because}`,
    };

  return await withLock(
    `${home}.lock`,
    async () => {
      const meanwhile = cached();
      if (meanwhile) return meanwhile;
      const how = await fetchLibtorch(context, { version, variant, home });
      const found = describeLibtorch(home, platform);
      const why = because || `, since there is no RECKON_TORCH, no cached copy and ${python.why}`;
      return { ...found, source: how.source, reason: `${how.reason}${why}` };
    },
    context.report,
  );
}

/** Whether this libtorch leaves a GPU unused that nobody decided to leave: where RECKON_TORCH is set, somebody has. */
export function leavesGpu(torch, { env, driver = NVIDIA_DRIVER }) {
  return !torch.cuda && !env.RECKON_TORCH && driver.some((path) => existsSync(path));
}

function tooOld(what) {
  return new SetupFailure(
    `${what}, but reckon needs ${OLDEST_TORCH} or a newer 2.x: point RECKON_TORCH at one, or unset it.`,
  );
}

function namedFolder(asked, platform) {
  const folder = resolve(asked);
  const reason = `RECKON_TORCH=${asked} names it`;
  if (!existsSync(folder)) {
    throw new SetupFailure(
      `RECKON_TORCH=${asked} is neither a folder nor a variant: name a libtorch folder, cpu, or a CUDA build such as cu130.`,
    );
  }
  const found = describeLibtorch(folder, platform);
  if (!found) {
    throw new SetupFailure(
      `RECKON_TORCH=${asked} holds no libtorch (include/ and lib/ with libtorch_cpu are looked for): name the folder that does, or unset it.`,
    );
  }
  if (!isAccepted(found.version)) throw tooOld(`RECKON_TORCH=${asked} holds libtorch ${found.version}`);
  return { ...found, source: 'RECKON_TORCH', reason };
}

const PROBE = `
import importlib.util, json, os, sys
found = importlib.util.find_spec('torch')
if found is None or not found.origin:
    print('null'); sys.exit()
import torch
print(json.dumps({'version': torch.__version__, 'abi': bool(torch._C._GLIBCXX_USE_CXX11_ABI), 'folder': os.path.dirname(torch.__file__)}))
`;

/* { found, label } where a Python on the PATH has a torch that we can use, else { why } for the reader. */
async function findPythonTorch({ env, platform }) {
  let why = 'no Python with torch on the PATH';
  for (const python of ['python3', 'python']) {
    const { code, stdout } = await run(python, ['-c', PROBE], { env, cwd: '/' });
    if (code !== 0) continue;
    const told = parseLastLine(stdout);
    if (!told) continue;
    const found = describeLibtorch(told.folder, platform);
    if (found && isAccepted(told.version)) {
      return { found: { ...found, cxx11Abi: platform === 'darwin' || told.abi }, label: told.version };
    }
    why = `${basename(python)}'s torch ${told.version} ${found ? `is not ${OLDEST_TORCH} or a newer 2.x` : 'came without headers'}`;
  }
  return { found: null, label: '', why };
}

function parseLastLine(text) {
  try {
    return JSON.parse(text.trim().split('\n').at(-1));
  } catch {
    return null;
  }
}
