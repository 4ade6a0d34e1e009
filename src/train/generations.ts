/**
 * Owns a teacher's completions as JSONL, by model, prompt ids and sampling settings: what was sampled once is read again.
 * Knows no loss; log-probabilities are not kept.
 */

import { existsSync, mkdirSync } from 'node:fs';
import { dirname } from 'node:path';
import * as z from 'zod';
import type { Problem } from '../data/problem.ts';
import { localEngine } from '../generate/index.ts';
import type { Decoder } from '../models/index.ts';
import { encodePrompt } from '../prompts/index.ts';
import type { Task } from '../rewards/index.ts';
import { collectGroups, type Group, type Rollout } from '../rollouts/index.ts';
import type { Tokenizer } from '../text/index.ts';
import { sha256 } from '../util/files.ts';
import { JsonlWriter, readJsonl } from '../util/jsonl.ts';
import { Rng } from '../util/rng.ts';
import { type CollectOptions, drawnBy } from './collect.ts';
import { itemsOfStep } from './order.ts';

/** The settings that completions are kept under; other settings find nothing. */
const settingsSchema = z.object({
  temperature: z.number(),
  topP: z.number(),
  topK: z.number().optional(),
  minP: z.number().optional(),
  repetitionPenalty: z.number().optional(),
  logitBias: z.record(z.string(), z.number()).optional(),
  minCompletionTokens: z.number().optional(),
  stop: z.array(z.string()).optional(),
  maxCompletionTokens: z.number(),
  stopIds: z.array(z.number()),
});
const lineSchema = z.object({
  version: z.literal(1),
  model: z.string(),
  sampling: settingsSchema,
  promptIds: z.array(z.int().nonnegative()),
  sampleIndex: z.int().nonnegative(),
  completionIds: z.array(z.int().nonnegative()),
  stopReason: z.enum(['eos', 'stop', 'length', 'aborted']),
});
type Line = z.output<typeof lineSchema>;

/** A teacher whose completions are kept. */
export interface KeptTeacher {
  readonly model: Decoder;
  /** Names it by its content. */
  readonly fingerprint: string;
  readonly tokenizer: Tokenizer;
}

/** Completions of a teacher in a file that later steps, runs and a resumed stage find again. One process at a time. */
export class Generations implements Disposable {
  private readonly teacher: KeptTeacher;
  private readonly lines: JsonlWriter;
  /** By prompt and settings, then by the number of the sample. */
  private readonly known = new Map<string, Map<number, Line>>();

  constructor(path: string, teacher: KeptTeacher) {
    mkdirSync(dirname(path), { recursive: true });
    this.teacher = teacher;
    if (existsSync(path))
      for (const line of readJsonl(path, (value) => lineSchema.parse(value))) this.keep(line);
    this.lines = new JsonlWriter(path, { fsync: true });
  }

  /**
   * Groups of a step's problems, each completion sampled at most once for a prompt. The samples of a prompt follow from
   * seed, problem and number alone, so a stage that was interrupted finds what it would have sampled.
   */
  async groups(task: Task, options: CollectOptions, step: number, seed: number): Promise<Group[]> {
    const problems = itemsOfStep(task.splits.train, step, options.promptsPerStep, seed).map(
      ({ item }) => item,
    );
    const promptOf = (problem: Problem) =>
      task.prompt(problem, new Rng({ seed, purpose: 'prompt', step, id: problem.id }));
    const asked = problems.map((problem) => {
      const promptIds = encodePrompt(this.teacher.tokenizer, promptOf(problem));
      return { problem, promptIds, key: this.keyOf(promptIds, options, task) };
    });
    const missing = asked.filter(
      ({ key }, i) =>
        (this.known.get(key)?.size ?? 0) < options.groupSize &&
        asked.findIndex((other) => other.key === key) === i,
    );
    if (missing.length > 0)
      await this.sample(
        missing.map(({ problem }) => problem),
        promptOf,
        { ...options, task },
        seed,
      );
    return asked.map(({ problem, key }) => ({
      problem,
      rollouts: Array.from({ length: options.groupSize }, (_, i) =>
        this.rolloutOf(problem, this.known.get(key)!.get(i)!),
      ),
    }));
  }

