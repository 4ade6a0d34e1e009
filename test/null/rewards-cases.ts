/** Reads the rows of acceptance cases: those committed, or another folder of the same format named by CASES_DIR. */

import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { gunzipSync } from 'node:zlib';

export interface Case {
  readonly id: string;
  readonly kind: string;
  readonly prediction: unknown;
  readonly reference: unknown;
  readonly expected: unknown;
  readonly profile: string;
  readonly opts?: Readonly<Record<string, unknown>>;
}

const OWN = fileURLToPath(new URL('../cases', import.meta.url));

/** All rows of one kind, from every .jsonl and .jsonl.gz below the folder. */
export function casesOf(kind: string): Case[] {
  const folder = process.env['CASES_DIR'] ?? OWN;
  const files = readdirSync(folder, { recursive: true, encoding: 'utf8' });
  return files
    .filter((file) => /\.jsonl(\.gz)?$/.test(file))
    .sort()
    .flatMap((file) => {
      const bytes = readFileSync(join(folder, file));
      const text = (file.endsWith('.gz') ? gunzipSync(bytes) : bytes).toString('utf8');
      const lines = text.split('\n').filter((line) => line !== '');
      return lines.map((line) => JSON.parse(line) as Case).filter((row) => row.kind === kind);
    });
}

/** Agreement by profile, with the rows that disagree. */
export interface Agreement {
  readonly rows: number;
  readonly agreed: number;
  readonly wrong: readonly string[];
}

/** Compares what a function answers with what each row expects; numbers within the row's own tolerance, else 1e-9. */
export async function agreement(
  rows: readonly Case[],
  answer: (row: Case) => unknown,
): Promise<Map<string, Agreement>> {
  const found = new Map<string, { rows: number; agreed: number; wrong: string[] }>();
  for (const row of rows) {
    const entry = found.get(row.profile) ?? { rows: 0, agreed: 0, wrong: [] };
    found.set(row.profile, entry);
    entry.rows++;
    const got = await answer(row);
    const tolerance = Number(row.opts?.['tolerance'] ?? 1e-9);
    const same =
      typeof row.expected === 'number' && typeof got === 'number'
        ? Math.abs(got - row.expected) <= tolerance
        : got === row.expected;
    if (same) entry.agreed++;
    else entry.wrong.push(`${row.id}: expected ${row.expected}, found ${got}`);
  }
  return found;
}
