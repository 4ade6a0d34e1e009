/** What of the remote engine needs neither a server nor a model: choice of server, waits, readings, refusals, the recipe's key. */

import { type AddressInfo, createServer, type Socket } from 'node:net';
import { setTimeout as sleep } from 'node:timers/promises';
import { describe, expect, it } from 'vitest';
import { backoffMs } from '../../src/generate/remote/backoff.ts';
import { deadline } from '../../src/generate/remote/deadline.ts';
import { readLogps } from '../../src/generate/remote/engine.ts';
import { ask, PassingFailure } from '../../src/generate/remote/http.ts';
import { completionBody, readCompletion } from '../../src/generate/remote/protocol.ts';
import { refusal, wordOf } from '../../src/generate/remote/refusal.ts';
import { plainUrl, Servers } from '../../src/generate/remote/servers.ts';
import { formatRecipe, parseRecipe } from '../../src/recipe/index.ts';
import { hashInputs, stageInputs } from '../../src/run/stage-inputs.ts';
import { ReckonError } from '../../src/util/errors.ts';
import { Rng } from '../../src/util/rng.ts';

describe('a time limit', () => {
  it('may be longer than a timer of Node', async () => {
    const { signal, close } = deadline(1e7, undefined, () => new ReckonError('run', 'late', 'late'));
    await sleep(20);
    close();
    expect(signal.aborted).toBe(false);
  });
});

describe('servers', () => {
  it('are asked in turn, the least busy first', () => {
    const servers = new Servers(['http://a/', 'http://b/v1', 'http://a'], 1000, () => 0);
    expect(servers.all.map(({ url }) => url)).toEqual(['http://a', 'http://b']);
    const [first, second, third] = [servers.take(), servers.take(), servers.take()];
    expect([first.url, second.url, third.url]).toEqual(['http://a', 'http://b', 'http://a']);
    servers.give(second, true);
    expect(servers.take().url).toBe('http://b');
  });

  it('rest after a failure, longer after each, and are awake again after a success', () => {
    let now = 0;
    const servers = new Servers(['http://a', 'http://b'], 1000, () => now);
    servers.give(servers.take(), false);
    expect([servers.take(), servers.take()].map(({ url }) => url)).toEqual(['http://b', 'http://b']);
    const [a, b] = servers.all as [(typeof servers.all)[0], (typeof servers.all)[0]];
    servers.give(b, false);
    expect(servers.isAnyAwake).toBe(false);
    now = 999;
    expect(servers.take()).toBe(a);
    servers.give(a, false);
    expect([a.restsUntil, b.restsUntil]).toEqual([2999, 1000]);
    now = 1000;
    expect(servers.isAnyAwake).toBe(true);
    servers.give(servers.take(), true);
    expect([b.failures, b.restsUntil]).toEqual([0, 0]);
    for (let i = 0; i < 20; i++) servers.give(a, false);
    expect(a.restsUntil).toBe(61_000);
  });

  it('rest as after one failure where all that was under way failed at once', () => {
    const servers = new Servers(['http://a'], 1000, () => 0);
    const taken = Array.from({ length: 64 }, () => servers.take());
    for (const server of taken) servers.give(server, false);
    expect(servers.all[0]).toMatchObject({ busy: 0, failures: 1, restsUntil: 1000 });
    servers.give(servers.take(), false);
    expect(servers.all[0]).toMatchObject({ failures: 2, restsUntil: 2000 });
  });

  it('are known by their address alone', () => {
    for (const url of ['http://h:1', 'http://h:1/', 'http://h:1/v1', 'http://h:1/v1/'])
      expect(plainUrl(url)).toBe('http://h:1');
    expect(plainUrl('https://h/team/v1')).toBe('https://h/team');
  });
});

