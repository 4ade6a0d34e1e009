/** Owns the public face of the native boundary; see the files for each part. */

export type { RuntimeDescription } from './addon.ts';
export { type OpArgument, type OpResult, op } from './any-op.ts';
export { backward, enableGrad, noGrad } from './autograd.ts';
export { type DType, dtypeBytes, dtypeCode, isFloating } from './dtype.ts';
export { dequantised, type Int8Matrix, quantised } from './int8.ts';
export {
  type DecodePast,
  decodeAttentionKernel,
  decodeLayerKernel,
  gatedSilu,
  kernelLevel,
  kernelLevels,
  kernelsServe,
  type LayerProducts,
  normalised,
  normalisedRows,
  passesHaveStepBits,
  swigluRows,
  useKernels,
} from './kernels.ts';
export { deviceMemory, freeCachedMemory, lacksMemory } from './memory.ts';
export { Op } from './op.ts';
export { type PackedMatrix, type PackedProduct, packed, packedLinear } from './packed.ts';
export { product, productInto } from './product.ts';
export {
  describeRuntime,
  devices,
  Generator,
  manualSeed,
  setThreads,
  threads,
} from './runtime.ts';
export { type Draw, drawKernel, sampleKernel } from './sampling-kernels.ts';
export { liveTensors, Scope, scope } from './scope.ts';
export { arange, cat, fromBytes, full, ids, invoke, stack, Tensor, tensor, where, zeros } from './tensor.ts';
export {
  addUpdateRows,
  causalHeads,
  causalHeadsServe,
  folded,
  type LowRankLayer,
  lowRankLinear,
  type Rotation,
  rotate,
  rotatedHeads,
  type TokenTerms,
  tokenSlopes,
  tokenTerms,
} from './training-kernels.ts';
