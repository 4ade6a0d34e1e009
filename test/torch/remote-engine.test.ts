/** The remote engine against a server with a real model: the same numbers as here, and every way in which servers fail. */

import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import {
  type Engine,
  type GenerationOptions,
  type GenerationRequest,
  localEngine,
  RemoteClient,
  type RemoteOptions,
  remoteEngine,
} from '../../src/generate/index.ts';
import { ownLogps } from '../../src/generate/remote/probe.ts';
import type { Decoder } from '../../src/models/index.ts';
import { liveTensors } from '../../src/torch/index.ts';
import { leastMs } from '../null/timing.ts';
import { largestDifference, tinyModel, tokenizer } from './tiny.ts';
import { VllmServer } from './vllm-server.ts';

let model: Decoder;
let servers: VllmServer[];
let before: number;

beforeAll(async () => {
  before = liveTensors();
  model = tinyModel();
  const options = { model, tokenizer, name: 'tiny' };
  servers = [new VllmServer(options), new VllmServer({ ...options, logprobs: 'processed' })];
  for (const server of servers) await server.start();
});
afterAll(async () => {
  for (const server of servers) await server.stop();
  model[Symbol.dispose]();
  expect(liveTensors()).toBe(before);
});
beforeEach(() => {
  for (const server of servers) {
    server.faults.length = 0;
    server.asked.length = 0;
    server.dropped = 0;
  }
});

const raw = (): VllmServer => servers[0]!;
const processed = (): VllmServer => servers[1]!;

const requests: readonly GenerationRequest[] = [
  { problemId: 'a', promptIds: [1, 5, 9, 13], samples: 2 },
  { problemId: 'b', promptIds: [1, 4], samples: 1, maxNewTokens: 6 },
  { problemId: 'c', promptIds: [1, 7, 7, 3, 8, 20], samples: 3 },
];
const sampled: GenerationOptions = {
  temperature: 1,
  topP: 1,
  maxNewTokens: 12,
  stopIds: [2],
  seed: 5,
  step: 3,
};

function engineOf(urls: readonly string[], more: Partial<RemoteOptions> = {}, said: string[] = []): Engine {
  const options: RemoteOptions = {
    servers: urls,
    model: 'tiny',
    apiKeyEnv: null,
    requestTimeoutS: 10,
    totalTimeoutS: 60,
    retries: 3,
    backoffS: 0.01,
    concurrency: 8,
    logprobs: 'raw',
    ...more,
  };
  const client = new RemoteClient(options, (line) => said.push(line));
  return remoteEngine(client, { name: more.model ?? 'tiny', tokenizer, eosTokenIds: [2] });
}

const one: readonly GenerationRequest[] = [{ problemId: 'p', promptIds: [1, 5, 9], samples: 1 }];
const codeOf = (code: string, message = '') => ({ code, message: expect.stringContaining(message) });

