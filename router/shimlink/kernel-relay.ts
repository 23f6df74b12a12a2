/**
 * A UDP socket of the host kernel that is kept for an app's socket of our stack, which may speak with several sides: with the
 * host's loopback (127.0.0.0/8 and ::1 belong to the host), and through each host uplink that rules choose for one of its
 * destinations. Not for bulk: sockets that bind to loopback or connect become kernel sockets altogether (MLS_LANE_DIRECT).
 */
import { get16, get32 } from '../lib/bytes.ts';
import type { HostWay } from '../lib/host-way.ts';
import { Epoll, SOCK_DGRAM, SOCK_NONBLOCK } from '../native/index.ts';
import { DatagramInfo } from '../stack/port.ts';
import { openHostSocket } from './host-lane.ts';
import type { Hub } from './hub.ts';
import { Pollable } from './poller.ts';
import { AF_INET, AF_INET6, E, IPPROTO_UDP } from './proto.ts';
import { type SockAddr, writeSockAddr } from './sockaddr.ts';

const BATCH = 64;
const ROOM = 65536;
/** Index of the loopback interface. */
const LOOPBACK_INDEX = 1;

export interface RelayOwner {
  /** A datagram that came to the kernel socket. */
  relayed(info: DatagramInfo, at: number, length: number): void;
  /** The kernel socket, connected to `remote`, was told an error. */
  relayFailed(errno: number): void;
}

export class KernelRelay extends Pollable {
  readonly #hub: Hub;
  readonly #owner: RelayOwner;
  readonly #fd: number;
  readonly #family: number;
  /** What apps are told a datagram came in by. */
  readonly #link: number;
  readonly #info = new DatagramInfo();

  private constructor(hub: Hub, owner: RelayOwner, fd: number, family: number, link: number) {
    super();
    this.#hub = hub;
    this.#owner = owner;
    this.#fd = fd;
    this.#family = family;
    this.#link = link;
    hub.poller.add(this, fd, Epoll.In);
  }

  /**
   * Through a host uplink, towards the family of `to`.
   * @param local the address and port the app bound
   * @param options int options of the app's that decide how packets look: level, name, value
   * @returns the relay, or an errno (positive)
   */
  static toUplink(
    hub: Hub,
    owner: RelayOwner,
    link: number,
    way: HostWay,
    to: SockAddr,
    local: SockAddr | undefined,
    options: readonly (readonly [level: number, name: number, value: number])[],
  ): KernelRelay | number {
    const family = to.isV4 ? AF_INET : AF_INET6;
    const spec = { family, type: SOCK_DGRAM | SOCK_NONBLOCK, protocol: IPPROTO_UDP, to, local, options, v6only: true };
    const fd = openHostSocket(hub, way, spec);
    return fd < 0 ? -fd : new KernelRelay(hub, owner, fd, family, link);
  }

  /** On the host's loopback. Undefined when the port is taken there, or the family is missing. */
  static open(hub: Hub, owner: RelayOwner, family: number, port: number): KernelRelay | undefined {
    const fd = hub.native.kernelSocket(family, SOCK_DGRAM);
    if (fd < 0) return undefined;
    // Leaves the same port of other interfaces to relays through uplinks; where it is refused, they may not have it.
    hub.native.bindToDevice(fd, 'lo');
    const last = family === AF_INET ? 0x7f000001 : 1;
    const length = writeSockAddr(hub.world.u8, hub.recordAt, family, 0, 0, 0, last, port, 0);
    if (hub.native.kernelBind(fd, hub.recordAt, length) < 0) {
      hub.native.close(fd);
      hub.counters.kernelDoorsRefused++;
      return undefined;
    }
    return new KernelRelay(hub, owner, fd, family, LOOPBACK_INDEX);
  }

  /** Speak with one remote only, whose errors are told. @returns 0 or an errno (positive) */
  connect(to: SockAddr): number {
    const { native, recordAt } = this.#hub;
    return -native.kernelConnect(this.#fd, recordAt, this.#writeAddress(to));
  }

  #writeAddress(to: SockAddr): number {
    const { world, recordAt } = this.#hub;
    const family = this.#family;
    // The wildcard address means this host (Linux).
    if (to.isWildcard)
      return writeSockAddr(world.u8, recordAt, family, 0, 0, 0, family === AF_INET ? 0x7f000001 : 1, to.port, 0);
    return writeSockAddr(world.u8, recordAt, family, to.a0, to.a1, to.a2, to.a3, to.port, to.scope);
  }

  /** @returns 0 or an errno (positive) */
  send(to: SockAddr, at: number, length: number, gsoSize: number): number {
    const { native, recordAt } = this.#hub;
    const n = this.#writeAddress(to);
    const step = gsoSize > 0 ? gsoSize : Math.max(length, 1);
    let from = 0;
    do {
      const sent = native.kernelSend(this.#fd, at + from, Math.min(step, length - from), recordAt, n);
      if (sent < 0) return -sent === E.EAGAIN ? 0 : -sent; // a full queue drops, as UDP does
      from += step;
    } while (from < length);
    return 0;
  }

  override onEvents(): void {
    const { native, world, relayAt, recordAt } = this.#hub;
    const { u8 } = world;
    const isV4 = this.#family === AF_INET;
    const isLoopback = this.#link === LOOPBACK_INDEX;
    const info = this.#info;
    for (let i = 0; i < BATCH; i++) {
      const n = native.kernelRecv(this.#fd, relayAt, ROOM, recordAt, 28);
      if (n < 0) {
        if (n !== -E.EAGAIN) this.#owner.relayFailed(-n);
        return;
      }
      info.isV4 = isV4;
      info.link = this.#link;
      info.remotePort = get16(u8, recordAt + 2);
      if (isV4) {
        info.r0 = info.r1 = info.l0 = info.l1 = 0;
        info.r2 = info.l2 = 0xffff;
        info.r3 = get32(u8, recordAt + 4);
        info.l3 = isLoopback ? 0x7f000001 : 0;
      } else {
        info.r0 = get32(u8, recordAt + 8);
        info.r1 = get32(u8, recordAt + 12);
        info.r2 = get32(u8, recordAt + 16);
        info.r3 = get32(u8, recordAt + 20);
        info.l0 = info.l1 = info.l2 = 0;
        info.l3 = isLoopback ? 1 : 0;
      }
      info.ttl = 64;
      this.#owner.relayed(info, relayAt, n);
    }
  }

  override onReady(): void {}

  close(): void {
    this.#hub.poller.remove(this, this.#fd);
    this.#hub.native.close(this.#fd);
  }
}
