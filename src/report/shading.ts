/** Owns a completion whose tokens are shaded by their rewards, as HTML. Knows no tokenizer. */

import { formatNumber } from '../util/format.ts';
import { escapeHtml } from './escape.ts';
import type { TokenRewardKind } from './rollouts.ts';

/** One token's text and reward. */
export interface RewardedToken {
  readonly text: string;
  readonly reward: number;
}

/** The style of shaded tokens: blue above 0, orange below, which stay apart for colour-blind readers, also on paper. */
export const SHADING_STYLE: string = `
.up{background:rgb(0 114 178/var(--a));border-radius:2px}.down{background:rgb(213 94 0/var(--a));border-radius:2px}
.up,.down{-webkit-print-color-adjust:exact;print-color-adjust:exact}
`;

/** What the shades say, by what the numbers are. */
const MEANING: Readonly<Record<TokenRewardKind, (most: string) => string>> = {
  reward: (most) => `Blue: reward above 0, orange: below; the strongest shade is ${most}.`,
  advantage: (most) => `Blue: advantage above 0, orange: below; the strongest shade is ${most}.`,
  'log-ratio': (most) =>
    `Blue: the teacher finds the token likelier than the model, orange: less likely; the strongest shade is ${most} nats.`,
  divergence: (most) =>
    `Orange: before this token the model expects something else than the teacher; the strongest shade is ${most} nats.`,
};

/** The tokens with backgrounds as strong as their rewards are large; each says its reward when pointed at. */
export function shadedTokens(tokens: readonly RewardedToken[], kind: TokenRewardKind = 'reward'): string {
  const most = Math.max(...tokens.map(({ reward }) => Math.abs(reward)), Number.MIN_VALUE);
  const spans = tokens.map(({ text, reward }) => {
    const strength = Math.round((70 * Math.abs(reward)) / most) / 100;
    const colour = reward < 0 || (kind === 'divergence' && reward > 0) ? 'down' : 'up';
    return `<span class="${colour}" style="--a:${strength}" title="${escapeHtml(formatNumber(reward, 3))}">${escapeHtml(text)}</span>`;
  });
  const meaning = MEANING[kind](formatNumber(most, 3));
  return `<pre>${spans.join('')}</pre><p class="soft">${escapeHtml(meaning)}</p>`;
}

/** The texts of ids one by one, from what decodes a run of them: each is what its id adds to those before. */
export function tokenTexts(ids: readonly number[], decode: (ids: readonly number[]) => string): string[] {
  let before = '';
  return ids.map((_, i) => {
    const after = decode(ids.slice(0, i + 1));
    const added = after.startsWith(before) ? after.slice(before.length) : '';
    before = after;
    return added;
  });
}
