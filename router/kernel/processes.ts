/** Starts, programs, users and ends of the host's processes as they happen, for whoever keeps a table of apps. */
import { NetlinkWriter } from '../wire/netlink.ts';
import { wholeProcesses } from './netlink/filter.ts';
import {
  CONNECTOR_TYPE,
  decodeProcessEvent,
  PROCESS_GROUP,
  type ProcessEvent,
  writeListen,
} from './netlink/process.ts';
import { NetlinkFamily } from './netlink/socket.ts';
import { openRelay, type Relay } from './relay.ts';

/** `lost`: events are missing, look at /proc. */
export type ProcessNews = ProcessEvent | { readonly kind: 'lost' };

/**
 * Works in the initial network namespace only: the kernel's connector is there.
 * @throws KernelRefusal EPERM without CAP_NET_ADMIN, ECONNREFUSED elsewhere or without CONFIG_PROC_EVENTS
 */
export function watchProcesses(told: (news: ProcessNews) => void): Relay {
  const w = new NetlinkWriter();
  w.begin(CONNECTOR_TYPE, 0, 0);
  writeListen(w);
  w.end();
  return openRelay({
    family: NetlinkFamily.Connector,
    groups: PROCESS_GROUP,
    filter: wholeProcesses(),
    greeting: w.octets,
    received: (messages, isLost) => {
      if (isLost) told({ kind: 'lost' });
      for (const m of messages) {
        const event = decodeProcessEvent(m);
        if (event !== undefined) told(event);
      }
    },
  });
}
