import { chmodSync, existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { beforeEach, describe, expect, it } from 'vitest';
import { parseRecipe } from '../../src/recipe/index.ts';
import { costCaption, costTable, markdownReport, readRun } from '../../src/report/index.ts';
import { metersFor, RunEnergy } from '../../src/run/energy.ts';
import { executeRun } from '../../src/run/execute.ts';
import { gpuMeter } from '../../src/run/gpu-power.ts';
import { type EnergyMeter, packageMeter } from '../../src/run/powercap.ts';
import { formatEnergy } from '../../src/util/format.ts';
import { FIXTURE_RECIPE, fixtureFunctions } from './run-fixture.ts';

let folder: string;
let powercap: string;

beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'reckon-energy-'));
  powercap = join(folder, 'powercap');
  zone('intel-rapl', 'nothing', 0);
  zone('intel-rapl:0', 'package-0', 900);
  zone('intel-rapl:0:0', 'core', 5);
  zone('intel-rapl:1', 'package-1', 100);
  zone('intel-rapl:2', 'psys', 7);
});

/** A zone as Linux shows it, its counter going round at 1000 joules. */
function zone(name: string, kind: string, joules: number): void {
  mkdirSync(join(powercap, name), { recursive: true });
  writeFileSync(join(powercap, name, 'name'), `${kind}\n`);
  writeFileSync(join(powercap, name, 'max_energy_range_uj'), '1000000000\n');
  count(name, joules);
}

function count(name: string, joules: number): void {
  writeFileSync(join(powercap, name, 'energy_uj'), `${joules * 1e6}\n`);
}

describe('the counters of processor packages', () => {
  it('are summed over packages, each going round at its own end', () => {
    const meter = packageMeter(powercap)!;
    expect(meter.joules()).toBe(0);
    count('intel-rapl:0', 950);
    count('intel-rapl:0:0', 500);
    count('intel-rapl:2', 500);
    expect(meter.joules()).toBe(50);
    count('intel-rapl:0', 30);
    count('intel-rapl:1', 101);
    expect(meter.joules()).toBe(50 + 80 + 1);
  });

  it('are no meter where there are none, and not known where one is gone', () => {
    expect(packageMeter(join(folder, 'nowhere'))).toBeNull();
    expect(metersFor('cpu', join(folder, 'nowhere'))).toEqual([]);
    const meter = packageMeter(powercap)!;
    rmSync(join(powercap, 'intel-rapl:1'), { recursive: true });
    expect(meter.joules()).toBeNull();
  });
});

describe('the power of a GPU', () => {
  /** A program in the place of nvidia-smi. */
  function smi(body: string): string {
    const path = join(folder, 'nvidia-smi');
    writeFileSync(path, `#!/bin/sh\necho "$@" > ${folder}/asked\n${body}\n`);
    chmodSync(path, 0o755);
    return path;
  }

  async function settled(
    meter: EnergyMeter,
    until: (joules: number | null) => boolean,
  ): Promise<number | null> {
    while (!until(meter.joules())) await sleep(10);
    meter.close();
    return meter.joules();
  }

  it('is counted over the times of its readings', async () => {
    const at = (second: string, watts: number): string => `echo "2026/01/01 10:00:${second}, ${watts}"`;
    const meter = gpuMeter(
      'cuda:1',
      smi(`${at('00.500', 100)}; ${at('01.000', 200)}; ${at('03.000', 100)}; sleep 60`),
    );
    expect(await settled(meter, (joules) => joules === 375)).toBe(0.5 * 150 + 2 * 150);
    expect(readFileSync(join(folder, 'asked'), 'utf8')).toMatch(/^-i 1 .*timestamp,power.draw/);
  });

  it.each([
    ['is missing', () => join(folder, 'none')],
    ['ends', () => smi('exit 9')],
    ['shows none', () => smi('echo "2026/01/01 10:00:00.0, [N/A]"; sleep 60')],
  ])('is not known where nvidia-smi %s', async (_what, command) => {
    expect(await settled(gpuMeter('cuda:0', command()), (joules) => joules === null)).toBeNull();
  });
});

describe('energy.json', () => {
  const kept = (): unknown => JSON.parse(readFileSync(join(folder, 'energy.json'), 'utf8'));

  it('adds up by stage and over attempts', () => {
    for (const [begun, end] of [
      [false, 960],
      [true, 980],
    ] as const) {
      const energy = new RunEnergy(folder, metersFor('cpu', powercap), begun);
      energy.enterStage('02-sft');
      count('intel-rapl:0', end);
      energy.enterStage(null);
      count('intel-rapl:1', begun ? 112 : 110);
      energy.close();
    }
    expect(kept()).toEqual({
      version: 1,
      sources: ['processor packages'],
      joules: 60 + 10 + 20 + 2,
      stages: { '02-sft': 80 },
    });
  });

  it('is not there where an attempt was not measured', () => {
    new RunEnergy(folder, metersFor('cpu', powercap), true).close();
    expect(existsSync(join(folder, 'energy.json'))).toBe(false);
    new RunEnergy(folder, metersFor('cpu', powercap), false).close();
    expect(existsSync(join(folder, 'energy.json'))).toBe(true);
    new RunEnergy(folder, [], true).close();
    expect(existsSync(join(folder, 'energy.json'))).toBe(false);
  });
});

describe('a run', () => {
  const execute = async (place: string): Promise<string> => {
    const { directory } = await executeRun(parseRecipe(FIXTURE_RECIPE, 'r.yaml'), {
      runsDirectory: join(folder, 'runs'),
      stream: { write: () => true },
      powercap: place,
      load: async () => ({
        stageFunctions: {
          ...fixtureFunctions(0),
          prepare: async ({ directory }) => {
            writeFileSync(join(directory, 'metrics.jsonl'), '{"step":1,"loss":1}\n');
            count('intel-rapl:1', 100 + 720);
            return 'done';
          },
        },
        resolveCompute: async () => ({ device: 'cpu', dtype: 'f32', threads: 1, kernels: 'none' }),
      }),
    });
    return directory;
  };

  it('says in its cost what energy it took', async () => {
    const run = readRun(await execute(powercap));
    const table = costTable(run);
    expect(table[0]).toEqual(['what', 'steps', 'tokens', 'time', 'energy']);
    expect(table[1]?.[4]).toBe('0.2 Wh');
    expect(table.at(-1)?.[4]).toBe('0.2 Wh');
    expect(costCaption(run)).toContain('processor packages, other programs on them counted too');
    expect(markdownReport(run)).toContain('0.2 Wh');
  });

  it('says nothing where nobody knows', async () => {
    const run = readRun(await execute(join(folder, 'nowhere')));
    expect(costTable(run)[0]).toEqual(['what', 'steps', 'tokens', 'time']);
    expect(markdownReport(run)).not.toMatch(/Energy:| Wh/);
  });
});

it('energy is written in watt-hours', () => {
  expect([12.34, 359, 3600, 5.4e6, null].map(formatEnergy)).toEqual([
    '12.3 J',
    '359 J',
    '1 Wh',
    '1.5 kWh',
    '–',
  ]);
});
