/** Owns the files of a new experiment: those of templates/experiment with their names filled in. Writes none of them. */

import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { PACKAGE_ROOT } from '../util/place.ts';

const RECIPES = { yaml: 'recipe.yaml', typescript: 'recipe.ts' } as const;

/** The files of an experiment by name; `typescript` makes the recipe a TypeScript one. */
export function experimentFiles(name: string, typescript: boolean): Readonly<Record<string, string>> {
  const folder = join(PACKAGE_ROOT, 'templates', 'experiment');
  const [recipe, other] = typescript
    ? [RECIPES.typescript, RECIPES.yaml]
    : [RECIPES.yaml, RECIPES.typescript];
  const files = readdirSync(folder)
    .filter((file) => file !== other)
    .map((file) => [file, fill(readFileSync(join(folder, file), 'utf8'), { name, recipe })]);
  return {
    ...(Object.fromEntries(files) as Record<string, string>),
    'package.json': `${JSON.stringify(manifest(name, recipe), null, 2)}\n`,
    '.gitignore': 'node_modules/\nruns/\n',
  };
}

/** Puts values in the place of `{{key}}`. */
function fill(text: string, values: Readonly<Record<string, string>>): string {
  return Object.entries(values).reduce(
    (filled, [key, value]) => filled.replaceAll(`{{${key}}}`, value),
    text,
  );
}

function manifest(name: string, recipe: string): object {
  return {
    name: name.toLowerCase(),
    private: true,
    type: 'module',
    scripts: { test: 'node --import tsx --test reward.test.ts', start: `reckon run ${recipe}` },
  };
}
