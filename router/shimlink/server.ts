/**
 * The router's door for shims: takes connections of the request socket, checks whose they are, reads one request from
 * each, has it answered and closes. What requests mean is `requests.ts`.
 */
import type { World } from '../lib/world.ts';
import { Epoll, type Native } from '../native/index.ts';
import { Call, type CallArea, MAX_CALL_FDS } from './call.ts';
import { Pollable, type Poller } from './poller.ts';
import { E, MLS_PAYLOAD_MAX, Req } from './proto.ts';

/** Answers requests. */
export interface RequestHandler {
  /** Fill the reply of `call` and return its result (>= 0 or -errno), or mark it deferred and keep it. */
  answer(call: Call): number;
}

export interface ServerCounters {
  requests: number;
  refused: number;
  malformed: number;
}

export class Server extends Pollable {
  readonly counters: ServerCounters = { requests: 0, refused: 0, malformed: 0 };
  readonly area: CallArea;
  readonly #native: Native;
  readonly #world: World;
  readonly #poller: Poller;
  readonly #fd: number;
  readonly #uid: number;
  readonly #handler: RequestHandler;

  /** @param uid the only user whose requests are answered */
  constructor(
    native: Native,
    world: World,
    area: CallArea,
    poller: Poller,
    fd: number,
    uid: number,
    handler: RequestHandler,
  ) {
    super();
    this.#native = native;
    this.#world = world;
    this.area = area;
    this.#poller = poller;
    this.#fd = fd;
    this.#uid = uid;
    this.#handler = handler;
    poller.add(this, fd, Epoll.In);
  }

  override onEvents(): void {
    this.#poller.ready(this);
  }

  /**
   * Take one connection: it was there when events were last collected, and all those have been dispatched. A request may
   * so never overtake what its program did before, as the close of the listener it then connects to.
   */
  override onReady(): void {
    const native = this.#native;
    const fd = native.accept(this.#fd, 0);
    if (fd < 0) return; // EAGAIN; or EMFILE, and the level-triggered event comes again
    native.peerCred(fd, this.area.credAt);
    const w = this.area.credAt >> 2;
    if (this.#world.i32[w + 1] !== this.#uid) {
      this.counters.refused++;
      native.close(fd);
      return;
    }
    const pid = this.#world.i32[w]!;
    if (!this.#serve(fd, pid)) new Waiting(this, this.#poller, fd, pid);
  }

  /** Read and answer the request of `fd`. @returns false when it has not arrived yet */
  #serve(fd: number, pid: number): boolean {
    const area = this.area;
    const n = this.#native.recvMessage(fd, area.requestAt, Req.Size + MLS_PAYLOAD_MAX, area.fdsAt, MAX_CALL_FDS);
    if (n === -E.EAGAIN) return false;
    const call = new Call(this.#native, this.#world, area);
    call.fd = fd;
    call.pid = pid;
    if (n <= 0 || !call.parse(n)) {
      if (n > 0) this.counters.malformed++;
      call.end();
      return true;
    }
    this.counters.requests++;
    call.begin();
    const result = this.#handler.answer(call);
    if (call.isDeferred) return true;
    call.send(result);
    call.end();
    return true;
  }

  /** A request that was late has arrived, or its asker is gone. */
  arrived(waiting: Waiting, fd: number, pid: number): void {
    this.#poller.remove(waiting, fd);
    if (!this.#serve(fd, pid)) this.#native.close(fd);
  }

  /** Take no more requests. */
  stop(): void {
    this.#poller.remove(this, this.#fd);
  }
}

/** A connection whose request is still to come. */
class Waiting extends Pollable {
  readonly #server: Server;
  readonly #fd: number;
  readonly #pid: number;

  constructor(server: Server, poller: Poller, fd: number, pid: number) {
    super();
    this.#server = server;
    this.#fd = fd;
    this.#pid = pid;
    poller.add(this, fd, Epoll.In);
  }

  override onEvents(): void {
    this.#server.arrived(this, this.#fd, this.#pid);
  }

  override onReady(): void {}
}
