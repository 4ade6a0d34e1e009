import { appendFileSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { isMetricName, METRICS, metricInfo } from '../../src/track/metric-names.ts';
import { MetricsWriter, metricSeries, readMetrics } from '../../src/track/metrics.ts';
import { Progress, type ProgressOptions } from '../../src/track/progress.ts';

let folder = '';
let path = '';

beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'reckon-track-'));
  path = join(folder, 'metrics.jsonl');
});
afterEach(() => rmSync(folder, { recursive: true, force: true }));

describe('metric names', () => {
  it('knows the table and the parts of a reward, nothing else', () => {
    expect(Object.keys(METRICS).every(isMetricName)).toBe(true);
    expect(['reward/correct', 'reward/', 'rewards/x', 'toString'].map(isMetricName)).toEqual([
      true,
      false,
      false,
      false,
    ]);
    expect(metricInfo('policy/kl').unit).toBe('nats');
    expect(metricInfo('reward/brevity').description).toContain('"brevity"');
  });
});

describe('metrics.jsonl', () => {
  function write(from: number, to: number, resumeFromStep?: number): void {
    using writer = MetricsWriter.open(path, resumeFromStep === undefined ? {} : { resumeFromStep });
    for (let step = from; step <= to; step++) writer.write(step, { loss: 1 / step, 'policy/kl': null });
  }

  it('is the same after a stop and a resume as without', () => {
    write(1, 10);
    const uninterrupted = readFileSync(path);
    write(1, 7);
    appendFileSync(path, '{"step":8,"loss":0.1');
    write(6, 10, 5);
    expect(readFileSync(path)).toEqual(uninterrupted);
  });

  it('starts empty without a step to resume from', () => {
    write(1, 3);
    write(1, 1);
    expect(readMetrics(path)).toEqual([{ step: 1, loss: 1, 'policy/kl': null }]);
  });

  it('keeps NaN and infinities apart from null', () => {
    using writer = MetricsWriter.open(path);
    writer.write(0, {
      loss: Number.NaN,
      grad_norm: Number.POSITIVE_INFINITY,
      'reward/x': -1,
      'policy/kl': null,
    });
    const [row] = readMetrics(path);
    expect(row).toEqual({
      step: 0,
      loss: Number.NaN,
      grad_norm: Number.POSITIVE_INFINITY,
      'reward/x': -1,
      'policy/kl': null,
    });
    expect(metricSeries(row === undefined ? [] : [row], 'policy/kl')).toEqual([]);
  });

  it('refuses a step twice, and names file, line and key of a foreign line', () => {
    using writer = MetricsWriter.open(path);
    writer.write(4, {});
    expect(() => writer.write(4, {})).toThrow(/after 4, found 4/);
    expect(() => writer.write(4.5, {})).toThrow(/found 4.5/);
    for (const bad of ['{"step":5,"lss":1}', '{"step":5,"loss":"high"}', '{"loss":1}', '[5]']) {
      writeFileSync(path, `{"step":1}\n${bad}\n`);
      expect(() => readMetrics(path)).toThrow(`${path}:2:`);
    }
  });

  it('reads the committed sample of version 1', () => {
    const rows = readMetrics(fileURLToPath(new URL('samples/metrics-v1.jsonl', import.meta.url)));
    expect(metricSeries(rows, 'loss')).toEqual([
      { step: 1, value: 2.5 },
      { step: 2, value: Number.NaN },
    ]);
    expect(rows[0]?.grad_norm).toBe(Number.POSITIVE_INFINITY);
    expect(rows[1]?.['reward/correct']).toBe(0.25);
  });
});

describe('progress', () => {
  const record = {
    loss: 0.5,
    'reward/mean': 0.75,
    'accuracy/mean': 0.25,
    'perf/tokens_per_s': 12_300,
    'memory/rss_bytes': 2 ** 30,
  };

  function start(options: Partial<ProgressOptions> & { isTTY?: boolean; columns?: number }) {
    const written: string[] = [];
    let time = 100;
    const { isTTY = false, columns = 200, ...rest } = options;
    const stream = { isTTY, columns, write: (text: string) => written.push(text) };
    const progress = new Progress({ stage: 'grpo', steps: 100, stream, now: () => time, ...rest });
    const run = (from: number, to: number, seconds: number): void => {
      for (let step = from; step <= to; step++) {
        time += seconds;
        progress.update(step, record);
      }
    };
    return { progress, written, run };
  }

  it('rewrites one line on a terminal and shows all that it knows', () => {
    const { progress, written, run } = start({ isTTY: true });
    run(1, 2, 2);
    const line =
      'grpo 2/100 (2 %)  loss 0.5  reward 0.75  accuracy 25.0 %  ETA 3 min 16 s  speed 12.3 k tok/s  memory 1.0 GiB';
    expect(written[1]).toBe(`\r\u001b[2K${line}`);
    progress.note('saved');
    expect(written[2]).toBe(`\r\u001b[2Ksaved\n${line}`);
    progress.finish();
    progress.finish();
    expect(written.slice(3)).toEqual(['\n']);
  });

  it('never wraps on a narrow terminal and does not redraw a hundred times a second', () => {
    const { written, run } = start({ isTTY: true, columns: 30 });
    run(1, 50, 0.01);
    expect(written.length).toBeGreaterThan(3);
    expect(written.length).toBeLessThan(8);
    expect(written.every((text) => text.length <= 29 + '\r\u001b[2K'.length)).toBe(true);
  });

  it('writes plain lines at the tenths when fast, every 5 s when slow, and the last step', () => {
    const fast = start({});
    fast.run(1, 100, 0.01);
    expect(fast.written.map((line) => line.split(' ')[1])).toEqual(
      [1, 10, 20, 30, 40, 50, 60, 70, 80, 90, 100].map((step) => `${step}/100`),
    );
    expect(fast.written.every((line) => line.endsWith('\n') && !line.includes('\u001b'))).toBe(true);
    expect(fast.written.at(-1)).not.toContain('ETA');
    const slow = start({ steps: 1000 });
    slow.run(1, 12, 2.5);
    expect(slow.written).toHaveLength(6);
  });

  it('is not misled by steps that are done many at once, nor by a first one that came late', () => {
    const { written, run } = start({ startedAt: 90 });
    run(1, 40, 0);
    run(41, 41, 10);
    run(42, 80, 0);
    const etas = written.map((line) => /ETA (.+?) {2}/.exec(line)?.[1]);
    expect(etas.slice(0, 5)).toEqual(['16 min 30 s', '1 min 30 s', '40.0 s', '23.3 s', '15.0 s']);
    expect(etas.at(-1)).toBe('5.0 s');
  });

  it('takes the pace from this process only, and writes nothing when quiet', () => {
    const resumed = start({ startStep: 90 });
    resumed.run(91, 92, 3);
    expect(resumed.written[0]).toContain('ETA 27.0 s');
    const quiet = start({ isTTY: true, quiet: true });
    quiet.run(1, 100, 1);
    quiet.progress.note('saved');
    quiet.progress.finish();
    expect(quiet.written).toEqual([]);
  });
});
