/** Which devices and orders the kernel's network knows. Nothing is left behind. */
import { Addr } from '../lib/addr.ts';
import { NlFlag } from '../wire/netlink.ts';
import { Host } from './host.ts';
import { DiagType, type HostSocket, IPPROTO_TCP, writeDestroy } from './netlink/diag.ts';
import { KernelRefusal, NetlinkFamily, NetlinkSocket } from './netlink/socket.ts';

/** Each undefined when it is there, else why it is not. */
export interface NetworkFeatures {
  readonly vrf: string | undefined;
  readonly wireguard: string | undefined;
  readonly socketDestroy: string | undefined;
}

/** Of a device that is there for a moment at most. */
const PROBE_DEVICE = `mlp-${process.pid}`;
/** An address without meaning (RFC 5737): no socket is connected to it. */
const NOWHERE = Addr.parse('192.0.2.1')!;
const SOCKET_ID_OCTETS = 48;

/** @throws KernelRefusal when the kernel cannot be asked */
export function probeNetwork(): NetworkFeatures {
  const host = Host.open();
  try {
    return { vrf: vrf(host), wireguard: wireguard(host), socketDestroy: socketDestroy() };
  } finally {
    host.close();
  }
}

/** A VRF without a table is refused, by who knows VRFs in other words: none is made, and no rule for VRFs either. */
function vrf(host: Host): string | undefined {
  return whyNot(() => host.addLink(PROBE_DEVICE, { vrfTable: 0 }), 'EINVAL');
}

function wireguard(host: Host): string | undefined {
  // Never up: the kernel's WireGuard turns send_redirects off for all interfaces with its first device that is.
  const why = whyNot(() => host.addLink(PROBE_DEVICE, 'wireguard', false));
  const made = host.link(PROBE_DEVICE);
  if (made !== undefined) host.removeLink(made);
  return why;
}

/** The order to end a socket that is not there is understood where sockets can be ended. */
function socketDestroy(): string | undefined {
  const socket: HostSocket = {
    ...{ family: 4, state: 0, source: NOWHERE, sourcePort: 1, destination: NOWHERE, destinationPort: 1 },
    ...{ ifindex: 0, uid: 0, id: new Uint8Array(SOCKET_ID_OCTETS) },
  };
  const diag = NetlinkSocket.open(NetlinkFamily.SockDiag);
  try {
    const order = (): unknown =>
      diag.request(DiagType.Destroy, NlFlag.Request, (w) => writeDestroy(w, IPPROTO_TCP, socket));
    return whyNot(order, 'ENOENT');
  } finally {
    diag.close();
  }
}

/** @param expected the refusal of who could do it */
function whyNot(order: () => unknown, ...expected: readonly string[]): string | undefined {
  try {
    order();
    return undefined;
  } catch (e) {
    if (!(e instanceof KernelRefusal)) throw e;
    return expected.includes(e.errnoName) ? undefined : e.message;
  }
}
