/**
 * VPN routes between VRFs and the sessions that speak the VPN families. Each VRF has a speaker of its own with its own
 * tables; its routes come here over an internal session in this process (bgp/pipe.ts), get a route distinguisher and the
 * VRF's export targets, and go to the VPN sessions; VPN routes whose targets a VRF imports go to its speaker, several
 * paths to one prefix under path identifiers of their own, so that the decision is the VRF's.
 * Read first: RFC 4364 §4.3, RFC 4659, RFC 7911. Packets carry no label here: routes are announced with implicit null, and
 * routes with another label are not imported (counted). VPN routes are not passed on between VPN sessions. What policies
 * make of routes is the session's (bgp/vpn/vpn-policy.ts), when they are sent the feed's (bgp/vpn/vpn-feed.ts).
 */

import type { Family } from '../../router/lib/addr.ts';
import { get16 } from '../../router/lib/bytes.ts';
import type { MonitoredSession } from '../monitor/monitor.ts';
import type { FarEnd } from '../pipe.ts';
import { copyOf } from '../policy/change.ts';
import type { VpnFamily, VpnFeed, VpnPeer, VpnPort } from '../ports.ts';
import type { Attributes, NextHop } from '../wire/attribute/model.ts';
import { type FamilyName, familyNamed } from '../wire/family.ts';
import { type BgpFault, ErrorCode, resetFault, UpdateError } from '../wire/fault.ts';
import type { VpnUpdate } from '../wire/update.ts';
import { IMPLICIT_NULL, readVpnNextHop, readVpnNlri, type VpnPrefix, vpnKey } from './nlri.ts';
import { distinguisherText, type EightOctets } from './route-distinguisher.ts';
import { type Bundle, type Exported, Feed } from './vpn-feed.ts';
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
  /** Something waits to be told where nothing waited before: the speaker of the VPN sessions may work. */
  readonly wake: () => void;
}

const VPN_OF: Readonly<Record<Family, VpnFamily>> = { 4: 'vpnv4', 6: 'vpnv6' };

/** A route of a VPN session as it came. */
interface Received {
  readonly prefix: VpnPrefix;
  readonly attributes: Attributes;
  readonly hop: NextHop;
}

interface Learned extends Received {
  /** Path identifier under which VRFs have it. */
  readonly number: number;
  readonly isAccepted: boolean;
  readonly vrfs: readonly string[];
}

interface VpnSession {
  readonly peer: VpnPeer;
  readonly feed: Feed;
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
  /** The last bundle that was made, and of what: prefixes of one UPDATE stay together. */
  #bundled: { readonly vrf: Vrf; readonly from: Attributes; readonly bundle: Bundle } | undefined;

  /** @throws RangeError when two VRFs have the same route distinguisher: each would withdraw the other's routes */
  constructor(options: VpnRoomOptions) {
    this.#options = options;
    const distinguishers = options.vrfs.map((vrf) => distinguisherText(vrf.rd));
    const twice = distinguishers.find((rd, i) => distinguishers.indexOf(rd) !== i);
    if (twice !== undefined) throw new RangeError(`route distinguisher ${twice} of two VRFs`);
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

  up(session: MonitoredSession, peer: VpnPeer): VpnFeed | undefined {
    const { families } = session.negotiated.context;
    if (families.vpnv4 === undefined && families.vpnv6 === undefined) return undefined;
    const known: VpnSession = {
      peer,
      feed: new Feed(session, peer, this.#exported, () => this.#judgeAgain(known)),
      learned: new Map(),
    };
    this.#sessions.set(session.peer, known);
    return known.feed;
  }

  down(session: MonitoredSession): void {
    const known = this.#sessions.get(session.peer);
    if (known === undefined) return;
    this.#sessions.delete(session.peer);
    for (const learned of known.learned.values()) this.#withdrawFromVrfs(learned);
  }

  /** Tell a session everything of a family again. */
  refresh(session: MonitoredSession, family: FamilyName): void {
    this.#sessions.get(session.peer)?.feed.refresh(family);
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
    if (vpn.isWithdrawn || attributes === undefined) {
      for (const p of prefixes) this.#forget(known, p);
      return undefined;
    }
    const judge = known.peer.accepting(attributes, hop);
    for (const prefix of prefixes) this.#learn(known, { prefix, attributes, hop }, judge);
    return undefined;
  }

  #read(session: MonitoredSession, value: Uint8Array, at: number, isWithdrawal: boolean): VpnPrefix[] | undefined {
    const family = familyNamed(get16(value, 0), value[2]!);
    const facts = family && session.negotiated.context.families[family];
    if (facts === undefined) return [];
    return readVpnNlri(value.subarray(at), family === 'vpnv4' ? 4 : 6, facts.receivesPathIds, isWithdrawal);
  }

  #learn(from: VpnSession, route: Received, judge: ReturnType<VpnPeer['accepting']>): void {
    const p = route.prefix;
    const key = `${p.pathId} ${vpnKey(p)}`;
    const before = from.learned.get(key);
    if (p.label !== IMPLICIT_NULL) {
      this.labelled++;
      if (before !== undefined) this.#forget(from, p);
      return;
    }
    const used = judge(p.prefix);
    const vrfs = used === undefined ? [] : this.#importersOf(used.attributes);
    const number = before?.number ?? this.#nextNumber++;
    for (const vrf of before?.vrfs ?? []) if (!vrfs.includes(vrf)) this.#ends.get(vrf)?.withdraw(p.prefix, number);
    if (before !== undefined) count(from, before, -1);
    const learned = { ...route, number, vrfs, isAccepted: used !== undefined };
    from.learned.set(key, learned);
    count(from, learned, 1);
    if (used === undefined) return;
    for (const vrf of vrfs) this.#ends.get(vrf)?.announce({ prefix: p.prefix, ...used }, number);
  }

