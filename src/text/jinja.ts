/**
 * Owns rendering of Jinja templates as transformers does: the library's engine, with Python's way of printing values,
 * `break` that keeps what was printed, `{%+`, repeated strings, and marks where `{% generation %}` begins and ends.
 * Knows no chat.
 */

import { Environment, Interpreter, parse, tokenize } from '@huggingface/jinja';
import { messageOf, ReckonError } from '../util/errors.ts';
import { pythonMethods, stripped } from './python-strings.ts';

/** Noncharacters of Unicode: no text has them. */
const opening = '\uFDD0';
const closing = '\uFDD1';

/** A rendered text, and the parts of it that stood between generation tags: [start, end) in UTF-16 units. */
export interface Rendered {
  readonly text: string;
  readonly generated: readonly (readonly [start: number, end: number])[];
}

interface Value {
  readonly type: string;
  readonly value: unknown;
  toString(): string;
}

interface Node {
  readonly type: string;
  readonly body?: readonly Node[];
  readonly operator?: { readonly value: string };
  readonly left?: Node;
  readonly right?: Node;
  readonly computed?: boolean;
  readonly object?: Node;
  readonly property?: { readonly value?: unknown };
  readonly callee?: { readonly value?: unknown };
  readonly value?: unknown;
}

/** What the library's interpreter does, as far as it is changed here. */
interface Evaluator {
  run(program: unknown): Value;
  evaluate(node: Node, scope: Environment): Value;
  evaluateFor(node: Node, scope: Environment): Value;
  evaluateBinaryExpression(node: Node, scope: Environment): Value;
  evaluateBlock(statements: readonly Node[], scope: Environment): Value;
  evaluateMemberExpression(node: Node, scope: Environment): Value;
  applyFilter(operand: Value, filter: Node, scope: Environment): Value;
}

const Base = Interpreter as unknown as new (scope: Environment) => Evaluator;
const silent = new Set(['Set', 'If', 'For', 'Macro', 'Comment', 'CallStatement', 'FilterStatement']);

class PythonInterpreter extends Base {
  private readonly loops = new Set<readonly Node[]>();
  private readonly broken = new Set<readonly Node[]>();
  override evaluateFor(node: Node, scope: Environment): Value {
    const body = node.body!;
    this.loops.add(body);
    try {
      return super.evaluateFor(node, scope);
    } finally {
      this.broken.delete(body);
    }
  }

  /** Prints as Python does; a `break` or `continue` keeps what its loop's body had printed before it. */
  override evaluateBlock(statements: readonly Node[], scope: Environment): Value {
    if (this.broken.has(statements)) return stringValue('');
    let printed = '';
    try {
      for (const statement of statements) {
        const value = this.evaluate(statement, scope);
        if (value.type === 'UndefinedValue') continue;
        if (value.type === 'NullValue' && silent.has(statement.type)) continue;
        printed += python(value, false);
      }
    } catch (thrown) {
      const kind = controlOf(thrown);
      if (kind === null) throw thrown;
      const control = thrown as { printed?: string };
      control.printed = printed + (control.printed ?? '');
      if (!this.loops.has(statements)) throw thrown;
      if (kind === 'break') this.broken.add(statements);
      return stringValue(control.printed);
    }
    return stringValue(printed);
  }

  override evaluateBinaryExpression(node: Node, scope: Environment): Value {
    const operator = node.operator!.value;
    if (!['*', '~', '%'].includes(operator)) return super.evaluateBinaryExpression(node, scope);
    const [left, right] = [this.evaluate(node.left!, scope), this.evaluate(node.right!, scope)];
    if (operator === '~') return stringValue(python(left, false) + python(right, false));
    if (operator === '%' && left.type === 'IntegerValue' && right.type === 'IntegerValue') {
      const [dividend, divisor] = [Number(left.value), Number(right.value)];
      return runtimeValue(dividend - divisor * Math.floor(dividend / divisor));
    }
    if (left.type !== 'StringValue' || right.type !== 'IntegerValue')
      return super.evaluateBinaryExpression(node, scope);
    return stringValue((left.value as string).repeat(Math.max(0, Number(right.value))));
  }

