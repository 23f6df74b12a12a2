/**
 * Putting fragments together again: RFC 791 §3.2 and RFC 815 for IPv4, RFC 8200 §4.5 for IPv6, with RFC 5722's rule for
 * both families (a datagram with overlapping fragments is discarded whole; exact duplicates are ignored).
 * Fixed number of datagrams at a time, a cap per source, pages from a bounded pool, timeouts of 30 and 60 seconds.
 * Payload octets lie at their final offset in the datagram's pages; the complete packet is copied once into one
 * contiguous buffer. Does not send anything: the caller answers timeouts and faults.
 */
import { get16, get32, put16 } from '../lib/bytes.ts';
import type { PagePool } from '../lib/world.ts';
import {
  Ipv4Frag,
  ipv4Dst,
  ipv4FragWord,
  ipv4HeaderLen,
  ipv4Id,
  ipv4Protocol,
  ipv4Src,
  ipv4Tos,
  sealIpv4,
} from '../wire/ipv4.ts';
import { IPV6_FRAGMENT_LEN, IPV6_HEADER_LEN, ipv6TrafficClass } from '../wire/ipv6.ts';
import type { Core } from './core.ts';
import { DropReason, StackEvent } from './drops.ts';

/** Linux's ipfrag_time; RFC 1122 §3.3.2 asks for a value between 60 and 120 s, which only helps attackers today. */
const TIMEOUT4_MS = 30_000;
/** RFC 8200 §4.5: "within 60 seconds of the reception of the first-arriving fragment". */
const TIMEOUT6_MS = 60_000;
const MAX_DATAGRAMS = 64;
/** Datagrams of one source address at a time. */
const MAX_PER_SOURCE = 16;
/** Fragments of one datagram: 64 KiB in pieces of 576 octets. */
const MAX_FRAGMENTS = 128;
/** Octets of headers kept per datagram (IPv4 with options, or IPv6 with its unfragmentable part and fragment header). */
const HEADER_ROOM = 256;
/** Share of the page pool that fragments may hold. */
const POOL_SHARE = 4;

/** Answers of `add4` and `add6` other than a length. */
export const Reassembly = {
  /** More fragments are needed, or this one was discarded (and counted). */
  Pending: 0,
  /** RFC 8200 §4.5: length of a non-last fragment is no multiple of 8: parameter problem, pointer at the payload length. */
  BadLength: -1,
  /** RFC 8200 §4.5: the datagram would exceed 65535 octets: parameter problem, pointer at the fragment offset. */
  TooLong: -2,
} as const;

/** One datagram in pieces. All of them exist from the start. */
class Partial {
  isUsed = false;
  /** Fragments overlapped: kept without pages until its timeout, so that later ones are discarded as well. */
  isDead = false;
  isV4 = true;
  vrf = 0;
  link = 0;
  id = 0;
  protocol = 0;
  s0 = 0;
  s1 = 0;
  s2 = 0;
  s3 = 0;
  d0 = 0;
  d1 = 0;
  d2 = 0;
  d3 = 0;
  deadlineMs = 0;
  /** Octets of payload, known once the last fragment came; -1 before. */
  total = -1;
  /** Largest end of any fragment, and octets received. */
  end = 0;
  received = 0;
  /** Header octets of the first fragment, 0 until it came; and the payload it had. */
  headerLen = 0;
  firstLen = 0;
  /** Octet in the saved header that names the next header (IPv6). */
  nextHeaderAt = 0;
  /** ECN field values seen, one bit each (RFC 3168 §5.3). */
  ecn = 0;
  count = 0;
  readonly headerAt: number;
  readonly starts = new Int32Array(MAX_FRAGMENTS);
  readonly ends = new Int32Array(MAX_FRAGMENTS);
  readonly pages: Int32Array;

  constructor(headerAt: number, pageCount: number) {
    this.headerAt = headerAt;
    this.pages = new Int32Array(pageCount).fill(-1);
  }
}

export class Reassembler {
  readonly #core: Core;
  readonly #pool: PagePool;
  readonly #pageShift: number;
  readonly #maxPages: number;
  readonly #partials: Partial[] = [];
  #pagesHeld = 0;
  #used = 0;

