/** Owns the Problem type: one question with what a grader needs to judge an answer to it. */

/** One task instance. Plain and serialisable; `id` is unique inside its data set and stable between runs. */
export interface Problem {
  readonly id: string;
  /** What is asked, in the task's own plain words (for the 24 game: the numbers, such as '3 8 8 9'). */
  readonly question: string;
  /** The reference answer, or '' where the task has no single one. */
  readonly reference: string;
  /** What the task's own grader reads (for the 24 game `numbers`). */
  readonly meta: Readonly<Record<string, unknown>>;
}
