/**
 * Kernel sockets for flows that rules send through the host's own network. They are made here, bound to the interface or
 * address of the uplink, and then belong to the app (MLS_LANE_DIRECT) or to a relay (kernel-relay.ts). What cannot be bound
 * is refused: no socket leaves by another way than the one that was chosen.
 */
import type { HostWay } from '../lib/host-way.ts';
import type { Hub } from './hub.ts';
import { AF_INET6, E, IPPROTO_IP, IPPROTO_IPV6 } from './proto.ts';
import { SockAddr, writeSockAddr } from './sockaddr.ts';

const IP_BIND_ADDRESS_NO_PORT = 24;
const IPV6_V6ONLY = 26;

/** What of a socket is to be there before it is bound. */
export interface HostSocketSpec {
  /** AF_INET or AF_INET6. */
  readonly family: number;
  /** SOCK_STREAM or SOCK_DGRAM, perhaps with SOCK_NONBLOCK. */
  readonly type: number;
  readonly protocol: number;
  /** Where it will send to: the source has to be of the same family. */
  readonly to: SockAddr;
  /** The address and port the app bound, port 0 = none. */
  readonly local: SockAddr | undefined;
  /** Int options that decide whether the address can be had: level, name, value. */
  readonly options?: readonly (readonly [level: number, name: number, value: number])[];
  /** An IPv6 socket that leaves the IPv4 port of its number to others. */
  readonly v6only?: boolean;
}

/** A socket bound to `way`. @returns a descriptor, or -errno: it cannot be bound, and nothing may be sent */
export function openHostSocket(hub: Hub, way: HostWay, spec: HostSocketSpec): number {
  const { native, counters } = hub;
  const fd = native.hostSocket(spec.family, spec.type, spec.protocol);
  if (fd < 0) return fd;
  const failed = bindToWay(hub, way, spec, fd);
  if (failed >= 0) return fd;
  native.close(fd);
  counters.hostBindsRefused++;
  return failed;
}

/** @returns 0 or -errno */
function bindToWay(hub: Hub, way: HostWay, spec: HostSocketSpec, fd: number): number {
  const { native, world, recordAt } = hub;
  if (way.device !== undefined) {
    const failed = native.bindToDevice(fd, way.device);
    if (failed < 0) return failed;
  }
  if (spec.family === AF_INET6) native.setOption(fd, IPPROTO_IPV6, IPV6_V6ONLY, spec.v6only === true ? 1 : 0);
  for (const [level, name, value] of spec.options ?? []) native.setOption(fd, level, name, value);
  const at = boundAddress(way, spec);
  if (typeof at === 'number') return at;
  if (at === undefined) return 0;
  // The port is chosen at connect(), where only the whole 5-tuple has to be free (ip(7)).
  if (at.port === 0) native.setOption(fd, IPPROTO_IP, IP_BIND_ADDRESS_NO_PORT, 1);
  const length = writeSockAddr(world.u8, recordAt, spec.family, at.a0, at.a1, at.a2, at.a3, at.port, at.scope);
  return native.kernelBind(fd, recordAt, length);
}

/** What to bind, undefined = nothing, or -errno. */
function boundAddress({ source }: HostWay, { family, to, local }: HostSocketSpec): SockAddr | number | undefined {
  const hasPort = local !== undefined && local.port !== 0;
  if (source === undefined) return hasPort ? new SockAddr().copy(local) : undefined;
  if ((source.family === 4) !== to.isV4) return -E.ENETUNREACH;
  const port = hasPort ? local.port : 0;
  return new SockAddr().set(family, source.a0, source.a1, source.a2, source.a3, port, 0);
}
