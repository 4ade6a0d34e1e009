import assert from 'node:assert/strict';
import { test } from 'node:test';
import { brevity } from './reward.ts';

const problem = { id: '1', question: '2 8 12 12', reference: '', meta: {} };
const score = (text: string) =>
  brevity({ problem, rollout: { text } as unknown as Parameters<typeof brevity>[0]['rollout'] });

test('one line is worth 1, and more lines less', () => {
  assert.equal(score('12*2=24\n'), 1);
  assert.equal(score('12/2=6 8 12\n8-6=2 12\n12*2=24'), 1 / 3);
});
