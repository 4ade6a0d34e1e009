/** Owns the equality of two answers of any shape: scalars, lists, intervals, matrices, relations, quantities, texts. */

import { opaque } from './exact.ts';
import type { Expr, ListExpr } from './expression.ts';
import { UNITS } from './names.ts';
import { type Comparison, compareScalars, DIFFERENT } from './scalar.ts';
import { differenceOf, factorBetween, type Settled, settle } from './structure.ts';

const MAX_UNORDERED = 40;
const UNDECIDED: Comparison = { equal: null, reason: 'not-decidable' };

type Shape =
  | Exclude<Expr['kind'], 'sum' | 'product' | 'power' | 'call' | 'number' | 'symbol' | 'plusminus'>
  | 'scalar';

/** Compares two answers; symmetric. */
export function compareAnswers(a: Expr, b: Expr): Comparison {
  const [left, right] = [settle(unwrap(a)), settle(unwrap(b))];
  const direct = compareValues(left, right);
  if (direct.equal === true) return direct;
  // An equation against an equation may be the same line written otherwise, names on the left or not.
  if (a.kind === 'relation' && b.kind === 'relation') {
    const whole = compareRelations(a, b);
    if (whole.equal === true) return whole;
  }
  return direct;
}

/** A list of one element, in whatever brackets, is that element. */
function unwrap(expr: Expr): Expr {
  if (expr.kind !== 'list') return expr;
  const items = expr.open === '{' ? distinct(expr.items) : expr.items;
  return items.length === 1 ? unwrap(items[0]!) : expr;
}

function compareValues(left: Settled, right: Settled): Comparison {
  const [a, b] = [unwrap(left.value), unwrap(right.value)];
  if (isAllReals(a) && isAllReals(b)) return { equal: true, reason: 'exact' };
  const [shapeA, shapeB] = [shapeOf(a), shapeOf(b)];
  if (a.kind === 'quantity' || b.kind === 'quantity') return compareQuantities(a, b);
  if (shapeA === 'text' || shapeB === 'text') return compareTexts(a, b);
  if (a.kind === 'matrix' || b.kind === 'matrix') return compareMatrices(a, b);
  if (a.kind === 'list' || b.kind === 'list') return compareLists(a, b);
  if (a.kind === 'relation' || b.kind === 'relation') {
    if (a.kind !== 'relation' || b.kind !== 'relation') return DIFFERENT;
    return compareRelations(a, b);
  }
  return compareScalars(a, b);
}

/** Every way to write the real line as an answer. */
function isAllReals(expr: Expr): boolean {
  if (expr.kind === 'text') return /^(?:all |the )*real(?:s| numbers?)$/i.test(expr.text);
  if (expr.kind === 'symbol') return expr.name === 'R';
  if (expr.kind !== 'list' || expr.open !== '(' || expr.close !== ')' || expr.items.length !== 2)
    return false;
  return opaque(expr) === '((-1*oo),(1*oo))';
}

function shapeOf({ kind }: Expr): Shape {
  if (kind === 'list' || kind === 'matrix' || kind === 'relation' || kind === 'text' || kind === 'quantity')
    return kind;
  return 'scalar';
}

/** A per cent sign may be meant either way where the other side has none; a degree sign and unknown units are dropped. */
function compareQuantities(a: Expr, b: Expr): Comparison {
  const [unitA, unitB] = [unitOf(a), unitOf(b)];
  const [x, y] = [amountOf(a), amountOf(b)];
  if (unitA === unitB || unitA === null || unitB === null) {
    const plain = compareAnswers(x, y);
    if (plain.equal === true || unitA === unitB) return plain;
    const [share, unit] = unitA === null ? [b, unitB] : [a, unitA];
    const other = share === a ? y : x;
    if (unit === '%' || unit === 'degree') return compareScalarOnly(normalQuantity(share), other);
    const [dimension, factor] = UNITS.get(unit ?? '') ?? [];
    if (dimension === 'count') return compareScalarOnly(scaled(amountOf(share), factor!), other);
    return sameUnitAsLetter(amountOf(share), unit, other) ? { equal: true, reason: 'exact' } : plain;
  }
  return compareUnits(x, unitA, y, unitB);
}

