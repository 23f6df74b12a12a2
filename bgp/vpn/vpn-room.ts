/**
 * VPN routes between VRFs and the sessions that speak the VPN families. Each VRF has a speaker of its own with its own
 * tables; its routes come here over an internal session in this process (bgp/pipe.ts), get a route distinguisher and the
 * VRF's export targets, and go to the VPN sessions; VPN routes whose targets a VRF imports go to its speaker, several
 * paths to one prefix under path identifiers of their own, so that the decision is the VRF's.
 * Read first: RFC 4364 §4.3, RFC 4659, RFC 7911. Packets carry no label here: routes are announced with implicit null, and
 * routes with another label are not imported (counted). VPN routes are not passed on between VPN sessions.
 */

import type { Addr, Family } from '../../router/lib/addr.ts';
import { get16 } from '../../router/lib/bytes.ts';
import type { MonitoredSession } from '../monitor/monitor.ts';
import type { FarEnd } from '../pipe.ts';
import { copyOf } from '../policy/change.ts';
import type { VpnPort } from '../ports.ts';
import { prepend } from '../wire/attribute/as-path.ts';
import { transitiveOnly } from '../wire/attribute/extended-communities.ts';
import {
  AttributeCode,
  type Attributes,
  type NextHop,
  NO_NUMBERS,
  OPTIONAL,
  putAttribute,
} from '../wire/attribute/model.ts';
import { putAttributes } from '../wire/attribute/table.ts';
import { FAMILIES, type FamilyName, familyNamed } from '../wire/family.ts';
import { type BgpFault, ErrorCode, resetFault, UpdateError } from '../wire/fault.ts';
import { beginMessage, endMessage, MessageType } from '../wire/message.ts';
import { OctetWriter } from '../wire/octets.ts';
import type { VpnUpdate } from '../wire/update.ts';
import {
  IMPLICIT_NULL,
  putVpnPrefix,
  readVpnNextHop,
  readVpnNlri,
  type VpnPrefix,
  vpnKey,
  vpnNextHop,
} from './nlri.ts';
import type { EightOctets } from './route-distinguisher.ts';
import { VrfEnd, type VrfRoute } from './vrf-end.ts';

export interface Vrf {
  readonly name: string;
  readonly rd: EightOctets;
  readonly importTargets: readonly EightOctets[];
  readonly exportTargets: readonly EightOctets[];
}

export interface VpnRoomOptions {
  readonly localAs: number;
  readonly vrfs: readonly Vrf[];
  /** Send whole UPDATE messages to a peer. */
  readonly transmit: (peer: string, octets: Uint8Array, messages: number) => void;
}

type VpnFamily = 'vpnv4' | 'vpnv6';
const VPN_OF: Readonly<Record<Family, VpnFamily>> = { 4: 'vpnv4', 6: 'vpnv6' };

/** A route of a VPN session. */
interface Learned {
  readonly prefix: VpnPrefix;
  /** Path identifier under which VRFs have it. */
  readonly number: number;
  readonly vrfs: readonly string[];
}

/** A route of a VRF as VPN sessions have it. */
interface Exported {
  readonly prefix: Pick<VpnPrefix, 'rd' | 'prefix' | 'pathId'>;
  readonly attributes: Attributes;
  readonly hop: Addr;
}

interface VpnSession {
  readonly session: MonitoredSession;
  readonly learned: Map<string, Learned>;
}

export class VpnRoom implements VpnPort {
  /** Routes not imported because their label is not implicit null. */
  labelled = 0;
  readonly #options: VpnRoomOptions;
  readonly #ends: ReadonlyMap<string, VrfEnd>;
  readonly #sessions = new Map<string, VpnSession>();
  readonly #exported = new Map<string, Exported>();
  #nextNumber = 1;

