/** The read commands' answers as text, in the layout of their golden files; JSON is the message itself. Pure functions. */
import type {
  BfdSessions,
  BgpExplanation,
  BgpPeerStatus,
  BgpPeers,
  BgpRouteStatus,
  BgpVpnImport,
  BgpVpnRouteStatus,
  BgpVpnTelling,
  FpmStatus,
  NextHopStatus,
  RouteAnswer,
  RouteStatus,
  Status,
  UplinkStatus,
} from '../control/messages.ts';
import {
  bitRate,
  clockTime,
  columnWidths,
  duration,
  firstLine,
  hanging,
  plural,
  table,
  textTable,
  textWidth,
  withTexts,
} from './render.ts';

export function statusText(s: Status): string {
  const state = s.state === 'running' ? '' : `  ${s.state.toUpperCase()}`;
  const lines = [
    `mlshim ${s.version}  up ${duration(s.uptime_s)}  pid ${s.pid}  apps ${s.apps}  flows ${s.flows}  ` +
      `routes ${s.routes_ipv4} v4 / ${s.routes_ipv6} v6${state}`,
    ...s.problems.map(({ text, code }) => hanging(' ! ', `${text.padEnd(62)} (explain ${code})`).trimEnd()),
    table([['UPLINK', 'KIND', 'STATE', 'MTU', 'HANDSHAKE', 'DOWN', 'UP', 'DROPS'], ...s.uplinks.map(uplinkRow)]),
  ];
  if (s.bgp_peers.length > 0) lines.push(...bgpLines(s.bgp_peers));
  if (s.fpm !== undefined) lines.push(`FPM     ${fpmLine(s.fpm)}`);
  return `${lines.join('\n')}\n`;
}

/** Whether rules may send flows there, and how it fares. */
export function uplinksText(uplinks: readonly UplinkStatus[]): string {
  const rows = uplinks.map((u) => [
    u.name,
    u.kind,
    stateText(u),
    u.usable ? 'yes' : 'NO',
    rttText(u),
    u.loss === undefined ? '-' : `${Math.round(u.loss * 100)} %`,
    bitRate(u.rx_bits_per_s),
    bitRate(u.tx_bits_per_s),
    String(u.flows),
    String(u.decisions),
  ]);
  const head = ['UPLINK', 'KIND', 'STATE', 'USABLE', 'RTT', 'LOSS', 'DOWN', 'UP', 'FLOWS', 'TOOK'];
  return `${table([head, ...rows])}\n`;
}

/** `23.1±1.4 ms`: smoothed time and its deviation. */
function rttText({ rtt_ms: rtt, rtt_variation_ms: variation }: UplinkStatus): string {
  if (rtt === undefined) return '-';
  return `${rtt.toFixed(1)}${variation === undefined ? '' : `±${variation.toFixed(1)}`} ms`;
}

/** Meaning is never in colour alone: what takes no flows is in capitals. */
function stateText(u: UplinkStatus): string {
  if (u.drained) return 'DRAIN';
  return u.state === 'up' ? 'up' : u.state.toUpperCase();
}

function uplinkRow(u: UplinkStatus): string[] {
  const isTunnel = u.kind === 'wg';
  const age = u.handshake_age_s === undefined ? 'never' : `${duration(u.handshake_age_s)} ago`;
  return [
    u.name,
    u.kind,
    stateText(u),
    isTunnel ? String(u.mtu) : '-',
    isTunnel ? age : '-',
    bitRate(u.rx_bits_per_s),
    bitRate(u.tx_bits_per_s),
    String(u.tx_dropped),
  ];
}

/** `BGP     AS4242420263 Established 2d3h in 612/598 out 4`, one peer per line. */
function bgpLines(peers: readonly BgpPeerStatus[]): string[] {
  return peers.map((p, i) => hanging(`${i === 0 ? 'BGP' : '   '}     `, bgpPeerLine(p)).trimEnd());
}

function fpmLine(f: FpmStatus): string {
  const state =
    f.state === 'connected'
      ? `${f.client} connected ${duration(f.since_s ?? 0)}`
      : `${f.listen} ${f.state.toUpperCase()}`;
  const extra = [f.unresolved > 0 && `${f.unresolved} unresolved`, f.stale > 0 && `${f.stale} stale`].filter(Boolean);
  return `${state} routes ${f.routes}${extra.length > 0 ? ` (${extra.join(', ')})` : ''}`;
}

