/**
 * Owns the words of `/v1/completions` as vLLM speaks it: token ids in and out, a log-probability of each. Sends nothing.
 */

import * as z from 'zod';
import { ReckonError } from '../../util/errors.ts';
import type { GenerationOptions } from '../engine.ts';
import { PassingFailure } from './http.ts';

/** One completion to be sampled. */
export interface SampleQuestion {
  readonly model: string;
  readonly promptIds: readonly number[];
  readonly maxNewTokens: number;
  /** Of this sequence alone, so that it does not depend on which others are asked for. */
  readonly seed: number;
}

/** What a server sampled. */
export interface ServedCompletion {
  readonly ids: readonly number[];
  /** One an id, of whatever distribution the server speaks of. */
  readonly logps: readonly number[];
  readonly finish: 'stop' | 'length';
}

/**
 * The body of a request. Everything is said, because a server fills in what is not from the model's generation_config.json;
 * and only our own ids end a completion, not those of the server's tokenizer.
 */
export function completionBody(
  { model, promptIds, maxNewTokens, seed }: SampleQuestion,
  options: GenerationOptions,
): Record<string, unknown> {
  const { temperature, topP, topK = 0, minP = 0, repetitionPenalty = 1, logitBias, stopIds } = options;
  return {
    model,
    prompt: promptIds,
    max_tokens: maxNewTokens,
    // A request's own limit may be less than what all must have.
    min_tokens: Math.min(options.minNewTokens ?? 0, maxNewTokens),
    n: 1,
    seed,
    temperature,
    top_p: topP,
    top_k: topK === 0 ? -1 : topK,
    min_p: minP,
    repetition_penalty: repetitionPenalty,
    presence_penalty: 0,
    frequency_penalty: 0,
    // JSON has no infinity, and vLLM takes a bias from -100, which is as good as a ban, to 100.
    ...(logitBias?.size
      ? {
          logit_bias: Object.fromEntries(
            [...logitBias].map(([id, bias]) => [id, Math.min(100, Math.max(-100, bias))]),
          ),
        }
      : {}),
    ignore_eos: true,
    stop_token_ids: stopIds,
    stop: options.stopStrings ?? [],
    include_stop_str_in_output: true,
    // For stop strings, which are looked for in text without special tokens here too.
    skip_special_tokens: true,
    add_special_tokens: false,
    logprobs: 1,
    return_token_ids: true,
    return_tokens_as_token_ids: true,
    stream: false,
  };
}

const ids = z.array(z.int().nonnegative());
const choiceSchema = z.looseObject({
  finish_reason: z.string().nullish(),
  token_ids: ids.nullish(),
  prompt_token_ids: ids.nullish(),
  logprobs: z
    .looseObject({ tokens: z.array(z.string()), token_logprobs: z.array(z.number().nullable()) })
    .nullish(),
});
const answerSchema = z.looseObject({ choices: z.array(choiceSchema) });
type Choice = z.output<typeof choiceSchema>;

/** Reads the answer to a `completionBody`; `what` begins the sentence of an error. */
export function readCompletion(body: string, question: SampleQuestion, what: string): ServedCompletion {
  const choice = onlyChoice(body, what);
  const say = (code: string, message: string) =>
    new ReckonError('environment', code, `${what}: the server ${message}`);
  const echoed = choice.prompt_token_ids;
  if (echoed && echoed.join() !== question.promptIds.join()) {
    const found = `${echoed.length} ids where ${question.promptIds.length} were sent`;
    throw say('remote-other-prompt', `read another prompt: ${found}; it must take token ids as they are`);
  }
  const sampled = idsOf(choice);
  if (sampled === null)
    throw say('remote-no-ids', 'gave no token ids; vLLM 0.10.2 or later gives them (return_token_ids)');
  const logps = choice.logprobs?.token_logprobs ?? [];
  const missing = logps.length !== sampled.length || logps.includes(null);
  if (missing) {
    const found = `${logps.filter((one) => one !== null).length} for ${sampled.length} tokens`;
    throw say('remote-no-logprobs', `gave no log-probability of every token (${found})`);
  }
  const finish = choice.finish_reason;
  if (finish !== 'stop' && finish !== 'length')
    throw new PassingFailure(`the completion ended by '${finish ?? 'nothing'}'`);
  if (finish === 'length' && sampled.length < question.maxNewTokens) {
    const found = `after ${sampled.length} of ${question.maxNewTokens} tokens`;
    throw say('remote-too-long', `cut the completion ${found}; serve with a larger --max-model-len`);
  }
  if (sampled.length === 0) throw say('remote-empty', 'sampled nothing');
  return { ids: sampled, logps: logps as number[], finish };
}

/** The one choice of an answer; a text that is not JSON was cut off on its way, and may come whole the next time. */
function onlyChoice(body: string, what: string): Choice {
  let json: unknown;
  try {
    json = JSON.parse(body);
  } catch {
    throw new PassingFailure(`the answer is no JSON (${body.length} characters)`);
  }
  const parsed = answerSchema.safeParse(json);
  if (!parsed.success) {
    const issue = parsed.error.issues[0]!;
    const place = issue.path.join('.') || 'the answer';
    const message = `${what}: the server's answer is none of the completions protocol: ${place}: ${issue.message}`;
    throw new ReckonError('environment', 'remote-bad-answer', message);
  }
  const { choices } = parsed.data;
  if (choices.length === 1) return choices[0]!;
  const message = `${what}: expected 1 choice from the server, found ${choices.length}`;
  throw new ReckonError('environment', 'remote-choices', message);
}

/** The sampled ids, from their own field or, of older servers, from tokens written as `token_id:17`. */
function idsOf({ token_ids, logprobs }: Choice): readonly number[] | null {
  if (token_ids) return token_ids;
  const found = logprobs?.tokens.map((token) => /^token_id:(\d{1,10})$/.exec(token)?.[1]);
  return found?.every((id) => id !== undefined) ? found.map(Number) : null;
}
