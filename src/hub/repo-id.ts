/** Owns how a repository on the hub is named: `org/name`, with `@revision` behind it where one is meant. Opens nothing. */

import { ReckonError } from '../util/errors.ts';

/** What kind of repository a name is of. */
export type RepoKind = 'model' | 'dataset';

/** A repository at a branch, tag or commit. */
export interface RepoId {
  readonly kind: RepoKind;
  /** `org/name`. */
  readonly name: string;
  readonly revision: string;
}

/** Whether a name has the form of a repository on the hub, `org/name`, and not of a path. */
export function isHubId(name: string): boolean {
  return /^[A-Za-z0-9][\w.-]*\/[A-Za-z0-9][\w.-]*$/.test(name) && !/\.\.|--/.test(name);
}

/** Reads `org/name` or `org/name@revision`; null where a name has neither form. */
export function parseRepoId(text: string, kind: RepoKind): RepoId | null {
  const at = text.indexOf('@');
  const name = at < 0 ? text : text.slice(0, at);
  const revision = at < 0 ? 'main' : text.slice(at + 1);
  if (!isHubId(name)) return null;
  if (/^[\w.][\w.-]*(?:\/[\w.][\w.-]*)*$/.test(revision) && !revision.includes('..'))
    return { kind, name, revision };
  throw new ReckonError(
    'usage',
    'bad-revision',
    `'${text}' must name a branch, tag or commit behind the @, such as ${name}@main; found '${revision}'`,
  );
}

/** As a person would write it: without the branch that is meant anyway. */
export function repoText({ name, revision }: RepoId): string {
  return revision === 'main' ? name : `${name}@${revision}`;
}

/** Whether a revision is a whole commit, which never moves. */
export function isCommit(revision: string): boolean {
  return /^[0-9a-f]{40}$/.test(revision);
}
