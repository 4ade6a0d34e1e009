/** Owns reading arithmetic as people write it, and its exact value. Runs no code; knows no puzzle and no float. */

import {
  addR,
  inverseR,
  isInteger,
  mulR,
  negR,
  powR,
  type Rational,
  rational,
  TooLarge,
} from './rational.ts';

/** An expression of exact numbers and single letters. */
export type Arithmetic =
  | { readonly kind: 'number'; readonly value: Rational }
  | { readonly kind: 'name'; readonly name: string }
  | { readonly kind: 'negated'; readonly of: Arithmetic }
  | {
      readonly kind: 'binary';
      readonly operator: '+' | '-' | '*' | '/' | '^';
      readonly left: Arithmetic;
      readonly right: Arithmetic;
    };

/** What parsing gave, or where it stopped and what was expected there. */
export type ParsedArithmetic =
  | { readonly ok: true; readonly expression: Arithmetic }
  | { readonly ok: false; readonly at: number; readonly message: string };

/** The exact value, or why there is none. */
export type ExactValue =
  | { readonly ok: true; readonly value: Rational }
  | {
      readonly ok: false;
      readonly reason: 'malformed' | 'has-names' | 'division-by-zero' | 'not-rational' | 'too-large';
    };

const MAX_LENGTH = 2000;
const MAX_DEPTH = 100;

/**
 * Parses numbers (`12`, `1.5`, `1,000`), single letters, `+ - * / ^` (also `**`, `×`, `÷`, `·`, `−`), signs, parentheses
 * and products without a sign (`2x`, `3(4)`) in linear time. Texts over 2,000 characters or 100 parentheses deep are
 * refused.
 */
export function parseArithmetic(text: string): ParsedArithmetic {
  if (text.length > MAX_LENGTH)
    return { ok: false, at: MAX_LENGTH, message: `expected at most ${MAX_LENGTH} characters` };
  const parser = new Parser(plain(text));
  try {
    return { ok: true, expression: parser.whole() };
  } catch (error) {
    if (error instanceof Unexpected) return { ok: false, at: error.at, message: error.message };
    throw error;
  }
}

/** Whether a text is an expression that `parseArithmetic` reads. */
export function isArithmetic(text: string): boolean {
  return parseArithmetic(text).ok;
}

/** The exact value of an expression of numbers; never rounds and never throws. */
export function exactArithmetic(text: string): ExactValue {
  const parsed = parseArithmetic(text);
  if (!parsed.ok) return { ok: false, reason: 'malformed' };
  try {
    return { ok: true, value: valueOfExpression(parsed.expression) };
  } catch (error) {
    if (error instanceof NoValue) return { ok: false, reason: error.reason };
    if (error instanceof TooLarge) return { ok: false, reason: 'too-large' };
    throw error;
  }
}

class NoValue extends Error {
  readonly reason: 'has-names' | 'division-by-zero' | 'not-rational';

  constructor(reason: NoValue['reason']) {
    super(reason);
    this.reason = reason;
  }
}

function valueOfExpression(expression: Arithmetic): Rational {
  if (expression.kind === 'number') return expression.value;
  if (expression.kind === 'name') throw new NoValue('has-names');
  if (expression.kind === 'negated') return negR(valueOfExpression(expression.of));
  const left = valueOfExpression(expression.left);
  const right = valueOfExpression(expression.right);
  switch (expression.operator) {
    case '+':
      return addR(left, right);
    case '-':
      return addR(left, negR(right));
    case '*':
      return mulR(left, right);
    case '/':
      if (right.p === 0n) throw new NoValue('division-by-zero');
      return mulR(left, inverseR(right));
    case '^':
      if (!isInteger(right)) throw new NoValue('not-rational');
      if (left.p === 0n && right.p < 0n) throw new NoValue('division-by-zero');
      return powR(left, right.p);
  }
}

class Unexpected extends Error {
  readonly at: number;

  constructor(at: number, message: string) {
    super(message);
    this.at = at;
  }
}

/** One character for one, so that places stay those of the text. */
function plain(text: string): string {
  return text
    .replace(/[×·⋅∙]/g, '*')
    .replace(/÷/g, '/')
    .replace(/[−–]/g, '-')
    .replace(/\s/g, ' ');
}

class Parser {
  private readonly text: string;
  private at = 0;

  constructor(text: string) {
    this.text = text;
  }

  whole(): Arithmetic {
    const expression = this.sum(0);
    if (this.peek() !== '') this.refuse('an operator or the end');
    return expression;
  }

  private sum(depth: number): Arithmetic {
    let left = this.product(depth);
    for (;;) {
      const operator = this.peek();
      if (operator !== '+' && operator !== '-') return left;
      this.at++;
      left = { kind: 'binary', operator, left, right: this.product(depth) };
    }
  }

  private product(depth: number): Arithmetic {
    let left = this.signed(depth);
    for (;;) {
      const next = this.peek();
      if (next === '*' || next === '/') {
        this.at++;
        left = { kind: 'binary', operator: next, left, right: this.signed(depth) };
      } else if (next === '(' || /[A-Za-z]/.test(next))
        left = { kind: 'binary', operator: '*', left, right: this.power(depth) };
      else return left;
    }
  }

  private signed(depth: number): Arithmetic {
    let negative = false;
    for (let sign = this.peek(); sign === '+' || sign === '-'; sign = this.peek()) {
      this.at++;
      if (sign === '-') negative = !negative;
    }
    const value = this.power(depth);
    return negative ? { kind: 'negated', of: value } : value;
  }

  private power(depth: number): Arithmetic {
    const base = this.atom(depth);
    const next = this.peek();
    const starred = next === '*' && this.text[this.at + 1] === '*';
    if (next !== '^' && !starred) return base;
    if (depth >= MAX_DEPTH) this.refuse('less nesting');
    this.at += starred ? 2 : 1;
    return { kind: 'binary', operator: '^', left: base, right: this.signed(depth + 1) };
  }

  private atom(depth: number): Arithmetic {
    const next = this.peek();
    if (/[A-Za-z]/.test(next)) {
      if (/[A-Za-z]/.test(this.text[this.at + 1] ?? '')) this.refuse('a single letter');
      this.at++;
      return { kind: 'name', name: next };
    }
    if (next !== '(') return this.number();
    if (depth >= MAX_DEPTH) this.refuse('less nesting');
    this.at++;
    const inner = this.sum(depth + 1);
    if (this.peek() !== ')') this.refuse('a closing parenthesis');
    this.at++;
    return inner;
  }

  private number(): Arithmetic {
    const match = /(?:\d{1,3}(?:,\d{3})+(?![\d,])|\d+)(?:\.\d+)?|\.\d+/y;
    match.lastIndex = this.at;
    const found = match.exec(this.text)?.[0];
    if (found === undefined) return this.refuse('a number, a letter or an opening parenthesis');
    this.at += found.length;
    const [whole = '', decimals = ''] = found.replaceAll(',', '').split('.');
    return { kind: 'number', value: rational(BigInt(whole + decimals), 10n ** BigInt(decimals.length)) };
  }

  private refuse(expected: string): never {
    const found = this.text[this.at];
    const what = found === undefined ? 'the end' : `'${found}'`;
    throw new Unexpected(this.at, `expected ${expected}, found ${what}`);
  }

  private peek(): string {
    while (this.text[this.at] === ' ') this.at++;
    return this.text[this.at] ?? '';
  }
}
