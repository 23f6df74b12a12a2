/**
 * One instance of what a BMP station is told: the sessions and tables of one speaker, the default one's or a VRF's.
 * Read first: RFC 7854 §4.2 (peer types and distinguishers), §5 (initial dump), RFC 8671, RFC 9069 §4 and §5.
 */

import { Addr } from '../../router/lib/addr.ts';
import type { SessionEnd } from '../fsm/session.ts';
import { AS_TRANS } from '../wire/attribute/as-path.ts';
import {
  type BmpPeer,
  BmpTable,
  LOC_RIB_PEER,
  locRibDown,
  locRibUp,
  peerDown,
  peerUp,
  routeMonitoring,
  statistics,
} from '../wire/bmp.ts';
import { FAMILIES } from '../wire/family.ts';
import { encodeOpen } from '../wire/message.ts';
import { AFI_IPV6 } from '../wire/nlri.ts';
import type { Monitor, MonitoredSession } from './monitor.ts';
import type { Monitoring } from './monitoring.ts';
import type { TableKind, ToldTable } from './told-table.ts';

/** A table a station may want: `in_pre` is what peers send, as they send it. */
export type StationTable = 'in_pre' | TableKind;

export interface BmpInstance {
  /** RFC 9069 §5.2.1: `GLOBAL_TABLE` for the default one, else the name of the VRF. */
  readonly name: string;
  /** Of a VRF: its route distinguisher, or a number of ours where it has none (RFC 7854 §4.2). */
  readonly distinguisher?: BmpDistinguisher | undefined;
  /** The speaker's. */
  readonly asn: number;
  readonly routerId: Addr;
  /** Established sessions. */
  readonly sessions: () => Iterable<MonitoredSession>;
  readonly monitoring: Pick<Monitoring, 'receivedUpdates' | 'statistics' | 'views'>;
  /** Sessions by the name of their peer that are nobody's business outside. */
  readonly isHidden?: ((peer: string) => boolean) | undefined;
}

export interface BmpDistinguisher {
  readonly kind: 'rd' | 'local';
  readonly high: number;
  readonly low: number;
}

/** The station, as its instances see it. */
export interface InstanceHost {
  readonly tables: readonly StationTable[];
  readonly wallMs: () => number;
  /** Nothing is written while nobody listens. */
  readonly isConnected: boolean;
  write(octets: Uint8Array): void;
  wake(): void;
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
  readonly view: ToldTable;
}

export class InstanceFeed implements Monitor {
  readonly #instance: BmpInstance;
  readonly #host: InstanceHost;
  /** How messages about the Loc-RIB begin. */
  readonly #locRib: BmpPeer;
  #dumps: Dump[] = [];
  #tellings: Telling[] = [];
  /** Which of them is next. */
  #turn = 0;

  constructor(instance: BmpInstance, host: InstanceHost) {
    this.#instance = instance;
    this.#host = host;
    const { asn, routerId, distinguisher } = instance;
    this.#locRib = { ...LOC_RIB_PEER, asn, identifier: routerId.a3 >>> 0, distinguisher };
  }

  /** Something is left for `pump`. */
  get hasWork(): boolean {
    return this.#dumps.length > 0 || this.#tellings.some((x) => x.view.hasWork);
  }

  connected(): void {
    this.#dumps = [];
    for (const session of this.#shown()) this.#begin(session, true);
    if (!this.#wants('loc')) return;
    this.#host.write(locRibUp(this.#locRib, this.#instance.name, this.#host.wallMs(), this.#ownOpen()));
    this.#tell('loc', undefined, this.#locRib);
  }

  disconnected(): void {
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
      const atMs = view.isInitial ? 0 : this.#host.wallMs();
      for (const update of view.pull()) this.#host.write(routeMonitoring(header, BmpTable[view.kind], atMs, update));
      return;
    }
  }

  /** RFC 7854 §8.2: statistics of every session. */
  report(): void {
    const { monitoring } = this.#instance;
    const about = this.#shown().map((s): [BmpPeer, string | undefined] => [this.#headerOf(s), s.peer]);
    if (this.#wants('loc')) about.push([this.#locRib, undefined]);
    for (const [header, peer] of about) {
      const counts = monitoring.statistics(peer);
      if (counts !== undefined) this.#host.write(statistics(header, this.#host.wallMs(), counts));
    }
  }

  /** The station is about to be told goodbye. */
  finish(): void {
    if (this.#wants('loc')) this.#host.write(locRibDown(this.#locRib, this.#instance.name, this.#host.wallMs()));
  }

  up(s: MonitoredSession): void {
    if (!this.#isHidden(s)) this.#begin(s, false);
  }

  down(s: MonitoredSession, end: SessionEnd): void {
    if (this.#isHidden(s)) return;
    this.#dumps = this.#dumps.filter((d) => d.session !== s);
    this.#forget((x) => x.session === s);
    this.#host.write(peerDown(this.#headerOf(s), this.#host.wallMs(), end));
  }

  received(s: MonitoredSession, update: Uint8Array): void {
    if (!this.#wants('in_pre') || this.#isHidden(s)) return;
    this.#host.write(routeMonitoring(this.#headerOf(s), BmpTable.in_pre, this.#host.wallMs(), update));
  }

  #shown(): MonitoredSession[] {
    return [...this.#instance.sessions()].filter((s) => !this.#isHidden(s));
  }

  #isHidden({ peer }: MonitoredSession): boolean {
    return this.#instance.isHidden?.(peer) === true;
  }

  #wants(table: StationTable): boolean {
    return this.#host.tables.includes(table);
  }

  /** @param isOld the peer may have sent something already */
  #begin(s: MonitoredSession, isOld: boolean): void {
    if (!this.#host.isConnected) return;
    const header = this.#headerOf(s);
    const local = { address: s.local ?? unspecified(s.address), port: 0, remotePort: s.port };
    this.#host.write(peerUp(header, this.#host.wallMs(), local, s.sentOpen, s.receivedOpen));
    if (isOld && this.#wants('in_pre')) {
      this.#dumps.push({ session: s, portions: this.#instance.monitoring.receivedUpdates(s.peer) });
    }
    for (const table of this.#host.tables) {
      if (table !== 'in_pre' && table !== 'loc') this.#tell(table, s, header);
    }
  }

  #tell(kind: TableKind, session: MonitoredSession | undefined, header: BmpPeer): void {
    for (const view of this.#instance.monitoring.views(kind, session?.peer, () => this.#host.wake())) {
      this.#tellings.push({ session, header, view });
      this.#host.wake();
    }
  }

  #forget(which: (telling: Telling) => boolean): void {
    for (const telling of this.#tellings) if (which(telling)) telling.view.close();
    this.#tellings = this.#tellings.filter((x) => !which(x));
  }

  #headerOf(s: MonitoredSession): BmpPeer {
    const { distinguisher } = this.#instance;
    return {
      type: distinguisher?.kind ?? 'global',
      distinguisher,
      address: s.address,
      asn: s.negotiated.peerAs,
      identifier: s.negotiated.peer.identifier,
      hasTwoOctetAs: !s.negotiated.context.fourOctetAs,
    };
  }

  /** RFC 9069 §4.4: with what is needed to read the messages that follow. */
  #ownOpen(): Uint8Array {
    const { asn, routerId } = this.#instance;
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

function unspecified(like: Addr): Addr {
  return like.family === 4 ? Addr.v4(0) : Addr.v6(0, 0, 0, 0);
}
