/** Owns a small server on the loopback that speaks the parts of the hub's protocol that a download uses. */

import { createHash } from 'node:crypto';
import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';

/** A repository as the server has it: its files at every revision. */
export interface ServedRepo {
  readonly kind: 'model' | 'dataset';
  /** Tokens that may read it; null for everyone. */
  readers: readonly string[] | null;
  gated: boolean;
  /** Branches and tags to commits. */
  readonly refs: Map<string, string>;
  readonly commits: Map<string, ReadonlyMap<string, Buffer>>;
}

/** What goes wrong with the next requests for a file, in order: an early end after so many bytes, a status, wrong bytes. */
export type Fault = { readonly cutAfter: number } | { readonly status: number } | { readonly garbled: true };

/** Answers as the hub does, its error codes and redirects included; contents of 1,000 bytes and more are "large". */
export class DownloadServer {
  readonly repos: Map<string, ServedRepo> = new Map();
  /** Every request, `GET path`, with its range behind it. */
  readonly requests: string[] = [];
  readonly tokens: Set<string> = new Set(['hf_owner', 'hf_stranger']);
  readonly faults: Map<string, Fault[]> = new Map();
  /** The second half of a file's bytes is sent when its promise is kept. */
  readonly gates: Map<string, Promise<void>> = new Map();
  /** Entries on a page of a listing. */
  pageSize = 3;
  private readonly server: Server;
  private url = '';

  constructor() {
    this.server = createServer((request, response) => {
      this.answer(request, response);
    });
  }

  async start(): Promise<string> {
    await new Promise<void>((resolve) => this.server.listen(0, '127.0.0.1', resolve));
    this.url = `http://127.0.0.1:${(this.server.address() as AddressInfo).port}`;
    return this.url;
  }

  async stop(): Promise<void> {
    this.server.closeAllConnections();
    await new Promise((resolve) => this.server.close(resolve));
  }

  /** Adds a repository with one commit on main, and gives the commit. */
  add(
    name: string,
    files: Readonly<Record<string, string | Buffer>>,
    kind: ServedRepo['kind'] = 'model',
  ): string {
    const repo = { kind, readers: null, gated: false, refs: new Map(), commits: new Map() };
    this.repos.set(name, repo);
    return this.commit(name, files);
  }

  /** Puts a new commit on main, and gives it. */
  commit(name: string, files: Readonly<Record<string, string | Buffer>>): string {
    const repo = this.repos.get(name)!;
    const sha = createHash('sha1').update(`${name} ${repo.commits.size}`).digest('hex');
    repo.commits.set(sha, new Map(Object.entries(files).map(([path, text]) => [path, Buffer.from(text)])));
    repo.refs.set('main', sha);
    return sha;
  }

  private answer(request: IncomingMessage, response: ServerResponse): ServerResponse {
    const { pathname, searchParams } = new URL(request.url!, this.url);
    const { range } = request.headers;
    this.requests.push(`GET ${pathname}${range === undefined ? '' : ` ${range}`}`);
    if (pathname.startsWith('/cdn/')) {
      // What redirects to other origins get must not have the token; here the same origin only says where it came from.
      const [, , sha, ...rest] = pathname.split('/');
      const content = [...this.repos.values()].flatMap((one) => one.commits.get(sha!) ?? [])[0];
      return this.send(response, rest.join('/'), content!.get(rest.join('/'))!, range);
    }
    const match =
      /^\/api\/(model|dataset)s\/([^/]+\/[^/]+)\/(revision|tree)\/([^/]+)$/.exec(pathname) ??
      /^\/(?:(dataset)s\/)?([^/]+\/[^/]+)\/(resolve)\/([^/]+)\/(.+)$/.exec(pathname);
    const [, kind = 'model', name = '', what, encoded = '', path] = match ?? [];
    const refusal = this.refusal(request, name, kind);
    if (refusal) return fail(response, ...refusal);
    const repo = this.repos.get(name)!;
    const revision = decodeURIComponent(encoded);
    const sha = repo.refs.get(revision) ?? revision;
    const files = repo.commits.get(sha);
    if (!files) return fail(response, 404, 'RevisionNotFound', `Invalid rev id: ${revision}`);
    if (what === 'revision')
      return json(response, { _id: name, id: name, sha, private: repo.readers !== null });
    if (what === 'tree') return this.page(response, pathname, files, Number(searchParams.get('cursor') ?? 0));
    if (!files.has(path!)) return fail(response, 404, 'EntryNotFound', 'Entry not found');
    return response.writeHead(302, { Location: `${this.url}/cdn/${sha}/${path}` }).end();
  }

