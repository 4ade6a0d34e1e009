/** `reckon generate` and `reckon chat` in this process, on a tiny chat model: what they print is what the engine gives. */

import { mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Readable } from 'node:stream';
import { Command } from 'commander';
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it, vi } from 'vitest';
import { addChatCommand } from '../../src/cli/chat.ts';
import { addGenerateCommand } from '../../src/cli/generate.ts';
import { type GenerationOptions, generate } from '../../src/generate/index.ts';
import { Decoder, initialWeights, loadModel, saveModel, type WeightFormat } from '../../src/models/index.ts';
import { ChatTemplate, characterTokenizer, loadTokenizer, Tokenizer } from '../../src/text/index.ts';
import { scope } from '../../src/torch/index.ts';
import { DownloadServer } from '../null/hub-downloads.ts';
import { assertNoLeaks, tinyConfig } from './tiny.ts';

const folder = mkdtempSync(join(tmpdir(), 'reckon-text-commands-'));
const place = (name: string) => join(folder, name);
const letters = Array.from({ length: 95 }, (_, i) => String.fromCharCode(32 + i));
const plain = characterTokenizer([...letters, '\n']);
const source =
  '{% for m in messages %}{{ m.role[0] }}:{{ m.content }}\n{% endfor %}{% if add_generation_prompt %}a:{% endif %}';
const talking = new Tokenizer({ ...plain.files, config: { ...plain.files.config, chat_template: source } });

beforeAll(() => {
  const config = tinyConfig({ vocabSize: plain.size });
  using model = scope(() => new Decoder(config, initialWeights(config, 5), 'f32'));
  for (const [name, tokenizer] of [
    ['plain', plain],
    ['chat', talking],
  ] as const) {
    saveModel(model, place(name));
    tokenizer.save(place(name));
  }
});
afterAll(() => rmSync(folder, { recursive: true, force: true }));

let printed: string;
let complained: string;
beforeEach(() => {
  printed = '';
  complained = '';
  vi.spyOn(process.stdout, 'write').mockImplementation((text) => {
    printed += text;
    return true;
  });
  vi.spyOn(process.stderr, 'write').mockImplementation((text) => {
    complained += text;
    return true;
  });
});
afterEach(() => {
  vi.restoreAllMocks();
  vi.unstubAllEnvs();
});
assertNoLeaks();

/** Runs a command line with f32 weights; `typed` is what comes in. */
async function reckon(words: readonly string[], typed = ''): Promise<string> {
  vi.spyOn(process, 'stdin', 'get').mockReturnValue(
    Readable.from([typed]) as unknown as typeof process.stdin,
  );
  const program = new Command('reckon').option('--json').option('--quiet').exitOverride();
  program.configureOutput({ writeErr: () => undefined });
  const codes: number[] = [];
  addGenerateCommand(program, (code) => codes.push(code));
  addChatCommand(program, (code) => codes.push(code));
  printed = '';
  await program.parseAsync(['node', 'reckon', ...words, '--dtype', 'f32', '--device', 'cpu']);
  expect(codes).toEqual([0]);
  return printed;
}

/** What the engine gives for a prompt's ids. */
async function expected(
  ids: readonly number[],
  options: Partial<GenerationOptions> = {},
  id = '0',
  weights: WeightFormat = 'full',
): Promise<string> {
  using whole = loadModel(place('plain'), { dtype: 'f32', computeDtype: 'f32', device: 'cpu' });
  using model = whole.snapshot(weights);
  const [group] = await generate(model, plain, [{ problemId: id, promptIds: ids, samples: 1 }], {
    temperature: 1,
    topP: 1,
    maxNewTokens: 12,
    stopIds: [2],
    seed: 0,
    step: 0,
    ...options,
  });
  return group![0]!.text;
}

const withBos = (text: string) => [1, ...plain.encode(text)];
const few = ['--max-tokens', '12'];

