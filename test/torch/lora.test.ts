import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, describe, expect, it } from 'vitest';
import {
  type AdapterConfig,
  adapterDefaults,
  adapterTargets,
  createAdapter,
  type Decoder,
  loadAdapter,
  loadModel,
  mergedModel,
  parseAdapterConfig,
  readSafetensors,
  saveAdapter,
  saveModel,
  writeSafetensors,
} from '../../src/models/index.ts';
import {
  activeAdapter,
  adapterNames,
  adapterParameters,
  layersOf,
  mergeAdapter,
  removeAdapter,
  trainableParameters,
  unmergeAdapter,
  useAdapter,
  withAdapter,
  withDropout,
} from '../../src/nn/index.ts';
import {
  backward,
  type DType,
  ids,
  manualSeed,
  noGrad,
  op,
  scope,
  type Tensor,
} from '../../src/torch/index.ts';
import { assertNoLeaks, largestDifference, tinyModel } from './tiny.ts';

const folder = mkdtempSync(join(tmpdir(), 'reckon-lora-'));
afterAll(() => rmSync(folder, { recursive: true, force: true }));
assertNoLeaks();

const sequence = [1, 5, 9, 13, 4, 7];

function logitsOf(model: Decoder): Float32Array {
  return noGrad(() => scope(() => model.logits(model.forward(ids(sequence, [1, 6]))).toFloat32()));
}

/** A frozen tiny model. */
function frozenModel(changes = {}, computeDtype: DType = 'f32'): Decoder {
  const model = tinyModel(changes, computeDtype);
  for (const [, parameter] of model.namedParameters()) parameter.requiresGrad_(false);
  return model;
}

/** Gives the model an adapter whose every number is far from zero, as if it had been trained. */
function addTrained(
  model: Decoder,
  name: string,
  changes: Partial<AdapterConfig> = {},
  seed = 5,
): AdapterConfig {
  const config = { ...adapterDefaults, rank: 4, alpha: 6, ...changes };
  createAdapter(model, name, config, seed);
  manualSeed(seed);
  noGrad(() =>
    scope(() => {
      for (const [own, value] of adapterParameters(model, name)) {
        if (own.endsWith('magnitude_vector')) value.mul_(1.3);
        else value.copy_(op('aten::randn')(value.shape) as Tensor).mul_(0.2);
      }
    }),
  );
  return config;
}

const kinds = [
  ['LoRA', {}],
  ['rsLoRA', { rslora: true }],
  ['DoRA', { dora: true }],
  ['patterns', { rankPattern: { q_proj: 2 }, alphaPattern: { 'mlp\\.\\w+': 3 }, layersToTransform: [1] }],
  ['modules stored whole', { targetModules: ['q_proj'], modulesToSave: ['norm', 'v_proj'] }],
] as const satisfies readonly (readonly [string, Partial<AdapterConfig>])[];

const byName = (changes: Partial<AdapterConfig>): Partial<AdapterConfig> =>
  'layersToTransform' in changes
    ? { targetModules: ['q_proj', 'up_proj', 'down_proj'], ...changes }
    : changes;

describe.each(kinds)('%s', (_name, changes) => {
  it('changes nothing when new, and its gradient stays out of the base', () => {
    using model = frozenModel();
    const before = logitsOf(model);
    createAdapter(model, 'one', { ...adapterDefaults, ...byName(changes) }, 3);
    useAdapter(model, 'one');
    expect(largestDifference(logitsOf(model), before)).toBeLessThan(2e-6);
    for (const value of trainableParameters(model).values()) value.requiresGrad_();
    scope(() =>
      backward(
        model
          .logits(model.forward(ids(sequence, [1, 6])))
          .square()
          .mean(),
      ),
    );
    scope(() => {
      for (const [, value] of model.namedParameters()) expect(value.grad).toBeNull();
      for (const [own, value] of adapterParameters(model, 'one')) {
        const gradient = value.grad!.toFloat32();
        // b is zero at first, so a's gradient is too; DoRA's magnitudes and whole modules learn at once.
        expect(
          gradient.some((one) => one !== 0),
          own,
        ).toBe(!own.endsWith('lora_A.weight'));
      }
    });
  });

  it('is the same beside the base, merged, in a snapshot and as a model; unmerged the base is back bit for bit', () => {
    using model = frozenModel();
    const base = logitsOf(model);
    addTrained(model, 'one', byName(changes));
    useAdapter(model, 'one');
    const beside = logitsOf(model);
    expect(largestDifference(beside, base)).toBeGreaterThan(1e-2);
    using copy = model.snapshot();
    expect(largestDifference(logitsOf(copy), beside)).toBeLessThan(2e-5);
    using whole = mergedModel(model);
    mergeAdapter(model, 'one');
    expect(largestDifference(logitsOf(model), beside)).toBeLessThan(2e-5);
    expect(logitsOf(whole)).toEqual(logitsOf(model));
    unmergeAdapter(model, 'one');
    expect(logitsOf(model)).toEqual(beside);
    expect(withAdapter(model, null, () => logitsOf(model))).toEqual(base);
    expect(adapterNames(model)).toEqual(['one']);
  });

  it('comes back from its folder, and is written byte for byte the same', () => {
    using model = frozenModel();
    addTrained(model, 'one', byName(changes));
    saveAdapter(model, 'one', join(folder, 'a'));
    loadAdapter(model, 'two', join(folder, 'a'));
    saveAdapter(model, 'two', join(folder, 'b'));
    for (const file of ['adapter_config.json', 'adapter_model.safetensors'])
      expect(readFileSync(join(folder, 'b', file))).toEqual(readFileSync(join(folder, 'a', file)));
    const [one, two] = ['one', 'two'].map((name) => withAdapter(model, name, () => logitsOf(model)));
    expect(two).toEqual(one);
  });
});