  constructor(core: Core) {
    this.#core = core;
    this.#pool = core.pages;
    this.#pageShift = 31 - Math.clz32(core.pages.pageSize);
    this.#maxPages = Math.max(Math.ceil(65536 / core.pages.pageSize), Math.floor(core.pages.capacity / POOL_SHARE));
    const headers = core.world.alloc(MAX_DATAGRAMS * HEADER_ROOM);
    const pageCount = Math.ceil(65536 / core.pages.pageSize);
    for (let i = 0; i < MAX_DATAGRAMS; i++) this.#partials.push(new Partial(headers + i * HEADER_ROOM, pageCount));
  }

  /** Datagrams that wait for fragments, and pages they hold. */
  get waiting(): number {
    return this.#used;
  }

  get pagesHeld(): number {
    return this.#pagesHeld;
  }

  /**
   * Take a checked IPv4 fragment. @returns length of the complete packet, now at `core.reassembled`, or a Reassembly value
   */
  add4(vrf: number, link: number, at: number, length: number): number {
    const b = this.#core.b;
    const headerLen = ipv4HeaderLen(b, at);
    const word = ipv4FragWord(b, at);
    const offset = (word & Ipv4Frag.OffsetMask) << 3;
    const more = (word & Ipv4Frag.More) !== 0;
    const payload = length - headerLen;
    if ((more && (payload & 7) !== 0) || payload <= 0 || offset + payload + headerLen > 65535)
      return this.#drop(DropReason['fragment-invalid']);
    const p = this.#of(
      true,
      vrf,
      link,
      ipv4Id(b, at),
      ipv4Protocol(b, at),
      0,
      0,
      0xffff,
      ipv4Src(b, at),
      0,
      0,
      0xffff,
      ipv4Dst(b, at),
    );
    if (p === undefined) return Reassembly.Pending;
    p.ecn |= 1 << (ipv4Tos(b, at) & 3);
    if (!this.#store(p, at, headerLen, at + headerLen, offset, payload, more, 0)) return Reassembly.Pending;
    return this.#finish4(p);
  }

  /**
   * Take an IPv6 fragment. @returns as add4; the complete packet has no fragment header
   * @param fragmentAt offset of the fragment header
   * @param nextHeaderAt offset of the octet that names the fragment header
   */
  add6(vrf: number, link: number, at: number, fragmentAt: number, nextHeaderAt: number, end: number): number {
    const b = this.#core.b;
    const word = get16(b, fragmentAt + 2);
    const offset = word & 0xfff8;
    const more = (word & 1) !== 0;
    const dataAt = fragmentAt + IPV6_FRAGMENT_LEN;
    const payload = end - dataAt;
    if (more && (payload & 7) !== 0) return this.#drop(DropReason['fragment-invalid'], Reassembly.BadLength);
    if (offset + payload + (fragmentAt - at - IPV6_HEADER_LEN) > 65535)
      return this.#drop(DropReason['fragment-invalid'], Reassembly.TooLong);
    if (payload <= 0) return this.#drop(DropReason['fragment-invalid']);
    const s0 = get32(b, at + 8);
    const p = this.#of(
      false,
      vrf,
      link,
      get32(b, fragmentAt + 4),
      0, // RFC 8200 §4.5: the next header value may differ between fragments; the first one's is used
      s0,
      get32(b, at + 12),
      get32(b, at + 16),
      get32(b, at + 20),
      get32(b, at + 24),
      get32(b, at + 28),
      get32(b, at + 32),
      get32(b, at + 36),
    );
    if (p === undefined) return Reassembly.Pending;
    p.ecn |= 1 << (ipv6TrafficClass(b, at) & 3);
    if (!this.#store(p, at, dataAt - at, dataAt, offset, payload, more, nextHeaderAt - at)) return Reassembly.Pending;
    return this.#finish6(p);
  }

