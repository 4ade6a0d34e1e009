import { execFileSync } from 'node:child_process';
import { existsSync, readFileSync } from 'node:fs';
import { basename, dirname, join, normalize } from 'node:path';
import { fileURLToPath } from 'node:url';
import { describe, expect, it } from 'vitest';

const ROOT = fileURLToPath(new URL('../..', import.meta.url));

/** The pipeline: a folder imports only from those before it. */
const ORDER = [
  'util',
  'hub',
  'torch',
  'nn',
  'models',
  'text',
  'generate',
  'data',
  'prompts',
  'rollouts',
  'rewards',
  'advantages',
  'losses',
  'optim',
  'checkpoints',
  'evaluate',
  'report',
  'track',
  'train',
  'recipe',
  'run',
  'serve',
  'cli',
];

/** Folders that must work without libtorch, in a browser too where they read no file. */
const TORCHLESS = ['util', 'hub', 'text', 'data', 'rewards', 'advantages', 'report', 'recipe'];

const RUNTIME_PACKAGES = [
  'zod',
  'yaml',
  'commander',
  '@huggingface/hub',
  '@huggingface/jinja',
  '@huggingface/tokenizers',
  'hyparquet',
  'hyparquet-compressors',
  'tsx/esm/api',
];

interface Import {
  readonly from: string;
  readonly line: number;
  /** Leaves no trace at run time. */
  readonly typeOnly: boolean;
  readonly lazy: boolean;
}

