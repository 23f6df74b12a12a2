/**
 * The TCP header in its octets (RFC 9293 §3.1) and its options (RFC 9293 §3.2, RFC 7323, RFC 2018, RFC 2385).
 * Free functions over (array, offset), because a view object per packet would cost more than the header.
 * Nothing here checks a length except `TcpOptions.parse`: call `tcpHeaderLength` first.
 */
import { get16, get32, put16, put32 } from '../lib/bytes.ts';

export const TCP_HEADER_LEN = 20;
/** Header and options: the data offset counts at most 15 words. */
export const TCP_HEADER_MAX = 60;

export const TcpFlag = { Fin: 1, Syn: 2, Rst: 4, Psh: 8, Ack: 16, Urg: 32, Ece: 64, Cwr: 128 } as const;

/** Octet offset of the field. */
export const TCP_CHECKSUM = 16;

const OPT_END = 0;
const OPT_NOP = 1;
const OPT_MSS = 2;
const OPT_WSCALE = 3;
const OPT_SACK_PERMITTED = 4;
const OPT_SACK = 5;
const OPT_TIMESTAMPS = 8;
const OPT_SIGNATURE = 19;

/** NOP NOP Timestamps(10): the form every stack sends (RFC 7323 appendix A), compared as one word. */
const TIMESTAMPS_WORD = (OPT_NOP << 24) | (OPT_NOP << 16) | (OPT_TIMESTAMPS << 8) | 10;

/** Octets the timestamps option takes with its padding. */
export const TIMESTAMPS_LEN = 12;

/** Octets an MD5 signature takes with its padding (RFC 2385 §3.0), and those of the digest at its end. */
export const SIGNATURE_LEN = 20;
export const SIGNATURE_DIGEST_LEN = 16;

/** Octets of header and options, or 0 when the field is impossible for a segment of `length` octets. */
export function tcpHeaderLength(b: Uint8Array, at: number, length: number): number {
  if (length < TCP_HEADER_LEN) return 0;
  const n = (b[at + 12]! >>> 4) << 2;
  return n >= TCP_HEADER_LEN && n <= length ? n : 0;
}

export function tcpSeq(b: Uint8Array, at: number): number {
  return get32(b, at + 4);
}

export function tcpAck(b: Uint8Array, at: number): number {
  return get32(b, at + 8);
}

export function tcpFlags(b: Uint8Array, at: number): number {
  return b[at + 13]!;
}

/** The window field as sent, before scaling. */
export function tcpWindow(b: Uint8Array, at: number): number {
  return get16(b, at + 14);
}

/** Write the fixed header; checksum and urgent pointer become zero. */
export function putTcpHeader(
  b: Uint8Array,
  at: number,
  srcPort: number,
  dstPort: number,
  seq: number,
  ack: number,
  headerLength: number,
  flags: number,
  window: number,
): void {
  put16(b, at, srcPort);
  put16(b, at + 2, dstPort);
  put32(b, at + 4, seq);
  put32(b, at + 8, ack);
  b[at + 12] = headerLength << 2;
  b[at + 13] = flags;
  put16(b, at + 14, window);
  put32(b, at + 16, 0);
}

/** Write the timestamps option with its padding. @returns octets written */
export function putTimestamps(b: Uint8Array, at: number, value: number, echo: number): number {
  put32(b, at, TIMESTAMPS_WORD);
  put32(b, at + 4, value);
  put32(b, at + 8, echo);
  return TIMESTAMPS_LEN;
}

/** Write the options of a SYN: MSS always; the others when asked for. @returns octets written, a multiple of four */
export function putSynOptions(
  b: Uint8Array,
  at: number,
  mss: number,
  windowScale: number,
  sackPermitted: boolean,
  timestamps: boolean,
  tsValue: number,
  tsEcho: number,
): number {
  b[at] = OPT_MSS;
  b[at + 1] = 4;
  put16(b, at + 2, mss);
  let n = 4;
  if (timestamps) {
    // RFC 7323 appendix A leaves the order free; SACK-permitted in the padding saves a word.
    b[at + n] = sackPermitted ? OPT_SACK_PERMITTED : OPT_NOP;
    b[at + n + 1] = sackPermitted ? 2 : OPT_NOP;
    b[at + n + 2] = OPT_TIMESTAMPS;
    b[at + n + 3] = 10;
    put32(b, at + n + 4, tsValue);
    put32(b, at + n + 8, tsEcho);
    n += TIMESTAMPS_LEN;
  } else if (sackPermitted) {
    put32(b, at + n, (OPT_NOP << 24) | (OPT_NOP << 16) | (OPT_SACK_PERMITTED << 8) | 2);
    n += 4;
  }
  if (windowScale >= 0) {
    put32(b, at + n, (OPT_NOP << 24) | (OPT_WSCALE << 16) | (3 << 8) | windowScale);
    n += 4;
  }
  return n;
}

