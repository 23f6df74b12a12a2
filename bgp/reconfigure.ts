/**
 * Going over to other settings while sessions run: what does not differ is not touched, what a session does not depend on
 * changes without it, and only a peer whose OPEN or connection would be another one begins anew. Everything is checked
 * before the first thing is changed. Who we are (AS, BGP Identifier, confederation, cluster) is another speaker's business.
 */

import { isEqual } from '../router/lib/equal.ts';
import type { Chores } from './chores.ts';
import type { AggregateConfig, Network, Origination } from './origination.ts';
import type { Peer, RestartSettings } from './peer.ts';
import type { PeerConfig } from './peer-config.ts';
import { type RangeConfig, Ranges } from './ranges.ts';
import { type Confederation, checkAses } from './relation.ts';
import { type RestartTimes, restartSettings } from './restart.ts';
import { type Multipath, SINGLE_PATH } from './rib/multipath.ts';
import type { Rib } from './rib/rib.ts';
import type { Roster } from './roster.ts';

/** All that a speaker can be told anew; what is missing has its default, as in `SpeakerOptions`. */
export interface SpeakerSettings {
  readonly networks?: readonly Network[];
  readonly aggregates?: readonly AggregateConfig[];
  readonly multipath?: Multipath;
  readonly gracefulRestart?: RestartTimes;
  readonly peers: readonly PeerConfig[];
  readonly ranges?: readonly RangeConfig[];
}

/** What a setting of a peer changes when it changes. */
type Part = 'session' | 'import' | 'export' | 'limit' | 'timers';

/** Of all others a session would notice: they are told in OPEN, or are the connection's. */
const PARTS: Readonly<Partial<Record<keyof PeerConfig, readonly Part[]>>> = {
  import: ['import'],
  acceptBlackhole: ['import'],
  allowOwnAs: ['import'],
  delegated: ['import'],
  gracefulShutdown: ['import', 'export'],
  export: ['export'],
  nextHopSelf: ['export'],
  thirdPartyNextHop: ['export'],
  asOverride: ['export'],
  removePrivateAs: ['export'],
  defaultOriginate: ['export'],
  addPathLimit: ['export'],
  maxPrefixes: ['limit'],
  sendHoldMs: ['timers'],
  connectRetryMs: ['timers'],
  delayOpenMs: ['timers'],
};

/** What is different between two configurations of a peer. */
export function partsBetween(before: PeerConfig, after: PeerConfig): ReadonlySet<Part> {
  const keys = new Set([...Object.keys(before), ...Object.keys(after)]) as Set<keyof PeerConfig>;
  const parts = new Set<Part>();
  for (const key of keys)
    if (!isEqual(before[key], after[key])) for (const part of PARTS[key] ?? (['session'] as const)) parts.add(part);
  return parts;
}

export interface ReconfigurationHost {
  readonly roster: Roster;
  readonly ribs: readonly Rib[];
  readonly own: Origination;
  readonly chores: Chores;
  /** Kept by peers: written in place. */
  readonly restart: { -readonly [K in keyof RestartSettings]: RestartSettings[K] };
  add(config: PeerConfig): void;
  remove(peer: Peer, reason: 'removed' | 'changed'): void;
  /** Judge again what a peer has sent. */
  reconsider(peer: Peer): void;
  checkLimit(peer: Peer): void;
  ownPrefixesChanged(): void;
}

/** The settings have passed `checkSettings`. */
export function reconfigure(next: SpeakerSettings, host: ReconfigurationHost): void {
  const { peers, ranges = [] } = next;
  if (host.own.setNetworks(next.networks ?? [])) host.ownPrefixesChanged();
  changeAggregates(next.aggregates ?? [], host);
  changeMultipath(next.multipath ?? SINGLE_PATH, host);
  const hasOtherOffer = changeRestart(restartSettings(next.gracefulRestart, undefined), host);
  const { roster } = host;
  for (const peer of [...roster]) {
    const isWanted = peer.range !== undefined || peers.some((p) => p.name === peer.config.name);
    if (!isWanted) host.remove(peer, 'removed');
  }
  roster.ranges.replace(ranges);
  for (const peer of [...roster]) {
    const after = configOf(peer, peers, roster);
    if (after === undefined) host.remove(peer, 'removed');
    else if (hasOtherOffer(after)) renew(peer, after, host);
    else change(peer, after, host);
  }
  for (const config of peers) if (roster.get(config.name) === undefined) host.add(config);
}

