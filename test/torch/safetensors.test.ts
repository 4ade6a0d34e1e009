import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import fc from 'fast-check';
import { afterAll, describe, expect, it } from 'vitest';
import {
  configToJson,
  loadModel,
  parseConfig,
  readSafetensors,
  saveModel,
  writeSafetensors,
} from '../../src/models/index.ts';
import { type DType, type Tensor, tensor } from '../../src/torch/index.ts';
import { ReckonError } from '../../src/util/errors.ts';
import { assertNoLeaks, tinyConfig, tinyModel } from './tiny.ts';

assertNoLeaks();

const folder = mkdtempSync(join(tmpdir(), 'reckon-safetensors-'));
afterAll(() => rmSync(folder, { recursive: true, force: true }));
const path = join(folder, 'x.safetensors');
const f32 = { dtype: 'f32', computeDtype: 'f32', device: 'cpu' } as const;

function free(tensors: ReadonlyMap<string, Tensor>): void {
  for (const value of tensors.values()) value.dispose();
}

/** A file with this header and that many bytes of data. */
function writeRaw(header: string | object, data: number, claimed?: number): void {
  const text = Buffer.from(typeof header === 'string' ? header : JSON.stringify(header));
  const length = Buffer.alloc(8);
  length.writeBigUInt64LE(BigInt(claimed ?? text.length));
  writeFileSync(path, Buffer.concat([length, text, Buffer.alloc(data)]));
}

describe('safetensors', () => {
  it('round-trips every dtype byte for byte, empty and scalar tensors too', () => {
    const tensors = new Map<string, Tensor>();
    for (const dtype of ['f32', 'bf16', 'f16', 'f64', 'i64', 'i32', 'u8', 'bool'] as DType[]) {
      using base = tensor([0, 1, 2, 3.5, 250, 1], { shape: [2, 3] });
      tensors.set(dtype, base.to(dtype));
    }
    tensors.set('empty', tensor([], { shape: [0, 4] }));
    tensors.set('scalar', tensor([3], { shape: [] }));
    writeSafetensors(path, tensors);
    const first = readFileSync(path);
    const back = readSafetensors(path);
    expect([...back.keys()]).toEqual([...tensors.keys()]);
    for (const [name, value] of back) {
      expect(value.dtype).toBe(tensors.get(name)!.dtype);
      expect(value.shape).toEqual(tensors.get(name)!.shape);
      expect(value.toBytes()).toEqual(tensors.get(name)!.toBytes());
    }
    writeSafetensors(path, back);
    expect(readFileSync(path)).toEqual(first);
    free(tensors);
    free(back);
  });

  const entry = (begin: number, end: number, changes: object = {}) => ({
    dtype: 'F32',
    shape: [(end - begin) / 4],
    data_offsets: [begin, end],
    ...changes,
  });
  it.each<[string, () => void, RegExp]>([
    ['too short', () => writeFileSync(path, Buffer.alloc(3)), /3 bytes are too few/],
    ['a huge header', () => writeRaw({}, 0, 2 ** 40), /header would take/],
    ['a header past the end', () => writeRaw({}, 0, 100), /header would take/],
    ['not JSON', () => writeRaw('{"a":', 0), /not JSON/],
    ['a list', () => writeRaw('[]', 0), /not an object/],
    ['an unknown dtype', () => writeRaw({ a: entry(0, 8, { dtype: 'F7' }) }, 8), /unknown dtype "F7"/],
    [
      'a dtype that is a property of objects',
      () => writeRaw({ a: entry(0, 8, { dtype: 'constructor' }) }, 8),
      /unknown dtype/,
    ],
    ['no shape', () => writeRaw({ a: entry(0, 8, { shape: 'x' }) }, 8), /no valid shape/],
    ['a negative size', () => writeRaw({ a: entry(0, 8, { shape: [-2] }) }, 8), /no valid shape/],
    ['a null entry', () => writeRaw({ a: null }, 8), /unknown dtype/],
    ['lying offsets', () => writeRaw({ a: entry(0, 8, { shape: [3] }) }, 8), /its shape needs 12/],
    ['offsets past the end', () => writeRaw({ a: entry(0, 80) }, 8), /8 are there/],
    ['backward offsets', () => writeRaw({ a: entry(8, 0, { shape: [2] }) }, 8), /claims bytes 8 to 0/],
    ['overlap', () => writeRaw({ a: entry(0, 8), b: entry(4, 12) }, 12), /overlaps/],
    ['a hole', () => writeRaw({ a: entry(0, 4), b: entry(8, 12) }, 12), /hole/],
    ['bytes of nobody', () => writeRaw({ a: entry(0, 4) }, 12), /8 bytes belong to no tensor/],
    ['huge sizes', () => writeRaw({ a: entry(0, 8, { shape: [2 ** 40, 2 ** 40] }) }, 8), /its shape needs/],
    [
      'huge sizes of nothing',
      () => writeRaw({ a: entry(0, 4), b: entry(4, 4, { shape: [0, 2 ** 50, 2 ** 50] }) }, 4),
      /overflow/,
    ],
  ])('refuses %s', (_name, write, message) => {
    write();
    expect(() => readSafetensors(path)).toThrow(message);
    expect(() => readSafetensors(path)).toThrow(ReckonError);
  });

  it('refuses a file that is not there', () => {
    expect(() => readSafetensors(join(folder, 'none.safetensors'))).toThrow(ReckonError);
    expect(() => readSafetensors(folder)).toThrow(ReckonError);
  });

  it('any change of the header is read or refused, never a crash', () => {
    using value = tensor([1, 2, 3, 4], { shape: [2, 2] });
    writeSafetensors(path, new Map([['weight', value]]));
    const whole = readFileSync(path);
    fc.assert(
      fc.property(fc.nat(whole.length - 1), fc.nat(255), fc.nat(whole.length), (place, byte, length) => {
        const changed = Buffer.from(whole);
        changed[place] = byte;
        writeFileSync(path, changed.subarray(0, length % 4 === 0 ? length : undefined));
        try {
          free(readSafetensors(path));
        } catch (error) {
          if (!(error instanceof ReckonError)) throw error;
        }
      }),
      { numRuns: 400 },
    );
  });
});

