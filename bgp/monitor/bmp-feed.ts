/**
 * What one BMP station is told: all sessions and the tables it wants when it connects, then whatever happens.
 * Read first: RFC 7854 §3.3 (life of a BMP session), §5 (initial dump), §8, RFC 8671 (Adj-RIB-Out), RFC 9069 (Loc-RIB). Does
 * not know sockets; the edge connects, writes, and lets `pump` go on while the station keeps up.
 */

import { Addr } from '../../router/lib/addr.ts';
import type { SessionEnd } from '../fsm/session.ts';
import { AS_TRANS } from '../wire/attribute/as-path.ts';
import {
  type BmpPeer,
  BmpTable,
  initiation,
  LOC_RIB_PEER,
  locRibDown,
  locRibUp,
  peerDown,
  peerUp,
  routeMonitoring,
  statistics,
  TerminationReason,
  termination,
} from '../wire/bmp.ts';
import { FAMILIES } from '../wire/family.ts';
import { encodeOpen } from '../wire/message.ts';
import { AFI_IPV6 } from '../wire/nlri.ts';
import type { Monitor, MonitoredSession } from './monitor.ts';
import type { Monitoring } from './monitoring.ts';
import type { TableKind, TableView } from './views.ts';

/** A table a station may want: `in_pre` is what peers send, as they send it. */
export type StationTable = 'in_pre' | TableKind;

export interface BmpSources {
  readonly systemName: string;
  readonly description: string;
  /** Milliseconds since 1970. */
  readonly wallMs: () => number;
  readonly tables: readonly StationTable[];
  /** The speaker's, for the Loc-RIB. */
  readonly asn: number;
  readonly routerId: Addr;
  /** Established sessions. */
  readonly sessions: () => Iterable<MonitoredSession>;
  readonly monitoring: Pick<Monitoring, 'receivedUpdates' | 'statistics' | 'view'>;
}

/** What a peer has sent so far, in portions. */
interface Dump {
  readonly session: MonitoredSession;
  readonly portions: Iterator<readonly Uint8Array[]>;
}

/** A table that is told while it changes; of the Loc-RIB where there is no session. */
interface Telling {
  readonly session: MonitoredSession | undefined;
  readonly header: BmpPeer;
  readonly view: TableView;
}

export class BmpFeed implements Monitor {
  readonly #sources: BmpSources;
  /** How messages about the Loc-RIB begin. */
  readonly #locRib: BmpPeer;
  #write: ((octets: Uint8Array) => void) | undefined;
  #wake: () => void = () => {};
  #dumps: Dump[] = [];
  #tellings: Telling[] = [];
  /** Which of them is next. */
  #turn = 0;

  constructor(sources: BmpSources) {
    this.#sources = sources;
    this.#locRib = { ...LOC_RIB_PEER, asn: sources.asn, identifier: sources.routerId.a3 >>> 0 };
  }

  /** Something is left for `pump`. */
  get hasWork(): boolean {
    return this.#dumps.length > 0 || this.#tellings.some((x) => x.view.hasWork);
  }

