/** Sockets of this network namespace that use an uplink: counted, and ended so that their apps connect elsewhere. */
import type { Addr, Family } from '../lib/addr.ts';
import { NlFlag, Rtm } from '../wire/netlink.ts';
import {
  DiagType,
  decodeSocket,
  type HostSocket,
  IPPROTO_TCP,
  IPPROTO_UDP,
  LIVE_STATES,
  writeDestroy,
  writeDump,
} from './netlink/diag.ts';
import { decodeLink, writeLink } from './netlink/link.ts';
import { KernelRefusal, NetlinkFamily, NetlinkSocket } from './netlink/socket.ts';

/** Which sockets: bound to a device (SO_BINDTODEVICE), or to an address. */
export type SocketChoice = { readonly device: string } | { readonly source: Addr };

const FAMILIES: readonly Family[] = [4, 6];
const PROTOCOLS = [IPPROTO_TCP, IPPROTO_UDP];

/** Connections and UDP sockets, listeners not among them. @throws KernelRefusal */
export function countSockets(choice: SocketChoice): number {
  return visit(choice, () => true);
}

/**
 * End connections and UDP sockets with ECONNABORTED (SOCK_DESTROY); listeners stay. Returns how many.
 * @throws KernelRefusal ENOTSUP where the kernel lacks CONFIG_INET_DIAG_DESTROY, EPERM without CAP_NET_ADMIN
 */
export function destroySockets(choice: SocketChoice): number {
  return visit(choice, (diag, protocol, s) => {
    try {
      diag.request(DiagType.Destroy, NlFlag.Request, (w) => writeDestroy(w, protocol, s));
      return true;
    } catch (e) {
      if (e instanceof KernelRefusal && e.errnoName === 'ENOENT') return false; // it ended meanwhile
      throw e;
    }
  });
}

function visit(
  choice: SocketChoice,
  act: (diag: NetlinkSocket, protocol: number, socket: HostSocket) => boolean,
): number {
  const ifindex = 'device' in choice ? indexOf(choice.device) : 0;
  // A device that is gone has taken its number along; sockets bound to it stay bound to nothing one can name.
  if (ifindex === undefined) return 0;
  const diag = NetlinkSocket.open(NetlinkFamily.SockDiag);
  let count = 0;
  try {
    for (const family of FAMILIES)
      for (const protocol of PROTOCOLS)
        for (const m of diag.dump(DiagType.ByFamily, (w) => writeDump(w, family, protocol, LIVE_STATES, ifindex))) {
          const socket = decodeSocket(m);
          if (socket === undefined || ('source' in choice && !socket.source.equals(choice.source))) continue;
          if (act(diag, protocol, socket)) count++;
        }
  } finally {
    diag.close();
  }
  return count;
}

function indexOf(device: string): number | undefined {
  const route = NetlinkSocket.open(NetlinkFamily.Route);
  try {
    const [answer] = route.request(Rtm.GetLink, NlFlag.Request, (w) => writeLink(w, 0, device));
    return answer && decodeLink(answer)?.index;
  } catch (e) {
    if (e instanceof KernelRefusal && e.errnoName === 'ENODEV') return undefined;
    throw e;
  } finally {
    route.close();
  }
}
