/**
 * Owns generation by servers: one request a completion, each with a seed of its own, many at once. Knows neither how a server
 * came by its weights nor any torch.
 */

import type { Tokenizer } from '../../text/index.ts';
import { ReckonError } from '../../util/errors.ts';
import { Rng } from '../../util/rng.ts';
import type { Completion, StopReason } from '../completion.ts';
import { checkRequests, type Engine, type GenerationOptions, type GenerationRequest } from '../engine.ts';
import { isUnfiltered } from '../sampling.ts';
import type { RemoteClient } from './client.ts';
import { deadline, stopped } from './deadline.ts';
import { completionBody, readCompletion, type ServedCompletion } from './protocol.ts';
import type { Server } from './servers.ts';

/** What is served, and how to read it. */
export interface RemoteModel {
  /** What the servers call it: the base, or an adapter's name. */
  readonly name: string;
  readonly tokenizer: Tokenizer;
  readonly eosTokenIds: readonly number[];
  /** Makes a server know the model that it says it does not know; true once it does. */
  readonly provide?: (server: Server, signal: AbortSignal) => Promise<boolean>;
}

/** How often a stop that is only polled for is asked about. */
const pollMs = 50;

/** One sample of one request. */
interface Job {
  readonly request: GenerationRequest;
  readonly sampleIndex: number;
  readonly maxNewTokens: number;
}

/**
 * An engine of servers. A completion that fails for good ends all others at once, and its problem's id is in the error; what
 * a stop cuts off is aborted with no tokens.
 */
export function remoteEngine(client: RemoteClient, model: RemoteModel): Engine {
  return {
    eosTokenIds: model.eosTokenIds,
    keepsOthers: true,
    generate: (requests, options) => generate(client, model, requests, options),
    [Symbol.dispose]: () => undefined,
  };
}

async function generate(
  client: RemoteClient,
  model: RemoteModel,
  requests: readonly GenerationRequest[],
  options: GenerationOptions,
): Promise<Completion[][]> {
  checkRequests(requests, options);
  if (options.statistics)
    throw new ReckonError(
      'usage',
      'remote-statistics',
      'servers give no statistics of tokens; leave them out',
    );
  const jobsFor = new Map(requests.map((request) => [request, jobsOf(request, options)]));
  const jobs = [...jobsFor.values()].flat();
  const done = new Map<Job, ServedCompletion>();
  const { totalTimeoutS, concurrency } = client.options;
  const late = () => {
    const unfinished = jobs.filter((job) => !done.has(job));
    const message = `${unfinished.length} of ${jobs.length} completions are not there after ${totalTimeoutS} s, that of ${unfinished[0]?.request.problemId} among them; raise totalTimeoutS or add servers`;
    return new ReckonError('environment', 'remote-deadline', message);
  };
  const { signal, end, close } = deadline(totalTimeoutS, options.signal, late);
  const poll = setInterval(() => options.stopRequested?.() && end(stopped), pollMs);
  const waiting = jobs[Symbol.iterator]();
  const work = async () => {
    for (const job of waiting) {
      signal.throwIfAborted();
      const served = await sample(client, model, job, options, signal);
      done.set(job, served);
      for (const id of served.ids) options.onToken?.(job.request.problemId, job.sampleIndex, id);
      const own = jobsFor.get(job.request)!;
      if (options.onRequest && own.every((one) => done.has(one)))
        options.onRequest(own.map((one) => completed(client, model, one, done.get(one), options)));
    }
  };
  try {
    await Promise.all(Array.from({ length: Math.min(concurrency, jobs.length) }, work));
  } catch (error) {
    end(error);
    if (signal.reason !== stopped) throw signal.reason;
  } finally {
    clearInterval(poll);
    close();
  }
  return requests.map((request) =>
    jobsFor.get(request)!.map((job) => completed(client, model, job, done.get(job), options)),
  );
}

/** None of a request whose completions are known: no other one depends on them. */
function jobsOf(request: GenerationRequest, options: GenerationOptions): Job[] {
  if (request.knownLengths !== undefined) return [];
  const maxNewTokens = Math.min(options.maxNewTokens, request.maxNewTokens ?? options.maxNewTokens);
  return Array.from({ length: request.samples }, (_, sampleIndex) => ({
    request,
    sampleIndex,
    maxNewTokens,
  }));
}

async function sample(
  client: RemoteClient,
  { name, provide }: RemoteModel,
  { request: { problemId, promptIds }, sampleIndex, maxNewTokens }: Job,
  options: GenerationOptions,
  signal: AbortSignal,
): Promise<ServedCompletion> {
  const { seed, step } = options;
  const stream = { seed, step, id: problemId, index: sampleIndex };
  const question = {
    model: name,
    promptIds,
    maxNewTokens,
    seed: new Rng({ ...stream, purpose: 'sample' }).wordAt(0),
  };
  const what = `${problemId}, sample ${sampleIndex}`;
  const served = await client.run({
    path: '/v1/completions',
    model: name,
    body: completionBody(question, options),
    what,
    rng: new Rng({ ...stream, purpose: 'retry' }),
    signal,
    read: (body) => readCompletion(body, question, what),
    provide,
  });
  const outside = served.ids.find((id) => id >= (options.vocabulary ?? Number.POSITIVE_INFINITY));
  if (outside === undefined) return served;
  const message = `${what}: the server sampled id ${outside}, and the vocabulary has ${options.vocabulary} ids`;
  throw new ReckonError('environment', 'remote-other-vocabulary', message);
}

function completed(
  client: RemoteClient,
  { tokenizer }: RemoteModel,
  { request: { problemId, promptIds }, sampleIndex }: Job,
  served: ServedCompletion | undefined,
  options: GenerationOptions,
): Completion {
  const ids = served?.ids ?? [];
  return {
    problemId,
    sampleIndex,
    promptIds,
    completionIds: ids,
    ...readLogps(served?.logps ?? [], options, client.options.logprobs),
    stopReason: served ? stopReasonOf(served, options) : 'aborted',
    text: tokenizer.decode(ids),
    policyStep: options.step,
  };
}

/**
 * What a server's numbers are: a greedy token's are of temperature 1 in either mode, as the local engine's; any other's only
 * where no filter and no temperature stands between the model's distribution and the one sampled from.
 */
export function readLogps(
  values: readonly number[],
  options: GenerationOptions,
  mode: 'raw' | 'processed',
): Pick<Completion, 'logps' | 'samplingLogps'> {
  const unfiltered = isUnfiltered(options) && !options.minNewTokens;
  if (options.temperature === 0)
    return { logps: unfiltered || mode === 'raw' ? values : [], samplingLogps: values.map(() => 0) };
  if (mode === 'processed') return { logps: unfiltered ? values : [], samplingLogps: values };
  return {
    logps: options.temperature === 1 ? values : [],
    samplingLogps: options.temperature === 1 && unfiltered ? values : [],
  };
}

function stopReasonOf({ ids, finish }: ServedCompletion, { stopIds }: GenerationOptions): StopReason {
  if (finish === 'length') return 'length';
  return stopIds.includes(ids.at(-1)!) ? 'eos' : 'stop';
}
