/** Owns what a changed recipe does to stages that have run: which of them it touches, in words. Removes nothing. */

import { existsSync, readdirSync } from 'node:fs';
import { join } from 'node:path';
import { kindOf, type Recipe, type Stage, stageDirectoryName, stageTypes } from '../recipe/index.ts';
import { dataHashes, describeOtherData } from './data-hashes.ts';
import { isStageFolder } from './directory.ts';
import { describeChanges, hashInputs, readInputs, stageInputs } from './stage-inputs.ts';
import { readStageRecord } from './stage-record.ts';

/** A stage of a recipe with its place in the run directory. */
export interface PlacedStage {
  readonly stage: Stage;
  readonly index: number;
  /** The folder, `03-sft`. */
  readonly name: string;
  readonly inputHash: string;
}

/** A stage that ran with other inputs than the recipe now gives it, or that is no longer in the recipe. */
export interface StageChange {
  readonly name: string;
  /** Position among the stages; for a folder that is no stage any more, the one its number says. */
  readonly index: number;
  /** `stages[1].steps was 5 and is 6`, as part of a sentence. */
  readonly what: string;
  /** Whether all that changed is that the stage, and none before it, has more steps (or passes) than it had. */
  readonly longer: boolean;
}

/** The stages of a recipe with their folders and hashes. */
export function placeStages(recipe: Recipe): PlacedStage[] {
  return recipe.stages.map((stage, index) => {
    const inputHash = hashInputs(stageInputs(recipe, index));
    return { stage, index, name: stageDirectoryName(stage, index), inputHash };
  });
}

/** Everything in a run directory that a recipe no longer fits, in the order of the stages. */
export function findChanges(
  runDirectory: string,
  previous: Recipe | null,
  recipe: Recipe,
  placed: readonly PlacedStage[],
): StageChange[] {
  const changed = placed.flatMap(({ name, index, inputHash, stage }): StageChange[] => {
    const record = readStageRecord(join(runDirectory, name));
    if (record === null || isSummary(stage.type)) return [];
    if (record.inputHash !== inputHash && !readsTheSame(record.inputHash, previous, recipe, index))
      return [{ name, index, ...differences(previous, recipe, index) }];
    const what = record.data ? describeOtherData(record.data, dataHashes(recipe, index)) : null;
    return what === null ? [] : [{ name, index, what, longer: false }];
  });
  const gone = orphans(runDirectory, placed).flatMap((name): StageChange[] => {
    const type = readStageRecord(join(runDirectory, name))?.type;
    if (type === undefined || isSummary(type)) return [];
    const what = 'that stage is not in the recipe any more';
    return [{ name, index: Number.parseInt(name, 10) - 1, what, longer: false }];
  });
  return [...changed, ...gone].sort((a, b) => a.index - b.index);
}

/** Whether all that has changed since the run recorded its recipe are keys that nothing reads. */
function readsTheSame(recorded: string, previous: Recipe | null, recipe: Recipe, index: number): boolean {
  if (previous === null || index >= previous.stages.length) return false;
  if (recorded !== hashInputs(stageInputs(previous, index))) return false;
  return describeChanges(readInputs(previous, index), readInputs(recipe, index)).length === 0;
}

/** Whether stages of a type only sum up what others have done, and may be made again at any time. */
export function isSummary(type: string | undefined): boolean {
  return stageTypes.some((known) => known === type && kindOf(known).summarises === true);
}

/** Stage folders that no stage of the recipe has. */
export function orphans(runDirectory: string, placed: readonly PlacedStage[]): string[] {
  const names = new Set(placed.map((one) => one.name));
  if (!existsSync(runDirectory)) return [];
  return readdirSync(runDirectory).filter((name) => isStageFolder(name) && !names.has(name));
}

function differences(
  previous: Recipe | null,
  recipe: Recipe,
  index: number,
): Pick<StageChange, 'what' | 'longer'> {
  if (previous === null || index >= previous.stages.length)
    return { what: 'its inputs differ', longer: false };
  const before = stageInputs(previous, index);
  const after = stageInputs(recipe, index);
  const changes = describeChanges(before, after);
  if (changes.length === 0) return { what: 'another version of reckon ran it', longer: false };
  const more = changes.length > 3 ? ` and ${changes.length - 3} more` : '';
  const lengths = ['steps', 'epochs', 'dataEpochs'].map((key) => `stages[${index}].${key}`);
  const keys = Object.keys({ ...before, ...after }).filter((key) => before[key] !== after[key]);
  const longer = keys.every((key) => lengths.includes(key) && Number(after[key]) > Number(before[key]));
  return { what: changes.slice(0, 3).join(', ') + more, longer };
}
