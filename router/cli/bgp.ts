/** `mlshim bgp ...`: sessions, routes, decisions, and orders to peers. Listings of routes are printed while they arrive. */
import { ask, parts } from '../control/client.ts';
import type { BgpPeerStatus, BgpRouteStatus, BgpVpnRouteStatus, Verbs } from '../control/messages.ts';
import { socketPaths } from '../control/paths.ts';
import { Addr } from '../lib/addr.ts';
import { MlshimError } from '../lib/errors.ts';
import { type Input, listingColumns } from './command.ts';
import { askedPrinter, formatOf, type ListingPrinter, printListing } from './listing.ts';
import { OctetsOut } from './octets-out.ts';
import { formatted } from './render.ts';
import { bgpExplainText, bgpPeerText, bgpTellingText, bgpText, isTold, RouteRows, vpnRoutesText } from './show.ts';

const control = (input: Input): string => socketPaths(input.io.env).control;

function json(value: unknown): string {
  return `${JSON.stringify(value, null, 2)}\n`;
}

/** Sessions that are not up come first. */
function problemsFirst(peers: readonly BgpPeerStatus[]): BgpPeerStatus[] {
  return [...peers].sort((a, b) => Number(a.state === 'Established') - Number(b.state === 'Established'));
}

export async function show(input: Input): Promise<number> {
  const format = formatOf(input, 'BgpPeer');
  const answer = await ask(control(input), 'bgp_show', { peer: '' });
  const sorted = { ...answer, peers: problemsFirst(answer.peers) };
  if (format !== undefined) for (const p of sorted.peers) input.io.out(formatted(format, p));
  else input.io.out(input.options['json'] === true ? json(sorted) : bgpText(sorted));
  return 0;
}

const ACTIONS: readonly string[] = ['up', 'down', 'refresh', 'reset'];

export async function peer(input: Input): Promise<number> {
  const [name, action, ...rest] = input.args as [string, ...string[]];
  if (action !== undefined) return order(input, name, action, rest);
  const answer = await ask(control(input), 'bgp_show', { peer: name });
  input.io.out(input.options['json'] === true ? json(answer) : answer.peers.map(bgpPeerText).join('\n'));
  return answer.peers.every((p) => p.state === 'Established') ? 0 : 1;
}

async function order(input: Input, name: string, action: string, rest: readonly string[]): Promise<number> {
  if (!ACTIONS.includes(action)) {
    // birdc has the order first.
    const meant = ACTIONS.includes(name) ? `: did you mean bgp peer ${[action, name, ...rest].join(' ')}?` : '';
    throw new MlshimError('USAGE', `"${action}" is not one of ${ACTIONS.join(', ')}${meant}`);
  }
  const takesText = action === 'down' || action === 'reset';
  const direction = action === 'refresh' ? (rest[0] ?? '') : '';
  if (!['', 'in', 'out'].includes(direction) || (!takesText && rest.length > (action === 'refresh' ? 1 : 0)))
    throw new MlshimError('USAGE', `bgp peer ${name} ${action} does not take "${rest.join(' ')}"`);
  const given = { peer: name, action, text: takesText ? rest.join(' ') : '', direction };
  await ask(control(input), 'bgp_peer', given);
  if (input.options['json'] === true) input.io.out(json(given));
  return 0;
}

const TABLES: readonly string[] = ['best', 'in', 'out'];

export async function routes(input: Input): Promise<number> {
  const longer = input.options['longer'] === true;
  const vrf = (input.options['vrf'] as string | undefined) ?? '';
  const args = { ...listingOf(input.args, longer), longer, vrf };
  let found = 0;
  let place = '';
  const lists = async function* () {
    for await (const part of parts(control(input), 'bgp_routes', args)) {
      found += part.routes.length;
      place = part.place;
      yield part.routes;
    }
  };
  await printListing(input, lists(), printer(input));
  return found === 0 && place !== '' ? 1 : 0;
}

/**
 * `[in|out|best] [PEER] [[for] PREFIX]`. What has a slash is a prefix, what stands before it is a peer; whether an address
 * that stands alone is a peer's, the daemon knows.
 * @throws MlshimError USAGE
 */