/** Whether a product is an amount and the letter of its unit: 8 m, where the other side says so in words. */
function sameUnitAsLetter(amount: Expr, unit: string | null, other: Expr): boolean {
  if (unit === null || other.kind !== 'product') return false;
  const letter = other.factors.at(-1)!;
  if (letter.kind !== 'symbol' || letter.name !== unit) return false;
  return compareScalarOnly(amount, { kind: 'product', factors: other.factors.slice(0, -1) }).equal === true;
}

function compareScalarOnly(a: Expr, b: Expr): Comparison {
  const comparable = (shapeOf(a) === 'scalar' || a.kind === 'quantity') && shapeOf(b) === 'scalar';
  return comparable ? compareScalars(a, b) : DIFFERENT;
}

function normalQuantity(expr: Expr): Expr {
  return expr.kind === 'quantity' ? { ...expr, unit: unitOf(expr) ?? expr.unit } : expr;
}

function amountOf(expr: Expr): Expr {
  return expr.kind === 'quantity' ? amountOf(expr.value) : expr;
}

/** '%', 'degree', or the unit's words in lower case without a plural s; null for no quantity. */
function unitOf(expr: Expr): string | null {
  if (expr.kind !== 'quantity') return null;
  const words = expr.unit
    .toLowerCase()
    .replace(/\\[a-z]+|[^a-z0-9%/^\s]/g, ' ')
    .trim()
    .replace(/\s+/g, ' ');
  if (/^(%|percent|percentage|per cent|pct|percents|percentage points?)$/.test(words)) return '%';
  if (/^degrees?( celsius| fahrenheit)?$/.test(words)) return 'degree';
  return words.replace(/(?<=[a-z]{2})s(?=$|[\s^/])/g, '');
}

/** Units of one dimension are converted; units that say different things differ; unknown words are not judged. */
function compareUnits(x: Expr, unitX: string, y: Expr, unitY: string): Comparison {
  const [left, right] = [UNITS.get(unitX), UNITS.get(unitY)];
  if (left !== undefined && right !== undefined) {
    if (left[0] !== right[0]) return DIFFERENT;
    return compareScalarOnly(scaled(x, left[1]), scaled(y, right[1]));
  }
  if ((unitX === '%') !== (unitY === '%')) return DIFFERENT;
  return compareAnswers(x, y);
}

/** The factor as an exact decimal. */
function scaled(expr: Expr, factor: number): Expr {
  const text = factor.toFixed(12);
  const value = { p: BigInt(text.replace('.', '')), q: 10n ** 12n };
  return { kind: 'product', factors: [{ kind: 'number', value }, expr] };
}

/** Texts are equal without case, spaces, articles and end marks. */
function compareTexts(a: Expr, b: Expr): Comparison {
  const [left, right] = [wordsOf(a), wordsOf(b)];
  if (left === null || right === null) return DIFFERENT;
  return left === right ? { equal: true, reason: 'text' } : DIFFERENT;
}

function wordsOf(expr: Expr): string | null {
  if (expr.kind === 'text')
    return expr.text
      .toLowerCase()
      .replace(/\b(the|an?)\s+/g, '')
      .replace(/[^\p{L}\p{N}]+/gu, '');
  const name = expr.kind === 'symbol' || expr.kind === 'product' ? lettersOf(expr) : null;
  return name === null ? null : name.toLowerCase();
}

function lettersOf(expr: Expr): string | null {
  if (expr.kind === 'symbol') return expr.name;
  if (expr.kind !== 'product') return null;
  const parts = expr.factors.map(lettersOf);
  return parts.includes(null) ? null : parts.join('');
}

