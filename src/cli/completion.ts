/** Owns shell completion: the words that may come next, and the few lines that have a shell ask for them. Runs no command. */

import { readdirSync } from 'node:fs';
import { Argument, type Command, Option } from 'commander';
import { ReckonError } from '../util/errors.ts';
import type { ExitCode } from './output.ts';

const SHELLS = ['bash', 'zsh', 'fish'] as const;

/** Adds the commands; `finish` takes their exit code. */
export function addCompletionCommand(program: Command, finish: (code: ExitCode) => void): void {
  program
    .command('completion')
    .description('print a script for shell completion of commands, options and choices')
    .addArgument(new Argument('<shell>', 'shell that the script is for').choices(SHELLS).argParser(String))
    .addHelpText('after', '\nExample:\n  reckon completion bash >> ~/.bashrc')
    .action((shell: string) => {
      process.stdout.write(scriptFor(shell));
      finish(0);
    });
  program
    .command('complete', { hidden: true })
    .description('list the words that may stand at the end of a command line')
    .argument('[words...]')
    .helpOption(false)
    .allowUnknownOption()
    .action((words: string[]) => {
      process.stdout.write(
        completions(program, words)
          .map((word) => `${word}\n`)
          .join(''),
      );
      finish(0);
    });
}

/** What may stand in the place of the last of the words, which may be begun or empty. */
export function completions(program: Command, words: readonly string[]): string[] {
  const begun = words.at(-1) ?? '';
  const { command, value } = commandAt(program, words.slice(0, -1));
  const candidates = value === null ? namesOf(program, command) : value;
  return candidates.filter((word) => word.startsWith(begun)).sort();
}

/** The command that words lead to, and the choices where the last of them is an option that takes a value. */
function commandAt(program: Command, words: readonly string[]): { command: Command; value: string[] | null } {
  let command = program;
  for (const word of words) command = subcommand(command, word) ?? command;
  const last = words.at(-1) ?? '';
  const option = [...command.options, ...program.options].find(
    ({ long, short }) => last !== '' && [long, short].includes(last),
  );
  const takes = option?.required === true || option?.optional === true;
  return { command, value: takes ? [...(option?.argChoices ?? [])] : null };
}

function namesOf(program: Command, command: Command): string[] {
  const commands = command.commands.filter((one) => one.name() !== 'complete').map((one) => one.name());
  const options = [...command.options, ...program.options, new Option('--help')].filter(
    ({ hidden }) => !hidden,
  );
  const named = command.registeredArguments.flatMap(argumentsNames);
  return [...new Set([...commands, ...named, ...options.flatMap(({ long }) => (long ? [long] : []))])];
}

/** The choices of an argument; where it is a run, those of the folder that runs are in by default. */
function argumentsNames(argument: Argument): string[] {
  if (argument.argChoices) return argument.argChoices;
  if (argument.name() !== 'run') return [];
  try {
    return readdirSync('runs', { withFileTypes: true }).flatMap((one) =>
      one.isDirectory() ? [one.name] : [],
    );
  } catch {
    return [];
  }
}

function subcommand(command: Command, word: string): Command | undefined {
  return command.commands.find((one) => one.name() === word || one.aliases().includes(word));
}

function scriptFor(shell: string): string {
  if (shell === 'bash') return BASH;
  if (shell === 'zsh') return ZSH;
  if (shell === 'fish') return FISH;
  throw new ReckonError(
    'usage',
    'unknown-shell',
    `there is no completion for ${shell}; use ${SHELLS.join(', ')}`,
  );
}

/** Where nothing fits, each shell completes names of files. */
const BASH = `_reckon() {
  local IFS=$'\\n'
  COMPREPLY=($(reckon complete -- "\${COMP_WORDS[@]:1:COMP_CWORD}" 2>/dev/null))
}
complete -o default -F _reckon reckon
`;

const ZSH = `#compdef reckon
_reckon() {
  local -a found
  found=("\${(@f)$(reckon complete -- "\${(@)words[2,CURRENT]}" 2>/dev/null)}")
  if [[ -n "\${found[1]}" ]]; then compadd -- "\${found[@]}"; else _files; fi
}
compdef _reckon reckon
`;

const FISH = `function __reckon_complete
  set -l found (reckon complete -- (commandline -opc)[2..] (commandline -ct) 2>/dev/null)
  if test (count $found) -gt 0
    printf '%s\\n' $found
  else
    __fish_complete_path (commandline -ct)
  end
end
complete -c reckon -f -a '(__reckon_complete)'
`;
