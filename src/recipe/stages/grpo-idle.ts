/** Owns which keys of `grpo` nothing reads beside others, and which exclude each other. Runs nothing. */

import { samplerDiffers } from '../../generate/sampling.ts';
import type { RecipeProblem } from '../issues.ts';
import type { KeyPath } from '../nearest.ts';
import type { Recipe } from '../recipe.ts';
import type { GrpoStage, GrpoSwitches } from './grpo.ts';
import { idleIntrinsic } from './intrinsic.ts';
import { type IdleKey, problem } from './kind.ts';
import { idleSchedule } from './optimisation.ts';
import { idleReference } from './reference.ts';

/** What each objective reads of `clip`. */
const clipRead: Readonly<Record<GrpoSwitches['objective'], readonly (keyof GrpoSwitches['clip'])[]>> = {
  clip: ['low', 'high', 'cap', 'dual'],
  gmpo: ['low', 'high'],
  cispo: ['high'],
  sapo: [],
  vespo: [],
  reinforce: [],
};

/** The keys that have no effect as the stage stands. */
export function idleGrpo(stage: GrpoStage, recipe: Recipe): IdleKey[] {
  return [
    ...idleAdvantages(stage.advantages),
    ...idleClip(stage),
    ...idleKl(stage),
    ...idleImportance(stage, recipe),
    ...(stage.temperatureEnd === undefined
      ? [{ keys: ['temperatureSchedule'], because: 'the temperature stays as it is without temperatureEnd' }]
      : []),
    ...idleReference(stage),
    ...idleIntrinsic(stage.intrinsic),
    ...idleSchedule(stage),
  ];
}

function idleAdvantages({ baseline, scale, maxMomentum }: GrpoSwitches['advantages']): IdleKey[] {
  const at = (key: string, because: string, off?: unknown): IdleKey => ({
    keys: ['advantages', key],
    because,
    ...(off === undefined ? {} : { off }),
  });
  const ownScale = 'advantages.baseline decoupled divides each reward by its own std with ddof 1';
  if (baseline === 'decoupled') return [at('scale', ownScale), at('ddof', ownScale)];
  if (maxMomentum > 0) return [at('ddof', 'the running std of advantages.maxMomentum has ddof 1')];
  if (baseline === 'group' && scale !== 'none') return [];
  const nothing =
    baseline === 'group'
      ? 'advantages.scale none divides by nothing'
      : `advantages.baseline ${baseline} divides by nothing`;
  const unscaled = [at('epsilon', nothing), at('ddof', nothing)];
  return baseline === 'group' ? unscaled : [at('scale', nothing, 'none'), ...unscaled];
}

function idleClip({ objective, ratioLevel, kl }: GrpoStage): IdleKey[] {
  const read = clipRead[objective];
  const words = read.length === 0 ? 'clips nothing' : `reads ${read.join(' and ')} alone`;
  const clip = (['low', 'high', 'cap', 'dual'] as const)
    .filter((key) => !read.includes(key))
    .map((key): IdleKey => ({ keys: ['clip', key], because: `objective ${objective} ${words}` }));
  const hasRatio = ['clip', 'cispo', 'sapo'].includes(objective) || (kl.corrected && kl.beta > 0);
  if (hasRatio || ratioLevel === 'token') return clip;
  return [...clip, { keys: ['ratioLevel'], because: `objective ${objective} has no such ratio` }];
}

function idleKl({ kl, reference, advantages }: GrpoStage): IdleKey[] {
  const found: IdleKey[] = [];
  const none = 'there is no KL term with kl.beta 0';
  if (kl.beta === 0 || kl.place !== 'loss')
    found.push({
      keys: ['kl', 'corrected'],
      because: kl.beta === 0 ? none : `it corrects the KL of the loss, and kl.place is ${kl.place}`,
    });
  // Where tokens have advantages of their own, they are what is whitened.
  if (kl.beta === 0 && advantages.whiten === false) found.push({ keys: ['kl', 'place'], because: none });
  // With a reference the KL is logged, whatever its weight.
  if (reference === 'none')
    found.push({ keys: ['kl', 'estimator'], because: 'there is no KL without a reference' });
  return found;
}

function idleImportance({ importance, replay }: GrpoStage, { sampling, engine }: Recipe): IdleKey[] {
  if (importance.always || replay || engine.kind === 'remote' || samplerDiffers(sampling)) return [];
  const because =
    'every completion is sampled from the policy itself (no topP, other filter, int8, replay, servers or importance.always)';
  return ['level', 'beyond', 'max', 'min'].map((key) => ({ keys: ['importance', key], because }));
}

/** Keys of `advantages` and `kl` of which one would silently do nothing beside another. */
export function checkEstimator({ advantages, kl }: GrpoStage, path: KeyPath): RecipeProblem[] {
  const found: RecipeProblem[] = [];
  const { baseline, scale, whiten } = advantages;
  if (advantages.maxMomentum > 0) {
    const reason = 'with advantages.maxMomentum, whose running mean and std take the place of all others';
    if (baseline !== 'group')
      found.push(problem([...path, 'advantages', 'baseline'], `must be group ${reason}, found ${baseline}`));
    if (scale !== 'group')
      found.push(problem([...path, 'advantages', 'scale'], `must be group ${reason}, found ${scale}`));
    if (whiten === true)
      found.push(problem([...path, 'advantages', 'whiten'], `must be false or tokens ${reason}`));
  }
  if (baseline === 'decoupled' && kl.beta > 0 && kl.place === 'reward') {
    const reason = 'because advantages.baseline decoupled normalises each reward by itself and reads no sum';
    found.push(problem([...path, 'kl', 'place'], `must be loss or tokens, ${reason}`));
  }
  return found;
}
