/** A small model learns the 24 game: by imitation, then by trying, with a reward of its own. Minutes on two cores. */

import { defineRecipe } from 'reckon/recipe';

export default defineRecipe({
  version: 1,
  name: '{{name}}',
  seed: 1,
  task: { name: 'game24' },
  model: {
    init: {
      hiddenSize: 128,
      layers: 3,
      heads: 4,
      keyValueHeads: 2,
      intermediateSize: 352,
      maxPositions: 192,
    },
  },
  sampling: { temperature: 1, maxCompletionTokens: 160 },
  evaluation: { split: 'test', samplesPerProblem: 4, temperature: 1 },
  checkpoints: { every: 50, keepLast: 2 },
  stages: [
    { type: 'prepare' },
    { type: 'sft', steps: 300, optimizerBatch: 32, learningRate: 2e-3, warmupSteps: 20 },
    { type: 'evaluate', label: 'sft' },
    {
      type: 'grpo',
      steps: 20,
      promptsPerStep: 16,
      groupSize: 8,
      microBatchTokens: 4096,
      learningRate: 3e-4,
      rewards: [
        { name: 'correct', weight: 1 },
        { file: 'reward.ts', weight: 0.2 }, // yours
      ],
    },
    { type: 'evaluate', label: 'grpo' },
    { type: 'report' },
  ],
});