  constructor(options: VpnRoomOptions) {
    this.#options = options;
    this.#ends = new Map(
      options.vrfs.map((vrf, i) => {
        const end = new VrfEnd(options.localAs, i + 1, {
          route: (route) => this.#export(vrf, route),
          ended: () => this.#forgetVrf(vrf),
        });
        return [vrf.name, end];
      }),
    );
  }

  /** The far end of the session that a VRF's speaker has with this room. */
  endOf(vrf: string): FarEnd | undefined {
    return this.#ends.get(vrf);
  }

  /** VPN routes learned from all sessions, and VRF routes told to them. */
  get counts(): { readonly learned: number; readonly exported: number } {
    let learned = 0;
    for (const s of this.#sessions.values()) learned += s.learned.size;
    return { learned, exported: this.#exported.size };
  }

  up(session: MonitoredSession): void {
    const spoken = familiesOf(session);
    if (spoken.length === 0) return;
    this.#sessions.set(session.peer, { session, learned: new Map() });
    for (const family of spoken) this.refresh(session, family);
  }

  down(session: MonitoredSession): void {
    const known = this.#sessions.get(session.peer);
    if (known === undefined) return;
    this.#sessions.delete(session.peer);
    for (const learned of known.learned.values()) this.#withdrawFromVrfs(learned);
  }

  /** Tell a session everything of a family (again). */
  refresh(session: MonitoredSession, family: FamilyName): void {
    if (!this.#sessions.has(session.peer)) return;
    for (const route of this.#exported.values()) {
      if (VPN_OF[route.prefix.prefix.family] === family) this.#tell(session, route);
    }
    const w = new OctetWriter(64);
    putUpdate(w, undefined, (b) => putUnreach(b, FAMILIES[family], () => undefined));
    this.#options.transmit(session.peer, w.take(), 1);
  }

  update(session: MonitoredSession, vpn: VpnUpdate, attributes: Attributes | undefined): BgpFault | undefined {
    const known = this.#sessions.get(session.peer);
    if (known === undefined) return undefined;
    if (vpn.unreach !== undefined) {
      const gone = this.#read(session, vpn.unreach, 3, true);
      if (gone === undefined) return malformed('MP_UNREACH_NLRI holds a malformed VPN prefix');
      for (const p of gone) this.#forget(known, p);
    }
    if (vpn.reach === undefined) return undefined;
    const nlriAt = 5 + (vpn.reach[3] ?? 0);
    const hop = readVpnNextHop(vpn.reach.subarray(4, nlriAt - 1));
    const prefixes = this.#read(session, vpn.reach, nlriAt, vpn.isWithdrawn);
    if (prefixes === undefined || hop === undefined) return malformed('MP_REACH_NLRI of a VPN family is malformed');
    for (const p of prefixes) {
      if (vpn.isWithdrawn || attributes === undefined || isLoop(attributes, this.#options.localAs))
        this.#forget(known, p);
      else this.#learn(known, p, attributes, hop);
    }
    return undefined;
  }

  #read(session: MonitoredSession, value: Uint8Array, at: number, isWithdrawal: boolean): VpnPrefix[] | undefined {
    const family = familyNamed(get16(value, 0), value[2]!);
    const facts = family && session.negotiated.context.families[family];
    if (facts === undefined) return [];
    return readVpnNlri(value.subarray(at), family === 'vpnv4' ? 4 : 6, facts.receivesPathIds, isWithdrawal);
  }

  #learn(from: VpnSession, p: VpnPrefix, attributes: Attributes, hop: NextHop): void {
    const key = `${p.pathId} ${vpnKey(p)}`;
    const before = from.learned.get(key);
    if (p.label !== IMPLICIT_NULL) {
      this.labelled++;
      if (before !== undefined) this.#forget(from, p);
      return;
    }
    const vrfs = this.#options.vrfs.filter((v) => hasTarget(attributes, v.importTargets)).map((v) => v.name);
    const number = before?.number ?? this.#nextNumber++;
    for (const vrf of before?.vrfs ?? []) if (!vrfs.includes(vrf)) this.#ends.get(vrf)?.withdraw(p.prefix, number);
    from.learned.set(key, { prefix: p, number, vrfs });
    const route = { prefix: p.prefix, attributes, hop };
    for (const vrf of vrfs) this.#ends.get(vrf)?.announce(route, number);
  }

  #forget(from: VpnSession, p: VpnPrefix): void {
    const key = `${p.pathId} ${vpnKey(p)}`;
    const learned = from.learned.get(key);
    if (learned === undefined) return;
    from.learned.delete(key);
    this.#withdrawFromVrfs(learned);
  }

  #withdrawFromVrfs({ prefix, number, vrfs }: Learned): void {
    for (const vrf of vrfs) this.#ends.get(vrf)?.withdraw(prefix.prefix, number);
  }

  /** A VRF's best route changed. */
  #export(vrf: Vrf, { prefix, attributes, hop }: VrfRoute): void {
    const vpn = { rd: vrf.rd, prefix, pathId: 0 };
    const key = vpnKey(vpn);
    const before = this.#exported.get(key);
    const addr = hop?.global ?? hop?.linkLocal;
    const family = FAMILIES[VPN_OF[prefix.family]];
    if (attributes !== undefined && addr !== undefined) {
      const targets = vrf.exportTargets.flatMap((t) => [t.high, t.low]);
      const route: Exported = {
        prefix: vpn,
        hop: addr,
        attributes: { ...copyOf(attributes), extendedCommunities: [...attributes.extendedCommunities, ...targets] },
      };
      this.#exported.set(key, route);
      for (const { session } of this.#sessions.values()) this.#tell(session, route);
      return;
    }
    if (before === undefined) return;
    this.#exported.delete(key);
    for (const { session } of this.#sessions.values()) {
      const facts = session.negotiated.context.families[VPN_OF[prefix.family]];
      if (facts === undefined) continue;
      const w = new OctetWriter(64);
      putUpdate(w, undefined, (b) => putUnreach(b, family, (v) => putVpnPrefix(v, vpn, undefined, facts.sendsPathIds)));
      this.#options.transmit(session.peer, w.take(), 1);
    }
  }

  /** The VRF's speaker is gone, and its routes with it; what it imports is told again when it is back. */
  #forgetVrf(vrf: Vrf): void {
    for (const { prefix } of [...this.#exported.values()]) {
      if (prefix.rd === vrf.rd) this.#export(vrf, { prefix: prefix.prefix, attributes: undefined, hop: undefined });
    }
  }

  #tell(session: MonitoredSession, route: Exported): void {
    const family = VPN_OF[route.prefix.prefix.family];
    const { families, fourOctetAs } = session.negotiated.context;
    const facts = families[family];
    if (facts === undefined) return;
    const attributes = this.#towards(session, route.attributes);
    const w = new OctetWriter(256);
    putUpdate(w, { attributes, fourOctetAs }, (b) => {
      const v = new OctetWriter(64);
      const hop = vpnNextHop(route.hop, family === 'vpnv4' ? 4 : 6);
      v.u16(FAMILIES[family].afi);
      v.u8(FAMILIES[family].safi);
      v.u8(hop.length);
      v.put(hop);
      v.u8(0);
      putVpnPrefix(v, route.prefix, IMPLICIT_NULL, facts.sendsPathIds);
      putAttribute(b, OPTIONAL, AttributeCode.MpReach, v.take());
    });
    this.#options.transmit(session.peer, w.take(), 1);
  }

  /** RFC 4271 §5.1: what changes at the border of the AS. */
  #towards(session: MonitoredSession, a: Attributes): Attributes {
    if (!session.negotiated.external) return a;
    return {
      ...copyOf(a),
      asPath: prepend(a.asPath, this.#options.localAs),
      localPref: undefined,
      originatorId: undefined,
      clusterList: NO_NUMBERS,
      extendedCommunities: transitiveOnly(a.extendedCommunities),
    };
  }
}