describe('reckon generate', () => {
  it('samples with matrices in 8 bit where it is asked to', async () => {
    const long = ['--max-tokens', '40'];
    const texts = [];
    for (const weights of ['full', 'int8'] as const) {
      const words = ['generate', place('plain'), '--prompt', '3 + 4', '--weights', weights, ...long];
      texts.push(await reckon(words));
      expect(texts.at(-1)).toBe(`${await expected(withBos('3 + 4'), { maxNewTokens: 40 }, '0', weights)}\n`);
    }
    expect(texts[0]).not.toBe(texts[1]);
  });

  it('prints the completion of a prompt, at once or as it comes', async () => {
    const text = await expected(withBos('3 + 4'));
    expect(text.length).toBeGreaterThan(3);
    expect(await reckon(['generate', place('plain'), '--prompt', '3 + 4', ...few])).toBe(`${text}\n`);
    expect(await reckon(['generate', place('plain'), '--prompt', '3 + 4', ...few, '--stream'])).toBe(
      `${text}\n`,
    );
  });

  it('samples as it is told', async () => {
    const words = ['generate', place('plain'), '--prompt', 'x', ...few];
    const greedy = await expected(withBos('x'), { temperature: 0 });
    expect(await reckon([...words, '--temperature', '0'])).toBe(`${greedy}\n`);
    expect(await reckon([...words, '--top-k', '1', '--seed', '9'])).toBe(`${greedy}\n`);
    expect(await reckon([...words, '--min-p', '1'])).toBe(`${greedy}\n`);
    const narrow = await expected(withBos('x'), { topP: 0.3, seed: 4, temperature: 0.8 });
    const options = ['--top-p', '0.3', '--seed', '4', '--temperature', '0.8'];
    expect(await reckon([...words, ...options])).toBe(`${narrow}\n`);
    const [first] = greedy;
    expect(await reckon([...words, '--temperature', '0', '--stop', first!])).toBe(`${first}\n`);
  });

  it('turns a file of prompts into rows, the same whatever runs at once', async () => {
    const rows = [
      { id: 'a', question: 'How many?' },
      { id: 'b', prompt: '1+1=' },
      { id: 'c', messages: [{ role: 'user', content: 'Hi' }] },
    ];
    writeFileSync(place('rows.jsonl'), rows.map((row) => `${JSON.stringify(row)}\n`).join('\n'));
    const words = ['generate', place('chat'), '--prompts', place('rows.jsonl'), '--samples', '2', ...few];
    const together = await reckon(words);
    expect(await reckon([...words, '--batch', '1'])).toBe(together);
    const out = together
      .trim()
      .split('\n')
      .map((line) => JSON.parse(line));
    expect(out.map(({ id, sample }) => `${id}${sample}`)).toEqual(['a0', 'a1', 'b0', 'b1', 'c0', 'c1']);
    expect(out[2]).toMatchObject({ prompt: '1+1=', completion: await expected(withBos('1+1='), {}, '1') });
    const chat = new ChatTemplate(talking).encode([{ role: 'user', content: 'Hi' }], {
      addGenerationPrompt: true,
    });
    expect(out[4]).toMatchObject({
      completion: await expected(chat, {}, '2'),
      prompt_tokens: 'u:Hi\na:'.length,
      stop_reason: expect.stringMatching(/eos|length/),
    });
    expect(JSON.parse(await reckon(['--json', ...words])).completions).toEqual(out);
  });

  it('puts a prompt through the chat template with --chat', async () => {
    const ids = plain.encode('s:Be brief\nu:Hi\na:');
    const words = ['--prompt', 'Hi', '--system', 'Be brief', ...few];
    expect(await reckon(['generate', place('chat'), ...words])).toBe(`${await expected(ids)}\n`);
    await expect(reckon(['generate', place('plain'), ...words])).rejects.toMatchObject({
      code: 'no-chat-template',
    });
  });

  it.each([
    [[], /give one of --prompt and --prompts, found neither/],
    [['--prompt', 'x', '--prompts', 'y'], /found both/],
    [['--prompts', 'nowhere.jsonl'], /cannot be read/],
    [['--prompt', 'x', '--stream', '--samples', '2'], /one completion of one prompt/],
    [['--prompt', 'x', '--temperature', 'hot'], /a number, 0 or more/],
    [['--prompt', 'x', '--samples', 'many'], /a whole number/],
    [['--prompt', 'x', '--max-tokens', '1.5'], /a whole number/],
    [['--prompt', 'x', '--top-p', '2'], /above 0 and at most 1/],
    [['--prompt', 'x', '--min-p', '1.5'], /between 0 and 1/],
    [['--prompt', 'x', '--temperature', '0.00001'], /0 \(greedy\) or at least 0.0001/],
    [['--prompt', '3 € 4'], /its vocabulary lacks a character/],
    [['--prompt', 'x', '--max-tokens', '5000'], /the model has 640/],
  ])('refuses %j', async (words, message) => {
    await expect(reckon(['generate', place('plain'), ...words])).rejects.toThrow(message);
  });

  it('says what a folder without a model lacks', async () => {
    mkdirSync(place('nothing'), { recursive: true });
    const words = ['generate', place('nothing'), '--prompt', 'x'];
    await expect(reckon(words)).rejects.toThrow(/expected a model folder with config\.json, found none in/);
  });

  it('names the line of a prompt that is none', async () => {
    writeFileSync(place('bad.jsonl'), '{"prompt":"x"}\n{"text":"y"}\n');
    const words = ['generate', place('plain'), '--prompts', place('bad.jsonl')];
    await expect(reckon(words)).rejects.toThrow(/bad\.jsonl:2: expected a JSON object with `prompt`/);
  });

  it('takes a model by its hub id', async () => {
    const server = new DownloadServer();
    vi.stubEnv('HF_ENDPOINT', await server.start());
    vi.stubEnv('HF_HOME', place('home'));
    for (const name of ['HF_TOKEN', 'HF_HUB_CACHE', 'HF_HUB_OFFLINE']) vi.stubEnv(name, '');
    try {
      const names = readdirSync(place('plain'));
      server.add(
        'org/tiny',
        Object.fromEntries(names.map((name) => [name, readFileSync(join(place('plain'), name))])),
      );
      const text = await expected(withBos('3 + 4'));
      expect(await reckon(['generate', 'org/tiny@main', '--prompt', '3 + 4', ...few])).toBe(`${text}\n`);
      expect(complained).toContain('downloading org/tiny');
    } finally {
      await server.stop();
    }
  });
});

