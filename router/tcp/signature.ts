/**
 * TCP MD5 signatures (RFC 2385): what protects a BGP session against segments of others. Builds the octets that are
 * digested, writes and checks the option; MD5 itself is given from outside. Only connections with a key come here.
 * Read first: RFC 2385 §2. Not here: which key belongs to whom (`PeerTerms`), TCP-AO (RFC 5925).
 */
import { get32, put16, put32 } from '../lib/bytes.ts';
import { IpProto } from '../wire/ipv4.ts';
import { SIGNATURE_DIGEST_LEN, signatureAt, TCP_CHECKSUM, TCP_HEADER_LEN } from '../wire/tcp.ts';
import type { FlowKey } from './port.ts';

/** The 16 octets of the MD5 digest of `octets`. */
export type Md5 = (octets: Uint8Array) => Uint8Array;

/** What became of a segment that had to be signed. */
export const Signature = { Good: 0, Missing: 1, Wrong: 2 } as const;

const FIRST_SIZE = 2048;

/** A secret shared with a peer. */
export class SegmentKey {
  readonly #secret: Uint8Array;
  readonly #md5: Md5;
  /** Pseudo header, header, payload and secret of the segment at hand. */
  #scratch = new Uint8Array(FIRST_SIZE);

  /** @param secret 1 to 80 octets (Linux: TCP_MD5SIG_MAXKEYLEN) */
  constructor(secret: Uint8Array, md5: Md5) {
    this.#secret = secret;
    this.#md5 = md5;
  }

  /** Fill in the digest of an outgoing segment that has room for it (`putSignatureRoom`) and is complete otherwise. */
  sign(flow: FlowKey, b: Uint8Array, at: number, headerLength: number, length: number): void {
    const to = signatureAt(b, at, headerLength);
    b.set(this.#digest(flow, false, b, at, headerLength, length), to);
  }

  /** Check a received segment of `flow` in a time that does not depend on the digest. @returns a Signature value */
  check(flow: FlowKey, b: Uint8Array, at: number, headerLength: number, length: number): number {
    const found = signatureAt(b, at, headerLength);
    if (found === 0) return Signature.Missing;
    const digest = this.#digest(flow, true, b, at, headerLength, length);
    let difference = 0;
    for (let i = 0; i < SIGNATURE_DIGEST_LEN; i++) difference |= digest[i]! ^ b[found + i]!;
    return difference === 0 ? Signature.Good : Signature.Wrong;
  }

  /**
   * RFC 2385 §2.0: the pseudo header in the order source, destination, zero-padded protocol, segment length (for IPv6 that
   * of RFC 8200 §8.1); the TCP header without options, its checksum zero; the data; the key.
   */
  #digest(f: FlowKey, isInbound: boolean, b: Uint8Array, at: number, headerLength: number, length: number): Uint8Array {
    const data = length - headerLength;
    const most = 40 + TCP_HEADER_LEN + data + this.#secret.length;
    if (most > this.#scratch.length) this.#scratch = new Uint8Array(2 * most);
    const s = this.#scratch;
    let n = 0;
    if (f.isV4) {
      put32(s, 0, isInbound ? f.r3 : f.l3);
      put32(s, 4, isInbound ? f.l3 : f.r3);
      put16(s, 8, IpProto.Tcp);
      put16(s, 10, length);
      n = 12;
    } else {
      putAddresses(s, f, isInbound);
      put32(s, 32, length);
      put32(s, 36, IpProto.Tcp);
      n = 40;
    }
    for (let i = 0; i < TCP_HEADER_LEN; i += 4) put32(s, n + i, get32(b, at + i));
    put16(s, n + TCP_CHECKSUM, 0);
    n += TCP_HEADER_LEN;
    s.set(b.subarray(at + headerLength, at + length), n);
    n += data;
    s.set(this.#secret, n);
    return this.#md5(s.subarray(0, n + this.#secret.length));
  }
}

function putAddresses(s: Uint8Array, f: FlowKey, isInbound: boolean): void {
  const local = isInbound ? 16 : 0;
  const remote = 16 - local;
  put32(s, local, f.l0);
  put32(s, local + 4, f.l1);
  put32(s, local + 8, f.l2);
  put32(s, local + 12, f.l3);
  put32(s, remote, f.r0);
  put32(s, remote + 4, f.r1);
  put32(s, remote + 8, f.r2);
  put32(s, remote + 12, f.r3);
}
