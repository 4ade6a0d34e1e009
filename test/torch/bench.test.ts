import { existsSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect, it } from 'vitest';
import { Comparison } from '../../bench/compare.ts';
import { rows } from '../../bench/rows.ts';
import { Python } from '../../bench/side.ts';

it('our side makes every kind of step in a process of its own, and says why there is no other side', async () => {
  const lines: string[] = [];
  let folder: string;
  {
    using comparison = new Comparison({
      repeats: 1,
      threads: 1,
      python: new Python(join(tmpdir(), 'no-such-python')),
      tiny: true,
      log: (line) => lines.push(line),
    });
    folder = comparison.folder;
    const measured = async (id: string) => await comparison.row(rows.find((row) => row.id === id)!);

    const lora = await measured('lora');
    expect(existsSync(folder)).toBe(true);
    expect(lora).toMatchObject({ unit: 'tok/s', theirs: null, verdict: 'not compared' });
    expect(lora.ours!.values).toHaveLength(1);
    expect(lora.ours!.median).toBeGreaterThan(0);
    expect(lora.why).toMatch(/no-such-python cannot be run/);
    expect(lines).toEqual([
      expect.stringMatching(/^lora: the other side is left out: .*RECKON_BENCH_PYTHON/),
    ]);

    const memory = await measured('memory');
    expect(memory.unit).toBe('MiB');
    expect(memory.ours!.median).toBeGreaterThan(50); // Node and libtorch alone take more
    expect(memory.parts['rollouts']! + memory.parts['update']!).toBeCloseTo(memory.parts['seconds']!, 6);

    const decode = await measured('decode-limit');
    expect(decode.why).toBeNull();
    expect(decode.ratio!.median).toBeGreaterThan(0);
    expect(decode.parts['decodeStep']).toBeGreaterThan(0);
  }
  expect(existsSync(folder)).toBe(false);
});
