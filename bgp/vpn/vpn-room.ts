/**
 * VPN routes between VRFs, and between them and the sessions that speak the VPN families. Each VRF has a speaker of its own
 * with its own tables; its routes come here over an internal session in this process (bgp/pipe.ts), get a route distinguisher
 * and the VRF's export targets, and go to the VPN sessions and to the VRFs of this router that import one of the targets. VPN
 * routes of sessions whose targets a VRF imports go to its speaker, several paths to one prefix under path identifiers of
 * their own, so that the decision is the VRF's; and to the other sessions, as reflection and export policies allow.
 * Read first: RFC 4364 §4.3 and §10, RFC 4659, RFC 7911, RFC 4456, RFC 4724 §4.1. Packets carry no label here: routes of ours
 * are announced with implicit null, and routes with another label are passed on as they are and not imported (`labelled`).
 * What policies make of routes is the session's (bgp/vpn/vpn-policy.ts), when they are sent the feed's (bgp/vpn/vpn-feed.ts).
 */

import type { Addr, Prefix } from '../../router/lib/addr.ts';
import { get16 } from '../../router/lib/bytes.ts';
import { isEqual } from '../../router/lib/equal.ts';
import { hashText } from '../../router/lib/hash-text.ts';
import type { PathOrigin } from '../candidates.ts';
import type { Chore } from '../chores.ts';
import type { MonitoredSession } from '../monitor/monitor.ts';
import type { FarEnd } from '../pipe.ts';
import { copyOf } from '../policy/change.ts';
import type { VpnAccepted, VpnBundle, VpnFamily, VpnFeed, VpnPeer, VpnPort, VpnSender } from '../ports.ts';
import type { RetentionHost } from '../retention.ts';
import { Community } from '../wire/attribute/communities.ts';
import type { Attributes, NextHop } from '../wire/attribute/model.ts';
import { isHostAddress } from '../wire/attribute/next-hop.ts';
import { putAttributes } from '../wire/attribute/table.ts';
import { type FamilyName, familyNamed } from '../wire/family.ts';
import { type BgpFault, ErrorCode, type Handling, NO_DATA, UpdateError } from '../wire/fault.ts';
import { OctetWriter } from '../wire/octets.ts';
import type { VpnUpdate } from '../wire/update.ts';
import { FAMILY_OF, familyOf, Held, type HeldRoute, type Reached } from './held.ts';
import { IMPLICIT_NULL, readVpnNextHop, readVpnNlri, type VpnName, type VpnPrefix, vpnKey } from './nlri.ts';
import { prefixesMeant } from './prefix-index.ts';
import { distinguisherText, type EightOctets, hasTarget } from './route-distinguisher.ts';
import { importsOf, type VpnImport, type VpnTelling } from './vpn-explain.ts';
import { Feed, VPN_FAMILIES } from './vpn-feed.ts';
import { UNREACHABLE, VpnHops } from './vpn-hops.ts';
import { type VpnRoute, VpnTable } from './vpn-table.ts';
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
  /** What it costs to reach an address in the table of a VRF; undefined while it cannot be. By default it never can. */
  readonly costIn?: (vrf: string, address: Addr) => number | undefined;
  /** Something waits to be told or done where nothing waited before: the speaker of the VPN sessions may work. */
  readonly wake: () => void;
}

interface VpnSession {
  readonly peer: VpnPeer;
  readonly feed: Feed;
}

/** A route of a VRF as others have it. */
interface Exported {
  /** The VRF's name, and the end that it was told by: one of a VRF that is gone may have the same name. */
  readonly vrf: string;
  readonly end: VrfEnd;
  /** The end's session that told it. */
  readonly session: number;
  /** With the distinguisher that it was told under. */
  readonly name: VpnName;
  readonly number: number;
  /** VRFs of this router that import it. */
  readonly vrfs: readonly string[];
}

type Judge = ReturnType<VpnPeer['accepting']>;
type Judged = Pick<HeldRoute, 'key' | 'prefix' | 'reached' | 'accepted' | 'epoch' | 'isLongLived' | 'sender'>;
/** What becomes of one answer of import policy, so that prefixes stay together. */
type Bundles = Map<VpnAccepted, VpnBundle>;

