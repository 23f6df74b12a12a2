/** How errors leave a command: the message, the hint, the exit status. */
import { MlshimError } from '../lib/errors.ts';
import { LEVELS, type Level } from '../lib/log.ts';
import type { Input, Io } from './command.ts';

/**
 * Print an error and return the exit status it stands for.
 * @param words the command that was given; its own help is the hint when it was used wrongly
 */
export function reportError(io: Pick<Io, 'err'>, e: unknown, words?: readonly string[]): number {
  if (e instanceof MlshimError) {
    // A configuration report stands for itself: it already has one line per finding.
    io.err(e.code === 'CONFIG_INVALID' ? `${e.message}\n` : `mlshim: ${e.message}\n  hint: ${hintOf(e, words)}\n`);
    return e.exit;
  }
  io.err(`mlshim: ${e instanceof Error ? (e.stack ?? e.message) : String(e)}\n`);
  return 1;
}

function hintOf(e: MlshimError, found: readonly string[] | undefined): string {
  const words = found ?? (e.details['words'] as readonly string[] | undefined) ?? [];
  return e.code === 'USAGE' && words.length > 0 ? `mlshim ${words.join(' ')} --help tells more` : e.hint;
}

/** `--log-level`, then MLSHIM_LOG, then the command's own default. */
export function levelOption(input: Input, fallback: Level): Level {
  const value = (input.options['log-level'] as string | undefined) ?? input.io.env['MLSHIM_LOG'] ?? fallback;
  const level = LEVELS.find((l) => l === value);
  if (level === undefined)
    throw new MlshimError('USAGE', `the log level is one of ${LEVELS.join(', ')}, not "${value}"`);
  return level;
}
