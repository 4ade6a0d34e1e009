/** Owns `reckon generate`: completions of a prompt, or of a file of prompts as JSONL. Knows neither tokens nor tensors. */

import { readFileSync } from 'node:fs';
import type { Command } from 'commander';
import * as z from 'zod';
import type { Completion } from '../generate/completion.ts';
import type { GenerationRequest } from '../generate/engine.ts';
import { encodePrompt } from '../prompts/index.ts';
import { type ChatMessage, StreamDecoder } from '../text/index.ts';
import { messageOf, ReckonError } from '../util/errors.ts';
import { type EndpointOptions, endpointOf, servedBy } from './endpoint.ts';
import { type ExitCode, printResult } from './output.ts';
import {
  openTextModel,
  requireTemplate,
  type SamplingOptions,
  sampledBy,
  type TextModel,
} from './text-model.ts';
import { positive } from './values.ts';

interface GenerateOptions extends SamplingOptions, EndpointOptions {
  readonly prompt?: string;
  readonly prompts?: string;
  readonly chat?: boolean;
  readonly system?: string;
  readonly samples: number;
  readonly stop: readonly string[];
  readonly batch: number;
  readonly stream?: boolean;
}

/** Adds the command; `finish` takes its exit code. */
export function addGenerateCommand(program: Command, finish: (code: ExitCode) => void): void {
  const command = program
    .command('generate')
    .description('complete a prompt, or every prompt of a file')
    .argument(
      '<model>',
      'model or adapter folder, or hub id (org/name@revision); with --endpoint, only its tokenizer is used',
    )
    .option('--prompt <text>', 'what to complete')
    .option(
      '--prompts <file>',
      'JSONL with `prompt`, `question` or `messages` on each line; - for stdin; the output is JSONL',
    )
    .option('--chat', "put prompts through the model's chat template, as the user's turn")
    .option('--system <text>', 'a system message before them; implies --chat')
    .option('--samples <n>', 'completions of each prompt', positive, 1)
    .option(
      '--stop <text>',
      'text that ends a completion; may be repeated',
      (text, all: string[]) => [...all, text],
      [],
    )
    .option('--batch <n>', 'completions at once', positive, 16)
    .option('--stream', 'show the completion of one prompt as it is generated');
  servedBy(sampledBy(command))
    .addHelpText(
      'after',
      '\nExample:\n  reckon generate Qwen/Qwen2.5-0.5B-Instruct --chat --prompt "What is 17 * 23?" --stream\n  reckon generate Qwen/Qwen2.5-7B-Instruct --endpoint http://localhost:8000 --prompts prompts.jsonl --batch 256',
    )
    .action(async (model: string, _options, command: Command) => {
      await generateTexts(model, command.optsWithGlobals<GenerateOptions>());
      finish(0);
    });
}

/** One row of the input, as it is repeated in the output, and what the model is to go on with. */
interface Prompt {
  readonly row: Readonly<Record<string, unknown>>;
  readonly input: string | readonly ChatMessage[];
}

async function generateTexts(name: string, options: GenerateOptions): Promise<void> {
  const prompts = readPrompts(options);
  if (options.stream === true && (prompts.length > 1 || options.samples > 1 || options.json === true)) {
    const message = '--stream shows one completion of one prompt; leave it out for more, and under --json';
    throw new ReckonError('usage', 'bad-stream', message);
  }
  const text = await openTextModel(name, options, endpointOf(options, options.batch, name));
  using _model = text;
  const requests = prompts.map(({ input }, i) => ({
    problemId: `${i}`,
    promptIds: encoded(text, input, name, options),
    samples: options.samples,
  }));
  const rows: object[] = [];
  const chunk = Math.max(1, Math.ceil(options.batch / options.samples));
  for (let start = 0; start < prompts.length; start += chunk) {
    const groups = await complete(text, requests.slice(start, start + chunk), options);
    groups.forEach((group, i) => {
      for (const completion of group) {
        const { row } = prompts[start + i]!;
        const result = { ...row, ...resultOf(completion) };
        rows.push(result);
        if (options.json !== true) show(result, options);
      }
    });
  }
  printResult(options, { model: name, completions: rows }, '');
}

