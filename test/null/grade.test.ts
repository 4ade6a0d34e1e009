import fc from 'fast-check';
import { afterAll, describe, expect, it } from 'vitest';
import { isBareAnswer } from '../../src/rewards/grade/answer.ts';
import { extractAnswer } from '../../src/rewards/grade/extract.ts';
import { closeGraders, grade } from '../../src/rewards/grade/grade.ts';
import type { Graded } from '../../src/rewards/grade/graded.ts';
import { gradeInline } from '../../src/rewards/grade/inline.ts';
import { judge } from '../../src/rewards/grade/judge.ts';
import { GraderPool } from '../../src/rewards/grade/pool.ts';
import { scoreBoxedTag } from '../../src/rewards/grade/profiles/simple.ts';
import { leastMs } from './timing.ts';

afterAll(closeGraders);

const verdict = (prediction: string, reference: string) =>
  judge({ prediction, references: [reference], options: { extract: 'none' } });
const correct = (prediction: string, reference: string) =>
  verdict(prediction, reference).verdict === 'correct';

describe('numbers', () => {
  it.each([
    ['1,234', '1234'],
    ['1{,}234', '1234'],
    ['\\$15,\\!000', '15000'],
    ['0.50', '\\frac{1}{2}'],
    ['3\\frac{1}{2}', '3.5'],
    ['-3 1/2', '-3.5'],
    ['1.2e3', '1200'],
    ['1 \\times 10^{3}', '1000'],
    ['33.5\\%', '0.335'],
    ['33.5%', '33.5'],
    ['125\\text{ miles}', '125'],
    ['100 cm', '1\\text{ m}'],
    ['90^\\circ', '90'],
    ['１２', '12'],
    ['½', '0.5'],
    ['3.14159', '\\pi'],
    ['2^{10}', '1024'],
    ['\\sqrt{12}', '2\\sqrt3'],
    ['\\frac{1}{\\sqrt2}', '\\frac{\\sqrt{2}}{2}'],
    ['\\frac{1}{1+\\sqrt2}', '\\sqrt2-1'],
    ['\\binom{6}{2}', '15'],
    ['5!', '120'],
    // A Unicode root takes the whole number behind it; raised signs side by side are one exponent.
    ['7√36', '42'],
    ['∛64', '4'],
    ['10⁻²', '0.01'],
    ['2¹⁰', '1024'],
    ['6 012', '6012'],
    ['-1 250 000', '-1250000'],
    ['4,\\! 096', '4096'],
    ['2\u202f500', '2500'],
    ['0.\\overline{27}', '\\frac{3}{11}'],
    ['1.2\\overline{6}', '\\frac{19}{15}'],
    ['0.\\dot{1}\\dot{8}', '\\frac{2}{11}'],
    ['2 2/5 percent', '0.024'],
    ['1\\frac{1}{4}\\text{ cm}', '1.25'],
    // What a program prints for a double.
    ['0.8333333333333334', '\\frac{5}{6}'],
    ['2.23606797749979', '\\sqrt5'],
    ['4 million', '4000000'],
    ['4 million', '4000 thousand'],
    ['7!!', '105'],
    ['8!!', '384'],
    ['|3||-2|', '6'],
    ['\\frac{5}{7}\\ (\\approx 0.714)', '\\frac57'],
    ['\\frac{5}{7} \\quad\\text{(about }0.714\\text{)}', '\\frac57'],
    ['10^3 \\text{ m}', '1 km'],
    ['1 hour 45 minutes', '105 minutes'],
    ['6 feet 3 inches', '6.25 feet'],
    ['9 m', '9\\,\\text{m}'],
  ])('%s is %s', (a, b) => {
    expect(correct(a, b)).toBe(true);
    expect(correct(b, a)).toBe(true);
  });

  it.each([
    // Off by one beyond the precision of a double.
    ['100000000000000000001', '100000000000000000000'],
    ['2^{2025}', '3^{2025}'],
    ['2^{200}+1', '2^{200}'],
    ['5.000000000000001', '5'],
    ['3.14', '\\pi'],
    ['0.33', '\\frac13'],
    ['-4', '4'],
    ['100 cm', '1 kg'],
    ['\\sqrt{2}+\\sqrt{3}', '3.1462643699419726'],
    ['32, 349', '32349'],
    ['1,000', '1.000'],
    ['√49', '\\sqrt{4}9'],
    ['10⁻²', '10'],
    ['12 34', '1234'],
    ['3 5/5', '4'],
    ['7\n1/2', '7.5'],
    ['(7) 1/2', '7.5'],
    ['2.000000000000001', '2'],
    ['3 million', '3 billion'],
    ['1 hour 45 minutes', '45'],
    ['4 boxes 12 apples', '48'],
    ['6:30 \\text{ p.m.}', '3:15 \\text{ p.m.}'],
    ['12:00', '6:00'],
    ['7!!', '7'],
  ])('%s is not %s', (a, b) => {
    expect(correct(a, b)).toBe(false);
    expect(correct(b, a)).toBe(false);
  });
});

