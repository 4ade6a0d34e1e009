/**
 * Owns a server on the loopback that speaks what a vLLM server speaks of `/v1/completions`, `/v1/models` and adapters, with a
 * real model behind it, and that fails in the ways that servers fail when it is told to.
 */

import { existsSync } from 'node:fs';
import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import { join } from 'node:path';
import * as z from 'zod';
import { type Completion, generate } from '../../src/generate/index.ts';
import { ownLogps } from '../../src/generate/remote/probe.ts';
import { type Decoder, loadAdapter, mergedModel } from '../../src/models/index.ts';
import { useAdapter } from '../../src/nn/index.ts';
import type { Tokenizer } from '../../src/text/index.ts';

/** The parameters of a completion that the server knows; any other is refused. */
export interface Body {
  readonly model: string;
  readonly prompt: readonly number[];
  readonly max_tokens: number;
  readonly min_tokens: number;
  readonly n: 1;
  readonly seed: number;
  readonly temperature: number;
  readonly top_p: number;
  readonly top_k: number;
  readonly min_p: number;
  readonly repetition_penalty: number;
  readonly presence_penalty: 0;
  readonly frequency_penalty: 0;
  readonly logit_bias?: Readonly<Record<string, number>> | undefined;
  readonly ignore_eos: boolean;
  readonly stop_token_ids: readonly number[];
  readonly stop: readonly string[];
  readonly include_stop_str_in_output: boolean;
  readonly skip_special_tokens: boolean;
  readonly add_special_tokens: boolean;
  readonly logprobs: number;
  readonly prompt_logprobs?: number | undefined;
  readonly return_token_ids: boolean;
  readonly return_tokens_as_token_ids: boolean;
  readonly stream: false;
}

const bodySchema: z.ZodType<Body> = z.strictObject({
  model: z.string(),
  prompt: z.array(z.int().nonnegative()).min(1),
  max_tokens: z.int().min(1),
  min_tokens: z.int().min(0),
  n: z.literal(1),
  seed: z.int(),
  temperature: z.number().min(0),
  top_p: z.number().gt(0).max(1),
  top_k: z.int().min(-1),
  min_p: z.number().min(0).max(1),
  repetition_penalty: z.number().gt(0),
  presence_penalty: z.literal(0),
  frequency_penalty: z.literal(0),
  logit_bias: z.record(z.string(), z.number().min(-100).max(100)).optional(),
  ignore_eos: z.boolean(),
  stop_token_ids: z.array(z.int()),
  stop: z.array(z.string()),
  include_stop_str_in_output: z.boolean(),
  skip_special_tokens: z.boolean(),
  add_special_tokens: z.boolean(),
  logprobs: z.int().min(0),
  prompt_logprobs: z.int().min(0).optional(),
  return_token_ids: z.boolean(),
  return_tokens_as_token_ids: z.boolean(),
  stream: z.literal(false),
});

/** What a request is answered with in place of what it asks for. */
export type Fault =
  | { readonly status: number; readonly word: string; readonly retryAfter?: number }
  | 'hang'
  | 'reset'
  | 'cut'
  | 'two-choices'
  | 'no-logprobs'
  | 'no-ids'
  | 'old-ids'
  | 'other-prompt';

export interface VllmServerOptions {
  readonly model: Decoder;
  readonly tokenizer: Tokenizer;
  /** What the base is called. */
  readonly name: string;
  readonly logprobs?: 'raw' | 'processed';
  readonly key?: string;
  readonly maxModelLen?: number;
  /** `VLLM_ALLOW_RUNTIME_LORA_UPDATING`; true by default. */
  readonly takesAdapters?: boolean;
}

/** A server of one model and its adapters. */
export class VllmServer implements Disposable {
  /** Completions asked for, in order. */
  readonly asked: Body[] = [];
  /** `load NAME` and `unload NAME`, in order. */
  readonly adapterCalls: string[] = [];
  /** How the next completions are answered; undefined is as they should be. */
  readonly faults: (Fault | undefined)[] = [];
  /** Whose weights answer for a model; its own, unless the server lies. */
  answersFor: (model: string) => string = (model) => model;
  /** Connections of requests that were not answered when they ended. */
  dropped = 0;
  /** Requests that are being answered. */
  busy = 0;
  mostBusy = 0;
  private readonly options: VllmServerOptions;
  private readonly adapters = new Map<string, { readonly view: Decoder; readonly root: string }>();
  private readonly server: Server;
  private port = 0;

  constructor(options: VllmServerOptions) {
    this.options = options;
    this.server = createServer((request, response) => void this.handle(request, response));
  }