  /** Strings have Python's methods: the library's own leave out what `strip('x')` is given. */
  override evaluateMemberExpression(node: Node, scope: Environment): Value {
    const name = node.computed === true ? undefined : node.property?.value;
    if (typeof name !== 'string' || !Object.hasOwn(pythonMethods, name))
      return super.evaluateMemberExpression(node, scope);
    const object = this.evaluate(node.object!, scope);
    if (object.type !== 'StringValue') return super.evaluateMemberExpression(node, scope);
    return runtimeValue((...given: string[]) => pythonMethods[name]!(object.value as string, ...given));
  }

  override applyFilter(operand: Value, filter: Node, scope: Environment): Value {
    const name = filter.type === 'Identifier' ? filter.value : filter.callee?.value;
    if (name === 'string') return stringValue(python(operand, false));
    if (filter.type === 'Identifier' && operand.type === 'StringValue') {
      const text = operand.value as string;
      if (name === 'trim') return stringValue(stripped(text));
      // Characters, not UTF-16 units.
      if (name === 'length') return runtimeValue([...text].length);
    }
    const filtered = super.applyFilter(operand, filter, scope);
    return name === 'tojson' ? stringValue(withPythonNumbers(filtered.value as string)) : filtered;
  }
}

/** A value of the library's own, made of a plain one. */
function runtimeValue(plain: unknown): Value {
  return new Environment().set('plain', plain);
}

/** The library does not export the class of its strings, but makes one of any text. */
const StringValue = new Environment().set('text', '').constructor as new (text: string) => Value;

function stringValue(text: string): Value {
  return new StringValue(text);
}

/** The library throws its own errors for these and does not export them. */
function controlOf(thrown: unknown): 'break' | 'continue' | null {
  const name = thrown instanceof Error ? thrown.constructor.name : '';
  if (name.includes('Break')) return 'break';
  return name.includes('Continue') ? 'continue' : null;
}

/** str() of a value, or repr() inside lists and mappings. */
function python(value: Value, quoted: boolean): string {
  switch (value.type) {
    case 'BooleanValue':
      return value.value ? 'True' : 'False';
    case 'NullValue':
      return 'None';
    case 'UndefinedValue':
      return '';
    case 'StringValue':
      return quoted ? quote(value.value as string) : (value.value as string);
    case 'ArrayValue':
      return `[${(value.value as Value[]).map((item) => python(item, true)).join(', ')}]`;
    case 'TupleValue':
      return `(${(value.value as Value[]).map((item) => python(item, true)).join(', ')})`;
    case 'ObjectValue':
      return `{${[...(value.value as Map<string, Value>)]
        .map(([key, item]) => `${quote(key)}: ${python(item, true)}`)
        .join(', ')}}`;
    case 'FloatValue':
      return pythonNumber(value.value as number) ?? value.toString();
    default:
      return value.toString();
  }
}

/** Python turns to powers of ten below 1e-4, JavaScript below 1e-6, and with one digit; null for any other number. */
function pythonNumber(value: number): string | null {
  const [digits, exponent] = value.toExponential().split('e');
  return Number(exponent) < -4 ? `${digits}e-${exponent!.slice(1).padStart(2, '0')}` : null;
}

/** JSON whose numbers are written as Python writes them. */
function withPythonNumbers(json: string): string {
  return json.replace(/"(?:[^"\\]|\\.)*"|-?\d[\d.e+-]*/g, (part) =>
    part.startsWith('"') ? part : (pythonNumber(Number(part)) ?? part),
  );
}

