/** Owns finding the reward function that a user's TypeScript file exports. Calls none and knows no recipe. */

import { basename } from 'node:path';
import { ReckonError } from '../util/errors.ts';
import { exportAt, importUserModule } from '../util/typescript.ts';
import type { GroupRewardFunction, RewardFunction } from './reward.ts';

/** Which function of which file. */
export interface UserRewardOptions {
  readonly file: string;
  /** Name of the export, `a.b` inside it; by default the default export, or the only function that the file exports. */
  readonly export?: string | undefined;
  /** The function takes all samples of a problem and gives as many scores. */
  readonly perGroup?: boolean | undefined;
}

/**
 * Loads the function that a file exports. Throws `module-missing`, `module-broken`, or `reward-export` where the file has
 * no such function, or several.
 */
export async function loadUserReward({
  file,
  export: wanted,
}: UserRewardOptions): Promise<RewardFunction | GroupRewardFunction> {
  const module = await importUserModule(file);
  if (wanted?.includes('.') === true) {
    const inner = await exportAt(module, wanted);
    if (typeof inner === 'function') return inner as RewardFunction;
  }
  const functions = Object.keys(module).filter((name) => typeof module[name] === 'function');
  const name = wanted ?? (functions.includes('default') ? 'default' : functions[0]);
  if (name !== undefined && functions.includes(name) && (wanted !== undefined || isOnly(functions)))
    return module[name] as RewardFunction;
  const found = functions.length === 0 ? 'no function' : functions.join(', ');
  const hint = 'export one function, or name one with `export`';
  const expected = wanted === undefined ? 'one exported function' : `an exported function ${wanted}`;
  throw new ReckonError(
    'usage',
    'reward-export',
    `${basename(file)}: expected ${expected}, found ${found}; ${hint}`,
  );
}

function isOnly(functions: readonly string[]): boolean {
  return functions.includes('default') || functions.length === 1;
}
