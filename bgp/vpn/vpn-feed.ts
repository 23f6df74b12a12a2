/**
 * What one session is told of the VPN families: keys of routes that changed wait here until the connection takes octets, so
 * a peer that does not read costs a set of keys and no more. Read first: RFC 4364 §4.3, RFC 2918 §4, RFC 7606 §5.1.
 * Deviation: routes told again after ROUTE-REFRESH stand between no marks of RFC 7313; End-of-RIB follows them.
 * Pinned by test/bgp/vpn/vpn-room.test.ts.
 */

import type { Addr } from '../../router/lib/addr.ts';
import type { MonitoredSession } from '../monitor/monitor.ts';
import type { VpnFamily, VpnFeed, VpnPeer } from '../ports.ts';
import { AttributeCode, type Attributes, OPTIONAL, putAttribute } from '../wire/attribute/model.ts';
import { putAttributes } from '../wire/attribute/table.ts';
import { FAMILIES, type FamilyName } from '../wire/family.ts';
import { beginMessage, endMessage, HEADER_OCTETS, MessageType } from '../wire/message.ts';
import { OctetWriter } from '../wire/octets.ts';
import { IMPLICIT_NULL, putVpnPrefix, type VpnPrefix, vpnNextHop } from './nlri.ts';

/** What routes that were exported together have in common. */
export interface Bundle {
  readonly family: VpnFamily;
  readonly attributes: Attributes;
  readonly hop: Addr;
}

type Told = Pick<VpnPrefix, 'rd' | 'prefix' | 'pathId'>;

/** A route of a VRF as VPN sessions have it. */
export interface Exported {
  readonly prefix: Told;
  readonly bundle: Bundle;
}

export type Transmit = (octets: Uint8Array, messages: number) => void;

/** The lengths of withdrawn routes and of attributes. */
const LENGTHS_OCTETS = 4;
/** Flags, code, two octets of length; AFI, SAFI, length of the next hop, reserved. */
const REACH_HEAD_OCTETS = 9;
const UNREACH_HEAD_OCTETS = 7;

export class Feed implements VpnFeed {
  readonly received: Record<VpnFamily, number> = { vpnv4: 0, vpnv6: 0 };
  readonly accepted: Record<VpnFamily, number> = { vpnv4: 0, vpnv6: 0 };
  readonly #session: MonitoredSession;
  readonly #peer: VpnPeer;
  readonly #table: ReadonlyMap<string, Exported>;
  readonly #onPolicy: () => void;
  /** Keys of the table whose route has to be told, or taken back. */
  readonly #waiting = new Set<string>();
  readonly #told = new Map<string, Told>();
  /** Families that are to be told from the beginning. */
  readonly #again = new Set<VpnFamily>();
  readonly #endOfRibs = new Set<VpnFamily>();

  /**
   * @param table what VRFs export
   * @param onPolicy import policy changed
   */
  constructor(session: MonitoredSession, peer: VpnPeer, table: ReadonlyMap<string, Exported>, onPolicy: () => void) {
    this.#session = session;
    this.#peer = peer;
    this.#table = table;
    this.#onPolicy = onPolicy;
    for (const family of ['vpnv4', 'vpnv6'] as const) this.refresh(family);
  }

  get hasWork(): boolean {
    return this.#waiting.size > 0 || this.#again.size > 0 || this.#endOfRibs.size > 0;
  }

