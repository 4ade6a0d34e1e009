/** Owns the loading of a frozen teacher beside a student, and the check that both read the same tokens. */

import { readdirSync } from 'node:fs';
import { join } from 'node:path';
import { type Decoder, loadFrozen } from '../models/index.ts';
import { loadTokenizer, type Tokenizer } from '../text/index.ts';
import { ReckonError } from '../util/errors.ts';
import { sha256, sha256OfFile } from '../util/files.ts';
import type { TrainContext } from './session.ts';

/** A frozen model in the run's compute dtype; throws `other-tokenizer` where an id means something else to it. */
export function loadTeacher(context: TrainContext, folder: string, student: Tokenizer): Decoder {
  requireSameTokens(folder, loadTokenizer(folder), student);
  return loadFrozen(folder, context.compute);
}

/** A teacher by its weights and the vocabulary it is read up to, not by where it lies. */
export function teacherFingerprint(folder: string, vocabulary: number): string {
  const weights = readdirSync(folder)
    .filter((name) => name.endsWith('.safetensors') || name === 'config.json')
    .sort();
  return sha256(JSON.stringify([vocabulary, weights.map((name) => sha256OfFile(join(folder, name)))]));
}

/** The rows of the vocabulary that both models share: all where they have equally many, else the tokenizer's. */
export function sharedVocabulary(student: Decoder, teacher: Decoder, tokenizer: Tokenizer): number {
  const [ours, theirs] = [student.headWeight.size(0), teacher.headWeight.size(0)];
  return ours === theirs ? ours : Math.min(ours, theirs, tokenizer.size);
}

/** Throws `other-tokenizer` where an id is another token to the model in `folder`. */
export function requireSameTokens(folder: string, teacher: Tokenizer, student: Tokenizer): void {
  const [theirs, ours] = [tokensById(teacher), tokensById(student)];
  const length = Math.max(theirs.length, ours.length);
  for (let id = 0; id < length; id++) {
    if (theirs[id] === ours[id]) continue;
    const found = `id ${id} is ${JSON.stringify(theirs[id])} to the teacher and ${JSON.stringify(ours[id])} to the student`;
    throw new ReckonError(
      'recipe',
      'other-tokenizer',
      `${folder}: ${found}; a teacher needs the student's tokenizer`,
    );
  }
}

/** A vocabulary as tokenizer.json has it: ids by token, or in Unigram pairs of token and score in the order of ids. */
type Vocabulary = Readonly<Record<string, number>> | readonly (readonly [token: string, score: number])[];

function tokensById({ files }: Tokenizer): (string | undefined)[] {
  const { model, added_tokens: added } = files.tokenizer as {
    model?: { vocab?: Vocabulary };
    added_tokens?: readonly { readonly id: number; readonly content: string }[];
  };
  const vocabulary = model?.vocab ?? {};
  const isList = Array.isArray(vocabulary);
  const tokens: (string | undefined)[] = isList ? vocabulary.map(([token]) => token) : [];
  if (!isList) for (const [token, id] of Object.entries(vocabulary)) tokens[id] = token;
  for (const { id, content } of added ?? []) tokens[id] = content;
  return tokens;
}
