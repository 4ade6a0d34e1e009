/** Owns how numbers, durations, sizes and tables are written for people; knows nothing of what they mean. */

const MISSING = '–';

/** What a formatter takes: null and undefined are written as a dash, NaN and infinities by name. */
export type Printable = number | null | undefined;

/** A number with about `digits` significant digits: 0.1235, 12.35, 1,235, 1.2e-7. */
export function formatNumber(value: Printable, digits = 4): string {
  if (value === null || value === undefined) return MISSING;
  if (!Number.isFinite(value)) return notFinite(value);
  const size = Math.abs(value);
  if (size !== 0 && (size < 1e-4 || size >= 1e9)) return value.toExponential(Math.min(digits - 1, 2));
  return value.toLocaleString('en-US', {
    maximumSignificantDigits: size >= 10 ** digits ? Math.ceil(Math.log10(size)) + 1 : digits,
  });
}

/** A share in [0, 1] as a percentage: 0.1234 gives '12.3 %'. */
export function formatPercent(share: Printable, decimals = 1): string {
  if (share === null || share === undefined) return MISSING;
  return Number.isFinite(share) ? `${(100 * share).toFixed(decimals)} %` : notFinite(share);
}

/** Seconds for people: '850 ms', '12.3 s', '3 min 05 s', '2 h 03 min'. */
export function formatDuration(seconds: Printable): string {
  if (seconds === null || seconds === undefined) return MISSING;
  if (!Number.isFinite(seconds)) return notFinite(seconds);
  if (seconds < 0) return `-${formatDuration(-seconds)}`;
  if (seconds < 0.9995) return `${Math.round(seconds * 1000)} ms`;
  if (seconds < 59.95) return `${seconds.toFixed(1)} s`;
  const whole = Math.round(seconds);
  if (whole < 3600) return `${Math.floor(whole / 60)} min ${two(whole % 60)} s`;
  const minutes = Math.round(seconds / 60);
  return `${Math.floor(minutes / 60)} h ${two(minutes % 60)} min`;
}

/** Bytes in binary units: '512 B', '1.5 MiB', '3.2 GiB'. */
export function formatBytes(bytes: Printable): string {
  return scaled(bytes, 1024, ['B', 'KiB', 'MiB', 'GiB', 'TiB']);
}

/** Joules as watt-hours: '12.3 Wh', '1.5 kWh'; below a tenth of one as joules. */
export function formatEnergy(joules: Printable): string {
  if (joules !== null && joules !== undefined && Math.abs(joules) < 360)
    return `${formatNumber(joules, 3)} J`;
  return scaled(joules === null || joules === undefined ? joules : joules / 3600, 1000, ['Wh', 'kWh', 'MWh']);
}

/** A count in decimal units: '950', '12.3 k', '4.6 M'. */
export function formatCount(count: Printable): string {
  return scaled(count, 1000, ['', 'k', 'M', 'G', 'T']);
}

function scaled(value: Printable, base: number, units: readonly string[]): string {
  if (value === null || value === undefined) return MISSING;
  if (!Number.isFinite(value)) return notFinite(value);
  let power = 0;
  let rest = value;
  while (Math.abs(rest) >= base * 0.9995 && power < units.length - 1) {
    rest /= base;
    power++;
  }
  const unit = units[power] ?? '';
  const decimals = power === 0 ? (Number.isInteger(rest) ? 0 : 1) : Math.abs(rest) < 100 ? 1 : 0;
  return unit === '' ? rest.toFixed(decimals) : `${rest.toFixed(decimals)} ${unit}`;
}

function notFinite(value: number): string {
  return Number.isNaN(value) ? 'NaN' : value > 0 ? 'Infinity' : '-Infinity';
}

function two(n: number): string {
  return String(n).padStart(2, '0');
}

/** Which side the cells of a column are pushed to. */
export type Align = 'left' | 'right';

/**
 * Plain-text columns, two spaces apart, with a rule under the first row (the header). Columns are right-aligned
 * but for the first, unless `align` says otherwise; short rows are filled with empty cells.
 */
export function formatTable(rows: readonly (readonly string[])[], align: readonly Align[] = []): string {
  const columns = Math.max(0, ...rows.map((row) => row.length));
  const widths = Array.from({ length: columns }, (_, c) =>
    Math.max(0, ...rows.map((row) => displayWidth(row[c] ?? ''))),
  );
  const lines = rows.map((row) =>
    widths
      .map((width, c) => pad(row[c] ?? '', width, align[c] ?? (c === 0 ? 'left' : 'right')))
      .join('  ')
      .trimEnd(),
  );
  if (lines.length > 0) lines.splice(1, 0, widths.map((width) => '-'.repeat(width)).join('  '));
  return lines.join('\n');
}

function pad(text: string, width: number, align: Align): string {
  const space = ' '.repeat(Math.max(0, width - displayWidth(text)));
  return align === 'left' ? text + space : space + text;
}

/** Characters as shown: colour codes take no room. */
function displayWidth(text: string): number {
  // biome-ignore lint/suspicious/noControlCharactersInRegex: the escape character is what is looked for
  return [...text.replace(/\u001b\[[0-9;]*m/g, '')].length;
}

/** Prose broken at spaces into lines of at most `width` characters where words allow it. */
export function wrapText(text: string, width = 100): string {
  const lines: string[] = [];
  for (const word of text.split(' ')) {
    const last = lines.at(-1);
    if (last === undefined || displayWidth(last) + 1 + displayWidth(word) > width) lines.push(word);
    else lines[lines.length - 1] = `${last} ${word}`;
  }
  return lines.join('\n');
}

const UNPRINTABLE = /[\p{Cc}\p{Bidi_Control}\p{Zl}\p{Zp}]/gu;

/** Text from a model made safe to show: control and direction characters but newline and tab become U+FFFD. */
export function printable(text: string): string {
  return text.replace(UNPRINTABLE, (found) => (found === '\n' || found === '\t' ? found : '\ufffd'));
}

const CODES = { bold: 1, dim: 2, red: 31, green: 32, yellow: 33, cyan: 36 } as const;

/** The few styles that reckon prints in. */
export type Style = keyof typeof CODES;

/** Puts a style around a text, or leaves it as it is. */
export type Painter = (style: Style, text: string) => string;

/**
 * A painter for a stream: colours only on a terminal, never when NO_COLOR is set and not empty
 * (https://no-color.org) or TERM is 'dumb'; FORCE_COLOR other than '0' paints anyway.
 */
export function painterFor(
  stream: { readonly isTTY?: boolean | undefined },
  env: Readonly<Record<string, string | undefined>> = process.env,
): Painter {
  const forced = (env['FORCE_COLOR'] ?? '0') !== '0';
  const wanted = forced || (stream.isTTY === true && env['TERM'] !== 'dumb');
  if (!wanted || (env['NO_COLOR'] ?? '') !== '') return (_style, text) => text;
  return (style, text) => `\u001b[${CODES[style]}m${text}\u001b[0m`;
}