/** What is said of a completion, beside its prompt's own row. */
interface Result {
  readonly completion: string;
  readonly sample: number;
  readonly tokens: number;
  readonly prompt_tokens: number;
  readonly stop_reason: string;
}

function resultOf({ text, sampleIndex, completionIds, promptIds, stopReason }: Completion): Result {
  return {
    completion: text,
    sample: sampleIndex,
    tokens: completionIds.length,
    prompt_tokens: promptIds.length,
    stop_reason: stopReason,
  };
}

/** JSONL for a file of prompts, the text alone for one; a stream has been shown already. */
function show(result: Result, { prompts, stream }: GenerateOptions): void {
  if (prompts !== undefined) process.stdout.write(`${JSON.stringify(result)}\n`);
  else process.stdout.write(stream === true ? '\n' : `${result.completion}\n`);
}

async function complete(
  { engine, tokenizer, generation }: TextModel,
  requests: readonly GenerationRequest[],
  options: GenerateOptions,
): Promise<Completion[][]> {
  const decoder = new StreamDecoder(tokenizer);
  const groups = await engine.generate(requests, {
    ...generation,
    maxRows: options.batch,
    stopStrings: options.stop,
    ...(options.stream === true
      ? { onToken: (_problem: string, _sample: number, id: number) => process.stdout.write(decoder.push(id)) }
      : {}),
  });
  if (options.stream === true) process.stdout.write(decoder.end());
  return groups;
}

function encoded(text: TextModel, input: Prompt['input'], name: string, options: GenerateOptions): number[] {
  const { system, chat = system !== undefined } = options;
  if (typeof input === 'string' && !chat) return encodePrompt(text.tokenizer, input.normalize('NFC'));
  const turns = typeof input === 'string' ? [{ role: 'user', content: input }] : input;
  const opening = system === undefined ? [] : [{ role: 'system', content: system }];
  return requireTemplate(text, name).encode([...opening, ...turns], { addGenerationPrompt: true });
}

const turnsSchema = z.array(z.looseObject({ role: z.string(), content: z.unknown() })).min(1);
const rowSchema = z.looseObject({
  prompt: z.union([z.string(), turnsSchema]).optional(),
  question: z.string().optional(),
  messages: turnsSchema.optional(),
});

function readPrompts({ prompt, prompts }: GenerateOptions): Prompt[] {
  if ((prompt === undefined) === (prompts === undefined)) {
    const found = prompt === undefined ? 'neither' : 'both';
    throw new ReckonError(
      'usage',
      'no-prompt',
      `give one of --prompt and --prompts, found ${found}; see --help`,
    );
  }
  if (prompts === undefined) return [{ row: { prompt }, input: prompt! }];
  const lines = textOf(prompts).split('\n');
  return lines.flatMap((line, i) => (line.trim() === '' ? [] : [promptOf(line, `${prompts}:${i + 1}`)]));
}

function textOf(file: string): string {
  try {
    return readFileSync(file === '-' ? 0 : file, 'utf8');
  } catch (error) {
    throw new ReckonError('usage', 'no-prompts', `the prompts cannot be read: ${messageOf(error)}`);
  }
}

function promptOf(line: string, place: string): Prompt {
  const expected = 'a JSON object with `prompt`, `question` or `messages`';
  let value: unknown;
  try {
    // Trimmed, it has no byte-order mark.
    value = JSON.parse(line.trim());
  } catch (error) {
    throw new ReckonError('data', 'bad-prompts', `${place}: expected ${expected}, found ${messageOf(error)}`);
  }
  const parsed = rowSchema.safeParse(value);
  const input = parsed.success
    ? (parsed.data.messages ?? parsed.data.prompt ?? parsed.data.question)
    : undefined;
  if (input !== undefined) return { row: parsed.data!, input: input as Prompt['input'] };
  const why = parsed.success ? 'none of them' : parsed.error.issues[0]!.message;
  throw new ReckonError('data', 'bad-prompts', `${place}: expected ${expected}, found ${why}`);
}
