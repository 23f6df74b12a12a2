/** What monitors ask of a speaker: counts and tables as UPDATE messages (BMP), and as MRT records. */
import type { Clock } from '../../router/lib/clock.ts';
import type { Peer } from '../peer.ts';
import type { Rib } from '../rib/rib.ts';
import type { BmpStatistics } from '../wire/bmp.ts';
import { type FamilyName, unicast } from '../wire/family.ts';
import { type MrtCursor, mrtPortion, mrtTable, receivedUpdates } from './dump.ts';
import type { TableKind, ToldTable } from './told-table.ts';
import type { TableViews } from './views.ts';

export interface MonitoringHost {
  readonly ribs: readonly Rib[];
  readonly views: TableViews;
  /** Peers by number. */
  readonly byNumber: readonly (Peer | undefined)[];
  peer(name: string): Peer | undefined;
  /** The speaker's BGP Identifier. */
  readonly identifier: number;
  readonly clock: Clock;
}

export class Monitoring {
  readonly #host: MonitoringHost;

  constructor(host: MonitoringHost) {
    this.#host = host;
  }

  /** Counts of a peer, undefined when there is no such peer; or those of the Loc-RIB. */
  statistics(peer: string | undefined): BmpStatistics | undefined {
    if (peer !== undefined) {
      const known = this.#host.peer(peer);
      return known && statisticsOf(known);
    }
    const [ipv4 = 0, ipv6 = 0] = this.#host.ribs.map((rib) => rib.loc.size);
    return { locRib: { ipv4, ipv6 } };
  }

  /** What a peer has sent as UPDATE messages, in portions; ends at once when there is no such session. */
  *receivedUpdates(name: string): Generator<readonly Uint8Array[]> {
    const peer = this.#host.peer(name);
    if (peer === undefined) return;
    yield* receivedUpdates(this.#host.ribs, peer);
    if (peer.vpn !== undefined) yield* peer.vpn.receivedUpdates();
  }

  /** All received routes as an MRT table, in portions (RFC 6396 §4.3). @param nowS seconds since 1970 */
  mrtTable(nowS: () => number): Generator<Uint8Array> {
    return mrtTable((from) => this.mrtPortion(nowS(), from));
  }

  /** One portion of that table, for those who come back for the next one later. */
  mrtPortion(nowS: number, from?: MrtCursor): ReturnType<typeof mrtPortion> {
    const { ribs, byNumber, identifier, clock } = this.#host;
    return mrtPortion(ribs, byNumber, identifier, { wallS: nowS, instant: clock.now() }, from);
  }

  /**
   * Have a table of an established session told, or the Loc-RIB: that of the families with tables here, and that of the VPN
   * families; none when there is no such session.
   * @param wake called when there is something to tell after there was nothing
   */
  views(kind: TableKind, peer: string | undefined, wake: () => void): readonly ToldTable[] {
    const { views } = this.#host;
    if (peer === undefined) return [views.open(kind, undefined, wake)];
    const known = this.#host.peer(peer);
    if (known?.monitored === undefined) return [];
    const unicast = views.open(kind, known, wake);
    return known.vpn === undefined || kind === 'loc' ? [unicast] : [unicast, known.vpn.view(kind, wake)];
  }
}

/** RFC 7854 §4.8, RFC 8671 §6.2. */
function statisticsOf({ received, accepted, faults, outbound, vpn, session }: Peer): BmpStatistics {
  const adjRibIn: Partial<Record<FamilyName, number>> = { ipv4: received[4], ipv6: received[6] };
  const adjRibOut: Partial<Record<FamilyName, number>> = { ipv4: 0, ipv6: 0 };
  for (const { rib, adjRibOut: told } of outbound) adjRibOut[unicast(rib.family)] = told.size;
  let rejectedPrefixes = received[4] + received[6] - accepted[4] - accepted[6];
  for (const family of ['vpnv4', 'vpnv6'] as const) {
    if (vpn === undefined || session.negotiated?.context.families[family] === undefined) continue;
    adjRibIn[family] = vpn.received[family];
    adjRibOut[family] = vpn.advertised[family];
    rejectedPrefixes += vpn.received[family] - vpn.accepted[family];
  }
  return { rejectedPrefixes, treatedAsWithdrawn: faults, adjRibIn, adjRibOut };
}
