/**
 * Owns which server is asked next: the least busy of those that are not resting after a failure. Sends nothing.
 */

/** One address, and how it has been doing. */
export interface Server {
  /** Without a slash or `/v1` at its end. */
  readonly url: string;
  /** Requests under way. */
  busy: number;
  /** Failures since the last success. */
  failures: number;
  /** Requests that were under way at the last of them: that they fail too is no further failure. */
  failing: number;
  /** Until when it is left alone, in the milliseconds of the clock. */
  restsUntil: number;
}

/** Equal servers of one model. */
export class Servers {
  readonly all: readonly Server[];
  private readonly restMs: number;
  private readonly now: () => number;
  private next = 0;

  /** A server rests `restMs` after a failure, twice as long after each further one, at most a minute. */
  constructor(urls: readonly string[], restMs = 1000, now: () => number = () => performance.now()) {
    this.all = [...new Set(urls.map(plainUrl))].map((url) => ({
      url,
      busy: 0,
      failures: 0,
      failing: 0,
      restsUntil: 0,
    }));
    this.restMs = restMs;
    this.now = now;
  }

  /** The least busy server that is awake, in turn where several are; where all rest, the one that wakes first. */
  take(): Server {
    const now = this.now();
    const count = this.all.length;
    const inTurn = this.all.map((_, i) => this.all[(this.next + i) % count]!);
    const cost = (server: Server) => (server.restsUntil <= now ? 0 : server.restsUntil);
    const server = inTurn.reduce((best, one) => {
      const difference = cost(one) - cost(best) || one.busy - best.busy;
      return difference < 0 ? one : best;
    });
    this.next = (this.all.indexOf(server) + 1) % count;
    server.busy++;
    return server;
  }

  /** Gives a server back; null where nothing was learned about it. */
  give(server: Server, succeeded: boolean | null): void {
    server.busy--;
    if (succeeded === null) return;
    if (!succeeded && server.failing > 0) {
      server.failing--;
      return;
    }
    server.failing = succeeded ? 0 : Math.max(0, server.busy);
    server.failures = succeeded ? 0 : server.failures + 1;
    server.restsUntil = succeeded ? 0 : this.now() + this.restAfter(server.failures);
  }

  /** Whether a server is left that need not be waited for. */
  get isAnyAwake(): boolean {
    const now = this.now();
    return this.all.some((server) => server.restsUntil <= now);
  }

  private restAfter(failures: number): number {
    return Math.min(60_000, this.restMs * 2 ** (failures - 1));
  }
}

/** An address without what every path of the protocol begins with. */
export function plainUrl(url: string): string {
  const trimmed = url.endsWith('/') ? url.slice(0, -1) : url;
  return trimmed.endsWith('/v1') ? trimmed.slice(0, -3) : trimmed;
}