export class VpnRoom implements VpnPort {
  readonly #options: VpnRoomOptions;
  #vrfs: readonly Vrf[] = [];
  readonly #ends = new Map<string, VrfEnd>();
  /** Ends at VRFs for what they import from others of this router, by both names. */
  readonly #leakEnds = new Map<string, VrfEnd>();
  readonly #sessions = new Map<string, VpnSession>();
  /** By the name of the peer; with or without a session. */
  readonly #held = new Map<string, Held>();
  readonly #table = new VpnTable();
  readonly #hops = new VpnHops();
  /** By `exportKey`. */
  readonly #exported = new Map<string, Exported>();
  /** Tables of VRFs that have not been told whole: names of VRFs and families. */
  readonly #incomplete = new Set<string>();
  #isSelecting = false;
  #later: ((chore: Chore) => void) | undefined;
  #labelled = 0;
  #nextNumber = 1;
  /** The last bundle that was made of a VRF's routes, and of what: prefixes of one UPDATE stay together. */
  #bundled: { readonly vrf: Vrf; readonly attributes: Attributes; readonly bundle: VpnBundle } | undefined;

  /** @throws RangeError as `setVrfs` */
  constructor(options: VpnRoomOptions) {
    this.#options = options;
    this.#vrfs = options.vrfs;
    checkDistinguishers(options.vrfs);
    for (const { name } of options.vrfs) this.#addEnds(name);
  }

  /** Names of all VRFs. */
  get vrfs(): readonly string[] {
    return this.#vrfs.map((vrf) => vrf.name);
  }

