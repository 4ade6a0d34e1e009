/** Owns the tree that answers are read into. Reads and compares nothing. */

import type { Rational } from '../../util/rational.ts';

export type RelationOperator = '=' | '≠' | '<' | '>' | '≤' | '≥' | '≈' | '∈' | '≡' | ':' | '→' | '⊂' | '⊆';

/** A bracketed or bare list; `[` `]` `(` `)` `{` `}` or '' on either side. */
export interface ListExpr {
  readonly kind: 'list';
  readonly open: '' | '(' | '[' | '{';
  readonly close: '' | ')' | ']' | '}';
  readonly items: readonly Expr[];
}

/** An answer, or a part of one. */
export type Expr =
  /** `decimals` counts the digits after the point of a decimal literal; absent for whole numbers. */
  | { readonly kind: 'number'; readonly value: Rational; readonly decimals?: number }
  | { readonly kind: 'symbol'; readonly name: string }
  | { readonly kind: 'text'; readonly text: string }
  | { readonly kind: 'sum'; readonly terms: readonly Expr[] }
  | { readonly kind: 'product'; readonly factors: readonly Expr[] }
  | { readonly kind: 'power'; readonly base: Expr; readonly exponent: Expr }
  | { readonly kind: 'plusminus'; readonly left: Expr | null; readonly right: Expr }
  /** A named function, operator or construct, such as sin, abs, binom, sum. */
  | { readonly kind: 'call'; readonly name: string; readonly args: readonly Expr[] }
  | { readonly kind: 'quantity'; readonly value: Expr; readonly unit: string }
  | { readonly kind: 'matrix'; readonly rows: readonly (readonly Expr[])[] }
  | ListExpr
  /** parts[0] operators[0] parts[1] operators[1] ... */
  | {
      readonly kind: 'relation';
      readonly parts: readonly Expr[];
      readonly operators: readonly RelationOperator[];
    };

export function call(name: string, ...args: readonly Expr[]): Expr {
  return { kind: 'call', name, args };
}

export function symbol(name: string): Expr {
  return { kind: 'symbol', name };
}

export function product(factors: readonly Expr[]): Expr {
  return factors.length === 1 ? factors[0]! : { kind: 'product', factors };
}

export function sum(terms: readonly Expr[]): Expr {
  return terms.length === 1 ? terms[0]! : { kind: 'sum', terms };
}

export function power(base: Expr, exponent: Expr): Expr {
  return { kind: 'power', base, exponent };
}
