/** The read commands: ask the daemon, print its answer as text or as the JSON it is. */
import { showText } from '../../wg/show.ts';
import { ask, parts } from '../control/client.ts';
import type { Answers, RouteStatus, StreamVerb, Verb, Verbs } from '../control/messages.ts';
import { socketPaths } from '../control/paths.ts';
import { MlshimError } from '../lib/errors.ts';
import type { Input } from './command.ts';
import { askedPrinter, formatOf, perLine, printListing } from './listing.ts';
import { rpkiText } from './rpki.ts';
import { bfdText, fpmText, routeGetText, routeText, statusText, uplinksText } from './show.ts';

type ReadVerb = Exclude<Verb, StreamVerb>;

async function query<V extends ReadVerb>(input: Input, verb: V, args: Verbs[V]): Promise<Answers[V]> {
  return ask(socketPaths(input.io.env).control, verb, args);
}

/** The VRF asked about; empty = the default one. */
function vrfOf(input: Input): string {
  return (input.options['vrf'] as string | undefined) ?? '';
}

function print<A>(input: Input, answer: A, text: (a: A) => string): void {
  input.io.out(input.options['json'] === true ? `${JSON.stringify(answer, null, 2)}\n` : text(answer));
}

export async function status(input: Input): Promise<number> {
  const answer = await query(input, 'status', {});
  print(input, answer, statusText);
  return answer.uplinks.length > 0 && answer.uplinks.every((u) => u.state !== 'up') ? 1 : 0;
}

export async function uplinkShow(input: Input): Promise<number> {
  const { uplinks } = await query(input, 'status', {});
  print(input, uplinks, uplinksText);
  return uplinks.length > 0 && uplinks.every((u) => !u.usable) ? 1 : 0;
}

export async function uplinkDrain(input: Input, drained: boolean): Promise<number> {
  await query(input, 'uplink_drain', { uplink: input.args[0]!, drained });
  return 0;
}

export async function routeGet(input: Input): Promise<number> {
  const answer = await query(input, 'route_get', { dst: input.args[0]!, vrf: vrfOf(input) });
  print(input, answer, routeGetText);
  return answer.kind === 'unicast' || answer.kind === 'local' ? 0 : 1;
}

/** Who routes can come from; bgp stands for both kinds of it. */
const ORIGINS: readonly string[] = ['connected', 'static', 'bgp', 'ebgp', 'ibgp', 'external'];

export async function routeShow(input: Input): Promise<number> {
  const origin = (input.options['proto'] as string | undefined) ?? '';
  if (origin !== '' && !ORIGINS.includes(origin))
    throw new MlshimError('USAGE', `--proto is one of ${ORIGINS.join(', ')}, not "${origin}"`);
  const { io } = input;
  const printer = askedPrinter<RouteStatus>(input, formatOf(input, 'Route')) ?? perLine(io, routeText);
  const lists = async function* () {
    for await (const { routes } of parts(socketPaths(io.env).control, 'route_show', { origin, vrf: vrfOf(input) }))
      yield routes;
  };
  await printListing(input, lists(), printer);
  return 0;
}

export async function bgpRpki(input: Input): Promise<number> {
  const action = input.args[0] ?? '';
  if (action !== '' && action !== 'refresh') throw new MlshimError('USAGE', `"${action}" is not "refresh"`);
  const answer = await query(input, 'bgp_rpki', { action });
  print(input, answer, rpkiText);
  return answer.vrps_ipv4 + answer.vrps_ipv6 > 0 && answer.not_refreshed.length === 0 ? 0 : 1;
}

export async function bfdShow(input: Input): Promise<number> {
  const answer = await query(input, 'bfd_show', {});
  print(input, answer, bfdText);
  return answer.sessions.every((s) => s.state === 'Up') ? 0 : 1;
}

/** 1 when no daemon is connected; the answer is a part of that of `status`. */
export async function fpmShow(input: Input): Promise<number> {
  const { fpm } = await query(input, 'status', {});
  if (fpm === undefined) throw new MlshimError('UNKNOWN', 'fpm is not configured');
  print(input, fpm, fpmText);
  return fpm.state === 'connected' ? 0 : 1;
}

export async function wgShow(input: Input): Promise<number> {
  const answer = await query(input, 'wg_show', { device: input.args[0] ?? '' });
  print(input, answer, (a) => showText(a.devices));
  return 0;
}
