/** Re-exports what is public of runs; stage-functions.ts is left out, because it loads libtorch. */

export { PACKAGE_ROOT, reckonVersion } from '../util/place.ts';
export { RunClock } from './clock.ts';
export { type OpenRunOptions, openRun, type RunDirectory, readRunRecipe } from './directory.ts';
export { diskFree, requireDisk } from './disk.ts';
export { describeEnvironment, type Environment, readEnvironment, settleEnvironment } from './environment.ts';
export { type ExecuteOptions, executeRun, type RunResult, type StageModule } from './execute.ts';
export { hubModels } from './hub-models.ts';
export { listRuns, type RunState, type RunSummary } from './listing.ts';
export { acquireLock, type LockHolder, lockHolder, type RunLock as HeldLock } from './lock.ts';
export { openRunLog, type RunLog } from './log.ts';
export {
  automaticThreads,
  type Cpu,
  describeCpu,
  hasNvidiaDriver,
  readTorchBuild,
  type TorchBuild,
  thisMachine,
} from './machine.ts';
export { type Keep, type PrunableCheckpoint, planPruning, pruneRun } from './pruning.ts';
export type { StageSelection } from './selection.ts';
export { watchSignals } from './signals.ts';
export { readStageRecord, type StageRecord, stageRecordSchema } from './stage-record.ts';
export { type RunHandle, type RunStageContext, runStages, type StageFunctions } from './stages.ts';
export { type PointOutcome, runSweep, type SweepOptions } from './sweep.ts';
export { parseAxis, type SweepAxis, type SweepPoint, sweepPoints } from './sweep-plan.ts';
export { exportRun, trackRun } from './tracking.ts';
