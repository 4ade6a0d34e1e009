import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { Command } from 'commander';
import { beforeAll, describe, expect, it } from 'vitest';

const ROOT = fileURLToPath(new URL('../..', import.meta.url));
const CLI = join(ROOT, 'src', 'cli');
const PAGES = [
  'README.md',
  'docs/data.md',
  'docs/evaluation.md',
  'docs/from-the-seeds.md',
  'docs/guide.md',
  'docs/models.md',
  'docs/recipes.md',
  'docs/remote.md',
  'docs/rewards.md',
  'docs/tracking.md',
  'templates/experiment/README.md',
];

/** Of every command. */
const GLOBAL = ['--json', '--quiet', '--debug', '--help', '--version'];

let program: Command;

beforeAll(async () => {
  program = new Command('reckon');
  for (const file of readdirSync(CLI).filter((name) => name !== 'main.ts')) {
    const module = (await import(join(CLI, file))) as Record<string, unknown>;
    for (const [name, add] of Object.entries(module)) {
      if (/^add[A-Z]\w*Command$/.test(name))
        (add as (program: Command, finish: () => void) => void)(program, () => undefined);
    }
  }
});

/** Command lines in a page: indented ones, and those between backticks. A comment ends one. */
function commandsOf(page: string): string[] {
  const lines = readFileSync(join(ROOT, page), 'utf8').split('\n');
  const indented = lines.filter((line) => /^ {4}(npx )?reckon /.test(line));
  const quoted = lines.flatMap((line) =>
    [...line.matchAll(/`((?:npx )?reckon [^`]+)`/g)].map((match) => match[1]!),
  );
  return [...indented, ...quoted].map((line) => line.trim().replace(/^npx /, '').split(' #')[0]!.trim());
}

/** What is wrong with a command line as far as its command and options go; null where nothing is. */
function problemWith(line: string): string | null {
  const words = line.split(/\s+/).slice(1);
  let command = program;
  while (words.length > 0) {
    const next = command.commands.find((one) => one.name() === words[0]);
    if (next === undefined) break;
    command = next;
    words.shift();
  }
  if (command === program) return `${line}: there is no command ${words[0]}`;
  if (command.commands.length > 0 && words.length > 0 && !words[0]!.startsWith('-'))
    return `${line}: ${command.name()} has no ${words[0]}`;
  const known = [...GLOBAL, ...command.options.map(({ long }) => long)];
  const foreign = words
    .map((word) => word.split('=')[0]!)
    .find((word) => word.startsWith('--') && !known.includes(word));
  return foreign === undefined ? null : `${line}: ${command.name()} has no ${foreign}`;
}

describe('the check of command lines', () => {
  it.each([
    ['reckon rum x', 'there is no command rum'],
    ['reckon recipe chekc x', 'recipe has no chekc'],
    ['reckon run x --frsh', 'run has no --frsh'],
  ])('finds what is wrong in %s', (line, problem) => {
    expect(problemWith(line)).toContain(problem);
  });

  it('knows all commands that the program has', () => {
    const registered = readFileSync(join(CLI, 'main.ts'), 'utf8').match(/^ {2}add\w+Command\(/gm) ?? [];
    expect(program.commands.length).toBeGreaterThanOrEqual(registered.length);
  });
});

describe.each(PAGES)('%s', (page) => {
  it('names only commands and options that exist', () => {
    const commands = commandsOf(page);
    expect(commands.length).toBeGreaterThan(1);
    expect(commands.flatMap((line) => problemWith(line) ?? [])).toEqual([]);
  });
});

describe('docs/from-the-seeds.md', () => {
  it('names only recipes and pages that are there', () => {
    const text = readFileSync(join(ROOT, 'docs/from-the-seeds.md'), 'utf8');
    const recipes = [...new Set(text.match(/recipes\/[a-z0-9-]+\/[a-z]+\.yaml/g) ?? [])];
    expect(recipes.length).toBeGreaterThanOrEqual(8);
    for (const recipe of recipes) expect(readFileSync(join(ROOT, recipe), 'utf8')).toContain('version: 1');
  });
});
