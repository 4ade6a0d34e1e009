/** Owns the reading of a tree as an answer: what is named, listed, an interval, a set, a quantity. Compares nothing. */

import { inverseR, mulR, negR, type Rational, TooLarge } from '../../util/rational.ts';
import { addQ, numberIn, type Polynomial, type Quotient } from './algebra.ts';
import { exact } from './exact.ts';
import { type Expr, type ListExpr, type RelationOperator, symbol } from './expression.ts';
import { matrixValue } from './matrices.ts';

/** A value with the name that it was given, such as x in x = 5. */
export interface Settled {
  readonly value: Expr;
  readonly name: string | null;
}

const INFINITY = symbol('oo');
const MINUS_INFINITY: Expr = {
  kind: 'product',
  factors: [{ kind: 'number', value: { p: -1n, q: 1n } }, INFINITY],
};

/** The answer in a relation: what a name equals, lies in, or lies between; other relations are kept. */
export function settle(expr: Expr): Settled {
  if (hasPlusMinus(expr)) return { value: bothSigns(expr), name: null };
  if (expr.kind === 'call' && expr.name === 'union') return { value: unionOf(expr.args), name: null };
  if (expr.kind !== 'relation') return { value: matrixValue(expr) ?? expr, name: null };
  const { parts, operators } = expr;
  const first = parts[0]!;
  if (operators.every((operator) => operator === '=' || operator === '≈' || operator === '≡'))
    return equation(parts, operators) ?? { value: expr, name: null };
  if (operators.length === 1 && operators[0] === '∈' && nameOf(first) !== null)
    return { ...settle(parts[1]!), name: nameOf(first) };
  const interval = intervalOf(parts, operators);
  return interval ?? { value: expr, name: null };
}

/** name = value, or a chain that ends in one: the last exact side counts, an approximation where there is no other. */
function equation(parts: readonly Expr[], operators: readonly RelationOperator[]): Settled | null {
  const name = nameOf(parts[0]!);
  const exactEnd = operators.indexOf('≈');
  const sides = exactEnd < 0 ? parts : parts.slice(0, exactEnd + 1);
  const last = sides.at(-1)!;
  if (sides.length === 1 && name !== null && exactEnd >= 0) return { ...settle(parts[exactEnd + 1]!), name };
  if (sides.length === 1) return settle(last);
  if (name !== null) return { ...settle(last), name };
  // The value's name may stand behind it: 5 = x.
  const behind = nameOf(last);
  if (sides.length === 2 && behind !== null && isConstant(sides[0]!))
    return { ...settle(sides[0]!), name: behind };
  // a + b = 2 + 3 = 5: a computation that ends in a number, longer than one equation or without letters.
  if (isConstant(last) && (sides.length > 2 || isConstant(sides[0]!) || hasUnknownFunction(sides[0]!)))
    return settle(last);
  return null;
}

function hasUnknownFunction(expr: Expr): boolean {
  return some(expr, (part) => part.kind === 'call' && part.name.startsWith('f:'));
}

/** A letter, a function of letters, a segment or an angle, a ratio or a tuple of such; null for anything to compute. */
export function nameOf(expr: Expr): string | null {
  switch (expr.kind) {
    case 'symbol':
      return ['pi', 'e', 'i', 'oo'].includes(expr.name) ? null : expr.name;
    case 'text':
      return expr.text;
    case 'call': {
      if (!/^(f:|angle|triangle|overline|abs|ratio|frac|P$|det|deg|max$|min$)/.test(expr.name)) return null;
      const inside = expr.args.map(
        (arg) =>
          nameOf(arg) ??
          (arg.kind === 'number' && expr.name.startsWith('f:') ? String(arg.value.p) : null) ??
          (expr.name.startsWith('f:') ? '?' : null),
      );
      return inside.includes(null) ? null : `${expr.name}(${inside.join(',')})`;
    }
    case 'power': {
      // 1 / AB and f^{-1}.
      const inside = nameOf(expr.base);
      return inside !== null && expr.exponent.kind === 'number' && expr.exponent.value.p === -1n
        ? `1/${inside}`
        : null;
    }
    case 'product': {
      const inside = expr.factors.map(nameOf);
      return inside.includes(null) || !expr.factors.every(isNamePart) ? null : inside.join('');
    }
    case 'list': {
      const inside = expr.items.map(nameOf);
      return inside.includes(null) || expr.items.length === 0 ? null : inside.join(',');
    }
    default:
      return null;
  }
}