  /**
   * Discard what is too old. For each datagram whose first fragment had come, `onTimeout` gets that fragment, rebuilt at
   * `core.reassembled`, to quote in an ICMP error (RFC 792, RFC 4443 §3.3).
   */
  expire(nowMs: number, onTimeout: (link: number, at: number, length: number) => void): void {
    if (this.#used === 0) return;
    for (const p of this.#partials) {
      if (!p.isUsed || ((nowMs - p.deadlineMs) | 0) < 0) continue;
      if (!p.isDead) {
        this.#core.counters.drop(DropReason['fragment-timeout']);
        if (p.headerLen > 0) onTimeout(p.link, this.#core.reassembled, this.#rebuildFirst(p));
      }
      this.#free(p);
    }
  }

  /** Milliseconds until `expire` has work, or -1. */
  nextDeadlineMs(nowMs: number): number {
    if (this.#used === 0) return -1;
    let soonest = TIMEOUT6_MS;
    for (const p of this.#partials) if (p.isUsed) soonest = Math.min(soonest, (p.deadlineMs - nowMs) | 0);
    return Math.max(0, soonest);
  }

  #drop(reason: number, answer: number = Reassembly.Pending): number {
    this.#core.counters.drop(reason);
    return answer;
  }

  /** The datagram the fragment belongs to, made if it is the first; undefined when there is no room for it. */
  #of(
    isV4: boolean,
    vrf: number,
    link: number,
    id: number,
    protocol: number,
    s0: number,
    s1: number,
    s2: number,
    s3: number,
    d0: number,
    d1: number,
    d2: number,
    d3: number,
  ): Partial | undefined {
    // Link-local senders are told apart by link.
    const scope = (s0 & 0xffc00000) === (0xfe800000 | 0) ? link : 0;
    let fromSource = 0;
    let free: Partial | undefined;
    let oldest: Partial | undefined;
    for (const p of this.#partials) {
      if (!p.isUsed) {
        free ??= p;
        continue;
      }
      if (oldest === undefined || ((p.deadlineMs - oldest.deadlineMs) | 0) < 0) oldest = p;
      if (p.s3 !== s3 || p.s0 !== s0 || p.s1 !== s1 || p.s2 !== s2 || p.vrf !== vrf) continue;
      fromSource++;
      if (p.id !== id || p.protocol !== protocol || p.isV4 !== isV4 || (scope !== 0 && p.link !== link)) continue;
      if (p.d3 === d3 && p.d0 === d0 && p.d1 === d1 && p.d2 === d2) {
        if (!p.isDead) return p;
        this.#core.counters.drop(DropReason['fragment-overlap']);
        return undefined;
      }
    }
    if (fromSource >= MAX_PER_SOURCE) {
      this.#core.counters.drop(DropReason['fragment-limit']);
      return undefined;
    }
    if (free === undefined) {
      this.#core.counters.drop(DropReason['fragment-limit']);
      this.#free(oldest!);
      free = oldest!;
    }
    free.isUsed = true;
    free.isDead = false;
    free.isV4 = isV4;
    free.vrf = vrf;
    free.link = link;
    free.id = id;
    free.protocol = protocol;
    free.s0 = s0;
    free.s1 = s1;
    free.s2 = s2;
    free.s3 = s3;
    free.d0 = d0;
    free.d1 = d1;
    free.d2 = d2;
    free.d3 = d3;
    free.deadlineMs = (this.#core.tick.ms + (isV4 ? TIMEOUT4_MS : TIMEOUT6_MS)) | 0;
    free.total = -1;
    free.end = 0;
    free.received = 0;
    free.headerLen = 0;
    free.firstLen = 0;
    free.ecn = 0;
    free.count = 0;
    this.#used++;
    return free;
  }

  /** Keep the fragment's octets. @returns true when the datagram is now complete */
  #store(
    p: Partial,
    packetAt: number,
    headerLen: number,
    dataAt: number,
    offset: number,
    length: number,
    more: boolean,
    nextHeaderAt: number,
  ): boolean {
    const counters = this.#core.counters;
    counters.count(StackEvent['fragments-in']);
    const end = offset + length;
    for (let i = 0; i < p.count; i++) {
      if (end <= p.starts[i]! || offset >= p.ends[i]!) continue;
      // RFC 8200 §4.5: "an exact duplicate of a fragment already received" may be ignored, any other overlap ends it.
      if (p.starts[i] === offset && p.ends[i] === end) return false;
      return this.#kill(p, DropReason['fragment-overlap']);
    }
    if (more ? p.total >= 0 && end > p.total : p.total >= 0 || end < p.end)
      return this.#kill(p, DropReason['fragment-invalid']);
    if (p.count === MAX_FRAGMENTS) return this.#kill(p, DropReason['fragment-limit']);
    if (offset === 0 && headerLen > HEADER_ROOM) return this.#kill(p, DropReason['extension-headers']);
    if (!this.#copyIn(p, dataAt, offset, length)) return this.#kill(p, DropReason['fragment-memory']);
    p.starts[p.count] = offset;
    p.ends[p.count++] = end;
    p.received += length;
    if (end > p.end) p.end = end;
    if (!more) p.total = end;
    if (offset === 0) {
      this.#core.copy(p.headerAt, packetAt, headerLen);
      p.headerLen = headerLen;
      p.firstLen = length;
      p.nextHeaderAt = nextHeaderAt;
    }
    return p.total >= 0 && p.received === p.total;
  }

  #copyIn(p: Partial, from: number, offset: number, length: number): boolean {
    const { copy } = this.#core;
    const pageSize = this.#pool.pageSize;
    for (let done = 0; done < length; ) {
      const index = (offset + done) >>> this.#pageShift;
      const within = (offset + done) & (pageSize - 1);
      let page = p.pages[index]!;
      if (page < 0) {
        if (this.#pagesHeld >= this.#maxPages) return false;
        page = this.#pool.take();
        if (page < 0) return false;
        this.#pagesHeld++;
        p.pages[index] = page;
      }
      const take = Math.min(length - done, pageSize - within);
      copy(page + within, from + done, take);
      done += take;
    }
    return true;
  }

  #copyOut(p: Partial, to: number, length: number): void {
    const { copy } = this.#core;
    const pageSize = this.#pool.pageSize;
    for (let done = 0; done < length; done += pageSize) {
      const page = p.pages[done >>> this.#pageShift]!;
      copy(to + done, page, Math.min(pageSize, length - done));
    }
  }

  #finish4(p: Partial): number {
    const b = this.#core.b;
    const at = this.#core.reassembled;
    const length = p.headerLen + p.total;
    if (length > 65535) return this.#end(p, DropReason['fragment-invalid']);
    const ecn = mergeEcn(p.ecn);
    if (ecn < 0) return this.#end(p, DropReason['fragment-invalid']);
    this.#core.copy(at, p.headerAt, p.headerLen);
    this.#copyOut(p, at + p.headerLen, p.total);
    put16(b, at + 2, length);
    put16(b, at + 6, 0);
    if (ecn > 0) b[at + 1]! |= ecn;
    sealIpv4(b, at);
    this.#core.counters.count(StackEvent.reassembled);
    this.#free(p);
    return length;
  }

  #finish6(p: Partial): number {
    const b = this.#core.b;
    const at = this.#core.reassembled;
    const headerLen = p.headerLen - IPV6_FRAGMENT_LEN;
    const payloadLen = headerLen - IPV6_HEADER_LEN + p.total;
    if (payloadLen > 65535) return this.#end(p, DropReason['fragment-invalid']);
    const ecn = mergeEcn(p.ecn);
    if (ecn < 0) return this.#end(p, DropReason['fragment-invalid']);
    this.#core.copy(at, p.headerAt, headerLen);
    b[at + p.nextHeaderAt] = b[p.headerAt + headerLen]!;
    this.#copyOut(p, at + headerLen, p.total);
    put16(b, at + 4, payloadLen);
    if (ecn > 0) b[at + 1]! |= ecn << 4;
    this.#core.counters.count(StackEvent.reassembled);
    this.#free(p);
    return headerLen + p.total;
  }

  #end(p: Partial, reason: number): number {
    this.#free(p);
    return this.#drop(reason);
  }

