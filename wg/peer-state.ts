/**
 * What the supervisor knows of one peer beyond its configuration: its endpoint, what the child last said, and what earlier
 * children counted. Pure.
 */
import { type EndpointState, newEndpoint, observeEndpoint } from './endpoint.ts';
import type { WgPeerConfig } from './model.ts';
import type { UapiPeer } from './uapi.ts';

export interface PeerState extends EndpointState {
  lastRx: number;
  lastTx: number;
  /** Of the children before. */
  baseRx: number;
  baseTx: number;
}

/** A peer that was not known before, or whose endpoint changed: counters go on, the address starts afresh. */
export function newPeer(config: WgPeerConfig, old: PeerState | undefined): PeerState {
  return {
    ...newEndpoint(config, old?.lastHandshakeMs),
    lastRx: old?.lastRx ?? 0,
    lastTx: old?.lastTx ?? 0,
    baseRx: old?.baseRx ?? 0,
    baseTx: old?.baseTx ?? 0,
  };
}

/**
 * Take what a child says about the peer.
 * @param failed datagrams of the device that the host refused to send
 */
export function observe(p: PeerState, now: UapiPeer, failed: number): void {
  p.lastRx = now.rxBytes;
  p.lastTx = now.txBytes;
  observeEndpoint(p, now, p.baseTx + p.lastTx + failed);
}

/** The child ended: the next one counts from zero. */
export function childEnded(p: PeerState): void {
  p.baseRx += p.lastRx;
  p.baseTx += p.lastTx;
  p.lastRx = 0;
  p.lastTx = 0;
}