/** Capital letters side by side name a segment; xy is a product. */
function isNamePart(expr: Expr): boolean {
  if (expr.kind === 'symbol') return /^[A-Z]/.test(expr.name);
  if (expr.kind === 'text') return true;
  if (expr.kind === 'power') return isNamePart(expr.base);
  if (expr.kind === 'product') return expr.factors.every(isNamePart);
  return expr.kind === 'call' && (expr.name === 'angle' || expr.name.startsWith('f:'));
}

/** Whether no letter but the constants occurs. */
function isConstant(expr: Expr): boolean {
  // What is bound by a limit, a sum or an integral is free nowhere.
  if (expr.kind === 'call' && /^(lim|sum|prod|int)$/.test(expr.name)) return true;
  if (expr.kind === 'symbol') return ['pi', 'e', 'i', 'oo'].includes(expr.name);
  if (expr.kind === 'text' || expr.kind === 'relation') return false;
  if (expr.kind === 'call' && expr.name.startsWith('f:')) return false;
  return childrenOf(expr).every(isConstant);
}

export function some(expr: Expr, test: (part: Expr) => boolean): boolean {
  return test(expr) || childrenOf(expr).some((child) => some(child, test));
}

function childrenOf(expr: Expr): readonly Expr[] {
  switch (expr.kind) {
    case 'sum':
      return expr.terms;
    case 'product':
      return expr.factors;
    case 'power':
      return [expr.base, expr.exponent];
    case 'plusminus':
      return expr.left === null ? [expr.right] : [expr.left, expr.right];
    case 'call':
      return expr.args;
    case 'quantity':
      return [expr.value];
    case 'matrix':
      return expr.rows.flat();
    case 'list':
      return expr.items;
    case 'relation':
      return expr.parts;
    default:
      return [];
  }
}

/** Whether `withSign` would change it: a ± within a list or a relation is that one's own. */
function hasPlusMinus(expr: Expr): boolean {
  if (expr.kind === 'list' || expr.kind === 'relation' || expr.kind === 'matrix') return false;
  return expr.kind === 'plusminus' || childrenOf(expr).some(hasPlusMinus);
}

/** a ± b as the set of both values; every ± takes the same sign. */
function bothSigns(expr: Expr): Expr {
  return { kind: 'list', open: '{', close: '}', items: [withSign(expr, 1n), withSign(expr, -1n)] };
}

function withSign(expr: Expr, sign: bigint): Expr {
  switch (expr.kind) {
    case 'plusminus': {
      const right: Expr = {
        kind: 'product',
        factors: [{ kind: 'number', value: { p: sign, q: 1n } }, withSign(expr.right, sign)],
      };
      return expr.left === null ? right : { kind: 'sum', terms: [withSign(expr.left, sign), right] };
    }
    case 'sum':
      return { ...expr, terms: expr.terms.map((term) => withSign(term, sign)) };
    case 'product':
      return { ...expr, factors: expr.factors.map((factor) => withSign(factor, sign)) };
    case 'power':
      return { ...expr, base: withSign(expr.base, sign), exponent: withSign(expr.exponent, sign) };
    case 'call':
      return { ...expr, args: expr.args.map((arg) => withSign(arg, sign)) };
    case 'quantity':
      return { ...expr, value: withSign(expr.value, sign) };
    default:
      return expr;
  }
}

/** A union is a set of its parts, whatever their order. */
function unionOf(args: readonly Expr[]): Expr {
  const items = args.flatMap((arg) => {
    const { value } = settle(arg);
    return value.kind === 'list' && value.open === '{' ? value.items : [value];
  });
  return { kind: 'list', open: '', close: '', items };
}

