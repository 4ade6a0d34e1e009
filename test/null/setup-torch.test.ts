/** Which libtorch set-up chooses, from real folders, a real Python where there is one, and an index on the loopback. */
import { spawnSync } from 'node:child_process';
import { existsSync, readdirSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, test } from 'vitest';
import {
  libtorchFiles,
  makeZip,
  pathWith,
  quietReport,
  sendFile,
  serve,
  setupModule,
  sha256,
  temporaryFolder,
  writeFiles,
} from './setup-fixtures.ts';

interface Found {
  folder: string;
  version: string;
  lib: string;
  include: string;
  cxx11Abi: boolean;
  cuda: boolean;
  source: string;
  reason: string;
}

const { findLibtorch, leavesGpu } = await setupModule<{
  findLibtorch(context: object): Promise<Found>;
  leavesGpu(torch: Pick<Found, 'cuda'>, context: object): boolean;
}>('torch');
const { describeLibtorch } = await setupModule<{ describeLibtorch(folder: string): Found | null }>(
  'libtorch',
);
const linux = process.platform === 'linux';
const hasPip = spawnSync('python3', ['-m', 'pip', '--version'], { cwd: '/' }).status === 0;
const hasPython = spawnSync('python3', ['--version'], { cwd: '/' }).status === 0;
const { RECKON_TORCH: _unused, ...ownEnv } = process.env as Record<string, string>;
const pythonTorch = (version: string) =>
  `__version__ = '${version}'\nclass _C:\n    _GLIBCXX_USE_CXX11_ABI = False\n`;

function contextIn(folder: string, env: Record<string, string> = {}, index = 'http://127.0.0.1:1'): object {
  const PATH = env['PATH'] ?? pathWith(join(folder, 'bin'), ['uname']);
  const cache = join(folder, 'cache');
  return {
    env: { RECKON_TORCH: '', ...env, PATH },
    platform: 'linux',
    arch: 'arm64',
    cache,
    index,
    report: quietReport(),
  };
}

function wheel(version = '2.13.0'): Buffer {
  const files = Object.entries(libtorchFiles(version)).map(([name, bytes]) => ({
    name: `torch/${name}`,
    bytes,
  }));
  const info = 'torch-2.13.0+cpu.dist-info';
  const metadata = 'Metadata-Version: 2.1\nName: torch\nVersion: 2.13.0+cpu\n';
  return makeZip([
    ...files,
    { name: 'torch/nn/module.py', bytes: Buffer.from('pass') },
    { name: `${info}/METADATA`, bytes: Buffer.from(metadata) },
    {
      name: `${info}/WHEEL`,
      bytes: Buffer.from('Wheel-Version: 1.0\nRoot-Is-Purelib: false\nTag: py3-none-any\n'),
    },
    { name: `${info}/RECORD`, bytes: Buffer.from('') },
  ]);
}

async function serveIndex(
  bytes: Buffer,
  { tag = 'cp311-cp311-manylinux_2_28_aarch64', hash = sha256(bytes) } = {},
) {
  const file = `torch-2.13.0%2Bcpu-${tag}.whl`;
  return await serve((request, response) => {
    if (request.url === '/cpu/torch/') response.end(`<a href="/cpu/${file}#sha256=${hash}">torch</a>`);
    else if (request.url === `/cpu/${file}`) sendFile(request, response, bytes);
    else response.writeHead(404).end();
  });
}

