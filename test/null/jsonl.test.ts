import { appendFileSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import * as fc from 'fast-check';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { ReckonError } from '../../src/util/errors.ts';
import {
  appendJsonl,
  JsonlWriter,
  numberFromJson,
  numberToJson,
  readJsonl,
  truncateJsonl,
} from '../../src/util/jsonl.ts';

let folder = '';
let path = '';
const same = (value: unknown): unknown => value;

beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'reckon-jsonl-'));
  path = join(folder, 'lines.jsonl');
});
afterEach(() => rmSync(folder, { recursive: true, force: true }));

function errorOf(action: () => unknown): ReckonError {
  try {
    action();
  } catch (thrown) {
    if (thrown instanceof ReckonError) return thrown;
    throw thrown;
  }
  throw new Error('nothing was thrown');
}

describe('a file of JSON lines', () => {
  it('gives back what was appended, over several writers', () => {
    appendJsonl(path, [{ a: 1 }, 'two\nlines'], { fsync: true });
    using writer = new JsonlWriter(path, { fsync: true });
    writer.append([3], null);
    writer.append();
    expect(readJsonl(path, same)).toEqual([{ a: 1 }, 'two\nlines', [3], null]);
    writer.close();
    expect(errorOf(() => writer.append(1)).code).toBe('jsonl-closed');
    expect(errorOf(() => appendJsonl(path, [undefined])).code).toBe('jsonl-no-value');
  });

  it('survives a write that was cut at any byte', () => {
    const record = { step: 3, text: 'äö{"', list: [1, 2] };
    const whole = Buffer.from(`${JSON.stringify(record)}\n`);
    for (let cut = 0; cut <= whole.length; cut++) {
      writeFileSync(path, Buffer.concat([Buffer.from('{"step":1}\n'), whole.subarray(0, cut)]));
      const kept = cut >= whole.length - 1 ? [{ step: 1 }, record] : [{ step: 1 }];
      expect(readJsonl(path, same)).toEqual(kept);
      appendJsonl(path, [{ step: 4 }]);
      expect(readJsonl(path, same)).toEqual([...kept, { step: 4 }]);
    }
  });

  it('names file and line of a bad line in the middle, and of one that the parser refuses', () => {
    writeFileSync(path, '{"step":1}\n{"step":\n{"step":3}\n');
    expect(errorOf(() => readJsonl(path, same)).message).toContain(`${path}:2:`);
    expect(errorOf(() => truncateJsonl(path, 9)).code).toBe('jsonl-bad-line');
    writeFileSync(path, '1\n\n"x"\n');
    const refuse = (value: unknown): number => {
      if (typeof value !== 'number') throw new Error('not a number');
      return value;
    };
    expect(errorOf(() => readJsonl(path, refuse)).message).toMatch(/:3: .*not a number/);
    expect(errorOf(() => readJsonl(join(folder, 'none'), same)).code).toBe('jsonl-unreadable');
  });

  it('cuts back to a step byte for byte and leaves nothing aside', () => {
    const first = '{"step": 1,  "x":1.0}\n{"step":2}\n';
    writeFileSync(path, `${first}{"step":3}\n`);
    appendFileSync(path, '{"step":4');
    expect(truncateJsonl(path, 2)).toBe(1);
    expect(readFileSync(path, 'utf8')).toBe(first);
    expect(truncateJsonl(path, 2)).toBe(0);
    expect(readdirSync(folder)).toEqual(['lines.jsonl']);
    expect(truncateJsonl(join(folder, 'none'), 1)).toBe(0);
    writeFileSync(path, '{"stop":3}\n');
    expect(errorOf(() => truncateJsonl(path, 2)).message).toContain('"step"');
  });
});

it('numbers survive JSON, the three that it lacks included', () => {
  fc.assert(
    fc.property(fc.double(), (value) => {
      const back = numberFromJson(JSON.parse(JSON.stringify(numberToJson(value))));
      expect(back).toBe(Object.is(value, -0) ? 0 : value);
    }),
  );
  expect(['1', null, {}, 'nan'].map(numberFromJson)).toEqual([undefined, undefined, undefined, undefined]);
});
