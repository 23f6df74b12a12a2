/**
 * Where a peer's packets are sent to: which address of its endpoint's name is in use, and when the name is asked again, since
 * peers move. Whoever has the WireGuard device asks and moves the peer. Time comes as an argument (wall-clock milliseconds).
 */
import { Addr } from '../router/lib/addr.ts';
import type { Logger } from '../router/lib/log.ts';
import type { WgEndpoint, WgPeerConfig } from './model.ts';
import { formatEndpoint } from './quick.ts';

const RESOLVE_EVERY_MS = 300_000;
const RESOLVE_STALE_EVERY_MS = 20_000;
/** Under traffic WireGuard renews keys after 120 s: an older handshake is a reason to look for another address. */
const STALE_HANDSHAKE_MS = 135_000;
const UNHEARD_MS = 15_000;
const RESOLVE_RETRY_MS = 1000;
const RESOLVE_RETRY_MAX_MS = 60_000;

export interface EndpointState {
  config: WgPeerConfig;
  /** Addresses of the endpoint name, and which of them is in use. */
  addresses: readonly string[];
  chosen: string | undefined;
  error: string | undefined;
  resolvedAt: number;
  retryAt: number;
  retryDelay: number;
  resolving: boolean;
  /** As WireGuard told last. */
  lastEndpoint: string | undefined;
  lastHandshakeMs: number;
  /** A number that changes with each datagram to the peer, and what it was when the name was asked last. */
  sent: number;
  sentAtResolve: number;
}

/** What WireGuard says of a peer. */
export interface HeardOf {
  readonly endpoint: string | undefined;
  /** 0 = there was none. */
  readonly latestHandshakeMs: number;
}

export function newEndpoint(config: WgPeerConfig, lastHandshakeMs = 0): EndpointState {
  const literal = config.endpoint === undefined ? undefined : literalEndpoint(config.endpoint);
  return {
    config,
    addresses: literal === undefined ? [] : [literal],
    chosen: literal,
    error: undefined,
    resolvedAt: 0,
    retryAt: 0,
    retryDelay: RESOLVE_RETRY_MS,
    resolving: false,
    lastEndpoint: undefined,
    lastHandshakeMs,
    sent: 0,
    sentAtResolve: 0,
  };
}

/** Take what WireGuard says. @param sent see `EndpointState.sent` */
export function observeEndpoint(e: EndpointState, now: HeardOf, sent: number): void {
  e.lastEndpoint = now.endpoint ?? e.lastEndpoint;
  e.lastHandshakeMs = Math.max(e.lastHandshakeMs, now.latestHandshakeMs);
  e.sent = sent;
}

/** Names are asked again now and then, and soon while nobody answers what is sent. */
export function wantsResolve(e: EndpointState, now: number): boolean {
  if (e.config.endpoint === undefined || literalEndpoint(e.config.endpoint) !== undefined || e.resolving) return false;
  if (e.error !== undefined) return now >= e.retryAt;
  const isMissed = isStale(e, now) && (e.lastHandshakeMs === 0 || e.sent !== e.sentAtResolve);
  return now - e.resolvedAt >= (isMissed ? RESOLVE_STALE_EVERY_MS : RESOLVE_EVERY_MS);
}

export interface Asking {
  /** Addresses of a host name, in order of preference; rejects when there are none. */
  readonly resolve: (host: string) => Promise<readonly Addr[]>;
  readonly log: Logger;
  /** Of the uplink, for the log. */
  readonly device: string;
  /** Whether the answer is of use still. */
  readonly isWanted: () => boolean;
  readonly now: () => number;
}

/** Ask for the name of an endpoint. @returns the ADDR:PORT to move the peer to, or undefined to leave it where it is */
export async function askEndpoint(e: EndpointState, o: Asking): Promise<string | undefined> {
  const { host, port } = e.config.endpoint!;
  e.resolving = true;
  let found: readonly Addr[] = [];
  let error = 'no address';
  try {
    found = await o.resolve(host);
  } catch (cause) {
    error = cause instanceof Error ? cause.message : String(cause);
  }
  e.resolving = false;
  if (!o.isWanted()) return undefined;
  if (found.length === 0) {
    unresolved(e, error, o.now());
    o.log.warn('endpoint name has no address', { device: o.device, host, error, code: 'U103' });
    return undefined;
  }
  const before = e.chosen;
  const texts = found.map((a) => formatEndpoint({ host: a.toString(), port }));
  const next = resolved(e, texts, o.now());
  if (next !== undefined) o.log.info('endpoint', { device: o.device, host, address: next, before });
  return next;
}

/** A resolution failed. */
export function unresolved(e: EndpointState, error: string, now: number): void {
  e.error = error;
  e.retryAt = now + e.retryDelay;
  e.retryDelay = Math.min(e.retryDelay * 2, RESOLVE_RETRY_MAX_MS);
}

/** A resolution gave addresses. Returns the ADDR:PORT to move the peer to, or undefined to leave it where it is. */
export function resolved(e: EndpointState, found: readonly string[], now: number): string | undefined {
  e.error = undefined;
  e.retryDelay = RESOLVE_RETRY_MS;
  e.addresses = found;
  const next = nextAddress(e, now);
  e.resolvedAt = now;
  e.sentAtResolve = e.sent;
  if (next === undefined || next === e.chosen) return undefined;
  e.chosen = next;
  e.lastEndpoint = undefined;
  return next;
}

/** Nobody has answered for longer than WireGuard renews keys, or never. */
function isStale(e: EndpointState, now: number): boolean {
  return e.lastHandshakeMs === 0 ? now - e.resolvedAt >= UNHEARD_MS : now - e.lastHandshakeMs >= STALE_HANDSHAKE_MS;
}

/** The address to use after a resolution: the present one while it answers and is still listed, else the next in turn. */
function nextAddress(e: EndpointState, now: number): string | undefined {
  const at = e.chosen === undefined ? -1 : e.addresses.indexOf(e.chosen);
  if (at < 0) {
    // A peer that moved by itself and still answers is left where it is.
    const moved = e.chosen !== undefined && e.lastEndpoint !== undefined && e.lastEndpoint !== e.chosen;
    return moved && e.lastHandshakeMs !== 0 && !isStale(e, now) ? e.chosen : e.addresses[0];
  }
  const answered = e.lastHandshakeMs !== 0 && now - e.lastHandshakeMs < STALE_HANDSHAKE_MS;
  return answered ? e.chosen : e.addresses[(at + 1) % e.addresses.length];
}

export function sameEndpoint(a: WgEndpoint | undefined, b: WgEndpoint | undefined): boolean {
  return a?.host === b?.host && a?.port === b?.port;
}

/** ADDR:PORT when the host is an address (an IPv6 one may carry a zone). */
export function literalEndpoint(e: WgEndpoint): string | undefined {
  const percent = e.host.indexOf('%');
  const bare = percent < 0 ? e.host : e.host.slice(0, percent);
  const addr = Addr.parse(bare);
  if (addr === undefined || (percent >= 0 && addr.family === 4)) return undefined;
  return formatEndpoint(e);
}