describe('completions', () => {
  it('are in the order of the requests, each with its own seed, and as here when greedy', async () => {
    const engine = engineOf([`${raw().url}/v1/`]);
    const options = { ...sampled, temperature: 0, stopIds: [] };
    const theirs = await engine.generate(requests, options);
    using local = localEngine(model, tokenizer);
    const ours = await local.generate(requests, options);
    expect(theirs.map((group) => group.map((all) => ({ ...all, logps: [] })))).toEqual(
      ours.map((group) => group.map((all) => ({ ...all, logps: [] }))),
    );
    const logps = (groups: typeof ours) => groups.flat().flatMap((all) => all.logps);
    expect(largestDifference(logps(theirs), logps(ours))).toBeLessThan(1e-5);
    expect(new Set(raw().asked.map(({ seed }) => seed)).size).toBe(6);
    expect(engine.eosTokenIds).toEqual([2]);
  });

  it.each([
    ['raw', 1, 1],
    ['processed', 1, 1],
    ['processed', 0.7, 1],
    ['processed', 0.8, 0.7],
  ] as const)(
    'have the log-probabilities of the model here: %s, temperature %d, top-p %d',
    async (mode, t, p) => {
      const options = { ...sampled, temperature: t, topP: p };
      const { url } = mode === 'raw' ? raw() : processed();
      const groups = await engineOf([url], { logprobs: mode }).generate(requests, options);
      for (const { promptIds, completionIds, logps, samplingLogps, stopReason } of groups.flat()) {
        expect(
          largestDifference(samplingLogps, ownLogps(model, promptIds, completionIds, options)),
        ).toBeLessThan(1e-4);
        if (p === 1)
          expect(
            largestDifference(logps, ownLogps(model, promptIds, completionIds, { ...options, topP: 1 })),
          ).toBeLessThan(1e-4);
        else expect(logps).toEqual([]);
        expect(stopReason).toBe(completionIds.at(-1) === 2 ? 'eos' : 'length');
      }
      expect(groups.map((group) => group.length)).toEqual([2, 1, 3]);
      expect(groups[1]![0]!.completionIds.length).toBeLessThanOrEqual(6);
    },
  );

  it('are as long as they must be, a request with a lower limit of its own up to that', async () => {
    const options = { ...sampled, minNewTokens: 9 };
    const groups = await engineOf([raw().url]).generate(requests, options);
    expect(groups[1]!.map(({ completionIds }) => completionIds.length)).toEqual([6]);
    for (const { completionIds } of [...groups[0]!, ...groups[2]!])
      expect(completionIds.length).toBeGreaterThanOrEqual(9);
  });

  it('say nothing of log-probabilities that raw ones are not', async () => {
    const [[hot]] = (await engineOf([raw().url]).generate(one, { ...sampled, temperature: 0.7 })) as [
      [never],
    ];
    expect(hot).toMatchObject({ logps: [], samplingLogps: [] });
    const cut = (await engineOf([raw().url]).generate(one, { ...sampled, topP: 0.5 }))[0]![0];
    expect(cut!.logps.length).toBeGreaterThan(0);
    expect(cut).toMatchObject({ samplingLogps: [] });
  });

  it('do not depend on who else is asked for, nor on the server', async () => {
    const together = await engineOf([raw().url, processed().url]).generate(requests, sampled);
    const alone = await engineOf([raw().url]).generate(requests.slice(2), sampled);
    expect(alone[0]!.map((all) => all.completionIds)).toEqual(together[2]!.map((all) => all.completionIds));
    const again = await engineOf([raw().url]).generate(requests, { ...sampled, step: 4 });
    expect(again.flat().map((all) => all.completionIds)).not.toEqual(
      together.flat().map((all) => all.completionIds),
    );
    expect(raw().asked.length).toBeGreaterThan(3);
    expect(processed().asked.length).toBeGreaterThan(1);
  });

  it('end at stop strings and are told id by id', async () => {
    const told: number[] = [];
    const stops = { ...sampled, temperature: 0, maxNewTokens: 40, stopIds: [] };
    using local = localEngine(model, tokenizer);
    const free = (await local.generate(one, stops))[0]![0];
    const stopStrings = [free!.text.slice(4, 6)];
    const asked = { ...stops, stopStrings };
    const theirs = await engineOf([raw().url]).generate(one, {
      ...asked,
      onToken: (_problem, _sample, id) => told.push(id),
    });
    const ours = await local.generate(one, asked);
    expect(theirs[0]![0]).toMatchObject({
      stopReason: 'stop',
      text: ours[0]![0]!.text,
      completionIds: ours[0]![0]!.completionIds,
    });
    expect(told).toEqual(theirs[0]![0]!.completionIds);
  });

  it('of a request are told of when all are there; those that are known are not asked for', async () => {
    const told: string[] = [];
    const onRequest = (group: readonly { problemId: string }[]) =>
      void told.push(group.map(({ problemId }) => problemId).join());
    const known = requests.map((one, i) => (i === 1 ? { ...one, knownLengths: [3] } : one));
    const engine = engineOf([raw().url]);
    const groups = await engine.generate(known, { ...sampled, onRequest });
    expect(groups.map((group) => group.length)).toEqual([2, 0, 3]);
    expect(told.toSorted()).toEqual(['a,a', 'c,c,c']);
    expect(raw().asked).toHaveLength(5);
    expect(engine.keepsOthers).toBe(true);
    const all = await engine.generate(requests, sampled);
    expect(groups[2]).toEqual(all[2]);
  });

  it('are asked for so many at once, and no more', async () => {
    raw().mostBusy = 0;
    const many = [{ ...one[0]!, samples: 12 }];
    await engineOf([raw().url], { concurrency: 3 }).generate(many, { ...sampled, maxNewTokens: 4 });
    expect(raw().mostBusy).toBeLessThanOrEqual(3);
    expect(raw().asked.length).toBe(12);
  });
});

