/**
 * Sessions in the words of `show protocols [all]` of BIRD 2. Read first: the golden texts of test/router/birdctl, which
 * are BIRD's own. Pure. Counters of single route changes are not kept here and stand as `---`, BIRD's word for that.
 */
import type { PeerView } from '../../bgp/show.ts';
import type { Capability } from '../../bgp/wire/capability.ts';
import { familyNamed } from '../../bgp/wire/family.ts';
import { Code, type Line } from './reply.ts';

/** Facts about a peer that its session does not know. */
export interface PeerFacts {
  readonly description: string | undefined;
  readonly localAs: number;
  readonly port: number;
  readonly isMultihop: boolean;
  readonly isPassive: boolean;
  readonly isReflectorClient: boolean;
  readonly importFilter: string;
  readonly exportFilter: string;
  readonly importLimit: number | undefined;
  /** Families as configured, which is what a session without negotiation shows. */
  readonly families: readonly ('ipv4' | 'ipv6')[];
  /** Prefixes whose best route is the peer's. */
  readonly preferred: { readonly ipv4: number; readonly ipv6: number };
  /** Told by the operator when the peer was shut down. */
  readonly message: string;
}

export const PROTOCOLS_HEADING: Line = [
  Code.ProtocolHeading,
  'Name       Proto      Table      State  Since         Info',
];

/** The line of any protocol. */
function heading(name: string, proto: string, table: string, state: string, since: string, info: string): Line {
  const columns = [name.padEnd(10), proto.padEnd(10), table.padEnd(10), state.padEnd(6), since.padEnd(12), ` ${info}`];
  return [Code.Protocol, columns.join(' ')];
}

/** Our own prefixes of one family, as a static protocol. */
export function networksLines(
  n: { readonly name: string; readonly family: 'ipv4' | 'ipv6'; readonly routes: number; readonly preferred: number },
  since: string,
  all: boolean,
): Line[] {
  const table = tableOf(n.family);
  const lines: Line[] = [heading(n.name, 'Static', table, 'up', since, '')];
  if (!all) return lines;
  return [
    ...lines,
    ...[
      `  Channel ${n.family}`,
      '    State:          UP',
      `    Table:          ${table}`,
      '    Preference:     200',
      '    Input filter:   ACCEPT',
      '    Output filter:  REJECT',
      `    Routes:         ${n.routes} imported, 0 exported, ${n.preferred} preferred`,
      ...CHANGE_STATS,
      '',
    ].map((text): Line => [Code.ProtocolDetails, text]),
  ];
}

/** One BGP session. @param since when its state began, as text */
export function peerLines(v: PeerView, facts: PeerFacts, since: string, all: boolean): Line[] {
  const isUp = v.state === 'Established';
  const isDown = v.isShutDown;
  const error = isUp || isDown ? '' : errorText(v);
  const state = stateText(v, facts);
  const info = isDown ? error : `${state.padEnd(13)} ${error}`;
  const lines: Line[] = [heading(v.name, 'BGP', '---', isUp ? 'up' : isDown ? 'down' : 'start', since, info)];
  if (!all) return lines;
  const details = [
    ...(facts.description === undefined ? [] : [`  Description:    ${facts.description}`]),
    ...(facts.message === '' ? [] : [`  Message:        ${facts.message}`]),
    ...sessionTexts(v, facts, state, error),
    ...facts.families.flatMap((f) => channelTexts(v, facts, f)),
    '',
  ];
  return [...lines, ...details.map((text): Line => [Code.ProtocolDetails, text])];
}

function stateText(v: PeerView, facts: PeerFacts): string {
  if (v.isShutDown) return 'Down';
  // BIRD has words of its own for the two states in which nothing happens.
  return facts.isPassive && v.state === 'Active' ? 'Passive' : v.state;
}

function errorText(v: PeerView): string {
  if (v.lastError === undefined) return '';
  return `${{ received: 'Received: ', sent: 'BGP Error: ', transport: 'Socket: ' }[v.lastError.origin]}${v.lastError.text}`;
}