describe('expressions, lists and relations', () => {
  it.each([
    ['(x+1)^2', 'x^2+2x+1', 'symbolic'],
    ['\\sin^2 x+\\cos^2 x', '1', 'numeric'],
    ['\\ln 8', '3\\ln 2', 'symbolic'],
    ['4^n', '2^{2n}', 'symbolic'],
    ['xy^2', 'x \\cdot y^2', 'symbolic'],
    ['3xyz^2', '3z^2xy', 'symbolic'],
    ['x \\in [1, 2)', '1 \\le x < 2', 'exact'],
    ['x < 5', '5 > x', 'symbolic'],
    ['-x \\ge -1', 'x \\le 1', 'symbolic'],
    ['y = -\\frac12x+\\frac34', '2x+4y-3=0', 'symbolic'],
    ['x = 2 \\text{ or } x = 3', '\\{3, 2\\}', 'exact'],
    ['3 \\pm 2\\sqrt2', '3+2\\sqrt2, 3-2\\sqrt2', 'symbolic'],
    ['\\begin{bmatrix}1&2\\\\3&4\\end{bmatrix}', '\\begin{pmatrix}1&\\frac42\\\\3&4\\end{pmatrix}', 'exact'],
    ['(-\\infty,-3]\\cup[2,\\infty)', '[2,\\infty)\\cup(-\\infty,-3]', 'symbolic'],
    ['\\text{Even}', 'even', 'text'],
    ['(C)', '\\text{C}', 'symbolic'],
    ['\\{4, 4, 7\\}', '\\{7, 4\\}', 'exact'],
    ['(1, 2), (3, 4), (1, 2)', '(3, 4), (1, 2)', 'exact'],
    ['\\frac{1}{3}\\begin{pmatrix}6\\\\9\\end{pmatrix}', '\\begin{pmatrix}2\\\\3\\end{pmatrix}', 'exact'],
    [
      '\\begin{pmatrix}1&1\\\\0&1\\end{pmatrix}^3 + \\begin{pmatrix}0&2\\\\0&0\\end{pmatrix}',
      '\\begin{pmatrix}1&5\\\\0&1\\end{pmatrix}',
      'exact',
    ],
    ['q(x) = x^3 - 1', 'x^3 - 1', 'symbolic'],
    ['\\{x \\mid x \\ge 3\\}', '[3, \\infty)', 'symbolic'],
    ['7:30 p.m.', '7\\!:\\!30\\text{ PM}', 'text'],
    ['y = 4, x = -1', '(-1, 4)', 'exact'],
    ['\\lim_{x \\to 2^{+}} g', '\\lim_{x \\to 2^{+}} g', 'identical'],
    ['No', 'no', 'text'],
    ['YES', '\\text{yes}', 'text'],
    ['B. x = 12', '(B)', 'symbolic'],
    ['(B) 12 cm', '12', 'exact'],
    ['\\{6, 6\\}', '\\{6\\}', 'exact'],
    ['1, 4, 9, ...', '1, 4, 9, \\ldots', 'symbolic'],
    ['no answer', '\\text{No answer}', 'text'],
    ['\\mathbb{R}', '(-\\infty, \\infty)', 'exact'],
    ['\\text{all real numbers}', '(-\\infty, \\infty)', 'exact'],
    ['\\angle PQR = 40^\\circ', '\\angle RQP = 40^\\circ', 'exact'],
  ])('%s is %s (%s)', (a, b, reason) => {
    expect(verdict(a, b)).toMatchObject({ verdict: 'correct', reason });
    expect(correct(b, a)).toBe(true);
  });

  it.each([
    ['(1, 2)', '(2, 1)'],
    ['[1, 2)', '[1, 2]'],
    ['x < 5', 'x > 5'],
    ['x \\le 5', 'x < 5'],
    ['2x + z = 1', '1'],
    ['1, 2', '1, 2, 3'],
    ['f(x)', 'f(y)'],
    ['|x|', 'x'],
    ['\\sqrt{x^2}', 'x'],
    ['1121_3', '1112_3'],
    ['x = 1, y = 2', 'x = 2, y = 1'],
    ['1, 4, 9, ...', '1, 4, 9'],
    ['\\angle PQR', '\\angle QPR'],
    ['CAB', 'BAC'],
    ['\\vec{AB}', '\\vec{BA}'],
    ['y = 4, x = -1', '(4, -1)'],
    ['\\lim_{x \\to 2^{+}} g', '\\lim_{x \\to 2^{-}} g'],
    ['B. x = 12', '(D)'],
    ['(B) 12 cm', '13'],
    ['B. 12 or D. 14', '(B)'],
    ['2 cats, 9 dogs', '9 cats, 2 dogs'],
    ['2, 2, 3', '2, 3'],
  ])('%s is not %s', (a, b) => {
    expect(correct(a, b)).toBe(false);
    expect(correct(b, a)).toBe(false);
  });

  it('says unverifiable where the reference cannot be read', () => {
    expect(verdict('5', '\\frac{1}{')).toMatchObject({ verdict: 'unverifiable', score: null });
    expect(judge({ prediction: '5', references: [], options: {} }).verdict).toBe('unverifiable');
    expect(verdict('\\frac{1}{', '5')).toMatchObject({
      verdict: 'incorrect',
      reason: 'unreadable-prediction',
    });
  });
});

