/** Owns `reckon data prepare game24-traces`: writes the 24 game's chains of thought and their ablations. */

import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import {
  LENGTH_LIMITS,
  type Problem,
  SEARCH_FORMATS,
  searchTokens,
  searchTraces,
  splitGame24,
  type TokenCounter,
  type TraceCount,
  writeAblations,
} from '../data/index.ts';
import { loadTokenizer } from '../text/index.ts';
import { ReckonError } from '../util/errors.ts';
import { formatTable } from '../util/format.ts';
import { type PrepareOptions, TRACES } from './data.ts';
import { printResult } from './output.ts';

/** Writes the data sets to --out, or only counts them, and prints the counts and some traces. */
export async function prepareTraces(options: PrepareOptions): Promise<void> {
  const { seed = 0, searches, show } = options;
  const problems = trainingPuzzles(options);
  const folder = options.out ?? mkdtempSync(join(tmpdir(), 'reckon-traces-'));
  try {
    const counts = writeAblations(folder, problems, { seed, searches }, counterOf(options));
    const samples = samplesOf(problems, seed, searches, show);
    const row = (name: string, { traces, tokensMean, tokensMax }: TraceCount): string[] => [
      name,
      traces.toLocaleString('en-US'),
      String(tokensMean),
      String(tokensMax),
    ];
    const limits = (name: string): string =>
      name in LENGTH_LIMITS ? `below ${LENGTH_LIMITS[name as keyof typeof LENGTH_LIMITS]}` : 'in no file';
    const text = [
      `${counts.problems} puzzles, ${counts.traces.toLocaleString('en-US')} different traces, ${counts.duplicates} duplicates left out; tokens of ${counts.tokenizer}`,
      '',
      formatTable([
        ['data set', 'traces', 'tokens (mean)', 'most'],
        ...SEARCH_FORMATS.map((format) => row(`format ${format}`, counts.formats[format])),
        ...Object.entries(counts.lengths).map(([name, count]) =>
          row(`length ${name} (${limits(name)})`, count),
        ),
      ]),
      ...samples.map(({ prompt, completion }) => `\n--- format v3\n${prompt}${completion}`),
      ...(options.out === undefined ? [] : ['', `written to ${options.out}`]),
    ];
    printResult(options, { ...counts, samples }, text.join('\n'));
  } finally {
    if (options.out === undefined) rmSync(folder, { recursive: true, force: true });
  }
}

/** The train part of a named split; `--set split=default` in place of seed 3's. */
function trainingPuzzles({ set = [] }: PrepareOptions): readonly Problem[] {
  let named: 'default' | 'seed3' | 'tot' = 'seed3';
  let subset = Number.POSITIVE_INFINITY;
  for (const one of set) {
    const match = /^(?:split=(default|seed3|tot)|subset=(\d{1,6}))$/.exec(one);
    if (match === null) {
      const message = `${TRACES} takes --set split=default, split=seed3 or split=tot and --set subset=n, found --set ${one}`;
      throw new ReckonError('usage', 'unknown-setting', message);
    }
    if (match[1] !== undefined) named = match[1] as typeof named;
    else subset = Number(match[2]);
  }
  return splitGame24({ named }).train.slice(0, subset);
}

function counterOf({ tokenizer }: PrepareOptions): TokenCounter {
  if (tokenizer === undefined) return { name: 'Qwen2.5', count: searchTokens };
  const loaded = loadTokenizer(tokenizer);
  return { name: tokenizer, count: (text) => loaded.encode(text).length };
}

function samplesOf(
  problems: readonly Problem[],
  seed: number,
  searches: number,
  show: number,
): { readonly prompt: string; readonly completion: string }[] {
  const samples: { prompt: string; completion: string }[] = [];
  for (const { traces } of searchTraces(problems, { seed, searches })) {
    for (const { prompt, completions } of traces) {
      if (samples.length >= show) return samples;
      samples.push({ prompt, completion: completions.v3 });
    }
  }
  return samples;
}
