import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { matchesStart, matchesWhole } from '../../src/models/adapter-pattern.ts';
import { processorMs } from './timing.ts';

const path = 'model.layers.10.self_attn.q_proj';

describe('patterns of adapter files', () => {
  it.each([
    ['.*\\.(q_proj|v_proj)$', true],
    ['.*\\.(k_proj|v_proj)', false],
    ['q_proj', false],
    ['(?:.*?(?:language|model).*?(?:self_attn|mlp).*?(?:\\bq_proj\\b|\\bo_proj\\b)).*?', true],
    ['^model\\.layers\\.(?!1\\d)\\d+\\..*', false],
    ['^(model(?=\\.).*\\.(q_proj|k_proj))$', true],
    ['.*(?<!k)(?<=\\.|_)proj', true],
    ['model\\.layers\\.(?P<n>[0-9]{1,2})\\.[^.]+\\.[a-z_]+', true],
    ['model\\.layers\\.\\d{3,}\\..*', false],
    ['model.layers.1{1}0.self_attn.[q-v]_proj', true],
    ['\\Amodel\\.\\w+\\.\\d+\\.\\S*\\Z', true],
  ])('%s', (pattern, matches) => {
    expect(matchesWhole(pattern, path)).toBe(matches);
  });

  it('tells a beginning from the whole', () => {
    expect(matchesStart('model\\.layers', path)).toBe(true);
    expect(matchesStart('layers', path)).toBe(false);
    expect(matchesWhole('model\\.layers', path)).toBe(false);
  });

  it('agrees with the language on random patterns', () => {
    const atom = fc.constantFrom(
      'a',
      'b',
      '.',
      '[ab]',
      '[^a]',
      '\\w',
      '\\.',
      '(a|b)',
      '(?:ab)',
      '(?!a)',
      '(?=b)',
    );
    const repeated = fc
      .tuple(atom, fc.constantFrom('', '', '*', '+', '?', '*?', '{2}', '{1,2}', '{0,}'))
      .map(([one, times]) => (one.startsWith('(?!') || one.startsWith('(?=') ? one : one + times));
    const sequence = fc.array(repeated, { maxLength: 5 }).map((parts) => parts.join(''));
    const choice = fc.array(sequence, { minLength: 1, maxLength: 3 }).map((parts) => parts.join('|'));
    const nested = fc
      .tuple(choice, fc.constantFrom('', '*', '+', '?'), sequence)
      .map(([inner, times, rest]) => `(${inner})${times}${rest}`);
    fc.assert(
      fc.property(nested, fc.stringMatching(/^[ab.]{0,6}$/), (pattern, text) => {
        expect(matchesWhole(pattern, text)).toBe(new RegExp(`^(?:${pattern})$`).test(text));
        expect(matchesStart(pattern, text)).toBe(new RegExp(`^(?:${pattern})`).test(text));
      }),
      { numRuns: 2000 },
    );
  });

  it('answers at once where a backtracking engine would not', async () => {
    const took = await processorMs(() => {
      expect(matchesWhole('((((a+)+)+)+)+b', 'a'.repeat(100))).toBe(false);
      expect(matchesWhole('(((a?){900}){900}){900}', 'a'.repeat(100))).toBe(true);
    });
    expect(took).toBeLessThan(1000);
  });

  it.each(['(a', 'a)', '[a', 'a**', '*a', '(?i)a', '(a)\\1', 'a\\', 'a++', 'a{2,1}', '('.repeat(5000)])(
    'refuses %s',
    (pattern) => {
      expect(() => matchesWhole(pattern, path)).toThrow(expect.objectContaining({ code: 'bad-pattern' }));
    },
  );
});