describe('reckon chat', () => {
  it('answers turn by turn with the whole conversation before it, until /exit', async () => {
    const first = await expected(plain.encode('u:Hi\na:'), {}, '1');
    const second = await expected(plain.encode(`u:Hi\na:${first}\nu:And?\na:`), {}, '3');
    const typed = 'Hi\nAnd?\n\n/reset\nHi\n/exit\nnever\n';
    expect(await reckon(['chat', place('chat'), ...few], typed)).toBe(`${first}\n${second}\n${first}\n`);
  });

  it('ends with its input, keeps the system message, and goes on after what it cannot answer', async () => {
    const reply = await expected(plain.encode('s:Be brief\nu:Hi\na:'), {}, '2');
    const typed = `${'x'.repeat(700)}\nHi\n`;
    const rows = await reckon(['--json', 'chat', place('chat'), '--system', 'Be brief', ...few], typed);
    expect(
      rows
        .trim()
        .split('\n')
        .map((row) => JSON.parse(row)),
    ).toMatchObject([{ role: 'assistant', content: reply }]);
    expect(complained).toMatch(/the model has 640.*\/reset begins a new conversation/);
  });

  it.each([
    [['--min-p', '1.5'], /between 0 and 1/],
    [['--temperature', '0.00001'], /at least 0.0001/],
  ])('refuses %j before a model is loaded', async (words, message) => {
    await expect(reckon(['chat', place('nowhere'), ...words])).rejects.toThrow(message);
  });

  it('needs a chat template', async () => {
    await expect(reckon(['chat', place('plain')])).rejects.toMatchObject({ code: 'no-chat-template' });
  });
});

describe('a tokenizer folder of transformers', () => {
  it('has its chat template in a file of its own, or in a list, and special tokens in a map', () => {
    mkdirSync(place('files'));
    plain.save(place('files'));
    const { eos_token, ...rest } = plain.files.config as Record<string, unknown>;
    const list = [
      { name: 'tool_use', template: 'tools' },
      { name: 'default', template: 'listed' },
    ];
    writeFileSync(
      join(place('files'), 'tokenizer_config.json'),
      JSON.stringify({ ...rest, chat_template: list }),
    );
    writeFileSync(join(place('files'), 'special_tokens_map.json'), JSON.stringify({ eos_token }));
    expect(loadTokenizer(place('files')).files.config['chat_template']).toBe('listed');
    expect(loadTokenizer(place('files')).eosId).toBe(2);
    writeFileSync(join(place('files'), 'chat_template.jinja'), 'apart');
    expect(loadTokenizer(place('files')).files.config['chat_template']).toBe('apart');
  });
});
