/**
 * BGP Monitoring Protocol messages, as a router sends them to a monitoring station.
 * Read first: RFC 7854 §4, RFC 8671 §4 (Adj-RIB-Out), RFC 9069 §4 and §5 (Loc-RIB instance). Encoding only: a station never
 * speaks (RFC 7854 §3.2).
 */

import type { Addr } from '../../router/lib/addr.ts';
import { FAMILIES, type FamilyName } from './family.ts';
import { OctetWriter } from './octets.ts';

const VERSION = 3;

/** RFC 7854 §4.1 */
const BmpType = { RouteMonitoring: 0, Statistics: 1, PeerDown: 2, PeerUp: 3, Initiation: 4, Termination: 5 } as const;

// Flags of the per-peer header: RFC 7854 §4.2, RFC 8671 §4.
const FLAG_V6 = 0x80;
const FLAG_POST_POLICY = 0x40;
const FLAG_TWO_OCTET_AS = 0x20;
const FLAG_ADJ_RIB_OUT = 0x10;

/** Which table Route Monitoring is about; RFC 9069 §4.2: of a Loc-RIB only F, "filtered", could be set, and ours is whole. */
export const BmpTable = {
  in_pre: 0,
  in_post: FLAG_POST_POLICY,
  out_pre: FLAG_ADJ_RIB_OUT,
  out_post: FLAG_ADJ_RIB_OUT | FLAG_POST_POLICY,
  loc: 0,
} as const;

/** Peer types: RFC 7854 §4.2, RFC 9069 §4.1. */
const PEER_TYPE = { global: 0, rd: 1, local: 2, locRib: 3 } as const;

/** RFC 7854 §4.9, RFC 9069 §5.3. */
const DOWN_REASON = { sent: 1, left: 2, received: 3, lost: 4, locRib: 6 } as const;

/** Information TLVs (RFC 7854 §4.4, §4.5; RFC 9069 §5.2.1). */
const INFO_SYS_DESCR = 1;
const INFO_SYS_NAME = 2;
const INFO_TABLE_NAME = 3;
const TERMINATION_REASON = 1;

/** RFC 9069 §5.2.1: "The default value of "global" MUST be used for the default Loc-RIB instance". */
export const GLOBAL_TABLE = 'global';

/** RFC 7854 §4.5 */
export const TerminationReason = { AdministrativelyClosed: 0, Unspecified: 1, OutOfResources: 2 } as const;

/** The monitored session in a message's per-peer header (RFC 7854 §4.2), or the Loc-RIB. */
export interface BmpPeer {
  readonly type: keyof typeof PEER_TYPE;
  /** Whose table it is: a route distinguisher, or a number of ours; undefined = the default instance's. */
  readonly distinguisher: { readonly high: number; readonly low: number } | undefined;
  /** Undefined for the Loc-RIB. */
  readonly address: Addr | undefined;
  readonly asn: number;
  /** BGP Identifier, 0 before the first OPEN. */
  readonly identifier: number;
  /** The session does not speak 4-octet AS numbers, and its UPDATEs are passed on as they came. */
  readonly hasTwoOctetAs: boolean;
}

/** RFC 9069 §4.1, without the speaker's own numbers. */
export const LOC_RIB_PEER = { type: 'locRib', address: undefined, hasTwoOctetAs: false } as const;

/** Why a session ended (RFC 7854 §4.9): with a NOTIFICATION, given whole, or without a word, by us or by the peer. */
export type PeerDown =
  | { readonly kind: 'sent' | 'received'; readonly notification: Uint8Array }
  | { readonly kind: 'left'; readonly event: number }
  | { readonly kind: 'lost' };

/** Routes of each family there is. */
export type BmpCounts = Readonly<Partial<Record<FamilyName, number>>>;

/** Statistics (RFC 7854 §4.8, RFC 8671 §6.2), of those there are. */
export interface BmpStatistics {
  readonly rejectedPrefixes?: number;
  readonly treatedAsWithdrawn?: number;
  readonly adjRibIn?: BmpCounts;
  readonly locRib?: BmpCounts;
  /** After policy. */
  readonly adjRibOut?: BmpCounts;
}

/** RFC 7854 §4.3 */
export function initiation(systemName: string, description: string): Uint8Array {
  return message(BmpType.Initiation, (w) => {
    putText(w, INFO_SYS_DESCR, description);
    putText(w, INFO_SYS_NAME, systemName);
  });
}

/** RFC 7854 §4.5 */
export function termination(reason: number): Uint8Array {
  return message(BmpType.Termination, (w) => {
    w.u16(TERMINATION_REASON);
    w.u16(2);
    w.u16(reason);
  });
}

/** RFC 7854 §4.10. The OPEN messages come whole, with their headers. */
export function peerUp(
  peer: BmpPeer,
  atMs: number,
  local: { readonly address: Addr; readonly port: number; readonly remotePort: number },
  sentOpen: Uint8Array,
  receivedOpen: Uint8Array,
): Uint8Array {
  return message(BmpType.PeerUp, (w) => {
    putPeer(w, peer, 0, atMs);
    putAddr(w, local.address);
    w.u16(local.port);
    w.u16(local.remotePort);
    w.put(sentOpen);
    w.put(receivedOpen);
  });
}