describe('extraction', () => {
  const found = (text: string) => extractAnswer(text, isBareAnswer);
  it.each([
    ['so 2+2=4\n#### 4', '4'],
    ['\\boxed{1} no no no no no \\boxed{2}', '2'],
    ['\\boxed{1} and \\boxed{2}', '1, 2'],
    ['\\boxed{\\frac{1}{2}}', '\\frac{1}{2}'],
    ['\\boxed{3}. Final Answer: The final answer is $10,455$. I hope it is correct.', '10,455'],
    ['<think>\\boxed{5}</think> The answer is \\boxed{4}.', '4'],
    ['text <answer> 42 </answer>', '42'],
    ['答案是 12。', '12'],
    ['He has 3 apples and 4 pears.', '4'],
    ['It costs $5 and then $7 more.', '7'],
    ['\\boxed{never closes', null],
    // What is cut off may go on with other digits.
    ['so \\boxed{12', null],
    ['\\boxed{6}\n\n\\boxed{8}', '8'],
    ['\\boxed{6} for the first and \\boxed{8}', '6, 8'],
    ['\\boxed{6 \\boxed{8}}', '6 \\boxed{8}'],
    // A number is no answer where it is only a part of one.
    ['which comes to 10^4', '10^4'],
    ['which comes to 9**6', '9**6'],
    ['which is 4*pi in all', '4*pi'],
    ['which is **4** in all', '4'],
    ['the side is 3\\sqrt{5} long', '3\\sqrt{5}'],
    ['所以是 (\\frac{2}{5}) 吨。', '(\\frac{2}{5})'],
    ['the sum is 7 + 5', '7 + 5'],
    ['100 - 30 = 70', '100 - 30 = 70'],
    ['ends at the point (3, 5)', '(3, 5)'],
    ['the odds are 3 : 5', '3 : 5'],
    ['an area of 5π', '5π'],
    ['She needs 2 1/2 cups', '2 1/2'],
    ['see rule A7 for 12 of them', '12'],
    ['for 12 of them see rule A7', '12'],
    // Nor where it is denied, or one of several.
    ['\\boxed{3 4 5}', '3 4 5'],
    ['\\boxed{not 5}', 'not 5'],
    ['\\boxed{\\ge 5}', '\\ge 5'],
    ['\\boxed{maybe 3, maybe 5}', 'maybe 3, maybe 5'],
    ['The answer is at least 5.', 'at least 5'],
    ['<answer>3 5</answer>', '3 5'],
    ['The answer is 15 apples for 3 children', '3'],
    ["open('x', 'w').write('1') or 0", null],
    ['', null],
  ])('%j holds %j', (text, answer) => expect(found(text)).toBe(answer));

  it("scores seed 4's tags 0, a half and 1", () => {
    expect(scoreBoxedTag('<think>a</think><answer>\\boxed{4}</answer>')).toEqual({ score: 1, answer: '4' });
    expect(scoreBoxedTag('<think>a</think><answer>4</answer>').score).toBe(0.5);
    expect(scoreBoxedTag('<answer>\\boxed{4}</answer><think>a</think>').score).toBe(0);
    expect(scoreBoxedTag('<think><think>a</think><answer>\\boxed{4}</answer>').score).toBe(0);
  });
});