  private async sample(
    problems: readonly Problem[],
    promptOf: (problem: Problem) => string,
    options: CollectOptions & { readonly task: Task },
    seed: number,
  ): Promise<void> {
    const { model, fingerprint, tokenizer } = this.teacher;
    const settings = this.settingsOf(options, options.task.stop);
    const { groupSize } = options;
    using engine = localEngine(model, tokenizer);
    const groups = await collectGroups(engine, tokenizer, problems, promptOf, {
      ...drawnBy(settings),
      stopIds: settings.stopIds,
      groupSize,
      seed,
      step: 0,
    });
    const fresh = groups.flatMap(({ rollouts }) =>
      rollouts.map(
        ({ promptIds, sampleIndex, completionIds, stopReason }): Line => ({
          version: 1,
          model: fingerprint,
          sampling: settings,
          promptIds: [...promptIds],
          sampleIndex,
          completionIds: [...completionIds],
          stopReason,
        }),
      ),
    );
    this.lines.append(...fresh.filter((line) => this.keep(line)));
  }

  /** Whether the line is new; the first of its kind stays. */
  private keep(line: Line): boolean {
    const key = keyOf(line);
    const samples = this.known.get(key) ?? new Map<number, Line>();
    this.known.set(key, samples);
    if (samples.has(line.sampleIndex)) return false;
    samples.set(line.sampleIndex, line);
    return true;
  }

  private keyOf(promptIds: readonly number[], options: CollectOptions, task: Task): string {
    const sampling = this.settingsOf(options, task.stop);
    return keyOf({ model: this.teacher.fingerprint, sampling, promptIds: [...promptIds] });
  }

  private settingsOf({ sampling }: CollectOptions, taskStop: readonly string[] = []): Line['sampling'] {
    const { temperature, topP, topK, minP, maxCompletionTokens } = sampling;
    const { repetitionPenalty, logitBias, minCompletionTokens } = sampling;
    const stopIds = [...this.teacher.model.config.eosTokenIds];
    const stop = [...taskStop, ...(sampling.stop ?? [])];
    return {
      ...{ temperature, topP, topK, minP, maxCompletionTokens, stopIds },
      ...(repetitionPenalty === undefined ? {} : { repetitionPenalty }),
      ...(logitBias === undefined ? {} : { logitBias }),
      ...(minCompletionTokens === undefined ? {} : { minCompletionTokens }),
      ...(stop.length === 0 ? {} : { stop }),
    };
  }

  private rolloutOf({ id }: Problem, { promptIds, sampleIndex, completionIds, stopReason }: Line): Rollout {
    const text = this.teacher.tokenizer.decode(completionIds);
    const none: readonly number[] = [];
    return {
      problemId: id,
      sampleIndex,
      promptIds,
      completionIds,
      logps: none,
      samplingLogps: none,
      stopReason,
      text,
      policyStep: 0,
    };
  }

  [Symbol.dispose](): void {
    this.lines[Symbol.dispose]();
  }
}

function keyOf({ model, sampling, promptIds }: Pick<Line, 'model' | 'sampling' | 'promptIds'>): string {
  const { temperature, topP, topK, minP, maxCompletionTokens, stopIds, ...steered } = sampling;
  const plain = [model, temperature, topP, maxCompletionTokens, stopIds, promptIds];
  const cut = topK === undefined && minP === undefined ? [] : [topK ?? null, minP ?? null];
  // Settings that came later are in the key only where they are used, so that older files are still found.
  const names = Object.keys(steered).sort() as (keyof typeof steered)[];
  const more = names.flatMap((name) => (steered[name] === undefined ? [] : [[name, steered[name]]]));
  return sha256(JSON.stringify([...plain, ...cut, ...more]));
}
