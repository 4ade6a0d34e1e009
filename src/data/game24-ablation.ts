/**
 * Owns the chain-of-thought data sets of the 24 game: traces of pruned searches, the same traces in three formats, and
 * short, medium and long ones in one format, as JSON Lines with counts. All follows from a seed.
 */

import { mkdirSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { writeFileAtomic } from '../util/files.ts';
import { JsonlWriter } from '../util/jsonl.ts';
import { Rng } from '../util/rng.ts';
import { shuffledNumbers } from './game24.ts';
import { SEARCH_FORMATS, type SearchFormat, writeSearch } from './game24-formats.ts';
import { prunedSearch, searchTree } from './game24-search.ts';
import type { Problem } from './problem.ts';

/** Tokens of prompt and completion in format v3 below which a trace is short, medium, long; seed 3's limits. */
export const LENGTH_LIMITS = { short: 300, medium: 550, long: 1100 } as const;

/** What a trace is by its length. */
export type TraceLength = keyof typeof LENGTH_LIMITS | 'beyond';

/** How traces are drawn. */
export interface SearchTraceOptions {
  readonly seed: number;
  /** Searches for each problem, each with its numbers in another order; default 3. */
  readonly searches?: number | undefined;
  /** Failures that are told, one trace for each and search; default 0 to 11 (thresholds 6 to 17 of seed 3). */
  readonly deadEnds?: readonly number[] | undefined;
}

/** One pruned search in every format. */
export interface SearchTrace {
  readonly problem: string;
  readonly prompt: string;
  readonly completions: Readonly<Record<SearchFormat, string>>;
  /** Failures told: fewer than asked for where the search met fewer. */
  readonly deadEnds: number;
}

/** Traces and tokens of one data set. */
export interface TraceCount {
  readonly traces: number;
  readonly tokensMean: number;
  readonly tokensMax: number;
}

/** What was written; `counts.json` holds it. */
export interface AblationCounts {
  readonly version: 1;
  readonly seed: number;
  readonly problems: number;
  readonly traces: number;
  /** Traces that equalled another of their problem and were left out. */
  readonly duplicates: number;
  /** Whose tokens were counted. */
  readonly tokenizer: string;
  readonly formats: Readonly<Record<SearchFormat, TraceCount>>;
  readonly lengths: Readonly<Record<TraceLength, TraceCount>>;
}

/** How tokens are counted, and by what. */
export interface TokenCounter {
  readonly name: string;
  readonly count: (text: string) => number;
}

/** All different traces of the problems, in their order; those of one problem do not depend on the others. */
export function* searchTraces(
  problems: readonly Problem[],
  { seed, searches = 3, deadEnds = Array.from({ length: 12 }, (_, i) => i) }: SearchTraceOptions,
): Generator<{ readonly traces: readonly SearchTrace[]; readonly duplicates: number }> {
  for (const problem of problems) {
    const traces = new Map<string, SearchTrace>();
    for (let search = 0; search < searches; search++) {
      const rng = new Rng({ seed, purpose: 'search', id: problem.id, index: search });
      const numbers = shuffledNumbers(problem, rng);
      const tree = searchTree(numbers, rng);
      for (const wanted of deadEnds) {
        const kept = prunedSearch(tree, wanted, rng);
        const write = (format: SearchFormat): string => writeSearch(tree, kept, format);
        const trace = {
          problem: problem.id,
          prompt: `${numbers.join(' ')}\n`,
          completions: { v1: write('v1'), v2: write('v2'), v3: write('v3') },
          deadEnds: Math.min(wanted, tree.deadEnds),
        };
        traces.set(trace.prompt + trace.completions.v3, trace);
      }
    }
    const all = [...traces.values()];
    yield { traces: all, duplicates: searches * deadEnds.length - all.length };
  }
}

/**
 * Writes `format-v1.jsonl`, `format-v2.jsonl`, `format-v3.jsonl` (the same traces), `length-short.jsonl`,
 * `length-medium.jsonl`, `length-long.jsonl` (format v3; longer ones are counted as `beyond` and not in these) and
 * `counts.json` to a folder. Rows have `prompt` and `completion`, which supervised stages read.
 */
export function writeAblations(
  folder: string,
  problems: readonly Problem[],
  options: SearchTraceOptions,
  tokens: TokenCounter,
): AblationCounts {
  mkdirSync(folder, { recursive: true });
  const files = new Map<string, JsonlWriter>();
  const tallies = new Map<string, Tally>();
  const put = (name: string, row: Record<string, unknown>, length: number): void => {
    const tally = tallies.get(name) ?? new Tally();
    tallies.set(name, tally.add(length));
    if (name !== 'length-beyond') files.get(name)!.append(row);
  };
  try {
    for (const name of FILES) {
      rmSync(join(folder, `${name}.jsonl`), { force: true });
      files.set(name, new JsonlWriter(join(folder, `${name}.jsonl`)));
    }
    let traces = 0;
    let duplicates = 0;
    for (const found of searchTraces(problems, options)) {
      duplicates += found.duplicates;
      for (const { problem, prompt, completions, deadEnds } of found.traces) {
        traces++;
        const counted = SEARCH_FORMATS.map((format) => tokens.count(prompt + completions[format]));
        const length = lengthOf(counted[2]!);
        SEARCH_FORMATS.forEach((format, i) => {
          const row = { problem, deadEnds, tokens: counted[i]!, prompt, completion: completions[format] };
          put(`format-${format}`, row, counted[i]!);
          if (format === 'v3') put(`length-${length}`, row, counted[i]!);
        });
      }
    }
    const of = (name: string): TraceCount => (tallies.get(name) ?? new Tally()).result;
    const counts: AblationCounts = {
      version: 1,
      seed: options.seed,
      problems: problems.length,
      traces,
      duplicates,
      tokenizer: tokens.name,
      formats: { v1: of('format-v1'), v2: of('format-v2'), v3: of('format-v3') },
      lengths: {
        short: of('length-short'),
        medium: of('length-medium'),
        long: of('length-long'),
        beyond: of('length-beyond'),
      },
    };
    writeFileAtomic(join(folder, 'counts.json'), `${JSON.stringify(counts, null, 2)}\n`);
    return counts;
  } finally {
    for (const file of files.values()) file.close();
  }
}

const FILES: readonly string[] = [
  ...SEARCH_FORMATS.map((format) => `format-${format}`),
  ...Object.keys(LENGTH_LIMITS).map((length) => `length-${length}`),
];

function lengthOf(tokens: number): TraceLength {
  if (tokens < LENGTH_LIMITS.short) return 'short';
  if (tokens < LENGTH_LIMITS.medium) return 'medium';
  return tokens < LENGTH_LIMITS.long ? 'long' : 'beyond';
}

class Tally {
  private count = 0;
  private sum = 0;
  private most = 0;

  add(tokens: number): this {
    this.count++;
    this.sum += tokens;
    this.most = Math.max(this.most, tokens);
    return this;
  }

  get result(): TraceCount {
    const mean = this.count === 0 ? 0 : Math.round((10 * this.sum) / this.count) / 10;
    return { traces: this.count, tokensMean: mean, tokensMax: this.most };
  }
}
