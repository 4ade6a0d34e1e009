/** Owns the checking of arithmetic that stands in a text: `3 * (4 + 1) = 15` and its like. Knows no problem. */

/** An equation in a text whose two sides are numbers. */
export interface Equation {
  readonly text: string;
  readonly left: number;
  readonly right: number;
  readonly holds: boolean;
}

/** Longest left side that is looked at, in characters. */
const LONGEST = 120;
const NUMBER = /^\d+(?:\.\d+)?(?::\d+)?/;

/**
 * Every `expression = number` of a text with at least one operator, in order: + - * / and their signs (x between numbers,
 * the multiplication and division signs, LaTeX's \times, \cdot, \div and \frac of numbers), parentheses, decimals, thousands
 * commas, a ratio such as 8:3, currency signs left aside. A right side with decimals holds where it is the left one rounded
 * so; a per cent sign may mean hundredths or stand for nothing; where the right side goes on as an expression, its first
 * number or all of it may be meant. What holds in one of these readings holds.
 */
export function equationsIn(text: string): Equation[] {
  const found: Equation[] = [];
  const line = text
    .replace(/\\[dt]?frac\{(\d{1,15})\}\{(\d{1,15})\}/g, '($1/$2)')
    .replace(/\\(?:times|cdot)(?![a-z])/g, '*')
    .replace(/\\div(?![a-z])/g, '/')
    .replace(/\\(?=[$%])/g, '')
    .replace(/(?<=\d),(?=\d{3}(?!\d))/g, '')
    .replace(/[×·∗]/g, '*')
    .replace(/÷/g, '/')
    .replace(/−/g, '-');
  for (let at = line.indexOf('='); at >= 0; at = line.indexOf('=', at + 1)) {
    const equation = equationAt(line, at);
    if (equation !== null) found.push(equation);
  }
  return found;
}

function equationAt(line: string, at: number): Equation | null {
  const right = /^\s{0,4}\$?\s?(-?\d{1,15}(?:\.\d{1,15})?)(?::(\d{1,15}))?(%?)/.exec(
    line.slice(at + 1, at + 60),
  );
  const left = /[\d+\-*/().:x\s$%]+$/.exec(line.slice(Math.max(0, at - LONGEST), at))?.[0] ?? '';
  if (right === null || !/[+\-*/x]/.test(left)) return null;
  const values = readings(left).flatMap((text) => evaluate(text) ?? []);
  const [value] = values;
  if (value === undefined) return null;
  const claimed = Number(right[1]) / Number(right[2] ?? 1);
  const decimals = right[2] === undefined ? (right[1]!.split('.')[1]?.length ?? 0) : 12;
  const percent = right[3] === '%';
  const holds = values.some(
    (one) => equal(one, claimed, decimals) || (percent && equal(100 * one, claimed, decimals)),
  );
  return {
    text: `${left.trim()}=${right[0].trim()}`,
    left: value,
    right: claimed,
    holds: holds || goesOnEqual(line.slice(at + 1, at + LONGEST), values),
  };
}

/** An expression without its currency signs; with per cent signs once as hundredths and once as nothing. */
function readings(expression: string): string[] {
  const bare = expression.replace(/\$/g, '').trim();
  if (!bare.includes('%')) return [bare];
  return [bare.replace(/(\d{1,15}(?:\.\d{1,15})?)%/g, '($1/100)'), bare].map((text) =>
    text.replace(/%/g, ''),
  );
}

/** Whether what follows an equals sign is an expression of one of the values. */
function goesOnEqual(rest: string, values: readonly number[]): boolean {
  const written = /^[\d+\-*/().:x\s$%]+/.exec(rest)?.[0].replace(/[^\d)%]+$/, '') ?? '';
  return readings(written).some((text) => {
    const parser = new Parser(text);
    const whole = parser.sum(0);
    return (
      whole !== null && parser.atEnd() && parser.operators > 0 && values.some((one) => equal(one, whole, 0))
    );
  });
}

/** Equal, or the claimed number is the value rounded or cut to its decimals. */
function equal(value: number, claimed: number, decimals: number): boolean {
  const rounding = 1e-9 * Math.max(1, Math.abs(value));
  if (decimals === 0) return Math.abs(value - claimed) <= rounding;
  const unit = 10 ** -decimals;
  const cut = Math.abs(value) - Math.abs(claimed);
  const sameSign = value * claimed >= 0;
  return Math.abs(value - claimed) <= unit / 2 + rounding || (sameSign && cut >= 0 && cut < unit);
}

/** The value of the longest tail of a text that is an expression, or null where none is or it divides by zero. */
function evaluate(text: string): number | null {
  for (let start = 0; start < text.length; start++) {
    // A tail begins at a number, a parenthesis or a sign, and never inside a number.
    if (!/[\d(-]/.test(text[start]!) || (/\d/.test(text[start]!) && /[\d.:]/.test(text[start - 1] ?? '')))
      continue;
    const parser = new Parser(text.slice(start));
    const value = parser.sum(0);
    if (value !== null && parser.atEnd() && parser.operators > 0)
      return Number.isFinite(value) ? value : null;
  }
  return null;
}

/** Recursive descent over numbers, + - * / x and parentheses. */
class Parser {
  operators = 0;
  private rest: string;

  constructor(text: string) {
    this.rest = text.trimStart();
  }

  atEnd(): boolean {
    return this.rest === '';
  }

  sum(depth: number): number | null {
    return this.chain(['+', '-'], () => this.chain(['*', '/', 'x'], () => this.atom(depth)));
  }

  private chain(operators: readonly string[], operand: () => number | null): number | null {
    let left = operand();
    while (left !== null && operators.includes(this.rest.charAt(0)) && this.rest !== '') {
      const operator = this.rest.charAt(0);
      this.take(1);
      this.operators++;
      const right = operand();
      left = right === null ? null : apply(left, operator, right);
    }
    return left;
  }

  private atom(depth: number): number | null {
    const sign = this.rest.startsWith('-') ? -1 : 1;
    if (sign < 0) this.take(1);
    if (this.rest.startsWith('(')) {
      if (depth > 20) return null;
      this.take(1);
      const inner = this.sum(depth + 1);
      if (inner === null || !this.rest.startsWith(')')) return null;
      this.take(1);
      return sign * inner;
    }
    const digits = NUMBER.exec(this.rest)?.[0];
    if (digits === undefined) return null;
    this.take(digits.length);
    const [whole, part = '1'] = digits.split(':');
    return (sign * Number(whole)) / Number(part);
  }

  private take(count: number): void {
    this.rest = this.rest.slice(count).trimStart();
  }
}

function apply(left: number, operator: string, right: number): number {
  if (operator === '+') return left + right;
  if (operator === '-') return left - right;
  return operator === '/' ? left / right : left * right;
}
