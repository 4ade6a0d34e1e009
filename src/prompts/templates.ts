/** Owns how a question is put to a model and how a right completion looks: the named templates. Judges no answer. */

import { lastBoxed } from '../data/boxed.ts';
import { boxedSolution, thinkAnswer, type WorkedSolution } from '../data/solutions.ts';
import type { ChatMessage } from '../text/index.ts';
import { tagged } from '../text/tags.ts';
import { ReckonError } from '../util/errors.ts';

/** The named templates. */
export const TEMPLATES = [
  'r1-zero',
  'question-only',
  'boxed',
  'think-boxed',
  'chat',
  'chat-think-boxed',
  'plain',
] as const;

export type TemplateName = (typeof TEMPLATES)[number];

/** One way to pose questions. */
export interface PromptTemplate {
  readonly name: TemplateName;
  prompt(question: string): string;
  /** What a model should write behind the prompt. */
  completion(solution: WorkedSolution): string;
  /** Whether a completion keeps the form that the prompt asks for; says nothing of its answer. */
  keepsFormat(completion: string): boolean;
  /** Texts that end a completion and stay in it. */
  readonly stop: readonly string[];
}

/** Renders messages, the assistant's turn opened: what a tokenizer's chat template does. */
export type RenderChat = (messages: readonly ChatMessage[]) => string;

const BOXED_INSTRUCTION = 'Please reason step by step, and put your final answer within \\boxed{}.';

const THINK_BOXED_INSTRUCTION =
  'First think step by step between <think> and </think>, then give your final answer within \\boxed{} between <answer> and </answer>: <think>reasoning</think><answer>\\boxed{answer}</answer>';

/** The prompt of DeepSeek-R1-Zero (arXiv 2501.12948, table 1); the completion goes on behind its last tag. */
const R1_ZERO = [
  'A conversation between User and Assistant. The User asks a question, and the Assistant solves it. The Assistant first thinks about the reasoning process in the mind and then provides the User with the answer.',
  'The reasoning process is enclosed within <think> </think> and answer is enclosed within <answer> </answer> tags, respectively, i.e., <think> reasoning process here </think> <answer> answer here </answer>.',
].join(' ');

/**
 * A template by name. Those of a chat render a system message with the instruction and the question as the user's, and need
 * the renderer of a tokenizer; throws `no-chat-template` without one.
 */
export function promptTemplate(name: TemplateName, renderChat?: RenderChat): PromptTemplate {
  if (name === 'r1-zero') return r1Zero;
  if (name === 'plain') return plain;
  if (name === 'question-only') return boxed(name, (question) => question);
  if (name === 'boxed') return boxed(name, (question) => `${question}\n${BOXED_INSTRUCTION}\n`);
  if (name === 'think-boxed')
    return thinkBoxed(name, (question) => `${question}\n${THINK_BOXED_INSTRUCTION}\n`);
  if (renderChat === undefined) {
    throw new ReckonError(
      'recipe',
      'no-chat-template',
      `the prompt ${name} needs a model whose tokenizer has a chat template; set model.path to one, or choose another prompt`,
    );
  }
  const asked =
    (instruction: string) =>
    (question: string): string =>
      renderChat([
        { role: 'system', content: instruction },
        { role: 'user', content: question },
      ]);
  if (name === 'chat') return boxed(name, asked(BOXED_INSTRUCTION));
  return thinkBoxed(name, asked(THINK_BOXED_INSTRUCTION));
}

const r1Zero: PromptTemplate = {
  name: 'r1-zero',
  prompt: (question) => `${R1_ZERO}\nUser: ${question}\nAssistant: <think>`,
  completion: thinkAnswer,
  keepsFormat: (completion) => keepsThinkAnswer(`<think>${completion}`),
  stop: ['</answer>'],
};

const plain: PromptTemplate = {
  name: 'plain',
  prompt: (question) => `${question}\n`,
  completion: ({ reasoning, answer }) => (reasoning === '' ? answer : reasoning),
  keepsFormat: (completion) => completion.trim() !== '',
  stop: [],
};

function boxed(name: TemplateName, prompt: (question: string) => string): PromptTemplate {
  return {
    name,
    prompt,
    completion: boxedSolution,
    keepsFormat: (completion) => lastBoxed(completion) !== null,
    stop: [],
  };
}

/** Reasoning between think tags, then the boxed answer between answer tags, all of which the completion writes itself. */
function thinkBoxed(name: TemplateName, prompt: (question: string) => string): PromptTemplate {
  return {
    name,
    prompt,
    completion: ({ reasoning, answer }) => `<think>${reasoning}</think><answer>\\boxed{${answer}}</answer>`,
    keepsFormat: (completion) =>
      keepsThinkAnswer(completion) && lastBoxed(tagged(completion, 'answer')[0]!) !== null,
    stop: ['</answer>'],
  };
}

/** One pair of think tags, then one pair of answer tags with something in it, nothing between but white space. */
function keepsThinkAnswer(text: string): boolean {
  const [thought, answer] = [tagged(text, 'think'), tagged(text, 'answer')];
  if (thought.length !== 1 || answer.length !== 1 || answer[0]!.trim() === '') return false;
  const between = text.slice(text.indexOf('</think>') + '</think>'.length, text.indexOf('<answer>'));
  return text.indexOf('</think>') < text.indexOf('<answer>') && between.trim() === '';
}
