/** What people ask about BGP, answered in the words of the control protocol, and what they order peers to do. */
import type { BfdState } from '../../bgp/bfd/packet.ts';
import type { CandidateView, Decision, PeerView, RouteQuery, RouteView, Speaker } from '../../bgp/speaker.ts';
import type { BgpConfig, BgpNeighborConfig } from '../config/bgp-model.ts';
import type { Answers, BgpCandidate, BgpPeerStatus, BgpRouteStatus, BgpTelling, Verbs } from '../control/messages.ts';
import { type Addr, Prefix } from '../lib/addr.ts';
import { wallClockMs } from '../lib/clock.ts';
import { MlshimError } from '../lib/errors.ts';
import { type DecisionWords, decisionText, ruleOf, telling } from './bgp-decisions.ts';
import {
  neighborNamed,
  parseCursor,
  parseMrtCursor,
  parseTarget,
  peerStatus,
  routeStatus,
  verdict,
} from './bgp-status.ts';
import type { Dn42Latency } from './dn42-latency.ts';
import { peerNamed, peerOrPlace } from './peer-names.ts';
import type { RpkiRoom } from './rpki-room.ts';
import { vpnImports, vpnListing } from './vpn-listing.ts';
import { vpnTellings, vrfTelling } from './vpn-telling.ts';
import type { VrfSpeakers } from './vrf-speakers.ts';

/** Where the answers are found. */
export interface BgpFacts {
  /** As it is now. */
  readonly settings: () => BgpConfig;
  /** Of the main table. */
  readonly speaker: Speaker;
  readonly vrfs: Pick<VrfSpeakers, 'named' | 'names' | 'room' | 'snapshot' | 'speakerOf'>;
  readonly rpki: Pick<RpkiRoom, 'isConfigured' | 'table'>;
  readonly latency: Pick<Dn42Latency, 'of'>;
  readonly bfdOf: (peer: string) => BfdState | undefined;
}

export class BgpAnswers {
  readonly #facts: BgpFacts;

  constructor(facts: BgpFacts) {
    this.#facts = facts;
  }

