/** Adapters on servers: pushed with every version, probed, recognised when they are others, loaded again where they are lost. */

import { mkdirSync, mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import {
  type GenerationOptions,
  localEngine,
  type ProbeOptions,
  PublishedPolicy,
  RemoteClient,
} from '../../src/generate/index.ts';
import { meanDifference, ownLogps } from '../../src/generate/remote/probe.ts';
import { type Decoder, loadModel, openPolicy, saveModel, savePolicy } from '../../src/models/index.ts';
import { trainableParameters } from '../../src/nn/index.ts';
import { liveTensors, noGrad, scope } from '../../src/torch/index.ts';
import { tinyModel, tokenizer } from './tiny.ts';
import { VllmServer, type VllmServerOptions } from './vllm-server.ts';

const sampling = { temperature: 1, topP: 1 };
const probe: ProbeOptions = { promptIds: [1, 5, 9, 13, 4], sampling, tolerance: 1e-4, tokens: 16 };
const options: GenerationOptions = { ...sampling, maxNewTokens: 8, stopIds: [2], seed: 1, step: 1 };
const requests = [{ problemId: 'p', promptIds: [1, 5, 9], samples: 4 }];

let folder: string;
let base: Decoder;
let policy: Decoder;
let servers: VllmServer[];
let before: number;
let versions = 0;

beforeAll(async () => {
  before = liveTensors();
  folder = mkdtempSync(join(tmpdir(), 'reckon-adapters-'));
  const path = join(folder, 'base');
  mkdirSync(path);
  using made = tinyModel();
  saveModel(made, path);
  base = loadModel(path, { dtype: 'f32', computeDtype: 'f32', device: 'cpu' });
  const adapter = {
    type: 'lora',
    rank: 4,
    alpha: 8,
    dropout: 0,
    targetModules: 'all-linear',
    modulesToSave: [],
    rankPattern: {},
    alphaPattern: {},
    init: 'default',
  } as const;
  policy = openPolicy(path, { dtype: 'f32', computeDtype: 'f32', device: 'cpu', seed: 1, adapter });
  servers = [];
  for (let i = 0; i < 2; i++) servers.push(await started({}));
});
afterAll(async () => {
  for (const server of servers) await server.stop();
  policy[Symbol.dispose]();
  base[Symbol.dispose]();
  rmSync(folder, { recursive: true, force: true });
  expect(liveTensors()).toBe(before);
});
beforeEach(() => {
  for (const server of servers) {
    server.adapterCalls.length = 0;
    server.answersFor = (model) => model;
    server.forget();
  }
});

async function started(more: Partial<VllmServerOptions>): Promise<VllmServer> {
  const server = new VllmServer({ model: base, tokenizer, name: 'tiny', ...more });
  await server.start();
  return server;
}

function publishedOn(used: readonly VllmServer[], logprobs: 'raw' | 'processed' = 'raw'): PublishedPolicy {
  const client = new RemoteClient({
    servers: used.map(({ url }) => url),
    model: 'tiny',
    apiKeyEnv: null,
    requestTimeoutS: 20,
    totalTimeoutS: 60,
    retries: 2,
    backoffS: 0.01,
    concurrency: 8,
    logprobs,
  });
  return new PublishedPolicy(client, tokenizer, [2], () => undefined);
}

/** Moves the adapter's outer matrices, saves it, and names it. */
function nextVersion(scale = 0.05): { name: string; path: string; model: Decoder; hasBase: boolean } {
  noGrad(() =>
    scope(() => {
      for (const [name, value] of trainableParameters(policy))
        if (name.includes('lora_B')) value.copy_(value.detach().add(scale));
    }),
  );
  const name = `run-v${++versions}`;
  savePolicy(policy, join(folder, name));
  return { name, path: join(folder, name), model: policy, hasBase: true };
}

const codeOf = (code: string, message = '') => ({ code, message: expect.stringContaining(message) });

describe('a version', () => {
  it('is on every server, and is what completions come from; the one before is let go', async () => {
    const published = publishedOn(servers);
    const one = nextVersion();
    await published.publish(one, probe);
    const two = nextVersion();
    const engine = await published.publish(two, probe);
    const [group] = await engine.generate(requests, options);
    for (const { promptIds, completionIds, logps, samplingLogps } of group!) {
      expect(meanDifference(logps, ownLogps(policy, promptIds, completionIds, sampling))).toBeLessThan(1e-5);
      expect(meanDifference(logps, ownLogps(base, promptIds, completionIds, sampling))).toBeGreaterThan(1e-2);
      expect(samplingLogps).toEqual(logps);
    }
    await published.close();
    const calls = [`load ${one.name}`, `load ${two.name}`, `unload ${one.name}`, `unload ${two.name}`];
    for (const server of servers) expect(server.adapterCalls).toEqual(calls);
    expect(published.name).toBeNull();
  });

  it('that a server has under its name already is probed like a new one', async () => {
    const one = nextVersion();
    await publishedOn(servers).publish(one, probe);
    const again = publishedOn(servers);
    await again.publish(one, probe);
    expect(servers[0]!.adapterCalls).toEqual([`load ${one.name}`, `load ${one.name}`]);
    await again.close();
  });

  it('goes to the server that is there, and to the other one when it is back', async () => {
    const late = await started({});
    await late.stop();
    const published = publishedOn([late, servers[0]!]);
    const one = nextVersion();
    const engine = await published.publish(one, probe);
    await engine.generate(requests, options);
    expect(late.adapterCalls).toEqual([]);
    await late.start();
    await expect
      .poll(
        async () => {
          await engine.generate(requests, options);
          return late.adapterNames;
        },
        { timeout: 30_000 },
      )
      .toEqual([one.name]);
    expect(late.adapterCalls).toEqual([`load ${one.name}`]);
    await published.close();
    await late.stop();
  });

  it('is loaded again, once, on a server that was started anew', async () => {
    const published = publishedOn(servers.slice(0, 1));
    const one = nextVersion();
    const engine = await published.publish(one, probe);
    const first = await engine.generate(requests, options);
    servers[0]!.forget();
    expect(await engine.generate(requests, options)).toEqual(first);
    expect(servers[0]!.adapterCalls).toEqual([`load ${one.name}`, `load ${one.name}`]);
    await published.close();
  });

  it('of the base alone needs no adapter', async () => {
    const published = publishedOn(servers);
    const version = { name: 'tiny', path: null, model: base, hasBase: false };
    const engine = await published.publish(version, probe);
    expect((await engine.generate(requests, options)).flat()).toHaveLength(4);
    await published.close();
    expect(servers[0]!.adapterCalls).toEqual([]);
  });
});

describe('the probe', () => {
  it('finds a server that ignores the adapter, and says so', async () => {
    servers[1]!.answersFor = () => 'tiny';
    await expect(publishedOn(servers).publish(nextVersion(), probe)).rejects.toMatchObject(
      codeOf('remote-other-weights', 'it seems to serve the base tiny without an adapter'),
    );
  });

  it('finds a server that still serves an earlier version, and says which', async () => {
    const published = publishedOn(servers);
    await published.publish(nextVersion(), probe);
    const stale = nextVersion();
    await published.publish(stale, probe);
    servers[0]!.answersFor = (model) => (model === 'tiny' ? model : stale.name);
    await expect(published.publish(nextVersion(), probe)).rejects.toMatchObject(
      codeOf('remote-other-weights', `it seems to serve the earlier version ${stale.name}`),
    );
  });

  it('finds it also where the difference is within the tolerance', async () => {
    const published = publishedOn(servers);
    const stale = nextVersion();
    await published.publish(stale, probe);
    using local = localEngine(policy, tokenizer);
    const asked = [{ problemId: 'probe', promptIds: probe.promptIds, samples: 1 }];
    const greedy = { ...options, temperature: 0, maxNewTokens: probe.tokens, stopIds: [] };
    const { completionIds, logps } = (await local.generate(asked, greedy))[0]![0]!;
    servers[0]!.answersFor = (model) => (model === 'tiny' ? model : stale.name);
    const moved = nextVersion(0.03);
    const distance = meanDifference(ownLogps(policy, probe.promptIds, completionIds, greedy), logps);
    expect(distance).toBeGreaterThan(1e-4);
    const wide = { ...probe, tolerance: 2 * distance };
    await expect(published.publish(moved, wide)).rejects.toMatchObject(
      codeOf('remote-other-weights', `it seems to serve the earlier version ${stale.name}`),
    );
  });

  it('finds another base', async () => {
    using other = tinyModel({}, 'f32', 2);
    using server = await started({ model: other });
    await expect(publishedOn([server]).publish(nextVersion(), probe)).rejects.toMatchObject(
      codeOf('remote-other-weights', 'it seems to serve weights that this run has not published'),
    );
  });

  it('finds log-probabilities that are not of the distribution sampled from', async () => {
    const hot = { ...probe, sampling: { temperature: 0.6, topP: 0.9 } };
    await expect(publishedOn(servers, 'processed').publish(nextVersion(), hot)).rejects.toMatchObject(
      codeOf('remote-logprobs-mode', '--logprobs-mode processed_logprobs'),
    );
    using server = await started({ logprobs: 'processed' });
    const published = publishedOn([server], 'processed');
    await published.publish(nextVersion(), hot);
    await published.close();
  });
});

describe('servers that take no adapter', () => {
  it('are told apart by why', async () => {
    using fixed = await started({ takesAdapters: false });
    await expect(publishedOn([fixed]).publish(nextVersion(), probe)).rejects.toMatchObject(
      codeOf('remote-no-lora', 'VLLM_ALLOW_RUNTIME_LORA_UPDATING=True'),
    );
    const nowhere = { ...nextVersion(), path: join(folder, 'nowhere') };
    await expect(publishedOn(servers).publish(nowhere, probe)).rejects.toMatchObject(
      codeOf('remote-no-adapter', 'engine.adapters.folder'),
    );
    using gone = await started({});
    await gone.stop();
    await expect(publishedOn([gone]).publish(nextVersion(), probe)).rejects.toMatchObject(
      codeOf('remote-failed', 'in 3 tries'),
    );
    using renamed = await started({ name: 'other' });
    await expect(publishedOn([renamed]).publish(nextVersion(), probe)).rejects.toMatchObject(
      codeOf('remote-no-model', 'engine.model must be the name of the base there'),
    );
  });
});
