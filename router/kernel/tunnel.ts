/** WireGuard devices of the host's kernel, set up by what differs: sessions of peers that stay go on. */
import { isEqual } from '../lib/equal.ts';
import { NlFlag } from '../wire/netlink.ts';
import { isRefusal } from './host.ts';
import { NetlinkFamily, NetlinkSocket } from './netlink/socket.ts';
import {
  CONTROL_FAMILY,
  decodeDevice,
  decodeFamily,
  type WgDeviceState,
  type WgPeerSettings,
  writeGetDevice,
  writeGetFamily,
  writeSetDevice,
} from './netlink/wireguard.ts';
import type { WgHostConfig } from './uplink.ts';

/** What the device does now; undefined when the kernel knows no such device or no WireGuard. @throws KernelRefusal */
export function readTunnel(device: string): WgDeviceState | undefined {
  return withFamily((socket, family) => {
    try {
      return decodeDevice(socket.dump(family, (w) => writeGetDevice(w, device)));
    } catch (e) {
      if (isRefusal(e, 'ENODEV', 'ENOTSUP')) return undefined;
      throw e;
    }
  });
}

/**
 * Make a device what the configuration says.
 * @param before what it was made the last time: an endpoint is set when it is new or another one, for peers move
 * @throws KernelRefusal
 */
export function setTunnel(device: string, next: WgHostConfig, fwmark: number, before: WgHostConfig | undefined): void {
  const now = readTunnel(device);
  if (now === undefined) return;
  const change = {
    ...(sameKey(now.privateKey, next.privateKey) ? {} : { privateKey: next.privateKey }),
    ...(next.listenPort === 0 || now.listenPort === next.listenPort ? {} : { listenPort: next.listenPort }),
    ...(now.fwmark === fwmark ? {} : { fwmark }),
    removed: now.peers.filter((p) => find(next.peers, p) === undefined).map((p) => p.publicKey),
    peers: next.peers.flatMap((p) => peerChange(p, find(now.peers, p), find(before?.peers ?? [], p)) ?? []),
  };
  withFamily((socket, family) => socket.request(family, NlFlag.Request, (w) => writeSetDevice(w, device, change)));
}

function peerChange(
  next: WgPeerSettings,
  now: WgPeerSettings | undefined,
  before: WgPeerSettings | undefined,
): WgPeerSettings | undefined {
  if (now === undefined) return next;
  const wasTold = before?.endpoint ?? now.endpoint;
  const isMoved = next.endpoint !== undefined && !isEqual(next.endpoint, wasTold);
  const isSame =
    sameKey(now.presharedKey, next.presharedKey) &&
    now.keepaliveS === next.keepaliveS &&
    now.allowedIps.map(String).sort().join() === next.allowedIps.map(String).sort().join();
  if (isSame && !isMoved) return undefined;
  return { ...next, endpoint: isMoved ? next.endpoint : undefined };
}

function find(peers: readonly WgPeerSettings[], p: WgPeerSettings): WgPeerSettings | undefined {
  return peers.find((q) => sameKey(q.publicKey, p.publicKey));
}

function sameKey(a: Uint8Array | undefined, b: Uint8Array | undefined): boolean {
  return a === undefined || b === undefined ? a === b : Buffer.compare(a, b) === 0;
}

/** undefined where the kernel has no WireGuard. */
function withFamily<T>(act: (socket: NetlinkSocket, family: number) => T): T | undefined {
  const socket = NetlinkSocket.open(NetlinkFamily.Generic);
  try {
    const [answer] = socket.request(CONTROL_FAMILY, 0, (w) => writeGetFamily(w, 'wireguard'));
    const family = answer && decodeFamily(answer);
    return family === undefined ? undefined : act(socket, family);
  } catch (e) {
    if (isRefusal(e, 'ENOENT')) return undefined;
    throw e;
  } finally {
    socket.close();
  }
}