/** Write `count` SACK blocks given as (left, right) pairs, padded (RFC 2018 §3). @returns octets written */
export function putSack(b: Uint8Array, at: number, blocks: Int32Array, count: number): number {
  put32(b, at, (OPT_NOP << 24) | (OPT_NOP << 16) | (OPT_SACK << 8) | (2 + 8 * count));
  for (let i = 0; i < 2 * count; i++) put32(b, at + 4 + 4 * i, blocks[i]!);
  return sackLength(count);
}

/** Octets of a SACK option with `count` blocks, padding included. */
export function sackLength(count: number): number {
  return count === 0 ? 0 : 4 + 8 * count;
}

/** Write an MD5 signature option whose digest is zero (RFC 2385 §3.0). @returns octets written */
export function putSignatureRoom(b: Uint8Array, at: number): number {
  put32(b, at, (OPT_NOP << 24) | (OPT_NOP << 16) | (OPT_SIGNATURE << 8) | (2 + SIGNATURE_DIGEST_LEN));
  b.fill(0, at + 4, at + SIGNATURE_LEN);
  return SIGNATURE_LEN;
}

/** Offset of the digest in the MD5 signature option of a header of `headerLength` octets, 0 without a sound one. */
export function signatureAt(b: Uint8Array, at: number, headerLength: number): number {
  const end = at + headerLength;
  for (let p = at + TCP_HEADER_LEN; p + 1 < end; ) {
    const kind = b[p]!;
    if (kind === OPT_END) return 0;
    if (kind === OPT_NOP) {
      p++;
      continue;
    }
    const length = b[p + 1]!;
    if (length < 2 || p + length > end) return 0;
    if (kind === OPT_SIGNATURE) return length === 2 + SIGNATURE_DIGEST_LEN ? p + 2 : 0;
    p += length;
  }
  return 0;
}

/** The options of one received segment; one object is reused for all segments. */
export class TcpOptions {
  /** 0 when absent. */
  mss = 0;
  /** -1 when absent. */
  windowScale = -1;
  sackPermitted = false;
  hasTimestamps = false;
  tsValue = 0;
  tsEcho = 0;
  sackCount = 0;
  /** (left, right) pairs of up to four blocks. */
  readonly sack = new Int32Array(8);

  /** Read the options of a header of `headerLength` octets. Malformed options end the list (RFC 9293 §3.1 leaves it to us). */
  parse(b: Uint8Array, at: number, headerLength: number): void {
    this.mss = 0;
    this.windowScale = -1;
    this.sackPermitted = false;
    this.hasTimestamps = false;
    this.sackCount = 0;
    let p = at + TCP_HEADER_LEN;
    const end = at + headerLength;
    if (end - p >= TIMESTAMPS_LEN && get32(b, p) === TIMESTAMPS_WORD) {
      this.hasTimestamps = true;
      this.tsValue = get32(b, p + 4);
      this.tsEcho = get32(b, p + 8);
      p += TIMESTAMPS_LEN;
    }
    while (p < end) {
      const kind = b[p]!;
      if (kind === OPT_NOP) {
        p++;
        continue;
      }
      if (kind === OPT_END || p + 1 >= end) return;
      const length = b[p + 1]!;
      if (length < 2 || p + length > end) return;
      this.#option(b, p, kind, length);
      p += length;
    }
  }

  #option(b: Uint8Array, p: number, kind: number, length: number): void {
    if (kind === OPT_MSS && length === 4) this.mss = get16(b, p + 2);
    // RFC 7323 §2.3: a shift above 14 is used as 14.
    else if (kind === OPT_WSCALE && length === 3) this.windowScale = Math.min(b[p + 2]!, 14);
    else if (kind === OPT_SACK_PERMITTED && length === 2) this.sackPermitted = true;
    else if (kind === OPT_TIMESTAMPS && length === 10) {
      this.hasTimestamps = true;
      this.tsValue = get32(b, p + 2);
      this.tsEcho = get32(b, p + 6);
    } else if (kind === OPT_SACK && length >= 10 && (length - 2) % 8 === 0) {
      this.sackCount = Math.min(4, (length - 2) >> 3);
      for (let i = 0; i < 2 * this.sackCount; i++) this.sack[i] = get32(b, p + 2 + 4 * i);
    }
  }
}