  get #settings(): BgpConfig {
    return this.#facts.settings();
  }

  /**
   * @param peer name, AS number or address; empty = all
   * @throws MlshimError UNKNOWN when there is no such peer
   */
  show(peer: string): Answers['bgp_show'] {
    const name = peer === '' ? '' : this.#named(peer);
    const views = this.#peers().filter((v) => name === '' || v.name === name);
    return {
      asn: this.#settings.asn,
      router_id: String(this.#settings.routerId),
      peers: views.map((v) => ({
        ...peerStatus(v, this.#facts.bfdOf(v.name), this.#settings),
        ...this.#latencyOf(v.name),
      })),
    };
  }

  /**
   * A part of a listing.
   * @throws MlshimError USAGE for what is not a prefix or a place in a listing, UNKNOWN for a peer that is not there
   */
  routes({ table, vrf = '', longer, from, ...asked }: Verbs['bgp_routes']): Answers['bgp_routes'] {
    const kind = table === 'in' || table === 'out' ? table : 'best';
    const { what = '' } = asked;
    const meant: { readonly peer?: string; readonly place?: string } =
      what === '' ? { place: asked.prefix } : peerOrPlace(what, this.#peers());
    const { peer = asked.peer === '' ? '' : this.#named(asked.peer), place = '' } = meant;
    if (kind === 'out' && peer === '') throw new MlshimError('USAGE', 'routes out need a peer: bgp routes out PEER');
    const target = place === '' ? undefined : parseTarget(place);
    const query: RouteQuery = { kind, ...(peer !== '' && { peer }), ...placeOf(target, longer === true) };
    const page = this.#speakerOf(vrf, peer).page(query, parseCursor(from ?? ''), (r) => this.#routeStatus(r.view()));
    const next = page.next === undefined ? '' : `${page.next.family}:${page.next.id}`;
    return { routes: page.routes, next, place };
  }

  /**
   * A part of the MRT table of what was received.
   * @throws MlshimError USAGE for what is not a VRF or a place in a table
   */
  dump({ vrf, from }: Verbs['bgp_dump']): Answers['bgp_dump'] {
    const nowS = Math.floor(wallClockMs() / 1000);
    const { octets, next } = this.#speakerOf(vrf).monitoring.mrtPortion(nowS, parseMrtCursor(from ?? ''));
    return { mrt: octets, next: next === undefined ? '' : `${next.rib}:${next.id}:${next.peers}` };
  }

  /**
   * A part of the table of VPN routes.
   * @throws MlshimError USAGE for what is not a distinguisher, a prefix, an address or a place in the table
   */
  vpn(asked: Verbs['bgp_vpn']): Answers['bgp_vpn'] {
    return vpnListing(this.#facts.vrfs.room, asked);
  }

  /** @throws MlshimError USAGE for what is neither prefix nor address, UNKNOWN for a peer or VRF that is not there */
  explain({ prefix: what, vrf = '', to = '' }: Verbs['bgp_explain']): Answers['bgp_explain'] {
    const peer = to === '' ? '' : this.#named(to);
    const target = parseTarget(what);
    const speaker = this.#speakerOf(vrf, this.#isVpnPeer(peer) ? '' : peer);
    const candidates = speaker.explain(target);
    const { room } = this.#facts.vrfs;
    const imports = vpnImports(room, vrf, target, candidates, (from, d) => this.#words(from, 'import', d));
    const told = peer === '' ? undefined : this.#telling(speaker, peer, target, vrf);
    return {
      prefix: candidates[0]?.prefix ?? imports[0]?.route.prefix ?? told?.vpn[0]?.route.prefix ?? what,
      candidates: candidates.map((c) => this.#candidate(c)),
      roas: this.#roasOf(candidates[0]?.prefix),
      imports,
      ...(told !== undefined && { telling: told }),
    };
  }

  /** What a peer is told of a prefix: of the table that the speaker has, and of the VPN families. */
  #telling(speaker: Speaker, peer: string, target: Prefix | Addr, vrf: string): BgpTelling | undefined {
    const { room } = this.#facts.vrfs;
    const words = (d: Decision): DecisionWords => this.#words(peer, 'export', d);
    if (vrf !== '' && this.#isVpnPeer(peer)) {
      const state = this.#peers().find((v) => v.name === peer)?.state ?? 'Idle';
      return vrfTelling(room, { peer, state, what: target, vrf }, speaker, words);
    }
    const view = speaker.explainTelling(peer, target);
    const vpn = vpnTellings(room, peer, target, undefined, words) ?? [];
    return (
      view &&
      telling(
        peer,
        view,
        view.told.map((r) => this.#routeStatus(r)),
        vpn,
        words,
      )
    );
  }

  /** A peer of the main table whose session may carry routes of VRFs. */
  #isVpnPeer(peer: string): boolean {
    if (peer === '' || !this.#facts.speaker.peerNames.includes(peer)) return false;
    return this.#neighbor(peer)?.families.some((f) => f === 'vpnv4' || f === 'vpnv6') === true;
  }

  /** Where no ROAs are configured, every origin would be called unknown. */
  #routeStatus(r: RouteView): BgpRouteStatus {
    return routeStatus(this.#facts.rpki.isConfigured ? r : { ...r, roa: undefined });
  }

  /** The ROAs that speak about a prefix, in words. */
  #roasOf(text: string | undefined): string[] {
    const prefix = text === undefined ? undefined : Prefix.parse(text);
    if (prefix === undefined) return [];
    return this.#facts.rpki.table.covering(prefix).map((v) => `${v.prefix} max ${v.maxLength} AS${v.asn}`);
  }

  #latencyOf(peer: string): Pick<BgpPeerStatus, 'latency_ms' | 'latency_class'> {
    const { averageMs, class: community } = this.#facts.latency.of(peer) ?? {};
    return {
      ...(averageMs !== undefined && { latency_ms: averageMs }),
      ...(community !== undefined && { latency_class: community }),
    };
  }

  #candidate(c: CandidateView): BgpCandidate {
    const route = this.#routeStatus(c);
    if (c.refusedBy === undefined || c.peer === undefined) return { route, lost_by: verdict(c) };
    const { why: refused, rule } = this.#words(c.peer, 'import', c.refusedBy);
    return { route: { ...route, refused }, lost_by: refused, rule };
  }

  /** What a policy of a peer decided about a route. */
  #words(peer: string, direction: 'import' | 'export', d: Decision): DecisionWords {
    const rule = ruleOf(d, direction, this.#neighbor(peer), this.#settings);
    return { why: decisionText(d, rule, direction), rule };
  }

  /** What was configured for a peer, or for its range. */
  #neighbor(peer: string): BgpNeighborConfig | undefined {
    return neighborNamed(peer, this.#peers().find((v) => v.name === peer)?.range, this.#settings);
  }

  /** @throws MlshimError USAGE, UNKNOWN */
  order({ peer: named, action, text = '', direction = '' }: Verbs['bgp_peer']): void {
    const peer = this.#named(named);
    const speaker = this.#speakerOf('', peer);
    const side = direction === 'in' || direction === 'out' ? direction : 'both';
    const actions: Readonly<Record<string, () => boolean>> = {
      up: () => speaker.peerUp(peer),
      down: () => speaker.peerDown(peer, text),
      reset: () => speaker.peerReset(peer, text),
      refresh: () => speaker.peerRefresh(peer, side),
    };
    if (!(action in actions))
      throw new MlshimError('USAGE', `"${action}" is not one of ${Object.keys(actions).join(', ')}`);
    if (actions[action]!() !== true) throw new MlshimError('NOT_NOW', this.#whyNot(peer, action));
  }

  #whyNot(peer: string, action: string): string {
    const { state = 'not known' } = this.#peers().find((v) => v.name === peer) ?? {};
    const why = state === 'Established' ? 'the peer does not take route refreshes' : `its session is ${state}`;
    return `bgp peer ${peer} cannot ${action} now: ${why}`;
  }

  /** `BGP best of 3: AS path 4242420263 4242422601 (2), localpref 100` */
  describe(prefix: Prefix, vrf: string): string | undefined {
    const all = this.#speakerOf(vrf).explain(prefix);
    const best = all.find((c) => c.isBest);
    if (best === undefined) return undefined;
    const candidates = all.filter((c) => c.refused === undefined).length;
    const hops = best.asPath.split(' ').length;
    const path = best.asPath === '' ? 'AS path empty' : `AS path ${best.asPath} (${hops})`;
    return `BGP best of ${candidates}: ${path}, localpref ${best.localPref}`;
  }

  /**
   * A peer by its name, AS number or address.
   * @throws MlshimError UNKNOWN
   */
  #named(text: string): string {
    const isName = this.#facts.speaker.peerNames.includes(text) || this.#facts.vrfs.speakerOf(text) !== undefined;
    return isName ? text : peerNamed(text, this.#peers());
  }

  /** All peers, those of VRFs too. */
  #peers(): PeerView[] {
    return [...this.#facts.speaker.snapshot(), ...this.#facts.vrfs.snapshot()];
  }

  /** @throws MlshimError UNKNOWN when there is no such VRF, or when the peer is not in it */
  #speakerOf(vrf: string, peer = ''): Speaker {
    if (vrf === '') return this.#facts.vrfs.speakerOf(peer) ?? this.#facts.speaker;
    const found = this.#facts.vrfs.named(vrf);
    const known = this.#facts.vrfs.names.join(', ') || 'none';
    if (found === undefined) throw new MlshimError('UNKNOWN', `no VRF "${vrf}" (known: ${known})`);
    if (peer !== '' && !found.peerNames.includes(peer))
      throw new MlshimError('UNKNOWN', `bgp peer ${peer} is not in VRF "${vrf}"`);
    return found;
  }
}

/** What part of a listing is asked for. */
function placeOf(target: Prefix | Addr | undefined, withInside: boolean): Partial<RouteQuery> {
  if (target === undefined) return {};
  const prefix = target instanceof Prefix ? target : Prefix.containing(target, target.family === 4 ? 32 : 128)!;
  if (withInside) return { within: prefix };
  return target instanceof Prefix ? { prefix } : { around: target };
}
