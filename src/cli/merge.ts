/** Owns `reckon merge`: a base and an adapter become one model folder. */

import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { type Command, Option } from 'commander';
import { adapterInfo } from '../checkpoints/model-info.ts';
import { isHubId, localModel } from '../hub/index.ts';
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

interface MergeOptions extends GlobalOptions {
  readonly dtype?: StoredDtype;
  readonly maxShardSize: number;
}

/** Adds the command; `finish` takes its exit code. */
export function addMergeCommand(program: Command, finish: (code: ExitCode) => void): void {
  program
    .command('merge')
    .description('write a base model with an adapter merged into its weights')
    .argument('<base>', 'model folder or hub id (org/name@revision) that the adapter was trained on')
    .argument('<adapter>', 'adapter folder in PEFT format, or hub id')
    .argument('<out>', 'folder to write; must not exist yet')
    .addOption(
      new Option('--dtype <dtype>', "dtype of the weights; by default the base's").choices([
        'f32',
        'bf16',
        'f16',
      ]),
    )
    .addOption(maxShardOption())
    .addHelpText('after', '\nExample:\n  reckon merge models/qwen2.5-0.5b adapters/math models/math')
    .action(async (base: string, adapter: string, out: string, _options, command: Command) => {
      await merge(base, adapter, out, command.optsWithGlobals<MergeOptions>());
      finish(0);
    });
}

async function merge(
  baseName: string,
  adapterName: string,
  out: string,
  options: MergeOptions,
): Promise<void> {
  const open = (name: string) => localModel(name, { ...downloadOptions(options), withBase: false });
  const [base, adapter] = [await open(baseName), await open(adapterName)];
  if (!existsSync(join(adapter, 'adapter_config.json'))) {
    const found = existsSync(join(adapter, 'config.json')) ? 'a model folder' : 'neither adapter nor model';
    throw new ReckonError(
      'usage',
      'no-adapter-folder',
      `expected an adapter folder with adapter_config.json, found ${found} at ${adapter}; the order is: base, adapter, out`,
    );
  }
  const { loadAdapter, loadModel, mergedModel, saveModel } = await import('../models/index.ts');
  const { useAdapter } = await import('../nn/index.ts');
  const dtype = storedDtype(base);
  const target = options.dtype ?? dtype;
  const summary = await writeNewFolder(out, async () => {
    using model = loadModel(base, { dtype, computeDtype: 'f32', device: 'cpu', map: true });
    const config = loadAdapter(model, 'merged', adapter);
    useAdapter(model, 'merged');
    using merged = mergedModel(model, target);
    saveModel(merged, out, { maxShardBytes: options.maxShardSize });
    copyTokenizer([adapter, base], out);
    describeDerived(out, [base, adapter], {
      how: 'merge',
      base: config.base !== null && isHubId(config.base) ? config.base : modelName(baseName),
      adapter: adapterInfo(config, true),
    });
    const untied = model.config.tieEmbeddings && !merged.config.tieEmbeddings;
    return { parameters: merged.parameterCount, dtype: target, untied };
  });
  const note = summary.untied ? '; head and embedding are no longer tied' : '';
  const text = `${modelName(adapterName)} merged into ${modelName(baseName)}: ${out} (${inMillions(summary.parameters)} parameters, ${target})${note}`;
  printResult(options, { base: baseName, adapter: adapterName, out, ...summary }, text);
}
