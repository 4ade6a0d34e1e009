/** Owns what Python's methods of strings do, where templates call them and JavaScript's differ. Knows no template. */

/** What Python counts as space: other than JavaScript, the separators 1C to 1F and 85, and not FEFF. */
const spaces = new Set(
  '\t\n\v\f\r\x1c\x1d\x1e\x1f \x85\xa0\u1680\u2000\u2001\u2002\u2003\u2004\u2005\u2006\u2007\u2008\u2009\u200a\u2028\u2029\u202f\u205f\u3000',
);

/** `str.strip` and its halves: without the characters of a set (spaces where none is given) at the ends. */
export function stripped(
  text: string,
  characters?: string | null,
  ends: 'both' | 'left' | 'right' = 'both',
): string {
  const set = characters === undefined || characters === null ? spaces : new Set(characters);
  const all = [...text];
  let [from, to] = [0, all.length];
  if (ends !== 'right') while (from < to && set.has(all[from]!)) from++;
  if (ends !== 'left') while (to > from && set.has(all[to - 1]!)) to--;
  return all.slice(from, to).join('');
}

/** Methods by name: of the string, with plain arguments, to a plain value. */
export const pythonMethods: Readonly<Record<string, (text: string, ...rest: string[]) => unknown>> = {
  strip: (text, characters) => stripped(text, characters),
  lstrip: (text, characters) => stripped(text, characters, 'left'),
  rstrip: (text, characters) => stripped(text, characters, 'right'),
  removeprefix: (text, prefix = '') => (text.startsWith(prefix) ? text.slice(prefix.length) : text),
  removesuffix: (text, suffix = '') =>
    suffix !== '' && text.endsWith(suffix) ? text.slice(0, -suffix.length) : text,
  find: (text, part = '') => {
    const at = text.indexOf(part);
    return at < 0 ? at : [...text.slice(0, at)].length;
  },
  count: (text, part = '') => (part === '' ? [...text].length + 1 : text.split(part).length - 1),
};
