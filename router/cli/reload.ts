/** `mlshim reload`, `confirm` and `config diff`: a changed configuration without a new start. */
import { ask } from '../control/client.ts';
import type { ConfigChange, Reloaded } from '../control/messages.ts';
import { socketPaths } from '../control/paths.ts';
import { MlshimError } from '../lib/errors.ts';
import type { Input } from './command.ts';
import { BARE_CONFIRM, durationMs } from './duration.ts';
import { plural, table } from './render.ts';

export async function reload(input: Input): Promise<number> {
  const option = input.options['confirm'] as string | undefined;
  // `--confirm 60s` is how people write it; the option's own value stands for `--confirm` alone.
  const [time] = input.args;
  if (time !== undefined && option !== BARE_CONFIRM)
    throw new MlshimError('USAGE', `"${time}" is too much: a time follows --confirm only`);
  const confirm = option === undefined ? undefined : (time ?? option);
  const confirm_s = confirm === undefined ? 0 : durationMs('--confirm', confirm) / 1000;
  if (confirm !== undefined && confirm_s === 0)
    throw new MlshimError('USAGE', '--confirm takes a time to confirm within: 0 would be none');
  const answer = await ask(socketPaths(input.io.env).control, 'reload', { check: false, confirm_s });
  print(input, answer);
  return 0;
}

export async function confirm(input: Input): Promise<number> {
  await ask(socketPaths(input.io.env).control, 'confirm', {});
  return 0;
}

/** As diff(1): 1 when there are differences. */
export async function diff(input: Input): Promise<number> {
  const answer = await ask(socketPaths(input.io.env).control, 'reload', { check: true, confirm_s: 0 });
  print(input, answer);
  return answer.changes.length === 0 ? 0 : 1;
}

function print(input: Input, answer: Reloaded): void {
  input.io.out(input.options['json'] === true ? `${JSON.stringify(answer, null, 2)}\n` : reloadText(answer));
}

const SIGNS: Readonly<Record<string, string>> = { added: '+', removed: '-', changed: '~' };

/** One change per line, with what it takes. */
export function reloadText(r: Reloaded): string {
  const tail =
    r.reverts_in_s === 0 ? '' : `the configuration before comes back in ${r.reverts_in_s} s unless: mlshim confirm\n`;
  if (r.changes.length === 0) return `${r.file}: nothing is different from what runs\n${tail}`;
  const rows = r.changes.map((c) => [`  ${SIGNS[c.kind] ?? '?'} ${c.path}`, valuesText(c), effectText(c)]);
  const head = `${r.file}: ${plural(r.changes.length, 'change')}${r.applied ? '' : ', not loaded'}`;
  return `${head}\n${table(rows)}\n${tail}`;
}

function valuesText(c: ConfigChange): string {
  return c.kind === 'changed' ? `${c.before} -> ${c.after}` : c.kind === 'added' ? c.after : c.before;
}

function effectText(c: ConfigChange): string {
  const isWhole = /^(bgp\.peers|uplinks)\.[^.]+$/.test(c.path) && c.kind !== 'changed';
  const what = c.path.startsWith('bgp.') ? 'session' : 'uplink';
  if (c.effect === 'restart') return 'NEEDS A NEW START';
  if (c.effect === 'routing') return 'all sessions restart, forwarding goes on';
  if (c.effect === 'session')
    return c.path.startsWith('bgp.peers.') ? 'session restarts' : 'sessions with graceful_restart restart';
  if (c.effect === 'uplink') return 'uplink restarts';
  if (isWhole) return `${what} ${c.kind === 'added' ? 'starts' : 'ends'}`;
  if (/^vrfs\.[^.]+\.rd$/.test(c.path)) return 'sessions stay, routes are told anew';
  if (c.path === 'bgp.filters') return 'sessions stay, routes are judged again';
  return /\.(import|export)(\.|$)/.test(c.path) ? 'session stays, judged anew' : 'nothing restarts';
}
