/**
 * Complete packets of our own on their way out: `emit` copies one into the outgoing link's queue and fragments it when
 * it is larger than the path. TCP and UDP write into the queue themselves; this serves ICMP, and UDP that must be cut.
 */

import { get32 } from '../lib/bytes.ts';
import { ipv4Dst } from '../wire/ipv4.ts';
import { IPV6_HEADER_LEN } from '../wire/ipv6.ts';
import type { Core } from './core.ts';
import { DropReason } from './drops.ts';
import { fragment4, fragment6 } from './fragment.ts';
import type { StackLink } from './links.ts';

/** Send the packet of `length` octets at world offset `at` (header and checksums complete). @returns false when it was dropped and counted */
export function emit(core: Core, out: StackLink, at: number, length: number): boolean {
  const b = core.b;
  const isV4 = b[at]! >>> 4 === 4;
  const mtu = isV4
    ? core.pathMtu.get(out.vrf, 0, 0, 0xffff, ipv4Dst(b, at), out.link.mtu)
    : core.pathMtu.get(
        out.vrf,
        get32(b, at + 24),
        get32(b, at + 28),
        get32(b, at + 32),
        get32(b, at + 36),
        out.link.mtu,
      );
  if (length > mtu)
    return isV4 ? fragment4(core, out, at, length, mtu) : fragment6(core, out, at, length, mtu, IPV6_HEADER_LEN);
  const to = out.link.reserve(length);
  if (to < 0) {
    core.counters.drop(DropReason['link-full']);
    return false;
  }
  core.copy(to, at, length);
  out.link.commit(length, 0, 0, 0, 0, 0, 0);
  return true;
}
