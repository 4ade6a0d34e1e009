/** Owns `reckon convert`: a model folder in another dtype or cut into other files. */

import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { type Command, Option } from 'commander';
import { localModel } from '../hub/index.ts';
import { ReckonError } from '../util/errors.ts';
import {
  copyTokenizer,
  describeDerived,
  downloadOptions,
  inMillions,
  maxShardOption,
  modelName,
  type StoredDtype,
  storedDtype,
  writeNewFolder,
} from './model-files.ts';
import { type ExitCode, type GlobalOptions, printResult } from './output.ts';

interface ConvertOptions extends GlobalOptions {
  readonly dtype?: StoredDtype;
  readonly maxShardSize: number;
}

/** Adds the command; `finish` takes its exit code. */
export function addConvertCommand(program: Command, finish: (code: ExitCode) => void): void {
  program
    .command('convert')
    .description('write a model in another dtype, or with its weights in smaller files')
    .argument('<in>', 'model folder, or hub id (org/name@revision)')
    .argument('<out>', 'folder to write; must not exist yet')
    .addOption(
      new Option('--dtype <dtype>', 'dtype of the weights; by default as they are').choices([
        'f32',
        'bf16',
        'f16',
      ]),
    )
    .addOption(maxShardOption())
    .addHelpText(
      'after',
      '\nExample:\n  reckon convert models/math models/math-bf16 --dtype bf16 --max-shard-size 2GB',
    )
    .action(async (from: string, out: string, _options, command: Command) => {
      await convert(from, out, command.optsWithGlobals<ConvertOptions>());
      finish(0);
    });
}

async function convert(name: string, out: string, options: ConvertOptions): Promise<void> {
  const from = await localModel(name, { ...downloadOptions(options), withBase: false });
  if (existsSync(join(from, 'adapter_config.json')) && !existsSync(join(from, 'config.json'))) {
    const message = `${from} is an adapter, which is f32 in one small file; write it with its base by reckon merge`;
    throw new ReckonError('usage', 'no-model-folder', message);
  }
  const { loadModel, mergedModel, saveModel } = await import('../models/index.ts');
  const dtype = storedDtype(from);
  const target = options.dtype ?? dtype;
  const parameters = await writeNewFolder(out, async () => {
    using model = loadModel(from, { dtype, computeDtype: 'f32', device: 'cpu', map: true });
    using converted = mergedModel(model, target);
    saveModel(converted, out, { maxShardBytes: options.maxShardSize });
    copyTokenizer([from], out);
    describeDerived(out, [from], { how: 'convert', base: modelName(name) });
    return converted.parameterCount;
  });
  const text = `${modelName(name)} written to ${out} (${inMillions(parameters)} parameters, ${dtype} to ${target})`;
  printResult(options, { in: name, out, parameters, from: dtype, to: target }, text);
}
