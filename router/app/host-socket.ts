/**
 * Sockets of the host's kernel before Node gets them: addresses with an interface, signatures (RFC 2385) and TTLs
 * (RFC 5082) have to be in force before the first packet, and Node has no words for them. All results are >= 0 or -errno.
 */
import { readFileSync } from 'node:fs';
import type { Addr, Family, Prefix } from '../lib/addr.ts';
import { MlshimError } from '../lib/errors.ts';
import type { HostWay } from '../lib/host-way.ts';
import { AF_INET, AF_INET6, loadNative, type Native, SOCK_STREAM, SockOpt } from '../native/index.ts';
import type { StreamSecurity } from './dataplane-protocol.ts';

/** Class selector 6, as all routing protocols (RFC 2474 §4.2.2.2). */
export const ROUTING_TOS = 0xc0;
/** RFC 5082 §3: "set the TTL on its transmitted packets to 255". */
export const MAX_TTL = 255;

/** Why a socket cannot do something, as people know it from other daemons. */
const ERRNO_TEXT: Readonly<Record<number, string>> = {
  12: 'no memory for it: raise the sysctl net.core.optmem_max',
  13: 'permission denied',
  19: 'no such interface',
  92: 'not known to this kernel',
  98: 'address in use',
  99: 'address not available',
  101: 'network unreachable',
  104: 'connection reset',
  110: 'connection timed out',
  111: 'connection refused',
  113: 'no route to host',
};

export function errnoText(errno: number): string {
  return ERRNO_TEXT[errno] ?? `error ${errno}`;
}

/** The same of an error of Node's. */
export function reasonOf(e: NodeJS.ErrnoException): string {
  return e.errno === undefined ? e.message : errnoText(-e.errno);
}

/** What Node needs to take a socket over that is not connected yet: it must not read from it before. */
export function handedOver(fd: number): { readonly fd: number; readonly readable: true; readonly writable: true } {
  return { fd, readable: true, writable: true, ...{ manualStart: true } };
}

/** Bind a socket that is not bound yet to a way out; it is closed when that cannot be. A source of the other family than `family` says nothing about it. */
export function bindTo(fd: number, { device, source }: HostWay, family: Family): number {
  const { bindToDevice, inetBind, close } = loadNative();
  const onDevice = device === undefined ? 0 : bindToDevice(fd, device);
  const isMine = source !== undefined && source.family === family;
  const answer = onDevice < 0 || !isMine ? onDevice : inetBind(fd, zoned(source, device), 0);
  if (answer < 0) close(fd);
  return answer;
}

const NO_KEY = new Uint8Array(0);

/** A TCP socket of a family; an IPv6 one takes IPv4 connections too where it listens at `::`. */
export function tcpSocket(family: Family): number {
  return loadNative().kernelSocket(familyNumber(family), SOCK_STREAM);
}

export function familyNumber(family: Family): number {
  return family === 4 ? AF_INET : AF_INET6;
}

/** An address as the kernel's sockets want it: a link-local one is of an interface. */
export function zoned(address: Addr, zone: string | undefined): string {
  return zone !== undefined && address.family === 6 && address.isLinkLocal ? `${address}%${zone}` : String(address);
}

/**
 * Whose TTL a connection has and asks for. What is not said is the kernel's default.
 * @param family of the remote: an IPv6 socket may have an IPv4 one
 */
export function limitTtl(fd: number, family: Family, { ttl, minTtl }: StreamSecurity): number {
  const { setOption } = loadNative();
  const isV4 = family === 4;
  const level = isV4 ? SockOpt.Ip : SockOpt.Ipv6;
  const sent = ttl === undefined ? 0 : setOption(fd, level, isV4 ? SockOpt.IpTtl : SockOpt.Ipv6UnicastHops, ttl);
  if (sent < 0) return sent;
  return minTtl === undefined ? 0 : setOption(fd, level, isV4 ? SockOpt.IpMinTtl : SockOpt.Ipv6MinHopCount, minTtl);
}

/** How a socket's packets are marked. @param isDual an IPv6 one that has IPv4 remotes too */
export function markRouting(fd: number, family: Family, isDual: boolean): void {
  const { setOption } = loadNative();
  if (family === 4 || isDual) setOption(fd, SockOpt.Ip, SockOpt.IpTos, ROUTING_TOS);
  if (family === 6) setOption(fd, SockOpt.Ipv6, SockOpt.Ipv6Tclass, ROUTING_TOS);
}

/**
 * Have all segments from and to a prefix signed.
 * @param family of the socket
 * @param password undefined = not any more
 */
export function setKey(fd: number, family: Family, remotes: Prefix, password: string | undefined): number {
  const address = family === 6 && remotes.family === 4 ? `::ffff:${remotes.addr}` : String(remotes.addr);
  const key = password === undefined ? NO_KEY : Buffer.from(password);
  return loadNative().tcpMd5(fd, address, remotes.length, key);
}

/**
 * Refuse passwords where the kernel cannot sign: one without CONFIG_TCP_MD5SIG, or a sandbox that has no such option.
 * @param peers names of those that have a password
 * @throws MlshimError NO_TCP_MD5
 */
export function requireSignatures(peers: readonly string[], native: Pick<Native, 'tcpMd5'> = loadNative()): void {
  const fd = peers.length === 0 ? -1 : tcpSocket(4);
  if (fd < 0) return;
  const answer = native.tcpMd5(fd, '127.0.0.1', 32, Buffer.from('probe'));
  loadNative().close(fd);
  if (answer < 0)
    throw new MlshimError(
      'NO_TCP_MD5',
      `the kernel signs no TCP segments (${errnoText(-answer)}): password of ${peers.join(', ')}`,
    );
}

/** The kernel's counts of segments refused by their signature or TTL, of all programs in this network namespace. */
export function refusedSegments(read: () => string = netstat): Record<string, number> {
  const lines = read().split('\n');
  const [names, values] = lines.filter((l) => l.startsWith('TcpExt:')).map((l) => l.split(' '));
  const of = (name: string): number => Number(values?.[names?.indexOf(name) ?? -1] ?? 0);
  return {
    host_signatureMissing: of('TCPMD5NotFound'),
    host_signatureUnexpected: of('TCPMD5Unexpected'),
    host_signatureWrong: of('TCPMD5Failure'),
    host_ttlTooSmall: of('TCPMinTTLDrop'),
  };
}

function netstat(): string {
  try {
    return readFileSync('/proc/net/netstat', 'utf8');
  } catch {
    return ''; // no /proc in this container
  }
}