describe('a connection that a server closed while it was idle', () => {
  it('is replaced by a new one, which is no failure; a server that closes every one fails', async () => {
    const sockets = new Set<Socket>();
    let answers = true;
    const server = createServer((socket) => {
      sockets.add(socket);
      socket.on('error', () => {});
      socket.on('data', () => {
        if (answers) socket.write('HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\n{}');
        else socket.destroy();
      });
    });
    await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
    const url = `http://127.0.0.1:${(server.address() as AddressInfo).port}/`;
    const question = { url, method: 'POST', body: {}, timeoutMs: 5000 } as const;
    const send = () => ask({ ...question, signal: new AbortController().signal });
    const three = () => Promise.all([send(), send(), send()]);
    expect((await three()).map(({ status }) => status)).toEqual([200, 200, 200]);
    // In the turn of the event loop in which they are used again, nothing shows that they are closed.
    for (const socket of sockets) socket.destroy();
    expect((await three()).map(({ status }) => status)).toEqual([200, 200, 200]);
    answers = false;
    await expect(send()).rejects.toBeInstanceOf(PassingFailure);
    for (const socket of sockets) socket.destroy();
    await new Promise<void>((resolve) => server.close(() => resolve()));
  });
});

describe('waits', () => {
  it('double, are half chance, end at half a minute, and follow from the seed', () => {
    const waits = (seed: number) => {
      const rng = new Rng({ seed, purpose: 'retry' });
      return Array.from({ length: 12 }, (_, i) => backoffMs(i + 1, 500, rng));
    };
    for (const [i, wait] of waits(1).entries()) {
      const whole = Math.min(30_000, 500 * 2 ** i);
      expect(wait).toBeGreaterThanOrEqual(whole / 2);
      expect(wait).toBeLessThan(whole);
    }
    expect(waits(1)).toEqual(waits(1));
    expect(waits(1)).not.toEqual(waits(2));
  });
});

const question = { model: 'm', promptIds: [4, 5], maxNewTokens: 3, seed: 9 };
const choice = {
  token_ids: [7, 8, 2],
  prompt_token_ids: [4, 5],
  finish_reason: 'stop',
  logprobs: { tokens: ['a', 'b', 'c'], token_logprobs: [-1, -2, -3] },
};
const bodyOf = (more: object): string => JSON.stringify({ choices: [{ ...choice, ...more }] });
const read = (body: string) => readCompletion(body, question, 'p');
const sampling = { temperature: 1, topP: 1, maxNewTokens: 3, stopIds: [2], seed: 1, step: 0 };

describe('the protocol', () => {
  it('says everything that a server would else take from the model', () => {
    expect(completionBody(question, sampling)).toMatchObject({
      prompt: [4, 5],
      temperature: 1,
      top_p: 1,
      top_k: -1,
      min_p: 0,
      repetition_penalty: 1,
      ignore_eos: true,
      stop_token_ids: [2],
      add_special_tokens: false,
      seed: 9,
      logprobs: 1,
    });
    const biased = { ...sampling, logitBias: new Map([[3, Number.NEGATIVE_INFINITY]]), topK: 20 };
    expect(completionBody(question, biased)).toMatchObject({ logit_bias: { 3: -100 }, top_k: 20 });
    expect(JSON.parse(JSON.stringify(completionBody(question, biased)))).toEqual(
      completionBody(question, biased),
    );
  });

  it('reads ids from their field, or from the tokens of older servers', () => {
    const expected = { ids: [7, 8, 2], logps: [-1, -2, -3], finish: 'stop' };
    expect(read(bodyOf({}))).toEqual(expected);
    const tokens = ['token_id:7', 'token_id:8', 'token_id:2'];
    const old = { token_ids: null, prompt_token_ids: undefined, logprobs: { ...choice.logprobs, tokens } };
    expect(read(bodyOf(old))).toEqual(expected);
    expect(() => read(bodyOf({ token_ids: undefined }))).toThrow(/no token ids/);
  });

  it.each([
    [{ logprobs: { tokens: [], token_logprobs: [-1, -2] } }, 'remote-no-logprobs'],
    [{ logprobs: { tokens: [], token_logprobs: [-1, null, -3] } }, 'remote-no-logprobs'],
    [{ logprobs: null }, 'remote-no-logprobs'],
    [{ prompt_token_ids: [4, 6] }, 'remote-other-prompt'],
    [{ token_ids: [7, -1, 2] }, 'remote-bad-answer'],
    [
      { token_ids: [7], logprobs: { tokens: [], token_logprobs: [-1] }, finish_reason: 'length' },
      'remote-too-long',
    ],
    [{ token_ids: [], logprobs: { tokens: [], token_logprobs: [] } }, 'remote-empty'],
  ])('refuses %j', (more, code) => {
    expect(() => read(bodyOf(more))).toThrow(expect.objectContaining({ code }));
  });

  it('takes a cut-off answer and an aborted completion for what passes', () => {
    expect(() => read(bodyOf({}).slice(0, 40))).toThrow(PassingFailure);
    expect(() => read(bodyOf({ finish_reason: 'abort' }))).toThrow(PassingFailure);
    expect(() => read(JSON.stringify({ error: 'x' }))).toThrow(/none of the completions protocol/);
  });

  it('knows of which distribution the numbers are', () => {
    const values = [-1, -2];
    const of = (more: object, mode: 'raw' | 'processed') => readLogps(values, { ...sampling, ...more }, mode);
    expect(of({}, 'raw')).toEqual({ logps: values, samplingLogps: values });
    expect(of({ topP: 0.9 }, 'raw')).toEqual({ logps: values, samplingLogps: [] });
    expect(of({ temperature: 0.7 }, 'raw')).toEqual({ logps: [], samplingLogps: [] });
    expect(of({ temperature: 0.7 }, 'processed')).toEqual({ logps: values, samplingLogps: values });
    expect(of({ topK: 5 }, 'processed')).toEqual({ logps: [], samplingLogps: values });
    expect(of({ minNewTokens: 2 }, 'raw')).toEqual({ logps: values, samplingLogps: [] });
    expect(of({ temperature: 0 }, 'raw')).toEqual({ logps: values, samplingLogps: [0, 0] });
  });
});