describe('failures that pass', () => {
  it('500, 429, a reset and a cut-off answer are tried again', async () => {
    const busy = { status: 500, word: 'out of breath' };
    raw().faults.push(busy, { status: 429, word: 'slow down', retryAfter: 0.02 }, 'reset', 'cut');
    const engine = engineOf([raw().url], { retries: 4, concurrency: 1 });
    const completion = (await engine.generate(one, sampled))[0]![0];
    expect(raw().asked.length).toBe(5);
    const same = (await engine.generate(one, sampled))[0]![0];
    expect(completion!.completionIds).toEqual(same!.completionIds);
  });

  it('are an error once the tries are used up, with the last reason and the problem', async () => {
    raw().faults.push(...Array.from({ length: 3 }, () => ({ status: 503, word: 'no GPU' })));
    await expect(engineOf([raw().url], { retries: 2 }).generate(one, sampled)).rejects.toMatchObject(
      codeOf('remote-failed', 'p, sample 0: no server answered in 3 tries'),
    );
    expect(raw().asked.length).toBe(3);
  });

  it('a server that hangs is left at the deadline of a request, and the connection with it', async () => {
    raw().faults.push('hang');
    const engine = engineOf([raw().url], { requestTimeoutS: 3 });
    await engine.generate(one, { ...sampled, maxNewTokens: 2 });
    expect(raw().asked.length).toBe(2);
    expect(raw().dropped).toBe(1);
  });

  it('a server that is down gets nothing as long as another one is there', async () => {
    const gone = new VllmServer({ model, tokenizer, name: 'tiny' });
    const url = await gone.start();
    await gone.stop();
    const groups = await engineOf([url, raw().url], { retries: 1 }).generate(requests, sampled);
    const all = await engineOf([raw().url]).generate(requests, sampled);
    expect(groups).toEqual(all);
  });

  it('a server that dies with requests under way loses none of them', async () => {
    using dying = new VllmServer({ model, tokenizer, name: 'tiny' });
    const url = await dying.start();
    dying.faults.push(undefined, undefined, 'hang', 'hang', 'hang', 'hang');
    const many = requests.map((request) => ({ ...request, samples: 6 }));
    const said: string[] = [];
    const work = engineOf([url, raw().url], {}, said).generate(many, sampled);
    await expect.poll(() => dying.asked.length, { timeout: 20_000 }).toBeGreaterThanOrEqual(4);
    await dying.stop();
    expect(await work).toEqual(await engineOf([raw().url]).generate(many, sampled));
    expect(dying.dropped).toBeGreaterThan(1);
    expect(said[0]).toContain(`${url}: `);
    expect(said[0]).toContain('trying again');
  });
});