  /**
   * Go over to other VRFs: some come, some go, some have other targets or another distinguisher. Whoever imports or is told what
   * differs hears of that alone, and the sessions with the speakers of VRFs that stay go on.
   * @throws RangeError when two VRFs have the same route distinguisher: each would withdraw the other's routes
   */
  setVrfs(all: readonly Vrf[]): void {
    checkDistinguishers(all);
    const before = this.#vrfs;
    this.#vrfs = all.map((vrf) => before.find((v) => isEqual(v, vrf)) ?? vrf);
    if (this.#vrfs.length === before.length && this.#vrfs.every((vrf) => before.includes(vrf))) return;
    const isIn = (vrfs: readonly Vrf[], { name }: Vrf): boolean => vrfs.some((v) => v.name === name);
    for (const vrf of before) if (!isIn(all, vrf)) this.#removeEnds(vrf);
    const added = new Set(all.filter((vrf) => !isIn(before, vrf)).map((vrf) => vrf.name));
    for (const vrf of added) this.#addEnds(vrf);
    this.#each([...this.#exported.keys()], (key) => this.#exportAgain(key, added));
    for (const held of this.#held.values()) this.#each(held.routes(), (route) => this.#importAgain(held, route, added));
    this.#options.wake();
  }

  #addEnds(name: string): void {
    const { localAs } = this.#options;
    const identifier = identifierOf(name);
    for (const family of VPN_FAMILIES) this.#incomplete.add(`${name} ${family}`);
    // A speaker that is gone may be heard of when there is another VRF of its name.
    const isHere = (): boolean => this.#ends.get(name) === end;
    const end: VrfEnd = new VrfEnd(localAs, identifier, {
      route: (route) => isHere() && this.#export(this.#named(name)!, route),
      endOfRib: (family) => isHere() && this.#told(name, FAMILY_OF[family]),
      ended: () => isHere() && this.#forgetVrf(name),
    });
    if (this.#isSelecting) end.complete();
    for (const other of this.#ends.keys()) {
      this.#leakEnds.set(leakKey(other, name), new VrfEnd(localAs, identifier));
      this.#leakEnds.set(leakKey(name, other), new VrfEnd(localAs, identifierOf(other)));
    }
    this.#ends.set(name, end);
  }

  /** Its routes go with it. */
  #removeEnds({ name }: Vrf): void {
    this.#ends.delete(name);
    for (const other of this.#ends.keys())
      for (const key of [leakKey(other, name), leakKey(name, other)]) this.#leakEnds.delete(key);
    for (const family of VPN_FAMILIES) this.#told(name, family);
  }

  /** The far end of the session that a VRF's speaker has with this room. */
  endOf(vrf: string): FarEnd | undefined {
    return this.#ends.get(vrf);
  }

  /** The far end of the session over which a VRF's speaker hears what it imports from another VRF of this router. */
  leakEndOf(vrf: string, from: string): FarEnd | undefined {
    return this.#leakEnds.get(leakKey(vrf, from));
  }

  /** Routes that may be told, prefix after prefix, the best one first. @param from so many prefixes are passed over */
  routes(from: number): Generator<readonly VpnRoute[]> {
    return this.#table.all(from);
  }

  /** The same of a prefix, or of all that hold an address. */
  *routesTo(what: Prefix | Addr): Generator<readonly VpnRoute[]> {
    for (const prefix of prefixesMeant(what)) yield* this.#table.at(prefix);
  }

  /** VRFs of ours that have a route of a peer, or of another VRF. */
  importersOf(route: VpnRoute): string[] {
    const from = route.vrf;
    if (from === undefined && route.label !== IMPLICIT_NULL) return [];
    return this.#importersOf(route.bundle.attributes).filter((vrf) => vrf !== from);
  }

  /** All routes to a prefix, or to the longest that holds an address, from the side of a VRF; none where there is no such VRF. */
  imports(vrf: string, what: Prefix | Addr): VpnImport[] {
    const importer = this.#named(vrf);
    return importer === undefined ? [] : importsOf(importer, what, this.#held.values(), this.#table);
  }

  /**
   * Routes to a prefix, or to the longest that holds an address, from the side of a peer; undefined without a VPN session.
   * @param vrf those of this VRF alone
   */
  tellings(peer: string, what: Prefix | Addr, vrf?: string): VpnTelling[] | undefined {
    const feed = this.#sessions.get(peer)?.feed;
    if (feed === undefined) return undefined;
    for (const prefix of prefixesMeant(what)) {
      const all = Array.from(this.#table.keysOf(prefix), (key) => feed.explain(key)).flat();
      const asked = all.filter(({ route }) => vrf === undefined || route.vrf === vrf);
      if (asked.length > 0) return asked;
    }
    return [];
  }

  /** Who told the path that a VRF has under a number. */
  originOf(vrf: string, number: number): PathOrigin | undefined {
    return this.#ends.get(vrf)?.originOf(number);
  }

  /** The route targets a VRF imports. */
  targetsOf(vrf: string): readonly EightOctets[] {
    return this.#named(vrf)?.importTargets ?? [];
  }

  /** VPN routes held from all peers, and VRF routes told to them. */
  get counts(): { readonly learned: number; readonly exported: number } {
    let learned = 0;
    for (const held of this.#held.values()) learned += held.size;
    return { learned, exported: this.#exported.size };
  }

  /** Routes that VRFs would import if their label were implicit null. */
  get labelled(): number {
    return this.#labelled;
  }

  up(session: MonitoredSession, peer: VpnPeer): VpnFeed | undefined {
    const { families } = session.negotiated.context;
    if (families.vpnv4 === undefined && families.vpnv6 === undefined) return undefined;
    const held = this.#held.get(session.peer) ?? new Held(peer);
    held.peer = peer;
    this.#hops.forget(session.peer);
    this.#held.set(session.peer, held);
    const feed = new Feed(session.negotiated, peer, {
      table: this.#table,
      held,
      isComplete: () => this.#isSelecting && this.#incomplete.size === 0,
      judgeAgain: () => this.#judgeAgain(held, peer),
    });
    this.#sessions.set(session.peer, { peer, feed });
    return feed;
  }

  down({ peer }: MonitoredSession): void {
    this.#sessions.delete(peer);
    if (this.#held.get(peer)?.size === 0) this.#held.delete(peer);
  }

  selecting(): void {
    this.#isSelecting = true;
    for (const end of this.#ends.values()) end.complete();
    this.#options.wake();
  }

  retention(peer: string): RetentionHost {
    const of = (act: (held: Held, family: VpnFamily) => void) => (family: FamilyName) => {
      const held = this.#held.get(peer);
      if (held === undefined || !isVpn(family)) return;
      act(held, family);
      if (held.size === 0 && !this.#sessions.has(peer)) this.#held.delete(peer);
    };
    return {
      markStale: of((held, family) => held.markStale(family)),
      makeLongLived: of((held, family) => this.#makeLongLived(held, family)),
      sweep: of((held, family) => this.#sweep(held, family)),
      drop: of((held, family) => {
        held.markStale(family);
        this.#sweep(held, family);
      }),
    };
  }

  attach(later: (chore: Chore) => void): void {
    this.#later = later;
  }

  update(session: MonitoredSession, vpn: VpnUpdate, attributes: Attributes | undefined): BgpFault | undefined {
    const held = this.#held.get(session.peer);
    const peer = this.#sessions.get(session.peer)?.peer;
    if (held === undefined || peer === undefined) return undefined;
    if (vpn.unreach !== undefined) {
      const gone = this.#read(session, vpn.unreach, 3);
      if (gone === undefined) return malformed('MP_UNREACH_NLRI holds a malformed VPN prefix');
      for (const p of gone) this.#withdraw(held, vpnKey(p), p);
    }
    if (vpn.reach === undefined) return undefined;
    const nlriAt = 5 + (vpn.reach[3] ?? 0);
    const hop = readVpnNextHop(vpn.reach.subarray(4, nlriAt - 1));
    const prefixes = this.#read(session, vpn.reach, nlriAt);
    if (prefixes === undefined || hop === undefined) return malformed('MP_REACH_NLRI of a VPN family is malformed');
    const isHost = hop.global === undefined || isHostAddress(hop.global);
    if (vpn.isWithdrawn || attributes === undefined || !isHost) {
      for (const p of prefixes) this.#withdraw(held, vpnKey(p), p);
      return isHost ? undefined : fault('treat-as-withdraw', 'next hop of VPN routes is not a host address');
    }
    const reached = { attributes, hop, octets: octetsOf(attributes) };
    const judge = peer.accepting(attributes, hop);
    const bundles: Bundles = new Map();
    for (const prefix of prefixes) {
      const key = vpnKey(prefix);
      if (this.#isKnown(held, key, prefix, reached, peer)) continue;
      const accepted = judge(prefix.prefix);
      const epoch = held.epoch(FAMILY_OF[prefix.prefix.family]);
      this.#store(held, { key, prefix, reached, accepted, epoch, isLongLived: false, sender: peer.sender }, bundles);
    }
    return undefined;
  }

  #read(session: MonitoredSession, value: Uint8Array, at: number): VpnPrefix[] | undefined {
    const family = familyNamed(get16(value, 0), value[2]!);
    const facts = family && session.negotiated.context.families[family];
    if (facts === undefined) return [];
    return readVpnNlri(value.subarray(at), family === 'vpnv4' ? 4 : 6, facts.receivesPathIds);
  }

  /** A route is told again as it was told before in this session, as after a refresh: nobody else needs to hear. */
  #isKnown(held: Held, key: string, prefix: VpnPrefix, reached: Reached, { sender }: VpnPeer): boolean {
    const before = held.get(key, prefix);
    if (before?.sender !== sender || before.isLongLived || !isSame(before, prefix, reached)) return false;
    if (!held.isFresh(before)) held.toldAgain(before);
    return true;
  }

  /** Put a route into the place of what was held before, and have everybody see it. */
  #store(held: Held, judged: Judged, bundles: Bundles): void {
    const { key, prefix, reached, accepted } = judged;
    const known = held.known(key, prefix);
    // Where the peer is another router now its path is another one, by which ties are broken anew.
    const before = known !== undefined && isSameSender(known.sender, judged.sender) ? known : undefined;
    const number = before?.number ?? this.#nextNumber++;
    const vrfs = accepted === undefined ? [] : this.#importersOf(accepted.attributes);
    const route = { ...judged, number, vrfs, isLabelled: prefix.label !== IMPLICIT_NULL };
    if (before !== undefined) this.#takeFromVrfs(before, importersOf(route));
    held.put(route);
    if (route.isLabelled && vrfs.length > 0) this.#labelled++;
    if (accepted === undefined) this.#table.remove(key, number);
    else {
      // The label is good for the next hop it came with, whatever import policy makes of that for our VRFs.
      const { attributes, weight } = accepted;
      const family = FAMILY_OF[prefix.prefix.family];
      const bundle = bundles.get(accepted) ?? { family, attributes, hop: reached.hop, from: judged.sender, weight };
      bundles.set(accepted, bundle);
      const cost = this.#costOf(held, route);
      this.#table.put(key, { name: prefix, vrf: undefined, label: prefix.label, bundle, number, cost });
      this.#announce(route, accepted, importersOf(route));
    }
    if (known !== undefined && before === undefined) this.#leave(known);
    else this.#touch(key, prefix);
  }

  #announce({ prefix: p, number, sender }: HeldRoute, accepted: VpnAccepted, vrfs: readonly string[]): void {
    const { name: peer, address, identifier } = sender;
    const origin = { peer, address, identifier, distinguisher: p.rd, pathId: p.pathId };
    for (const vrf of vrfs) this.#ends.get(vrf)?.announce({ prefix: p.prefix, ...accepted }, number, origin);
  }

  /**
   * A VRF's route, where the VRF is gone or exports it otherwise now, or others import it.
   * @param added VRFs that have not been told anything
   */
  #exportAgain(key: string, added: ReadonlySet<string>): void {
    const exported = this.#exported.get(key);
    if (exported === undefined) return; // it has gone meanwhile
    const { number, end } = exported;
    const route = this.#table.routes(vpnKey(exported.name)).find((r) => r.number === number)!;
    const vrf = this.#ends.get(exported.vrf) === end ? this.#named(exported.vrf) : undefined;
    if (vrf === undefined) {
      this.#unexport(key, exported);
      return;
    }
    const { attributes, hop } = route.bundle;
    const name = { ...exported.name, rd: vrf.rd };
    if (!isEqual(attributes.extendedCommunities, exportedCommunities(vrf, attributes))) {
      this.#export(vrf, { prefix: name.prefix, attributes, hop }, exported.session);
      return;
    }
    if (!isEqual(name, exported.name)) {
      this.#takeBack(exported);
      this.#table.put(vpnKey(name), { ...route, name });
      this.#touch(vpnKey(name), name);
    }
    const before = exported.vrfs.filter((v) => !added.has(v));
    const now = this.#importersOf(attributes).filter((v) => v !== vrf.name);
    for (const to of before) if (!now.includes(to)) this.#leakEnd(to, vrf.name)?.withdraw(name.prefix, number);
    for (const to of now) {
      if (!before.includes(to)) this.#leakEnd(to, vrf.name)?.announce({ prefix: name.prefix, attributes, hop }, number);
    }
    this.#exported.set(key, { ...exported, name, vrfs: now });
  }

  /** A route of a peer, where other VRFs import it now. @param added VRFs that have not been told anything */
  #importAgain(held: Held, { key, prefix }: HeldRoute, added: ReadonlySet<string>): void {
    const route = held.get(key, prefix);
    if (route?.accepted === undefined) return;
    const { accepted, isLabelled, number } = route;
    const now = { ...route, vrfs: this.#importersOf(accepted.attributes) };
    const [before, after] = [importersOf(route).filter((v) => !added.has(v)), importersOf(now)];
    if (isEqual(now.vrfs, route.vrfs) && isEqual(before, after)) return;
    if (isLabelled) this.#labelled += Number(now.vrfs.length > 0) - Number(route.vrfs.length > 0);
    for (const vrf of before) if (!after.includes(vrf)) this.#ends.get(vrf)?.withdraw(prefix.prefix, number);
    this.#announce(
      now,
      accepted,
      after.filter((vrf) => !before.includes(vrf)),
    );
    held.put(now);
    this.#reach(held, now);
  }

  nextHopsChanged(): void {
    if (!this.#hops.recheck()) return;
    for (const held of this.#held.values())
      this.#each(held.routes(), ({ key, prefix }) => {
        const route = held.get(key, prefix);
        if (route !== undefined) this.#reach(held, route);
      });
    this.#options.wake();
  }

  /** A route's next hop may have another cost, or none, now. */
  #reach(held: Held, route: HeldRoute): void {
    const { key, number } = route;
    const before = this.#table.routes(key).find((r) => r.number === number);
    if (before === undefined) return;
    const cost = this.#costOf(held, route);
    if (cost === before.cost) return;
    this.#table.put(key, { ...before, cost });
    this.#touch(key, route.prefix);
  }

  /**
   * Interior cost of a route's next hop, as it came: where it is found by the table of its session, or by that of a VRF that
   * imports it, because packets of VRFs go over tunnels of their own here.
   */
  #costOf(held: Held, route: HeldRoute): number {
    const { hop } = route.reached;
    const vrfs = importersOf(route);
    return this.#hops.cost(route.sender.name, hop, vrfs.join(), () => {
      const { global } = hop;
      const inVrfs = global === undefined ? [] : vrfs.map((vrf) => this.#options.costIn?.(vrf, global));
      return Math.min(...[held.peer.cost(hop), ...inVrfs].map((cost) => cost ?? UNREACHABLE));
    });
  }

  #named(name: string): Vrf | undefined {
    return this.#vrfs.find((vrf) => vrf.name === name);
  }

  #leakEnd(to: string, from: string): VrfEnd | undefined {
    return this.#leakEnds.get(leakKey(to, from));
  }

  #importersOf(a: Attributes): string[] {
    return this.#vrfs.filter((v) => hasTarget(a.extendedCommunities, v.importTargets)).map((v) => v.name);
  }

