/**
 * A UDP socket of the host kernel on a loopback address, kept for an app's socket of our stack: 127.0.0.0/8 and ::1 belong
 * to the host, but a socket that is bound to no address may speak with both sides. Not for bulk: sockets that bind or
 * connect to a loopback address become kernel sockets altogether (MLS_LANE_DIRECT).
 */
import { get16, get32 } from '../lib/bytes.ts';
import { Epoll, SOCK_DGRAM } from '../native/index.ts';
import { DatagramInfo } from '../stack/port.ts';
import type { Hub } from './hub.ts';
import { Pollable } from './poller.ts';
import { AF_INET, E } from './proto.ts';
import { type SockAddr, writeSockAddr } from './sockaddr.ts';

const BATCH = 64;
const ROOM = 65536;
/** Index of the loopback interface. */
const LOOPBACK_INDEX = 1;

export interface RelayOwner {
  /** A datagram from the host's loopback. */
  relayed(info: DatagramInfo, at: number, length: number): void;
}

export class KernelRelay extends Pollable {
  readonly #hub: Hub;
  readonly #owner: RelayOwner;
  readonly #fd: number;
  readonly #family: number;
  readonly #info = new DatagramInfo();

  private constructor(hub: Hub, owner: RelayOwner, fd: number, family: number) {
    super();
    this.#hub = hub;
    this.#owner = owner;
    this.#fd = fd;
    this.#family = family;
    hub.poller.add(this, fd, Epoll.In);
  }

  /** Undefined when the port is taken there, or the family is missing. */
  static open(hub: Hub, owner: RelayOwner, family: number, port: number): KernelRelay | undefined {
    const fd = hub.native.kernelSocket(family, SOCK_DGRAM);
    if (fd < 0) return undefined;
    const last = family === AF_INET ? 0x7f000001 : 1;
    const length = writeSockAddr(hub.world.u8, hub.recordAt, family, 0, 0, 0, last, port, 0);
    if (hub.native.kernelBind(fd, hub.recordAt, length) < 0) {
      hub.native.close(fd);
      hub.counters.kernelDoorsRefused++;
      return undefined;
    }
    return new KernelRelay(hub, owner, fd, family);
  }

  /** @returns 0 or an errno (positive) */
  send(to: SockAddr, at: number, length: number, gsoSize: number): number {
    const { native, world, recordAt } = this.#hub;
    const isV4 = this.#family === AF_INET;
    const last = to.isWildcard ? (isV4 ? 0x7f000001 : 1) : to.a3;
    const n = writeSockAddr(world.u8, recordAt, this.#family, 0, 0, 0, last, to.port, 0);
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
    const info = this.#info;
    for (let i = 0; i < BATCH; i++) {
      const n = native.kernelRecv(this.#fd, relayAt, ROOM, recordAt, 28);
      if (n < 0) return;
      info.isV4 = isV4;
      info.link = LOOPBACK_INDEX;
      info.remotePort = get16(u8, recordAt + 2);
      if (isV4) {
        info.r0 = info.r1 = info.l0 = info.l1 = 0;
        info.r2 = info.l2 = 0xffff;
        info.r3 = get32(u8, recordAt + 4);
        info.l3 = 0x7f000001;
      } else {
        info.r0 = get32(u8, recordAt + 8);
        info.r1 = get32(u8, recordAt + 12);
        info.r2 = get32(u8, recordAt + 16);
        info.r3 = get32(u8, recordAt + 20);
        info.l0 = info.l1 = info.l2 = 0;
        info.l3 = 1;
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
