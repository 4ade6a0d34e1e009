/** Owns the format of a golden case: reading it, and comparing what was computed with what is expected. */

import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { expect } from 'vitest';
import { readSafetensors } from '../../src/models/index.ts';
import type { Tensor } from '../../src/torch/index.ts';

/** Where the cases are: GOLDEN_DIR, or the few beside this file. */
export const root: string =
  process.env['GOLDEN_DIR'] ?? join(dirname(fileURLToPath(import.meta.url)), 'cases');

interface Entry {
  readonly value?: unknown;
  readonly rtol?: number;
  readonly atol?: number;
  readonly relative_l2?: number;
  readonly mask?: string;
}

export interface Case {
  readonly id: string;
  readonly kind: string;
  // biome-ignore lint/suspicious/noExplicitAny: parameters differ by kind and are read where they are known
  readonly params: Record<string, any>;
  readonly uses: Readonly<Record<string, string>>;
  readonly inputs: Readonly<Record<string, Entry>>;
  readonly expected: Readonly<Record<string, Entry>>;
}

export type Tensors = ReadonlyMap<string, Tensor>;
/** What a handler computed, by the name of the expected entry. */
export type Got = Record<string, ArrayLike<number> | number>;
/** Computes what it knows of a case, or says why the case is left out. */
export type Handler = (one: Case, inputs: Tensors) => Got | string | Promise<Got | string>;
export type Handlers = Readonly<Record<string, Handler>>;

export function findCases(): Case[] {
  if (!existsSync(root)) return [];
  return readdirSync(root, { recursive: true, encoding: 'utf8' })
    .filter((path) => path.endsWith('case.json'))
    .sort()
    .map((path) => ({ ...JSON.parse(readFileSync(join(root, path), 'utf8')), id: dirname(path) }) as Case);
}

export function tensorsOf(id: string, part: 'inputs' | 'expected'): Tensors {
  const path = join(root, id, `${part}.safetensors`);
  return existsSync(path) ? readSafetensors(path) : new Map();
}

/** The numbers of an entry whose value stands in case.json, nested lists flattened, "NaN" and infinities read. */
export function valuesOf(entry: Entry | undefined): number[] {
  return [entry?.value].flat(Number.POSITIVE_INFINITY).map(Number);
}

export function chunked<T>(items: readonly T[], size: number): T[][] {
  return Array.from({ length: items.length / size }, (_, i) => items.slice(i * size, (i + 1) * size));
}

/** Compares every entry that was computed and is expected; returns how many. */
export function compared(one: Case, got: Got, inputs: Tensors, expected: Tensors): number {
  let count = 0;
  for (const [name, entry] of Object.entries(one.expected)) {
    const mine = got[name];
    if (mine === undefined) continue;
    const ours = typeof mine === 'number' ? [mine] : Array.from(mine);
    if (entry.relative_l2 === undefined) compareEach(one, name, ours, inputs, expected);
    else compareNorm(one, name, ours, expected);
    count++;
  }
  return count;
}

function compareEach(one: Case, name: string, ours: number[], inputs: Tensors, expected: Tensors): void {
  const entry = one.expected[name]!;
  const theirs = expected.get(name)?.toFloat64() ?? valuesOf(entry);
  expect(ours.length, name).toBe(theirs.length);
  const mask =
    entry.mask === undefined ? null : (inputs.get(entry.mask) ?? expected.get(entry.mask))!.toFloat64();
  const stride = mask ? theirs.length / mask.length : 1;
  for (let i = 0; i < theirs.length; i++) {
    if (mask && mask[Math.floor(i / stride)] === 0) continue;
    const bound = (entry.atol ?? 0) + (entry.rtol ?? 0) * Math.abs(theirs[i]!);
    if (Object.is(ours[i], theirs[i]) || Math.abs(ours[i]! - theirs[i]!) <= bound) continue;
    expect.fail(`${one.id} ${name}[${i}]: expected ${theirs[i]} within ${bound}, found ${ours[i]}`);
  }
}

/** A bf16 result is held against the same quantity in f32, as one vector. */
function compareNorm(one: Case, name: string, ours: number[], expected: Tensors): void {
  const theirs = expected.get(name.replace('_bf16', '_upcast_f32'))!.toFloat64();
  expect(ours.length, name).toBe(theirs.length);
  const difference = Math.hypot(...ours.map((value, i) => value - theirs[i]!));
  expect(difference / Math.hypot(...theirs), `${one.id} ${name}`).toBeLessThanOrEqual(
    one.expected[name]!.relative_l2!,
  );
}