/** @throws RangeError when a name stands twice, or a list of ASes has one of ours */
export function checkSettings(
  { peers, ranges = [] }: SpeakerSettings,
  ownAs: number,
  confederation: Confederation | undefined,
): void {
  for (const list of [peers, ranges]) {
    const names = list.map((p) => p.name);
    const twice = names.find((name, i) => names.indexOf(name) !== i);
    if (twice !== undefined) throw new RangeError(`${list === peers ? 'peer' : 'range'} ${twice} stands twice`);
  }
  for (const { asn, localAs } of [...peers, ...ranges]) checkAses(asn, ownAs, confederation, localAs);
}

/** The configuration of a peer from now on; undefined when a member of a range is none any more. */
function configOf(peer: Peer, peers: readonly PeerConfig[], roster: Roster): PeerConfig | undefined {
  const { address, link } = peer.config;
  if (peer.range === undefined) return peers.find((p) => p.name === peer.config.name);
  const isNamed = peers.some((p) => p.name === peer.config.name || (p.link === link && p.address.equals(address)));
  const range = roster.ranges.find(address, link);
  return isNamed || range?.name !== peer.range ? undefined : Ranges.member(range, address);
}

/** Do what a peer's other configuration asks for. */
export function change(peer: Peer, after: PeerConfig, host: ReconfigurationHost): void {
  const parts = partsBetween(peer.config, after);
  if (parts.size === 0) return;
  if (parts.has('session')) {
    renew(peer, after, host);
    return;
  }
  peer.reconfigure(after);
  if (parts.has('import')) host.reconsider(peer);
  if (parts.has('export')) peer.reconsiderExports();
  if (parts.has('limit')) host.checkLimit(peer);
}

/** End a session to begin it with other settings. A member of a range comes again by itself. */
function renew(peer: Peer, after: PeerConfig, host: ReconfigurationHost): void {
  host.remove(peer, 'changed');
  if (peer.range === undefined) host.add(after);
}

function changeAggregates(aggregates: readonly AggregateConfig[], { own, roster, chores }: ReconfigurationHost): void {
  const tell = (rib: Rib, ids: Iterable<number>): void => {
    for (const id of ids)
      for (const peer of roster) for (const out of peer.outbound) if (out.rib === rib) out.adjRibOut.touch(id);
  };
  for (const [rib, chore] of own.setAggregates(aggregates, tell)) chores.add(`aggregate ${rib.family}`, chore);
}

function changeMultipath(multipath: Multipath, { ribs, chores }: ReconfigurationHost): void {
  for (const rib of ribs) {
    if (isEqual(multipath, rib.loc.multipath)) continue;
    rib.loc.multipath = multipath;
    let at = 0;
    chores.add(`decide ${rib.family}`, {
      step: (budget) => {
        at = rib.loc.slice(at, budget, (id) => rib.loc.touch(id));
        return at < 0;
      },
    });
  }
}

/**
 * Restart times are told in OPEN (RFC 4724 §3, RFC 9494 §3.1) by peers that may restart; what is only ours takes effect at
 * once.
 * @returns whether a peer with this configuration is told something else now
 */
function changeRestart(times: RestartSettings, { restart }: ReconfigurationHost): (config: PeerConfig) => boolean {
  const { restartTimeS, longLivedS } = restart;
  const isTold = times.restartTimeS !== restartTimeS || times.longLivedS !== longLivedS;
  restart.restartTimeS = times.restartTimeS;
  restart.staleTimeS = times.staleTimeS;
  restart.longLivedS = times.longLivedS;
  return (config) => isTold && config.gracefulRestart === true;
}
