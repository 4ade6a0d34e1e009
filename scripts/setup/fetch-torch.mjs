/** Gets the wheel that holds libtorch (by pip, else over HTTPS) and unpacks it into the cache; it does not choose the variant. */
import { mkdirSync, readdirSync, renameSync, rmSync, statfsSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { download, downloadText } from './download.mjs';
import { diskFull, SetupFailure } from './failure.mjs';
import { withTemporaryFolder } from './files.mjs';
import { describeLibtorch } from './libtorch.mjs';
import { run } from './process.mjs';
import { unzip } from './unzip.mjs';

/** SHA-256 of the one wheel that most machines need; for all others the index page's own link carries it (#sha256=...). */
const PINNED = {
  'torch-2.13.0+cpu-cp311-cp311-manylinux_2_28_x86_64.whl':
    '6746dbcbeb526eb61330b76b41ff1b4eb848951103a892eeb080dfa2b264667b',
};
const ROOM_GB = { cpu: 0.9, cuda: 12 };
const PIP_OPTIONS = [
  '--retries',
  '1',
  '--timeout',
  '15',
  '--disable-pip-version-check',
  '--only-binary=:all:',
];

/** Puts torch/lib and torch/include under `home`, whole or not at all; returns { source, reason } of the way it went. */
export async function fetchLibtorch(context, { version, variant, home }) {
  const { platform, report, cache } = context;
  refuseOldLibc(context);
  const folder = dirname(home);
  mkdirSync(folder, { recursive: true });
  const room = statfsSync(folder);
  const needed = variant === 'cpu' ? ROOM_GB.cpu : ROOM_GB.cuda;
  if (room.bavail * room.bsize < needed * 1e9) throw diskFull(folder, `${needed} GB`);
  const label = platform === 'darwin' ? version : `${version}+${variant}`;
  return await withTemporaryFolder(folder, async (aside) => {
    const wheels = join(aside, 'wheels');
    mkdirSync(wheels);
    const how =
      (await byPip(context, { label, variant, wheels })) ??
      (await byHttps(context, { label, variant, wheels, cache }));
    report.line('unpacking libtorch');
    const whole = join(aside, 'whole');
    for (const name of readdirSync(wheels)) {
      if (name.endsWith('.whl')) await unzip(join(wheels, name), whole, { accept: isNeeded });
      rmSync(join(wheels, name), { recursive: true });
    }
    if (!describeLibtorch(whole, platform)) {
      throw new SetupFailure(
        `The wheel of torch ${label} holds no headers and libraries: point RECKON_TORCH at a libtorch folder.`,
      );
    }
    rmSync(home, { recursive: true, force: true });
    renameSync(whole, home);
    return how;
  });
}

/** Whether an entry of a wheel is needed to compile against libtorch and to load it. */
export function isNeeded(name) {
  if (name.startsWith('torch/include/') || name === 'torch/version.py') return true;
  if (name.startsWith('torch/lib/')) {
    return (
      /\.so(\.[\d.]+)?$|\.dylib$/.test(name) && !/libtorch_python|_test\.|backend_with_compiler/.test(name)
    );
  }
  return name.startsWith('nvidia/') && /\.so(\.[\d.]+)?$/.test(name);
}

function refuseOldLibc({ platform }) {
  if (platform !== 'linux' || process.platform !== 'linux') return;
  process.report.excludeNetwork = true;
  const glibc = process.report.getReport().header.glibcVersionRuntime;
  const [major = 0, minor = 0] = (glibc ?? '').split('.').map(Number);
  if (major > 2 || (major === 2 && minor >= 28)) return;
  throw new SetupFailure(
    `libtorch's builds need glibc 2.28 or newer and this system has ${glibc ?? 'another C library'}: use a newer Debian, Ubuntu or Fedora, or point RECKON_TORCH at a libtorch built for it.`,
  );
}

async function findPip(env) {
  for (const [program, ...first] of [['python3', '-m', 'pip'], ['python', '-m', 'pip'], ['pip3'], ['pip']]) {
    const { code } = await run(program, [...first, '--version'], { env, cwd: '/' });
    if (code === 0) return { program, first };
  }
  return null;
}

/* A CUDA build needs NVIDIA's libraries from its dependencies, a CPU build nothing but itself. */
async function byPip({ env, report, index }, { label, variant, wheels }) {
  const pip = await findPip(env);
  if (!pip) return null;
  const ways = [
    { more: [], reason: "pip got it with this machine's own settings" },
    { more: ['--index-url', `${index}/${variant}`], reason: "pip got it from PyTorch's index" },
  ];
  for (const { more, reason } of ways) {
    report.line(`getting libtorch ${label} by pip${more.length > 0 ? " from PyTorch's index" : ''}`);
    const dependencies = variant === 'cpu' ? ['--no-deps'] : [];
    const args = ['download', ...PIP_OPTIONS, ...dependencies, '--dest', wheels, ...more, `torch==${label}`];
    const { code, output } = await run(pip.program, [...pip.first, ...args], {
      env: { ...env, TMPDIR: wheels },
      cwd: '/',
      show: report.live,
    });
    if (code === 0) return { source: 'pip', reason };
    if (/No space left on device|Disk quota exceeded/.test(output)) throw diskFull(wheels);
    for (const name of readdirSync(wheels)) rmSync(join(wheels, name), { recursive: true, force: true });
  }
  return null;
}

async function byHttps(context, { label, variant, wheels, cache }) {
  const { report, index } = context;
  if (variant !== 'cpu') {
    throw new SetupFailure(
      `libtorch ${label} needs NVIDIA's libraries and pip could not get them: check pip and the network, or install that torch in Python, or set RECKON_TORCH to its folder.`,
    );
  }
  const { name, url, sha256 } = await findWheel(context, `${index}/${variant}`, label);
  report.line(`getting ${name} over HTTPS`);
  const kept = join(cache, 'downloads', name);
  await download(url, kept, { sha256, progress: (done, total) => report.bytes('libtorch', done, total) });
  report.clear();
  renameSync(kept, join(wheels, name));
  return { source: 'download', reason: "it was downloaded from PyTorch's index" };
}

/** The wheel of this version for this machine: its file name, address and SHA-256. */
export async function findWheel({ platform, arch }, base, label, pinned = PINNED) {
  const tail = platform === 'darwin' ? '_arm64.whl' : arch === 'arm64' ? '_aarch64.whl' : '_x86_64.whl';
  const known = Object.keys(pinned).find((name) => name.startsWith(`torch-${label}-`) && name.endsWith(tail));
  if (known) return { name: known, url: `${base}/${encodeURIComponent(known)}`, sha256: pinned[known] };
  const page = await downloadText(`${base}/torch/`);
  const wheels = [...page.text.matchAll(/href="([^"#]+)#sha256=([0-9a-f]{64})"/g)]
    .map(([, href, sha256]) => {
      const url = new URL(href.replaceAll('&amp;', '&'), page.url);
      return { name: decodeURIComponent(url.pathname.split('/').at(-1)), url: url.href, sha256 };
    })
    .filter(({ name }) => name.startsWith(`torch-${label}-`) && name.endsWith(tail));
  const chosen = wheels.find(({ name }) => name.includes('-cp311-')) ?? wheels[0];
  if (chosen) return chosen;
  throw new SetupFailure(
    `PyTorch's index offers no torch ${label} for ${platform} ${arch}: point RECKON_TORCH at a libtorch folder.`,
  );
}
