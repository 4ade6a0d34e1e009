import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { setTimeout as sleep } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import { describe, expect, it } from 'vitest';
import { commandStartTime } from '../../src/run/clock.ts';

const FIXTURE = fileURLToPath(new URL('signals-fixture.ts', import.meta.url));

describe('a signal that is passed on while a step keeps the process busy', () => {
  it.each([
    ['SIGINT', 130],
    ['SIGTERM', 143],
  ] as const)('is the same %s, and one after the step leaves at once', async (signal, code) => {
    const child = spawn(process.execPath, ['--import', 'tsx', FIXTURE], {
      stdio: ['ignore', 'pipe', 'inherit'],
    });
    let output = '';
    child.stdout.setEncoding('utf8').on('data', (text: string) => {
      output += text;
    });
    const seen = async (text: string): Promise<void> => {
      while (!output.includes(text)) await once(child.stdout, 'data');
    };
    await seen('ready');
    child.kill(signal);
    await seen('deaf');
    await sleep(400);
    child.kill(signal);
    await seen('hears again, stop true');
    const exit = once(child, 'exit');
    child.kill(signal);
    expect(await exit).toEqual([code, null]);
  });
});

describe('the start of the command', () => {
  it('is when set-up began, where set-up came first', () => {
    expect(commandStartTime(String(performance.timeOrigin - 5000))).toBeCloseTo(-5000, 0);
  });

  it.each([[undefined], [''], ['soon'], [String(Date.now() + 60_000)], ['0']])(
    'is that of the process for %j',
    (text) => {
      expect(commandStartTime(text)).toBe(0);
    },
  );
});