/** RFC 7854 §4.9 */
export function peerDown(peer: BmpPeer, atMs: number, down: PeerDown): Uint8Array {
  return message(BmpType.PeerDown, (w) => {
    putPeer(w, peer, 0, atMs);
    w.u8(DOWN_REASON[down.kind]);
    if (down.kind === 'left') w.u16(down.event);
    else if (down.kind !== 'lost') w.put(down.notification);
  });
}

/** RFC 9069 §5.2: no session, but the same message; `open` stands for both of its sides. @param table its name */
export function locRibUp(peer: BmpPeer, table: string, atMs: number, open: Uint8Array): Uint8Array {
  return message(BmpType.PeerUp, (w) => {
    putPeer(w, peer, 0, atMs);
    w.put(new Uint8Array(20)); // local address and both ports
    w.put(open);
    w.put(open);
    putText(w, INFO_TABLE_NAME, table);
  });
}

/** RFC 9069 §5.3 */
export function locRibDown(peer: BmpPeer, table: string, atMs: number): Uint8Array {
  return message(BmpType.PeerDown, (w) => {
    putPeer(w, peer, 0, atMs);
    w.u8(DOWN_REASON.locRib);
    putText(w, INFO_TABLE_NAME, table);
  });
}

/**
 * RFC 7854 §4.6: one UPDATE message with its header.
 * @param table one of `BmpTable`
 */
export function routeMonitoring(peer: BmpPeer, table: number, atMs: number, update: Uint8Array): Uint8Array {
  return message(BmpType.RouteMonitoring, (w) => {
    putPeer(w, peer, table, atMs);
    w.put(update);
  });
}

/** RFC 7854 §4.8, RFC 8671 §6.2 */
export function statistics(peer: BmpPeer, atMs: number, s: BmpStatistics): Uint8Array {
  return message(BmpType.Statistics, (w) => {
    putPeer(w, peer, 0, atMs);
    const countAt = w.length;
    w.u32(0);
    let count = 0;
    const put = (type: number, octets: number, fill: () => void): void => {
      w.u16(type);
      w.u16(octets);
      fill();
      count++;
    };
    const counter = (type: number, value: number | undefined): void => {
      if (value !== undefined) put(type, 4, () => w.u32(value));
    };
    const gauges = (type: number, perFamily: number, counts: BmpCounts | undefined): void => {
      if (counts === undefined) return;
      const perName = Object.entries(counts) as [FamilyName, number][];
      put(type, 8, () =>
        putGauge(
          w,
          perName.reduce((sum, [, n]) => sum + n, 0),
        ),
      );
      for (const [family, n] of perName) {
        put(perFamily, 11, () => {
          w.u16(FAMILIES[family].afi);
          w.u8(FAMILIES[family].safi);
          putGauge(w, n);
        });
      }
    };
    counter(0, s.rejectedPrefixes);
    gauges(7, 9, s.adjRibIn);
    gauges(8, 10, s.locRib);
    counter(11, s.treatedAsWithdrawn);
    gauges(15, 17, s.adjRibOut);
    w.patch16(countAt + 2, count);
  });
}

function message(type: number, body: (w: OctetWriter) => void): Uint8Array {
  const w = new OctetWriter(256);
  w.u8(VERSION);
  w.u32(0);
  w.u8(type);
  body(w);
  w.patch16(1, w.length >>> 16);
  w.patch16(3, w.length & 0xffff);
  return w.take();
}

function putPeer(w: OctetWriter, p: BmpPeer, table: number, atMs: number): void {
  w.u8(PEER_TYPE[p.type]);
  w.u8((p.address?.family === 6 ? FLAG_V6 : 0) | (p.hasTwoOctetAs ? FLAG_TWO_OCTET_AS : 0) | table);
  w.u32(p.distinguisher?.high ?? 0);
  w.u32(p.distinguisher?.low ?? 0);
  if (p.address === undefined) w.put(new Uint8Array(16));
  else putAddr(w, p.address);
  w.u32(p.asn);
  w.u32(p.identifier);
  w.u32(Math.floor(atMs / 1000));
  w.u32(Math.floor((atMs % 1000) * 1000));
}

/** RFC 7854 §4.2: an IPv4 address stands in the last four of sixteen octets. */
function putAddr(w: OctetWriter, a: Addr): void {
  if (a.family === 4) w.put(new Uint8Array(12));
  w.put(a.toBytes());
}

function putText(w: OctetWriter, type: number, text: string): void {
  const octets = new TextEncoder().encode(text);
  w.u16(type);
  w.u16(octets.length);
  w.put(octets);
}

function putGauge(w: OctetWriter, value: number): void {
  w.u32(Math.floor(value / 2 ** 32));
  w.u32(value);
}
