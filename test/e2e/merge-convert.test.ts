/** `reckon merge` and `reckon convert` as processes of their own, on a tiny model and an adapter of every kind. */

import { spawnSync } from 'node:child_process';
import { existsSync, mkdirSync, readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { beforeAll, describe, expect, it } from 'vitest';
import { readModelInfo } from '../../src/checkpoints/model-info.ts';
import {
  type AdapterConfig,
  adapterDefaults,
  createAdapter,
  Decoder,
  initialWeights,
  loadModel,
  readSafetensors,
  saveAdapter,
  saveModel,
} from '../../src/models/index.ts';
import { adapterParameters, useAdapter } from '../../src/nn/index.ts';
import { ids, noGrad, op, scope, type Tensor } from '../../src/torch/index.ts';
import { tinyConfig, tokenizer } from '../torch/tiny.ts';
import { ROOT, temporaryFolder } from './tiny-run.ts';

const folder = temporaryFolder();
const place = (name: string) => join(folder, name);
const expected = new Map<string, Float32Array>();

function reckon(...words: string[]): { code: number | null; stdout: string; stderr: string } {
  const main = join(ROOT, 'dist', 'cli', 'main.js');
  const { status, stdout, stderr } = spawnSync(process.execPath, [main, ...words], {
    cwd: folder,
    encoding: 'utf8',
    env: { ...process.env, NO_COLOR: '1', RECKON_THREADS: '1' },
  });
  return { code: status, stdout, stderr };
}

function logitsOf(model: Decoder): Float32Array {
  return noGrad(() => scope(() => model.logits(model.forward(ids([1, 5, 9, 13, 4, 7], [1, 6]))).toFloat32()));
}

function largest(a: Float32Array, b: Float32Array): number {
  return a.reduce((most, value, i) => Math.max(most, Math.abs(value - b[i]!)), 0);
}

function loaded(name: string): Decoder {
  return loadModel(place(name), { dtype: 'f32', computeDtype: 'f32', device: 'cpu' });
}

const adapters: Readonly<Record<string, Partial<AdapterConfig>>> = {
  plain: {},
  dora: { dora: true },
  embedding: { targetModules: ['embed_tokens', 'q_proj'], modulesToSave: ['model.norm'] },
};

beforeAll(() => {
  const config = tinyConfig();
  using base = scope(() => new Decoder(config, initialWeights(config, 1), 'f32'));
  saveModel(base, place('base'));
  tokenizer.save(place('base'));
  writeFileSync(join(place('base'), 'chat_template.jinja'), '{{ messages }}');
  for (const [name, changes] of Object.entries(adapters)) {
    createAdapter(base, name, { ...adapterDefaults, alpha: 6, ...changes, base: 'org/base' }, 3);
    noGrad(() =>
      scope(() => {
        for (const value of adapterParameters(base, name).values())
          value.copy_((op('aten::randn')(value.shape) as Tensor).mul(0.3));
      }),
    );
    saveAdapter(base, name, place(name));
    useAdapter(base, name);
    expected.set(name, logitsOf(base));
    useAdapter(base, null);
  }
});

describe('reckon merge', () => {
  it.each(Object.keys(adapters))('writes a model that computes what the adapter %s does', (name) => {
    const { code, stdout } = reckon('merge', 'base', name, `merged-${name}`, '--json');
    expect(code).toBe(0);
    const untied = name === 'embedding';
    expect(JSON.parse(stdout)).toMatchObject({ dtype: 'f32', untied });
    using model = loaded(`merged-${name}`);
    expect(model.config.tieEmbeddings).toBe(!untied);
    expect(largest(logitsOf(model), expected.get(name)!)).toBeLessThan(1e-4);
    for (const file of [
      'tokenizer.json',
      'tokenizer_config.json',
      'chat_template.jinja',
      'generation_config.json',
    ])
      expect(readFileSync(join(place(`merged-${name}`), file))).toEqual(
        readFileSync(join(place('base'), file)),
      );
    expect(readModelInfo(place(`merged-${name}`))).toMatchObject({
      base: 'org/base',
      how: 'merge',
      parents: [{ name: 'base' }, { name }],
      adapter: { merged: true, type: name === 'dora' ? 'dora' : 'lora' },
    });
  });

  it.each([
    ['another order', ['plain', 'base', 'x'], 'the order is: base, adapter, out'],
    ['no base', ['nowhere', 'plain', 'x'], 'nowhere'],
    ['a folder that is there', ['base', 'plain', 'base'], 'not empty'],
    ['an unknown dtype', ['base', 'plain', 'x', '--dtype', 'int4'], 'Allowed choices are f32, bf16, f16'],
    ['a size that is none', ['base', 'plain', 'x', '--max-shard-size', 'much'], 'a size such as 5GB'],
  ])('refuses %s and leaves nothing', (_name, words, message) => {
    const { code, stderr } = reckon('merge', ...words);
    expect(code).toBe(2);
    expect(stderr).toContain(message);
    expect(existsSync(place('x'))).toBe(false);
  });

  it('leaves nothing where the adapter does not fit', () => {
    mkdirSync(place('foreign'), { recursive: true });
    const config = JSON.parse(readFileSync(join(place('plain'), 'adapter_config.json'), 'utf8'));
    writeFileSync(
      join(place('foreign'), 'adapter_config.json'),
      JSON.stringify({ ...config, target_modules: ['c_attn'] }),
    );
    writeFileSync(
      join(place('foreign'), 'adapter_model.safetensors'),
      readFileSync(join(place('plain'), 'adapter_model.safetensors')),
    );
    const { code, stderr } = reckon('merge', 'base', 'foreign', 'y');
    expect(code).toBe(1);
    expect(stderr).toContain('c_attn');
    expect(existsSync(place('y'))).toBe(false);
  });
});

describe('reckon convert', () => {
  it('changes the dtype and cuts the weights into files', () => {
    const { code, stdout } = reckon(
      'convert',
      'base',
      'small',
      '--dtype',
      'bf16',
      '--max-shard-size',
      '10KB',
    );
    expect(code).toBe(0);
    expect(stdout).toContain('f32 to bf16');
    const files = readdirSync(place('small')).filter((name) => name.endsWith('.safetensors'));
    expect(files.length).toBeGreaterThan(1);
    scope(() => {
      const before = readSafetensors(join(place('base'), 'model.safetensors'));
      const after = new Map(files.flatMap((name) => [...readSafetensors(join(place('small'), name))]));
      expect([...after.keys()].sort()).toEqual([...before.keys()].sort());
      for (const [name, value] of after) {
        expect(value.dtype).toBe('bf16');
        expect(value.toFloat32()).toEqual(before.get(name)!.to('bf16').toFloat32());
      }
    });
    const config = JSON.parse(readFileSync(join(place('small'), 'config.json'), 'utf8'));
    expect(config).toMatchObject({ dtype: 'bfloat16', torch_dtype: 'bfloat16' });
    const back = reckon('convert', 'small', 'whole');
    expect(back.code).toBe(0);
    using one = loaded('small');
    using other = loaded('whole');
    expect(logitsOf(other)).toEqual(logitsOf(one));
    expect(existsSync(join(place('whole'), 'model.safetensors'))).toBe(true);
  });

  it('gives back the same bytes where nothing changes', () => {
    expect(reckon('convert', 'base', 'same').code).toBe(0);
    for (const file of ['model.safetensors', 'config.json'])
      expect(readFileSync(join(place('same'), file))).toEqual(readFileSync(join(place('base'), file)));
  });

  it('refuses numbers that a dtype does not hold, and an adapter', () => {
    using model = loaded('base');
    noGrad(() => scope(() => [...model.namedParameters()][0]![1].mul_(1e6)));
    saveModel(model, place('large'));
    const { code, stderr } = reckon('convert', 'large', 'half', '--dtype', 'f16');
    expect(code).toBe(1);
    expect(stderr).toContain("'model.embed_tokens.weight' has numbers that f16 does not hold");
    expect(existsSync(place('half'))).toBe(false);
    expect(reckon('convert', 'plain', 'half')).toMatchObject({
      code: 2,
      stderr: expect.stringContaining('reckon merge'),
    });
  });
});