  /** Import policy changed: what the peer has sent is judged again without asking it. */
  #judgeAgain(held: Held, peer: VpnPeer): void {
    const judges = new Map<Reached, Judge>();
    const bundles: Bundles = new Map();
    this.#each(held.routes(), (route) => {
      // Another session has told it since then, or nobody any more.
      if (!held.has(route) || route.sender !== peer.sender) return;
      const { prefix, reached, isLongLived } = route;
      let judge = judges.get(reached);
      if (judge === undefined) judges.set(reached, (judge = peer.accepting(reached.attributes, reached.hop)));
      const accepted = judge(prefix.prefix);
      const used = isLongLived ? accepted && withLlgrStale(accepted) : accepted;
      this.#store(held, { ...route, accepted: used }, bundles);
    });
  }

  #makeLongLived(held: Held, family: VpnFamily): void {
    const epoch = held.epoch(family); // as it is now: a refresh may begin before all have been looked at
    this.#each(held.routes(), (route) => {
      if (familyOf(route) !== family || !held.has(route) || route.epoch >= epoch || route.isLongLived) return;
      // RFC 9494 §4.2: with NO_LLGR a route is not kept that long.
      if (route.reached.attributes.communities.includes(Community.NoLlgr)) {
        held.delete(route);
        this.#leave(route);
      } else {
        const accepted = route.accepted && withLlgrStale(route.accepted);
        this.#store(held, { ...route, accepted, isLongLived: true }, new Map());
      }
    });
  }

  #withdraw(held: Held, key: string, prefix: VpnPrefix): void {
    const route = held.known(key, prefix);
    if (route === undefined) return;
    held.delete(route);
    this.#leave(route);
  }

  /** What is stale is not held any more at once, and leaves the tables in slices: the peer may tell others meanwhile. */
  #sweep(held: Held, family: VpnFamily): void {
    if (held.stale[family] === 0) return;
    held.sweep(family);
    this.#each(held.routes(), (route) => {
      if (!held.isGone(route)) return;
      held.delete(route);
      this.#leave(route);
    });
  }

  #leave(route: HeldRoute): void {
    this.#takeFromVrfs(route, []);
    this.#table.remove(route.key, route.number);
    this.#touch(route.key, route.prefix);
  }

  /** Do something for many routes without holding up the turn; they may come and go meanwhile. */
  #each<R>(routes: Iterable<R>, act: (route: R) => void): void {
    const all = routes[Symbol.iterator]();
    const chore: Chore = {
      step: (budget) => {
        for (let left = budget; left > 0; left--) {
          const { done, value } = all.next();
          if (done === true) return true;
          act(value);
        }
        return false;
      },
    };
    if (this.#later === undefined) chore.step(Infinity);
    else this.#later(chore);
  }

  /** Withdraw a route from the VRFs that have it, but for those that are told another one in its place. */
  #takeFromVrfs(route: HeldRoute, kept: readonly string[]): void {
    if (route.isLabelled && route.vrfs.length > 0) this.#labelled--;
    for (const vrf of importersOf(route)) {
      if (!kept.includes(vrf)) this.#ends.get(vrf)?.withdraw(route.prefix.prefix, route.number);
    }
  }

  /** A VRF's best route changed. @param session that told it, where that is not the one there is now */
  #export(vrf: Vrf, { prefix, attributes, hop }: VrfRoute, session?: number): void {
    const key = exportKey(vrf.name, prefix);
    const before = this.#exported.get(key);
    const bundle = attributes && hop && this.#bundleOf(vrf, FAMILY_OF[prefix.family], attributes, hop);
    if (bundle === undefined) {
      if (before !== undefined) this.#unexport(key, before);
      return;
    }
    const name = { rd: vrf.rd, prefix };
    const number = before?.number ?? this.#nextNumber++;
    const vrfs = this.#importersOf(bundle.attributes).filter((v) => v !== vrf.name);
    for (const to of before?.vrfs ?? []) {
      if (!vrfs.includes(to)) this.#leakEnd(to, vrf.name)?.withdraw(prefix, number);
    }
    if (before !== undefined && !isEqual(before.name.rd, vrf.rd)) this.#takeBack(before);
    const end = this.#ends.get(vrf.name)!;
    this.#exported.set(key, { vrf: vrf.name, end, session: session ?? end.session, name, number, vrfs });
    const told = vpnKey(name);
    this.#table.put(told, { name, vrf: vrf.name, label: IMPLICIT_NULL, bundle, number, cost: 0 });
    for (const to of vrfs) this.#leakEnd(to, vrf.name)?.announce({ prefix, ...bundle }, number);
    this.#touch(told, name);
  }

  #unexport(key: string, exported: Exported): void {
    const { vrf, name, number, vrfs } = exported;
    for (const to of vrfs) this.#leakEnd(to, vrf)?.withdraw(name.prefix, number);
    this.#exported.delete(key);
    this.#takeBack(exported);
  }

  /** Out of the table of VPN routes. */
  #takeBack({ name, number }: Exported): void {
    const told = vpnKey(name);
    this.#table.remove(told, number);
    this.#touch(told, name);
  }

  #bundleOf(vrf: Vrf, family: VpnFamily, attributes: Attributes, hop: NextHop): VpnBundle {
    const last = this.#bundled;
    if (last?.vrf === vrf && last.attributes === attributes && last.bundle.hop === hop) return last.bundle;
    const bundle = {
      family,
      attributes: { ...copyOf(attributes), extendedCommunities: exportedCommunities(vrf, attributes) },
      hop,
      from: undefined,
      weight: 0,
    };
    this.#bundled = { vrf, attributes, bundle };
    return bundle;
  }

  #touch(key: string, { prefix }: VpnName): void {
    let isFirst = false;
    for (const { feed } of this.#sessions.values()) isFirst = feed.touch(key, FAMILY_OF[prefix.family]) || isFirst;
    if (isFirst) this.#options.wake();
  }

  /** A VRF has told its whole table of a family. */
  #told(vrf: string, family: VpnFamily): void {
    if (this.#incomplete.delete(`${vrf} ${family}`) && this.#incomplete.size === 0) this.#options.wake();
  }

  /** The VRF's speaker is gone, and its routes with it; what it imports is told again when it is back. */
  #forgetVrf(name: string): void {
    const end = this.#ends.get(name)!;
    const { session } = end;
    this.#each(this.#exported, ([key, exported]) => {
      if (exported.end === end && exported.session <= session) this.#unexport(key, exported);
    });
    for (const family of VPN_FAMILIES) this.#told(name, family);
  }
}

