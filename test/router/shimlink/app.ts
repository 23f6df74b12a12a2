/** An app of a test: speaks the shim's protocol with a data plane, from the test's own process. */

import { Addr } from '../../../router/lib/addr.ts';
import type { World } from '../../../router/lib/world.ts';
import { Epoll, type Native, SOCK_SEQPACKET } from '../../../router/native/index.ts';
import { AF_INET, AF_INET6, MLS_MAGIC, putHost16, Rep, Req } from '../../../router/shimlink/proto.ts';
import { readSockAddr, SockAddr, writeSockAddr } from '../../../router/shimlink/sockaddr.ts';
import type { DataplaneUnderTest } from '../../kit/dataplane.ts';

export interface Answer {
  readonly result: number;
  readonly payload: Uint8Array;
  readonly addr: SockAddr;
  readonly args: readonly number[];
  /** Descriptor that came along, or -1. */
  readonly fd: number;
}

export interface Question {
  readonly op: number;
  readonly id?: number;
  readonly args?: readonly number[];
  readonly addr?: SockAddr;
  readonly payload?: Uint8Array;
  readonly fd?: number;
}

export function at(text: string, port: number): SockAddr {
  const a = Addr.parse(text)!;
  return new SockAddr().set(a.family === 4 ? AF_INET : AF_INET6, a.a0, a.a1, a.a2, a.a3, port, 0);
}

export class TestApp {
  readonly native: Native;
  readonly #world: World;
  readonly #socket: string;
  readonly #session: number;
  readonly #at: number;
  readonly #fdsAt: number;
  readonly #eventsAt: number;
  readonly #open = new Set<number>();

  constructor(d: DataplaneUnderTest) {
    this.native = d.native;
    this.#world = d.world;
    this.#socket = d.socket;
    this.#session = d.session;
    this.#at = d.world.alloc(65536);
    this.#fdsAt = d.world.alloc(64);
    this.#eventsAt = d.world.alloc(8 + 8 * 16);
  }