  #importersOf(a: Attributes): string[] {
    return this.#options.vrfs.filter((v) => hasTarget(a, v.importTargets)).map((v) => v.name);
  }

  /** Import policy changed: what the peer has sent is judged again without asking it. */
  #judgeAgain(known: VpnSession): void {
    for (const route of [...known.learned.values()]) {
      this.#learn(known, route, known.peer.accepting(route.attributes, route.hop));
    }
  }

  #forget(from: VpnSession, p: VpnPrefix): void {
    const key = `${p.pathId} ${vpnKey(p)}`;
    const learned = from.learned.get(key);
    if (learned === undefined) return;
    from.learned.delete(key);
    count(from, learned, -1);
    this.#withdrawFromVrfs(learned);
  }

  #withdrawFromVrfs({ prefix, number, vrfs }: Learned): void {
    for (const vrf of vrfs) this.#ends.get(vrf)?.withdraw(prefix.prefix, number);
  }

  /** A VRF's best route changed. */
  #export(vrf: Vrf, route: VrfRoute): void {
    const { prefix } = route;
    const vpn = { rd: vrf.rd, prefix, pathId: 0 };
    const key = vpnKey(vpn);
    const bundle = this.#bundleOf(vrf, route);
    if (bundle !== undefined) this.#exported.set(key, { prefix: vpn, bundle });
    else if (!this.#exported.delete(key)) return;
    let isFirst = false;
    for (const { feed } of this.#sessions.values()) isFirst = feed.touch(key, VPN_OF[prefix.family]) || isFirst;
    if (isFirst) this.#options.wake();
  }

  #bundleOf(vrf: Vrf, { prefix, attributes, hop }: VrfRoute): Bundle | undefined {
    const addr = hop?.global ?? hop?.linkLocal;
    if (attributes === undefined || addr === undefined) return undefined;
    const family = VPN_OF[prefix.family];
    const last = this.#bundled;
    if (last?.vrf === vrf && last.from === attributes && last.bundle.family === family && last.bundle.hop.equals(addr))
      return last.bundle;
    const targets = vrf.exportTargets.flatMap((t) => [t.high, t.low]);
    const extendedCommunities = [...attributes.extendedCommunities, ...targets];
    const bundle: Bundle = { family, hop: addr, attributes: { ...copyOf(attributes), extendedCommunities } };
    this.#bundled = { vrf, from: attributes, bundle };
    return bundle;
  }

  /** The VRF's speaker is gone, and its routes with it; what it imports is told again when it is back. */
  #forgetVrf(vrf: Vrf): void {
    for (const { prefix } of [...this.#exported.values()]) {
      if (prefix.rd === vrf.rd) this.#export(vrf, { prefix: prefix.prefix, attributes: undefined, hop: undefined });
    }
  }
}

function count({ feed }: VpnSession, { prefix, isAccepted }: Learned, by: 1 | -1): void {
  const family = VPN_OF[prefix.prefix.family];
  feed.received[family] += by;
  if (isAccepted) feed.accepted[family] += by;
}

function hasTarget(a: Attributes, targets: readonly EightOctets[]): boolean {
  const words = a.extendedCommunities;
  for (let i = 0; i < words.length; i += 2) {
    if (targets.some((t) => t.high === words[i] && t.low === words[i + 1])) return true;
  }
  return false;
}

/** RFC 7606 §5.3: prefixes that cannot be told apart cost the session. */
function malformed(words: string): BgpFault {
  return resetFault(ErrorCode.Update, UpdateError.OptionalAttribute, words);
}
