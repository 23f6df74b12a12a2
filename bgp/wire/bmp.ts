/**
 * BGP Monitoring Protocol messages, as a router sends them to a monitoring station.
 * Read first: RFC 7854 (§4), RFC 8671 §4 (Adj-RIB-Out, not sent), RFC 9069 (Loc-RIB instance, not sent). Encoding only:
 * a station never speaks (RFC 7854 §3.2).
 */

import type { Addr } from '../../router/lib/addr.ts';
import { OctetWriter } from './octets.ts';

const VERSION = 3;

/** RFC 7854 §4.1 */
const BmpType = { RouteMonitoring: 0, Statistics: 1, PeerDown: 2, PeerUp: 3, Initiation: 4, Termination: 5 } as const;

const FLAG_V6 = 0x80; // RFC 7854 §4.2
const FLAG_POST_POLICY = 0x40;
const FLAG_TWO_OCTET_AS = 0x20;

/** RFC 7854 §4.9 */
const DOWN_REASON = { sent: 1, received: 3, lost: 4 } as const;

/** Information TLVs (RFC 7854 §4.4, §4.5). */
const INFO_SYS_DESCR = 1;
const INFO_SYS_NAME = 2;
const TERMINATION_REASON = 1;

/** RFC 7854 §4.5 */
export const TerminationReason = { AdministrativelyClosed: 0, Unspecified: 1, OutOfResources: 2 } as const;

/** The monitored session in a message's per-peer header (RFC 7854 §4.2). */
export interface BmpPeer {
  readonly address: Addr;
  readonly asn: number;
  /** BGP Identifier, 0 before the first OPEN. */
  readonly identifier: number;
  /** Routes as import policy left them instead of as they were received. */
  readonly isPostPolicy: boolean;
  /** The session does not speak 4-octet AS numbers, and its UPDATEs are passed on as they came. */
  readonly hasTwoOctetAs: boolean;
}

/** Why a session ended (RFC 7854 §4.9): with a NOTIFICATION, given whole, or without a word. */
export type PeerDown =
  | { readonly kind: 'sent' | 'received'; readonly notification: Uint8Array }
  | { readonly kind: 'lost' };

/** Statistics (RFC 7854 §4.8): type and value; gauges of routes have 64 bits. */
export interface BmpStatistics {
  readonly rejectedPrefixes: number;
  readonly adjRibInRoutes: number;
  readonly treatedAsWithdrawn: number;
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
    putPeer(w, peer, atMs);
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
    putPeer(w, peer, atMs);
    w.u8(DOWN_REASON[down.kind]);
    if (down.kind !== 'lost') w.put(down.notification);
  });
}

/** RFC 7854 §4.6: one UPDATE message with its header. */
export function routeMonitoring(peer: BmpPeer, atMs: number, update: Uint8Array): Uint8Array {
  return message(BmpType.RouteMonitoring, (w) => {
    putPeer(w, peer, atMs);
    w.put(update);
  });
}

/** RFC 7854 §4.8 */
export function statistics(peer: BmpPeer, atMs: number, s: BmpStatistics): Uint8Array {
  return message(BmpType.Statistics, (w) => {
    putPeer(w, peer, atMs);
    w.u32(3);
    putCounter(w, 0, s.rejectedPrefixes);
    putGauge(w, 7, s.adjRibInRoutes);
    putCounter(w, 11, s.treatedAsWithdrawn);
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

function putPeer(w: OctetWriter, p: BmpPeer, atMs: number): void {
  w.u8(0); // Global Instance Peer
  w.u8(
    (p.address.family === 6 ? FLAG_V6 : 0) |
      (p.isPostPolicy ? FLAG_POST_POLICY : 0) |
      (p.hasTwoOctetAs ? FLAG_TWO_OCTET_AS : 0),
  );
  w.u32(0); // peer distinguisher
  w.u32(0);
  putAddr(w, p.address);
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

function putCounter(w: OctetWriter, type: number, value: number): void {
  w.u16(type);
  w.u16(4);
  w.u32(value);
}

function putGauge(w: OctetWriter, type: number, value: number): void {
  w.u16(type);
  w.u16(8);
  w.u32(Math.floor(value / 2 ** 32));
  w.u32(value);
}
