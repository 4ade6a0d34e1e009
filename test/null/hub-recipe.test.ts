import { existsSync, mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, it, vi } from 'vitest';
import { parseRecipe, type Recipe } from '../../src/recipe/index.ts';
import { executeRun, type StageFunctions } from '../../src/run/index.ts';
import { DownloadServer } from './hub-downloads.ts';
import { fixtureFunctions } from './run-fixture.ts';

const text = `version: 1
name: hub
task: {name: game24}
model: {path: org/student}
stages:
  - {type: prepare}
  - {type: distill, label: learn, teacher: org/teacher@v1, steps: 1}
`;
const files = { 'config.json': '{}', 'tokenizer.json': '{}', 'model.safetensors': 'x' };

let folder: string;
let server: DownloadServer;

beforeEach(async () => {
  folder = mkdtempSync(join(tmpdir(), 'reckon-hub-recipe-'));
  server = new DownloadServer();
  for (const name of ['HF_TOKEN', 'HF_HUB_CACHE', 'HF_HUB_OFFLINE']) vi.stubEnv(name, '');
  vi.stubEnv('HF_HOME', join(folder, 'home'));
  vi.stubEnv('HF_ENDPOINT', await server.start());
});
afterEach(async () => {
  vi.unstubAllEnvs();
  await server.stop();
  rmSync(folder, { recursive: true, force: true });
});

it('a recipe names models by their hub ids; a run keeps to the commits of its first start', async () => {
  const student = server.add('org/student', files);
  const teacher = server.add('org/teacher', files);
  server.repos.get('org/teacher')!.refs.set('v1', teacher);
  const seen: Recipe[] = [];
  let stopped = true;
  const functions: StageFunctions = {
    ...fixtureFunctions(0),
    prepare: async ({ recipe, stage, directory, setOutput }) => {
      expect(stage.type).toBe('prepare');
      seen.push(recipe);
      setOutput(directory);
      return stopped ? 'stopped' : 'done';
    },
    distill: async ({ recipe, stage }) => {
      seen.push({ ...recipe, stages: [stage] });
      return 'done';
    },
  };
  const execute = (fresh = false, since?: number) =>
    executeRun(parseRecipe(text, 'r.yaml'), {
      fresh,
      since,
      runsDirectory: folder,
      quiet: true,
      stream: { write: () => true },
      load: async () => ({
        stageFunctions: functions,
        resolveCompute: async () => ({ device: 'cpu', dtype: 'f32', threads: 1, kernels: 'none' }),
      }),
    });
  const inCache = (name: string, commit: string) =>
    join(folder, 'home', 'hub', `models--org--${name}`, 'snapshots', commit);
  expect((await execute()).status).toBe('stopped');
  expect(seen[0]!.model.path).toBe(inCache('student', student));
  expect(existsSync(join(seen[0]!.model.path!, 'model.safetensors'))).toBe(true);

  server.commit('org/student', { ...files, 'config.json': '{"changed":1}' });
  server.repos.get('org/teacher')!.refs.set('v1', server.commit('org/teacher', files));
  stopped = false;
  expect((await execute()).status).toBe('done');
  expect(seen[1]!.model.path).toBe(inCache('student', student));
  expect(seen[2]!.stages[0]).toMatchObject({ teacher: inCache('teacher', teacher) });
  expect(readFileSync(join(folder, 'hub', 'recipe.yaml'), 'utf8')).toContain('path: org/student');

  const from = performance.now();
  const again = await execute(true, from);
  expect(again.status).toBe('done');
  expect(again.seconds).toBeLessThanOrEqual((performance.now() - from) / 1000);
  expect(seen[3]!.model.path).not.toBe(inCache('student', student));
});
