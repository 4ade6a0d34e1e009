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
  readonly exact?: boolean;
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
/**
 * What a handler computed, by the name of the expected entry: numbers, typed arrays, text, nested lists and objects.
 * Beside `final.X` of a training case stands our own `initial.X`, because the update is what is compared.
 */
export type Got = Record<string, unknown>;
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

/** How a case went: entries compared, and the worst difference as a share of what its tolerance allows. */
export interface Comparison {
  readonly count: number;
  /** Entries that the case expects. */
  readonly expected: number;
  readonly worst: number;
  /** The largest plain difference of any number. */
  readonly largest: number;
  /** Length of the difference of all f32 gradients over the length of the reference's; null for a case without. */
  readonly gradients: number | null;
}

/** Whatever a case itself allows: what the project holds its f32 gradients to. */
const gradientBound = 1e-4;

/** Compares every entry that was computed and is expected. */
export function compared(one: Case, got: Got, inputs: Tensors, expected: Tensors): Comparison {
  const sum = { count: 0, expected: Object.keys(one.expected).length, worst: 0, largest: 0 };
  const update = new Update();
  const gradients = new Gradients();
  for (const [name, entry] of Object.entries(one.expected)) {
    const mine = got[name];
    if (mine === undefined) continue;
    const numbers = expected.get(name)?.toFloat64();
    const entryMask = entry.mask === undefined ? undefined : maskOf(entry.mask, inputs, expected);
    if (entry.relative_l2 !== undefined) {
      const theirs = numbers ?? Float64Array.from(valuesOf(entry));
      const start = name.startsWith('final.') ? got[name.replace('final.', 'initial.')] : undefined;
      if (start) update.add(flat(mine), theirs, flat(start), entry.relative_l2);
      else compareNorm(one, name, flat(mine), theirs, entry.relative_l2, sum);
    } else if (numbers) {
      compareEach(`${one.id} ${name}`, flat(mine), numbers, entry, sum, entryMask);
      // What is below the case's own tolerance everywhere is zero but for rounding.
      const meant = numbers.some((value) => Math.abs(value) > (entry.atol ?? 0));
      if (isGradient(name) && meant && !entryMask) gradients.add(flat(mine), numbers);
    } else compareValue(`${one.id} ${name}`, mine, entry.value, entry, sum);
    sum.count++;
  }
  update.check(one.id, sum);
  return { ...sum, gradients: gradients.check(one.id) };
}

/** `grad.<parameter>`, `grad_logits` and their like; not their norms, and not what was computed in bf16. */
function isGradient(name: string): boolean {
  return /^grad[._]/.test(name) && !/^grad_(?:norms?|bf16)/.test(name);
}

/**
 * The gradients of a case as one vector: some are zero but for rounding (of a bias of keys, say), and mean nothing alone.
 */
class Gradients {
  private difference = 0;
  private size = 0;

  add(ours: readonly number[], theirs: Float64Array): void {
    theirs.forEach((value, i) => {
      this.difference += (ours[i]! - value) ** 2;
      this.size += value ** 2;
    });
  }

  check(id: string): number | null {
    if (this.size === 0) return null;
    const relative = Math.sqrt(this.difference / this.size);
    if (!(relative <= gradientBound))
      expect.fail(`${id}: the gradients differ by ${relative}, allowed ${gradientBound}`);
    return relative;
  }
}

interface Sum {
  count: number;
  worst: number;
  largest: number;
}

function maskOf(name: string, inputs: Tensors, expected: Tensors): Float64Array {
  return (inputs.get(name) ?? expected.get(name))!.toFloat64();
}

function flat(value: unknown): number[] {
  if (ArrayBuffer.isView(value)) return Array.from(value as unknown as ArrayLike<number>, Number);
  return [value].flat(Number.POSITIVE_INFINITY).map(Number);
}

