/** Owns what a server's refusals mean: a wrong key, an unknown model, too long a request, or only a bad moment. Sends nothing. */

import { ReckonError } from '../../util/errors.ts';
import { type HttpAnswer, PassingFailure } from './http.ts';

/** Who was asked for what. */
export interface Asked {
  readonly url: string;
  readonly model: string;
  /** The environment variable that the key comes from; null without a key. */
  readonly apiKeyEnv: string | null;
  /** What the request was for, as the sentence begins. */
  readonly what: string;
}

/** The server knows no model of that name, which it may have known before it was started anew. */
export class UnknownModel extends ReckonError {}

/** The error for an answer that is not 200. */
export function refusal(answer: HttpAnswer, asked: Asked): PassingFailure | ReckonError {
  const { status } = answer;
  const word = wordOf(answer.body);
  const { url, model, apiKeyEnv, what } = asked;
  const say = (code: string, message: string) =>
    new ReckonError('environment', code, `${what}: ${url} ${message}`);
  if (status === 408 || status === 425 || status === 429 || status >= 500)
    return new PassingFailure(`${status}: ${word}`, answer.retryAfterMs);
  if (status === 401 || status === 403) {
    const advice =
      apiKeyEnv === null
        ? 'name the environment variable that holds its key (apiKeyEnv)'
        : `set ${apiKeyEnv} to a key that it knows`;
    return say('remote-unauthorised', `refused the request (${status}: ${word}); ${advice}`);
  }
  if (status === 404 && /model|adapter/i.test(word)) {
    const message = `${what}: ${url} does not serve '${model}' (${word}); ask ${url}/v1/models for the names that it has`;
    return new UnknownModel('environment', 'remote-no-model', message);
  }
  if (status === 404)
    return say('remote-no-endpoint', `has no such address (${word}); is it a server of OpenAI's protocol?`);
  if (/(maximum|max) (context|model) ?(length|len)|max_model_len/i.test(word))
    return say(
      'remote-too-long',
      `says that it is too long: ${word}; lower maxCompletionTokens or serve with a larger --max-model-len`,
    );
  return say('remote-refused', `refused the request (${status}): ${word}`);
}

/** What a server says of an error, in any of the forms that servers have, on one line. */
export function wordOf(body: string): string {
  let found: unknown = body;
  try {
    const parsed = JSON.parse(body) as Record<string, unknown> | null;
    const inner = parsed?.['error'];
    found =
      (inner as { message?: unknown } | undefined)?.message ?? parsed?.['message'] ?? parsed?.['detail'];
    if (typeof found !== 'string') found = JSON.stringify(found ?? inner ?? parsed);
  } catch {
    // Not JSON: a proxy's page, say.
  }
  const text = String(found).replaceAll(/\s+/g, ' ').trim();
  return text === '' ? 'no reason given' : text.slice(0, 300);
}
