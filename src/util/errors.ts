/** Owns the one error class of the project; knows nothing of who throws it. */

/** What kind of thing went wrong; the command line maps it to an exit code. */
export type ErrorCategory = 'usage' | 'recipe' | 'data' | 'environment' | 'tensor' | 'run' | 'internal';

/**
 * Every error that reckon throws on purpose. The message says what was expected, what was found and what to do;
 * `code` is stable (kebab-case) and may be matched by programs; `category` decides the exit code.
 */
export class ReckonError extends Error {
  override readonly name: string = 'ReckonError';
  readonly category: ErrorCategory;
  readonly code: string;

  constructor(category: ErrorCategory, code: string, message: string, options?: { cause?: unknown }) {
    super(message, options);
    this.category = category;
    this.code = code;
  }
}

/** The text of anything that was thrown, without a stack. */
export function messageOf(thrown: unknown): string {
  return thrown instanceof Error ? thrown.message : String(thrown);
}
