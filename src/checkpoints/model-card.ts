/** Owns a model folder's README.md, the card that the hub shows, written from model_info.json alone. */

import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { stringify } from 'yaml';
import { isHubId } from '../hub/index.ts';
import type { AdapterInfo, ModelInfo } from './model-info.ts';

/** Writes README.md beside model_info.json. */
export function writeModelCard(folder: string, info: ModelInfo): void {
  writeFileSync(join(folder, 'README.md'), modelCard(info));
}

/** The card: front matter that the hub reads, what the model is, how it was made, how it is used; `name` is its hub id. */
export function modelCard(info: ModelInfo, name: string | null = null): string {
  const isAdapter = info.adapter !== null && !info.adapter.merged;
  const what = isAdapter ? 'An adapter' : 'A language model';
  const place = name ?? 'path/to/this/folder';
  const base = info.base !== null && isHubId(info.base) ? info.base : null;
  const front = stringify({
    ...(base === null ? {} : { base_model: base }),
    library_name: isAdapter ? 'peft' : 'transformers',
    pipeline_tag: 'text-generation',
    tags: ['reckon', ...(info.adapter ? [info.adapter.type] : [])],
  });
  const lines = [
    `---\n${front}---`,
    `# ${name ?? `${what} by ${info.how}`}`,
    `${what} made with reckon (${info.how}). The numbers below are those of model_info.json.`,
    '## How it was made',
    facts(info).join('\n'),
    '## How it is used',
    isAdapter ? adapterUse(base ?? 'path/to/its/base', place) : modelUse(place),
  ];
  return `${lines.join('\n\n')}\n`;
}

function facts({ base, parents, steps, tokens, adapter, data, recipe, versions }: ModelInfo): string[] {
  const number = (value: number) => value.toLocaleString('en-US');
  const versionText = Object.entries(versions).map(([name, version]) => `${name} ${version}`);
  return [
    `- base: ${base ?? 'random initial weights'}`,
    ...parents.map(({ name }) => `- from: ${name}`),
    ...(adapter ? [`- adapter: ${adapterText(adapter)}`] : []),
    ...(data ? [`- data: \`${JSON.stringify(data)}\``] : []),
    ...(steps === null ? [] : [`- steps of the last stage: ${number(steps)}`]),
    ...(tokens === null ? [] : [`- tokens of the last stage: ${number(tokens)}`]),
    ...(recipe === null ? [] : [`- recipe hash: \`${recipe}\``]),
    ...(versionText.length === 0 ? [] : [`- versions: ${versionText.join(', ')}`]),
  ];
}

function adapterText({ type, rank, alpha, targetModules, merged }: AdapterInfo): string {
  const last = (path: string) => path.slice(path.lastIndexOf('.') + 1);
  const names = typeof targetModules === 'string' ? [targetModules] : targetModules.map(last);
  const targets = [...new Set(names)].join(', ');
  return `${type}, rank ${rank}, alpha ${alpha}, on ${targets}${merged ? ', merged into the weights' : ''}`;
}

function modelUse(name: string): string {
  return `\`\`\`python
from transformers import AutoModelForCausalLM, AutoTokenizer

model = AutoModelForCausalLM.from_pretrained("${name}")
tokenizer = AutoTokenizer.from_pretrained("${name}")
\`\`\``;
}

function adapterUse(base: string, name: string): string {
  return `\`\`\`python
from peft import PeftModel
from transformers import AutoModelForCausalLM

model = PeftModel.from_pretrained(AutoModelForCausalLM.from_pretrained("${base}"), "${name}")
\`\`\`

\`reckon merge ${base} ${name} <folder>\` writes base and adapter as one model.`;
}
