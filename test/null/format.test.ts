import { describe, expect, it } from 'vitest';
import {
  formatBytes,
  formatCount,
  formatDuration,
  formatNumber,
  formatPercent,
  formatTable,
  painterFor,
  printable,
  wrapText,
} from '../../src/util/format.ts';

describe('numbers for people', () => {
  it.each([
    [0, '0'],
    [0.123456, '0.1235'],
    [-12.3456, '-12.35'],
    [1234.5, '1,235'],
    [1234567, '1,234,567'],
    [1e-7, '1.00e-7'],
    [Number.NaN, 'NaN'],
    [Number.NEGATIVE_INFINITY, '-Infinity'],
    [null, '–'],
  ])('writes %s as %s', (value, text) => {
    expect(formatNumber(value)).toBe(text);
  });

  it('writes shares, bytes and counts with units', () => {
    expect(formatPercent(0.1234)).toBe('12.3 %');
    expect(formatPercent(1, 0)).toBe('100 %');
    expect(formatPercent(undefined)).toBe('–');
    expect([0, 512, 1536, 3.2 * 2 ** 30].map(formatBytes)).toEqual(['0 B', '512 B', '1.5 KiB', '3.2 GiB']);
    expect([950, 999.9, 12_340, 4_560_000].map(formatCount)).toEqual(['950', '1.0 k', '12.3 k', '4.6 M']);
  });

  it.each([
    [0.85, '850 ms'],
    [0.9999, '1.0 s'],
    [12.34, '12.3 s'],
    [59.96, '1 min 00 s'],
    [185, '3 min 05 s'],
    [3599.6, '1 h 00 min'],
    [7380, '2 h 03 min'],
    [Number.POSITIVE_INFINITY, 'Infinity'],
  ])('writes %s seconds as %s', (seconds, text) => {
    expect(formatDuration(seconds)).toBe(text);
  });
});

describe('text for terminals', () => {
  it('lines columns up, colour codes taking no room', () => {
    const red = '\u001b[31mbad\u001b[0m';
    expect(formatTable([['model', 'n'], ['sft', '100'], [red]])).toBe(
      ['model    n', '-----  ---', 'sft    100', red].join('\n'),
    );
    expect(formatTable([])).toBe('');
  });

  it('breaks prose at spaces and keeps long words whole', () => {
    expect(wrapText('one two three extraordinarily so', 9)).toBe('one two\nthree\nextraordinarily\nso');
  });

  it('lets no escape sequence through', () => {
    expect(printable('a\u001b[2Jb\r\n\tc\u0000\u202e')).toBe('a\ufffd[2Jb\ufffd\n\tc\ufffd\ufffd');
  });

  it('paints only on a terminal and never against NO_COLOR', () => {
    const terminal = { isTTY: true };
    expect(painterFor(terminal, {})('red', 'x')).toBe('\u001b[31mx\u001b[0m');
    expect(painterFor(terminal, { NO_COLOR: '' })('red', 'x')).toBe('\u001b[31mx\u001b[0m');
    expect(painterFor(terminal, { NO_COLOR: '1', FORCE_COLOR: '1' })('red', 'x')).toBe('x');
    expect(painterFor(terminal, { TERM: 'dumb' })('red', 'x')).toBe('x');
    expect(painterFor({}, {})('red', 'x')).toBe('x');
    expect(painterFor({}, { FORCE_COLOR: '1' })('bold', 'x')).toBe('\u001b[1mx\u001b[0m');
  });
});
