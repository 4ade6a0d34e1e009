/**
 * Owns the reasoning quality of a completion by the measures of "Intrinsic reward distillation": steps, coverage of a
 * teacher's steps, logical consistency. They count surface signs and say nothing of whether a step is right.
 */

const STEP_SIGNS = [/Step \d+:/i, /\d\./, /First,/i, /Then,/i, /Therefore,/i, /So,/i, /Finally,/i];
const MATH_WORDS = ['calculate', 'compute', 'solve', 'find', 'result', 'answer'];
const CONNECTORS = ['therefore', 'thus', 'so', 'hence', 'because', 'since'];
const DOING_WORDS = ['calculate', 'compute', 'total', 'sum', 'multiply', 'divide', 'add', 'subtract'];
/** Runs of digits and of spaces are bounded, so that no text is gone over again and again. */
const EXPRESSIONS = [
  /\d{1,40}\s{0,8}[+\-*/=]\s{0,8}\d{1,40}/g,
  /\d{1,40}\s{0,8}=\s{0,8}\d{1,40}/g,
  /[a-zA-Z]\s{0,8}=\s{0,8}\d{1,40}/g,
];

/** The lines that look like a step: `Step 1:`, `1.`, `Then,` and their like, or an operator beside a number or a word. */
export function reasoningSteps(text: string): string[] {
  const lines = text.split('\n').map((line) => line.trim());
  return lines.filter((line) => STEP_SIGNS.some((sign) => sign.test(line)) || isMath(line));
}

function isMath(line: string): boolean {
  if (!/[+\-*/=^]/.test(line)) return false;
  return /\d/.test(line) || MATH_WORDS.some((word) => line.toLowerCase().includes(word));
}

/** The pieces of arithmetic in a text, such as `3 * 4`, `12 = 12`, `x = 5`; one may be found by two patterns. */
export function mathExpressions(text: string): string[] {
  return EXPRESSIONS.flatMap((pattern) => text.match(pattern) ?? []);
}

/** How many of a teacher's expressions a student has, and the other way round. */
export interface StepCoverage {
  /** Recall: the published "step coverage". */
  readonly coverage: number;
  readonly precision: number;
  readonly f1: number;
}

/** Compares distinct expressions of both step lists; all 0 where the teacher has none. */
export function stepCoverage(student: readonly string[], teacher: readonly string[]): StepCoverage {
  const [own, theirs] = [student, teacher].map((steps) => new Set(steps.flatMap(mathExpressions)));
  const common = [...own!].filter((expression) => theirs!.has(expression)).length;
  const precision = common / Math.max(1, own!.size);
  const coverage = common / Math.max(1, theirs!.size);
  const f1 = common === 0 ? 0 : (2 * precision * coverage) / (precision + coverage);
  return { coverage, precision, f1 };
}

/** The three parts of logical consistency, each in [0, 1], and their mean. */
export interface LogicalConsistency {
  readonly overall: number;
  readonly numberConsistency: number;
  readonly logicalFlow: number;
  readonly expressionValidity: number;
}

/** Whether numbers follow each other without jumps, words connect the steps, and arithmetic is whole. */
export function logicalConsistency(text: string): LogicalConsistency {
  const numberConsistency = consistencyOfNumbers(text);
  const logicalFlow = flowOf(text.toLowerCase());
  const expressionValidity = validityOf(text);
  const overall = (numberConsistency + logicalFlow + expressionValidity) / 3;
  return { overall, numberConsistency, logicalFlow, expressionValidity };
}

/** 1, or 0.7 where over half of the neighbours differ by more than a thousandfold; 0 without numbers. */
function consistencyOfNumbers(text: string): number {
  const numbers = (text.match(/-?\d+\.?\d*/g) ?? []).map(Number);
  if (numbers.length === 0) return 0;
  const changes = numbers.slice(0, -1).flatMap((number, i) => {
    return number === 0 ? [] : [Math.abs((numbers[i + 1]! - number) / number)];
  });
  const extreme = changes.filter((change) => change > 1000).length;
  return extreme > changes.length / 2 ? 0.7 : 1;
}

function flowOf(text: string): number {
  const has = (...words: readonly string[]): boolean => words.some((word) => text.includes(word));
  const structure =
    0.3 * Number(has('step', 'first')) +
    0.3 * Number(has('then', 'next')) +
    0.4 * Number(has('therefore', 'so', 'thus'));
  const connectors = CONNECTORS.filter((word) => text.includes(word)).length;
  return Math.min(1, structure + 0.3 * Math.min(1, connectors / 3));
}

function validityOf(text: string): number {
  const found = mathExpressions(text);
  if (found.length > 0) {
    // A variable's assignment (x = 5) is an expression and has no number on its left.
    const whole = found.filter((expression) => /^\d/.test(expression)).length;
    return Math.max(0.3, whole / found.length);
  }
  if (!/\d/.test(text)) return 0.3;
  return DOING_WORDS.some((word) => text.toLowerCase().includes(word)) ? 0.7 : 0.5;
}

/** What the overall score is made of; `correctness` (partial, in [0, 1]) may be unknown. */
export interface ReasoningParts {
  readonly coverage: number;
  readonly consistency: number;
  /** KL(teacher to student), nats a token; 0 where no teacher's distribution was compared. */
  readonly kl?: number;
  readonly correctness?: number | null;
}

/** 0.5 correctness + 0.2 coverage + 0.2 consistency + 0.1 / (1 + KL); 0.35, 0.35, 0.3 without a known answer. */
export function reasoningScore({
  coverage,
  consistency,
  kl = 0,
  correctness = null,
}: ReasoningParts): number {
  const nearness = 1 / (1 + kl);
  return correctness === null
    ? 0.35 * coverage + 0.35 * consistency + 0.3 * nearness
    : 0.5 * correctness + 0.2 * coverage + 0.2 * consistency + 0.1 * nearness;
}
