/** Owns which token rows share a packed row, and where each stands in it; knows no ids and no masks. */

/**
 * `bfd` keeps rows whole (best fit, longest first; Ding et al. 2024) and cuts off what is beyond the capacity,
 * `bfd_split` packs that remainder too, `wrapped` cuts the concatenation of all rows at every multiple of the capacity.
 */
export type PackingStrategy = 'bfd' | 'bfd_split' | 'wrapped';

/** `length` tokens of row `row` from `start` on. */
export interface Piece {
  readonly row: number;
  readonly start: number;
  readonly length: number;
}

/** Packs rows of these lengths into rows of at most `capacity` tokens; each is a list of pieces. Empty rows are left out. */
export function packRows(lengths: readonly number[], capacity: number, strategy: PackingStrategy): Piece[][] {
  if (strategy === 'wrapped') return wrapped(lengths, capacity);
  const pieces = lengths.flatMap((length, row) =>
    strategy === 'bfd_split'
      ? Array.from({ length: Math.ceil(length / capacity) }, (_, i) => ({
          row,
          start: i * capacity,
          length: Math.min(capacity, length - i * capacity),
        }))
      : [{ row, start: 0, length: Math.min(capacity, length) }],
  );
  return bestFit(
    pieces.filter((piece) => piece.length > 0),
    capacity,
  );
}

/** Longest piece first, into the fullest bin with room; among equally full ones, that which became so first. */
function bestFit(pieces: readonly Piece[], capacity: number): Piece[][] {
  const bins: Piece[][] = [];
  const bySpace: Piece[][][] = Array.from({ length: capacity + 1 }, () => []);
  for (const piece of [...pieces].sort((a, b) => b.length - a.length)) {
    let space = piece.length;
    while (space < capacity && bySpace[space]!.length === 0) space++;
    const found = bySpace[space]!.shift();
    const bin = found ?? [];
    if (!found) bins.push(bin);
    bin.push(piece);
    // A bin in use has less space than the capacity, so a fresh one is taken only where no other fits.
    bySpace[space - piece.length]!.push(bin);
  }
  return bins;
}

function wrapped(lengths: readonly number[], capacity: number): Piece[][] {
  const bins: Piece[][] = [];
  let space = 0;
  lengths.forEach((length, row) => {
    for (let start = 0; start < length; ) {
      if (space === 0) {
        bins.push([]);
        space = capacity;
      }
      const taken = Math.min(space, length - start);
      bins.at(-1)!.push({ row, start, length: taken });
      start += taken;
      space -= taken;
    }
  });
  return bins;
}