function quote(text: string): string {
  const mark = text.includes("'") && !text.includes('"') ? '"' : "'";
  const escaped = text
    .replaceAll('\\', '\\\\')
    .replaceAll('\n', '\\n')
    .replaceAll('\t', '\\t')
    .replaceAll('\r', '\\r')
    // biome-ignore lint/suspicious/noControlCharactersInRegex: they are what is escaped
    .replace(/[\x00-\x1f\x7f-\xa0\xad]/g, (one) => `\\x${one.charCodeAt(0).toString(16).padStart(2, '0')}`);
  return mark + (mark === "'" ? escaped.replaceAll("'", "\\'") : escaped) + mark;
}

/** A template that is parsed once. Throws `bad-template` for one that cannot be parsed or rendered. */
export class JinjaTemplate {
  private readonly program: ReturnType<typeof parse>;

  constructor(source: string) {
    this.program = guarded('parsed', () =>
      parse(tokenize(prepared(source), { lstrip_blocks: true, trim_blocks: true })),
    );
  }

  render(variables: Readonly<Record<string, unknown>>): Rendered {
    const text = guarded('rendered', () => {
      const scope = new Environment();
      scope.set('false', false);
      scope.set('true', true);
      scope.set('none', null);
      for (const [name, value] of [
        ['False', false],
        ['True', true],
        ['None', null],
      ] as const)
        scope.set(name, value);
      scope.set('raise_exception', (message: string) => {
        throw new Error(message);
      });
      scope.set('range', range);
      scope.set('strftime_now', strftimeNow);
      for (const [name, value] of Object.entries(variables)) if (value !== undefined) scope.set(name, value);
      return String(new PythonInterpreter(scope).run(this.program).value);
    });
    return unmarked(text);
  }
}

function guarded<T>(what: string, work: () => T): T {
  try {
    return work();
  } catch (error) {
    throw new ReckonError(
      'data',
      'bad-template',
      `the chat template could not be ${what}: ${messageOf(error)}`,
    );
  }
}

/** `{%+` keeps the spaces before a tag, `+%}` the newline after it: an empty expression between does both. */
function prepared(source: string): string {
  return source
    .replace(/\r\n?/g, '\n')
    .replace(/\{%([-+]?)\s*generation\s*([-+]?)%\}/g, `{%$1 if true %}{{ "${opening}" }}{% endif $2%}`)
    .replace(/\{%([-+]?)\s*endgeneration\s*([-+]?)%\}/g, `{%$1 if true %}{{ "${closing}" }}{% endif $2%}`)
    .replaceAll('{%+', '{{ "" }}{%')
    .replaceAll('+%}', '%}{{ "" }}');
}

function unmarked(text: string): Rendered {
  const generated: [number, number][] = [];
  let plain = '';
  let start = 0;
  for (const part of text.split(/([\uFDD0\uFDD1])/)) {
    if (part === opening) start = plain.length;
    else if (part === closing) generated.push([start, plain.length]);
    else plain += part;
  }
  return { text: plain, generated };
}

function range(first: number, end?: number, step = 1): number[] {
  const [from, to] = end === undefined ? [0, first] : [first, end];
  const count = Math.max(0, Math.ceil((to - from) / step));
  if (!(count <= 1e6)) throw new Error(`range of ${count} numbers`);
  return Array.from({ length: count }, (_, i) => from + i * step);
}

/** The directives that chat templates use; others are an error, not a wrong date. */
function strftimeNow(format: string): string {
  const now = new Date();
  const two = (value: number) => String(value).padStart(2, '0');
  const name = (style: 'short' | 'long') => now.toLocaleString('en-US', { month: style });
  const parts: Readonly<Record<string, string>> = {
    '%Y': String(now.getFullYear()),
    '%m': two(now.getMonth() + 1),
    '%d': two(now.getDate()),
    '%H': two(now.getHours()),
    '%M': two(now.getMinutes()),
    '%S': two(now.getSeconds()),
    '%b': name('short'),
    '%B': name('long'),
    '%%': '%',
  };
  return format.replace(/%./g, (directive) => {
    const value = parts[directive];
    if (value === undefined) throw new Error(`strftime_now does not know ${directive}`);
    return value;
  });
}