function sessionTexts(v: PeerView, facts: PeerFacts, state: string, error: string): string[] {
  const zone = v.address.startsWith('fe80:') && v.link !== '' ? `%${String(v.link)}` : '';
  const out = [`  BGP state:          ${state}`, `    Neighbor address: ${v.address}${zone}`];
  if (facts.port !== 179) out.push(`    Neighbor port:    ${facts.port}`);
  out.push(`    Neighbor AS:      ${v.asn}`, `    Local AS:         ${facts.localAs}`);
  if (isKeeping(v)) out.push('    Neighbor graceful restart active');
  if (v.state === 'Established' && !v.isShutDown) {
    out.push(`    Neighbor ID:      ${v.identifier}`);
    out.push('    Local capabilities', ...capabilityTexts(v.offers.local));
    out.push('    Neighbor capabilities', ...capabilityTexts(v.offers.peer));
    const kind = v.isExternal ? 'external' : 'internal';
    const flags = [
      facts.isMultihop ? ' multihop' : '',
      facts.isReflectorClient ? ' route-reflector' : '',
      v.fourOctetAs ? ' AS4' : '',
    ];
    out.push(`    Session:          ${kind}${flags.join('')}`, `    Source address:   ${v.localAddress}`);
    const hold = v.holdTimeS ?? 0;
    out.push(`    Hold timer:       ${timer(v.timersMs['hold'])}/${hold}`);
    out.push(`    Keepalive timer:  ${timer(v.timersMs['keepalive'])}/${Math.floor(hold / 3)}`);
    return out;
  }
  if (v.isShutDown) return out;
  const retry = v.timersMs['connectRetry'];
  const wait = v.timersMs['idleHold'];
  if (wait !== undefined) out.push(`    Error wait:       ${timer(wait)}/${Math.ceil(wait / 1000)}`);
  else if (retry !== undefined) out.push(`    Connect delay:    ${timer(retry)}/${Math.ceil(retry / 1000)}`);
  const away = v.restart.filter((r) => r.phase === 'away').map((r) => r.leftMs);
  if (away.length > 0) out.push(`    Restart timer:    ${timer(Math.min(...away))}/-`);
  if (error !== '') out.push(`    Last error:       ${error}`);
  return out;
}

type Phase = PeerView['restart'][number]['phase'];

/** How BIRD calls what routes of a peer that restarts, or was away, wait for; a refresh is none of it. */
const RESTART_WORDS: Readonly<Record<Phase, string | undefined>> = {
  away: 'Regular',
  resync: 'Regular',
  lingering: 'Long-lived',
  refreshing: undefined,
};

/** Whether routes of the peer are kept because it restarts, or has not told its table again after that. */
function isKeeping(v: PeerView): boolean {
  return v.restart.some((r) => RESTART_WORDS[r.phase] !== undefined);
}

/** Seconds with milliseconds, as BIRD shows what is left of a timer. */
function timer(ms: number | undefined): string {
  return ((ms ?? 0) / 1000).toFixed(3);
}

const CHANGE_STATS: readonly string[] = [
  '    Route change stats:     received   rejected   filtered    ignored   accepted',
  ...['Import updates:', 'Import withdraws:', 'Export updates:', 'Export withdraws:'].map(
    (name) => `      ${name.padEnd(20)}${Array(5).fill('---'.padStart(10)).join(' ')}`,
  ),
];

const tableOf = (family: 'ipv4' | 'ipv6'): string => (family === 'ipv4' ? 'master4' : 'master6');

function channelTexts(v: PeerView, facts: PeerFacts, family: 'ipv4' | 'ipv6'): string[] {
  const isUp = v.state === 'Established' && !v.isShutDown && v.families.includes(family);
  const restart = v.restart.find((r) => r.family === family && RESTART_WORDS[r.phase] !== undefined);
  const out = [
    `  Channel ${family}`,
    `    State:          ${isUp ? 'UP' : restart !== undefined ? 'START' : 'DOWN'}`,
    `    Table:          ${tableOf(family)}`,
    '    Preference:     100',
    `    Input filter:   ${facts.importFilter}`,
    `    Output filter:  ${facts.exportFilter}`,
  ];
  if (facts.importLimit !== undefined)
    out.push(`    Import limit:   ${facts.importLimit}`, '      Action:       restart');
  if (!isUp && restart === undefined) return out;
  const { received, accepted, advertised, nextHop } = v.routes[family];
  const preferred = facts.preferred[family];
  out.push(
    `    Routes:         ${accepted} imported, ${received - accepted} filtered, ${advertised} exported, ${preferred} preferred`,
    ...CHANGE_STATS,
  );
  if (isKeeping(v)) out.push(`    Neighbor GR:    ${(restart && RESTART_WORDS[restart.phase]) ?? 'None'}`);
  if (restart?.phase === 'lingering') out.push(`    LL stale timer: ${timer(restart.leftMs)}/-`);
  if (nextHop !== undefined) {
    const linkLocal = nextHop.linkLocal === undefined ? '' : ` ${nextHop.linkLocal}`;
    out.push(`    BGP Next hop:   ${nextHop.global ?? '::'}${linkLocal}`);
  }
  return out;
}