  /** Wait until `fd` has one of `events` (for at most five seconds) and return them. */
  wait(fd: number, events: number): number {
    const epfd = this.native.epollCreate();
    this.native.epollAdd(epfd, fd, events, 0);
    const n = this.native.poll(epfd, 5000, this.#eventsAt, 1);
    this.native.close(epfd);
    return n === 1 ? this.#world.i32[(this.#eventsAt >> 2) + 3]! : 0;
  }

  /** Events of `fd` now. */
  events(fd: number): number {
    const epfd = this.native.epollCreate();
    this.native.epollAdd(epfd, fd, Epoll.In | Epoll.Out | Epoll.RdHup, 0);
    const n = this.native.poll(epfd, 0, this.#eventsAt, 1);
    this.native.close(epfd);
    return n === 1 ? this.#world.i32[(this.#eventsAt >> 2) + 3]! : 0;
  }

  /** Send a request; its answer is taken by `answer`. */
  ask(q: Question): number {
    const { u8, i32 } = this.#world;
    const w = this.#at >> 2;
    u8.fill(0, this.#at, this.#at + Req.Size);
    i32[w] = MLS_MAGIC;
    putHost16(u8, this.#at + Req.Op, q.op);
    i32[w + (Req.Id >> 2)] = q.id ?? 0;
    i32[w + (Req.Session >> 2)] = this.#session;
    q.args?.forEach((a, i) => {
      i32[w + (Req.Arg >> 2) + i] = a;
    });
    if (q.addr !== undefined) {
      const a = q.addr;
      const n = writeSockAddr(u8, this.#at + Req.Addr, a.family, a.a0, a.a1, a.a2, a.a3, a.port, a.scope);
      putHost16(u8, this.#at + Req.AddrLen, n);
    }
    const payload = q.payload ?? new Uint8Array(0);
    u8.set(payload, this.#at + Req.Size);
    i32[w + (Req.PayloadLen >> 2)] = payload.length;
    return this.send(Req.Size + payload.length, q.fd);
  }

  /** Send the first `length` octets of the request area over a new connection. */
  send(length: number, fd?: number): number {
    const connection = this.native.unixConnect(this.#socket, SOCK_SEQPACKET);
    if (fd !== undefined) this.#world.i32[this.#fdsAt >> 2] = fd;
    this.native.sendMessage(connection, this.#at, length, this.#fdsAt, fd === undefined ? 0 : 1);
    return connection;
  }

  /** Wait for the answer on a request's connection; undefined when it was closed without one. */
  answer(connection: number): Answer | undefined {
    const { u8, i32 } = this.#world;
    this.wait(connection, Epoll.In);
    const n = this.native.recvMessage(connection, this.#at, 65536, this.#fdsAt, 4);
    this.native.close(connection);
    if (n < Rep.Size) return undefined;
    const w = this.#at >> 2;
    const addr = new SockAddr();
    const addrLength = i32[w + (Rep.AddrLen >> 2)]!;
    if (addrLength > 0) readSockAddr(u8, this.#at + Rep.Addr, addrLength, AF_INET6, addr);
    const fd = i32[this.#fdsAt >> 2]! > 0 ? i32[(this.#fdsAt >> 2) + 1]! : -1;
    if (fd >= 0) this.#open.add(fd);
    return {
      result: i32[w + (Rep.Result >> 2)]!,
      payload: u8.slice(this.#at + Rep.Size, this.#at + Rep.Size + i32[w + (Rep.PayloadLen >> 2)]!),
      addr,
      args: [...i32.slice(w + (Rep.Arg >> 2), w + (Rep.Arg >> 2) + 4)],
      fd,
    };
  }

  /** The name that the router gave the other end of `fd`. */
  abstractName(fd: number): string {
    const n = this.native.kernelName(fd, this.#at, 110, 1);
    return Buffer.from(this.#world.u8.slice(this.#at + 3, this.#at + n)).toString();
  }

  /** The socket id in that name. */
  idOf(fd: number): number {
    return Number.parseInt(this.abstractName(fd).slice(-8), 16);
  }

  do(q: Question): Answer {
    const a = this.answer(this.ask(q));
    if (a === undefined) throw new Error(`no answer to request ${q.op}`);
    return a;
  }

  write(fd: number, text: string, encoding: BufferEncoding = 'utf8'): number {
    const octets = Buffer.from(text, encoding);
    this.#world.u8.set(octets, this.#at);
    return this.native.send(fd, this.#at, octets.length);
  }

  /** Read what is there after waiting for it: text, '' at the end, or -errno. */
  read(fd: number): string | number {
    this.wait(fd, Epoll.In);
    const n = this.native.recvMessage(fd, this.#at, 65536, this.#fdsAt, 1);
    return n < 0 ? n : Buffer.from(this.#world.u8.slice(this.#at, this.#at + n)).toString('latin1');
  }

  /** Octets of a message with a descriptor (an accept record): the octets and the descriptor. */
  readWithFd(fd: number): { readonly octets: Uint8Array; readonly fd: number } {
    this.wait(fd, Epoll.In);
    const n = this.native.recvMessage(fd, this.#at, 64, this.#fdsAt, 1);
    const got = this.#world.i32[this.#fdsAt >> 2]! > 0 ? this.#world.i32[(this.#fdsAt >> 2) + 1]! : -1;
    if (got >= 0) this.#open.add(got);
    return { octets: this.#world.u8.slice(this.#at, this.#at + Math.max(n, 0)), fd: got };
  }

  close(fd: number): void {
    this.#open.delete(fd);
    this.native.close(fd);
  }

  /** Somebody else closes `fd`. */
  forget(fd: number): void {
    this.#open.delete(fd);
  }

  closeAll(): void {
    for (const fd of this.#open) this.native.close(fd);
    this.#open.clear();
  }
}
