/**
 * getaddrinfo(3) and getnameinfo(3) as the GNU C library answers them, without I/O: what can be answered from the request
 * and the hosts and services files is answered at once; the rest is one lookup for the resolver, finished afterwards.
 * Read first: RFC 3493 §6.1 and RFC 6724 §6 (of whose rules only "avoid unusable destinations" and the preference of IPv6
 * apply here: every uplink has one address per family).
 */
import { Addr, type Family } from '../lib/addr.ts';
import type { HostsFile, ServicesFile } from './hosts.ts';
import type { ResolverAnswer } from './resolver.ts';

export const Ai = {
  Passive: 1,
  CanonName: 2,
  NumericHost: 4,
  V4Mapped: 8,
  All: 0x10,
  AddrConfig: 0x20,
  NumericServ: 0x400,
} as const;
/** With AI_IDN and AI_CANONIDN, which change nothing for ASCII names. */
const KNOWN_FLAGS = 0x1f | 0x20 | 0x400 | 0x40 | 0x80;

/** Values of <netdb.h>. */
export const Eai = {
  BadFlags: -1,
  NoName: -2,
  Again: -3,
  Fail: -4,
  NoData: -5,
  Family: -6,
  SockType: -7,
  Service: -8,
  AddrFamily: -9,
  Overflow: -12,
} as const;
export type EaiCode = (typeof Eai)[keyof typeof Eai];

export const Ni = { NumericHost: 1, NumericServ: 2, NoFqdn: 4, NameReqd: 8, Dgram: 16 } as const;

const AF_INET = 2;
const AF_INET6 = 10;
const SOCK_STREAM = 1;
const SOCK_DGRAM = 2;
const SOCK_RAW = 3;
const IPPROTO_TCP = 6;
const IPPROTO_UDP = 17;

export interface AddrInfoRequest {
  /** undefined for a null pointer. */
  readonly host: string | undefined;
  readonly service: string | undefined;
  /** AF_UNSPEC (0), AF_INET or AF_INET6. */
  readonly family: number;
  readonly socktype: number;
  readonly protocol: number;
  readonly flags: number;
}

/** What the answer depends on besides the request. */
export interface AddrInfoContext {
  readonly hosts: HostsFile;
  readonly services: ServicesFile;
  /** Families with an address on any interface other than loopback, for AI_ADDRCONFIG. */
  readonly configured: readonly Family[];
  /** Whether the FIB has a way to the address. */
  hasRoute(addr: Addr): boolean;
  /** Interface index of a zone's name, or undefined. */
  linkIndex(name: string): number | undefined;
}

/** One struct addrinfo. With family AF_INET6 an IPv4 address stands for its mapped form. */
export interface AddrInfo {
  readonly family: number;
  readonly socktype: number;
  readonly protocol: number;
  readonly addr: Addr;
  readonly port: number;
  readonly scope: number;
}

export type AddrInfoResult =
  | { readonly kind: 'list'; readonly list: readonly AddrInfo[]; readonly canonicalName: string }
  | { readonly kind: 'error'; readonly code: EaiCode };

interface SocketKind {
  readonly socktype: number;
  readonly protocol: number;
  readonly port: number;
}

/** A lookup that the resolver has to answer before `finishAddrInfo`. */
export interface AddrInfoLookup {
  readonly kind: 'lookup';
  readonly name: string;
  readonly families: readonly Family[];
  readonly request: AddrInfoRequest;
  readonly kinds: readonly SocketKind[];
}

/** Answer a request, or say what has to be looked up for it. */
export function startAddrInfo(request: AddrInfoRequest, context: AddrInfoContext): AddrInfoResult | AddrInfoLookup {
  const { host, service, family, flags } = request;
  if (host === undefined && service === undefined) return error(Eai.NoName);
  if ((flags & ~KNOWN_FLAGS) !== 0 || ((flags & Ai.CanonName) !== 0 && host === undefined)) return error(Eai.BadFlags);
  if (family !== 0 && family !== AF_INET && family !== AF_INET6) return error(Eai.Family);
  const kinds = socketKinds(request, context.services);
  if (typeof kinds === 'number') return error(kinds);
  if (host === undefined) return list(request, kinds, withoutHost(request), '');

  const numeric = numericHost(host, context);
  if (numeric !== undefined) return numericResult(request, kinds, numeric);
  if ((flags & Ai.NumericHost) !== 0) return error(Eai.NoName);

  const families = wantedFamilies(request, context);
  if (families.length === 0) return error(Eai.NoName);
  const local = localAddresses(host, families, context.hosts);
  if (local !== undefined) {
    if (local.addrs.length === 0) return error(Eai.NoData);
    return sorted(request, kinds, local.addrs, local.canonicalName, context);
  }
  return { kind: 'lookup', name: host, families, request, kinds };
}

