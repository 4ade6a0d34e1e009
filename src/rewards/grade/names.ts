/** Owns the names that mathematics gives to constants, letters, functions, relations and units. Parses nothing. */

import type { RelationOperator } from './expression.ts';

/** Functions of one argument, by every spelling; the value is the name that we keep. */
export const FUNCTIONS: ReadonlyMap<string, string> = new Map(
  Object.entries({
    sin: 'sin',
    cos: 'cos',
    tan: 'tan',
    cot: 'cot',
    sec: 'sec',
    csc: 'csc',
    tg: 'tan',
    ctg: 'cot',
    cotg: 'cot',
    cosec: 'csc',
    arcsin: 'asin',
    arccos: 'acos',
    arctan: 'atan',
    arccot: 'acot',
    arcsec: 'asec',
    arccsc: 'acsc',
    asin: 'asin',
    acos: 'acos',
    atan: 'atan',
    arctg: 'atan',
    arcctg: 'acot',
    sinh: 'sinh',
    cosh: 'cosh',
    tanh: 'tanh',
    coth: 'coth',
    arcsinh: 'asinh',
    arccosh: 'acosh',
    arctanh: 'atanh',
    arsinh: 'asinh',
    arcosh: 'acosh',
    artanh: 'atanh',
    asinh: 'asinh',
    acosh: 'acosh',
    atanh: 'atanh',
    ln: 'ln',
    log: 'log',
    lg: 'log10',
    exp: 'exp',
    abs: 'abs',
    floor: 'floor',
    ceil: 'ceil',
    sgn: 'sign',
    sign: 'sign',
    det: 'det',
    tr: 'tr',
    Re: 're',
    Im: 'im',
    arg: 'arg',
    deg: 'deg',
    dim: 'dim',
    ker: 'ker',
    Pr: 'P',
  }),
);

/** Functions of several arguments in one bracket. */
export const COLLECTORS: ReadonlySet<string> = new Set(['gcd', 'lcm', 'max', 'min', 'sup', 'inf']);

/** Letters written out, with and without a backslash. */
export const GREEK: ReadonlySet<string> = new Set(
  'alpha beta gamma delta epsilon varepsilon zeta eta theta vartheta iota kappa lambda mu nu xi omicron rho varrho sigma varsigma tau upsilon phi varphi chi psi omega Gamma Delta Theta Lambda Xi Pi Sigma Upsilon Phi Psi Omega ell hbar aleph'.split(
    ' ',
  ),
);

/** Constants by their spellings. */
export const CONSTANTS: ReadonlyMap<string, string> = new Map(
  Object.entries({
    pi: 'pi',
    infty: 'oo',
    infinity: 'oo',
    Infinity: 'oo',
    oo: 'oo',
    emptyset: 'emptyset',
    varnothing: 'emptyset',
    imath: 'i',
  }),
);

/** Relations by command or sign. */
export const RELATIONS: ReadonlyMap<string, RelationOperator> = new Map(
  Object.entries({
    '=': '=',
    '==': '=',
    '<': '<',
    '>': '>',
    '<=': '≤',
    '>=': '≥',
    '!=': '≠',
    ':': ':',
    eq: '=',
    equiv: '≡',
    le: '≤',
    leq: '≤',
    leqslant: '≤',
    leqq: '≤',
    ge: '≥',
    geq: '≥',
    geqslant: '≥',
    geqq: '≥',
    lt: '<',
    gt: '>',
    ne: '≠',
    neq: '≠',
    approx: '≈',
    simeq: '≈',
    sim: '≈',
    cong: '≈',
    in: '∈',
    to: '→',
    rightarrow: '→',
    mapsto: '→',
    longrightarrow: '→',
    Rightarrow: '→',
    Longrightarrow: '→',
    subset: '⊂',
    subseteq: '⊆',
    supseteq: '⊆',
    supset: '⊂',
    colon: ':',
    doteq: '=',
    coloneqq: '=',
  } satisfies Record<string, RelationOperator>),
);

/** Accents over a letter: they make another letter of it. */
export const ACCENTS: ReadonlySet<string> = new Set(
  'overline bar hat widehat tilde widetilde vec overrightarrow overleftarrow underline dot ddot overarc wideparen mathring'.split(
    ' ',
  ),
);

/** Units that can be converted: dimension and factor to its base. */
export const UNITS: ReadonlyMap<string, readonly [dimension: string, factor: number]> = new Map(
  Object.entries({
    mm: ['length', 0.001],
    cm: ['length', 0.01],
    dm: ['length', 0.1],
    m: ['length', 1],
    km: ['length', 1000],
    millimeter: ['length', 0.001],
    centimeter: ['length', 0.01],
    meter: ['length', 1],
    metre: ['length', 1],
    kilometer: ['length', 1000],
    in: ['length', 0.0254],
    inch: ['length', 0.0254],
    inche: ['length', 0.0254],
    ft: ['length', 0.3048],
    foot: ['length', 0.3048],
    feet: ['length', 0.3048],
    yd: ['length', 0.9144],
    yard: ['length', 0.9144],
    mi: ['length', 1609.344],
    mile: ['length', 1609.344],
    mg: ['mass', 1e-6],
    g: ['mass', 0.001],
    gram: ['mass', 0.001],
    kg: ['mass', 1],
    kilogram: ['mass', 1],
    ton: ['mass', 1000],
    tonne: ['mass', 1000],
    lb: ['mass', 0.45359237],
    pound: ['mass', 0.45359237],
    oz: ['mass', 0.028349523125],
    ounce: ['mass', 0.028349523125],
    s: ['time', 1],
    sec: ['time', 1],
    second: ['time', 1],
    min: ['time', 60],
    minute: ['time', 60],
    h: ['time', 3600],
    hr: ['time', 3600],
    hour: ['time', 3600],
    day: ['time', 86400],
    week: ['time', 604800],
    ml: ['volume', 0.001],
    l: ['volume', 1],
    liter: ['volume', 1],
    litre: ['volume', 1],
    milliliter: ['volume', 0.001],
    cent: ['money', 0.01],
    dollar: ['money', 1],
    degree: ['angle', 1],
    deg: ['angle', 1],
    dozen: ['count', 12],
    hundred: ['count', 100],
    thousand: ['count', 1e3],
    million: ['count', 1e6],
    billion: ['count', 1e9],
    trillion: ['count', 1e12],
  } satisfies Record<string, [string, number]>),
);

/** Words that join answers. */
export const JOINERS: ReadonlySet<string> = new Set([
  'and',
  'or',
  'und',
  'oder',
  'et',
  'ou',
  '和',
  '或',
  '与',
  '及',
  '或者',
]);

/** Constructs of the grammar that are commands. */
const CONSTRUCTS =
  'frac dfrac tfrac cfrac sfrac binom dbinom tbinom sqrt boxed fbox ensuremath lfloor rfloor lceil rceil ulcorner urcorner llcorner lrcorner sum prod int lim iint oint angle triangle measuredangle neg lnot ldots cdots dots dotsc dotsb underset overset stackrel color textcolor cdot times ast div pm mp cup cap setminus lor land vee wedge bmod mod pmod not degree circ backslash prime begin end bullet implies Rightarrow choose';

/** Every command that the grammar knows. */
export const COMMANDS: ReadonlySet<string> = new Set([
  ...FUNCTIONS.keys(),
  ...COLLECTORS,
  ...GREEK,
  ...CONSTANTS.keys(),
  ...RELATIONS.keys(),
  ...ACCENTS,
  ...CONSTRUCTS.split(' '),
]);
