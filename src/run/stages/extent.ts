/** Owns how many steps a stage has that counts passes over its data. Reads no row. */

import { extentOf } from '../../train/order.ts';

/** The steps of a stage over `size` items, `count` a step; and the items of all steps, where these are whole passes. */
export function stepsOf(
  { steps, dataEpochs }: { readonly steps?: number | undefined; readonly dataEpochs?: number | undefined },
  size: number,
  count: number,
): { readonly steps: number; readonly total?: number } {
  return steps === undefined ? extentOf({ epochs: dataEpochs! }, size, count) : { steps };
}
