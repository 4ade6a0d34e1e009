/** Owns `reckon setup`: starts the set-up where reckon's own files are, which may be in node_modules. Does no part of it. */

import { spawnSync } from 'node:child_process';
import { join } from 'node:path';
import type { Command } from 'commander';
import { PACKAGE_ROOT } from '../util/place.ts';
import type { ExitCode, GlobalOptions } from './output.ts';

/** Adds the command; `finish` takes the set-up's exit code. */
export function addSetupCommand(program: Command, finish: (code: ExitCode) => void): void {
  program
    .command('setup')
    .description('get libtorch and compile what is missing or was changed; another libtorch by RECKON_TORCH')
    .addHelpText(
      'after',
      '\nExample:\n  reckon setup\n  RECKON_TORCH=cu130 reckon setup      (a libtorch for an NVIDIA GPU)',
    )
    .action((_options, command: Command) => {
      const { quiet, debug } = command.optsWithGlobals<GlobalOptions>();
      const words = [...(quiet === true ? ['--quiet'] : []), ...(debug === true ? ['--debug'] : [])];
      const script = join(PACKAGE_ROOT, 'scripts', 'setup.mjs');
      const { status } = spawnSync(process.execPath, [script, ...words], { stdio: 'inherit' });
      finish(status === 0 ? 0 : status === 130 ? 130 : 1);
    });
}