/** Capabilities in BIRD's words and order. */
export function capabilityTexts(offered: readonly Capability[]): string[] {
  const out: string[] = [];
  const one = <K extends Capability['kind']>(kind: K): Extract<Capability, { readonly kind: K }> | undefined =>
    offered.find((c): c is Extract<Capability, { readonly kind: K }> => c.kind === kind);
  const families = offered.flatMap((c) => (c.kind === 'multiprotocol' ? [familyText(c)] : []));
  if (families.length > 0) out.push('Multiprotocol', `  AF announced: ${sorted(families)}`);
  if (one('route-refresh')) out.push('Route refresh');
  const hops = offered.flatMap((c) => (c.kind === 'extended-next-hop' ? c.entries : []));
  if (hops.length > 0) {
    const over6 = hops.filter((h) => h.nextHopAfi === 2).map(familyText);
    out.push('Extended next hop', `  IPv6 nexthop: ${sorted(over6)}`);
  }
  if (one('extended-message')) out.push('Extended message');
  const restart = one('graceful-restart');
  if (restart !== undefined) out.push('Graceful restart', ...restartTexts(restart));
  if (one('four-octet-as')) out.push('4-octet AS numbers');
  const paths = offered.flatMap((c) => (c.kind === 'add-path' ? c.entries : []));
  if (paths.length > 0) {
    out.push('ADD-PATH');
    const receives = paths.filter((p) => (p.mode & 1) !== 0).map(familyText);
    const sends = paths.filter((p) => (p.mode & 2) !== 0).map(familyText);
    if (receives.length > 0) out.push(`  RX: ${sorted(receives)}`);
    if (sends.length > 0) out.push(`  TX: ${sorted(sends)}`);
  }
  if (one('enhanced-refresh')) out.push('Enhanced refresh');
  const longLived = one('long-lived-restart');
  if (longLived !== undefined) {
    out.push('Long-lived graceful restart');
    if (longLived.families.length > 0) {
      const times = longLived.families.map((f) => f.staleS);
      const [least, most] = [Math.min(...times), Math.max(...times)];
      out.push(`  LL stale time: ${least === most ? least : `${least}-${most}`}`);
      out.push(...preservedTexts(longLived.families));
    }
  }
  const role = one('role');
  if (role !== undefined) out.push(`Role: ${ROLES[role.role] ?? 'undefined'}`);
  return out.map((text) => `      ${text}`);
}

/** RFC 9234 §4.1 */
const ROLES: readonly string[] = ['provider', 'rs_server', 'rs_client', 'customer', 'peer'];

function restartTexts(c: Extract<Capability, { readonly kind: 'graceful-restart' }>): string[] {
  if (c.families.length === 0) return [];
  const out = [`  Restart time: ${c.timeS}`];
  if ((c.flags & 8) !== 0) out.push('  Restart recovery');
  return [...out, ...preservedTexts(c.families)];
}

/** Families of a restart capability, and those whose forwarding state was preserved. */
function preservedTexts(
  families: readonly { readonly afi: number; readonly safi: number; readonly flags: number }[],
): string[] {
  const kept = families.filter((f) => (f.flags & 0x80) !== 0);
  return [
    `  AF supported: ${sorted(families.map(familyText))}`,
    `  AF preserved:${kept.length === 0 ? '' : ` ${sorted(kept.map(familyText))}`}`,
  ];
}

function familyText(c: { readonly afi: number; readonly safi: number }): string {
  const name = familyNamed(c.afi, c.safi);
  if (name === 'vpnv4') return 'vpn4-mpls';
  if (name === 'vpnv6') return 'vpn6-mpls';
  return name ?? `<${c.afi}/${c.safi}>`;
}

/** BIRD lists families in the order of their numbers. */
function sorted(families: readonly string[]): string {
  return [...families].sort().join(' ');
}
