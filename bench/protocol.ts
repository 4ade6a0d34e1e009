/** Owns what a side of a comparison is asked and answers, as lines of JSON. Knows neither side. */

import type { ModelConfig } from '../src/models/config.ts';
import type { Variant } from './rows.ts';
import type { Work } from './works.ts';

/** The first line to a side; it answers with a line when it is ready. Every empty line after that asks for one step. */
export interface Question {
  readonly work: Work | { readonly kind: 'weights' };
  /** A model folder that reckon wrote, or where it is to write one. */
  readonly folder: string;
  readonly config: ModelConfig;
  readonly dtype: 'bf16' | 'f32';
  /** Of the file's weights. */
  readonly stored: 'bf16' | 'f32';
  readonly variant: Variant | null;
  readonly prompts: readonly (readonly number[])[];
  readonly threads: number;
}

/** What one step took. */
export interface Answer {
  readonly seconds: number;
  /** Named parts of it in seconds, or rates. */
  readonly parts?: Readonly<Record<string, number>>;
  /** The most memory that the process has held so far, mapped files included. */
  readonly peakBytes: number;
}

/** A step without its memory, which the process adds. */
export type Step = () => Promise<Omit<Answer, 'peakBytes'>>;
