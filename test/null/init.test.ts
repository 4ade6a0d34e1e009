import { spawnSync } from 'node:child_process';
import {
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  readlinkSync,
  realpathSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { Argument, Command, Option } from 'commander';
import { beforeEach, describe, expect, it } from 'vitest';
import { completions } from '../../src/cli/completion.ts';
import { openRecipe } from '../../src/recipe/index.ts';

const ROOT = fileURLToPath(new URL('../..', import.meta.url));
const MAIN = join(ROOT, 'dist', 'cli', 'main.js');

let folder: string;

beforeEach(() => {
  folder = join(mkdtempSync(join(tmpdir(), 'reckon-init-')), 'my experiment');
});

function reckon(...words: string[]): { code: number | null; stdout: string; stderr: string } {
  const { status, stdout, stderr } = spawnSync(process.execPath, [MAIN, ...words], {
    encoding: 'utf8',
  });
  return { code: status, stdout, stderr };
}

describe('reckon init', () => {
  it.each([
    ['recipe.yaml', []],
    ['recipe.ts', ['--typescript']],
  ])('makes a folder whose %s is good and whose reward passes its test', async (recipe, flags) => {
    expect(reckon('init', folder, ...flags)).toMatchObject({ code: 0, stderr: '' });
    expect(readdirSync(folder).sort()).toEqual(
      [
        '.gitignore',
        'README.md',
        'node_modules',
        'package.json',
        recipe,
        'reward.test.ts',
        'reward.ts',
        'tsconfig.json',
      ].sort(),
    );
    const opened = await openRecipe(join(folder, recipe));
    expect(opened.name).toBe('my-experiment');
    expect(opened.stages.find(({ type }) => type === 'grpo')).toMatchObject({
      rewards: [{ name: 'correct' }, { name: 'reward', weight: 0.2 }],
    });
    const { scripts } = JSON.parse(readFileSync(join(folder, 'package.json'), 'utf8')) as {
      scripts: { test: string };
    };
    const test = spawnSync('sh', ['-c', scripts.test], { cwd: folder, encoding: 'utf8' });
    expect(test.stdout).toContain('# pass 1');
    expect(test.status).toBe(0);
    // What `npx reckon` and npm's scripts run there.
    const { bin } = JSON.parse(readFileSync(join(ROOT, 'package.json'), 'utf8')) as {
      bin: { reckon: string };
    };
    expect(readlinkSync(join(folder, 'node_modules', '.bin', 'reckon'))).toBe(
      join('..', 'reckon', bin.reckon),
    );
    expect(realpathSync(join(folder, 'node_modules', 'reckon'))).toBe(realpathSync(ROOT));
  });

  it('touches no folder that holds something', () => {
    reckon('init', folder);
    writeFileSync(join(folder, 'notes'), 'mine');
    const { code, stderr } = reckon('init', folder);
    expect(code).toBe(2);
    expect(stderr).toBe(`error: ${folder} is there already and not empty; name another\n`);
    expect(existsSync(join(folder, 'notes'))).toBe(true);
  });
});

describe('completion', () => {
  const program = new Command('reckon').option('--json');
  program
    .command('run')
    .option('--name <name>')
    .addOption(new Option('--to <where>').choices(['a', 'b']));
  program.command('recipe').command('check').option('--set <key>');
  program.command('show').argument('<run>');
  program.command('completion').addArgument(new Argument('<shell>').choices(['bash', 'zsh']));

  it.each([
    [['r'], ['recipe', 'run']],
    [['completion', ''], ['--help', '--json', 'bash', 'zsh'].sort()],
    [['run', '--n'], ['--name']],
    [
      ['run', '--to', ''],
      ['a', 'b'],
    ],
    [['run', '--name', ''], []],
    [['recipe', 'ch'], ['check']],
    [
      ['recipe', 'check', '--'],
      ['--help', '--json', '--set'],
    ],
    [['--j'], ['--json']],
  ])('of %j is %j', (words, expected) => {
    expect(completions(program, words)).toEqual(expected);
  });

  it('of a run is the runs of this folder', () => {
    const before = process.cwd();
    mkdirSync(join(folder, 'runs', 'mine'), { recursive: true });
    try {
      process.chdir(folder);
      expect(completions(program, ['show', 'm'])).toEqual(['mine']);
      process.chdir(join(folder, 'runs'));
      expect(completions(program, ['show', 'm'])).toEqual([]);
    } finally {
      process.chdir(before);
    }
  });

  const command = [process.execPath, MAIN].map((word) => JSON.stringify(word)).join(' ');

  /** What a shell prints in a folder with one file, or null, said, where it is not installed. */
  function printed(shell: string, words: readonly string[], script: string): string | null {
    mkdirSync(folder, { recursive: true });
    writeFileSync(join(folder, 'tens.yaml'), '');
    const { stdout, stderr, error } = spawnSync(shell, [...words, script], { cwd: folder, encoding: 'utf8' });
    if (error === undefined) expect(stderr).toBe('');
    else console.log(`skipped: there is no ${shell} here`);
    return error === undefined ? stdout : null;
  }

  it('works in bash, for the real commands', () => {
    const script = `reckon() { ${command} "$@"; }
      source <(reckon completion bash)
      COMP_WORDS=(reckon recipe sch); COMP_CWORD=2; _reckon; echo "\${COMPREPLY[@]}"
      COMP_WORDS=(reckon track export --to t); COMP_CWORD=4; _reckon; echo "\${COMPREPLY[@]}"`;
    expect(printed('bash', ['-c'], script)).toBe('schema\ntensorboard\n');
  });

  it('works in zsh', () => {
    // Outside its line editor zsh has none of the three functions that the script calls.
    const script = `reckon() { ${command} "$@" }
      compdef() { print compdef "$@" }; compadd() { print -- "$@[2,-1]" }; _files() { print files }
      source <(reckon completion zsh)
      words=(reckon recipe sch); CURRENT=3; _reckon
      words=(reckon track export --to t); CURRENT=5; _reckon
      words=(reckon run tens); CURRENT=3; _reckon`;
    const found = printed('zsh', ['-f', '-c'], script);
    if (found === null) return;
    expect(found).toBe('compdef _reckon reckon\nschema\ntensorboard\nfiles\n');
  });

  it('works in fish', () => {
    const script = `function reckon; ${command} $argv; end
      reckon completion fish | source
      for line in 'recipe sch' 'track export --to t' 'run tens' 'show --j'
        complete -C "reckon $line"
      end`;
    const found = printed('fish', ['-N', '-c'], script);
    if (found === null) return;
    expect(found).toBe('schema\ntensorboard\ntens.yaml\n--json\n');
  });

  it('is refused for a shell that nobody knows', () => {
    expect(reckon('completion', 'ksh')).toMatchObject({
      code: 2,
      stderr: 'error: there is no completion for ksh; use bash, zsh, fish\n',
    });
  });
});