/** Everything about the FPM server. */
export function fpmText(f: FpmStatus): string {
  const since = f.since_s === undefined ? '' : ` for ${duration(f.since_s)}`;
  const lines: [string, string][] = [
    ['state', `${f.state}${since}`],
    ['client', f.client === '' ? '' : `${f.client}${f.encoding === '' ? '' : `, ${f.encoding}`}`],
    ['routes', `${f.routes}, ${f.unresolved} unresolved, ${f.stale} stale, ${plural(f.next_hops, 'next hop')}`],
    ['messages', `${f.messages}, ${f.ignored} ignored, ${f.unknown} unknown, ${f.malformed} malformed`],
    ['last error', f.last_error],
  ];
  const shown = lines.filter(([, v]) => v !== '').map(([k, v]) => labelled(k, v));
  return `fpm ${f.listen}\n${shown.join('')}`;
}

/** One peer on one line. */
export function bgpPeerLine(p: BgpPeerStatus): string {
  const name = p.name === `AS${p.asn}` ? p.name : `${p.name} AS${p.asn}`;
  if (p.state === 'Established')
    return `${name} Established ${duration(p.since_s ?? 0)} in ${p.received}/${p.accepted} out ${p.advertised}`;
  const since = p.since_s === undefined ? '' : ` ${clockTime(p.since_s)}`;
  return `${name} ${p.state}${since}${p.last_error === '' ? '' : `: ${lastErrorText(p)}`}`;
}

/** `administrative shutdown: "back at 9" (received, 2m10s ago)`; failures of our own attempts are always recent. */
function lastErrorText(p: BgpPeerStatus): string {
  if (p.last_error_origin !== 'sent' && p.last_error_origin !== 'received') return p.last_error;
  const ago = p.last_error_age_s === undefined ? '' : `, ${duration(p.last_error_age_s)} ago`;
  return `${p.last_error} (${p.last_error_origin}${ago})`;
}

/** One line as `ip route get` prints it, then why. */
export function routeGetText(a: RouteAnswer): string {
  const reasons = a.reasons.map((r) => hanging('  ', r)).join('');
  return `${routeGetLine(a)}\n${reasons}`;
}

function routeGetLine(a: RouteAnswer): string {
  if (a.kind === 'none') return `${a.dst} unreachable: no route`;
  if (a.kind === 'blackhole' || a.kind === 'unreachable') return `${a.kind} ${a.dst}`;
  const source = a.source === '' ? '' : ` src ${a.source}`;
  const mtu = a.mtu === 0 ? '' : ` mtu ${a.mtu}`;
  if (a.kind === 'local') return `local ${a.dst}${source}${mtu}`;
  const [first, ...others] = a.next_hops;
  if (first === undefined) return `${a.dst}${source}${mtu}`;
  if (others.length === 0) return `${a.dst}${hopText(first)}${source}${mtu}`;
  return `${a.dst}${source}${mtu}${a.next_hops.map((h) => `\n  nexthop${hopText(h)} weight ${h.weight}`).join('')}`;
}

function hopText(h: NextHopStatus): string {
  return `${h.gateway === '' ? '' : ` via ${h.gateway}`} uplink ${h.uplink}`;
}

export function routeText(r: RouteStatus): string {
  const kind = r.kind === 'unicast' ? '' : `${r.kind} `;
  const hops =
    r.next_hops.length === 1
      ? hopText(r.next_hops[0]!)
      : r.next_hops.map((h) => `\n  nexthop${hopText(h)} weight ${h.weight}`).join('');
  const origin = ` proto ${r.origin}${r.detail === '' ? '' : ` ${r.detail}`}`;
  return r.next_hops.length > 1 ? `${kind}${r.prefix}${origin}${hops}\n` : `${kind}${r.prefix}${hops}${origin}\n`;
}

export function bgpText(b: BgpPeers): string {
  if (b.asn === 0) return 'BGP is not configured\n';
  const rows = b.peers.map((p) => [
    p.name,
    String(p.asn),
    p.uplink === '' ? p.address : `${p.address}%${p.uplink}`,
    p.state,
    p.since_s === undefined ? '-' : duration(p.since_s),
    `${p.received}/${p.accepted}`,
    String(p.advertised),
    p.last_error === '' ? '' : lastErrorText(p),
  ]);
  const head = ['PEER', 'AS', 'ADDRESS', 'STATE', 'SINCE', 'IN/ACC', 'OUT', 'LAST ERROR'];
  return `local AS ${b.asn}, router id ${b.router_id}, ${plural(b.peers.length, 'peer')}\n${textTable(head, rows)}\n`;
}