/** Matrices element by element; a column or a row is also the list of its elements. */
function compareMatrices(a: Expr, b: Expr): Comparison {
  if (a.kind === 'matrix' && b.kind === 'matrix') {
    if (a.rows.length !== b.rows.length || a.rows.some((row, i) => row.length !== b.rows[i]!.length))
      return DIFFERENT;
    return compareOrdered(a.rows.flat(), b.rows.flat());
  }
  const [matrix, other] = a.kind === 'matrix' ? [a, b] : [b, a];
  if (matrix.kind !== 'matrix') return DIFFERENT;
  const flat = matrix.rows.length === 1 || matrix.rows.every((row) => row.length === 1);
  if (other.kind === 'list' && flat) return compareOrdered(matrix.rows.flat(), other.items);
  return flat && matrix.rows.flat().length === 1 ? compareAnswers(matrix.rows[0]![0]!, other) : DIFFERENT;
}

/** Tuples and intervals in order; sets and bare lists in any order; a bare list may stand for a tuple. */
function compareLists(one: Expr, other: Expr): Comparison {
  if (one.kind !== 'list' || other.kind !== 'list') return DIFFERENT;
  const [a, b] = [asPoint(one, other), asPoint(other, one)];
  const [left, right] = [itemsOf(a), itemsOf(b)].map((items, i) =>
    isSet(i === 0 ? a : b) ? distinct(items) : items,
  ) as [Expr[], Expr[]];
  if (left.length !== right.length) return compareFlattened(left, right);
  if (isInterval(a) || isInterval(b)) {
    const bracketed = a.open !== '' && b.open !== '';
    if (bracketed && (a.open !== b.open || a.close !== b.close)) return DIFFERENT;
  }
  const ordered = compareOrdered(left, right);
  if (ordered.equal !== false) return ordered;
  return isUnordered(a) && isUnordered(b) ? compareUnordered(left, right) : ordered;
}

/** "y = 2, x = 1" beside the point (1, 2): single letters in the order of the alphabet are its coordinates. */
function asPoint(list: ListExpr, other: ListExpr): ListExpr {
  if (list.open !== '' || other.open !== '(' || other.items.some((item) => settle(item).name !== null))
    return list;
  const names = list.items.map((item) => settle(item).name ?? '');
  const distinctLetters = new Set(names).size === names.length && names.every((name) => /^[a-z]$/.test(name));
  if (!distinctLetters) return list;
  return { ...list, items: [...names].sort().map((name) => list.items[names.indexOf(name)]!) };
}

/** Values that are sets themselves (a ± b) are taken into the list. */
function itemsOf(list: ListExpr): Expr[] {
  return list.items.flatMap((item) => {
    const { value, name } = settle(item);
    const spread = isUnordered(list) && value.kind === 'list' && value.open === '{' && item.kind !== 'list';
    if (spread) return [...value.items];
    return name === null ? [value] : [item];
  });
}

/** Braces make a set, and so does a list of several tuples or points: what is in it twice is in it once. */
function isSet({ open, items }: ListExpr): boolean {
  return open === '{' || (open === '' && items.every(({ kind }) => kind === 'list'));
}

function distinct(items: readonly Expr[]): Expr[] {
  if (items.length > MAX_UNORDERED) return [...items];
  return items.filter(
    (item, i) => !items.slice(0, i).some((earlier) => compareItems(earlier, item).equal === true),
  );
}

function isInterval({ open, close, items }: ListExpr): boolean {
  return items.length === 2 && (open === '[' || close === ']');
}

function isUnordered({ open }: ListExpr): boolean {
  return open === '' || open === '{';
}

/** "(5, 2), (7, 2)" against "5, 2, 7, 2": pairs written out. */
function compareFlattened(a: readonly Expr[], b: readonly Expr[]): Comparison {
  const flat = (items: readonly Expr[]) =>
    items.flatMap((item) => (item.kind === 'list' ? item.items : [item]));
  const [left, right] = [flat(a), flat(b)];
  if (left.length !== right.length || (left.length === a.length && right.length === b.length))
    return DIFFERENT;
  const oneIsFlat = left.length === a.length || right.length === b.length;
  return oneIsFlat ? compareOrdered(left, right) : DIFFERENT;
}

const STRENGTH = ['exact', 'identical', 'text', 'symbolic', 'numeric', 'rounded'];

function weaker(a: Comparison, b: Comparison): Comparison {
  if (a.equal !== true) return a;
  if (b.equal !== true) return b;
  return STRENGTH.indexOf(a.reason) >= STRENGTH.indexOf(b.reason) ? a : b;
}