/** The result of a request whose lookup was answered. */
export function finishAddrInfo(
  lookup: AddrInfoLookup,
  answer: ResolverAnswer,
  context: AddrInfoContext,
): AddrInfoResult {
  if (answer.status === 'failed') return error(Eai.Again);
  if (answer.status === 'no-name') return error(Eai.NoName);
  if (answer.status === 'no-data' || answer.addresses.length === 0) return error(Eai.NoData);
  return sorted(lookup.request, lookup.kinds, answer.addresses, answer.canonicalName, context);
}

function error(code: EaiCode): AddrInfoResult {
  return { kind: 'error', code };
}

/** Socket kinds with their port, in the C library's order, or the error it gives. */
function socketKinds(request: AddrInfoRequest, services: ServicesFile): readonly SocketKind[] | EaiCode {
  const { socktype, protocol, service, flags } = request;
  const all = [
    { socktype: SOCK_STREAM, protocol: IPPROTO_TCP, name: 'tcp' as const },
    { socktype: SOCK_DGRAM, protocol: IPPROTO_UDP, name: 'udp' as const },
    { socktype: SOCK_RAW, protocol, name: undefined },
  ];
  const isAny = socktype === 0 && protocol === 0;
  const fitting = all.filter(
    (k) => (socktype === 0 || k.socktype === socktype) && (protocol === 0 || k.protocol === protocol),
  );
  // A protocol alone means its own socket type; raw sockets have to be asked for.
  const kinds =
    socktype === 0 && protocol !== 0 && fitting.length > 1 ? fitting.filter((k) => k.name !== undefined) : fitting;
  if (kinds.length === 0) return socktype === 0 ? Eai.Service : Eai.SockType;
  if (service === undefined) return kinds.map((k) => ({ ...k, port: 0 }));
  if (!isAny && kinds.every((k) => k.name === undefined)) return Eai.Service;
  if (/^\s*\d+$/.test(service)) {
    const port = Number(service);
    return port > 0xffff ? Eai.Service : kinds.map((k) => ({ ...k, port }));
  }
  if ((flags & Ai.NumericServ) !== 0) return Eai.NoName;
  const named = kinds.flatMap((k) => {
    const port = k.name === undefined ? undefined : services.port(service, k.name);
    return port === undefined ? [] : [{ ...k, port }];
  });
  return named.length === 0 ? Eai.Service : named;
}

function withoutHost({ family, flags }: AddrInfoRequest): readonly Addr[] {
  // The C library lists the IPv4 wildcard first and the IPv6 loopback first.
  const isPassive = (flags & Ai.Passive) !== 0;
  const v4 = Addr.parse(isPassive ? '0.0.0.0' : '127.0.0.1')!;
  const v6 = Addr.parse(isPassive ? '::' : '::1')!;
  const both = isPassive ? [v4, v6] : [v6, v4];
  return both.filter((a) => family === 0 || (a.family === 4) === (family === AF_INET));
}

interface NumericHost {
  readonly addr: Addr;
  readonly scope: number;
}

/** An address as text, with the zone of RFC 4007 §11 and the short IPv4 forms of inet_aton(3). */
function numericHost(host: string, context: AddrInfoContext): NumericHost | undefined | 'bad-zone' {
  const v4 = parseInetAton(host);
  if (v4 !== undefined) return { addr: v4, scope: 0 };
  if (!host.includes(':')) return undefined;
  const percent = host.indexOf('%');
  const addr = Addr.parse(percent < 0 ? host : host.slice(0, percent));
  if (addr?.family !== 6) return undefined;
  if (percent < 0) return { addr, scope: 0 };
  const zone = host.slice(percent + 1);
  const scope = context.linkIndex(zone) ?? (/^\d{1,9}$/.test(zone) ? Number(zone) : undefined);
  return scope === undefined ? 'bad-zone' : { addr, scope };
}

function numericResult(
  request: AddrInfoRequest,
  kinds: readonly SocketKind[],
  numeric: NumericHost | 'bad-zone',
): AddrInfoResult {
  if (numeric === 'bad-zone') return error(Eai.NoName);
  const { family, flags, host } = request;
  const isMapped = family === AF_INET6 && numeric.addr.family === 4 && (flags & Ai.V4Mapped) !== 0;
  if (family !== 0 && !isMapped && (numeric.addr.family === 4) !== (family === AF_INET)) return error(Eai.AddrFamily);
  return list(request, kinds, [numeric.addr], host!, numeric.scope);
}

function wantedFamilies({ family, flags }: AddrInfoRequest, context: AddrInfoContext): readonly Family[] {
  const asked: readonly Family[] =
    family === AF_INET ? [4] : family === AF_INET6 && (flags & Ai.V4Mapped) === 0 ? [6] : [6, 4];
  return (flags & Ai.AddrConfig) === 0 ? asked : asked.filter((f) => context.configured.includes(f));
}

