/** Owns which runs a sweep consists of: keys, their values, their combinations and names. Runs nothing. */

import { parse } from 'yaml';
import { messageOf, ReckonError } from '../util/errors.ts';
import { sha256 } from '../util/files.ts';

/** A recipe key with the values that it takes in turn, each as text that `--set` understands. */
export interface SweepAxis {
  readonly key: string;
  readonly values: readonly string[];
}

/** One run of a sweep: what it sets, and the name of its folder. */
export interface SweepPoint {
  readonly name: string;
  /** Key to value, in the order of the axes. */
  readonly set: Readonly<Record<string, string>>;
}

/** Reads `key=a,b,c`; commas inside brackets, braces and quotes do not part values. */
export function parseAxis(text: string): SweepAxis {
  const equals = text.indexOf('=');
  const key = text.slice(0, equals).trim();
  const values = equals < 1 ? [] : splitValues(text.slice(equals + 1));
  if (values.length === 0 || values.includes(''))
    throw usage(
      `expected key=value,value,... such as sft.learningRate=1e-3,3e-4, found ${JSON.stringify(text)}`,
    );
  for (const value of values) checkValue(key, value);
  const repeated = values.find((value, i) => values.indexOf(value) !== i);
  if (repeated !== undefined) throw usage(`${key} has the value ${repeated} twice; give each once`);
  return { key, values };
}

/** Every combination of the grid's axes with every place of the lists, which go side by side and are equally long. */
export function sweepPoints(grid: readonly SweepAxis[], lists: readonly SweepAxis[]): SweepPoint[] {
  checkAxes([...grid, ...lists]);
  const length = lists[0]?.values.length ?? 0;
  const other = lists.find(({ values }) => values.length !== length);
  if (other !== undefined) {
    const message = `the lists go side by side: ${lists[0]!.key} has ${length} values and ${other.key} ${other.values.length}; give all as many`;
    throw usage(message);
  }
  const together = Array.from({ length }, (_, i) =>
    Object.fromEntries(lists.map(({ key, values }) => [key, values[i]!])),
  );
  const start: Record<string, string>[] = lists.length === 0 ? [{}] : together;
  const sets = grid.reduce(
    (points, { key, values }) =>
      points.flatMap((point) => values.map((value) => ({ ...point, [key]: value }))),
    start,
  );
  const points = sets.map((set) => ({ name: nameOf(set), set }));
  checkNames(points);
  return points;
}

/** Two points in one folder would be one run. */
function checkNames(points: readonly SweepPoint[]): void {
  const names = points.map(({ name }) => name);
  const at = names.findIndex((name, i) => names.indexOf(name) !== i);
  if (at < 0) return;
  const [one, other] = [points[names.indexOf(names[at]!)]!, points[at]!].map(({ set }) =>
    Object.values(set).join(' and '),
  );
  const message = `${one} and ${other} would both lie in the folder ${names[at]}; write them so that letters or digits differ`;
  throw usage(message);
}

function checkAxes(axes: readonly SweepAxis[]): void {
  if (axes.length === 0)
    throw usage('a sweep needs a key to go over: --grid key=value,value or --list key=value,value');
  const keys = axes.map(({ key }) => key);
  const repeated = keys.find((key, i) => keys.indexOf(key) !== i);
  if (repeated !== undefined)
    throw usage(`${repeated} is swept twice; give all its values in one --grid or --list`);
}

function splitValues(text: string): string[] {
  const parts = [''];
  let depth = 0;
  let quote = '';
  for (const character of text) {
    if (quote !== '') quote = character === quote ? '' : quote;
    else if (character === '"' || character === "'") quote = character;
    else if ('[{'.includes(character)) depth++;
    else if (']}'.includes(character)) depth--;
    if (character === ',' && depth === 0 && quote === '') parts.push('');
    else parts[parts.length - 1] += character;
  }
  return parts.map((part) => part.trim());
}

function checkValue(key: string, value: string): void {
  try {
    parse(value);
  } catch (error) {
    throw usage(`${key}: ${value} is not YAML (${messageOf(error).split('\n')[0]})`);
  }
}

/** `learningRate-1e-3_groupSize-8`: by value, not by number, so that a value added later leaves the names of others. */
function nameOf(set: Readonly<Record<string, string>>): string {
  const keys = Object.keys(set);
  const dotted = (key: string): string => key.replaceAll('[', '.').replaceAll(']', '');
  const last = (key: string): string => {
    const parts = dotted(key).split('.');
    return parts.slice(parts.findLastIndex((part) => !/^\d+$/.test(part))).join('.');
  };
  const short = new Set(keys.map(last)).size === keys.length;
  const name = keys.map((key) => `${short ? last(key) : dotted(key)}-${clean(set[key]!)}`).join('_');
  return name.length <= LONGEST ? name : `${name.slice(0, LONGEST - 9)}-${sha256(name).slice(0, 8)}`;
}

/** A run's name may have as many characters. */
const LONGEST = 100;

function clean(value: string): string {
  const words = value.replace(/[^A-Za-z0-9._-]+/g, ' ').trim();
  return words.replaceAll(' ', '-');
}

function usage(message: string): ReckonError {
  return new ReckonError('usage', 'sweep', message);
}