/** Everything about one peer. */
export function bgpPeerText(p: BgpPeerStatus): string {
  const timers = Object.entries(p.timers_s).map(([name, s]) => `${name.replaceAll('_', ' ')} in ${s.toFixed(1)} s`);
  const ago = p.last_error_age_s === undefined ? '' : `, ${duration(p.last_error_age_s)} ago`;
  const origin = p.last_error_origin === '' ? '' : ` (${p.last_error_origin}${ago})`;
  const lines: [string, string][] = [
    [
      'state',
      `${p.state}${p.since_s === undefined ? '' : ` for ${duration(p.since_s)}`}, came up ${plural(p.establishments, 'time')}`,
    ],
    [
      'neighbour',
      `${p.address}${p.uplink === '' ? '' : `%${p.uplink}`} AS${p.asn}${p.remote_id === '' ? '' : `, router id ${p.remote_id}`}`,
    ],
    ['description', p.description],
    ['local address', p.local_address],
    [
      'timers',
      [p.hold_time_s === 0 ? 'off' : `hold ${p.hold_time_s} s, keepalive ${p.keepalive_s} s`, ...timers].join('; '),
    ],
    ['import', p.import_policy],
    ['export', p.export_policy],
    ['capabilities', p.capabilities.join('; ')],
    ['ours', p.local_capabilities.join('; ')],
    [
      'routes',
      `${p.received} received, ${p.accepted} accepted, ${p.advertised} advertised${p.stale === 0 ? '' : `, ${p.stale} stale`}`,
    ],
    ...p.families.map((f): [string, string] => [
      `  ${f.family}`,
      `${f.received} received, ${f.accepted} accepted, ${f.advertised} advertised${f.next_hop === '' ? '' : `, next hop ${f.next_hop}`}`,
    ]),
    ['restart', p.restart.join('; ')],
    ['messages', `${p.messages_in} in, ${p.messages_out} out`],
    ['latency', latencyWords(p)],
    ['bfd', p.bfd],
    ['bad UPDATEs', p.faults === 0 ? '' : `${p.faults}, the last one: ${p.last_fault}`],
    ['filter errors', p.filter_errors === 0 ? '' : `${p.filter_errors}, the last one: ${p.last_filter_error}`],
    ['last error', p.last_error === '' ? '' : `${p.last_error}${origin}`],
    ['retries', p.retry_error],
  ];
  const shown = lines.filter(([, v]) => v !== '').map(([k, v]) => labelled(k, v));
  return `bgp peer ${p.name}\n${shown.join('')}`;
}

/** `  key: value`, wrapped at 80 columns. */
function labelled(key: string, value: string): string {
  return hanging(' '.repeat(2 + key.length - key.trimStart().length), `${key.trimStart()}: ${value}`);
}

/** BFD sessions, and what was discarded. */
export function bfdText(b: BfdSessions): string {
  if (b.sessions.length === 0) return 'no BFD sessions\n';
  const rows = b.sessions.map((s) => [
    s.peers.join(','),
    s.uplink === '' ? s.address : `${s.address}${s.uplink.startsWith('(') ? ' ' : '%'}${s.uplink}`,
    s.multihop ? 'multihop' : 'single hop',
    s.state,
    duration(s.since_s),
    `${s.tx_ms}/${s.rx_ms}`,
    s.detection_ms === 0 ? '-' : `${s.detection_ms} ms`,
    String(s.flaps),
    [s.auth, s.state === 'Up' || s.diag === 'no diagnostic' ? '' : s.diag].filter((w) => w !== '').join(', '),
  ]);
  const head = ['PEER', 'ADDRESS', 'KIND', 'STATE', 'SINCE', 'TX/RX MS', 'DETECT', 'FLAPS', 'NOTE'];
  const drops = Object.entries(b.drops).map(([reason, n]) => `${n} ${reason}`);
  return `${textTable(head, rows)}\n${drops.length === 0 ? '' : `discarded: ${drops.join(', ')}\n`}`;
}

function latencyWords(p: BgpPeerStatus): string {
  if (p.latency_ms === undefined) return '';
  const told = p.latency_class === undefined ? 'not told yet' : `told as 64511:${p.latency_class}`;
  return `${p.latency_ms.toFixed(1)} ms on average, ${told}`;
}

/**
 * A listing of routes that is printed while it arrives: columns are as wide as the first part needs. A path or a reason
 * that has no room stands below its route.
 */
