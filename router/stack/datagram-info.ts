/** Fills the reused `DatagramInfo` from a packet's IP header: UDP and ping tell their owners the same things. */
import { get32 } from '../lib/bytes.ts';
import { ipv4Dst, ipv4Src, ipv4Tos, ipv4Ttl } from '../wire/ipv4.ts';
import { ipv6HopLimit, ipv6TrafficClass } from '../wire/ipv6.ts';
import type { DatagramInfo } from './port.ts';

/** Addresses, TTL and ToS of the packet at `at`; the sender is the remote. */
export function readAddresses(info: DatagramInfo, b: Uint8Array, at: number, isV4: boolean): void {
  if (isV4) {
    info.r0 = info.r1 = info.l0 = info.l1 = 0;
    info.r2 = info.l2 = 0xffff;
    info.r3 = ipv4Src(b, at);
    info.l3 = ipv4Dst(b, at);
    info.ttl = ipv4Ttl(b, at);
    info.tos = ipv4Tos(b, at);
    return;
  }
  info.r0 = get32(b, at + 8);
  info.r1 = get32(b, at + 12);
  info.r2 = get32(b, at + 16);
  info.r3 = get32(b, at + 20);
  info.l0 = get32(b, at + 24);
  info.l1 = get32(b, at + 28);
  info.l2 = get32(b, at + 32);
  info.l3 = get32(b, at + 36);
  info.ttl = ipv6HopLimit(b, at);
  info.tos = ipv6TrafficClass(b, at);
}
