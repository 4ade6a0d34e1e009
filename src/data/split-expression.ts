/**
 * Owns split expressions as Hugging Face's `datasets` has them: `train`, `train[:5%]`, `test[100:200]`,
 * `train[-50:]+test[:10%]`, `all`. Knows no rows.
 */

import { ReckonError } from '../util/errors.ts';

/** One operand: a slice of a split, its ends in rows or in percent. */
export interface SplitSlice {
  /** The name of a split, or `all`. */
  readonly split: string;
  readonly from: number | null;
  readonly to: number | null;
  readonly unit: 'rows' | '%';
  /** `closest` rounds percentages to the nearest row; `pct1_dropremainder` takes whole hundredths and drops the rest. */
  readonly rounding: 'closest' | 'pct1_dropremainder';
}

const SLICE = /^(\w+(?:\.\w+)*)(?:\[(?:(-?\d{1,15})(%?))?:(?:(-?\d{1,15})(%?))?\])?(?:\((\w+)\))?$/;

/** Reads an expression. Throws `bad-split` with what is wrong; a slice's two ends must have one unit. */
export function parseSplit(expression: string): SplitSlice[] {
  return expression.split('+').map((part) => parseSlice(part.trim(), expression));
}

/** The rows that an expression names, in its order. Throws `bad-split` and `no-such-split`. */
export function selectSplit<T>(splits: ReadonlyMap<string, readonly T[]>, expression: string): T[] {
  return parseSplit(expression).flatMap((slice) => {
    const rows =
      slice.split === 'all' && !splits.has('all') ? [...splits.values()].flat() : splits.get(slice.split);
    if (rows === undefined) {
      const known = [...splits.keys()].join(', ');
      throw new ReckonError(
        'data',
        'no-such-split',
        `Expected a split of the data (${known}, or all) in '${expression}', found ${slice.split}; name one of them.`,
      );
    }
    const [from, to] = boundsOf(slice, rows.length, expression);
    return rows.slice(from, to);
  });
}

function parseSlice(text: string, expression: string): SplitSlice {
  const match = SLICE.exec(text);
  if (match === null) {
    throw bad(
      expression,
      `'${text}' is no split with an optional slice; write it as train, train[:5%] or test[100:200]`,
    );
  }
  const [, split, from, fromUnit, to, toUnit, rounding = 'closest'] = match;
  if (from !== undefined && to !== undefined && fromUnit !== toUnit) {
    throw bad(expression, `'${text}' mixes rows and percent; give both ends in one unit`);
  }
  if (rounding !== 'closest' && rounding !== 'pct1_dropremainder') {
    throw bad(expression, `the rounding ${rounding} is unknown; choose closest or pct1_dropremainder`);
  }
  const unit = fromUnit === '%' || toUnit === '%' ? '%' : 'rows';
  const slice: SplitSlice = { split: split!, from: endOf(from), to: endOf(to), unit, rounding };
  const beyond = [slice.from, slice.to].some((end) => end !== null && Math.abs(end) > 100);
  if (unit === '%' && beyond)
    throw bad(expression, `'${text}' has a percentage beyond 100; stay within -100 and 100`);
  return slice;
}

function endOf(text: string | undefined): number | null {
  return text === undefined ? null : Number(text);
}

function boundsOf(slice: SplitSlice, size: number, expression: string): [number, number] {
  const { from, to, unit, rounding } = slice;
  if (unit === '%' && rounding === 'pct1_dropremainder' && size < 100) {
    throw bad(
      expression,
      `pct1_dropremainder needs at least 100 rows and ${slice.split} has ${size}; use closest`,
    );
  }
  const place = (end: number | null, open: number): number => {
    if (end === null) return open;
    const absolute = unit === '%' ? rowsOfPercent(end, size, rounding) : end;
    return Math.min(absolute < 0 ? Math.max(size + absolute, 0) : absolute, size);
  };
  return [place(from, 0), place(to, size)];
}

/** As Python's round: a half goes to the even neighbour, so that adjoining slices meet. */
function rowsOfPercent(percent: number, size: number, rounding: SplitSlice['rounding']): number {
  if (rounding === 'pct1_dropremainder') return percent * Math.floor(size / 100);
  const scaled = percent * size;
  const below = Math.floor(scaled / 100);
  const rest = scaled - below * 100;
  if (rest !== 50) return rest > 50 ? below + 1 : below;
  return below % 2 === 0 ? below : below + 1;
}

function bad(expression: string, why: string): ReckonError {
  return new ReckonError(
    'recipe',
    'bad-split',
    `the split expression '${expression}' cannot be read: ${why}`,
  );
}