  get url(): string {
    return `http://127.0.0.1:${this.port}`;
  }

  get adapterNames(): string[] {
    return [...this.adapters.keys()];
  }

  /** Listens; again on the port that it had before. */
  async start(): Promise<string> {
    await new Promise<void>((resolve) => this.server.listen(this.port, '127.0.0.1', resolve));
    this.port = (this.server.address() as AddressInfo).port;
    return this.url;
  }

  /** Is gone, and forgets its adapters as a server that is started anew does. */
  async stop(): Promise<void> {
    this.server.closeAllConnections();
    await new Promise<void>((resolve) => this.server.close(() => resolve()));
    while (this.busy > 0) await new Promise((resolve) => setTimeout(resolve, 10));
    this.forget();
  }

  forget(): void {
    for (const { view } of this.adapters.values()) view[Symbol.dispose]();
    this.adapters.clear();
  }

  [Symbol.dispose](): void {
    this.server.closeAllConnections();
    this.server.close();
    this.forget();
  }

  private async handle(request: IncomingMessage, response: ServerResponse): Promise<void> {
    response.on('close', () => {
      if (!response.writableFinished) this.dropped++;
    });
    const { key } = this.options;
    if (key !== undefined && request.headers.authorization !== `Bearer ${key}`)
      return reply(response, 401, { error: 'Unauthorized' });
    this.busy++;
    this.mostBusy = Math.max(this.mostBusy, this.busy);
    try {
      await this.route(request, response, await textOf(request));
    } catch (error) {
      reply(response, 500, failure(500, String(error)));
    } finally {
      this.busy--;
    }
  }

  private async route(request: IncomingMessage, response: ServerResponse, text: string): Promise<void> {
    const { name, maxModelLen, takesAdapters = true } = this.options;
    if (request.url === '/v1/models') {
      const base = { id: name, object: 'model', max_model_len: maxModelLen ?? null };
      const cards = [...this.adapters].map(([id, { root }]) => ({ id, object: 'model', root, parent: name }));
      return reply(response, 200, { object: 'list', data: [base, ...cards] });
    }
    if (request.url === '/v1/load_lora_adapter' && takesAdapters)
      return this.load(response, JSON.parse(text));
    if (request.url === '/v1/unload_lora_adapter' && takesAdapters)
      return this.unload(response, JSON.parse(text));
    if (request.url === '/v1/completions') return await this.complete(response, JSON.parse(text));
    reply(response, 404, { detail: 'Not Found' });
  }

  private load(
    response: ServerResponse,
    { lora_name: name, lora_path: path }: { lora_name: string; lora_path: string },
  ): void {
    this.adapterCalls.push(`load ${name}`);
    if (this.adapters.has(name))
      return void reply(response, 400, failure(400, `The lora adapter '${name}' has already been loaded.`));
    if (!existsSync(join(path, 'adapter_config.json')))
      return void reply(
        response,
        404,
        failure(404, `Loading lora ${name} failed: No adapter found for ${path}`),
      );
    const view = mergedModel(this.options.model);
    loadAdapter(view, name, path);
    useAdapter(view, name);
    this.adapters.set(name, { view, root: path });
    response.writeHead(200, { 'content-type': 'text/plain' });
    response.end(`Success: LoRA adapter '${name}' added successfully.`);
  }

  private unload(response: ServerResponse, { lora_name: name }: { lora_name: string }): void {
    this.adapterCalls.push(`unload ${name}`);
    const found = this.adapters.get(name);
    if (!found) return void reply(response, 404, failure(404, `The lora adapter '${name}' cannot be found.`));
    found.view[Symbol.dispose]();
    this.adapters.delete(name);
    response.writeHead(200, { 'content-type': 'text/plain' });
    response.end(`Success: LoRA adapter '${name}' removed successfully.`);
  }

