/**
 * struct sockaddr_in and sockaddr_in6 in the World, read into and written from the data plane's address words.
 * Only these two families exist here; what a socket makes of an address is its own matter.
 */
import { Addr } from '../lib/addr.ts';
import { get16, get32, put16, put32 } from '../lib/bytes.ts';
import { AF_INET, AF_INET6, AF_UNSPEC, E, getHost16, getHost32, putHost16, putHost32 } from './proto.ts';

export const SOCKADDR_IN_SIZE = 16;
export const SOCKADDR_IN6_SIZE = 28;

/** An endpoint address: data-plane words, port in host order. Reused by callers; copy what must live longer. */
export class SockAddr {
  /** AF_UNSPEC, AF_INET or AF_INET6: the family it was written in. */
  family: number = AF_UNSPEC;
  a0 = 0;
  a1 = 0;
  a2 = 0;
  a3 = 0;
  port = 0;
  scope = 0;

  /** An IPv4 address, native or mapped. */
  get isV4(): boolean {
    return this.a0 === 0 && this.a1 === 0 && this.a2 === 0xffff;
  }

  /** 0.0.0.0, :: or ::ffff:0.0.0.0. */
  get isWildcard(): boolean {
    return this.a0 === 0 && this.a1 === 0 && (this.a2 === 0 || this.a2 === 0xffff) && this.a3 === 0;
  }

  get isLoopback(): boolean {
    if (this.isV4) return this.a3 >>> 24 === 127;
    return this.a0 === 0 && this.a1 === 0 && this.a2 === 0 && this.a3 === 1;
  }

  get isLinkLocal(): boolean {
    return (this.a0 & 0xffc00000) === (0xfe800000 | 0);
  }

  get isMulticast(): boolean {
    return this.isV4 ? this.a3 >>> 28 === 0xe : this.a0 >>> 24 === 0xff;
  }

  set(family: number, a0: number, a1: number, a2: number, a3: number, port: number, scope: number): this {
    this.family = family;
    this.a0 = a0;
    this.a1 = a1;
    this.a2 = a2;
    this.a3 = a3;
    this.port = port;
    this.scope = scope;
    return this;
  }

  copy(o: SockAddr): this {
    return this.set(o.family, o.a0, o.a1, o.a2, o.a3, o.port, o.scope);
  }

  toAddr(): Addr {
    return Addr.fromWords(this.a0, this.a1, this.a2, this.a3);
  }

  toString(): string {
    return `${this.toAddr()} port ${this.port}`;
  }
}

/**
 * Read `length` octets of a sockaddr at `at` for a socket of family `own`.
 * @returns 0 or an errno (positive)
 */
export function readSockAddr(u8: Uint8Array, at: number, length: number, own: number, out: SockAddr): number {
  if (length < 2) return E.EINVAL;
  const family = getHost16(u8, at);
  if (family === AF_UNSPEC) {
    out.set(AF_UNSPEC, 0, 0, 0, 0, 0, 0);
    return 0;
  }
  if (family === AF_INET) {
    if (length < SOCKADDR_IN_SIZE) return E.EINVAL;
    // Linux lets an IPv6 datagram socket name IPv4 destinations with a sockaddr_in; streams are refused by the caller.
    out.set(AF_INET, 0, 0, 0xffff, get32(u8, at + 4), get16(u8, at + 2), 0);
    return 0;
  }
  if (family === AF_INET6) {
    if (own === AF_INET) return E.EAFNOSUPPORT;
    // RFC 2133 had no scope id: 24 octets are enough for Linux too.
    if (length < 24) return E.EINVAL;
    const scope = length >= SOCKADDR_IN6_SIZE ? getHost32(u8, at + 24) : 0;
    out.set(
      AF_INET6,
      get32(u8, at + 8),
      get32(u8, at + 12),
      get32(u8, at + 16),
      get32(u8, at + 20),
      get16(u8, at + 2),
      scope,
    );
    return 0;
  }
  return E.EAFNOSUPPORT;
}

/** Write a sockaddr of family `family` (AF_INET or AF_INET6). @returns its length */
export function writeSockAddr(
  u8: Uint8Array,
  at: number,
  family: number,
  a0: number,
  a1: number,
  a2: number,
  a3: number,
  port: number,
  scope: number,
): number {
  const size = family === AF_INET ? SOCKADDR_IN_SIZE : SOCKADDR_IN6_SIZE;
  u8.fill(0, at, at + size);
  putHost16(u8, at, family);
  put16(u8, at + 2, port);
  if (family === AF_INET) {
    put32(u8, at + 4, a3);
    return size;
  }
  put32(u8, at + 8, a0);
  put32(u8, at + 12, a1);
  put32(u8, at + 16, a2);
  put32(u8, at + 20, a3);
  putHost32(u8, at + 24, scope);
  return size;
}
