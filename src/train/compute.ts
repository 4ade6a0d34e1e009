/** Owns how a process is brought to the threads and kernels that its run was started with. Chooses neither. */

import { kernelLevels, setThreads, useKernels } from '../torch/index.ts';
import type { ResolvedCompute } from './context.ts';

/** Sets threads and kernels for the whole process; kernels that this processor lacks are left as they are. */
export function computeWith({ threads, kernels }: Pick<ResolvedCompute, 'threads' | 'kernels'>): void {
  setThreads(threads);
  if (kernelLevels().includes(kernels)) useKernels(kernels);
}
