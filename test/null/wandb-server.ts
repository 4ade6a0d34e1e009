/** Owns what a Weights & Biases server must answer for its own client to log, finish and go on with a run; keeps what it is told. */

import { createServer, type IncomingMessage, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import { gunzipSync } from 'node:zlib';

interface Graphql {
  readonly query: string;
  readonly variables?: { readonly name?: string; readonly files?: readonly string[] };
}

/** A server of this process with one run. */
export interface WandbServer extends AsyncDisposable {
  readonly url: string;
  /** Rows of the run's history, in the order of arrival. */
  readonly history: Record<string, unknown>[];
  summary: Record<string, unknown>;
}

export async function startWandbServer(): Promise<WandbServer> {
  const history: Record<string, unknown>[] = [];
  const kept = { summary: {} as Record<string, unknown> };
  const server: Server = createServer((request, response) => {
    void bodyOf(request).then((body) => {
      if (request.url?.endsWith('/file_stream')) keepRows(body, history);
      if (request.url === '/up/wandb-summary.json')
        kept.summary = JSON.parse(body.toString()) as Record<string, unknown>;
      const answer =
        request.url === '/graphql'
          ? answerTo(JSON.parse(body.toString()) as Graphql, url, history, kept.summary)
          : {};
      response.setHeader('content-type', 'application/json').end(JSON.stringify(answer));
    });
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  const url = `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
  return {
    url,
    history,
    get summary() {
      return kept.summary;
    },
    [Symbol.asyncDispose]: () => {
      server.closeAllConnections();
      return new Promise((resolve) => server.close(() => resolve()));
    },
  };
}

async function bodyOf(request: IncomingMessage): Promise<Buffer> {
  const parts: Buffer[] = [];
  for await (const part of request) parts.push(part as Buffer);
  const body = Buffer.concat(parts);
  return request.headers['content-encoding'] === 'gzip' ? gunzipSync(body) : body;
}

function keepRows(body: Buffer, history: Record<string, unknown>[]): void {
  const { files } = JSON.parse(body.toString()) as {
    files?: Record<string, { offset: number; content: string[] }>;
  };
  const rows = files?.['wandb-history.jsonl'];
  // What begins before the end of what is there replaces it.
  if (rows === undefined) return;
  history.splice(
    rows.offset,
    history.length,
    // The client writes NaN as a bare word.
    ...rows.content.map((row) => JSON.parse(row.replaceAll(':NaN', ':"NaN"')) as Record<string, unknown>),
  );
}

function answerTo(
  { query, variables }: Graphql,
  url: string,
  history: readonly object[],
  summary: object,
): object {
  const entity = { id: 'e', name: 'me' };
  const project = { id: 'p', name: 'p', entity };
  if (query.includes('RunResumeStatus')) {
    const bucket =
      history.length === 0
        ? null
        : {
            id: 'r',
            name: variables?.name,
            displayName: 'r',
            summaryMetrics: JSON.stringify(summary),
            logLineCount: 0,
            historyLineCount: history.length,
            eventsLineCount: 0,
            historyTail: JSON.stringify([JSON.stringify(history.at(-1))]),
            eventsTail: '[]',
            config: '{}',
            tags: [],
            wandbConfig: '{"t": 1}',
          };
    return { data: { model: { ...project, bucket } } };
  }
  if (query.includes('UpsertBucket')) {
    const bucket = { id: 'r', name: variables?.name, displayName: 'r', project, historyLineCount: 0 };
    return { data: { upsertBucket: { bucket, inserted: history.length === 0 } } };
  }
  if (query.includes('CreateRunFiles')) {
    const files = variables?.files?.map((name) => ({ name, uploadUrl: `${url}/up/${name}` }));
    return { data: { createRunFiles: { runID: 'r', uploadHeaders: [], files } } };
  }
  if (query.includes('viewer')) {
    const viewer = {
      id: 'v',
      username: 'me',
      email: 'me@localhost',
      entity: 'me',
      flags: '{}',
      teams: { edges: [] },
    };
    return { data: { viewer } };
  }
  return { data: {} };
}
