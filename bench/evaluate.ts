/**
 * Owns the timing of an evaluation as a whole: a tiny model on as many word problems as GSM8K's test part has, and the share of
 * the time that is not generation (reading problems, prompts, tokens, keeping completions, judging, rows, intervals, files).
 */

import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { Problem } from '../src/data/index.ts';
import {
  evaluateResumably,
  evaluationPrompt,
  summariseRows,
  workOf,
  writeEvaluation,
} from '../src/evaluate/index.ts';
import { localEngine } from '../src/generate/index.ts';
import { Decoder, initialWeights, qwen2Traits } from '../src/models/index.ts';
import { encodePrompt } from '../src/prompts/index.ts';
import { parseTask } from '../src/recipe/index.ts';
import { closeGraders, grade } from '../src/rewards/grade/grade.ts';
import { openTask, type Task } from '../src/rewards/index.ts';
import { characterTokenizer } from '../src/text/index.ts';
import { scope } from '../src/torch/index.ts';
import { type Measurement, summarised } from './measure.ts';

const TINY = process.env['RECKON_BENCH_TINY'] === '1';
/** GSM8K's test part has so many. */
const PROBLEMS = TINY ? 40 : 1319;
const TOKENS = TINY ? 8 : 256;

/** Seconds of one evaluation, and the share of them that is not generation. */
export async function benchEvaluate(repeats: number): Promise<Measurement[]> {
  const folder = mkdtempSync(join(tmpdir(), 'reckon-bench-evaluate-'));
  const seconds: number[] = [];
  const shares: number[] = [];
  try {
    writeProblems(join(folder, 'gsm8k'));
    for (let repeat = 0; repeat < repeats; repeat++) {
      const { total, generating } = await evaluateOnce(folder, repeat);
      seconds.push(total / 1000);
      shares.push(100 * (1 - generating / total));
    }
  } finally {
    rmSync(folder, { recursive: true, force: true });
    await closeGraders();
  }
  return [
    summarised(`evaluation of ${PROBLEMS} problems`, seconds, 's'),
    summarised('evaluation, all but generation', shares, '%', '5'),
  ];
}

interface Timing {
  readonly total: number;
  readonly generating: number;
}

async function evaluateOnce(folder: string, seed: number): Promise<Timing> {
  const started = performance.now();
  const options = parseTask({ name: 'gsm8k', path: join(folder, 'gsm8k'), splits: { validation: 20 } });
  const task = await openTask(options, { grade, tokenizer: characterTokenizer });
  const tokenizer = characterTokenizer(task.alphabet);
  const problems = task.splits.test;
  using model = tinyModel(tokenizer.size, task, problems);
  using engine = localEngine(model, tokenizer);
  // A random model's completions hold no answer: what they cost to judge is measured on right ones in their place.
  const work = workOf(engine, tokenizer, task, {
    samplesPerProblem: 1,
    temperature: 1,
    topP: 1,
    maxCompletionTokens: TOKENS,
    seed,
    maxRows: 512,
  });
  let generating = 0;
  let twice = 0;
  const { rows } = await evaluateResumably({
    ...work,
    sample: async (batch, known, keep) => {
      const begun = performance.now();
      let keeping = 0;
      await work.sample(batch, known, (completions) => {
        const before = performance.now();
        keep(completions.map((one) => ({ ...one, text: answered(batch, one.problemId) })));
        keeping += performance.now() - before;
      });
      generating += performance.now() - begun - keeping;
      const again = encoding(task, batch, (text) => encodePrompt(tokenizer, text));
      generating -= again;
      twice += again;
    },
    rowsPath: join(folder, `${seed}.rows.jsonl`),
    samplesPath: join(folder, `${seed}.samples.jsonl`),
    settingsPath: join(folder, `${seed}.settings.json`),
    settings: { seed },
    fresh: true,
    problems,
    batch: 512,
    stopRequested: () => false,
    onProgress: () => undefined,
  });
  const facts = { label: `seed-${seed}`, checkpoint: 'tiny', task: task.name, split: 'test', temperature: 1 };
  writeEvaluation(join(folder, `${seed}.json`), summariseRows({ ...facts, seed, seconds: 0 }, rows));
  return { total: performance.now() - started - twice, generating };
}

/** Milliseconds that the prompts take, which are part of sampling and no generation; done once more to be measured. */
function encoding(task: Task, problems: readonly Problem[], encode: (text: string) => unknown): number {
  const started = performance.now();
  for (const problem of problems) encode(evaluationPrompt(task, problem, 0));
  return performance.now() - started;
}

function answered(problems: readonly Problem[], id: string): string {
  const { reference } = problems.find((problem) => problem.id === id)!;
  return `She adds them up and then takes away what was sold. </think> <answer> ${reference} </answer>`;
}

/** Word problems of the committed twin, numbered so that each is another one. */
function writeProblems(folder: string): void {
  mkdirSync(folder, { recursive: true });
  for (const part of ['train', 'test']) {
    const rows = readFileSync(`recipes/twin-data/gsm8k/${part}.jsonl`, 'utf8')
      .trim()
      .split('\n')
      .map((line) => JSON.parse(line) as { question: string; answer: string });
    const many = Array.from({ length: part === 'test' ? PROBLEMS : rows.length }, (_, i) => {
      const { question, answer } = rows[i % rows.length]!;
      return JSON.stringify({ question: `${part} ${i}. ${question}`, answer });
    });
    writeFileSync(join(folder, `${part}.jsonl`), `${many.join('\n')}\n`);
  }
}

function tinyModel(vocabSize: number, task: Task, problems: readonly Problem[]): Decoder {
  const longest = Math.max(...problems.map((problem) => evaluationPrompt(task, problem, 0).length));
  const config = {
    ...qwen2Traits,
    vocabSize,
    hiddenSize: 64,
    layers: 2,
    heads: 4,
    keyValueHeads: 2,
    headDim: 16,
    intermediateSize: 128,
    tieEmbeddings: true,
    maxPositions: longest + TOKENS + 8,
    ropeTheta: 10_000,
    rmsEps: 1e-6,
    initializerRange: 0.02,
    bosTokenId: 1,
    eosTokenIds: [2],
    padTokenId: 0,
  };
  return scope(() => new Decoder(config, initialWeights(config, 1), 'f32'));
}
