/** Owns the value of an answer's tree in double precision at given points, complex numbers included. Proves nothing. */

import { toNumber } from '../../util/rational.ts';
import { opaque } from './exact.ts';
import type { Expr } from './expression.ts';

export interface Complex {
  readonly re: number;
  readonly im: number;
}

/** Values for letters; those that are missing get one from their name. */
export type Point = (name: string) => Complex;

const MAX_SUM = 5000;

/** The value at a point; NaN parts where there is none. */
export function evaluateAt(expr: Expr, point: Point): Complex {
  switch (expr.kind) {
    case 'number':
      return real(toNumber(expr.value));
    case 'symbol':
      return constantOf(expr.name) ?? point(expr.name);
    case 'sum':
      return expr.terms.map((term) => evaluateAt(term, point)).reduce(plus);
    case 'product':
      return expr.factors.map((factor) => evaluateAt(factor, point)).reduce(times);
    case 'power':
      return raised(evaluateAt(expr.base, point), evaluateAt(expr.exponent, point));
    case 'quantity':
      return times(
        evaluateAt(expr.value, point),
        real(expr.unit === '%' ? 0.01 : expr.unit === 'degree' ? Math.PI / 180 : 1),
      );
    case 'call':
      return applied(expr.name, expr.args, point);
    default:
      return point(opaque(expr));
  }
}

function constantOf(name: string): Complex | null {
  if (name === 'pi') return real(Math.PI);
  if (name === 'e') return real(Math.E);
  if (name === 'i') return { re: 0, im: 1 };
  return null;
}

function applied(name: string, args: readonly Expr[], point: Point): Complex {
  if (name === 'sum' || name === 'prod') {
    const value = series(name, args, point);
    if (value !== null) return value;
  }
  if (name === 'int' || name === 'lim' || name === 'sum' || name === 'prod')
    return point(opaque({ kind: 'call', name, args }));
  const values = args.map((arg) => evaluateAt(arg, point));
  const known = values.length > 0 ? builtIn(name, values) : null;
  if (known !== null) return known;
  // An unknown function is the same number wherever its arguments are the same numbers.
  return point(`${name}(${values.map(({ re, im }) => `${rounded(re)},${rounded(im)}`).join(';')})`);
}

function rounded(x: number): string {
  return x === 0 ? '0' : x.toPrecision(9);
}

/** Finite sums and products over whole numbers. */
function series(name: 'sum' | 'prod', [lower, upper, body]: readonly Expr[], point: Point): Complex | null {
  if (
    lower?.kind !== 'relation' ||
    lower.operators[0] !== '=' ||
    lower.parts[0]?.kind !== 'symbol' ||
    body === undefined ||
    upper === undefined
  )
    return null;
  const index = lower.parts[0].name;
  const from = evaluateAt(lower.parts[1]!, point).re;
  const to = evaluateAt(upper, point).re;
  if (!Number.isInteger(from) || !Number.isInteger(to) || to - from > MAX_SUM) return null;
  let value = real(name === 'sum' ? 0 : 1);
  for (let i = from; i <= to; i++) {
    const term = evaluateAt(body, (letter) => (letter === index ? real(i) : point(letter)));
    value = name === 'sum' ? plus(value, term) : times(value, term);
  }
  return value;
}

function builtIn(name: string, values: readonly Complex[]): Complex | null {
  const z = values[0]!;
  switch (name) {
    case 'frac':
    case 'ratio':
      return values.length === 2 ? over(z, values[1]!) : null;
    case 'root':
      return rootOf(z, values[1]!);
    case 'ln':
      return logOf(z);
    case 'log':
      return over(logOf(z), logOf(values[1] ?? real(10)));
    case 'log10':
      return over(logOf(z), real(Math.LN10));
    case 'exp':
      return expOf(z);
    case 'abs':
      return real(Math.hypot(z.re, z.im));
    case 're':
      return real(z.re);
    case 'im':
      return real(z.im);
    default:
      return trigonometric(name, z) ?? realFunction(name, values);
  }
}

function realFunction(name: string, values: readonly Complex[]): Complex | null {
  if (values.some(({ im }) => Math.abs(im) > 1e-9)) return null;
  const xs = values.map(({ re }) => re);
  const [x, y = Number.NaN] = xs as [number, number?];
  switch (name) {
    case 'floor':
      return real(Math.floor(x + 1e-11));
    case 'ceil':
      return real(Math.ceil(x - 1e-11));
    case 'sign':
      return real(Math.sign(x));
    case 'max':
      return real(Math.max(...xs));
    case 'min':
      return real(Math.min(...xs));
    case 'mod':
      return real(x - y * Math.floor(x / y));
    case 'factorial':
      return real(gamma(x + 1));
    case 'binom':
      return real(gamma(x + 1) / (gamma(y + 1) * gamma(x - y + 1)));
    default:
      return null;
  }
}