/** @throws RangeError when one stands twice */
function checkDistinguishers(vrfs: readonly Vrf[]): void {
  const distinguishers = vrfs.map((vrf) => distinguisherText(vrf.rd));
  const twice = distinguishers.find((rd, i) => distinguishers.indexOf(rd) !== i);
  if (twice !== undefined) throw new RangeError(`route distinguisher ${twice} of two VRFs`);
}

/** RFC 4364 §4.3.1: the targets are the VRF's to say, and not those of whoever told it the route. */
function exportedCommunities({ exportTargets }: Vrf, { extendedCommunities }: Attributes): readonly number[] {
  return [...withoutTargets(extendedCommunities), ...exportTargets.flatMap((t) => [t.high, t.low])];
}

/** Not zero. Which of two equal routes is used must not depend on which VRF was there first. */
function identifierOf(vrf: string): number {
  return hashText(vrf) || 1;
}

/** A route of a VRF, whatever distinguisher the VRF has. */
function exportKey(vrf: string, prefix: Prefix): string {
  return `${vrf} ${prefix}`;
}

function leakKey(to: string, from: string): string {
  return `${to} ${from}`;
}

function isVpn(family: FamilyName): family is VpnFamily {
  return family === 'vpnv4' || family === 'vpnv6';
}

/** VRFs that have a route: a label stands for a way through MPLS, which there is not. */
function importersOf({ isLabelled, vrfs }: Pick<HeldRoute, 'isLabelled' | 'vrfs'>): readonly string[] {
  return isLabelled ? [] : vrfs;
}

