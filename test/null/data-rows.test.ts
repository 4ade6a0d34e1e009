/** Owns the tests of reading data files: every format, and what is said of malformed rows. */

import { mkdirSync, mkdtempSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { gzipSync } from 'node:zlib';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { formatCsv, parseCsv } from '../../src/data/csv.ts';
import { parseJson, parseJsonLines } from '../../src/data/json-rows.ts';
import { jsonErrorAt } from '../../src/data/json-scan.ts';
import { readData } from '../../src/data/read-data.ts';
import { BadRows, type DataRow, describeBadRow } from '../../src/data/rows.ts';
import type { ReckonError } from '../../src/util/errors.ts';

const folder = mkdtempSync(join(tmpdir(), 'reckon-data-'));
const samples = fileURLToPath(new URL('samples/data', import.meta.url));
const valuesOf = (rows: readonly DataRow[]): unknown[] => rows.map((row) => row.values);

/** What is said of the malformed rows of a text, the good rows beside them. */
function skipping(parse: (bad: BadRows) => readonly DataRow[]): { rows: unknown[]; said: string[] } {
  const bad = new BadRows(true);
  const rows = valuesOf(parse(bad));
  return { rows, said: bad.found.map(describeBadRow) };
}

function write(name: string, content: string | Uint8Array): string {
  const path = join(folder, name);
  mkdirSync(join(path, '..'), { recursive: true });
  writeFileSync(path, content);
  return path;
}

describe('CSV', () => {
  const cell = fc.string({
    unit: fc.constantFrom('a', 'é', '7', ',', '\t', '"', '\n', '\r\n', ' ', '\ufeff'),
  });
  const table = fc
    .integer({ min: 1, max: 4 })
    .chain((width) => fc.array(fc.array(cell, { minLength: width, maxLength: width }), { maxLength: 8 }));

  it.each([',', '\t'] as const)('reads back whatever it writes, separated by %j', (separator) => {
    fc.assert(
      fc.property(table, (records) => {
        const names = (records[0] ?? ['x']).map((_, i) => `column ${i}`);
        const text = formatCsv([names, ...records], separator);
        const rows = parseCsv(text, 'x.csv', separator, new BadRows(false));
        expect(rows.map((row) => names.map((name) => row.values[name]))).toEqual(records);
      }),
    );
  });

  it('reads the same from CRLF, with a byte-order mark, empty lines and no last line end', () => {
    const text = '\ufeffquestion,answer\r\n\r\n"1, 2 or\r\n3?","say ""2"""\r\n4?,5';
    const rows = parseCsv(text, 'x.csv', ',', new BadRows(false));
    expect(valuesOf(rows)).toEqual([
      { question: '1, 2 or\r\n3?', answer: 'say "2"' },
      { question: '4?', answer: '5' },
    ]);
    expect(rows.map((row) => row.line)).toEqual([3, 5]);
  });

  it('names line and column of what it cannot read, and goes on behind it', () => {
    const text = 'question,answer\n1?,2\n3?\n"4?" x,5\n6?,7\n8?,"9\n10?,11\n';
    const { rows, said } = skipping((bad) => parseCsv(text, 'x.csv', ',', bad));
    expect(rows).toEqual([
      { question: '1?', answer: '2' },
      { question: '6?', answer: '7' },
      { question: '10?', answer: '11' },
    ]);
    expect(said).toEqual([
      'x.csv:3, column "answer": expected 2 fields as the header has, found 1',
      expect.stringMatching(/^x\.csv:4:5: expected a separator or the line's end/),
      expect.stringMatching(/^x\.csv:6:4: this quote is never closed/),
    ]);
  });

  it.each([false, true])(
    'refuses two columns of one name, of which one would be lost (skipping %s)',
    (skip) => {
      const read = (header: string) => parseCsv(`${header}\n1?,2,3\n`, 'x.csv', ',', new BadRows(skip));
      expect(() => read('question,answer,answer')).toThrow(
        'x.csv:1: expected columns of different names, found columns 2 and 3 both named "answer"; rename or remove one',
      );
      expect(valuesOf(read('question,,'))).toMatchObject([{ question: '1?' }]);
    },
  );
});

describe('JSON', () => {
  it('finds an error exactly where there is one: no parser disagrees', () => {
    const text = fc.oneof(
      fc.json(),
      fc.string({ unit: fc.constantFrom(...'{}[]",:\\ue1-.0 tn\n', 'true', 'null', '"a"', '\\u00e9') }),
    );
    fc.assert(
      fc.property(text, fc.nat(), fc.nat(), (json, cut, put) => {
        for (const one of [json, json.slice(0, cut % (json.length + 1)), insert(json, put)]) {
          const at = jsonErrorAt(one);
          expect(at === null).toBe(parses(one));
          // What stands before the error is the beginning of something valid: a shorter text fails only at its end.
          if (at !== null) expect(jsonErrorAt(one.slice(0, at)) ?? at).toBe(at);
        }
      }),
      { numRuns: 2000 },
    );
  });

  it('survives 200,000 nested lists', () => {
    expect(jsonErrorAt('['.repeat(200_000))).toBe(200_000);
    expect(jsonErrorAt(`${'['.repeat(200_000)}${']'.repeat(200_000)}`)).toBeNull();
  });

  it('reads JSON Lines and names file, line and column of what is malformed', () => {
    const text = '{"a": 1}\n\n{"a": 2,}\r\n[3]\n{"a": 4}\n{"a": "5';
    const { rows, said } = skipping((bad) => parseJsonLines(text, 'x.jsonl', bad));
    expect(rows).toEqual([{ a: 1 }, { a: 4 }]);
    expect(said).toEqual([
      'x.jsonl:3:9: expected valid JSON, found "}"',
      'x.jsonl:4:1: expected an object with a key a column, found a list',
      'x.jsonl:6:9: expected valid JSON, found the end',
    ]);
  });

  it('reads a list over several lines, and skips only the item that is malformed', () => {
    const text = '[\n  {"a": "x, ]"},\n  {"a": 2 "b": 3},\n  {"a": 4}\n]\n';
    const { rows, said } = skipping((bad) => parseJson(text, 'x.json', bad));
    expect(rows).toEqual([{ a: 'x, ]' }, { a: 4 }]);
    expect(said).toEqual([expect.stringMatching(/^x\.json:3:11: expected valid JSON, found "\\"b/)]);
    expect(skipping((bad) => parseJson('[{"a": 1}\n', 'x.json', bad)).said).toEqual([
      'x.json:2:1: expected valid JSON, found the end',
    ]);
  });

  it('reads the list inside an object, and one object as one row', () => {
    const inside = '{"version": 1, "data, [": [{"a": 1},\n{"a": [2]}]}';
    const rows = parseJson(inside, 'x.json', new BadRows(false));
    expect(valuesOf(rows)).toEqual([{ a: 1 }, { a: [2] }]);
    expect(rows.map((row) => row.line)).toEqual([1, 2]);
    const one = '{"problem": "1+1?", "messages": [{"role": "user"}]}';
    expect(valuesOf(parseJson(one, 'x.json', new BadRows(false)))).toEqual([JSON.parse(one)]);
    expect(parseJson('  \n', 'x.json', new BadRows(false))).toEqual([]);
  });
});

describe('files and folders', () => {
  it.each(['snappy', 'zstd', 'gzip', 'brotli', 'lz4'])('reads Parquet compressed by %s', async (codec) => {
    const rows = (await readData(join(samples, `numina-${codec}.parquet`), new BadRows(false))).get('train')!;
    expect(rows.map((row) => row.values['problem'])).toEqual(['What is $1+1$?', 'Halve 7.', 'Qué es 3²?']);
    expect(rows[1]!.values['messages']).toEqual([
      { role: 'user', content: 'Halve 7.' },
      { role: 'assistant', content: 'Half of 7 is $\\boxed{\\frac{7}{2}}$.' },
    ]);
    expect(rows.map((row) => row.values['level'])).toEqual([1, '9007199254740993', -2]);
  });

  it('reads a folder of several formats, its splits told by names', async () => {
    write('set/train-00001-of-00002.jsonl', '{"a": 2}\n');
    write('set/train-00000-of-00002.jsonl.gz', gzipSync('{"a": 1}\n'));
    write('set/validation/part.csv', 'a\n3\n');
    write('set/deep/TEST.tsv', 'a\tb\n4\t5\n');
    write('set/other.json', '[{"a": 6}]');
    write('set/.cache/x.json', '[{"a": 7}]');
    write('set/README.md', 'not data');
    const splits = await readData(join(folder, 'set'), new BadRows(false));
    expect([...splits].map(([name, rows]) => [name, valuesOf(rows)])).toEqual([
      ['test', [{ a: '4', b: '5' }]],
      ['train', [{ a: 6 }, { a: 1 }, { a: 2 }]],
      ['validation', [{ a: '3' }]],
    ]);
  });

  it('ends at the first malformed row unless such rows are skipped', async () => {
    const path = write('bad.jsonl', '{"a": 1}\n{"a": }\n');
    await expect(readData(path, new BadRows(false))).rejects.toThrow(
      `${path}:2:7: expected valid JSON, found "}"; correct it, or leave such rows out with --skip-bad`,
    );
    const bad = new BadRows(true);
    expect(valuesOf((await readData(path, bad)).get('train')!)).toEqual([{ a: 1 }]);
    expect(bad.found).toHaveLength(1);
  });

  it('says what is wrong with a path', async () => {
    write('empty/README.md', '');
    const codeOf = async (path: string): Promise<unknown> =>
      readData(path, new BadRows(false)).catch((error: unknown) => (error as ReckonError).code);
    expect(await codeOf(join(folder, 'nowhere'))).toBe('no-data');
    expect(await codeOf(join(folder, 'empty'))).toBe('no-data');
    expect(await codeOf(write('x.txt', ''))).toBe('unknown-format');
    expect(await codeOf(write('x.parquet', 'PAR1 but not'))).toBe('bad-parquet');
    expect(await codeOf(write('x.csv.gz', 'not gzip'))).toBe('unreadable-data');
  });
});

function parses(text: string): boolean {
  try {
    JSON.parse(text);
    return true;
  } catch {
    return false;
  }
}

function insert(text: string, put: number): string {
  const at = put % (text.length + 1);
  return `${text.slice(0, at)},${text.slice(at)}`;
}
