/**
 * What a peer's session says, put into the tables: routes, End-of-RIB, refreshes, the beginning and the end of a session.
 * Read first: bgp/switchboard.ts (where it comes from), bgp/import.ts (what becomes of prefixes), RFC 4271 §6.7, RFC 7313 §4.
 */

import type { Family } from '../router/lib/addr.ts';
import type { Clock } from '../router/lib/clock.ts';
import type { Chore, Chores } from './chores.ts';
import type { CeaseReason } from './fsm/connection.ts';
import { announce, type ImportContext, withdraw } from './import.ts';
import type { Crossing } from './limits.ts';
import type { Monitors } from './monitor/monitor.ts';
import type { Peer } from './peer.ts';
import type { VpnPort } from './ports.ts';
import type { RetentionHost } from './retention.ts';
import type { AttrTable } from './rib/attrs.ts';
import type { Rib } from './rib/rib.ts';
import { droppingRoutes, makingLongLived, markStale, sweepingStale } from './stale.ts';
import type { PeerAction } from './switchboard.ts';
import { vpnPeer } from './vpn/vpn-policy.ts';
import { FAMILIES, type FamilyName, familyNamed, unicast } from './wire/family.ts';
import { Cease, prefixLimitData } from './wire/fault.ts';
import type { RouteRefresh } from './wire/message.ts';
import type { Update } from './wire/update.ts';

/** What happens at a peer and is worth a log line. */
export type SpeakerEvent =
  | {
      readonly kind: 'state';
      readonly peer: string;
      readonly from: string;
      readonly to: string;
      readonly why: string | undefined;
    }
  /** A filter function failed on a route of the peer. */
  | { readonly kind: 'filter-error'; readonly peer: string; readonly text: string }
  | { readonly kind: 'fault'; readonly peer: string; readonly text: string }
  /** A peer's prefixes of a family came near its limit, or went beyond it. */
  | {
      readonly kind: 'limit';
      readonly peer: string;
      readonly family: FamilyName;
      readonly limit: number;
      readonly crossing: Crossing;
    };

/** The tables, and whoever wants to hear. */
export interface InboxHost {
  readonly ribs: readonly Rib[];
  rib(family: Family): Rib;
  readonly attrs: AttrTable;
  readonly clock: Clock;
  readonly chores: Chores;
  readonly monitors: Monitors;
  /** Takes the VPN families. */
  readonly vpn: VpnPort | undefined;
  importContext(): ImportContext;
  onEvent(event: SpeakerEvent): void;
  /** End a session for good. */
  end(peer: Peer, reason: CeaseReason): void;
}

export class Inbox {
  readonly #host: InboxHost;

  constructor(host: InboxHost) {
    this.#host = host;
    let number = 0;
    host.vpn?.attach((chore) => host.chores.add(`vpn ${number++}`, chore));
  }

  perform(peer: Peer, action: PeerAction): void {
    const { clock, monitors, ribs, vpn } = this.#host;
    switch (action.kind) {
      case 'established':
        // The session may be over already, when the same octets held the Cease of a collision: what was agreed comes with
        // the action, and `down` follows.
        peer.retention.back(action.negotiated, clock.now());
        peer.begin(action.negotiated, peer.conduits.get(action.transport)?.stream?.localAddress, ribs);
        peer.vpn = vpn?.up(peer.monitored!, vpnPeer(peer, this.#host.importContext()));
        peer.vpnHeld = peer.vpn;
        monitors.up(peer.monitored!);
        break;
      case 'down':
        if (peer.monitored !== undefined) {
          monitors.down(peer.monitored, action.end);
          vpn?.down(peer.monitored);
        }
        peer.retention.down(action.negotiated, action.mayRestart, clock.now());
        peer.end();
        break;
      case 'update':
        if (peer.monitored !== undefined) monitors.received(peer.monitored, action.body);
        this.#onUpdate(peer, action.update);
        break;
      case 'refresh':
        this.#onRefresh(peer, action.refresh);
        break;
      case 'state':
        this.#host.onEvent({
          kind: 'state',
          peer: peer.config.name,
          from: action.from,
          to: action.to,
          why: peer.session.lastError?.text,
        });
        break;
    }
  }