describe('failures that do not', () => {
  const wrong = (fault: VllmServer['faults'][number]) => {
    raw().faults.push(fault);
    return engineOf([raw().url]).generate(one, sampled);
  };

  it.each([
    ['two-choices', 'remote-choices', 'expected 1 choice from the server, found 2'],
    ['no-logprobs', 'remote-no-logprobs', 'gave no log-probability of every token (0 for'],
    ['no-ids', 'remote-no-ids', 'vLLM 0.10.2'],
    ['other-prompt', 'remote-other-prompt', '4 ids where 3 were sent'],
  ] as const)('%s', async (fault, code, message) => {
    await expect(wrong(fault)).rejects.toMatchObject(codeOf(code, message));
    expect(raw().asked.length).toBe(1);
  });

  it('ids of older servers, within their tokens, are read', async () => {
    expect(await wrong('old-ids')).toEqual(await engineOf([raw().url]).generate(one, sampled));
  });

  it('an unknown model, too long a request, a refusal, another address', async () => {
    const unknown = engineOf([raw().url], { model: 'other' });
    await expect(unknown.generate(one, sampled)).rejects.toMatchObject(
      codeOf('remote-no-model', "does not serve 'other'"),
    );
    const long = engineOf([raw().url]).generate(one, { ...sampled, maxNewTokens: 4000 });
    await expect(long).rejects.toMatchObject(codeOf('remote-too-long', 'maximum context length is 640'));
    await expect(wrong({ status: 400, word: 'top_k must be 0' })).rejects.toMatchObject(
      codeOf('remote-refused', 'top_k must be 0'),
    );
    const elsewhere = engineOf([`${raw().url}/metrics`]);
    await expect(elsewhere.generate(one, sampled)).rejects.toMatchObject(codeOf('remote-no-endpoint'));
    const tooMany = engineOf([raw().url]).generate(one, { ...sampled, vocabulary: 3 });
    await expect(tooMany).rejects.toMatchObject(codeOf('remote-other-vocabulary'));
  });

  it('a key that is not set, missing or wrong', async () => {
    using locked = new VllmServer({ model, tokenizer, name: 'tiny', key: 'right' });
    const url = await locked.start();
    const bare = engineOf([url]).generate(one, sampled);
    await expect(bare).rejects.toMatchObject(codeOf('remote-unauthorised', 'apiKeyEnv'));
    const withKey = { apiKeyEnv: 'RECKON_TEST_KEY' };
    expect(() => engineOf([url], withKey)).toThrow(/RECKON_TEST_KEY, which is not set/);
    process.env['RECKON_TEST_KEY'] = 'wrong';
    const wrongKey = engineOf([url], withKey).generate(one, sampled);
    await expect(wrongKey).rejects.toMatchObject(codeOf('remote-unauthorised', 'set RECKON_TEST_KEY'));
    process.env['RECKON_TEST_KEY'] = 'right';
    expect((await engineOf([url], withKey).generate(one, sampled)).flat()).toHaveLength(1);
    delete process.env['RECKON_TEST_KEY'];
  });

  it('end all other requests at once', async () => {
    const many = [{ ...one[0]!, samples: 3 }];
    const took = await leastMs(5000, async () => {
      raw().dropped = 0;
      raw().faults.push('hang', 'hang', 'two-choices');
      await expect(engineOf([raw().url]).generate(many, sampled)).rejects.toMatchObject(
        codeOf('remote-choices'),
      );
      await expect.poll(() => raw().dropped, { timeout: 20_000 }).toBe(2);
    });
    expect(took).toBeLessThan(5000);
  });
});

describe('an end from outside', () => {
  it('by the deadline of all, with the problem that is waited for', async () => {
    raw().faults.push(undefined, 'hang');
    const engine = engineOf([raw().url], { totalTimeoutS: 5, concurrency: 1 });
    const two = [one[0]!, { ...one[0]!, problemId: 'q' }];
    await expect(engine.generate(two, { ...sampled, maxNewTokens: 2 })).rejects.toMatchObject(
      codeOf('remote-deadline', '1 of 2 completions are not there after 5 s, that of q'),
    );
    await expect.poll(() => raw().dropped, { timeout: 20_000 }).toBe(1);
  });

  it.each(['signal', 'poll'])('by a %s frees the connections at once; what was done stays', async (way) => {
    const took = await leastMs(2000, async () => {
      raw().asked.length = 0;
      raw().dropped = 0;
      raw().faults.push(undefined, 'hang', 'hang');
      const controller = new AbortController();
      let asked = false;
      const work = engineOf([raw().url], { concurrency: 1 }).generate([{ ...one[0]!, samples: 3 }], {
        ...sampled,
        ...(way === 'signal' ? { signal: controller.signal } : { stopRequested: () => asked }),
      });
      await expect.poll(() => raw().asked.length, { timeout: 20_000 }).toBe(2);
      controller.abort();
      asked = true;
      const [group] = await work;
      expect(group!.map((all) => all.stopReason === 'aborted')).toEqual([false, true, true]);
      expect(group![1]).toMatchObject({ completionIds: [], text: '', sampleIndex: 1 });
      await expect.poll(() => raw().dropped, { timeout: 20_000 }).toBe(1);
    });
    expect(took).toBeLessThan(2000);
  });

  it('by a signal ends the local engine too', async () => {
    using local = localEngine(model, tokenizer);
    const [group] = await local.generate(one, { ...sampled, signal: AbortSignal.abort() });
    expect(group![0]!.stopReason).toBe('aborted');
  });
});
