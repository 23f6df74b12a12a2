/**
 * Cutting packets that do not fit: IPv4 fragmentation for transit and for our own datagrams (RFC 791 §3.2, RFC 815 has
 * the other direction), IPv6 fragmentation for our own (RFC 8200 §4.5). The whole packet lies in world memory; each
 * fragment is written straight into the outgoing link's queue. Does not decide whether fragmenting is allowed.
 */
import { put16 } from '../lib/bytes.ts';
import { IPV4_HEADER_LEN, Ipv4Frag, ipv4FragWord, ipv4HeaderLen, keepCopiedOptions, sealIpv4 } from '../wire/ipv4.ts';
import { IPV6_FRAGMENT_LEN, ipv6NextHeader, putFragmentHeader } from '../wire/ipv6.ts';
import type { Core } from './core.ts';
import { DropReason, StackEvent } from './drops.ts';
import type { StackLink } from './links.ts';

/** Send the IPv4 packet of `length` octets at `at` in fragments of at most `mtu` octets. Its DF bit is cleared. */
export function fragment4(core: Core, out: StackLink, at: number, length: number, mtu: number): boolean {
  const b = core.b;
  const headerLen = ipv4HeaderLen(b, at);
  const word = ipv4FragWord(b, at);
  const firstOffset = word & Ipv4Frag.OffsetMask;
  const room = (mtu - headerLen) & ~7;
  if (room <= 0) {
    core.counters.drop(DropReason['too-big']);
    return false;
  }
  const link = out.link;
  const payload = length - headerLen;
  for (let done = 0; done < payload; done += room) {
    const take = Math.min(room, payload - done);
    const to = link.reserve(headerLen + take);
    if (to < 0) {
      core.counters.drop(DropReason['link-full']);
      return false;
    }
    core.copy(to, at, headerLen);
    core.copy(to + headerLen, at + headerLen + done, take);
    if (headerLen > IPV4_HEADER_LEN && firstOffset + done > 0) keepCopiedOptions(b, to, headerLen);
    const more = done + take < payload || (word & Ipv4Frag.More) !== 0 ? Ipv4Frag.More : 0;
    put16(b, to + 2, headerLen + take);
    put16(b, to + 6, more | (firstOffset + (done >>> 3)));
    sealIpv4(b, to);
    link.commit(headerLen + take, 0, 0, 0, 0, 0, 0);
  }
  core.counters.count(StackEvent.fragmented);
  return true;
}

/**
 * Send our own IPv6 packet of `length` octets at `at` in fragments of at most `mtu` octets.
 * @param headerLen octets of the part every fragment repeats (here always the fixed header)
 */
export function fragment6(
  core: Core,
  out: StackLink,
  at: number,
  length: number,
  mtu: number,
  headerLen: number,
): boolean {
  const b = core.b;
  const link = out.link;
  const id = core.random.int32(); // RFC 7739 §5.3: random identification values
  const nextHeader = ipv6NextHeader(b, at);
  const overhead = headerLen + IPV6_FRAGMENT_LEN;
  const room = (mtu - overhead) & ~7;
  const payload = length - headerLen;
  for (let done = 0; done < payload; done += room) {
    const take = Math.min(room, payload - done);
    const to = link.reserve(overhead + take);
    if (to < 0) {
      core.counters.drop(DropReason['link-full']);
      return false;
    }
    core.copy(to, at, headerLen);
    b[to + 6] = 44;
    put16(b, to + 4, overhead - 40 + take);
    putFragmentHeader(b, to + headerLen, nextHeader, done, done + take < payload, id);
    core.copy(to + overhead, at + headerLen + done, take);
    link.commit(overhead + take, 0, 0, 0, 0, 0, 0);
  }
  core.counters.count(StackEvent.fragmented);
  return true;
}