function trigonometric(name: string, z: Complex): Complex | null {
  const inverse = /^a(sin|cos|tan|cot|sec|csc)(h?)$/.exec(name);
  if (inverse) return inverseTrigonometric(inverse[1]!, inverse[2] === 'h', z);
  const match = /^(sin|cos|tan|cot|sec|csc)(h?)$/.exec(name);
  if (!match) return null;
  // sinh z = -i sin iz and cosh z = cos iz.
  const turned = match[2] === 'h' ? times(z, I) : z;
  const e = expOf(times(turned, I));
  const minus = over(real(1), e);
  const sine = over(plus(e, times(minus, real(-1))), { re: 0, im: 2 });
  const cosine = over(plus(e, minus), real(2));
  const s = match[2] === 'h' ? times(sine, { re: 0, im: -1 }) : sine;
  switch (match[1]) {
    case 'sin':
      return s;
    case 'cos':
      return cosine;
    case 'tan':
      return over(s, cosine);
    case 'cot':
      return over(cosine, s);
    case 'sec':
      return over(real(1), cosine);
    default:
      return over(real(1), s);
  }
}

/** Real values inside the domain of the principal branch; NaN outside. */
function inverseTrigonometric(name: string, hyperbolic: boolean, { re, im }: Complex): Complex {
  if (Math.abs(im) > 1e-12) return real(Number.NaN);
  if (hyperbolic)
    return real(
      name === 'sin'
        ? Math.asinh(re)
        : name === 'cos'
          ? Math.acosh(re)
          : name === 'tan'
            ? Math.atanh(re)
            : Number.NaN,
    );
  if (name === 'sin') return real(Math.asin(re));
  if (name === 'cos') return real(Math.acos(re));
  if (name === 'tan') return real(Math.atan(re));
  if (name === 'cot') return real(Math.PI / 2 - Math.atan(re));
  return real(name === 'sec' ? Math.acos(1 / re) : Math.asin(1 / re));
}

const I: Complex = { re: 0, im: 1 };

export function real(re: number): Complex {
  return { re, im: 0 };
}

export function plus(a: Complex, b: Complex): Complex {
  return { re: a.re + b.re, im: a.im + b.im };
}

export function times(a: Complex, b: Complex): Complex {
  return { re: a.re * b.re - a.im * b.im, im: a.re * b.im + a.im * b.re };
}

export function over(a: Complex, b: Complex): Complex {
  if (b.im === 0) return { re: a.re / b.re, im: a.im / b.re };
  const size = b.re * b.re + b.im * b.im;
  return { re: (a.re * b.re + a.im * b.im) / size, im: (a.im * b.re - a.re * b.im) / size };
}

function expOf({ re, im }: Complex): Complex {
  const size = Math.exp(re);
  return im === 0 ? real(size) : { re: size * Math.cos(im), im: size * Math.sin(im) };
}

function logOf({ re, im }: Complex): Complex {
  return { re: Math.log(Math.hypot(re, im)), im: Math.atan2(im, re) };
}

/** Real odd roots of negative numbers are negative, as school has it. */
function rootOf(z: Complex, n: Complex): Complex {
  if (z.im === 0 && z.re < 0 && n.im === 0 && Math.abs(n.re % 2) === 1) return real(-((-z.re) ** (1 / n.re)));
  return raised(z, over(real(1), n));
}

function raised(base: Complex, exponent: Complex): Complex {
  if (base.im === 0 && exponent.im === 0 && (base.re >= 0 || Number.isInteger(exponent.re)))
    return real(base.re ** exponent.re);
  if (base.re === 0 && base.im === 0) return exponent.re > 0 ? base : real(Number.NaN);
  if (exponent.im === 0 && Number.isInteger(exponent.re) && Math.abs(exponent.re) <= 64) {
    let value = real(1);
    for (let i = 0; i < Math.abs(exponent.re); i++) value = times(value, base);
    return exponent.re < 0 ? over(real(1), value) : value;
  }
  return expOf(times(logOf(base), exponent));
}

/** Lanczos' approximation, g = 7, with nine coefficients; whole arguments are products. */
function gamma(x: number): number {
  if (Number.isInteger(x)) {
    if (x <= 0 || x > 171) return x <= 0 ? Number.NaN : Number.POSITIVE_INFINITY;
    let product = 1;
    for (let i = 2; i < x; i++) product *= i;
    return product;
  }
  if (x < 0.5) return Math.PI / (Math.sin(Math.PI * x) * gamma(1 - x));
  const shifted = x - 1;
  let total = LANCZOS[0]!;
  for (let i = 1; i < LANCZOS.length; i++) total += LANCZOS[i]! / (shifted + i);
  const t = shifted + 7.5;
  return Math.sqrt(2 * Math.PI) * t ** (shifted + 0.5) * Math.exp(-t) * total;
}

const LANCZOS = [
  0.99999999999980993, 676.5203681218851, -1259.1392167224028, 771.32342877765313, -176.61502916214059,
  12.507343278686905, -0.13857109526572012, 9.9843695780195716e-6, 1.5056327351493116e-7,
];