describe('a model with several adapters', () => {
  it('runs each by name and the base without, and puts back what was in use', () => {
    using model = frozenModel();
    const base = logitsOf(model);
    addTrained(model, 'policy', {}, 1);
    addTrained(model, 'reference', { targetModules: ['down_proj'] }, 2);
    useAdapter(model, 'policy');
    const policy = logitsOf(model);
    const inner = withAdapter(model, 'reference', () => [
      logitsOf(model),
      withAdapter(model, null, () => logitsOf(model)),
    ]);
    expect(inner[1]).toEqual(base);
    expect(largestDifference(inner[0]!, policy)).toBeGreaterThan(1e-2);
    expect(activeAdapter(model)).toBe('policy');
    expect(() =>
      withAdapter(model, 'reference', () => {
        throw new Error('inside');
      }),
    ).toThrow('inside');
    expect(logitsOf(model)).toEqual(policy);
    removeAdapter(model, 'reference');
    expect(adapterNames(model)).toEqual(['policy']);
  });

  it('refuses unknown names, a name twice, and removing what is in use', () => {
    using model = frozenModel();
    const config = addTrained(model, 'one');
    expect(() => useAdapter(model, 'two')).toThrow(/'one'.*found 'two'/);
    expect(() => createAdapter(model, 'one', config, 1)).toThrow(/already/);
    useAdapter(model, 'one');
    expect(() => removeAdapter(model, 'one')).toThrow(/in use/);
  });
});

describe('tied embeddings', () => {
  const cases: readonly (readonly [string, Partial<AdapterConfig>])[] = [
    ['an update of the embedding', { targetModules: ['embed_tokens', 'q_proj'] }],
    ['an update of the head', { targetModules: ['lm_head', 'q_proj'] }],
    ['a head stored whole', { targetModules: ['q_proj'], modulesToSave: ['lm_head'] }],
    ['an embedding stored whole', { targetModules: ['q_proj'], modulesToSave: ['embed_tokens'] }],
  ];

  it.each(cases)('%s parts the two when merged', (_name, changes) => {
    using model = frozenModel({ tieEmbeddings: true });
    addTrained(model, 'one', changes);
    useAdapter(model, 'one');
    const beside = logitsOf(model);
    using whole = mergedModel(model);
    using copy = model.snapshot();
    expect([whole.config.tieEmbeddings, copy.config.tieEmbeddings]).toEqual([false, false]);
    expect(largestDifference(logitsOf(whole), beside)).toBeLessThan(3e-5);
    expect(largestDifference(logitsOf(copy), beside)).toBeLessThan(3e-5);
  });

  it('stay tied where the adapter touches neither', () => {
    using model = frozenModel({ tieEmbeddings: true });
    addTrained(model, 'one');
    useAdapter(model, 'one');
    using whole = mergedModel(model);
    expect(whole.config.tieEmbeddings).toBe(true);
    expect(whole.stateDict().has('lm_head.weight')).toBe(false);
  });
});

