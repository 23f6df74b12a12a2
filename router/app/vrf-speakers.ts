/**
 * The speakers of the VRFs: each has its own tables, its own sockets in its VRF of the data plane, the peers on its
 * uplinks, and an internal session with the VPN room, which joins the VRFs of all routers (bgp/vpn/vpn-room.ts).
 */
import {
  drive,
  type PeerConfig,
  type PeerView,
  type Restarting,
  type RoaTable,
  type RouteFunction,
  Speaker,
  type SpeakerEvent,
  type SpeakerSettings,
  type VrpList,
} from '../../bgp/speaker.ts';
import { VpnRoom, type Vrf } from '../../bgp/vpn/vpn-room.ts';
import { isInside, roomOrigins, roomPeers, roomTransport, VPN_LINK, vrfOfLink } from '../../bgp/vpn/vrf-peers.ts';
import type { BgpConfig } from '../config/bgp-model.ts';
import type { VrfConfig } from '../config/model.ts';
import { crossTo } from '../fib/shared.ts';
import type { FibWriter } from '../fib/writer.ts';
import type { Addr, Family } from '../lib/addr.ts';
import { systemClock } from '../lib/clock.ts';
import { BgpLinks } from './bgp-links.ts';
import type { MonitoredSpeaker } from './bgp-monitoring.ts';
import { changeableSettings, peerConfigOf, rangeConfigOf, speakerSettings } from './bgp-peers.ts';
import type { StreamPort } from './bgp-transport.ts';
import { SplitTransport } from './kernel-transport.ts';
import { RibToFib } from './rib-to-fib.ts';
import type { RoutingLink, RoutingVrf } from './routing-protocol.ts';
import { schedule, speakerTurnEnds } from './turns.ts';
import { setUplinks, type UplinkTransport, type UplinkTransportOptions, uplinkTransport } from './uplink-transport.ts';

interface VrfSpeaker {
  readonly name: string;
  config: VrfConfig;
  readonly speaker: Speaker;
  readonly links: BgpLinks;
  readonly transport: UplinkTransport;
  /** Has selected its routes after a restart. */
  isSettled: boolean;
  stopDriving: () => void;
}

export interface VrfSpeakersOptions {
  readonly settings: BgpConfig;
  readonly vrfs: readonly RoutingVrf[];
  readonly links: readonly RoutingLink[];
  readonly fib: FibWriter;
  readonly random: () => number;
  readonly filters: ReadonlyMap<string, RouteFunction>;
  readonly roas: RoaTable;
  /** Streams in the VRF of this number. */
  readonly port: (vrf: number) => StreamPort;
  /** The source address our packets to a destination carry in a VRF. */
  readonly sourceTo: (vrf: number, dst: Addr) => Addr | undefined;
  /** Routes have reached the FIB. */
  readonly changed: () => void;
  readonly onEvent: (event: SpeakerEvent) => void;
  /** A worker ended before this one, and its FIB forwards on. */
  readonly restarting: Restarting | undefined;
  readonly onError: UplinkTransportOptions['onError'];
  /** Something waits to be told to the VPN sessions, which are the default VRF's. */
  readonly wake: () => void;
}

/** What VRFs go over to. */
type VrfReload = Pick<VrfSpeakersOptions, 'settings' | 'vrfs' | 'links' | 'filters'>;

export class VrfSpeakers {
  readonly room: VpnRoom;
  readonly #options: VrfSpeakersOptions;
  #vrfs: readonly RoutingVrf[];
  #speakers: readonly VrfSpeaker[] = [];
  #isStarted = false;