/** a < x < b, x >= a and what is linear in one letter, as intervals; null for other relations. */
function intervalOf(parts: readonly Expr[], operators: readonly RelationOperator[]): Settled | null {
  if (operators.length === 2 && nameOf(parts[1]!) !== null) {
    const [low, high] = operators as [RelationOperator, RelationOperator];
    const up = (low === '<' || low === '≤') && (high === '<' || high === '≤');
    const down = (low === '>' || low === '≥') && (high === '>' || high === '≥');
    if (!up && !down) return null;
    const [from, to] = up ? [parts[0]!, parts[2]!] : [parts[2]!, parts[0]!];
    const [left, right] = up ? [low, high] : [high, low];
    return {
      name: nameOf(parts[1]!),
      value: interval(from, to, left === '≤' || left === '≥', right === '≤' || right === '≥'),
    };
  }
  return operators.length === 1 ? halfLine(parts[0]!, operators[0]!, parts[1]!) : null;
}

function interval(from: Expr, to: Expr, closedLeft: boolean, closedRight: boolean): ListExpr {
  return { kind: 'list', open: closedLeft ? '[' : '(', close: closedRight ? ']' : ')', items: [from, to] };
}

/** a x + c < 0 for one letter x: the half line that solves it. */
function halfLine(left: Expr, operator: RelationOperator, right: Expr): Settled | null {
  if (!'<>≤≥'.includes(operator)) return null;
  const linear = linearIn(left, right);
  if (linear === null) return null;
  const { name, slope, offset } = linear;
  const bound: Expr = { kind: 'number', value: mulR(negR(offset), inverseR(slope)) };
  const below = (operator === '<' || operator === '≤') === slope.p > 0n;
  const closed = operator === '≤' || operator === '≥';
  return {
    name,
    value: below ? interval(MINUS_INFINITY, bound, false, closed) : interval(bound, INFINITY, closed, false),
  };
}

/** left - right as slope * name + offset with rational numbers, or null. */
function linearIn(left: Expr, right: Expr): { name: string; slope: Rational; offset: Rational } | null {
  const difference = differenceOf(left, right);
  const divisor = difference === null ? null : numberIn(difference.bottom);
  if (difference === null || divisor === null) return null;
  const terms = [...difference.top.values()];
  const letters = terms.filter(({ powers }) => powers.length > 0);
  const only = letters[0];
  if (letters.length !== 1 || only === undefined || only.powers.length !== 1) return null;
  const [name, exponent] = only.powers[0]!;
  if (
    exponent.p !== 1n ||
    exponent.q !== 1n ||
    !/^[A-Za-z]/.test(name) ||
    ['pi', 'e', 'i', 'oo'].includes(name) ||
    name.includes('(')
  )
    return null;
  const offset = difference.top.get('')?.coefficient ?? { p: 0n, q: 1n };
  const scale = inverseR(divisor);
  return { name, slope: mulR(only.coefficient, scale), offset: mulR(offset, scale) };
}

/** left - right, or null where exact algebra does not reach. */
export function differenceOf(left: Expr, right: Expr): Quotient | null {
  try {
    const negated = exact({
      kind: 'product',
      factors: [{ kind: 'number', value: { p: -1n, q: 1n } }, right],
    });
    return addQ(exact(left), negated);
  } catch (error) {
    if (error instanceof TooLarge || error instanceof RangeError) return null;
    throw error;
  }
}

/** The factor that makes one polynomial the other, or null. */
export function factorBetween(a: Polynomial, b: Polynomial): Rational | null {
  if (a.size !== b.size || a.size === 0) return null;
  let factor: Rational | null = null;
  for (const [key, term] of a) {
    const other = b.get(key);
    if (other === undefined) return null;
    const here = mulR(other.coefficient, inverseR(term.coefficient));
    if (factor !== null && (factor.p !== here.p || factor.q !== here.q)) return null;
    factor = here;
  }
  return factor;
}
