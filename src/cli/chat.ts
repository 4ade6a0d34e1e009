/** Owns `reckon chat`: a conversation with a model in the terminal, or of lines from a pipe. Knows no tokens. */

import { createInterface } from 'node:readline';
import type { Command } from 'commander';
import { type ChatMessage, StreamDecoder } from '../text/index.ts';
import { messageOf } from '../util/errors.ts';
import type { ExitCode } from './output.ts';
import {
  openTextModel,
  requireTemplate,
  type SamplingOptions,
  sampledBy,
  type TextModel,
} from './text-model.ts';

interface ChatOptions extends SamplingOptions {
  readonly system?: string;
}

const help = '/reset forgets the conversation, /exit (or Ctrl-D) ends it, Ctrl-C cuts a reply off';

/** Adds the command; `finish` takes its exit code. */
export function addChatCommand(program: Command, finish: (code: ExitCode) => void): void {
  const command = program
    .command('chat')
    .description('chat with a model in the terminal; replies are streamed')
    .argument('<model>', 'model or adapter folder, or hub id (org/name@revision)')
    .option('--system <text>', 'what the model is told first');
  sampledBy(command)
    .addHelpText(
      'after',
      `\nIn the conversation ${help}.\n\nExample:\n  reckon chat Qwen/Qwen2.5-0.5B-Instruct --temperature 0.7`,
    )
    .action(async (model: string, _options, command: Command) => {
      await chat(model, command.optsWithGlobals<ChatOptions>());
      finish(0);
    });
}

async function chat(name: string, options: ChatOptions): Promise<void> {
  const text = await openTextModel(name, options);
  using _model = text;
  requireTemplate(text, name);
  const opening = options.system === undefined ? [] : [{ role: 'system', content: options.system }];
  const talk = new Conversation(text, opening, options);
  const terminal = process.stdin.isTTY === true && options.json !== true;
  const input = createInterface({ input: process.stdin, output: process.stderr, terminal, prompt: '> ' });
  input.on('SIGINT', () => (talk.isSpeaking ? talk.cutOff() : input.close()));
  if (terminal && options.quiet !== true) process.stderr.write(`${help}\n`);
  if (terminal) input.prompt();
  for await (const line of input) {
    if (line.trim() === '/exit') break;
    if (line.trim() === '/help') process.stderr.write(`${help}\n`);
    else if (line.trim() === '/reset') talk.forget();
    else if (line.trim() !== '') await talk.reply(line);
    if (terminal) input.prompt();
  }
  input.close();
}

/** What was said so far, and the model that goes on with it. */
class Conversation {
  /** Whether a reply is being made. */
  isSpeaking = false;
  private readonly text: TextModel;
  private readonly opening: readonly ChatMessage[];
  private readonly options: ChatOptions;
  private messages: ChatMessage[];
  private cut = false;

  constructor(text: TextModel, opening: readonly ChatMessage[], options: ChatOptions) {
    this.text = text;
    this.opening = opening;
    this.options = options;
    this.messages = [...opening];
  }

  /** Ends the reply that is being made; what there is of it stays in the conversation. */
  cutOff(): void {
    this.cut = true;
  }

  forget(): void {
    this.messages = [...this.opening];
  }

  /** Shows the reply to a turn as it comes. What cannot be answered is said and forgotten. */
  async reply(content: string): Promise<void> {
    const turns = [...this.messages, { role: 'user', content }];
    this.isSpeaking = true;
    this.cut = false;
    try {
      const reply = await this.sample(turns);
      this.messages = [...turns, { role: 'assistant', content: reply }];
    } catch (error) {
      process.stderr.write(`error: ${messageOf(error)} (/reset begins a new conversation)\n`);
    } finally {
      this.isSpeaking = false;
    }
  }

  private async sample(turns: readonly ChatMessage[]): Promise<string> {
    const { engine, tokenizer, template, generation } = this.text;
    const decoder = new StreamDecoder(tokenizer);
    const isJson = this.options.json === true;
    const show = (piece: string) => (isJson ? undefined : process.stdout.write(piece));
    const promptIds = template!.encode(turns, { addGenerationPrompt: true });
    // The turn's number is part of the seed: the same question asked twice may be answered otherwise.
    const request = { problemId: `${turns.length}`, promptIds, samples: 1 };
    const [group] = await engine.generate([request], {
      ...generation,
      onToken: (_problem, _sample, id) => show(decoder.push(id)),
      stopRequested: () => this.cut,
    });
    const { text: reply, completionIds, stopReason } = group![0]!;
    show(`${decoder.end()}\n`);
    const result = {
      role: 'assistant',
      content: reply,
      tokens: completionIds.length,
      stop_reason: stopReason,
    };
    if (isJson) process.stdout.write(`${JSON.stringify(result)}\n`);
    return reply;
  }
}
