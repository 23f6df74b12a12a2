/**
 * WireGuard's userspace configuration protocol as text (https://www.wireguard.com/xplatform/): what is sent to set a
 * device, and what comes back. The child's additions are described in wg/README.md. Texts hold private keys: they go to
 * the control socket and nowhere else.
 */
import { keyFromHex, keyToHex } from './keys.ts';
import type { WgDeviceConfig, WgPeerConfig } from './model.ts';

export interface SetOptions {
  /** What the device has now; undefined = nothing. Peers of it that are not in the new configuration are removed. */
  readonly previous: WgDeviceConfig | undefined;
  /** 0 = let the kernel choose. */
  readonly listenPort: number;
  /** ADDR:PORT to set for a peer; undefined leaves what WireGuard knows. */
  readonly endpointOf: (peer: WgPeerConfig) => string | undefined;
  /** Interval for new peers that have none but an address: turning keepalive on makes the handshake start at once. */
  readonly eagerKeepaliveS?: number;
}

/** The lines of a set request, each with its newline. */
export function encodeSet(next: WgDeviceConfig, o: SetOptions): string {
  const old = o.previous;
  const lines: string[] = [];
  if (old === undefined || !sameBytes(old.privateKey, next.privateKey))
    lines.push(`private_key=${keyToHex(next.privateKey)}`);
  if (old === undefined || old.listenPort !== next.listenPort) lines.push(`listen_port=${o.listenPort}`);
  if ((old?.fwmark ?? 0) !== (next.fwmark ?? 0)) lines.push(`fwmark=${next.fwmark ?? 0}`);
  const kept = new Set(next.peers.map((p) => keyToHex(p.publicKey)));
  for (const p of old?.peers ?? []) {
    const key = keyToHex(p.publicKey);
    if (!kept.has(key)) lines.push(`public_key=${key}`, 'remove=true');
  }
  const before = new Map((old?.peers ?? []).map((p) => [keyToHex(p.publicKey), p]));
  for (const p of next.peers) {
    const key = keyToHex(p.publicKey);
    const was = before.get(key);
    const own: string[] = [];
    const psk = pskHex(p);
    if (psk !== pskHex(was)) own.push(`preshared_key=${psk}`);
    const endpoint = o.endpointOf(p);
    if (endpoint !== undefined) own.push(`endpoint=${endpoint}`);
    const isEager = p.keepaliveS === 0 && was === undefined && endpoint !== undefined;
    const wanted = isEager ? (o.eagerKeepaliveS ?? 0) : p.keepaliveS;
    // Without an address a handshake fails at once, and WireGuard waits five seconds before the next one: keepalive is
    // turned on when the endpoint's name is known.
    const isUnresolved = was === undefined && p.endpoint !== undefined && endpoint === undefined;
    const keepalive = isUnresolved ? 0 : wanted;
    if (keepalive !== (was?.keepaliveS ?? 0)) own.push(`persistent_keepalive_interval=${keepalive}`);
    if (was === undefined || was.allowedIps.join() !== p.allowedIps.join()) {
      // Only then: between the two lines packets have no peer.
      own.push('replace_allowed_ips=true');
      for (const prefix of p.allowedIps) own.push(`allowed_ip=${prefix}`);
    }
    if (was === undefined || own.length > 0) lines.push(`public_key=${key}`, ...own);
  }
  return lines.map((l) => `${l}\n`).join('');
}

function pskHex(p: WgPeerConfig | undefined): string {
  return p?.presharedKey === undefined ? '00'.repeat(32) : keyToHex(p.presharedKey);
}

/** Lines that forget a peer's state and configure it anew, which sends a handshake at once. */
export function encodeAnew(
  config: WgDeviceConfig,
  peer: WgPeerConfig,
  endpoint: string,
  eagerKeepaliveS: number,
): string {
  const others = config.peers.filter((p) => p !== peer);
  return `public_key=${keyToHex(peer.publicKey)}\nremove=true\n${encodeSet(config, {
    previous: { ...config, peers: others },
    listenPort: 0,
    endpointOf: (p) => (p === peer ? endpoint : undefined),
    eagerKeepaliveS,
  })}`;
}