  private async complete(response: ServerResponse, json: unknown): Promise<void> {
    const body = bodySchema.parse(json);
    this.asked.push(body);
    const fault = this.faults.shift();
    if (fault === 'hang') return void (await new Promise((resolve) => response.on('close', resolve)));
    if (fault === 'reset') return void response.socket?.resetAndDestroy();
    if (typeof fault === 'object') {
      if (fault.retryAfter !== undefined) response.setHeader('retry-after', String(fault.retryAfter));
      return reply(response, fault.status, failure(fault.status, fault.word));
    }
    const { name, model: base, maxModelLen = base.config.maxPositions } = this.options;
    const served = this.answersFor(body.model);
    const model = served === name ? base : this.adapters.get(served)?.view;
    if (!model) return reply(response, 404, failure(404, `The model \`${body.model}\` does not exist.`));
    if (body.prompt.length + body.max_tokens > maxModelLen) {
      const word = `This model's maximum context length is ${maxModelLen} tokens. However, you requested ${body.max_tokens} output tokens and your prompt contains ${body.prompt.length} input tokens.`;
      return reply(response, 400, failure(400, word));
    }
    if (body.min_tokens > body.max_tokens) {
      const word = `min_tokens must be less than or equal to max_tokens=${body.max_tokens}, got ${body.min_tokens}.`;
      return reply(response, 400, failure(400, word));
    }
    const gone = new AbortController();
    response.on('close', () => gone.abort());
    const completion = await this.sample(model, body, gone.signal);
    if (gone.signal.aborted) return;
    const answer = this.answer(model, body, completion, fault ?? null);
    if (fault === 'cut') {
      const text = JSON.stringify(answer);
      response.writeHead(200, { 'content-type': 'application/json' });
      return void response.end(text.slice(0, text.length / 2));
    }
    reply(response, 200, answer);
  }

  private async sample(model: Decoder, body: Body, signal: AbortSignal): Promise<Completion> {
    const { tokenizer } = this.options;
    const request = { problemId: 'request', promptIds: body.prompt, samples: 1 };
    const groups = await generate(model, tokenizer, [request], {
      temperature: body.temperature,
      topP: body.top_p,
      topK: Math.max(0, body.top_k),
      minP: body.min_p,
      repetitionPenalty: body.repetition_penalty,
      logitBias: new Map(Object.entries(body.logit_bias ?? {}).map(([id, bias]) => [Number(id), bias])),
      maxNewTokens: body.max_tokens,
      minNewTokens: body.min_tokens,
      stopIds: [...body.stop_token_ids, ...(body.ignore_eos ? [] : model.config.eosTokenIds)],
      stopStrings: body.stop,
      seed: body.seed,
      step: 0,
      signal,
    });
    return groups[0]![0]!;
  }

  private answer(
    model: Decoder,
    body: Body,
    { completionIds, logps, samplingLogps, stopReason, text }: Completion,
    fault: Fault | null,
  ): object {
    const values =
      this.options.logprobs === 'processed'
        ? body.temperature === 0
          ? logps
          : samplingLogps
        : ownLogps(model, body.prompt, completionIds, { temperature: 0, topP: 1 });
    const named = body.return_tokens_as_token_ids && fault !== 'no-ids';
    const tokens = completionIds.map((id) => (named ? `token_id:${id}` : 'x'));
    const withIds = body.return_token_ids && fault !== 'no-ids' && fault !== 'old-ids';
    const choice = {
      index: 0,
      text,
      logprobs:
        fault === 'no-logprobs'
          ? null
          : {
              text_offset: tokens.map(() => 0),
              token_logprobs: values,
              tokens,
              top_logprobs: tokens.map(() => ({})),
            },
      finish_reason: stopReason === 'length' ? 'length' : 'stop',
      stop_reason: stopReason === 'eos' ? completionIds.at(-1) : null,
      token_ids: withIds ? completionIds : null,
      prompt_token_ids: withIds ? [...(fault === 'other-prompt' ? [1] : []), ...body.prompt] : null,
      prompt_logprobs: promptLogprobs(model, body),
    };
    const choices = fault === 'two-choices' ? [choice, { ...choice, index: 1 }] : [choice];
    return { id: 'cmpl-1', object: 'text_completion', created: 0, model: body.model, choices, usage: {} };
  }
}

/** As vLLM has them: null for the first token, then what is said of each, its own id among it. */
function promptLogprobs(model: Decoder, { prompt, prompt_logprobs }: Body): unknown {
  if (prompt_logprobs === undefined) return null;
  const values = ownLogps(model, prompt.slice(0, 1), prompt.slice(1), { temperature: 0, topP: 1 });
  const said = values.map((logprob, i) => ({
    [prompt[i + 1]!]: { logprob, rank: 1, decoded_token: 'x' },
  }));
  return [null, ...said];
}

function failure(code: number, message: string): object {
  return { error: { message, type: code === 404 ? 'NotFoundError' : 'BadRequestError', param: null, code } };
}

function reply(response: ServerResponse, status: number, value: object): void {
  response.writeHead(status, { 'content-type': 'application/json' });
  response.end(JSON.stringify(value));
}

async function textOf(request: IncomingMessage): Promise<string> {
  const chunks: Buffer[] = [];
  for await (const chunk of request) chunks.push(chunk as Buffer);
  return Buffer.concat(chunks).toString('utf8');
}