describe('target layers', () => {
  const paths = (changes: Partial<AdapterConfig>) => {
    using model = frozenModel();
    return adapterTargets(model, { ...adapterDefaults, ...changes }).lowRank.map(({ path }) => path);
  };

  it('follow the rules of PEFT', () => {
    expect(paths({}).length).toBe(14);
    expect(paths({ targetModules: 'ALL-linear' }).length).toBe(14);
    expect(paths({ targetModules: ['q_proj'] })).toEqual(
      [0, 1].map((i) => `model.layers.${i}.self_attn.q_proj`),
    );
    expect(paths({ targetModules: '.*layers\\.1\\..*(up|down)_proj' })).toEqual(
      ['up', 'down'].map((name) => `model.layers.1.mlp.${name}_proj`),
    );
    expect(paths({ excludeModules: ['layers.0.mlp.up_proj', 'q_proj'] }).length).toBe(11);
    expect(paths({ excludeModules: '.*mlp.*' }).length).toBe(8);
    // A whole path is a target whatever layers_to_transform says.
    expect(
      paths({
        targetModules: ['model.layers.0.mlp.up_proj', 'q_proj'],
        layersToTransform: [1],
        layersPattern: ['layers'],
      }),
    ).toEqual(['model.layers.0.mlp.up_proj', 'model.layers.1.self_attn.q_proj']);
    // What is stored whole gets no update.
    expect(paths({ modulesToSave: ['mlp'] }).length).toBe(8);
    expect(() => paths({ targetModules: ['proj'] })).toThrow(
      expect.objectContaining({ code: 'no-target-layers' }),
    );
    expect(() => paths({ targetModules: ['norm'] })).toThrow(
      expect.objectContaining({ code: 'unsupported-adapter' }),
    );
  });

  it('of modules_to_save end with the name, and everything below them counts', () => {
    using model = frozenModel();
    const whole = (modulesToSave: string[]) =>
      adapterTargets(model, { ...adapterDefaults, targetModules: ['q_proj'], modulesToSave }).whole.map(
        ({ path }) => path,
      );
    expect(whole(['norm'])).toEqual([
      'model.layers.0.input_layernorm',
      'model.layers.0.post_attention_layernorm',
      'model.layers.1.input_layernorm',
      'model.layers.1.post_attention_layernorm',
      'model.norm',
    ]);
    expect(whole(['0.mlp'])).toEqual(['gate', 'up', 'down'].map((one) => `model.layers.0.mlp.${one}_proj`));
  });
});

describe('initial values', () => {
  it('are as PEFT draws them, and follow from the seed', () => {
    using model = frozenModel();
    const values = (init: AdapterConfig['init'], seed: number) => {
      createAdapter(model, `${init}${seed}`, { ...adapterDefaults, rank: 16, init }, seed);
      return adapterParameters(model, `${init}${seed}`)
        .get('model.layers.1.mlp.down_proj.lora_A.weight')!
        .toFloat32();
    };
    const uniform = values('default', 1);
    const largest = uniform.reduce((most, one) => Math.max(most, Math.abs(one)), 0);
    expect(largest).toBeLessThanOrEqual(1 / Math.sqrt(48));
    expect(largest).toBeGreaterThan(0.95 / Math.sqrt(48));
    const gaussian = values('gaussian', 1);
    const deviation = Math.sqrt(gaussian.reduce((sum, one) => sum + one * one, 0) / gaussian.length);
    expect(deviation).toBeGreaterThan(0.9 / 16);
    expect(deviation).toBeLessThan(1.1 / 16);
    expect(values('default', 2)).not.toEqual(uniform);
  });
});

describe('dropout', () => {
  it('is off unless asked for, follows from its seed, and keeps the mean', () => {
    using model = frozenModel();
    addTrained(model, 'one', { dropout: 0.4, targetModules: ['model.layers.1.mlp.down_proj'] });
    useAdapter(model, 'one');
    const plain = logitsOf(model);
    const dropped = (seed: number) => withDropout(model, seed, () => logitsOf(model));
    expect(dropped(1)).toEqual(dropped(1));
    expect(largestDifference(dropped(1), dropped(2))).toBeGreaterThan(1e-3);
    expect(logitsOf(model)).toEqual(plain);
    const lowRank = [...layersOf(model)].find(([, layer]) => layer.lowRank)![1].lowRank!;
    scope(() => {
      const x = op('aten::ones')([20_000, 48]) as Tensor;
      const zero = op('aten::zeros')([20_000, 32]) as Tensor;
      const mean = (): Float32Array =>
        noGrad(() => lowRank.forward(x, zero, { weight: x, bias: null }).mean(0).toFloat32());
      const exact = mean();
      lowRank.dropoutSeed = 3;
      expect(largestDifference(mean(), exact)).toBeLessThan(0.02);
      lowRank.dropoutSeed = null;
    });
  });

  it('scales the base of DoRA on the inputs that are left', () => {
    using model = frozenModel();
    addTrained(model, 'one', { dropout: 0.4, dora: true });
    useAdapter(model, 'one');
    const [a, b] = [1, 1].map((seed) => withDropout(model, seed, () => logitsOf(model)));
    expect(a).toEqual(b);
    expect(largestDifference(a!, logitsOf(model))).toBeGreaterThan(1e-3);
  });
});

