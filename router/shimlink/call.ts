/**
 * One request of the shim and the reply being built for it. Request and reply areas are shared scratch in the World: a
 * call that is answered later keeps only its descriptor (`Call.later`) and fills a fresh reply area then.
 */
import type { World } from '../lib/world.ts';
import type { Native } from '../native/index.ts';
import {
  beginReply,
  getHost16,
  MLS_MAGIC,
  MLS_PAYLOAD_MAX,
  MlsOp,
  type NameKind,
  Rep,
  Req,
  writeName,
} from './proto.ts';
import { readSockAddr, type SockAddr, writeSockAddr } from './sockaddr.ts';

export const MAX_CALL_FDS = 4;

/** Scratch areas of all calls of a worker. */
export class CallArea {
  readonly requestAt: number;
  readonly replyAt: number;
  /** Number of descriptors, then the descriptors. */
  readonly fdsAt: number;
  readonly credAt: number;
  readonly nameAt: number;
  readonly pairAt: number;

  constructor(world: World) {
    this.requestAt = world.alloc(Req.Size + MLS_PAYLOAD_MAX);
    this.replyAt = world.alloc(Rep.Size + MLS_PAYLOAD_MAX);
    this.fdsAt = world.alloc(4 + 4 * MAX_CALL_FDS);
    this.credAt = world.alloc(12);
    this.nameAt = world.alloc(64);
    this.pairAt = world.alloc(8);
  }
}

/** Make a socket pair whose router end carries the identifying name. @returns 0 or -errno; the ends are in the area */
export function makeNamedPair(
  native: Native,
  world: World,
  area: CallArea,
  type: number,
  appIsNonBlocking: boolean,
  kind: NameKind,
  isV6: boolean,
  session: number,
  id: number,
): number {
  const length = writeName(world.u8, area.nameAt, kind, isV6, session, id);
  return native.makePair(type, appIsNonBlocking ? 1 : 0, area.nameAt, length, area.pairAt);
}

export class Call {
  readonly #native: Native;
  readonly #world: World;
  readonly #area: CallArea;
  /** The connection the request came by. */
  fd = -1;
  /** Process that asks. */
  pid = 0;
  op = 0;
  id = 0;
  session = 0;
  readonly args: number[] = [0, 0, 0, 0, 0, 0];
  payloadAt = 0;
  payloadLength = 0;
  addrLength = 0;
  /** Descriptors that came along and are not taken yet. */
  readonly fds: number[] = [];
  /** Answered later: `server` keeps `fd` open. */
  isDeferred = false;
  #replyFd = -1;

  constructor(native: Native, world: World, area: CallArea) {
    this.#native = native;
    this.#world = world;
    this.#area = area;
  }

  /** Look at the request of `length` octets in the request area. @returns false when it is malformed */
  parse(length: number): boolean {
    const { u8, i32 } = this.#world;
    const at = this.#area.requestAt;
    const w = at >> 2;
    const count = i32[this.#area.fdsAt >> 2]!;
    for (let i = 0; i < count; i++) this.fds.push(i32[(this.#area.fdsAt >> 2) + 1 + i]!);
    if (length < Req.Size || i32[w] !== MLS_MAGIC) return false;
    this.op = getHost16(u8, at + Req.Op);
    this.addrLength = Math.min(getHost16(u8, at + Req.AddrLen), 32);
    this.id = i32[w + (Req.Id >> 2)]!;
    this.session = i32[w + (Req.Session >> 2)]!;
    for (let i = 0; i < 6; i++) this.args[i] = i32[w + (Req.Arg >> 2) + i]!;
    this.payloadAt = at + Req.Size;
    this.payloadLength = i32[w + (Req.PayloadLen >> 2)]!;
    return this.payloadLength >= 0 && Req.Size + this.payloadLength <= length && this.op >= MlsOp.Socket;
  }

  /** The request's address for a socket of family `own`. @returns 0 or an errno */
  readAddr(own: number, out: SockAddr): number {
    return readSockAddr(this.#world.u8, this.#area.requestAt + Req.Addr, this.addrLength, own, out);
  }

  /** Take the descriptor that came with the request, or -1. */
  takeFd(): number {
    return this.fds.shift() ?? -1;
  }

  begin(): void {
    beginReply(this.#world, this.#area.replyAt);
    this.#replyFd = -1;
  }

  /** World offset of the reply's payload, and the room there. */
  get outAt(): number {
    return this.#area.replyAt + Rep.Size;
  }

  get outRoom(): number {
    return MLS_PAYLOAD_MAX;
  }

  set outLength(n: number) {
    this.#world.i32[(this.#area.replyAt + Rep.PayloadLen) >> 2] = n;
  }

  get outLength(): number {
    return this.#world.i32[(this.#area.replyAt + Rep.PayloadLen) >> 2]!;
  }

  setArg(i: number, value: number): void {
    this.#world.i32[((this.#area.replyAt + Rep.Arg) >> 2) + i] = value;
  }

  /** Answer with an address in the sockaddr form of `family`. */
  setAddr(family: number, a: SockAddr): void {
    const at = this.#area.replyAt + Rep.Addr;
    const n = writeSockAddr(this.#world.u8, at, family, a.a0, a.a1, a.a2, a.a3, a.port, a.scope);
    this.#world.i32[(this.#area.replyAt + Rep.AddrLen) >> 2] = n;
  }

  /** Pass a descriptor with the reply; it is closed here afterwards. */
  passFd(fd: number): void {
    this.#replyFd = fd;
  }

  /** Send the reply. @returns false when the asker is gone (a passed descriptor is closed either way) */
  send(result: number): boolean {
    const { i32 } = this.#world;
    const { replyAt, fdsAt } = this.#area;
    i32[(replyAt + Rep.Result) >> 2] = result;
    let count = 0;
    if (this.#replyFd >= 0) i32[(fdsAt >> 2) + count++] = this.#replyFd;
    const sent = this.#native.sendMessage(this.fd, replyAt, Rep.Size + this.outLength, fdsAt, count);
    if (this.#replyFd >= 0) this.#native.close(this.#replyFd);
    this.#replyFd = -1;
    return sent >= 0;
  }

  /** Close what came along and nobody took, and the connection itself. */
  end(): void {
    for (const fd of this.fds) this.#native.close(fd);
    this.fds.length = 0;
    this.#native.close(this.fd);
    this.fd = -1;
  }
}
