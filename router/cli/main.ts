#!/usr/bin/env node
import { once } from 'node:events';
import { MlshimError } from '../lib/errors.ts';
import { VERSION } from '../lib/version.ts';
/** The `mlshim` command: finds the command in the table, runs it, turns errors into messages and exit statuses. */
import {
  type Command,
  commandHelp,
  type Found,
  findCommand,
  type Io,
  nounHelp,
  parseInput,
  plainHelp,
  tableHelp,
} from './command.ts';
import { COMMANDS } from './commands.ts';
import { reportError } from './report.ts';

/** Run one command line; resolves to its exit status. */
export async function main(argv: readonly string[], io: Io, table: readonly Command[] = COMMANDS): Promise<number> {
  const first = argv[0];
  const isAll = first === '--help' || first === '-h' || (first === 'help' && argv.length === 1);
  if (first === undefined || isAll) {
    (first === undefined ? io.err : io.out)(tableHelp(table));
    return first === undefined ? 2 : 0;
  }
  if (first === '--version' || first === '-V') {
    io.out(`mlshim ${VERSION}\n`);
    return 0;
  }
  let found: Found | undefined;
  try {
    found = findCommand(table, plainHelp(table, argv));
    const { command } = found;
    const input = parseInput(command, found.argv, io);
    if (input.options['help'] === true) {
      io.out(found.isBare === true ? nounHelp(table, command.words[0]!) : commandHelp(command));
      return 0;
    }
    return await command.run(input);
  } catch (e) {
    return reportError(io, e, found?.command.words);
  }
}

/** Standard output may be a pipe whose reader has left (`mlshim route | head`): that is an end, not an error. */
function outputFailed(e: NodeJS.ErrnoException): void {
  if (e.code === 'EPIPE') process.exit(0);
  const failed = new MlshimError('NOT_WRITTEN', `cannot write the output: ${e.message}`);
  process.exit(reportError({ err: (text) => process.stderr.write(text) }, failed));
}

if (process.argv[1] !== undefined && import.meta.filename.endsWith('main.js')) {
  const { realpathSync } = await import('node:fs');
  if (realpathSync(process.argv[1]) === import.meta.filename) {
    process.stdout.on('error', outputFailed);
    process.exitCode = await main(process.argv.slice(2), {
      out: (text) => process.stdout.write(text),
      err: (text) => process.stderr.write(text),
      drained: async () => {
        if (process.stdout.writableNeedDrain) await once(process.stdout, 'drain');
      },
      env: process.env,
      isTty: process.stdout.isTTY === true,
      columns: process.stdout.columns,
    });
  }
}
