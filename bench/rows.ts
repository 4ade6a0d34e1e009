/** Owns the list of what is compared, what each row must reach and what the other side may choose from. Measures nothing. */

import type { GenerateWork, GrpoWork, LimitsWork, Work } from './works.ts';

/** How the other side computes; of several the fastest is taken. */
export interface Variant {
  readonly name: string;
  readonly dtype: 'bf16' | 'f32';
  readonly autocast: boolean;
}

/** One row of the table. */
export interface Row {
  readonly id: string;
  readonly what: string;
  readonly work: Work;
  /** `speed` and `memory` compare with the other side, `bandwidth` with what the machine can read. */
  readonly measure: 'speed' | 'memory' | 'bandwidth';
  /** Our own dtype. */
  readonly dtype: 'bf16' | 'f32';
  readonly theirs: readonly Variant[];
  /** In the unit of the comparison: times as fast, share of their memory, share of the limit. */
  readonly atLeast: number | null;
  readonly aim: number | null;
  /** Free memory without which the row is left out. */
  readonly gibibytes: number;
  /** Minutes at five repeats on two AVX-512 cores, with the other side and without: an estimate. */
  readonly minutes: readonly [both: number, alone: number];
}

const bf16: Variant = { name: 'bf16', dtype: 'bf16', autocast: false };
const f32: Variant = { name: 'f32', dtype: 'f32', autocast: false };
const mixed: Variant = { name: 'f32 weights, bf16 autocast', dtype: 'f32', autocast: true };
const bothHalf: Variant = { name: 'bf16 base, f32 adapters', dtype: 'bf16', autocast: false };
const allHalf: Variant = { ...bf16, name: 'bf16 base, bf16 adapters' };
const castHalf: Variant = { name: 'bf16 base, f32 adapters, bf16 autocast', dtype: 'bf16', autocast: true };

const equal = (count: number, length: number) => new Array<number>(count).fill(length);
const generation = (lengths: readonly number[], group = 1): GenerateWork => ({
  kind: 'generate',
  model: 'half',
  prompt: 128,
  lengths,
  group,
  adapter: false,
});
const base = { measure: 'speed', dtype: 'bf16', atLeast: null, aim: null, gibibytes: 1 } as const;
const halfRow = { ...base, theirs: [bf16], gibibytes: 7 };
const grpo: GrpoWork = {
  kind: 'grpo',
  model: 'small',
  prompts: 8,
  group: 8,
  prompt: 16,
  newTokens: 128,
  adapter: false,
  microBatch: 64,
  checkpointing: false,
};
const bigGrpo: GrpoWork = {
  ...grpo,
  model: 'half',
  prompts: 4,
  group: 4,
  prompt: 128,
  newTokens: 256,
  adapter: true,
  microBatch: 4,
};
const memory = { ...base, measure: 'memory', theirs: [bothHalf], gibibytes: 14 } as const;

/** In the order of the table; the rows without a bound are beside it. */
export const rows: readonly Row[] = [
  {
    ...halfRow,
    id: 'half-16',
    what: '0.5 B, batch 16, prompt 128, 64 new tokens',
    work: generation(equal(16, 64)),
    atLeast: 4,
    aim: 6,
    minutes: [2, 0.6],
  },
  {
    ...halfRow,
    id: 'half-1',
    what: '0.5 B, batch 1, prompt 128, 64 new tokens',
    work: generation(equal(1, 64)),
    atLeast: 2,
    aim: 2.5,
    minutes: [1.2, 0.4],
  },
  {
    ...halfRow,
    id: 'half-64',
    what: '0.5 B, batch 64, prompt 128, 64 new tokens',
    work: generation(equal(64, 64)),
    atLeast: 5,
    aim: 8,
    minutes: [5, 1.6],
  },
  {
    ...halfRow,
    id: 'half-spread',
    what: '0.5 B, 16 sequences of 16 to 256 new tokens',
    work: generation(Array.from({ length: 16 }, (_, i) => 16 * (i + 1))),
    atLeast: 6,
    aim: 10,
    minutes: [7, 1.4],
  },
  {
    ...base,
    id: 'small-64',
    what: '5 M, 64 sequences, 128 new tokens',
    work: { ...generation(equal(64, 128)), model: 'small', prompt: 16 },
    theirs: [bf16, f32],
    atLeast: 5,
    aim: 10,
    minutes: [1.5, 0.2],
  },
  {
    ...base,
    id: 'grpo',
    what: 'GRPO step, 5 M, 8 x 8 x 128 tokens, against TRL',
    work: grpo,
    theirs: [f32, mixed, bf16],
    atLeast: 4,
    aim: 8,
    minutes: [2.5, 0.2],
  },
  {
    ...halfRow,
    id: 'lora',
    what: 'LoRA SFT step, 0.5 B, 4 x 256, r = 16, against PEFT',
    work: { kind: 'sft', model: 'half', rows: 4, length: 256 },
    theirs: [bothHalf, allHalf, castHalf],
    atLeast: 1.5,
    aim: 2.5,
    gibibytes: 11,
    minutes: [3.5, 0.8],
  },
  {
    ...memory,
    id: 'memory',
    what: 'peak memory of a 0.5 B GRPO step, 4 x 4 x 256, LoRA, against TRL',
    work: bigGrpo,
    atLeast: 0.6,
    aim: 0.4,
    minutes: [7, 2],
  },
  {
    ...halfRow,
    id: 'decode-limit',
    what: '0.5 B, batch 16: share of the memory-bandwidth limit while decoding',
    work: generation(equal(16, 64)),
    measure: 'bandwidth',
    theirs: [],
    atLeast: 0.52,
    aim: 0.78,
    minutes: [1, 1],
  },
  {
    ...halfRow,
    id: 'half-16-groups',
    what: '0.5 B, batch 16 in groups of 8, prompt 128, 64 new tokens',
    work: generation(equal(16, 64), 8),
    minutes: [2, 0.6],
  },
  {
    ...halfRow,
    id: 'half-64-groups',
    what: '0.5 B, batch 64 in groups of 8, prompt 128, 64 new tokens',
    work: generation(equal(64, 64), 8),
    minutes: [6, 1],
  },
  {
    ...halfRow,
    id: 'half-16-adapter',
    what: '0.5 B, batch 16 in groups of 8, with LoRA, r = 16, beside the weights, against PEFT',
    work: { ...generation(equal(16, 64), 8), adapter: true },
    theirs: [bothHalf, allHalf],
    minutes: [15, 2],
  },
  {
    ...base,
    id: 'grpo-f32',
    what: 'GRPO step, 5 M, 8 x 8 x 128 tokens, f32 on both sides',
    work: grpo,
    dtype: 'f32',
    theirs: [f32],
    minutes: [1.5, 0.4],
  },
  {
    ...memory,
    id: 'memory-checkpointed',
    what: 'peak memory of the same step, gradient checkpointing on both sides (TRL has it by default)',
    work: { ...bigGrpo, checkpointing: true },
    minutes: [9, 2.5],
  },
];

/** What the machine can do, measured with every run. */
export const limitsWork: LimitsWork = { kind: 'limits', size: 2048, bytes: 2 ** 29 };

/** Names that stand for several rows. */
export const groups: Readonly<Record<string, readonly string[]>> = {
  table: rows.filter((row) => row.aim !== null).map((row) => row.id),
  generation: rows
    .filter((row) => row.work.kind === 'generate' && row.measure === 'speed')
    .map((row) => row.id),
  training: rows
    .filter((row) => row.work.kind !== 'generate' && row.measure === 'speed')
    .map((row) => row.id),
};
