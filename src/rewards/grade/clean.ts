/** Owns the cleaning of answer text before it is read: damaged escapes, Unicode mathematics, invisible characters. */

/** Characters of Unicode that have a LaTeX or ASCII spelling. */
const SPELLINGS: Readonly<Record<string, string>> = {
  '−': '-',
  '–': '-',
  '—': '-',
  '﹣': '-',
  '－': '-',
  '＋': '+',
  '×': '\\times ',
  '✕': '\\times ',
  '·': '\\cdot ',
  '⋅': '\\cdot ',
  '∙': '\\cdot ',
  '÷': '/',
  '⁄': '/',
  '∕': '/',
  '／': '/',
  '＝': '=',
  '≤': '\\le ',
  '⩽': '\\le ',
  '≥': '\\ge ',
  '⩾': '\\ge ',
  '≠': '\\ne ',
  '≈': '\\approx ',
  '±': '\\pm ',
  '∓': '\\mp ',
  '√': '\\sqrt ',
  '∞': '\\infty ',
  '°': '^\\circ ',
  '∠': '\\angle ',
  '∈': '\\in ',
  '∪': '\\cup ',
  '∩': '\\cap ',
  '∅': '\\emptyset ',
  '→': '\\to ',
  ℝ: '\\mathbb{R}',
  ℤ: '\\mathbb{Z}',
  ℕ: '\\mathbb{N}',
  ℚ: '\\mathbb{Q}',
  ℂ: '\\mathbb{C}',
  α: '\\alpha ',
  β: '\\beta ',
  γ: '\\gamma ',
  δ: '\\delta ',
  ε: '\\epsilon ',
  θ: '\\theta ',
  λ: '\\lambda ',
  μ: '\\mu ',
  π: '\\pi ',
  ρ: '\\rho ',
  σ: '\\sigma ',
  τ: '\\tau ',
  φ: '\\phi ',
  ϕ: '\\phi ',
  χ: '\\chi ',
  ψ: '\\psi ',
  ω: '\\omega ',
  Δ: '\\Delta ',
  Σ: '\\Sigma ',
  Ω: '\\Omega ',
  '½': '\\frac{1}{2}',
  '⅓': '\\frac{1}{3}',
  '⅔': '\\frac{2}{3}',
  '¼': '\\frac{1}{4}',
  '¾': '\\frac{3}{4}',
  '⅕': '\\frac{1}{5}',
  '⅙': '\\frac{1}{6}',
  '⅛': '\\frac{1}{8}',
  '，': ',',
  '、': ',',
  '；': ';',
  '：': ':',
  '。': '.',
  '（': '(',
  '）': ')',
  '［': '[',
  '］': ']',
  '｛': '{',
  '｝': '}',
  '％': '%',
  '＜': '<',
  '＞': '>',
  '￥': '¥',
  '“': '"',
  '”': '"',
  '‘': "'",
  '’': "'",
  '′': "'",
  '\u00a0': ' ',
  '\u2009': ' ',
  '\u202f': ' ',
  '\u3000': ' ',
  '\u200b': '',
  '\u200c': '',
  '\u200d': '',
  '\u2060': '',
  '\ufeff': '',
};

const SUBSCRIPTS = '₀₁₂₃₄₅₆₇₈₉';
const RAISED: Readonly<Record<string, string>> = {
  ...Object.fromEntries([...'⁰¹²³⁴⁵⁶⁷⁸⁹'].map((sign, digit) => [sign, String(digit)])),
  '⁻': '-',
  '⁺': '+',
  ⁿ: 'n',
};
const RAISED_RUN = /[⁰¹²³⁴⁵⁶⁷⁸⁹⁻⁺ⁿ]+/g;
const LOWERED_RUN = /[₀₁₂₃₄₅₆₇₈₉]+/g;

/**
 * Commands whose backslash and first letter a careless string literal turned into one control character. Tabs and line
 * ends are left alone: they also stand in texts for what they are.
 */
const DAMAGED: readonly (readonly [control: string, letter: string, continues: RegExp])[] = [
  ['\f', 'f', /^[a-z]/],
  ['\b', 'b', /^[a-z]/],
  ['\u0007', 'a', /^[a-z]/],
  ['\v', 'v', /^[a-z]/],
];

const plain = /^[ -~\n]*$/;

/** The text with Unicode mathematics spelled in LaTeX, full-width forms as ASCII, and broken escapes mended. */
export function cleanAnswer(text: string): string {
  if (plain.test(text)) return text;
  let out = '';
  for (const character of scripts(mend(text))) out += spell(character);
  return out;
}

/** A root sign takes all of the number behind it, unlike TeX's; raised and lowered signs side by side are one script. */
function scripts(text: string): string {
  return text
    .replace(/[√∛∜]\s*(\d+(?:\.\d+)?|[a-zπ]|(?=[({]))/gi, (root, radicand: string) => {
      const index = root[0] === '√' ? '' : `[${root[0] === '∛' ? 3 : 4}]`;
      return radicand === '' ? `\\sqrt${index} ` : `\\sqrt${index}{${radicand}}`;
    })
    .replace(RAISED_RUN, (run) => `^{${[...run].map((sign) => RAISED[sign]).join('')}}`)
    .replace(LOWERED_RUN, (run) => `_{${[...run].map((sign) => SUBSCRIPTS.indexOf(sign)).join('')}}`);
}

function mend(text: string): string {
  let mended = text;
  for (const [control, letter, continues] of DAMAGED) {
    const [first, ...rest] = mended.split(control);
    // A backslash that is already there belongs to the same command.
    mended = rest.reduce(
      (done, part) =>
        continues.test(part) ? `${done.replace(/\\$/, '')}\\${letter}${part}` : `${done}${control}${part}`,
      first ?? '',
    );
  }
  return mended;
}

function spell(character: string): string {
  if (character === '\0') return '';
  if (character <= '~') return character;
  const spelling = SPELLINGS[character];
  if (spelling !== undefined) return spelling;
  const code = character.codePointAt(0)!;
  // Full-width ASCII lies at a fixed distance from ASCII.
  if (code >= 0xff01 && code <= 0xff5e) return String.fromCodePoint(code - 0xfee0);
  return character;
}
