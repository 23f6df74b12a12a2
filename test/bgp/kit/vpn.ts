/** Speakers of VRFs and the room that joins them, for simulated networks (kit/net.ts). */
import type { VpnPeer, VpnSender } from '../../../bgp/ports.ts';
import { eachRoute } from '../../../bgp/routes.ts';
import { Speaker, type SpeakerOptions } from '../../../bgp/speaker.ts';
import { parseDistinguisher, parseRouteTarget } from '../../../bgp/vpn/route-distinguisher.ts';
import { VpnRoom, type VpnRoomOptions, type Vrf } from '../../../bgp/vpn/vpn-room.ts';
import { roomOrigins, roomPeers, roomTransport, VPN_LINK } from '../../../bgp/vpn/vrf-peers.ts';
import { Addr, Prefix } from '../../../router/lib/addr.ts';
import type { SimNet, SimRouter } from './net.ts';

export const rd = (text: string) => parseDistinguisher(text)!;
export const rt = (text: string) => parseRouteTarget(text)!;

/** A peer of a room whose routes are taken as they are, and which is told nothing. */
export const openPeer = (sender: VpnSender): VpnPeer => ({
  sender,
  pathLimit: 1,
  accepting: (attributes, hop) => () => ({ attributes, hop, weight: 0 }),
  refusal: () => undefined,
  cost: () => 0,
  telling: () => () => undefined,
  offering: () => undefined,
  reason: () => ({ bar: undefined, policy: undefined }),
  mark: () => undefined,
});

export interface VrfSim {
  readonly speaker: Speaker;
  /** Addresses of next hops, and behind an @ the link where it is not that to other routers. */
  readonly fib: Map<string, string>;
  /** Changes of single routes. */
  changes: number;
  /** What stood in `fib` when a restarted speaker said that its routes are complete. */
  settledWith: readonly string[] | undefined;
}

/**
 * The speaker of a VRF, joined to its router's room.
 * @param nextHop its address; the IPv6 one has the same last number. Empty = it has none
 */
export function vrf(
  net: SimNet,
  room: VpnRoom,
  name: string,
  asn: number,
  nextHop: string,
  options: Partial<SpeakerOptions> = {},
): VrfSim {
  const fib = new Map<string, string>();
  const speaker = new Speaker({
    asn,
    routerId: Addr.parse('10.255.0.1')!,
    clock: net.clock,
    random: net.random,
    transport: roomTransport(room, name, (run) => void net.clock.after(0, run)),
    pathOrigins: roomOrigins(room, name),
    resolver: { isUp: () => true, subscribe: () => undefined },
    sink: {
      ...eachRoute(({ prefix, way }) => {
        const hops = way?.nextHops.map(({ address, link }) => `${address}${link === VPN_LINK ? '' : `@${link}`}`);
        sim.changes++;
        if (hops === undefined) fib.delete(String(prefix));
        else fib.set(String(prefix), hops.join(' '));
      }),
      settled: () => {
        sim.settledWith = [...fib.keys()];
      },
    },
    ...options,
  });
  const sim: VrfSim = { speaker, fib, changes: 0, settledWith: undefined };
  net.drive(speaker);
  const last = nextHop.split('.').at(-1);
  const others = room.vrfs.filter((other) => other !== name);
  const nextHop6 = nextHop === '' ? undefined : Addr.parse(`fd00::${last}`);
  const joining = { asn, imports: true, exports: true, nextHop4: Addr.parse(nextHop), nextHop6 };
  for (const peer of roomPeers(others, joining)) speaker.addPeer(peer);
  speaker.start();
  return sim;
}

export type Targets = Readonly<Record<string, { rd: string; import: string[]; export: string[] }>>;

export function roomOf(
  asn: number,
  r: () => SimRouter,
  vrfs: Targets,
  costIn: VpnRoomOptions['costIn'] = undefined,
): VpnRoom {
  const wake = (): void => r().speaker.onActivity();
  return new VpnRoom({ localAs: asn, vrfs: vrfsOf(vrfs), wake, ...(costIn && { costIn }) });
}

export function vrfsOf(vrfs: Targets): Vrf[] {
  return Object.entries(vrfs).map(([name, v]) => ({
    name,
    rd: rd(v.rd),
    importTargets: v.import.map(rt),
    exportTargets: v.export.map(rt),
  }));
}

/** The messages of what was written to a stream. */
export function messagesIn(writes: readonly Uint8Array[]): Buffer[] {
  const octets = Buffer.concat(writes);
  const out: Buffer[] = [];
  for (let at = 0; at < octets.length; at += octets.readUInt16BE(at + 16))
    out.push(octets.subarray(at, at + octets.readUInt16BE(at + 16)));
  return out;
}

export const announce = (v: VrfSim, ...prefixes: string[]): void => {
  for (const p of prefixes) v.speaker.announce({ prefix: Prefix.parse(p)! });
};
