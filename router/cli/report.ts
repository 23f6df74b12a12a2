/** How errors leave a command: the message, the hint, the exit status. */
import { MlshimError } from '../lib/errors.ts';
import { LEVELS, type Level } from '../lib/log.ts';
import type { Input, Io } from './command.ts';

/** Print an error and return the exit status it stands for. */
export function reportError(io: Pick<Io, 'err'>, e: unknown): number {
  if (e instanceof MlshimError) {
    // A configuration report stands for itself: it already has one line per finding.
    io.err(e.code === 'CONFIG_INVALID' ? `${e.message}\n` : `mlshim: ${e.message}\n  hint: ${e.hint}\n`);
    return e.exit;
  }
  io.err(`mlshim: ${e instanceof Error ? (e.stack ?? e.message) : String(e)}\n`);
  return 1;
}

/** `--log-level`, then MLSHIM_LOG, then the command's own default. */
export function levelOption(input: Input, fallback: Level): Level {
  const value = (input.options['log-level'] as string | undefined) ?? input.io.env['MLSHIM_LOG'] ?? fallback;
  const level = LEVELS.find((l) => l === value);
  if (level === undefined)
    throw new MlshimError('USAGE', `the log level is one of ${LEVELS.join(', ')}, not "${value}"`);
  return level;
}