/** Every import, re-export and dynamic import of a file. Statements begin a line, as the formatter has it. */
function importsOf(source: string): Import[] {
  const lines = source.split('\n');
  const found: Import[] = [];
  for (let i = 0; i < lines.length; i++) {
    const dynamic = /\bimport\(\s*['"]([^'"]+)['"]/.exec(lines[i]!);
    if (dynamic !== null) found.push({ from: dynamic[1]!, line: i + 1, typeOnly: false, lazy: true });
    if (!/^(import|export)\b/.test(lines[i]!)) continue;
    const first = i;
    if (!/^import\s+['"]/.test(lines[i]!) && !/^(import|export)\s+(type\s+)?[{*\w]/.test(lines[i]!)) continue;
    if (/^export\s+(async|function|class|const|let|interface|abstract)\b/.test(lines[i]!)) continue;
    if (/^export\s+type\s+\w/.test(lines[i]!)) continue;
    while (i < lines.length - 1 && !lines[i]!.trimEnd().endsWith(';')) i++;
    const statement = lines.slice(first, i + 1).join(' ');
    const target = /(?:\bfrom|^import)\s+['"]([^'"]+)['"]/.exec(statement);
    if (target === null) continue;
    const typeOnly = /^(import|export)\s+type\b/.test(statement);
    found.push({ from: target[1]!, line: first + 1, typeOnly, lazy: false });
  }
  return found;
}

function repositoryFiles(): string[] {
  const listed = execFileSync('git', ['ls-files', '-co', '--exclude-standard'], {
    cwd: ROOT,
    encoding: 'utf8',
  });
  return listed.split('\n').filter((path) => path !== '' && existsSync(join(ROOT, path)));
}

const read = (path: string): string => readFileSync(join(ROOT, path), 'utf8');
const files = repositoryFiles();
const sources = files.filter((path) => path.startsWith('src/') && path.endsWith('.ts'));
const folderOf = (path: string): string => path.split('/')[1]!;

/** What is wrong with the imports of one file, a sentence each. */
function importErrors(path: string, source: string): string[] {
  if (path === 'src/index.ts') return [];
  const folder = folderOf(path);
  return importsOf(source).flatMap(({ from, line }) => {
    if (from.startsWith('node:')) return [];
    if (!from.startsWith('.'))
      return RUNTIME_PACKAGES.includes(from)
        ? []
        : [`${path}:${line} imports ${from}, which is not among the run-time packages`];
    const target = normalize(join(dirname(path), from));
    if (!target.startsWith('src/')) return [`${path}:${line} leaves src by ${from}`];
    if (!target.endsWith('.ts')) return [`${path}:${line} imports ${from} without its .ts ending`];
    const other = folderOf(target);
    if (other === folder) return [];
    return ORDER.indexOf(other) < ORDER.indexOf(folder) && ORDER.includes(other)
      ? []
      : [`src/${folder} may not import src/${other} (${path}:${line})`];
  });
}

describe('the scan', () => {
  it('sees every kind of import, over several lines too', () => {
    const source = [
      '/** Text. */',
      "import 'node:fs';",
      "import type { A } from './a.ts';",
      'import {',
      '  b,',
      "} from './b.ts';",
      "export * from './c.ts';",
      "export { type D } from './d.ts';",
      "export const e = 'from x';",
      "const f = await import('./f.ts');",
      "export type G = 'from';",
    ].join('\n');
    expect(importsOf(source).map((one) => one.from)).toEqual([
      'node:fs',
      './a.ts',
      './b.ts',
      './c.ts',
      './d.ts',
      './f.ts',
    ]);
  });

  it('fails with a sentence', () => {
    expect(importErrors('src/rewards/x.ts', "import { a } from '../train/a.ts';")).toEqual([
      'src/rewards may not import src/train (src/rewards/x.ts:1)',
    ]);
    expect(importErrors('src/util/x.ts', "export * from '../data/a.ts';")).toHaveLength(1);
    expect(importErrors('src/util/x.ts', "import 'left-pad';")).toHaveLength(1);
    expect(importErrors('src/train/x.ts', "import { a } from '../rewards/a.ts';")).toEqual([]);
  });

  it('finds the files', () => {
    expect(sources).toContain('src/util/errors.ts');
    expect(sources.length).toBeGreaterThan(20);
  });
});

describe('src', () => {
  it('imports in one direction, from known packages', () => {
    expect(sources.flatMap((path) => importErrors(path, read(path)))).toEqual([]);
  });

  it('has only the folders of the design', () => {
    const folders = sources.filter((path) => path !== 'src/index.ts').map(folderOf);
    expect([...new Set(folders)].filter((folder) => !ORDER.includes(folder))).toEqual([]);
    const inner = sources.flatMap((path) => dirname(path).split('/'));
    expect(inner.filter((name) => ['common', 'helpers', 'core'].includes(name))).toEqual([]);
  });

  it('keeps libtorch out of what must run without it', () => {
    const reached = sources
      .filter((path) => TORCHLESS.includes(folderOf(path)) && !path.startsWith('src/rewards/intrinsic/'))
      .filter((path) =>
        importsOf(read(path)).some(
          ({ from, typeOnly }) => /\.\.\/(torch|nn|models)\//.test(from) && !typeOnly,
        ),
      );
    expect(reached).toEqual([]);
  });

  it('loads libtorch from the command line lazily', () => {
    const eager = new Set<string>();
    const visit = (path: string): void => {
      if (eager.has(path) || !existsSync(join(ROOT, path))) return;
      eager.add(path);
      for (const { from, typeOnly, lazy } of importsOf(read(path))) {
        if (from.startsWith('.') && !typeOnly && !lazy) visit(normalize(join(dirname(path), from)));
      }
    };
    visit('src/cli/main.ts');
    // A command's own module is loaded when it is asked for; what it needs to do its work, later still.
    for (const { from } of importsOf(read('src/cli/main.ts')))
      if (from.startsWith('./')) visit(join('src/cli', from));
    expect(eager.size).toBeGreaterThan(100);
    expect(
      [...eager].filter(
        (path) =>
          ['torch', 'nn', 'models', 'train'].includes(folderOf(path)) && path !== 'src/train/context.ts',
      ),
    ).toEqual([]);
  });

  it('opens every file with a sentence on what it owns', () => {
    const silent = sources.filter((path) => !/^(#!.*\n)?\/\*\*\s+\*?\s*[A-Z]/.test(read(path)));
    expect(silent).toEqual([]);
  });

  it('has kebab-case files with named exports only, and index.ts at folder level only', () => {
    expect(sources.filter((path) => !/^[a-z0-9]+(-[a-z0-9]+)*\.ts$/.test(basename(path)))).toEqual([]);
    const indexes = sources.filter((path) => basename(path) === 'index.ts');
    expect(indexes.filter((path) => path.split('/').length > 3)).toEqual([]);
    expect(sources.filter((path) => /^export default\b/m.test(read(path)))).toEqual([]);
  });

  it('keeps files short: none over 600 lines, trainers under 350, nine in ten under 350', () => {
    const lengths = sources.map((path) => ({ path, lines: read(path).trimEnd().split('\n').length }));
    const limit = (path: string): number => (folderOf(path) === 'train' ? 350 : 600);
    expect(lengths.filter(({ path, lines }) => lines > limit(path))).toEqual([]);
    expect(lengths.filter(({ lines }) => lines > 350).length).toBeLessThanOrEqual(lengths.length / 10);
  });

  it('runs no text as code, and reads the environment with brackets', () => {
    const bad = /\beval\(|\bnew Function\b|\bprocess\.env\.[A-Za-z]/;
    const lines = sources.flatMap((path) =>
      read(path)
        .split('\n')
        .map((line) => ({ path, line })),
    );
    const code = lines.filter(({ line }) => !/^\s*(\/\*\*|\*|\/\/)/.test(line));
    expect(code.filter(({ line }) => bad.test(line))).toEqual([]);
  });
});

describe('the repository', () => {
  /** In pieces, so that this file does not hold what it forbids. */
  const hosts = [
    'registry.' + 'npmjs',
    'npmjs.' + 'org',
    'pypi.' + 'org',
    'files.python' + 'hosted',
    'download.' + 'pytorch',
  ];
  const machinePath = new RegExp(
    `(^|[\\s"'\`(=:])/(${['home', 'Users', 'root', 'work', 'mnt'].join('|')})/[A-Za-z0-9._-]`,
    'm',
  );
  /** Set-up's last resort, and its own page in the docs: the one address that the issue of set-up asks for. */
  const allowed = (path: string, host: string): boolean =>
    path.startsWith('scripts/') && host.startsWith('download.');
  const texts = files
    .filter((path) => !/\.(png|jpg|jpeg|gif|ico|gz|zip|safetensors|bin|woff2?)$/.test(path))
    .map((path) => ({ path, text: read(path) }));

  it('names no package registry', () => {
    const found = texts.flatMap(({ path, text }) =>
      hosts
        .filter((host) => text.includes(host) && !allowed(path, host))
        .map((host) => `${path} names ${host}`),
    );
    expect(found).toEqual([]);
  });

  it('names no path of one machine', () => {
    expect(machinePath.test(`cd ${'/ho'}me/ann/x`)).toBe(true);
    const found = texts
      .filter(({ text }) => machinePath.test(text))
      .map(({ path, text }) => `${path}: ${machinePath.exec(text)?.[0].trim()}`);
    expect(found).toEqual([]);
  });

  it('has a lockfile without addresses of downloads', () => {
    expect(read('package-lock.json')).not.toContain('"resolved": "http');
  });
});