export class RouteRows {
  readonly #columns: number;
  #widths: number[] | undefined;
  #pathWidth = 0;
  #isValidated = false;
  #hasAge = false;

  /** @param columns of the terminal; Infinity = a line for each route */
  constructor(columns: number) {
    this.#columns = columns;
  }

  /** Nothing has been shown. */
  get isEmpty(): boolean {
    return this.#widths === undefined;
  }

  part(routes: readonly BgpRouteStatus[]): string {
    if (routes.length === 0) return '';
    return `${this.#widths === undefined ? this.#first(routes) : routes.map((r) => this.#row(r)).join('\n')}\n`;
  }

  #first(routes: readonly BgpRouteStatus[]): string {
    this.#isValidated = routes.some((r) => r.roa !== '');
    this.#hasAge = routes.some((r) => r.age_s !== undefined);
    const roa = this.#isValidated ? ['ROA'] : [];
    const age = this.#hasAge ? ['AGE'] : [];
    const head = ['', 'PREFIX', 'NEXT HOP', 'PEER', 'PREF', 'MED', ...age, ...roa];
    this.#widths = columnWidths([head, ...routes.map((r) => this.#cells(r))]);
    this.#pathWidth = textWidth(this.#widths, ['AS PATH', ...routes.map(pathText)], this.#columns);
    const titles = routes.some((r) => r.refused !== '') ? ['AS PATH', 'WHY'] : ['AS PATH'];
    const first = withTexts(head, this.#widths, titles, [this.#pathWidth], this.#columns);
    return [firstLine(first), ...routes.map((r) => this.#row(r))].join('\n');
  }

  #row(r: BgpRouteStatus): string {
    const texts = r.refused === '' ? [pathText(r)] : [pathText(r), r.refused];
    return withTexts(this.#cells(r), this.#widths!, texts, [this.#pathWidth], this.#columns);
  }

  #cells(r: BgpRouteStatus): string[] {
    // Meaning is never in colour alone: what is wrong is in capitals.
    const roa = r.roa === 'invalid' ? 'INVALID' : r.roa === '' ? '-' : r.roa;
    return [
      r.refused !== '' ? '! ' : r.best ? '*>' : '* ',
      r.prefix,
      r.next_hop,
      r.peer,
      r.local_pref === undefined ? '-' : String(r.local_pref),
      r.med === undefined ? '-' : String(r.med),
      ...(this.#hasAge
        ? [r.age_s === undefined ? '-' : `${duration(r.age_s)}${r.stale === true ? ' stale' : ''}`]
        : []),
      ...(this.#isValidated ? [roa] : []),
    ];
  }
}

/** With a letter for the origin, as routers have always shown it. */
function pathText(r: { readonly as_path: string; readonly origin: string }): string {
  return `${r.as_path} ${{ IGP: 'i', EGP: 'e' }[r.origin] ?? '?'}`.trim();
}

export function vpnRoutesText(routes: readonly BgpVpnRouteStatus[], columns = Infinity): string {
  if (routes.length === 0) return 'no VPN routes\n';
  const head = ['', 'RD', 'PREFIX', 'LABEL', 'NEXT HOP', 'PEER', 'TARGETS', 'VRFS', 'AS PATH'];
  const rows = routes.map((r) => [
    r.best ? '*>' : r.unreachable ? '' : '* ',
    r.rd,
    r.prefix,
    // RFC 3032 §2.1: 3 says that packets go without one.
    r.label === 3 ? '-' : String(r.label),
    `${r.next_hop}${r.unreachable ? ' (unreachable)' : ''}`,
    r.peer,
    r.targets.join(' '),
    r.vrfs.join(' ') || '-',
    pathText(r),
  ]);
  return `${textTable(head, rows, columns)}\n`;
}

export function bgpExplainText(e: BgpExplanation): string {
  const imports = e.imports.length === 0 ? '' : `VPN routes to it:\n${e.imports.map(importText).join('')}`;
  if (e.candidates.length === 0) return `${e.prefix}: no BGP route\n${imports}`;
  const lines = e.candidates.map((c) => {
    const isRefused = c.route.refused !== '';
    const verdict = isRefused ? c.route.refused : c.lost_by === '' ? 'best' : `lost: ${c.lost_by}`;
    const mark = isRefused ? '!' : c.lost_by === '' ? '>' : ' ';
    return hanging(`  ${mark} `, `${candidateText(c.route)}: ${verdict}`);
  });
  const roas = e.roas.map((text) => `  ROA ${text}\n`);
  const usable = e.candidates.filter((c) => c.route.refused === '').length;
  const refused = e.candidates.length - usable;
  const head =
    usable === 0
      ? `${plural(refused, 'route')}, none usable`
      : `${plural(usable, 'candidate')}${refused === 0 ? '' : ` (${refused} refused)`}, decided by RFC 4271 §9.1.2.2`;
  return `${e.prefix}: ${head}\n${[...lines, ...roas].join('')}${imports}`;
}

/** A VPN route, and why the VRF has it or not. */
function importText({ route, imported, why }: BgpVpnImport): string {
  return hanging(`  ${imported ? ' ' : '!'} `, `${vpnRouteText(route)}: ${why}`);
}

function vpnRouteText(r: BgpVpnRouteStatus): string {
  const label = r.label === 3 ? '' : `, label ${r.label}`;
  const targets = r.targets.length === 0 ? '' : `, targets ${r.targets.join(' ')}`;
  return `${r.rd} from ${r.peer} via ${r.next_hop}${label}${targets}`;
}

/** Where a route comes from and what it is compared by. */
function candidateText(r: BgpRouteStatus): string {
  const path = r.as_path === '' ? 'empty AS path' : `AS path ${r.as_path}`;
  const roa = r.roa === '' ? '' : `, ROA ${r.roa === 'invalid' ? 'INVALID' : r.roa}`;
  const age = r.age_s === undefined ? '' : `, ${duration(r.age_s)} old${r.stale === true ? ', stale' : ''}`;
  const via = r.next_hop === '' ? '' : ` via ${r.next_hop}`;
  return `${r.peer}${via}, ${path}, localpref ${r.local_pref ?? 100}${roa}${age}`;
}

/** Whether a peer is told a prefix, as what, and why: as a route of the table that was asked about, or as VPN routes. */
export function bgpTellingText(e: BgpExplanation): string {
  const { peer, routes, why, vpn } = e.telling!;
  const head = `${e.prefix} to ${peer}: ${isTold(e) ? 'told' : 'NOT TOLD'}\n`;
  const others = vpn.length === 0 ? '' : `VPN routes to it:\n${vpn.map(vpnTellingText).join('')}`;
  if (isVpnAlone(e)) return `${head}${others}`;
  const best = e.candidates.find((c) => c.lost_by === '' && c.route.refused === '');
  const from = best === undefined ? '' : hanging('  best: ', candidateText(best.route));
  const as = routes.map((r) => hanging('  told: ', toldText(r)));
  return `${head}${from}${as.join('')}${hanging('  ', why)}${others}`;
}

/** Whether the peer is told what was asked about. */
export function isTold(e: BgpExplanation): boolean {
  const { told, vpn } = e.telling!;
  return told || (isVpnAlone(e) && vpn.some((v) => v.told));
}

/** There is nothing else to speak about. */
function isVpnAlone({ candidates, telling }: BgpExplanation): boolean {
  const { vpn, why } = telling!;
  return vpn.length > 0 && (candidates.length === 0 || why === '');
}

function vpnTellingText({ route, told, told_as, why }: BgpVpnTelling): string {
  const as = told_as === undefined ? '' : hanging('      told: ', toldText(told_as));
  return `${hanging(`  ${told ? ' ' : '!'} `, `${vpnRouteText(route)}: ${why}`)}${as}`;
}

/** What is told of a route, of VPN routes too. */
type ToldRoute = Pick<BgpRouteStatus, 'next_hop' | 'as_path' | 'communities'> & Partial<BgpRouteStatus>;

function toldText(r: ToldRoute): string {
  const parts = [
    `next hop ${r.next_hop}`,
    r.as_path === '' ? 'empty AS path' : `AS path ${r.as_path}`,
    r.med === undefined ? '' : `MED ${r.med}`,
    r.communities.length === 0 ? '' : `communities ${r.communities.join(' ')}`,
    r.otc === undefined ? '' : `only to customers (AS ${r.otc})`,
    r.originator_id === undefined ? '' : `originator ${r.originator_id}`,
    (r.cluster_list ?? []).length === 0 ? '' : `clusters ${r.cluster_list!.join(' ')}`,
    r.aggregator === undefined ? '' : `aggregated by AS ${r.aggregator.asn} at ${r.aggregator.address}`,
  ];
  return parts.filter((p) => p !== '').join(', ');
}