  /** What a peer's retention does to its routes. */
  retentionOf(peer: Peer): RetentionHost {
    const { attrs, ribs, chores, vpn } = this.#host;
    const { name } = peer.config;
    // What this speaker has no tables for is done by whoever has them.
    const of = (what: keyof RetentionHost, act: (rib: Rib) => void) => (family: FamilyName) => {
      const rib = ribs.find((r) => unicast(r.family) === family);
      if (rib === undefined) vpn?.retention(name)[what](family);
      else act(rib);
    };
    const later = (method: keyof RetentionHost, what: string, make: (rib: Rib) => Chore | undefined) =>
      of(method, (rib) => {
        const chore = make(rib);
        // An earlier one may be under way: only one that has as much to do may take its place.
        if (chore !== undefined) chores.add(`${what} ${peer.index} ${rib.family}`, chore);
      });
    return {
      markStale: of('markStale', (rib) => markStale(peer, rib)),
      makeLongLived: later('makeLongLived', 'make long-lived', (rib) => makingLongLived(peer, rib, attrs)),
      sweep: later('sweep', 'remove', (rib) => sweepingStale(peer, rib)),
      drop: later('drop', 'remove', (rib) => droppingRoutes(peer, rib)),
    };
  }

  #onUpdate(peer: Peer, update: Update): void {
    for (const fault of update.faults) this.#mistake(peer, fault.words);
    if (update.vpn !== undefined && peer.monitored !== undefined) {
      const fault = this.#host.vpn?.update(peer.monitored, update.vpn, update.attributes);
      if (fault?.handling === 'reset') peer.session.handle({ kind: 'refuse', fault }, this.#host.clock.now());
      else if (fault !== undefined) this.#mistake(peer, fault.words);
    }
    for (const nlri of update.withdrawn) withdraw(peer, this.#host.rib(nlri.family), nlri);
    if (update.endOfRib !== undefined) {
      peer.endOfRibs.add(update.endOfRib);
      peer.retention.endOfRib(update.endOfRib);
    }
    for (const reach of update.reach) {
      const rib = this.#host.rib(reach.nlri.family);
      rib.routes.stamp(this.#host.clock.now());
      const refused = announce(peer, rib, reach, update, this.#host.importContext());
      if (refused !== undefined) this.#mistake(peer, refused.words);
    }
    this.checkLimit(peer);
  }

  /** An UPDATE had a mistake that does not cost the session (RFC 7606). */
  #mistake(peer: Peer, words: string): void {
    peer.faults++;
    peer.lastFault = words;
    this.#host.onEvent({ kind: 'fault', peer: peer.config.name, text: words });
  }

  /** RFC 4271 §6.7: what the peer has told now is within its limit, or the session ends. */
  checkLimit(peer: Peer): void {
    const max = peer.limit;
    if (max === undefined) return;
    const { limit } = max;
    const { action = 'restart', count = 'accepted', restartAfterMs } = max.settings;
    const counts = { ipv4: peer[count][4], ipv6: peer[count][6], ...peer.vpn?.[count] };
    for (const [family, prefixes] of Object.entries(counts) as [FamilyName, number][]) {
      // At its End-of-RIB all that is left is what the peer has told.
      const told = peer.retention.isResyncing(family) ? prefixes - staleOf(peer, family, count) : prefixes;
      const crossing = max.crossed(family, told);
      if (crossing === undefined) continue;
      this.#host.onEvent({ kind: 'limit', peer: peer.config.name, family, limit, crossing });
      if (crossing === 'near' || action === 'warn' || peer.session.state !== 'Established') continue;
      const reason = {
        subcode: Cease.MaxPrefixes,
        text: `more than ${limit} prefixes`,
        data: prefixLimitData(FAMILIES[family], limit),
      };
      if (action === 'down') {
        peer.isShutDown = true;
        this.#host.end(peer, reason);
      } else {
        peer.session.handle({ kind: 'reset', pauseMs: restartAfterMs, ...reason }, this.#host.clock.now());
      }
    }
  }

  #onRefresh(peer: Peer, refresh: RouteRefresh): void {
    const family = familyNamed(refresh.afi, refresh.safi);
    // RFC 7313 §5: what was not agreed, or has an unknown subtype, is ignored.
    if (family === undefined || peer.session.negotiated?.context.families[family] === undefined) return;
    if (refresh.subtype === 0) {
      const out = peer.outbound.find((o) => unicast(o.rib.family) === family);
      if (out !== undefined) out.refresh = 'due';
      else peer.vpn?.refresh(family);
    } else if (!peer.session.negotiated.enhancedRefresh) return;
    else if (refresh.subtype === 1) peer.retention.refreshBegins(family, this.#host.clock.now());
    else if (refresh.subtype === 2) peer.retention.refreshEnds(family);
  }
}

/** How many routes of a family, of all or of the accepted, a peer that is back has not told again. */
function staleOf(peer: Peer, family: FamilyName, count: 'accepted' | 'received'): number {
  const which = count === 'accepted' ? 'staleAccepted' : 'stale';
  const { 4: ipv4, 6: ipv6 } = peer[which];
  return { vpnv4: 0, vpnv6: 0, ipv4, ipv6, ...peer.vpn?.[which] }[family];
}
