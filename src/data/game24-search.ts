/**
 * Owns depth-first searches for 24 and their random pruning: what was tried before a solution was found, and how much of
 * it is told. Writes no text.
 */

import { ReckonError } from '../util/errors.ts';
import { equal, type Fraction, formatFraction, fraction } from '../util/fraction.ts';
import type { Rng } from '../util/rng.ts';
import { type Operator, searchSteps, TARGET24 } from './game24-solver.ts';

/** A number of a state, and how it was made: digits, or an expression in parentheses. */
export interface SearchTerm {
  readonly value: Fraction;
  readonly text: string;
}

/** One step of a search. */
export interface SearchNode {
  readonly left: SearchTerm;
  readonly operator: Operator;
  readonly right: SearchTerm;
  /** What is left after it, the new number first, the others in their order. */
  readonly state: readonly SearchTerm[];
  /** The step before it in `nodes`, or -1. */
  readonly parent: number;
  /** Whether it leads to the solution that was found. */
  readonly solving: boolean;
}

/** A search from numbers in this order to the first solution that it met. */
export interface SearchTree {
  readonly numbers: readonly number[];
  /** In the order in which they were tried; those that solve come after all failures before them. */
  readonly nodes: readonly SearchNode[];
  /** Steps that lead nowhere. */
  readonly deadEnds: number;
}

/**
 * Tries the steps of every state in a random order until 24 is made. A state whose numbers were all there before is not
 * searched again. Throws `no-solution` for numbers that cannot make 24.
 */
export function searchTree(numbers: readonly number[], rng: Rng): SearchTree {
  const nodes: (Omit<SearchNode, 'solving'> & { solving: boolean })[] = [];
  const seen = new Set<string>();
  const descend = (state: readonly SearchTerm[], parent: number): boolean => {
    if (state.length === 1) return equal(state[0]!.value, TARGET24);
    for (const step of rng.shuffled(searchSteps(state.map(({ value }) => value)))) {
      const [left, right] = [state[step.leftIndex]!, state[step.rightIndex]!];
      const made = { value: step.value, text: `(${left.text} ${step.operator} ${right.text})` };
      const rest = state.filter((_, i) => i !== step.leftIndex && i !== step.rightIndex);
      const index = nodes.length;
      const key = valuesKey([made, ...rest]);
      if (seen.has(key)) continue;
      seen.add(key);
      const node = { left, operator: step.operator, right, state: [made, ...rest], parent, solving: false };
      nodes.push(node);
      if (descend(node.state, index)) {
        node.solving = true;
        return true;
      }
    }
    return false;
  };
  const start = numbers.map((number) => ({ value: fraction(number), text: String(number) }));
  if (descend(start, -1)) return { numbers, nodes, deadEnds: nodes.filter(({ solving }) => !solving).length };
  throw new ReckonError(
    'data',
    'no-solution',
    `Expected numbers that can make 24, found ${numbers.join(' ')}; take them from game24Problems.`,
  );
}

function valuesKey(state: readonly SearchTerm[]): string {
  return state
    .map(({ value }) => formatFraction(value))
    .sort()
    .join(' ');
}

/**
 * Which steps stay where at most `deadEnds` failures are told: failures without a further step behind them are taken away
 * in a random order. The result has one entry a node.
 */
export function prunedSearch({ nodes }: SearchTree, deadEnds: number, rng: Rng): boolean[] {
  const kept = nodes.map(() => true);
  const children = nodes.map(() => 0);
  for (const { parent } of nodes) if (parent >= 0) children[parent]!++;
  const leaves = nodes.flatMap(({ solving }, i) => (!solving && children[i] === 0 ? [i] : []));
  let left = nodes.filter(({ solving }) => !solving).length;
  while (left > deadEnds) {
    const chosen = rng.integer(leaves.length);
    const leaf = leaves[chosen]!;
    leaves[chosen] = leaves.at(-1)!;
    leaves.pop();
    kept[leaf] = false;
    left--;
    const { parent } = nodes[leaf]!;
    if (parent >= 0 && --children[parent]! === 0 && !nodes[parent]!.solving) leaves.push(parent);
  }
  return kept;
}