describe.skipIf(!linux)('the choice of libtorch', () => {
  test.each([1, 0])('a folder tells its version and its C++ ABI (%i)', (abi) => {
    const folder = temporaryFolder();
    writeFiles(join(folder, 'torch'), libtorchFiles('2.9.1', { abi }));
    expect(describeLibtorch(folder)).toMatchObject({ version: '2.9.1', cxx11Abi: abi === 1, cuda: false });
  });

  test('a folder named by RECKON_TORCH comes before a cached copy', async () => {
    const folder = temporaryFolder();
    writeFiles(join(folder, 'mine'), {
      ...libtorchFiles('2.11.0'),
      'version.py': "__version__ = '2.11.0+cu130'\n",
    });
    writeFiles(join(folder, 'cache/torch-2.13.0-cpu-linux-arm64/torch'), libtorchFiles('2.13.0'));
    const named = await findLibtorch(contextIn(folder, { RECKON_TORCH: join(folder, 'mine') }));
    expect(named).toMatchObject({
      version: '2.11.0+cu130',
      source: 'RECKON_TORCH',
      lib: join(folder, 'mine/lib'),
    });
    const unset = await findLibtorch(contextIn(folder, { PATH: '/nowhere' }));
    expect(unset).toMatchObject({ version: '2.13.0', source: 'cache', reason: 'a cached copy is there' });
  });

  test('libtorch_cuda is noticed', async () => {
    const folder = temporaryFolder();
    const files = libtorchFiles('2.11.0');
    writeFiles(folder, { ...files, 'lib/libtorch_cuda.so': files['lib/libtorch.so'] as Buffer });
    expect(await findLibtorch(contextIn(folder, { RECKON_TORCH: folder }))).toMatchObject({ cuda: true });
  });

  test('a GPU that nobody chose to leave unused is noticed', () => {
    const driver = ['/nowhere', temporaryFolder()];
    const on = (cuda: boolean, asked = '', there = driver) =>
      leavesGpu({ cuda }, { env: { RECKON_TORCH: asked }, driver: there });
    expect([on(false), on(true), on(false, 'cpu'), on(false, '', ['/nowhere'])]).toEqual([
      true,
      false,
      false,
      false,
    ]);
  });

  test('a wrong RECKON_TORCH is one sentence that says which and why', async () => {
    const folder = temporaryFolder();
    writeFiles(join(folder, 'old'), libtorchFiles('2.5.1'));
    writeFiles(join(folder, 'bare'), { 'readme.txt': 'no libtorch' });
    const find = (asked: string) =>
      findLibtorch(contextIn(folder, { RECKON_TORCH: asked, PATH: '/nowhere' }));
    await expect(find(join(folder, 'old'))).rejects.toThrow(/holds libtorch 2\.5\.1, but reckon needs 2\.9/);
    await expect(find(join(folder, 'bare'))).rejects.toThrow(/holds no libtorch/);
    await expect(find('gpu please')).rejects.toThrow(/neither a folder nor a variant/);
    await expect(find('2.4.0+cpu')).rejects.toThrow(/reckon needs 2\.9/);
    const mac = { ...contextIn(folder, { RECKON_TORCH: 'cu130', PATH: '/nowhere' }), platform: 'darwin' };
    await expect(findLibtorch(mac)).rejects.toThrow(/which macOS does not have/);
    await expect(find('cu130')).rejects.toThrow(/NVIDIA's libraries/);
  });

  test.skipIf(!hasPython)('the torch of a Python on the PATH is used, its C++ ABI read from it', async () => {
    const folder = temporaryFolder();
    writeFiles(join(folder, 'torch'), { ...libtorchFiles('2.10.0'), '__init__.py': pythonTorch('2.10.0') });
    const found = await findLibtorch(contextIn(folder, { ...ownEnv, PYTHONPATH: folder }));
    expect(found).toMatchObject({ source: 'python', folder: join(folder, 'torch'), cxx11Abi: false });
    expect(found.reason).toBe("Python's torch 2.10.0 is on the PATH");
  });

  test.skipIf(!hasPython)(
    'a Python torch that is too old is passed over, and the reason says so',
    async () => {
      const folder = temporaryFolder();
      writeFiles(join(folder, 'torch'), { ...libtorchFiles('2.8.0'), '__init__.py': pythonTorch('2.8.0') });
      const { url } = await serveIndex(wheel());
      const offline = { PIP_CONFIG_FILE: '/dev/null', PIP_NO_INDEX: '1', PIP_FIND_LINKS: '' };
      const found = await findLibtorch(contextIn(folder, { ...ownEnv, ...offline, PYTHONPATH: folder }, url));
      expect(found).toMatchObject({ source: 'download', version: '2.13.0' });
      expect(found.reason).toMatch(/torch 2\.8\.0 is not 2\.9 or a newer 2\.x/);
    },
  );

  test('without pip the wheel comes over HTTP with the checksum of the index page, and is unpacked', async () => {
    const folder = temporaryFolder();
    const bytes = wheel();
    const { url } = await serveIndex(bytes);
    const found = await findLibtorch(contextIn(folder, {}, url));
    expect(found).toMatchObject({ version: '2.13.0', source: 'download', cxx11Abi: true });
    expect(found.reason).toMatch(/no RECKON_TORCH, no cached copy and no Python/);
    const home = join(folder, 'cache/torch-2.13.0-cpu-linux-arm64');
    expect(existsSync(join(home, 'torch/include/torch/headeronly/version.h'))).toBe(true);
    expect(existsSync(join(home, 'torch/nn'))).toBe(false);
    expect(readdirSync(join(folder, 'cache/downloads'))).toEqual([]);
    expect(readdirSync(join(folder, 'cache')).sort()).toEqual(['downloads', 'torch-2.13.0-cpu-linux-arm64']);
    expect(await findLibtorch(contextIn(folder, { PATH: '/nowhere' }))).toMatchObject({ source: 'cache' });
  });

  test('two set-ups at once fetch it once', async () => {
    const folder = temporaryFolder();
    const { url, paths } = await serveIndex(wheel());
    const context = contextIn(folder, {}, url);
    const both = await Promise.all([findLibtorch(context), findLibtorch(context)]);
    expect(both.map(({ source }) => source).sort()).toEqual(['cache', 'download']);
    expect(paths.filter((path) => path.endsWith('.whl')).length).toBe(1);
  });

  test.each([
    ['a wrong checksum', wheel(), { hash: '0'.repeat(64) }, /wrong checksum/],
    ['half a wheel', wheel().subarray(0, 2000), {}, /damaged/],
    [
      'a wheel without libtorch',
      makeZip([{ name: 'a.py', bytes: Buffer.from('1') }]),
      {},
      /no headers and libraries/,
    ],
    ['another platform only', wheel(), { tag: 'cp311-cp311-win_amd64' }, /offers no torch 2\.13\.0\+cpu/],
  ])('%s fails and leaves nothing in the cache', async (_name, bytes, options, message) => {
    const folder = temporaryFolder();
    const { url } = await serveIndex(bytes, options);
    await expect(findLibtorch(contextIn(folder, {}, url))).rejects.toThrow(message);
    const left = readdirSync(join(folder, 'cache'), { recursive: true, withFileTypes: true });
    expect(left.filter((entry) => entry.isFile())).toEqual([]);
  });

  test.skipIf(!hasPip)("pip is asked with the machine's own settings, then with the index", async () => {
    const folder = temporaryFolder();
    const { url, paths } = await serve((request, response) => {
      const file = 'torch-2.13.0%2Bcpu-py3-none-any.whl';
      if (request.url === '/cpu/torch/')
        response.setHeader('content-type', 'text/html').end(`<a href="../${file}">t</a>`);
      else if (request.url === `/cpu/${file}`) sendFile(request, response, wheel());
      else response.writeHead(404).end();
    });
    const own = {
      PIP_CONFIG_FILE: '/dev/null',
      PIP_INDEX_URL: `${url}/own`,
      PIP_FIND_LINKS: '',
      PIP_NO_CACHE_DIR: '1',
    };
    const context = contextIn(folder, { ...ownEnv, ...own, RECKON_TORCH: 'cpu' }, url);
    const found = await findLibtorch(context);
    expect(found).toMatchObject({ version: '2.13.0', source: 'pip' });
    expect(found.reason).toMatch(/PyTorch's index, as RECKON_TORCH=cpu asks/);
    expect(paths[0]).toBe('/own/torch/');
  });
});
