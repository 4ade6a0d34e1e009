/** Owns what answers an evaluation: servers, or the target's model loaded here. Samples nothing. */

import type { Engine } from '../generate/engine.ts';
import type { Tokenizer } from '../text/index.ts';
import { endpointEngine } from './endpoint.ts';
import type { EvaluationHooks, EvaluationRequest } from './evaluate-model.ts';
import type { EvaluationTarget } from './evaluate-targets.ts';

/** An engine, and what it computes on as far as that is known. */
export interface EvaluationEngine extends Disposable {
  readonly engine: Engine;
  readonly device: string;
  readonly dtype: string;
}

/** Opens servers where the request names some; libtorch is loaded only where it does not. */
export async function openEvaluationEngine(
  target: EvaluationTarget,
  request: EvaluationRequest,
  tokenizer: Tokenizer,
  { stream, quiet }: EvaluationHooks,
): Promise<EvaluationEngine> {
  if (request.endpoint) {
    const log = (line: string) => void (quiet || stream.write(`${line}\n`));
    const engine = endpointEngine(request.endpoint, tokenizer, request.tokenizer ?? target.folder, log);
    return { engine, device: 'server', dtype: 'server', [Symbol.dispose]: () => engine[Symbol.dispose]() };
  }
  const { resolveCompute } = await import('../run/compute.ts');
  const { setThreads } = await import('../torch/index.ts');
  const { loadFrozen } = await import('../models/index.ts');
  const { engineOf } = await import('../generate/index.ts');
  const { device, dtype, threads } = await resolveCompute(request.recipe);
  setThreads(threads);
  const { weights = 'full' } = request;
  const engine = engineOf(loadFrozen(target.folder, { dtype, device, weights }, 'decoding'), tokenizer);
  return { engine, device, dtype, [Symbol.dispose]: () => engine[Symbol.dispose]() };
}
