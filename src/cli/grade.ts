/** Owns `reckon grade`: rows of predictions and references in, the same rows with verdicts out, totals at the end. */

import { createWriteStream } from 'node:fs';
import { open } from 'node:fs/promises';
import { createInterface } from 'node:readline';
import { finished } from 'node:stream/promises';
import { type Command, Option } from 'commander';
import { completionColumns, referenceColumns } from '../data/columns.ts';
import { closeGraders, grade } from '../rewards/grade/grade.ts';
import { type Graded, type GradeOptions, PROFILES } from '../rewards/grade/graded.ts';
import { ReckonError } from '../util/errors.ts';
import { type ExitCode, type GlobalOptions, printResult } from './output.ts';
import { milliseconds } from './values.ts';

interface GradeCommandOptions extends GlobalOptions {
  readonly profile: GradeOptions['profile'];
  readonly extract: GradeOptions['extract'];
  readonly deadline: number;
  readonly out?: string;
}

/** Where a row's answer and its reference are looked for: the first of these columns that it has. */
const PREDICTIONS = ['prediction', ...completionColumns, 'answer_text', 'answer_num'];
const REFERENCES = [...new Set(['reference', ...referenceColumns, 'ground_truth_num'])];

/** Rows in flight: enough to keep the threads busy, few enough to hold in memory. */
const WINDOW = 256;

/** Adds the command; `finish` takes its exit code. */
export function addGradeCommand(program: Command, finish: (code: ExitCode) => void): void {
  program
    .command('grade')
    .description('judge the answers in a JSONL file by a named profile')
    .argument(
      '<file>',
      `rows with what was said (the first of ${PREDICTIONS.join(', ')}) and what is right (the first of ${REFERENCES.join(', ')}; a text, or a list of accepted ones); - reads stdin`,
    )
    .addOption(new Option('--profile <name>', 'whose rules').choices(PROFILES).default('default'))
    .addOption(
      new Option('--extract <side>', 'which side is a whole text with its answer somewhere')
        .choices(['none', 'prediction', 'both'])
        .default('prediction'),
    )
    .option('--deadline <ms>', 'longest time for one row', milliseconds, 2000)
    .option('--out <file>', 'write the rows here instead of to stdout')
    .addHelpText(
      'after',
      '\nExample:\n  reckon grade answers.jsonl --profile gsm8k-strict --out graded.jsonl',
    )
    .action(async (file: string, _options, command: Command) => {
      finish(await gradeFile(file, command.optsWithGlobals<GradeCommandOptions>()));
    });
}

interface Totals {
  rows: number;
  readonly verdicts: Record<Graded['verdict'], number>;
}

async function gradeFile(file: string, options: GradeCommandOptions): Promise<ExitCode> {
  const started = performance.now();
  const totals: Totals = { rows: 0, verdicts: { correct: 0, incorrect: 0, unverifiable: 0 } };
  const out: NodeJS.WritableStream =
    options.out === undefined ? process.stdout : createWriteStream(options.out);
  const failed = options.out === undefined ? null : finished(out);
  failed?.catch(() => undefined);
  try {
    for await (const text of gradedLines(file, options, totals)) {
      if (options.json === true && options.out === undefined) continue;
      if (!out.write(text))
        await Promise.race([
          new Promise<void>((resolve) => out.once('drain', () => resolve())),
          failed ?? new Promise(() => undefined),
        ]);
    }
  } finally {
    await closeGraders();
    if (options.out !== undefined) out.end();
  }
  await failed;
  const seconds = (performance.now() - started) / 1000;
  const { correct, incorrect, unverifiable } = totals.verdicts;
  const rate = totals.rows / Math.max(seconds, 1e-9);
  const summary = { rows: totals.rows, correct, incorrect, unverifiable, seconds, rowsPerSecond: rate };
  if (options.json === true) printResult(options, summary, '');
  else if (options.quiet !== true)
    process.stderr.write(
      `${totals.rows} rows: ${correct} correct, ${incorrect} incorrect, ${unverifiable} unverifiable (${percent(correct, totals.rows)} correct), ${Math.round(rate)} rows a second\n`,
    );
  return 0;
}