  /** The first fragment as it came, for quoting. */
  #rebuildFirst(p: Partial): number {
    const at = this.#core.reassembled;
    this.#core.copy(at, p.headerAt, p.headerLen);
    this.#copyOut(p, at + p.headerLen, p.firstLen);
    return p.headerLen + p.firstLen;
  }

  #kill(p: Partial, reason: number): false {
    this.#core.counters.drop(reason);
    this.#giveBack(p);
    p.isDead = true;
    return false;
  }

  #free(p: Partial): void {
    this.#giveBack(p);
    p.isUsed = false;
    this.#used--;
  }

  #giveBack(p: Partial): void {
    for (let i = 0; i < p.pages.length; i++) {
      if (p.pages[i]! < 0) continue;
      this.#pool.give(p.pages[i]!);
      p.pages[i] = -1;
      this.#pagesHeld--;
    }
  }
}

/**
 * RFC 3168 §5.3: a reassembled packet has CE if any fragment had it; not-ECT mixed with ECN values is discarded.
 * @param seen bits by ECN field value (0 not-ECT, 1 ECT(1), 2 ECT(0), 3 CE)
 * @returns bits to set in the packet's ECN field, or -1 to discard
 */
function mergeEcn(seen: number): number {
  if ((seen & 8) === 0) return 0;
  return (seen & 1) !== 0 ? -1 : 3;
}