  private refusal(request: IncomingMessage, name: string, kind: string): [number, string, string] | null {
    const token = request.headers.authorization?.replace('Bearer ', '') ?? null;
    if (token !== null && !this.tokens.has(token))
      return [401, '', 'Invalid credentials in Authorization header'];
    const repo = this.repos.get(name);
    const hidden = !repo || repo.kind !== kind || (repo.readers && !repo.readers.includes(token ?? ''));
    if (hidden) return [token === null ? 401 : 404, 'RepoNotFound', 'Repository not found'];
    return repo.gated && token !== 'hf_owner'
      ? [403, 'GatedRepo', 'Access to this repository is restricted']
      : null;
  }

  private page(
    response: ServerResponse,
    path: string,
    files: ReadonlyMap<string, Buffer>,
    start: number,
  ): ServerResponse {
    const entries = [...files].map(([name, content]) => {
      const isLarge = content.length >= 1000;
      const hash = createHash('sha1').update(`blob ${content.length}\0`).update(content).digest('hex');
      const lfs = {
        oid: createHash('sha256').update(content).digest('hex'),
        size: content.length,
        pointerSize: 130,
      };
      return { type: 'file', path: name, size: content.length, oid: hash, ...(isLarge ? { lfs } : {}) };
    });
    const end = start + this.pageSize;
    const link = `<${this.url}${path}?recursive=true&cursor=${end}>; rel="next"`;
    return json(response, entries.slice(start, end), end < entries.length ? { Link: link } : {});
  }

  private send(
    response: ServerResponse,
    path: string,
    content: Buffer,
    range: string | undefined,
  ): ServerResponse {
    const [, first = '0', last = `${content.length - 1}`] = /bytes=(\d+)-(\d+)?/.exec(range ?? '') ?? [];
    const body = content.subarray(Number(first), Number(last) + 1);
    const fault = range === 'bytes=0-0' ? undefined : this.faults.get(path)?.shift();
    if (fault && 'status' in fault) return fail(response, fault.status, '', 'a passing trouble');
    response.writeHead(range === undefined ? 200 : 206, {
      'Content-Length': body.length,
      'Content-Range': `bytes ${first}-${last}/${content.length}`,
      ETag: '"x"',
    });
    const gate = range === 'bytes=0-0' ? undefined : this.gates.get(path);
    if (gate) {
      response.write(body.subarray(0, body.length / 2));
      gate.then(() => response.end(body.subarray(body.length / 2)));
      return response;
    }
    if (!fault || !('cutAfter' in fault)) return response.end(fault ? Buffer.alloc(body.length, 7) : body);
    response.write(body.subarray(0, fault.cutAfter), () => response.destroy());
    return response;
  }
}

function json(
  response: ServerResponse,
  value: unknown,
  headers: Record<string, string> = {},
): ServerResponse {
  response.writeHead(200, { 'Content-Type': 'application/json', ...headers });
  return response.end(JSON.stringify(value));
}

function fail(response: ServerResponse, status: number, code: string, error: string): ServerResponse {
  const headers = { 'Content-Type': 'application/json', ...(code === '' ? {} : { 'X-Error-Code': code }) };
  response.writeHead(status, headers);
  return response.end(JSON.stringify({ error }));
}
