/** Durations as options have them: `500ms`, `30s`, `2m`, or plain seconds. */
import { MlshimError } from '../lib/errors.ts';

/** What `reload --confirm` without a time means. */
export const BARE_CONFIRM = '60s';

/** Milliseconds. @throws MlshimError USAGE */
export function durationMs(option: string, value: string): number {
  const m = /^(\d+)(ms|s|m)?$/.exec(value);
  if (m === null) throw new MlshimError('USAGE', `${option} takes a duration such as 30s, not "${value}"`);
  return Number(m[1]) * { ms: 1, s: 1000, m: 60_000 }[(m[2] ?? 's') as 'ms' | 's' | 'm'];
}