  /**
   * A station listens.
   * @param wake called when there is something to `pump` after there was nothing
   */
  connected(write: (octets: Uint8Array) => void, wake: () => void): void {
    this.#write = write;
    this.#wake = wake;
    const { systemName, description, sessions } = this.#sources;
    write(initiation(systemName, description));
    this.#dumps = [];
    for (const session of sessions()) this.#begin(session, true);
    if (this.#wants('loc')) {
      write(locRibUp(this.#locRib, this.#sources.wallMs(), this.#ownOpen()));
      this.#tell('loc', undefined, this.#locRib);
    }
  }

  /** The station is gone. */
  disconnected(): void {
    this.#write = undefined;
    this.#dumps = [];
    this.#forget(() => true);
  }

  /** Tell one more portion of the tables. What peers send meanwhile is told as it comes, so the order does not matter. */
  pump(): void {
    const [dump] = this.#dumps;
    if (dump !== undefined) {
      const { done, value } = dump.portions.next();
      if (done === true) this.#dumps.shift();
      else for (const update of value) this.received(dump.session, update);
      return;
    }
    for (let n = this.#tellings.length; n > 0; n--) {
      const { view, header } = this.#tellings[this.#turn++ % this.#tellings.length]!;
      if (!view.hasWork) continue;
      // RFC 9069 §4.1: the time the routes were installed; "if zero, the time is unavailable".
      const atMs = view.isInitial ? 0 : this.#sources.wallMs();
      for (const update of view.pull()) this.#write?.(routeMonitoring(header, BmpTable[view.kind], atMs, update));
      return;
    }
  }

  /** RFC 7854 §8.2: statistics of every session; when to send them is the edge's choice. */
  report(): void {
    const { sessions, monitoring, wallMs } = this.#sources;
    const about = [...sessions()].map((s): [BmpPeer, string | undefined] => [headerOf(s), s.peer]);
    if (this.#wants('loc')) about.push([this.#locRib, undefined]);
    for (const [header, peer] of about) {
      const counts = monitoring.statistics(peer);
      if (counts !== undefined) this.#write?.(statistics(header, wallMs(), counts));
    }
  }

  /** Say goodbye; the edge closes. */
  finish(): void {
    if (this.#wants('loc')) this.#write?.(locRibDown(this.#locRib, this.#sources.wallMs()));
    this.#write?.(termination(TerminationReason.AdministrativelyClosed));
    this.disconnected();
  }

  up(s: MonitoredSession): void {
    this.#begin(s, false);
  }

  down(s: MonitoredSession, end: SessionEnd): void {
    this.#dumps = this.#dumps.filter((d) => d.session !== s);
    this.#forget((x) => x.session === s);
    this.#write?.(peerDown(headerOf(s), this.#sources.wallMs(), end));
  }

  received(s: MonitoredSession, update: Uint8Array): void {
    if (!this.#wants('in_pre')) return;
    this.#write?.(routeMonitoring(headerOf(s), BmpTable.in_pre, this.#sources.wallMs(), update));
  }

  #wants(table: StationTable): boolean {
    return this.#sources.tables.includes(table);
  }

  /** @param isOld the peer may have sent something already */
  #begin(s: MonitoredSession, isOld: boolean): void {
    if (this.#write === undefined) return;
    const header = headerOf(s);
    const local = { address: s.local ?? unspecified(s.address), port: 0, remotePort: s.port };
    this.#write(peerUp(header, this.#sources.wallMs(), local, s.sentOpen, s.receivedOpen));
    if (isOld && this.#wants('in_pre')) {
      this.#dumps.push({ session: s, portions: this.#sources.monitoring.receivedUpdates(s.peer) });
    }
    for (const table of this.#sources.tables) {
      if (table !== 'in_pre' && table !== 'loc') this.#tell(table, s, header);
    }
  }

  #tell(kind: TableKind, session: MonitoredSession | undefined, header: BmpPeer): void {
    const view = this.#sources.monitoring.view(kind, session?.peer, () => this.#wake());
    if (view === undefined) return;
    this.#tellings.push({ session, header, view });
    this.#wake();
  }

  #forget(which: (telling: Telling) => boolean): void {
    for (const telling of this.#tellings) if (which(telling)) telling.view.close();
    this.#tellings = this.#tellings.filter((x) => !which(x));
  }

  /** RFC 9069 §4.4: with what is needed to read the messages that follow. */
  #ownOpen(): Uint8Array {
    const { asn, routerId } = this.#sources;
    return encodeOpen({
      version: 4,
      asn: asn > 0xffff ? AS_TRANS : asn,
      holdTimeS: 0,
      identifier: routerId.a3 >>> 0,
      capabilities: [
        { kind: 'multiprotocol', ...FAMILIES.ipv4 },
        { kind: 'multiprotocol', ...FAMILIES.ipv6 },
        { kind: 'extended-next-hop', entries: [{ ...FAMILIES.ipv4, nextHopAfi: AFI_IPV6 }] },
        { kind: 'four-octet-as', asn },
      ],
    });
  }
}

function headerOf(s: MonitoredSession): BmpPeer {
  return {
    type: 'global',
    address: s.address,
    asn: s.negotiated.peerAs,
    identifier: s.negotiated.peer.identifier,
    hasTwoOctetAs: !s.negotiated.context.fourOctetAs,
  };
}

function unspecified(like: Addr): Addr {
  return like.family === 4 ? Addr.v4(0) : Addr.v6(0, 0, 0, 0);
}