describe('a refusal', () => {
  const asked = { url: 'http://h', model: 'm', apiKeyEnv: null, what: 'p, sample 0' };
  const of = (status: number, body: string, retryAfterMs = 0) =>
    refusal({ status, body, retryAfterMs }, asked) as { code?: string; message: string };
  const word = (message: string) => JSON.stringify({ error: { message } });

  it.each([
    [401, 'Unauthorized', 'remote-unauthorised'],
    [404, word('The model `m` does not exist.'), 'remote-no-model'],
    [404, '{"detail":"Not Found"}', 'remote-no-endpoint'],
    [400, word("This model's maximum context length is 2048 tokens."), 'remote-too-long'],
    [400, word('The prompt (length 9) is longer than the maximum model length of 8.'), 'remote-too-long'],
    [422, '{"detail":[{"msg":"no"}]}', 'remote-refused'],
  ])('%d %s is %s', (status, body, code) => {
    expect(of(status, body).code).toBe(code);
    expect(of(status, body).message).toMatch(/^p, sample 0: http:\/\/h /);
  });

  it.each([408, 429, 500, 502, 503])('%d passes', (status) => {
    expect(of(status, 'x', 70)).toBeInstanceOf(PassingFailure);
    expect(of(status, 'x', 70)).toMatchObject({ retryAfterMs: 70 });
  });

  it('is read in any of the forms that servers have', () => {
    expect(wordOf('{"object":"error","message":"old"}')).toBe('old');
    expect(wordOf('{"error":"Unauthorized"}')).toBe('"Unauthorized"');
    expect(wordOf('<html>\n  Bad   Gateway</html>')).toBe('<html> Bad Gateway</html>');
    expect(wordOf('')).toBe('no reason given');
    expect(wordOf('null')).toBe('null');
  });
});

const recipeText = (engine: string, stages: string, sampling = ''): string => `version: 1
name: r
task: { name: game24 }
model: { path: somewhere }
${engine}
${sampling}
stages:
  - type: prepare
  ${stages}
`;
const remote = (more = '') => `engine: { kind: remote, servers: ['http://a:8000'], model: m ${more} }`;
const grpo = (more = ', adapter: {}') =>
  `- { type: grpo, steps: 1, rewards: [{ name: correct, weight: 1 }]${more} }`;