  constructor(o: VrfSpeakersOptions) {
    this.#options = o;
    this.#vrfs = o.vrfs;
    this.room = new VpnRoom({
      localAs: o.settings.asn,
      vrfs: joined(o.vrfs),
      costIn: (vrf, address) => this.#named(vrf)?.links.resolve(address, VPN_LINK, false)?.cost,
      wake: o.wake,
    });
    this.#speakers = o.vrfs.map((vrf) => this.#make(vrf, o));
    for (const vrf of this.#speakers) vrf.speaker.reconfigure(this.#wanted(vrf, o));
  }

  #make({ name, number, config }: RoutingVrf, { settings, links: all }: VrfReload): VrfSpeaker {
    const o = this.#options;
    const links = new BgpLinks(number, all, o.fib, (dst) => o.sourceTo(number, dst));
    const transport = uplinkTransport({
      vrf: number,
      links: all,
      listenPort: settings.listenPort,
      port: o.port(number),
      localOn: (link, remote) => links.localOn(link, remote),
      onError: o.onError,
    });
    const pipe = roomTransport(this.room, name, setImmediate);
    const sink = new RibToFib(
      o.fib,
      (uplink) => {
        const other = this.#vrfs.find((v) => v.name === vrfOfLink(uplink));
        return other === undefined ? links.indexOf(uplink) : crossTo(other.number);
      },
      () => {
        o.changed();
        links.tableChanged();
      },
    );
    const restarting = this.#isStarted ? undefined : o.restarting;
    const speaker = new Speaker({
      asn: settings.asn,
      routerId: settings.routerId,
      clock: systemClock,
      turnEnds: speakerTurnEnds,
      random: o.random,
      vrf: number,
      prefixes: (family) => o.fib.prefixes(number, family),
      transport: new SplitTransport(transport, [pipe], (link) => (isInside(link) ? pipe : undefined)),
      pathOrigins: roomOrigins(this.room, name),
      sink: {
        apply: (batch) => sink.apply(batch),
        settled: () => {
          vrf.isSettled = true;
        },
      },
      resolver: links,
      ...(restarting !== undefined && {
        restarting: { ...restarting, peers: new Set([...(restarting.peers ?? []), VPN_LINK]) },
      }),
      roas: o.roas,
      ...speakerSettings(settings),
      networks: config.networks,
      onEvent: (e) => {
        if (e.kind !== 'state' || !isInside(e.peer)) o.onEvent(e);
      },
    });
    links.subscribe(() => this.room.nextHopsChanged());
    links.onRenumbered = () => sink.forget();
    links.isRecursive = (prefix) => speaker.isRecursive(prefix);
    const isSettled = restarting === undefined;
    const vrf: VrfSpeaker = { name, config, speaker, links, transport, isSettled, stopDriving: () => undefined };
    return vrf;
  }

