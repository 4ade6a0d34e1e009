/** Owns the fuzzing of checkpoint folders: whatever is done to their files, they load right or are refused. */

import { cpSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, expect, it } from 'vitest';
import { loadModel, saveModel } from '../../src/models/index.ts';
import { liveTensors } from '../../src/torch/index.ts';
import { ReckonError } from '../../src/util/errors.ts';
import { Rng } from '../../src/util/rng.ts';
import { tinyModel } from '../torch/tiny.ts';

const cases = Math.ceil(2000 * Number(process.env['RECKON_SLOW_SCALE'] ?? 1));
const root = mkdtempSync(join(tmpdir(), 'reckon-fuzz-'));
afterAll(() => rmSync(root, { recursive: true, force: true }));
const options = { dtype: 'f32', computeDtype: 'f32', device: 'cpu' } as const;
const odd = [-1, 0, 1, 3, 4, 2 ** 31, 2 ** 40, 2 ** 53, 1e300, 0.5, null, '8', [], {}, true];

type Json = Record<string, unknown>;
type Mutation = (folder: string, rng: Rng) => void;

it(`${cases} damaged checkpoints: refused with a reason, or loaded in full`, () => {
  const [single, sharded] = [join(root, 'single'), join(root, 'sharded')];
  {
    using model = tinyModel();
    saveModel(model, single);
    saveModel(model, sharded, { maxShardBytes: 12_000 });
  }
  const rng = new Rng({ seed: 31, purpose: 'fuzz-checkpoint' });
  const before = liveTensors();
  const seen = { loaded: 0, refused: 0 };
  for (let i = 0; i < cases; i++) {
    const folder = join(root, 'case');
    rmSync(folder, { recursive: true, force: true });
    const inShards = rng.uniform() < 0.5;
    cpSync(inShards ? sharded : single, folder, { recursive: true });
    rng.pick(inShards ? [...ofFiles, ...ofIndex] : ofFiles)(folder, rng);
    try {
      using model = loadModel(folder, options);
      expect([...model.stateDict().values()].every((value) => value.dtype === 'f32')).toBe(true);
      expect(model.headWeight.shape).toEqual([model.config.vocabSize, 32]);
      seen.loaded++;
    } catch (error) {
      if (!(error instanceof ReckonError)) throw error;
      expect(error.message.length).toBeGreaterThan(20);
      seen.refused++;
    }
  }
  expect(liveTensors()).toBe(before);
  expect(seen.refused).toBeGreaterThan(cases / 2);
  expect(seen.loaded).toBeGreaterThan(0);
});

const ofFiles: Mutation[] = [
  // Truncated, or longer than it says.
  (folder, rng) => onBytes(folder, rng, (bytes) => bytes.subarray(0, rng.integer(bytes.length))),
  (folder, rng) =>
    onBytes(folder, rng, (bytes) => Buffer.concat([bytes, bytes.subarray(0, 1 + rng.integer(64))])),
  // Any byte of the length or header.
  (folder, rng) =>
    onBytes(folder, rng, (bytes) => {
      bytes[rng.integer(Math.min(bytes.length, rng.pick([8, 200, bytes.length])))] = rng.integer(256);
      return bytes;
    }),
  // A field of one tensor: offsets, sizes, dtype, or all of it.
  (folder, rng) =>
    onHeader(folder, rng, (header, names) => {
      const entry = header[rng.pick(names)] as { shape: unknown[]; data_offsets: unknown[] } & Json;
      rng.pick<() => void>([
        () => {
          entry.data_offsets[rng.integer(2)] = rng.pick(odd);
        },
        () => {
          entry.shape[rng.integer(entry.shape.length)] = rng.pick(odd);
        },
        () => {
          entry['dtype'] = rng.pick(['F64', 'F16', 'BF16', 'I32', 'BOOL', 'F8_E4M3', 'constructor', 7]);
        },
        () => {
          entry['dtype'] = 'I32';
        },
        () => {
          entry[rng.pick(['dtype', 'shape', 'data_offsets'])] = rng.pick(odd);
        },
        () => void entry.shape.reverse(),
      ])();
    }),
  // Two tensors over the same bytes; one gone; one renamed; one more.
  (folder, rng) =>
    onHeader(folder, rng, (header, names) => {
      const [one, other] = [rng.pick(names), rng.pick(names)];
      rng.pick<() => void>([
        () => {
          header[one] = header[other];
        },
        () => void delete header[one],
        () => {
          header[rng.pick(['__proto__', 'x', '', `${one} `])] = header[one];
          delete header[one];
        },
        () => {
          header['more'] = { dtype: 'F32', shape: [0, rng.pick([1, 2 ** 50])], data_offsets: [0, 0] };
        },
      ])();
    }),
];

const ofIndex: Mutation[] = [
  (folder, rng) =>
    onIndex(folder, (text) => text.slice(0, rng.integer(text.length)) + rng.pick(['', '}', '\u0000', '[]'])),
  (folder, rng) =>
    onWeightMap(folder, (map) => {
      const name = rng.pick(Object.keys(map));
      rng.pick<() => void>([
        () => {
          map[name] = rng.pick([
            '../single/model.safetensors',
            '/etc/passwd',
            'no.safetensors',
            '..',
            '',
            'a\\b.safetensors',
          ]);
        },
        () => {
          map[name] = rng.pick(odd);
        },
        () => {
          map[name] = rng.pick(Object.values(map));
        },
        () => void delete map[name],
        () => {
          map['more'] = map[name];
        },
      ])();
    }),
  (folder, rng) => rmSync(join(folder, rng.pick(weightFiles(folder)))),
];

function weightFiles(folder: string): string[] {
  return readdirSync(folder).filter((name) => name.endsWith('.safetensors'));
}

function onBytes(folder: string, rng: Rng, change: (bytes: Buffer) => Buffer): void {
  const path = join(folder, rng.pick(weightFiles(folder)));
  writeFileSync(path, change(readFileSync(path)));
}

function onHeader(folder: string, rng: Rng, change: (header: Json, names: string[]) => void): void {
  onBytes(folder, rng, (bytes) => {
    const end = 8 + Number(bytes.readBigUInt64LE());
    const header = JSON.parse(bytes.toString('utf8', 8, end)) as Json;
    change(
      header,
      Object.keys(header).filter((name) => name !== '__metadata__'),
    );
    const text = Buffer.from(JSON.stringify(header));
    const length = Buffer.alloc(8);
    length.writeBigUInt64LE(BigInt(text.length));
    return Buffer.concat([length, text, bytes.subarray(end)]);
  });
}

function onIndex(folder: string, change: (text: string) => string): void {
  const path = join(folder, 'model.safetensors.index.json');
  writeFileSync(path, change(readFileSync(path, 'utf8')));
}

function onWeightMap(folder: string, change: (map: Json) => void): void {
  onIndex(folder, (text) => {
    const index = JSON.parse(text) as { weight_map: Json };
    change(index.weight_map);
    return JSON.stringify(index);
  });
}