function compareOrdered(a: readonly Expr[], b: readonly Expr[]): Comparison {
  if (a.length !== b.length) return DIFFERENT;
  let verdict: Comparison = { equal: true, reason: 'exact' };
  for (const [i, item] of a.entries()) {
    verdict = weaker(verdict, compareItems(item, b[i]!));
    if (verdict.equal === false) return verdict;
  }
  return verdict;
}

/** Two named values must have the same name. */
function compareItems(a: Expr, b: Expr): Comparison {
  const [left, right] = [settle(a), settle(b)];
  if (left.name !== null && right.name !== null && left.name !== right.name) return DIFFERENT;
  return compareAnswers(a, b);
}

function compareUnordered(a: readonly Expr[], b: readonly Expr[]): Comparison {
  if (a.length > MAX_UNORDERED) return UNDECIDED;
  const rest = [...b];
  let verdict: Comparison = { equal: true, reason: 'exact' };
  for (const item of a) {
    const results = rest.map((other) => (differInUnit(item, other) ? DIFFERENT : compareItems(item, other)));
    const place = results.findIndex(({ equal }) => equal === true);
    if (place < 0) return results.find(({ equal }) => equal === null) ?? DIFFERENT;
    verdict = weaker(verdict, results[place]!);
    rest.splice(place, 1);
  }
  return verdict;
}

/** Unknown units that differ: of one value that says nothing, of several it says which is which. */
function differInUnit(a: Expr, b: Expr): boolean {
  const [left, right] = [unitOf(a), unitOf(b)];
  return left !== null && right !== null && left !== right && !(UNITS.has(left) && UNITS.has(right));
}

/** Equations whose differences are multiples of one another; inequalities too, by a factor that keeps the sign. */
function compareRelations(a: Expr, b: Expr): Comparison {
  if (a.kind !== 'relation' || b.kind !== 'relation' || a.operators.length !== b.operators.length)
    return DIFFERENT;
  const same = a.operators.every((operator, i) => operator === b.operators[i]);
  if (same) {
    const parts = compareOrderedScalars(a.parts, b.parts);
    if (parts.equal === true) return parts;
  }
  if (a.operators.length !== 1) {
    const turned = { ...b, parts: [...b.parts].reverse(), operators: [...b.operators].reverse().map(mirror) };
    const mirrored = a.operators.every((operator, i) => operator === turned.operators[i]);
    return mirrored ? compareOrderedScalars(a.parts, turned.parts) : DIFFERENT;
  }
  return compareByDifference(a.parts, a.operators[0]!, b.parts, b.operators[0]!);
}

function compareOrderedScalars(a: readonly Expr[], b: readonly Expr[]): Comparison {
  let verdict: Comparison = { equal: true, reason: 'exact' };
  for (const [i, part] of a.entries()) {
    const other = b[i]!;
    const scalar = shapeOf(part) === 'scalar' && shapeOf(other) === 'scalar';
    verdict = weaker(verdict, scalar ? compareScalars(part, other) : compareAnswers(part, other));
    if (verdict.equal !== true) return verdict;
  }
  return verdict;
}

type Operator = Extract<Expr, { kind: 'relation' }>['operators'][number];

function mirror(operator: Operator): Operator {
  const mirrored: Partial<Record<Operator, Operator>> = { '<': '>', '>': '<', '≤': '≥', '≥': '≤' };
  return mirrored[operator] ?? operator;
}

function compareByDifference(
  a: readonly Expr[],
  operatorA: Operator,
  b: readonly Expr[],
  operatorB: Operator,
): Comparison {
  const [left, right] = [differenceOf(a[0]!, a[1]!), differenceOf(b[0]!, b[1]!)];
  if (left === null || right === null) return DIFFERENT;
  const factor = factorBetween(left.top, right.top);
  if (factor === null || left.bottom.size !== 1 || right.bottom.size !== 1) return DIFFERENT;
  const expected = factor.p > 0n ? operatorA : mirror(operatorA);
  return expected === operatorB ? { equal: true, reason: 'symbolic' } : DIFFERENT;
}