function familiesOf(session: MonitoredSession): VpnFamily[] {
  const { families } = session.negotiated.context;
  return (['vpnv4', 'vpnv6'] as const).filter((f) => families[f] !== undefined);
}

function hasTarget(a: Attributes, targets: readonly EightOctets[]): boolean {
  const words = a.extendedCommunities;
  for (let i = 0; i < words.length; i += 2) {
    if (targets.some((t) => t.high === words[i] && t.low === words[i + 1])) return true;
  }
  return false;
}

/** RFC 4271 §9.1.2: our own AS stands in the path. */
function isLoop(a: Attributes, asn: number): boolean {
  return a.asPath.some((s) => s.asns.includes(asn));
}

/** RFC 7606 §5.3: prefixes that cannot be told apart cost the session. */
function malformed(words: string): BgpFault {
  return resetFault(ErrorCode.Update, UpdateError.OptionalAttribute, words);
}

/** A whole UPDATE: an MP attribute first (RFC 7606 §5.1), then the others. */
function putUpdate(
  w: OctetWriter,
  others: { readonly attributes: Attributes; readonly fourOctetAs: boolean } | undefined,
  mp: (w: OctetWriter) => void,
): void {
  const start = beginMessage(w, MessageType.Update);
  w.u16(0);
  const lengthAt = w.length;
  w.u16(0);
  mp(w);
  if (others !== undefined) putAttributes(w, others.attributes, undefined, others.fourOctetAs);
  w.patch16(lengthAt, w.length - lengthAt - 2);
  endMessage(w, start);
}

/** MP_UNREACH_NLRI; without a prefix it is the family's End-of-RIB (RFC 4724 §2). */
function putUnreach(
  w: OctetWriter,
  family: { readonly afi: number; readonly safi: number },
  prefixes: (v: OctetWriter) => void,
): void {
  const v = new OctetWriter(64);
  v.u16(family.afi);
  v.u8(family.safi);
  prefixes(v);
  putAttribute(w, OPTIONAL, AttributeCode.MpUnreach, v.take());
}