  /** @throws MlshimError CONFIG_INVALID, RangeError for settings that `reload` would refuse */
  check(next: Pick<VrfReload, 'settings' | 'filters'>): void {
    for (const vrf of this.#speakers) vrf.speaker.check(this.#wanted(vrf, next));
  }

  /**
   * Go over to other settings and VRFs, as `Speaker.reconfigure`. Peers that leave a VRF have been removed. One whose targets or
   * distinguisher are others is told and tells anew what differs; no session ends for that.
   * @returns the names of peers that begin
   */
  reload(next: VrfReload): readonly string[] {
    const { settings, vrfs, links } = next;
    this.#vrfs = vrfs;
    this.room.setVrfs(joined(vrfs));
    const isWanted = (vrf: VrfSpeaker): boolean => vrfs.some((v) => v.name === vrf.name);
    for (const vrf of this.#speakers) if (!isWanted(vrf)) remove(vrf);
    const before = this.#speakers.filter(isWanted);
    for (const vrf of before) {
      vrf.config = vrfs.find((v) => v.name === vrf.name)!.config;
      vrf.links.setLinks(links);
      setUplinks(vrf.transport, vrf.links.vrf, links, settings.listenPort);
    }
    this.#speakers = vrfs.map((v) => before.find((vrf) => vrf.name === v.name) ?? this.#make(v, next));
    const begun = this.#speakers.flatMap((vrf) => vrf.speaker.reconfigure(this.#wanted(vrf, next)));
    if (this.#isStarted) for (const vrf of this.#speakers) if (!before.includes(vrf)) start(vrf);
    return begun.filter((peer) => !isInside(peer));
  }

  /** What a VRF's speaker is to be told. @throws MlshimError CONFIG_INVALID for functions that are not there */
  #wanted({ name, config, links }: VrfSpeaker, { settings, filters }: Parameters<VrfSpeakers['check']>[0]) {
    const others = joined(this.#vrfs).flatMap((v) => (v.name === name ? [] : [v.name]));
    return wanted({ config, links, others }, settings, filters);
  }

  start(): void {
    this.#isStarted = true;
    for (const vrf of this.#speakers) start(vrf);
  }

  /** All have selected their routes after a restart. */
  get isSettled(): boolean {
    return this.#speakers.every((vrf) => vrf.isSettled);
  }

  /** Say goodbye to the peers; resolves when that has left. @param end ends a speaker's sessions */
  async stop(end: (speaker: Speaker) => void, withinMs: number): Promise<void> {
    for (const { speaker, links, stopDriving } of this.#speakers) {
      links.stop();
      end(speaker);
      stopDriving();
    }
    await Promise.all(this.#speakers.map((s) => s.transport.finished(withinMs)));
  }

  /** The VRPs of these prefixes changed. */
  revalidate(changed: VrpList): void {
    for (const { speaker } of this.#speakers) speaker.revalidate(changed);
  }

  linkState(name: string, up: boolean): void {
    for (const { links } of this.#speakers) links.linkState(name, up);
  }

  /** The transport that asked for a stream, by its VRF. */
  transport(vrf: number): UplinkTransport | undefined {
    return this.#speakers.find((s) => s.links.vrf === vrf)?.transport;
  }

  /** Peers on uplinks of VRFs. */
  snapshot(): PeerView[] {
    return this.#speakers.flatMap((s) => s.speaker.snapshot().filter((v) => !isInside(v.name)));
  }

  /** The speaker that has a peer, undefined when it is one of the default VRF's. */
  speakerOf(peer: string): Speaker | undefined {
    if (isInside(peer)) return undefined;
    return this.#speakers.find((s) => s.speaker.peerNames.includes(peer))?.speaker;
  }

  /** The speaker of the VRF with this number. */
  numbered(vrf: number): Speaker | undefined {
    return this.#speakers.find((s) => s.links.vrf === vrf)?.speaker;
  }

  get names(): readonly string[] {
    return this.#speakers.map((s) => s.name);
  }

  /** As BMP stations tell them apart: by route distinguisher, or by our number of the VRF. */
  monitored(): MonitoredSpeaker[] {
    return this.#speakers.map(({ name, config: { rd }, links, speaker }) => ({
      name,
      speaker,
      distinguisher: rd === undefined ? { kind: 'local', high: 0, low: links.vrf } : { kind: 'rd', ...rd },
    }));
  }

  /** The speaker of a VRF. */
  named(vrf: string): Speaker | undefined {
    return this.#named(vrf)?.speaker;
  }

  #named(vrf: string): VrfSpeaker | undefined {
    return this.#speakers.find((s) => s.name === vrf);
  }

  /** Routes of others than BGP have changed. */
  tableChanged(): void {
    for (const { links } of this.#speakers) links.tableChanged();
  }
}

/** The VRFs that VPN routes come from and go to. */
function joined(vrfs: readonly RoutingVrf[]): Vrf[] {
  return vrfs.flatMap(({ name, config: { rd, importTargets, exportTargets } }) =>
    rd === undefined ? [] : [{ name, rd, importTargets, exportTargets }],
  );
}

function start(vrf: VrfSpeaker): void {
  vrf.speaker.start();
  vrf.stopDriving = drive(vrf.speaker, systemClock, schedule);
}

/** The VRF is gone: its last peers hear so, and its table hears nothing more. */
function remove({ speaker, links, transport, stopDriving }: VrfSpeaker): void {
  speaker.reconfigure({ peers: [] });
  speaker.abandon();
  stopDriving();
  links.stop();
  setUplinks(transport, links.vrf, [], undefined);
}

/** What a VRF's speaker is to be told. @throws MlshimError CONFIG_INVALID for functions that are not there */
function wanted(
  { config, others, links }: Pick<VrfSpeaker, 'config' | 'links'> & { readonly others: readonly string[] },
  settings: BgpConfig,
  filters: ReadonlyMap<string, RouteFunction>,
): SpeakerSettings {
  const isHere = (p: { readonly via: string | undefined }): boolean => p.via !== undefined && links.has(p.via);
  const addressOn = (link: string, family: Family): Addr | undefined => links.addressOn(link, family);
  const peers = settings.peers.filter(isHere).map((p) => peerConfigOf(p, settings, addressOn, filters));
  return {
    ...changeableSettings(settings),
    networks: config.networks,
    peers: config.rd === undefined ? peers : [...peers, ...insidePeers(links, settings.asn, config, others)],
    ranges: settings.ranges.filter(isHere).map((p) => rangeConfigOf(p, settings, addressOn, filters)),
  };
}

/** The sessions with the VPN room. @param others VRFs whose routes may be imported */
function insidePeers(links: BgpLinks, asn: number, config: VrfConfig, others: readonly string[]): PeerConfig[] {
  return roomPeers(others, {
    asn,
    imports: config.importTargets.length > 0,
    exports: config.exportTargets.length > 0,
    nextHop4: links.addressOn(VPN_LINK, 4),
    nextHop6: links.addressOn(VPN_LINK, 6),
  });
}