/** RFC 6761 §6.3: "localhost." and names below it are loopback addresses and never leave the host. */
function localAddresses(
  host: string,
  families: readonly Family[],
  hosts: HostsFile,
): { addrs: readonly Addr[]; canonicalName: string } | undefined {
  const entries = hosts.lookup(host, families);
  if (entries.length > 0) return { addrs: entries.map((e) => e.addr), canonicalName: entries[0]!.canonicalName };
  if (!/(^|\.)localhost\.?$/i.test(host)) return undefined;
  const loopback = ['::1', '127.0.0.1'].map((a) => Addr.parse(a)!).filter((a) => families.includes(a.family));
  return { addrs: loopback, canonicalName: host };
}

/** Reachable addresses first, then IPv6 first, else in the order of the answer (RFC 6724 §6 rules 1, 6 and 10). */
function sorted(
  request: AddrInfoRequest,
  kinds: readonly SocketKind[],
  addrs: readonly Addr[],
  canonicalName: string,
  context: AddrInfoContext,
): AddrInfoResult {
  const { family, flags } = request;
  // RFC 3493 §6.1: with AI_V4MAPPED, mapped addresses are given when there is no IPv6 address, or with AI_ALL.
  const hasV6 = addrs.some((a) => a.family === 6);
  const usable = family === AF_INET6 && hasV6 && (flags & Ai.All) === 0 ? addrs.filter((a) => a.family === 6) : addrs;
  const rank = (a: Addr): number => (a.isLoopback || context.hasRoute(a) ? 0 : 2) + (a.family === 6 ? 0 : 1);
  const ranked = usable.map((a) => ({ a, rank: rank(a) })).sort((x, y) => x.rank - y.rank);
  return list(
    request,
    kinds,
    ranked.map((x) => x.a),
    canonicalName,
  );
}

function list(
  request: AddrInfoRequest,
  kinds: readonly SocketKind[],
  addrs: readonly Addr[],
  canonicalName: string,
  scope = 0,
): AddrInfoResult {
  const entries = addrs.flatMap((addr) =>
    kinds.map(({ socktype, protocol, port }) => ({
      family: addr.family === 6 || request.family === AF_INET6 ? AF_INET6 : AF_INET,
      socktype,
      protocol,
      addr,
      port,
      scope,
    })),
  );
  return { kind: 'list', list: entries, canonicalName: (request.flags & Ai.CanonName) !== 0 ? canonicalName : '' };
}

/** inet_aton(3): one to four numbers, decimal, 0octal or 0xhex, the last one filling the remaining octets. */
export function parseInetAton(text: string): Addr | undefined {
  const parts = text.split('.');
  if (parts.length > 4) return undefined;
  const numbers = parts.map((p) => {
    if (/^0x[0-9a-f]+$/i.test(p)) return Number.parseInt(p, 16);
    if (/^0[0-7]*$/.test(p)) return Number.parseInt(p, 8);
    return /^[1-9]\d*$/.test(p) ? Number(p) : Number.NaN;
  });
  const last = numbers.pop()!;
  if (!numbers.every((n) => n <= 255) || !(last < 256 ** (4 - numbers.length))) return undefined;
  return Addr.v4(numbers.reduce((bits, n, i) => bits | (n << (24 - 8 * i)), 0) | last);
}

/** Host and service text of getnameinfo(3). */
export interface NameInfo {
  readonly host: string;
  readonly service: string;
}

/**
 * The part of getnameinfo(3) that needs no name server.
 * @param zone text of the scope for link-local addresses, or ''
 * @returns what the host name depends on: a name found here, or `lookup` when the resolver should be asked for a PTR
 */
export function startNameInfo(
  addr: Addr,
  port: number,
  flags: number,
  zone: string,
  context: Pick<AddrInfoContext, 'hosts' | 'services'>,
): { readonly numeric: NameInfo; readonly host: string | 'lookup' } {
  const protocol = (flags & Ni.Dgram) !== 0 ? 'udp' : 'tcp';
  const service = (flags & Ni.NumericServ) !== 0 ? undefined : context.services.name(port, protocol);
  const text = zone === '' ? String(addr) : `${addr}%${zone}`;
  const numeric = { host: text, service: service ?? String(port) };
  if ((flags & Ni.NumericHost) !== 0) return { numeric, host: text };
  return { numeric, host: context.hosts.reverse(addr) ?? 'lookup' };
}

/** The rest of getnameinfo(3), with the resolver's answer. */
export function finishNameInfo(numeric: NameInfo, answer: ResolverAnswer, flags: number): NameInfo | EaiCode {
  if (answer.status === 'ok') return { host: answer.canonicalName, service: numeric.service };
  if ((flags & Ni.NameReqd) === 0) return numeric;
  return answer.status === 'failed' ? Eai.Again : Eai.NoName;
}
