/** The set-up script as a program, in a small clone of its own with a real compiler, tsc and npm. */
import { type ChildProcess, spawn, spawnSync } from 'node:child_process';
import {
  chmodSync,
  cpSync,
  existsSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import { createRequire } from 'node:module';
import { hostname } from 'node:os';
import { join, relative } from 'node:path';
import { describe, expect, test } from 'vitest';
import {
  libtorchFiles,
  quietReport,
  ROOT,
  setupModule,
  temporaryFolder,
  writeFiles,
} from './setup-fixtures.ts';
import { busyness, leastMs } from './timing.ts';

const SUPPORTED = process.platform === 'linux';
const HELLO =
  '#include "hello.h"\n#include <node_api.h>\n#include <torch/headeronly/version.h>\nNAPI_MODULE_INIT() {\n  napi_value n;\n  napi_create_int32(env, HELLO + TORCH_VERSION_MINOR, &n);\n  return n;\n}\n';

interface Result {
  code: number | null;
  stdout: string;
  stderr: string;
}

function makeClone(): string {
  const root = temporaryFolder();
  cpSync(join(ROOT, 'scripts'), join(root, 'scripts'), { recursive: true });
  for (const name of ['tsconfig.json', 'tsconfig.build.json']) cpSync(join(ROOT, name), join(root, name));
  mkdirSync(join(root, 'node_modules', '@types'), { recursive: true });
  for (const name of [
    '.bin',
    'typescript',
    '@typescript',
    'node-api-headers',
    '@types/node',
    'undici-types',
  ]) {
    const target = join(ROOT, 'node_modules', name);
    if (existsSync(target)) symlinkSync(target, join(root, 'node_modules', name));
  }
  writeFiles(join(root, 'libtorch'), libtorchFiles('2.13.0'));
  writeFiles(root, {
    'package.json': '{ "name": "clone", "version": "1.0.0", "type": "module" }',
    'package-lock.json':
      '{ "name": "clone", "version": "1.0.0", "lockfileVersion": 3, "packages": { "": {} } }',
    'node_modules/.package-lock.json': '{ "packages": {} }',
    'native/hello.cpp': HELLO,
    'native/hello.h': '#pragma once\nconstexpr int HELLO = 100;\n',
    'src/cli/main.ts': '#!/usr/bin/env node\nexport const greeting: string = "hello";\n',
    'src/gone.ts': 'export const gone: number = 1;\n',
  });
  return root;
}

function start(
  root: string,
  args: string[] = [],
  env: Record<string, string> = {},
  node: string[] = [],
): ChildProcess {
  const own = { RECKON_TORCH: join(root, 'libtorch'), RECKON_CACHE: join(root, 'cache'), CXX: '' };
  const all = [...node, join(root, 'scripts', 'setup.mjs'), ...args];
  return spawn(process.execPath, all, { env: { ...process.env, ...own, ...env } });
}

async function ended(child: ChildProcess): Promise<Result> {
  let stdout = '';
  let stderr = '';
  child.stdout?.on('data', (text) => {
    stdout += text;
  });
  child.stderr?.on('data', (text) => {
    stderr += text;
  });
  const code = await new Promise<number | null>((done) => child.on('close', done));
  return { code, stdout, stderr };
}

const filesOf = (folder: string): string[] =>
  readdirSync(join(ROOT, folder), { recursive: true, withFileTypes: true })
    .filter((entry) => entry.isFile())
    .map((entry) => join(entry.parentPath, entry.name));
const setUp = async (...args: Parameters<typeof start>): Promise<Result> => await ended(start(...args));
const load = (root: string): unknown => {
  const copy = join(root, `copy-${Math.floor(performance.now() * 1000)}.node`);
  cpSync(join(root, 'build', 'reckon.node'), copy);
  return createRequire(import.meta.url)(copy);
};
const modified = (path: string): number => statSync(path).mtimeMs;

function expectOneSentence({ code, stdout, stderr }: Result, pattern: RegExp): void {
  const last = stderr.trimEnd().split('\n').at(-1) ?? '';
  expect(last).toMatch(pattern);
  expect(last).toMatch(/^set-up: .*\.$/);
  expect(stderr).not.toMatch(/^\s+at /m);
  expect(stdout).toBe('');
  expect(code).toBe(1);
}

describe.skipIf(!SUPPORTED)('scripts/setup.mjs', () => {
  test('sets a clone up, then has nothing to do, then only what changed', async () => {
    const root = makeClone();
    const first = await setUp(root);
    expect(first.stderr).toMatch(/libtorch 2\.13\.0 in .*: RECKON_TORCH=.* names it/);
    expect(first.code).toBe(0);
    expect(load(root)).toBe(113);
    expect(statSync(join(root, 'dist/cli/main.js')).mode & 0o111).toBe(0o111);
    const choice = JSON.parse(readFileSync(join(root, 'build/torch.json'), 'utf8'));
    expect(choice).toMatchObject({ version: '2.13.0', source: 'RECKON_TORCH', cxx11Abi: true, cuda: false });
    expect(choice.lib).toBe(join(root, 'libtorch/lib'));

    const built = modified(join(root, 'build/reckon.node'));
    const took = await leastMs(2000, async () => {
      expect(await setUp(root)).toEqual({ code: 0, stdout: '', stderr: '' });
    });
    expect(took).toBeLessThan(took < 2000 ? 2000 : 2000 * busyness());

    // What was chosen once stays without RECKON_TORCH: a later command must not go back to another libtorch.
    expect(await setUp(root, [], { RECKON_TORCH: '' })).toEqual({ code: 0, stdout: '', stderr: '' });

    writeFileSync(join(root, 'src/cli/main.ts'), 'export const greeting: string = "again";\n');
    writeFileSync(join(root, 'src/gone.ts'), '');
    rmSync(join(root, 'src/gone.ts'));
    expect((await setUp(root)).stderr).toBe('set-up: compiling TypeScript\n');
    expect(readFileSync(join(root, 'dist/cli/main.js'), 'utf8')).toContain('again');
    expect(existsSync(join(root, 'dist/gone.js'))).toBe(false);
    expect(modified(join(root, 'build/reckon.node'))).toBe(built);

    writeFileSync(join(root, 'native/hello.h'), 'constexpr int HELLO = 200;\n');
    expect((await setUp(root)).code).toBe(0);
    expect(load(root)).toBe(213);
    cpSync(join(root, 'libtorch'), join(root, 'other'), { recursive: true });
    const other = await setUp(root, [], { RECKON_TORCH: join(root, 'other') });
    expect(other.stderr).toMatch(/libtorch 2\.13\.0 in \S*\/other: RECKON_TORCH=\S*\/other names it/);
    expect(readdirSync(root).filter((name) => name.startsWith('dist'))).toEqual(['dist']);
    expect(readdirSync(join(root, 'build')).sort()).toEqual([
      'addon.stamp',
      'obj',
      'reckon.node',
      'torch.json',
    ]);
  });

  test('an installed package has neither a lock nor src/, and what it depends on lies beside it', async () => {
    const clone = makeClone();
    const root = join(temporaryFolder(), 'node_modules', 'reckon');
    for (const name of ['scripts', 'native', 'libtorch', 'package.json'])
      cpSync(join(clone, name), join(root, name), { recursive: true });
    writeFiles(root, { 'dist/cli/main.js': 'published' });
    symlinkSync(join(ROOT, 'node_modules', 'node-api-headers'), join(root, '..', 'node-api-headers'));
    expect(await setUp(root)).toMatchObject({ code: 0, stdout: '' });
    expect(load(root)).toBe(113);
    expect(await setUp(root)).toEqual({ code: 0, stdout: '', stderr: '' });
    expect(readFileSync(join(root, 'dist/cli/main.js'), 'utf8')).toBe('published');
    expect(existsSync(join(root, 'node_modules'))).toBe(false);
  });

  test('what does not compile is one sentence, and what was built before stays', async () => {
    const root = makeClone();
    await setUp(root, ['--quiet']);
    writeFileSync(join(root, 'native/hello.cpp'), `${HELLO}int broken = "text";\n`);
    expectOneSentence(await setUp(root), /native\/hello\.cpp does not compile \(.*error.*\): correct it/);
    expect(load(root)).toBe(113);
    expect(readFileSync(join(root, 'build/compile.log'), 'utf8')).toContain('error');
    writeFileSync(join(root, 'native/hello.cpp'), HELLO);
    writeFileSync(join(root, 'src/cli/main.ts'), 'export const greeting: number = "text";\n');
    expectOneSentence(
      await setUp(root),
      /src\/ does not compile \(src\/cli\/main\.ts.*TS2322.*\): correct it/,
    );
    expect(readFileSync(join(root, 'dist/cli/main.js'), 'utf8')).toContain('hello');
    expect(existsSync(join(root, 'dist.new'))).toBe(false);
    expect(existsSync(join(root, 'build/setup.lock'))).toBe(false);
  });

  test('an addon that cannot be loaded is said, and not kept', async () => {
    const root = makeClone();
    writeFileSync(join(root, 'native/hello.cpp'), `int nowhere();\n${HELLO}int called = nowhere();\n`);
    expectOneSentence(await setUp(root), /The compiled addon cannot be loaded \(.*nowhere.*\)/);
    expect(existsSync(join(root, 'build/reckon.node'))).toBe(false);
  });

  test('two at once both succeed and build once', async () => {
    const root = makeClone();
    const both = await Promise.all([setUp(root), setUp(root)]);
    expect(both.map(({ code }) => code)).toEqual([0, 0]);
    expect(both.filter(({ stderr }) => stderr.includes('of native/')).length).toBe(1);
  });

  test('the lock of a dead process is taken over; a live one is waited for, and an interrupt leaves it alone', async () => {
    const root = makeClone();
    const lock = join(root, 'build', 'setup.lock');
    const dead = spawn('true');
    await ended(dead);
    writeFiles(root, { 'build/setup.lock': JSON.stringify({ pid: dead.pid, host: hostname() }) });
    expect((await setUp(root)).code).toBe(0);
    expect(existsSync(lock)).toBe(false);

    writeFileSync(join(root, 'src/gone.ts'), '');
    const held = JSON.stringify({ pid: process.pid, host: hostname() });
    writeFileSync(lock, held);
    const waiting = start(root);
    waiting.stderr?.once('data', () => waiting.kill('SIGINT'));
    const { code, stderr } = await ended(waiting);
    expect(stderr).toMatch(/waiting for another set-up.*\n.*interrupted; run the same command again/);
    expect(code).toBe(130);
    expect(readFileSync(lock, 'utf8')).toBe(held);
  });

  test('no compiler, a wrong RECKON_TORCH, an old Node: one sentence each', async () => {
    const root = makeClone();
    expectOneSentence(
      await setUp(root, [], { CXX: '/nowhere/c++' }),
      /CXX=\/nowhere\/c\+\+ is no working C\+\+20 compiler/,
    );
    const bin = join(root, 'bin');
    mkdirSync(bin);
    expectOneSentence(
      await setUp(root, [], { PATH: bin }),
      /There is no working C\+\+20 compiler: install one/,
    );
    expectOneSentence(await setUp(root, [], { RECKON_TORCH: '/nowhere' }), /neither a folder nor a variant/);
    const old = join(root, 'old.cjs');
    writeFileSync(old, `Object.defineProperty(process, 'versions', { value: { node: '18.20.0' } });`);
    expectOneSentence(
      await setUp(root, [], {}, ['--require', old]),
      /Node 20\.19 or newer is needed and this is 18\.20\.0/,
    );
    expect(existsSync(join(root, 'build/torch.json'))).toBe(false);
  });

  test.skipIf(process.getuid?.() === 0)('a folder that cannot be written is one sentence', async () => {
    const root = makeClone();
    chmodSync(root, 0o555);
    expectOneSentence(await setUp(root), /cannot be written \(EACCES\)/);
    chmodSync(root, 0o755);
  });

  test('--help, --quiet and wrong options', async () => {
    const root = makeClone();
    expect((await setUp(root, ['--help'])).stdout).toMatch(/^usage: node scripts\/setup\.mjs/);
    expect(await setUp(root, ['--wrong'])).toMatchObject({ code: 2, stdout: '' });
    expect(existsSync(join(root, 'build'))).toBe(false);
    expect(await setUp(root, ['--quiet'])).toMatchObject({ code: 0, stdout: '', stderr: '' });
  });
});

describe('the parts', () => {
  test('what npm publishes is all that a set-up and a run need', () => {
    const { stdout } = spawnSync('npm', ['pack', '--dry-run', '--json'], { cwd: ROOT, encoding: 'utf8' });
    const [packed] = JSON.parse(stdout) as { files: { path: string }[] }[];
    const paths = new Set(packed?.files.map(({ path }) => path));
    const needed = ['scripts', 'native', 'templates'].flatMap(filesOf).map((path) => relative(ROOT, path));
    expect(needed.filter((path) => !paths.has(path))).toEqual([]);
    expect(paths).toContain('dist/cli/main.js');
    expect([...paths].filter((path) => /^(src|test|build)\//.test(path))).toEqual([]);
    const { dependencies } = JSON.parse(readFileSync(join(ROOT, 'package.json'), 'utf8')) as {
      dependencies: Record<string, string>;
    };
    const imported = filesOf('src').flatMap((path) =>
      [...readFileSync(path, 'utf8').matchAll(/(?:from|import\() ?'((?:@[\w-]+\/)?[\w-]+)/g)].map(
        ([, name]) => name!,
      ),
    );
    const known = [...Object.keys(dependencies), 'node', 'reckon'];
    expect([...new Set(imported)].filter((name) => !known.includes(name))).toEqual([]);
    expect(known).toContain('node-api-headers');
  });

  test('unsupported platforms are told what to do', async () => {
    const main = await setupModule<{ setUp(context: object): Promise<void> }>('main');
    const on = (platform: string, arch: string) => main.setUp({ platform, arch, root: '/nowhere', env: {} });
    await expect(on('win32', 'x64')).rejects.toThrow(/Native Windows is not supported: install WSL2/);
    await expect(on('darwin', 'x64')).rejects.toThrow(/darwin x64 is not supported/);
    await expect(on('linux', 'riscv64')).rejects.toThrow(/is not supported: use Linux on x64 or arm64/);
  });

  test('npm ci runs when the lock changed, and only then', async () => {
    const packages = await setupModule<{
      arePackagesFresh(context: object): boolean;
      installPackages(context: object): Promise<void>;
    }>('packages');
    const root = temporaryFolder();
    const context = { root, env: process.env, report: quietReport() };
    const lock = {
      name: 'a',
      version: '1.0.0',
      lockfileVersion: 3,
      packages: { '': { name: 'a', version: '1.0.0' } },
    };
    writeFiles(root, {
      'package.json': '{ "name": "a", "version": "1.0.0" }',
      'package-lock.json': JSON.stringify(lock),
    });
    expect(packages.arePackagesFresh(context)).toBe(false);
    await packages.installPackages(context);
    expect(packages.arePackagesFresh(context)).toBe(true);
    const more = { ...lock, packages: { ...lock.packages, left: { version: '1.0.0' } } };
    writeFileSync(join(root, 'package-lock.json'), JSON.stringify(more));
    expect(packages.arePackagesFresh(context)).toBe(false);
    writeFileSync(
      join(root, 'package.json'),
      '{ "name": "a", "dependencies": { "other": "file:./nowhere" } }',
    );
    await expect(packages.installPackages(context)).rejects.toThrow(
      /^npm ci failed \(.*\): run npm install once/,
    );
    expect(packages.arePackagesFresh(context)).toBe(false);
  });

  test('system errors become sentences without a stack', async () => {
    const { sentence } = await setupModule<{ sentence(error: Error): string }>('failure');
    const error = (code: string) => Object.assign(new Error(code), { code, path: '/some/folder' });
    expect(sentence(error('ENOSPC'))).toMatch(/The disk that holds \/some\/folder is full: free some space/);
    expect(sentence(error('EROFS'))).toMatch(/\/some\/folder cannot be written \(EROFS\): make it writable/);
    expect(sentence(new TypeError('x is not a function\n  at y'))).toMatch(
      /^Set-up stopped .*\(x is not a function\).*\.$/,
    );
  });
});