/** Element by element; the mask may have fewer dimensions, and then covers the last ones. */
function compareEach(
  label: string,
  ours: readonly number[],
  theirs: ArrayLike<number>,
  entry: Entry,
  sum: Sum,
  mask?: Float64Array,
): void {
  expect(ours.length, label).toBe(theirs.length);
  const stride = mask ? theirs.length / mask.length : 1;
  for (let i = 0; i < theirs.length; i++) {
    if (mask && mask[Math.floor(i / stride)] === 0) continue;
    compareNumber(`${label}[${i}]`, ours[i]!, theirs[i]!, entry, sum);
  }
}

function compareNumber(label: string, ours: number, theirs: number, entry: Entry, sum: Sum): void {
  if (Object.is(ours, theirs) || ours === theirs) return;
  const bound = (entry.atol ?? 0) + (entry.rtol ?? 0) * Math.abs(theirs);
  const difference = Math.abs(ours - theirs);
  if (!(difference <= bound)) expect.fail(`${label}: expected ${theirs} within ${bound}, found ${ours}`);
  sum.largest = Math.max(sum.largest, difference);
  sum.worst = Math.max(sum.worst, difference / bound);
}

/** A value that stands in case.json: the tolerance holds for every number in it; ours may have more keys. */
function compareValue(label: string, ours: unknown, theirs: unknown, entry: Entry, sum: Sum): void {
  const number = asNumber(theirs);
  if (number !== null && typeof ours === 'number') compareNumber(label, ours, number, entry, sum);
  else if (Array.isArray(theirs)) {
    const list = ArrayBuffer.isView(ours) ? flat(ours) : ours;
    if (!Array.isArray(list)) expect.fail(`${label}: expected a list, found ${ours}`);
    // A flat list of numbers may stand for a nested one.
    const wanted = typeof list[0] === 'number' ? theirs.flat(Number.POSITIVE_INFINITY) : theirs;
    expect(list.length, `${label} length`).toBe(wanted.length);
    wanted.forEach((item, i) => {
      compareValue(`${label}[${i}]`, list[i], item, entry, sum);
    });
  } else if (typeof theirs === 'object' && theirs !== null) {
    for (const [key, item] of Object.entries(theirs))
      compareValue(`${label}.${key}`, (ours as Record<string, unknown>)?.[key], item, entry, sum);
  } else expect(ours, label).toBe(theirs);
}

const special: Readonly<Record<string, number>> = {
  NaN: Number.NaN,
  Infinity: Number.POSITIVE_INFINITY,
  '-Infinity': Number.NEGATIVE_INFINITY,
};

function asNumber(value: unknown): number | null {
  if (typeof value === 'number') return value;
  return typeof value === 'string' ? (special[value] ?? null) : null;
}

/** One vector as a whole; a bf16 result is held against the same quantity in f32 where that is given. */
function compareNorm(
  one: Case,
  name: string,
  ours: readonly number[],
  theirs: Float64Array,
  bound: number,
  sum: Sum,
): void {
  expect(ours.length, name).toBe(theirs.length);
  const difference = Math.hypot(...ours.map((value, i) => value - theirs[i]!)) / Math.hypot(...theirs);
  if (!(difference <= bound))
    expect.fail(`${one.id} ${name}: relative difference ${difference}, allowed ${bound}`);
  sum.worst = Math.max(sum.worst, difference / bound);
  sum.largest = Math.max(sum.largest, difference);
}

/** The final weights of a training case: one vector of updates over all of them. */
class Update {
  private difference = 0;
  private size = 0;
  private bound = Number.POSITIVE_INFINITY;

  add(ours: readonly number[], theirs: Float64Array, start: readonly number[], bound: number): void {
    expect(ours.length).toBe(theirs.length);
    this.bound = Math.min(this.bound, bound);
    theirs.forEach((value, i) => {
      this.difference += (ours[i]! - value) ** 2;
      this.size += (value - start[i]!) ** 2;
    });
  }

  check(id: string, sum: Sum): void {
    if (this.bound === Number.POSITIVE_INFINITY) return;
    const relative = this.difference === 0 ? 0 : Math.sqrt(this.difference / this.size);
    if (!(relative <= this.bound))
      expect.fail(`${id}: the update differs by ${relative}, allowed ${this.bound}`);
    sum.worst = Math.max(sum.worst, relative / this.bound);
    sum.largest = Math.max(sum.largest, relative);
  }
}