function listingOf(
  given: readonly string[],
  longer: boolean,
): Pick<Verbs['bgp_routes'], 'table' | 'peer' | 'prefix' | 'what'> {
  const words = [...given];
  const table = TABLES.includes(words[0] ?? '') ? words.shift()! : 'best';
  const at = words.indexOf('for');
  const hasFor = at >= 0 && at === words.length - 2;
  if (hasFor) words.splice(at, 1);
  const [first = '', second = ''] = words;
  if (words.length > 1 && TABLES.includes(second)) {
    const meant = [second, first, ...words.slice(2)].join(' ');
    throw new MlshimError('USAGE', `the table comes first: did you mean bgp routes ${meant}?`);
  }
  if (words.length > 2)
    throw new MlshimError('USAGE', `"${words[2]}" is too much: bgp routes takes a peer and a prefix`);
  const isOnlyPlace =
    words.length === 1 &&
    (hasFor || first.includes('/') || (longer && table !== 'out' && Addr.parse(first) !== undefined));
  if (isOnlyPlace) return { table, peer: '', prefix: first };
  if (longer && second === '') throw new MlshimError('USAGE', '--longer needs a prefix');
  if (words.length === 1 && table !== 'out') return { table, peer: '', prefix: '', what: first };
  const isSwapped = first.includes('/') && !second.includes('/');
  return isSwapped ? { table, peer: second, prefix: first } : { table, peer: first, prefix: second };
}

function printer(input: Input): ListingPrinter<BgpRouteStatus> {
  const { io } = input;
  const asked = askedPrinter<BgpRouteStatus>(input, formatOf(input, 'BgpRoute'));
  if (asked !== undefined) return asked;
  const rows = new RouteRows(listingColumns(io));
  return {
    part: (list) => io.out(rows.part(list)),
    end: () => io.out(rows.isEmpty ? 'no routes\n' : ''),
  };
}

export async function dump(input: Input): Promise<number> {
  const target = input.args[0]!;
  if (target === '-' && input.io.isTty)
    throw new MlshimError('USAGE', 'MRT is not for terminals: name a file, or pipe it into bgpdump -m /dev/stdin');
  const vrf = (input.options['vrf'] as string | undefined) ?? '';
  let out: OctetsOut | undefined;
  for await (const { mrt } of parts(control(input), 'bgp_dump', { vrf })) {
    out ??= new OctetsOut(target); // not before the daemon has answered: a file that is there stays when it refuses
    await out.write(mrt);
  }
  await out?.end();
  return 0;
}

const IS_DISTINGUISHER = /^[\d.]+:\d+$/;

/** All of it at once: VPN tables are small. */
export async function vpn(input: Input): Promise<number> {
  const [rd = '', prefix = '', ...surplus] = IS_DISTINGUISHER.test(input.args[0] ?? '')
    ? input.args
    : ['', ...input.args];
  if (surplus.length > 0)
    throw new MlshimError('USAGE', `"${surplus[0]}" is too much: bgp vpn takes a distinguisher and a prefix`);
  const format = formatOf(input, 'BgpVpnRoute');
  const routes: BgpVpnRouteStatus[] = [];
  for await (const part of parts(control(input), 'bgp_vpn', { rd, prefix })) routes.push(...part.routes);
  const { io, options } = input;
  if (format !== undefined) for (const r of routes) io.out(formatted(format, r));
  else if (options['jsonl'] === true) for (const r of routes) io.out(`${JSON.stringify(r)}\n`);
  else io.out(options['json'] === true ? json({ routes }) : vpnRoutesText(routes, listingColumns(io)));
  return routes.length > 0 || (rd === '' && prefix === '') ? 0 : 1;
}

export async function explain(input: Input): Promise<number> {
  const vrf = (input.options['vrf'] as string | undefined) ?? '';
  const [prefix, word, to = ''] = input.args as [string, ...string[]];
  if (word !== undefined && (word !== 'to' || to === ''))
    throw new MlshimError('USAGE', `"to PEER" may follow the prefix, not "${[word, to].join(' ').trim()}"`);
  const answer = await ask(control(input), 'bgp_explain', { prefix, vrf, to });
  const text = answer.telling === undefined ? bgpExplainText : bgpTellingText;
  input.io.out(input.options['json'] === true ? json(answer) : text(answer));
  return answer.telling === undefined ? Number(answer.candidates.length === 0) : Number(!isTold(answer));
}