/** Whether ties are broken in the same way between routes of the two. */
function isSameSender(a: VpnSender, b: VpnSender): boolean {
  return a === b || (a.identifier === b.identifier && a.address.equals(b.address));
}

function octetsOf(a: Attributes): Uint8Array {
  const w = new OctetWriter(256);
  putAttributes(w, a, undefined, true);
  return w.take();
}

/** Whether a route is told as it was told before. */
function isSame({ prefix, reached }: HeldRoute, now: VpnPrefix, { hop, octets }: Reached): boolean {
  if (prefix.label !== now.label || reached.octets.length !== octets.length) return false;
  const isSameHop = String(reached.hop.global) === String(hop.global);
  const isSameLocal = String(reached.hop.linkLocal) === String(hop.linkLocal);
  return isSameHop && isSameLocal && reached.octets.every((octet, i) => octet === octets[i]);
}

function withLlgrStale(accepted: VpnAccepted): VpnAccepted {
  const { attributes } = accepted;
  if (attributes.communities.includes(Community.LlgrStale)) return accepted;
  const communities = [...attributes.communities, Community.LlgrStale];
  return { ...accepted, attributes: { ...copyOf(attributes), communities } };
}

/** RFC 4360 §4: sub-type 2 of the types 0, 1 and 2. */
function withoutTargets(words: readonly number[]): number[] {
  return words.filter((_, i) => {
    const high = words[i & ~1]!;
    return high >>> 24 > 2 || ((high >>> 16) & 0xff) !== 2;
  });
}

/** RFC 7606 §5.3: prefixes that cannot be told apart cost the session. */
function malformed(words: string): BgpFault {
  return fault('reset', words);
}

function fault(handling: Handling, words: string): BgpFault {
  return { code: ErrorCode.Update, subcode: UpdateError.OptionalAttribute, data: NO_DATA, handling, words };
}
