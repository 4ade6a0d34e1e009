import { mkdtempSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { typeCheck } from '../../src/cli/type-check.ts';
import {
  derivePlan,
  type Estimate,
  estimate,
  formatEstimate,
  loadRecipe,
  type Machine,
  parseRecipe,
} from '../../src/recipe/index.ts';
import { sizeOf } from '../../src/recipe/model-size.ts';
import { hubModels, requireDisk } from '../../src/run/index.ts';

const MACHINE: Machine = { threads: 2, bf16: true, memoryBytes: 16e9 };

const recipe = (model: string, more = ''): string => `version: 1
name: e
task: {name: game24}
model: {${model}}
${more}
stages:
  - type: prepare
  - {type: sft, steps: 100, optimizerBatch: 32}
`;

function of(text: string, machine = MACHINE): Estimate {
  const parsed = parseRecipe(text, 'r.yaml');
  const found = estimate(parsed, derivePlan(parsed), machine);
  if (found === null) throw new Error('no estimate');
  return found;
}

describe('the estimate', () => {
  it('of the quickstart is near what was measured: 11 min 10 s, 1.4 GiB', () => {
    const quickstart = loadRecipe('recipes/quickstart/recipe.yaml');
    const found = estimate(quickstart, derivePlan(quickstart), MACHINE)!;
    expect(found.parameters).toBeGreaterThan(1.55e6);
    expect(found.parameters).toBeLessThan(1.65e6);
    expect(found.seconds! / 670).toBeGreaterThan(0.5);
    expect(found.seconds! / 670).toBeLessThan(2);
    expect(found.memoryBytes / 2 ** 30).toBeGreaterThan(0.7);
    expect(found.memoryBytes / 2 ** 30).toBeLessThan(2.8);
  });

  it('of preferences from a file counts both sequences of a pair', () => {
    const one = 'type: dpo, pairsFile: p.jsonl, optimizerBatch: 8, steps';
    const steps = (count: number) =>
      of(recipe('init: {}').replace('type: sft, steps: 100, optimizerBatch: 32', `${one}: ${count}`))
        .stages[1]!;
    expect(steps(10)).toMatchObject({ steps: 10, sampled: 0 });
    expect(steps(10).trained).toBeGreaterThan(160 * 10);
    expect(steps(1000).seconds! / steps(10).seconds!).toBeGreaterThan(10);
  });

  it('of disk grows with the checkpoints that are kept, of time with what is trained, and shrinks with threads', () => {
    const disk = (more: string) => of(recipe('init: {}', `checkpoints: {every: 10, ${more}}`)).diskBytes;
    expect(disk('keepLast: 9')).toBeGreaterThan(2 * disk('keepLast: 2'));
    // No more than are made.
    expect(disk('keepLast: 90')).toBe(disk('keepLast: 10'));
    const init = 'init: {hiddenSize: 1024, heads: 16, keyValueHeads: 4, layers: 12, intermediateSize: 4096}';
    const seconds = (steps: number, machine = MACHINE) =>
      of(recipe(init).replace('steps: 100', `steps: ${steps}`), machine).seconds!;
    expect(seconds(300) - seconds(200)).toBeCloseTo(seconds(200) - seconds(100), 6);
    expect(seconds(200) / seconds(100)).toBeGreaterThan(1.9);
    expect(seconds(100, { ...MACHINE, threads: 4 }) / seconds(100)).toBeLessThan(0.55);
    expect(seconds(100, { ...MACHINE, bf16: false })).toBeGreaterThan(2 * seconds(100));
  });

  it('of an adapter takes far less disk and memory than all weights', () => {
    const whole = recipe('path: Qwen/Qwen2.5-7B-Instruct');
    const adapter = whole.replace('optimizerBatch: 32', 'adapter: {rank: 16}');
    expect(of(whole).memoryBytes).toBeGreaterThan(7e9 * 16);
    expect(of(adapter).memoryBytes).toBeLessThan(7e9 * 8);
    expect(of(adapter).stages[1]!.diskBytes).toBeLessThan(of(whole).stages[1]!.diskBytes / 50);
  });

  it('counts parameters from config.json, or takes them from the name', () => {
    const folder = mkdtempSync(join(tmpdir(), 'reckon-size-'));
    const config = {
      hidden_size: 896,
      num_hidden_layers: 24,
      num_attention_heads: 14,
      num_key_value_heads: 2,
      intermediate_size: 4864,
      vocab_size: 151936,
      tie_word_embeddings: true,
    };
    writeFileSync(join(folder, 'config.json'), JSON.stringify(config));
    expect(sizeOf(folder)!.parameters / 494.03e6).toBeCloseTo(1, 3);
    expect(sizeOf('Qwen/Qwen2.5-Math-1.5B')?.parameters).toBe(1.5e9);
    expect(sizeOf('org/model')).toBeNull();
    const unknown = parseRecipe(recipe('path: org/model'), 'r.yaml');
    expect(estimate(unknown, derivePlan(unknown), MACHINE)).toBeNull();
    expect(formatEstimate(null, MACHINE, 1e9)).toContain('not known here');
  });

  it('goes with the models that the hub has to give first, stages and folders apart', async () => {
    const more =
      'stages:\n  - { type: distill, teacher: none-here/teacher, steps: 1 }\n  - { type: distill, teacher: sft, steps: 1 }';
    const text = `version: 1\nname: e\ntask: {name: game24}\nmodel: {path: none-here/student}\n${more}\n`;
    const named = parseRecipe(
      text.replace('stages:', 'stages:\n  - type: prepare\n  - { type: sft, steps: 1 }'),
      'r.yaml',
    );
    expect(await hubModels(named)).toEqual([
      { id: 'none-here/student', here: false },
      { id: 'none-here/teacher', here: false },
    ]);
  });

  it('makes no guess of a time on a GPU', () => {
    expect(of(recipe('init: {}', 'compute: {device: cuda}')).seconds).toBeNull();
  });
});

describe('requireDisk', () => {
  it('refuses what does not fit, with what to do', () => {
    requireDisk(tmpdir(), 1);
    expect(() => requireDisk(tmpdir(), 1e18)).toThrow(/needs about .* of disk .* free; free some space/);
    expect(() => requireDisk(join(tmpdir(), 'not', 'there'), 1e18)).toThrow(/are free/);
  });
});

describe('the types of a TypeScript recipe', () => {
  const check = (text: string): Promise<boolean> => {
    const folder = mkdtempSync(join(tmpdir(), 'reckon-typed-'));
    writeFileSync(join(folder, 'recipe.ts'), text);
    return typeCheck(join(folder, 'recipe.ts'));
  };

  it('are checked with file and line, one sentence', async () => {
    expect(await check('export const steps: number = 1;\n')).toBe(true);
    await expect(check("\nexport const steps: number = 'x';\n")).rejects.toThrow(
      /recipe\.ts:2: Type 'string' is not assignable to type 'number'\.$/,
    );
    await expect(check('export const a: number = "x", b: string = 1;\n')).rejects.toThrow(/\(and 1 more\)$/);
  });
});