/** Lines that give peers back the keepalive interval of the configuration after an eager start; empty when none needs it. */
export function encodeKeepaliveOff(config: WgDeviceConfig): string {
  return config.peers
    .filter((p) => p.keepaliveS === 0)
    .map((p) => encodeKeepalive(p.publicKey, 0))
    .join('');
}

/** Lines that set a peer's keepalive interval. */
export function encodeKeepalive(publicKey: Uint8Array, seconds: number): string {
  return `public_key=${keyToHex(publicKey)}\nupdate_only=true\npersistent_keepalive_interval=${seconds}\n`;
}

/** Lines that move one peer to another address and set its keepalive interval. */
export function encodeEndpoint(publicKey: Uint8Array, endpoint: string, keepaliveS: number): string {
  return `public_key=${keyToHex(publicKey)}\nupdate_only=true\nendpoint=${endpoint}\npersistent_keepalive_interval=${keepaliveS}\n`;
}

export interface UapiPeer {
  readonly publicKey: Uint8Array;
  hasPresharedKey: boolean;
  endpoint: string | undefined;
  latestHandshakeMs: number;
  rxBytes: number;
  txBytes: number;
  keepaliveS: number;
  readonly allowedIps: string[];
}

export interface UapiDevice {
  /** Everything but keys, by name; numbers as text. */
  readonly values: ReadonlyMap<string, string>;
  readonly listenPort: number;
  readonly fwmark: number;
  readonly peers: readonly UapiPeer[];
}

/** Parse the lines of a get answer. Unknown keys are kept (device) or skipped (peer); private keys are not kept. */
export function parseGet(lines: readonly string[]): UapiDevice {
  const values = new Map<string, string>();
  const peers: UapiPeer[] = [];
  let peer: UapiPeer | undefined;
  for (const line of lines) {
    const eq = line.indexOf('=');
    const key = line.slice(0, eq);
    const value = line.slice(eq + 1);
    if (key === 'public_key') {
      peer = {
        publicKey: keyFromHex(value) ?? new Uint8Array(32),
        hasPresharedKey: false,
        endpoint: undefined,
        latestHandshakeMs: 0,
        rxBytes: 0,
        txBytes: 0,
        keepaliveS: 0,
        allowedIps: [],
      };
      peers.push(peer);
    } else if (peer === undefined) {
      if (key !== 'private_key') values.set(key, value);
    } else {
      peerLine(peer, key, value);
    }
  }
  const number = (key: string): number => Number(values.get(key) ?? 0);
  return { values, listenPort: number('listen_port'), fwmark: number('fwmark'), peers };
}

function peerLine(peer: UapiPeer, key: string, value: string): void {
  switch (key) {
    case 'preshared_key':
      peer.hasPresharedKey = !/^0*$/.test(value);
      break;
    case 'endpoint':
      peer.endpoint = value;
      break;
    case 'last_handshake_time_sec':
      peer.latestHandshakeMs += Number(value) * 1000;
      break;
    case 'last_handshake_time_nsec':
      peer.latestHandshakeMs += Math.floor(Number(value) / 1e6);
      break;
    case 'tx_bytes':
      peer.txBytes = Number(value);
      break;
    case 'rx_bytes':
      peer.rxBytes = Number(value);
      break;
    case 'persistent_keepalive_interval':
      peer.keepaliveS = Number(value);
      break;
    case 'allowed_ip':
      peer.allowedIps.push(value);
      break;
  }
}

function sameBytes(a: Uint8Array, b: Uint8Array): boolean {
  return a.length === b.length && a.every((x, i) => x === b[i]);
}
