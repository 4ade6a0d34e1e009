/** Owns sums, products and powers of matrices: a tree that computes a matrix is that matrix. Knows no vectors' products. */

import { type Expr, product, sum } from './expression.ts';

type Rows = readonly (readonly Expr[])[];

const MAX_SIZE = 12;
const MAX_POWER = 20n;

/** The matrix that a tree computes, its elements not simplified; null where it computes none. */
export function matrixValue(expr: Expr): Expr | null {
  const rows = rowsOf(expr);
  return rows === null ? null : { kind: 'matrix', rows };
}

function rowsOf(expr: Expr): Rows | null {
  switch (expr.kind) {
    case 'matrix':
      return expr.rows.length <= MAX_SIZE && expr.rows.every((row) => row.length <= MAX_SIZE)
        ? expr.rows
        : null;
    case 'sum':
      return expr.terms.map(rowsOf).reduce(added);
    case 'product':
      return scaled(expr.factors);
    case 'power': {
      const { base, exponent } = expr;
      const rows = rowsOf(base);
      if (rows === null || exponent.kind !== 'number' || exponent.value.q !== 1n) return null;
      if (exponent.value.p < 1n || exponent.value.p > MAX_POWER) return null;
      return Array.from({ length: Number(exponent.value.p) }, () => rows as Rows | null).reduce(multiplied);
    }
    default:
      return null;
  }
}

function added(a: Rows | null, b: Rows | null): Rows | null {
  const same = a?.length === b?.length && a?.every((row, i) => row.length === b?.[i]?.length);
  if (a === null || b === null || !same) return null;
  return a.map((row, i) => row.map((item, j) => sum([item, b[i]![j]!])));
}

function scaled(factors: readonly Expr[]): Rows | null {
  const rows = factors.map(rowsOf);
  const matrices = rows.filter((one) => one !== null);
  if (matrices.length === 0) return null;
  const whole = matrices.length === 1 ? matrices[0]! : (matrices as (Rows | null)[]).reduce(multiplied);
  const scalars = factors.filter((_, i) => rows[i] === null);
  if (whole === null || scalars.length === 0) return whole;
  return whole.map((row) => row.map((item) => product([...scalars, item])));
}

function multiplied(a: Rows | null, b: Rows | null): Rows | null {
  if (a === null || b === null || a.some((row) => row.length !== b.length)) return null;
  return a.map((row) => b[0]!.map((_, j) => sum(row.map((item, k) => product([item, b[k]![j]!])))));
}