describe('properties', () => {
  const answer = fc.oneof(
    fc.integer().map(String),
    fc.double({ noNaN: true, noDefaultInfinity: true, min: -1e6, max: 1e6 }).map((x) => x.toFixed(3)),
    fc
      .tuple(fc.integer({ min: -99, max: 99 }), fc.integer({ min: 1, max: 99 }))
      .map(([p, q]) => `\\frac{${p}}{${q}}`),
    fc.constantFrom('x+1', '(1,2)', '\\{1,2\\}', '\\sqrt{2}', 'x<3', '\\text{yes}', '2\\pi', '[0,1)', 'a=3'),
  );

  it('an answer is itself, also with other spaces, \\left and \\dfrac', () => {
    fc.assert(
      fc.property(answer, (text) => {
        expect(correct(text, text)).toBe(true);
        const rewritten = ` ${text.replaceAll('\\frac', '\\dfrac').replaceAll('(', '\\left(').replaceAll('+', ' + ')} `;
        expect(correct(rewritten, text)).toBe(true);
        expect(correct(text, `$${text}$`)).toBe(true);
      }),
    );
  });

  it('is symmetric', () => {
    fc.assert(
      fc.property(answer, answer, (a, b) => {
        expect(verdict(a, b).verdict).toBe(verdict(b, a).verdict);
      }),
    );
  });

  it('whole numbers keep their value with commas between thousands', () => {
    fc.assert(
      fc.property(fc.integer({ min: 1000, max: 999_999_999 }), (n) => {
        expect(correct(n.toLocaleString('en-US'), String(n))).toBe(true);
      }),
    );
  });

  it('arithmetic is exact: random expressions equal their fraction and no other', () => {
    const leaf = fc
      .integer({ min: 1, max: 60 })
      .map((n): [string, [bigint, bigint]] => [String(n), [BigInt(n), 1n]]);
    const { tree } = fc.letrec<{ tree: [string, [bigint, bigint]] }>((tie) => ({
      tree: fc.oneof(
        { maxDepth: 4 },
        leaf,
        fc
          .tuple(tie('tree'), fc.constantFrom('+', '-', '*', '/'), tie('tree'))
          .map(([[a, [p, q]], op, [b, [r, s]]]): [string, [bigint, bigint]] => {
            if (op === '+') return [`(${a}+${b})`, [p * s + r * q, q * s]];
            if (op === '-') return [`(${a}-${b})`, [p * s - r * q, q * s]];
            if (op === '*' || r === 0n) return [`${a} \\cdot ${b}`, [p * r, q * s]];
            return [`\\frac{${a}}{${b}}`, [p * s, q * r]];
          }),
      ),
    }));
    fc.assert(
      fc.property(tree, ([text, [p, q]]) => {
        const sign = q < 0n ? -1n : 1n;
        expect(verdict(text, `${sign * p}/${sign * q}`)).toMatchObject({
          verdict: 'correct',
          reason: 'exact',
        });
        expect(correct(text, `${sign * p + 1n}/${sign * q}`)).toBe(false);
      }),
    );
  });

  it('inline verdicts are those of the whole judge', () => {
    const texts = fc.oneof(
      answer,
      answer.map((a) => `so\n#### ${a}`),
      answer.map((a) => `The answer is \\boxed{${a}}.`),
    );
    fc.assert(
      fc.property(texts, answer, (prediction, reference) => {
        const row = { prediction, references: [reference], options: {} };
        const inline = gradeInline(row);
        if (inline !== null) expect(inline.verdict).toBe(judge(row).verdict);
      }),
    );
  });
});

