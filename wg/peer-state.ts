/**
 * What the supervisor knows of one peer beyond its configuration: which address of its endpoint name is in use, what the
 * child last said, and what earlier children counted. Pure: time comes as an argument (wall-clock milliseconds).
 */
import { Addr } from '../router/lib/addr.ts';
import type { WgEndpoint, WgPeerConfig } from './model.ts';
import type { UapiPeer } from './uapi.ts';

const RESOLVE_EVERY_MS = 300_000;
const RESOLVE_STALE_EVERY_MS = 20_000;
/** Under traffic WireGuard renews keys after 120 s: an older handshake is a reason to look for another address. */
const STALE_HANDSHAKE_MS = 135_000;
const UNHEARD_MS = 15_000;
const RESOLVE_RETRY_MS = 1000;
const RESOLVE_RETRY_MAX_MS = 60_000;

export interface PeerState {
  config: WgPeerConfig;
  /** Addresses of the endpoint name, and which of them is in use. */
  addresses: readonly string[];
  chosen: string | undefined;
  error: string | undefined;
  resolvedAt: number;
  retryAt: number;
  retryDelay: number;
  resolving: boolean;
  /** As last seen in a child's answer. */
  lastEndpoint: string | undefined;
  lastHandshakeMs: number;
  lastRx: number;
  lastTx: number;
  /** Of the children before. */
  baseRx: number;
  baseTx: number;
}

/** A peer that was not known before, or whose endpoint changed: counters go on, the address starts afresh. */
export function newPeer(config: WgPeerConfig, old: PeerState | undefined): PeerState {
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
    lastHandshakeMs: old?.lastHandshakeMs ?? 0,
    lastRx: old?.lastRx ?? 0,
    lastTx: old?.lastTx ?? 0,
    baseRx: old?.baseRx ?? 0,
    baseTx: old?.baseTx ?? 0,
  };
}

/** Take what a child says about the peer. */
export function observe(p: PeerState, now: UapiPeer): void {
  p.lastEndpoint = now.endpoint ?? p.lastEndpoint;
  p.lastHandshakeMs = Math.max(p.lastHandshakeMs, now.latestHandshakeMs);
  p.lastRx = now.rxBytes;
  p.lastTx = now.txBytes;
}

/** The child ended: the next one counts from zero. */
export function childEnded(p: PeerState): void {
  p.baseRx += p.lastRx;
  p.baseTx += p.lastTx;
  p.lastRx = 0;
  p.lastTx = 0;
}

/** Names are asked again now and then, and soon while nobody answers. */
export function wantsResolve(p: PeerState, now: number): boolean {
  if (p.config.endpoint === undefined || literalEndpoint(p.config.endpoint) !== undefined || p.resolving) return false;
  if (p.error !== undefined) return now >= p.retryAt;
  return now - p.resolvedAt >= (isStale(p, now) ? RESOLVE_STALE_EVERY_MS : RESOLVE_EVERY_MS);
}

/** A resolution failed. */
export function unresolved(p: PeerState, error: string, now: number): void {
  p.error = error;
  p.retryAt = now + p.retryDelay;
  p.retryDelay = Math.min(p.retryDelay * 2, RESOLVE_RETRY_MAX_MS);
}

/** A resolution gave addresses. Returns the ADDR:PORT to move the peer to, or undefined to leave it where it is. */
export function resolved(p: PeerState, found: readonly string[], now: number): string | undefined {
  p.error = undefined;
  p.retryDelay = RESOLVE_RETRY_MS;
  p.addresses = found;
  const next = nextAddress(p, now);
  p.resolvedAt = now;
  if (next === undefined || next === p.chosen) return undefined;
  p.chosen = next;
  p.lastEndpoint = undefined;
  return next;
}

/** Nobody has answered for longer than WireGuard renews keys, or never. */
export function isStale(p: PeerState, now: number): boolean {
  return p.lastHandshakeMs === 0 ? now - p.resolvedAt >= UNHEARD_MS : now - p.lastHandshakeMs >= STALE_HANDSHAKE_MS;
}

/** The address to use after a resolution: the present one while it answers and is still listed, else the next in turn. */
export function nextAddress(p: PeerState, now: number): string | undefined {
  const at = p.chosen === undefined ? -1 : p.addresses.indexOf(p.chosen);
  if (at < 0) {
    // A peer that moved by itself and still answers is left where it is.
    const moved = p.chosen !== undefined && p.lastEndpoint !== undefined && p.lastEndpoint !== p.chosen;
    return moved && p.lastHandshakeMs !== 0 && !isStale(p, now) ? p.chosen : p.addresses[0];
  }
  const answered = p.lastHandshakeMs !== 0 && now - p.lastHandshakeMs < STALE_HANDSHAKE_MS;
  return answered ? p.chosen : p.addresses[(at + 1) % p.addresses.length];
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
  return endpointText(e.host, e.port);
}

export function endpointText(host: string, port: number): string {
  return host.includes(':') ? `[${host}]:${port}` : `${host}:${port}`;
}