function percent(part: number, whole: number): string {
  return whole === 0 ? 'none' : `${((100 * part) / whole).toFixed(1)} %`;
}

/** The rows with their verdicts, in the order of the file; those before a bad row come out before its error. */
async function* gradedLines(
  file: string,
  options: GradeCommandOptions,
  totals: Totals,
): AsyncGenerator<string> {
  const waiting: Promise<string>[] = [];
  let failure: unknown = null;
  try {
    for await (const { line, number } of linesOf(file)) {
      waiting.push(gradeRow(readRow(line, `${file}:${number}`), options, totals));
      if (waiting.length >= WINDOW) yield await waiting.shift()!;
    }
  } catch (error) {
    failure = error;
  }
  for (const one of waiting) yield await one;
  if (failure !== null) throw failure;
}

/** The lines that are not empty, with their numbers. Throws what the system says of a file that cannot be read. */
async function* linesOf(file: string): AsyncGenerator<{ line: string; number: number }> {
  const input = file === '-' ? process.stdin : (await open(file)).createReadStream();
  let number = 0;
  for await (const line of createInterface({ input, crlfDelay: Number.POSITIVE_INFINITY })) {
    number++;
    // This takes the byte-order mark too that editors put before the first line.
    const row = line.trim();
    if (row !== '') yield { line: row, number };
  }
}

async function gradeRow(
  { row, prediction, references }: Row,
  options: GradeCommandOptions,
  totals: Totals,
): Promise<string> {
  const { verdict, score, extracted, reason } = await grade(prediction, references, {
    ...(options.profile === undefined ? {} : { profile: options.profile }),
    ...(options.extract === undefined ? {} : { extract: options.extract }),
    deadline: options.deadline,
  });
  totals.rows++;
  totals.verdicts[verdict]++;
  return `${JSON.stringify({ ...row, verdict, score, extracted, reason })}\n`;
}

interface Row {
  readonly row: object;
  readonly prediction: string;
  readonly references: readonly string[];
}

/** Throws `bad-row` naming file, line and columns. */
function readRow(line: string, place: string): Row {
  let row: unknown;
  try {
    row = JSON.parse(line);
  } catch {
    throw badRow(place, 'a JSON object on every line', 'a line that is not JSON');
  }
  if (typeof row !== 'object' || row === null || Array.isArray(row))
    throw badRow(place, 'a JSON object', typeof row);
  const said = firstOf(row, PREDICTIONS);
  const text = asText(said.value);
  if (text === null && said.value !== null) throw badRow(place, `a text in ${said.column}`, found(row, said));
  const truth = firstOf(row, REFERENCES);
  const references = (Array.isArray(truth.value) ? truth.value : [truth.value])
    .filter((one) => one !== null)
    .map(asText);
  if (references.includes(null))
    throw badRow(place, `a text, a number or a list of them in ${truth.column}`, found(row, truth));
  return { row, prediction: text ?? '', references: references as string[] };
}

/** A column that a row has, or all that it could have. */
interface Column {
  readonly column: string;
  readonly value: unknown;
}

function firstOf(row: object, names: readonly string[]): Column {
  const fields = row as Readonly<Record<string, unknown>>;
  const name = names.find((one) => fields[one] !== undefined);
  if (name === undefined) return { column: `one of ${names.join(', ')}`, value: undefined };
  return { column: name, value: fields[name] };
}

function found(row: object, { value }: Column): string {
  if (value !== undefined) return Array.isArray(value) ? 'a list with something else' : typeof value;
  return `the columns ${Object.keys(row).join(', ') || 'of an empty object'}`;
}

function asText(value: unknown): string | null {
  return typeof value === 'string' ? value : typeof value === 'number' ? String(value) : null;
}

function badRow(place: string, expected: string, found: string): ReckonError {
  return new ReckonError(
    'usage',
    'bad-row',
    `${place}: expected ${expected}, found ${found}; fix the row or remove it`,
  );
}
