/** The failures of set-up as sentences for people; it knows no step. */

/** A failure that is already one sentence with what to do; it is printed without a stack trace. */
export class SetupFailure extends Error {
  name = 'SetupFailure';
}

const FULL = new Set(['ENOSPC', 'EDQUOT']);
const READ_ONLY = new Set(['EACCES', 'EPERM', 'EROFS']);

/** Whether a system error says that a disk is full. */
export const isDiskFull = (error) => FULL.has(error?.code);

/** Whether a system error says that a file or folder may not be written. */
export const isReadOnly = (error) => READ_ONLY.has(error?.code);

/** The failure that says that the disk under `place` is full. */
export function diskFull(place, needed = '0.9 GB') {
  return new SetupFailure(
    `The disk that holds ${place} is full: free some space (this libtorch needs about ${needed}), or point RECKON_CACHE at another disk, and run the same command again.`,
  );
}

/** Any error as one sentence: ours as it is, system errors explained, the rest by its first line. */
export function sentence(error) {
  if (error instanceof SetupFailure) return error.message;
  const place = error?.path ?? 'this folder';
  if (isDiskFull(error)) return diskFull(place).message;
  if (isReadOnly(error)) {
    return `${place} cannot be written (${error.code}): make it writable for this user, or point RECKON_CACHE at a folder that is.`;
  }
  if (error?.code === 'ENOTDIR' || error?.code === 'EEXIST') {
    return `${place} is in the way (${error.code}): move it aside and run the same command again.`;
  }
  const first = String(error?.message ?? error).split('\n', 1)[0];
  return `Set-up stopped on something unforeseen (${first}): run it again with --debug and report what it prints.`;
}