describe('mapped weights', () => {
  const floats = tensor([1, -2, 3.5, 4, 5, 6], { shape: [2, 3] });
  const state = () =>
    new Map<string, Tensor>([
      ['half', floats.to('bf16')],
      ['flags', tensor([1, 0, 1], { dtype: 'bool' })],
      ['whole', floats.clone()],
      ['ids', tensor([7, 8], { dtype: 'i64' })],
      ['none', tensor([], { shape: [0, 3] })],
    ]);
  afterAll(() => floats.dispose());

  it.each([undefined, 'f32', 'bf16'] as const)('are what reading gives, into %s', (dtype) => {
    const written = state();
    writeSafetensors(path, written);
    const options = dtype === undefined ? {} : { dtype };
    const read = readSafetensors(path, options);
    const mapped = readSafetensors(path, { ...options, map: true });
    expect(mapped.size).toBe(read.size);
    for (const [name, value] of read) {
      const other = mapped.get(name)!;
      expect([name, other.dtype, other.shape, [...other.toBytes()]]).toEqual([
        name,
        value.dtype,
        value.shape,
        [...value.toBytes()],
      ]);
    }
    for (const tensors of [written, read, mapped]) free(tensors);
  });

  it('leave the file as it is when they are written to, and stay when another file takes its place', () => {
    const written = state();
    writeSafetensors(path, written);
    const before = readFileSync(path);
    const mapped = readSafetensors(path, { map: true });
    mapped.get('whole')!.fill_(9).dispose();
    expect(readFileSync(path).equals(before)).toBe(true);
    const other = new Map([['whole', tensor([0])]]);
    writeSafetensors(path, other);
    expect([...mapped.get('half')!.toFloat32()]).toEqual([1, -2, 3.5, 4, 5, 6]);
    expect([...mapped.get('whole')!.toFloat32()]).toEqual([9, 9, 9, 9, 9, 9]);
    for (const tensors of [written, mapped, other]) free(tensors);
  });

  it('are read where they do not begin at a multiple of their size', () => {
    const header = '{"x":{"dtype":"F32","shape":[2],"data_offsets":[0,8]}}';
    expect((8 + header.length) % 4).not.toBe(0);
    writeRaw(header, 8);
    const mapped = readSafetensors(path, { map: true });
    expect([...mapped.get('x')!.toFloat32()]).toEqual([0, 0]);
    free(mapped);
  });

  it('of a damaged file are refused as ever', () => {
    writeRaw({ x: { dtype: 'F32', shape: [4], data_offsets: [0, 16] } }, 8);
    expect(() => readSafetensors(path, { map: true })).toThrow(/claims bytes 0 to 16/);
  });
});

