/** Owns a small server on the loopback that speaks the parts of the hub's protocol that an upload uses. */

import { createHash } from 'node:crypto';
import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';

/** A repository as the server has it. */
export interface HubRepo {
  private: boolean;
  /** Contents by path, as of the last commit. */
  readonly files: Map<string, Buffer>;
  readonly commits: string[];
}

type Answer = readonly [status: number, value: object];

/** Large files go the way of git-lfs, as on the hub; what comes in is checked against its announced hash and size. */
export class HubServer {
  readonly repos: Map<string, HubRepo> = new Map();
  /** Every request, `METHOD path`. */
  readonly requests: string[] = [];
  /** Only this token is let in; null refuses all with 403. */
  token: string | null = 'hf_right';
  private readonly objects = new Map<string, Buffer>();
  private readonly server: Server;

  constructor() {
    this.server = createServer((request, response) => {
      this.answer(request)
        .catch((error: unknown): Answer => [500, { error: String(error) }])
        .then(([status, value]) => reply(response, status, value));
    });
  }

  async start(): Promise<string> {
    await new Promise<void>((resolve) => this.server.listen(0, '127.0.0.1', resolve));
    return `http://127.0.0.1:${(this.server.address() as AddressInfo).port}`;
  }

  async stop(): Promise<void> {
    this.server.closeAllConnections();
    await new Promise((resolve) => this.server.close(resolve));
  }

  private async answer(request: IncomingMessage): Promise<Answer> {
    const url = new URL(request.url!, `http://${request.headers.host}`);
    this.requests.push(`${request.method} ${url.pathname}`);
    const body = await bodyOf(request);
    if (url.pathname.startsWith('/storage/')) {
      return this.store(url.pathname.slice('/storage/'.length), body);
    }
    if (this.token === null) return [403, { error: 'you may not write here' }];
    if (request.headers.authorization !== `Bearer ${this.token}`) {
      return [401, { error: 'Invalid credentials' }];
    }
    if (url.pathname === '/api/repos/create') return this.create(JSON.parse(body.toString()), url);
    const match =
      /^\/api\/models\/([^/]+\/[^/]+)\/(revision|preupload|commit)\/|^\/([^/]+\/[^/]+)\.git\//.exec(
        url.pathname,
      );
    const repo = this.repos.get(match?.[1] ?? match?.[3] ?? '');
    if (!repo) return [404, { error: 'Repository not found' }];
    if (match![2] === 'revision') return [200, this.info(match![1]!, repo)];
    if (match![2] === 'preupload') return [200, modes(JSON.parse(body.toString()))];
    if (match![2] === 'commit') return this.commit(repo, body.toString(), url);
    return this.batch(JSON.parse(body.toString()), url);
  }

  private info(name: string, repo: HubRepo): object {
    return {
      _id: name,
      id: name,
      private: repo.private,
      downloads: 0,
      likes: 0,
      gated: false,
      lastModified: 0,
    };
  }

  private create(
    { organization, name, visibility }: { organization: string; name: string; visibility: string },
    url: URL,
  ): Answer {
    const id = `${organization}/${name}`;
    if (this.repos.has(id)) return [409, { error: 'You already created this model repo' }];
    this.repos.set(id, { private: visibility === 'private', files: new Map(), commits: [] });
    return [200, { url: `${url.origin}/${id}`, id }];
  }

  private batch({ objects }: { objects: { oid: string; size: number }[] }, url: URL): Answer {
    const answers = objects.map(({ oid, size }) => ({
      oid,
      size,
      ...(this.objects.has(oid) ? {} : { actions: { upload: { href: `${url.origin}/storage/${oid}` } } }),
    }));
    return [200, { transfer: 'basic', objects: answers }];
  }

  private store(oid: string, body: Buffer): Answer {
    if (createHash('sha256').update(body).digest('hex') !== oid) {
      return [400, { error: 'the bytes are not those that were announced' }];
    }
    this.objects.set(oid, body);
    return [200, {}];
  }

  private commit(repo: HubRepo, body: string, url: URL): Answer {
    for (const line of body.split('\n')) {
      const { key, value } = JSON.parse(line) as {
        key: string;
        value: { path: string; content: string; oid: string; size: number; summary: string };
      };
      if (key === 'header') repo.commits.push(value.summary);
      if (key === 'file') repo.files.set(value.path, Buffer.from(value.content, 'base64'));
      if (key === 'lfsFile') {
        const object = this.objects.get(value.oid);
        if (object?.length !== value.size) return [400, { error: `no object ${value.oid}` }];
        repo.files.set(value.path, object);
      }
    }
    const name = [...this.repos].find(([, one]) => one === repo)![0];
    return [200, { commitOid: 'c0', commitUrl: `${url.origin}/${name}/commit/c0` }];
  }
}

function modes({ files }: { files: { path: string }[] }): object {
  return {
    files: files.map(({ path }) => ({
      path,
      uploadMode: path.endsWith('.safetensors') ? 'lfs' : 'regular',
      shouldIgnore: false,
    })),
  };
}

async function bodyOf(request: IncomingMessage): Promise<Buffer> {
  const chunks: Buffer[] = [];
  for await (const chunk of request) chunks.push(chunk as Buffer);
  return Buffer.concat(chunks);
}

function reply(response: ServerResponse, status: number, value: object): void {
  response.writeHead(status, { 'Content-Type': 'application/json' });
  response.end(JSON.stringify(value));
}
