/** Owns what the hub's refusals mean: private, gated, missing, a wrong token, out of reach. Sends no request. */

import { messageOf, ReckonError } from '../util/errors.ts';
import { type RepoId, repoText } from './repo-id.ts';
import type { HubSettings } from './settings.ts';

/** The status that the hub answered with, or null where it did not answer. */
export function statusOf(error: unknown): number | null {
  const status = (error as { statusCode?: unknown } | null)?.statusCode;
  return typeof status === 'number' ? status : null;
}

/** Whether the same request may well succeed a moment later. */
export function isPassing(error: unknown): boolean {
  const status = statusOf(error);
  return !(error instanceof ReckonError) && (status === null || status === 429 || status >= 500);
}

/** The error for a repository that could not be read; `reason` is the hub's own word for it (`GatedRepo`, ...). */
export function refusal(
  error: unknown,
  id: RepoId,
  { endpoint, token }: HubSettings,
  reason: string | null,
): ReckonError {
  if (error instanceof ReckonError) return error;
  const what = `the ${id.kind === 'model' ? 'model' : 'data set'} ${id.name}`;
  const page = `${endpoint}/${id.kind === 'model' ? '' : 'datasets/'}${id.name}`;
  const status = statusOf(error);
  const say = (code: string, message: string) =>
    new ReckonError('environment', code, message, { cause: error });
  if (status === null) {
    const cause = error instanceof Error && error.cause instanceof Error ? ` (${error.cause.message})` : '';
    const message = `${endpoint} could not be reached for ${what}: ${messageOf(error)}${cause}`;
    return say(
      'hub-unreachable',
      `${message}; check the network and HF_ENDPOINT, and give the command again`,
    );
  }
  if (reason === 'GatedRepo') {
    const advice = token === null ? ', then set HF_TOKEN' : ' with the account of the token';
    return say('hub-gated', `${what} is there and gated: ask for access on ${page}${advice}`);
  }
  if (status === 404 && reason === 'RevisionNotFound') {
    return say('hub-no-revision', `${what} is there and has no branch, tag or commit '${id.revision}'`);
  }
  if (status === 403) {
    return say(
      'hub-private',
      `${what} is private: this token may not read it; use one of an account that may`,
    );
  }
  if (status === 401 && token === null) {
    const message = `${what} is private or does not exist (without a token the hub does not tell which)`;
    return say('hub-private-or-missing', `${message}; check the name, or set HF_TOKEN`);
  }
  if (status === 401)
    return say('hub-bad-token', `the hub does not know this token; make a new one and set HF_TOKEN`);
  if (status === 404) {
    const seen = token === null ? '' : ', or is private and not for the account of this token';
    return say('hub-missing', `${what} does not exist on ${endpoint}${seen}; check the name`);
  }
  return say('hub-failed', `${endpoint} did not give ${repoText(id)}: ${messageOf(error)}; try again later`);
}