describe('in bf16', () => {
  it('the adapter stays f32 and the activations bf16', () => {
    using model = frozenModel({}, 'bf16');
    addTrained(model, 'one');
    useAdapter(model, 'one');
    scope(() => expect(model.forward(ids(sequence, [1, 6])).dtype).toBe('bf16'));
    for (const value of adapterParameters(model, 'one').values()) expect(value.dtype).toBe('f32');
    using copy = model.snapshot();
    expect(copy.headWeight.dtype).toBe('bf16');
  });

  it('is merged into a bf16 base in bf16, modules stored whole too', () => {
    using wide = tinyModel();
    saveModel(wide, join(folder, 'base'));
    using model = loadModel(join(folder, 'base'), { dtype: 'bf16', computeDtype: 'f32', device: 'cpu' });
    addTrained(model, 'one', { targetModules: ['q_proj'], modulesToSave: ['norm'] });
    useAdapter(model, 'one');
    const beside = logitsOf(model);
    using whole = mergedModel(model);
    for (const value of whole.stateDict().values()) expect(value.dtype).toBe('bf16');
    mergeAdapter(model, 'one');
    expect(logitsOf(model)).toEqual(logitsOf(whole));
    expect(largestDifference(logitsOf(whole), beside)).toBeLessThan(0.1);
    unmergeAdapter(model, 'one');
    expect(logitsOf(model)).toEqual(beside);
  });
});

describe('adapter files', () => {
  const file = { peft_type: 'LORA', target_modules: ['q_proj'], r: 4 };

  it.each([
    ['bias', 'all'],
    ['lora_bias', true],
    ['fan_in_fan_out', true],
    ['init_lora_weights', 'pissa'],
    ['layer_replication', [[0, 2]]],
    ['trainable_token_indices', [1, 2]],
    ['alora_invocation_tokens', [5]],
    ['target_parameters', ['x']],
    ['use_qalora', true],
    ['ensure_weight_tying', true],
    ['peft_type', 'LOHA'],
    ['task_type', 'SEQ_CLS'],
    ['r', 0],
    ['lora_dropout', 1],
    ['some_later_field', 3],
  ])('refuses %s %j and names it', (field, value) => {
    expect(() => parseAdapterConfig({ ...file, [field]: value }, 'adapter_config.json')).toThrow(
      expect.objectContaining({
        code: 'unsupported-adapter',
        message: expect.stringContaining(`'${field}'`),
      }),
    );
  });

  it('reads what PEFT writes with everything unset, and fields that change nothing', () => {
    const config = parseAdapterConfig(
      {
        ...file,
        layer_replication: null,
        loftq_config: {},
        use_qalora: false,
        inference_mode: true,
        eva_config: null,
      },
      'x',
    );
    expect(config).toEqual({ ...adapterDefaults, rank: 4, targetModules: ['q_proj'] });
  });

  it('must have every tensor in its shape, and none that belongs nowhere but the base embeddings', () => {
    using model = frozenModel();
    addTrained(model, 'one', { targetModules: ['q_proj'] });
    const home = join(folder, 'files');
    const weights = join(home, 'adapter_model.safetensors');
    saveAdapter(model, 'one', home);
    const rewritten = (change: (state: Map<string, Tensor>) => void) => {
      saveAdapter(model, 'one', home);
      scope(() => {
        const state = readSafetensors(weights);
        change(state);
        writeSafetensors(weights, state);
      });
      return () => loadAdapter(model, 'two', home);
    };
    const key = 'base_model.model.model.layers.0.self_attn.q_proj.lora_B.weight';
    expect(rewritten((state) => state.delete(key))).toThrow(
      expect.objectContaining({ code: 'missing-tensor' }),
    );
    expect(rewritten((state) => state.set(key, state.get(key)!.transpose(0, 1).contiguous()))).toThrow(
      expect.objectContaining({ code: 'wrong-shape' }),
    );
    expect(rewritten((state) => state.set(`${key}x`, state.get(key)!))).toThrow(
      expect.objectContaining({ code: 'extra-tensor' }),
    );
    const embedding = 'base_model.model.model.embed_tokens.weight';
    const table = model.stateDict().get('model.embed_tokens.weight')!;
    expect(rewritten((state) => state.set(embedding, table.mul(2)))).toThrow(
      expect.objectContaining({ code: 'extra-tensor' }),
    );
    expect(rewritten((state) => state.set(embedding, table))).not.toThrow();
    writeFileSync(join(home, 'adapter_config.json'), '{');
    expect(() => loadAdapter(model, 'three', home)).toThrow(
      expect.objectContaining({ code: 'bad-adapter-folder' }),
    );
  });
});
