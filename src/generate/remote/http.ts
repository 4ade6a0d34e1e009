/**
 * Owns one JSON request over HTTP or HTTPS: sent, answered whole, or failed in a way that says whether trying again may
 * help. Knows no protocol above it.
 */

import { Agent as HttpAgent, request as httpRequest, type IncomingMessage } from 'node:http';
import { Agent as HttpsAgent, request as httpsRequest } from 'node:https';
import { messageOf } from '../../util/errors.ts';
import { timerMs } from '../../util/timer.ts';

// Not `fetch`: Node's gives up on an answer whose first byte takes five minutes, and has no way to say otherwise.
const agents = { http: new HttpAgent({ keepAlive: true }), https: new HttpsAgent({ keepAlive: true }) };

/** What is asked of one address. */
export interface HttpQuestion {
  readonly url: string;
  readonly method: 'GET' | 'POST';
  readonly headers?: Readonly<Record<string, string>>;
  /** Sent as JSON. */
  readonly body?: unknown;
  readonly timeoutMs: number;
  /** Cuts the connection at once. */
  readonly signal: AbortSignal;
}

/** A whole answer, whatever its status. */
export interface HttpAnswer {
  readonly status: number;
  readonly body: string;
  /** What the server asks to be left alone for, in milliseconds; 0 where it says nothing. */
  readonly retryAfterMs: number;
}

/** The same question may well succeed a moment later, or elsewhere. */
export class PassingFailure extends Error {
  override readonly name: string = 'PassingFailure';
  readonly retryAfterMs: number;

  constructor(message: string, retryAfterMs = 0) {
    super(message);
    this.retryAfterMs = retryAfterMs;
  }
}

/** Asks once. Throws the signal's reason where it aborts, and a PassingFailure where no whole answer comes. */
export async function ask(question: HttpQuestion): Promise<HttpAnswer> {
  const { signal, timeoutMs } = question;
  signal.throwIfAborted();
  const limit = new AbortController();
  const giveUp = () => limit.abort(new PassingFailure(`no answer within ${timeoutMs / 1000} s`));
  const pass = () => limit.abort(signal.reason);
  const timer = setTimeout(giveUp, timerMs(timeoutMs));
  signal.addEventListener('abort', pass, { once: true });
  try {
    return await exchange(question, limit.signal);
  } catch (error) {
    if (limit.signal.aborted) throw limit.signal.reason;
    throw new PassingFailure(`the connection failed: ${messageOf(error)}`);
  } finally {
    clearTimeout(timer);
    signal.removeEventListener('abort', pass);
  }
}

/**
 * A server closes a connection that has been idle (uvicorn after 5 s), which shows only when it is used again after a training
 * step. That says nothing of the server, so such a request goes out once more, over a connection of its own.
 */
function exchange(question: HttpQuestion, signal: AbortSignal, fresh = false): Promise<HttpAnswer> {
  const { url, method, headers, body } = question;
  const target = new URL(url);
  const secure = target.protocol === 'https:';
  const send = secure ? httpsRequest : httpRequest;
  const text = body === undefined ? '' : JSON.stringify(body);
  return new Promise((resolve, reject) => {
    const outgoing = send(
      target,
      {
        method,
        signal,
        agent: fresh ? false : secure ? agents.https : agents.http,
        headers: {
          ...headers,
          ...(text === ''
            ? {}
            : { 'content-type': 'application/json', 'content-length': Buffer.byteLength(text) }),
        },
      },
      (incoming) => collect(incoming, resolve, reject),
    );
    outgoing.on('error', (error: NodeJS.ErrnoException) => {
      const wasClosed = error.code === 'ECONNRESET' || error.code === 'EPIPE';
      if (outgoing.reusedSocket && wasClosed && !signal.aborted) resolve(exchange(question, signal, true));
      else reject(error);
    });
    outgoing.end(text);
  });
}

function collect(
  incoming: IncomingMessage,
  resolve: (answer: HttpAnswer) => void,
  reject: (error: Error) => void,
): void {
  const chunks: Buffer[] = [];
  incoming.on('data', (chunk: Buffer) => chunks.push(chunk));
  incoming.on('error', reject);
  incoming.on('end', () => {
    const seconds = Number(incoming.headers['retry-after'] ?? 0);
    resolve({
      status: incoming.statusCode ?? 0,
      body: Buffer.concat(chunks).toString('utf8'),
      retryAfterMs: seconds > 0 ? 1000 * seconds : 0,
    });
  });
}