describe('model folders', () => {
  it('load what was saved, bit for bit', () => {
    for (const changes of [{}, { tieEmbeddings: false, keyValueHeads: 4 }]) {
      using model = tinyModel(changes);
      saveModel(model, folder);
      using back = loadModel(folder, f32);
      expect(back.config).toEqual(model.config);
      for (const [name, value] of back.stateDict()) {
        expect(value.toBytes()).toEqual(model.stateDict().get(name)!.toBytes());
      }
    }
  });

  it.each<[string, (state: Map<string, Tensor>) => void, RegExp]>([
    [
      'a missing tensor',
      (state) => void state.delete('model.norm.weight'),
      /needs a tensor 'model.norm.weight'/,
    ],
    [
      'another shape',
      (state) => void state.set('model.norm.weight', tensor([1, 2])),
      /must have shape \[32\] by the config, found \[2\]/,
    ],
    [
      'whole numbers for weights',
      (state) => void state.set('model.norm.weight', tensor(new Array(32).fill(1), { dtype: 'i32' })),
      /'model.norm.weight' must be floating-point, found i32/,
    ],
    ['an extra tensor', (state) => void state.set('extra', tensor([1])), /knows nothing of, such as 'extra'/],
  ])('refuse %s', (_name, change, message) => {
    using model = tinyModel();
    saveModel(model, folder);
    const state = new Map(model.stateDict());
    change(state);
    writeSafetensors(join(folder, 'model.safetensors'), state);
    for (const [name, value] of state) if (value !== model.stateDict().get(name)) value.dispose();
    expect(() => loadModel(folder, f32)).toThrow(message);
  });

  it('free what they read when the device is not there', () => {
    using model = tinyModel();
    saveModel(model, folder);
    expect(() => loadModel(folder, { ...f32, device: 'rocket' })).toThrow(/rocket/);
  });

  it.each([
    [{ use_sliding_window: true }, /use_sliding_window/],
    [{ model_type: 'gpt2' }, /model_type/],
    [{ quantization_config: { bits: 4 } }, /quantization_config/],
    [{ rope_scaling: { type: 'yarn' } }, /rope_scaling/],
    [{ layer_types: ['sliding_attention'] }, /layer_types/],
    [{ hidden_act: 'gelu' }, /hidden_act/],
    [{ vocab_size: undefined }, /vocab_size/],
    [{ num_key_value_heads: 3 }, /num_attention_heads 4 must be a multiple of num_key_value_heads 3/],
    [{ head_dim: 7 }, /head's size even, found 7/],
    [{ num_attention_heads: 6 }, /head's size even, found 5.3/],
  ])('name the config field that is not supported: %j', (changes, message) => {
    const json = configToJson(tinyConfig(), 'float32');
    expect(parseConfig(json, 'config.json')).toEqual(tinyConfig());
    expect(() => parseConfig({ ...json, ...changes }, 'config.json')).toThrow(message);
  });
});