const parse = (engine: string, stages = grpo(), sampling = '') =>
  parseRecipe(recipeText(engine, stages, sampling), 'r.yaml');

describe('the key engine', () => {
  it('is local where nothing is said, and keeps what it was', () => {
    const recipe = parse('');
    expect(recipe.engine).toEqual({ kind: 'local' });
    expect(recipe.stages[1]).toMatchObject({ importance: { always: false } });
    expect(Object.keys(stageInputs(recipe, 1)).filter((key) => key.startsWith('engine'))).toEqual([]);
  });

  it('weighs every token by importance where servers sample', () => {
    const recipe = parse(remote());
    expect(recipe.stages[1]).toMatchObject({ importance: { always: true, level: 'token', max: 2 } });
    expect(parseRecipe(formatRecipe(recipe), 'r.yaml')).toEqual(recipe);
  });

  it('lets servers move without a stage being other than it was', () => {
    const hash = (more: string) => hashInputs(stageInputs(parse(remote(more)), 1));
    expect(hash(', retries: 2, concurrency: 7')).toBe(hash(''));
    expect(hash(', logprobs: processed')).not.toBe(hash(''));
  });

  it.each([
    [remote(', retires: 3'), grpo(), '', 'engine.retires is not a known key; did you mean retries?'],
    ['engine: { kind: remote, model: m }', grpo(), '', 'engine.servers is missing'],
    ["engine: { kind: remote, servers: ['a:8000'], model: m }", grpo(), '', 'http:// or https://'],
    ['engine: { kind: elsewhere }', grpo(), '', 'engine.kind must be one of local, remote'],
    [remote(), grpo(''), '', 'stages[1].adapter is missing'],
    [
      remote(),
      grpo(', adapter: { type: dora }'),
      '',
      'must be lora or rslora with engine.kind remote, found dora',
    ],
    [remote(), grpo(', adapter: { modulesToSave: [lm_head] }'), '', 'modulesToSave must be empty'],
    [remote(), grpo(', adapter: { rankPattern: { q_proj: 4 } }'), '', 'rankPattern must be empty'],
    [remote(), grpo(', adapter: {}, importance: { always: false }'), '', 'importance.always must be true'],
    [remote(), grpo(), 'sampling: { topP: 0.9 }', 'engine.logprobs must be processed'],
    [remote(), grpo(', adapter: {}, temperatureEnd: 0.5'), '', 'engine.logprobs must be processed'],
    [
      remote(),
      grpo(),
      'sampling: { weights: int8 }',
      'sampling.weights must be full with engine.kind remote',
    ],
    [
      remote(),
      `- { type: sft, steps: 1 }\n  ${grpo()}`,
      '',
      'stages[1].adapter is missing, and stages[2] (grpo) samples from servers',
    ],
    [
      remote(),
      '- { type: sft, steps: 1 }\n  - { type: evaluate, label: sft }',
      '',
      'stages[1].adapter is missing, and stages[2] (evaluate) samples from servers',
    ],
  ])('%s with %s %s', (engine, stages, sampling, message) => {
    expect(() => parse(engine, stages, sampling)).toThrow(message);
  });

  it('is not for a model that no server has', () => {
    const text = recipeText(remote(), grpo()).replace('{ path: somewhere }', '{ init: {} }');
    expect(() => parseRecipe(text, 'r.yaml')).toThrow('engine.kind must be local with model.init');
  });

  it('takes what it can do', () => {
    const processed = remote(', logprobs: processed, apiKeyEnv: KEY');
    const stages = `- { type: sft, steps: 1, adapter: { type: rslora } }
  - { type: ppo, steps: 1, adapter: { type: rslora }, rewards: [{ name: correct, weight: 1 }] }
  - { type: evaluate, label: ppo }`;
    expect(parse(processed, stages, 'sampling: { temperature: 0.7, topP: 0.9 }').engine).toMatchObject({
      apiKeyEnv: 'KEY',
      probe: { tokens: 16, tolerance: 0.05 },
      adapters: {},
    });
  });
});