describe('the pool', () => {
  it('grades in threads, in the order asked, numbers at once', async () => {
    expect(grade('#### 1,234', '1234')).toMatchObject({ verdict: 'correct' });
    const rows = await Promise.all([0, 1, 2, 3].map((i) => grade(`\\boxed{x+${i}}`, 'x+2')));
    expect(rows.map((row) => row.verdict)).toEqual(['incorrect', 'incorrect', 'correct', 'incorrect']);
  });

  it('takes any of several references', async () => {
    expect(await grade('\\boxed{0.5}', ['one half', '1/2'])).toMatchObject({ verdict: 'correct' });
  });

  it('refuses an unknown profile by name', () => {
    expect(() => grade('1', '1', { profile: 'best' as never })).toThrow(
      /Expected one of default, r1-zero.*found 'best'/,
    );
  });

  it('ends a row at its deadline, and goes on with the next', async () => {
    const pool = new GraderPool({ deadline: 4000 });
    const endless = '\\sum_{a=1}^{4999}\\sum_{b=1}^{4999}\\sum_{c=1}^{4999} abc';
    const row = (prediction: string): Promise<Graded> =>
      pool.grade({ prediction, references: ['x+1'], options: { extract: 'none' } });
    const [first, second] = await Promise.all([row(`${endless} + x`), row('1+x')]);
    expect(first).toMatchObject({ verdict: 'unverifiable', reason: 'timeout', score: null });
    expect(second).toMatchObject({ verdict: 'correct' });
    await pool.close();
  }, 90_000);

  it('replaces a thread that dies', async () => {
    const pool = new GraderPool({ deadline: 30_000 });
    const row = (prediction: string): Promise<Graded> =>
      pool.grade({ prediction, references: ['x+1'], options: { extract: 'none' } });
    expect(await row('1+x')).toMatchObject({ verdict: 'correct' });
    const running = row('\\sum_{a=1}^{4999}\\sum_{b=1}^{4999}\\sum_{c=1}^{4999} abc + x');
    const waiting = row('x+1+0');
    const { threads } = pool as unknown as { threads: { worker: { terminate(): Promise<number> } }[] };
    setTimeout(() => void threads[0]!.worker.terminate(), 200);
    expect(await running).toMatchObject({ verdict: 'unverifiable', reason: 'worker-died' });
    expect(await waiting).toMatchObject({ verdict: 'correct' });
    await pool.close();
  }, 60_000);

  it('answers a row that comes after the close', async () => {
    const pool = new GraderPool();
    await pool.close();
    const late = pool.grade({ prediction: '1', references: ['1'], options: {} });
    expect(await late).toMatchObject({ verdict: 'unverifiable', reason: 'closed' });
  });

  it('a sign of two values within a list beside a factor is read once, not for ever', () => {
    for (const text of ['$1[1\\pm1)2_3$', '2(1\\pm1, 3)', '\\{2(1\\pm1, 3), 5\\}'])
      expect(judge({ prediction: text, references: ['5'], options: { extract: 'none' } })).toMatchObject({
        verdict: 'incorrect',
      });
  });

  it.each([
    ['9^9^9^9'],
    // Bases of two primes: the names of what stays unevaluated double at every level.
    [`6^${'{12^{'.repeat(30)}x${'}'.repeat(60)}`],
    [`\\boxed{${'99^9^'.repeat(300)}9}`],
    ['10^{10^{10}}!'],
    ['\\boxed{'.repeat(20_000)],
    ['{'.repeat(10_000)],
    [`\\boxed{${'{'.repeat(10_000)}${'}'.repeat(10_000)}}`],
    ['x'.repeat(1_000_000)],
    ['\\('.repeat(200_000)],
    ['$'.repeat(400_000)],
    ['('.repeat(100_000)],
    ['-'.repeat(200_000)],
    ['answer is '.repeat(50_000)],
    ['\\sqrt{'.repeat(5000)],
  ])(
    'a hostile text costs no more than the deadline: %.20j',
    async (text) => {
      const took = await leastMs(4500, async () => {
        expect(await grade(text, '5')).not.toMatchObject({ verdict: 'correct' });
      });
      expect(took).toBeLessThan(4500);
    },
    90_000,
  );
});