  /** A route changed. @returns whether nothing waited before */
  touch(key: string, family: VpnFamily): boolean {
    if (!this.#speaks(family)) return false;
    const isFirst = !this.hasWork;
    this.#waiting.add(key);
    return isFirst;
  }

  /** Tell everything of a family again; as often as that is asked before it can be done, it is done once. */
  refresh(family: FamilyName): void {
    if ((family !== 'vpnv4' && family !== 'vpnv6') || !this.#speaks(family)) return;
    this.#again.add(family);
    this.#endOfRibs.add(family);
  }

  policyChanged(): void {
    for (const family of ['vpnv4', 'vpnv6'] as const) if (this.#speaks(family)) this.#again.add(family);
    this.#onPolicy();
  }

  pull(budget: number, transmit: Transmit): void {
    for (const [key, { bundle }] of this.#again.size === 0 ? [] : this.#table) {
      if (this.#again.has(bundle.family)) this.#waiting.add(key);
    }
    this.#again.clear();
    this.#tell(budget, transmit);
    if (this.#waiting.size > 0) return;
    for (const family of this.#endOfRibs) transmit(unreach(family, new Uint8Array(0)), 1);
    this.#endOfRibs.clear();
  }

  #speaks(family: VpnFamily): boolean {
    return this.#session.negotiated.context.families[family] !== undefined;
  }

  #tell(budget: number, transmit: Transmit): void {
    const policies = new Map<Bundle, ReturnType<VpnPeer['telling']>>();
    const groups = new Map<Attributes, { readonly bundle: Bundle; readonly routes: Map<string, Told> }>();
    const gone: Record<VpnFamily, Told[]> = { vpnv4: [], vpnv6: [] };
    let left = budget;
    for (const key of this.#waiting) {
      if (left-- <= 0) break;
      this.#waiting.delete(key);
      const route = this.#table.get(key);
      const attributes = route && this.#outcome(route, policies);
      if (attributes === undefined) {
        this.#takeBack(key, gone);
        continue;
      }
      const { prefix, bundle } = route!;
      const group = groups.get(attributes) ?? { bundle, routes: new Map<string, Told>() };
      groups.set(attributes, group);
      group.routes.set(key, prefix);
    }
    for (const [attributes, { bundle, routes }] of groups) this.#announce(bundle, attributes, routes, gone, transmit);
    for (const family of ['vpnv4', 'vpnv6'] as const) this.#withdraw(family, gone[family], transmit);
  }

  #outcome(
    { prefix, bundle }: Exported,
    policies: Map<Bundle, ReturnType<VpnPeer['telling']>>,
  ): Attributes | undefined {
    let policy = policies.get(bundle);
    if (policy === undefined) {
      policy = this.#peer.telling(bundle.attributes, bundle.hop);
      policies.set(bundle, policy);
    }
    return policy(prefix.prefix);
  }

  #takeBack(key: string, gone: Record<VpnFamily, Told[]>): void {
    const told = this.#told.get(key);
    if (told === undefined) return;
    this.#told.delete(key);
    gone[told.prefix.family === 4 ? 'vpnv4' : 'vpnv6'].push(told);
  }

  #announce(
    { family, hop }: Bundle,
    attributes: Attributes,
    routes: ReadonlyMap<string, Told>,
    gone: Record<VpnFamily, Told[]>,
    transmit: Transmit,
  ): void {
    const { context, maxMessage } = this.#session.negotiated;
    const w = new OctetWriter(256);
    putAttributes(w, attributes, undefined, context.fourOctetAs);
    const others = w.take();
    const next = vpnNextHop(hop, family === 'vpnv4' ? 4 : 6);
    const room = maxMessage - HEADER_OCTETS - LENGTHS_OCTETS - REACH_HEAD_OCTETS - next.length - others.length;
    const fitting: Told[] = [];
    for (const [key, told] of routes) {
      // Too many attributes for a message: as if policy had refused it.
      if (this.#octets(family, told, IMPLICIT_NULL).length > room) this.#takeBack(key, gone);
      else {
        this.#told.set(key, told);
        fitting.push(told);
      }
    }
    for (const nlri of this.#runs(family, fitting, IMPLICIT_NULL, room)) transmit(reach(family, next, nlri, others), 1);
  }

  #withdraw(family: VpnFamily, routes: readonly Told[], transmit: Transmit): void {
    const room = this.#session.negotiated.maxMessage - HEADER_OCTETS - LENGTHS_OCTETS - UNREACH_HEAD_OCTETS;
    for (const nlri of this.#runs(family, routes, undefined, room)) transmit(unreach(family, nlri), 1);
  }

  /** Prefixes as octets, as many in a run as there is room for. */
  *#runs(family: VpnFamily, routes: readonly Told[], label: number | undefined, room: number): Generator<Uint8Array> {
    let run = new OctetWriter(512);
    for (const told of routes) {
      const octets = this.#octets(family, told, label);
      if (run.length + octets.length > room) {
        yield run.take();
        run = new OctetWriter(512);
      }
      run.put(octets);
    }
    if (run.length > 0) yield run.take();
  }

  #octets(family: VpnFamily, told: Told, label: number | undefined): Uint8Array {
    const w = new OctetWriter(32);
    putVpnPrefix(w, told, label, this.#session.negotiated.context.families[family]!.sendsPathIds);
    return w.take();
  }
}

/** A whole UPDATE: an MP attribute first (RFC 7606 §5.1), then the others. */
function update(code: number, value: Uint8Array, others: Uint8Array): Uint8Array {
  const w = new OctetWriter(value.length + others.length + 32);
  const start = beginMessage(w, MessageType.Update);
  w.u16(0);
  const lengthAt = w.length;
  w.u16(0);
  putAttribute(w, OPTIONAL, code, value);
  w.put(others);
  w.patch16(lengthAt, w.length - lengthAt - 2);
  endMessage(w, start);
  return w.take();
}

function reach(family: VpnFamily, hop: Uint8Array, nlri: Uint8Array, others: Uint8Array): Uint8Array {
  const v = new OctetWriter(nlri.length + 32);
  v.u16(FAMILIES[family].afi);
  v.u8(FAMILIES[family].safi);
  v.u8(hop.length);
  v.put(hop);
  v.u8(0);
  v.put(nlri);
  return update(AttributeCode.MpReach, v.take(), others);
}

/** MP_UNREACH_NLRI; without a prefix it is the family's End-of-RIB (RFC 4724 §2). */
function unreach(family: VpnFamily, nlri: Uint8Array): Uint8Array {
  const v = new OctetWriter(nlri.length + 8);
  v.u16(FAMILIES[family].afi);
  v.u8(FAMILIES[family].safi);
  v.put(nlri);
  return update(AttributeCode.MpUnreach, v.take(), new Uint8Array(0));
}
