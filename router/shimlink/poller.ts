/**
 * Who is waiting for what: one epoll set whose int32 tags index a table of `Pollable`s, and the list of those that have
 * work left without waiting for an event. Does no I/O of its own beyond epoll.
 */
import type { World } from '../lib/world.ts';
import { MAX_POLL_EVENTS, type Native } from '../native/index.ts';

/** Something with a descriptor in the epoll set. */
export abstract class Pollable {
  /** Index in the poller's table, -1 when not registered. */
  tag = -1;
  /** On the ready list. */
  isReady = false;
  /** Epoll bits that arrived. */
  abstract onEvents(events: number): void;
  /** Go on with work that was left (`Poller.ready`). */
  abstract onReady(): void;
}

export class Poller {
  readonly epfd: number;
  readonly #native: Native;
  readonly #world: World;
  readonly #eventsAt: number;
  readonly #table: (Pollable | undefined)[] = [];
  readonly #free: number[] = [];
  /** Tags given back during this turn: events of this turn may still carry them. */
  readonly #released: number[] = [];
  #ready: Pollable[] = [];
  #running: Pollable[] = [];

  /** @throws RangeError when the kernel refuses an epoll set */
  constructor(native: Native, world: World) {
    this.#native = native;
    this.#world = world;
    this.#eventsAt = world.alloc(8 + 8 * MAX_POLL_EVENTS);
    this.epfd = native.epollCreate();
    if (this.epfd < 0) throw new RangeError(`epoll_create1: errno ${-this.epfd}`);
  }

  /** @returns 0 or -errno */
  add(p: Pollable, fd: number, events: number): number {
    const tag = this.#free.pop() ?? this.#table.length;
    const failed = this.#native.epollAdd(this.epfd, fd, events, tag);
    if (failed < 0) {
      this.#free.push(tag);
      this.#table[tag] = undefined;
      return failed;
    }
    this.#table[tag] = p;
    p.tag = tag;
    return 0;
  }

  modify(p: Pollable, fd: number, events: number): number {
    return this.#native.epollMod(this.epfd, fd, events, p.tag);
  }

  /** Forget `p`; its descriptor may then be closed. */
  remove(p: Pollable, fd: number): void {
    if (p.tag < 0) return;
    this.#native.epollDel(this.epfd, fd);
    this.#table[p.tag] = undefined;
    this.#released.push(p.tag);
    p.tag = -1;
  }

  /** Call `p.onReady` once in the next `runReady`. */
  ready(p: Pollable): void {
    if (p.isReady) return;
    p.isReady = true;
    this.#ready.push(p);
  }

  get hasReady(): boolean {
    return this.#ready.length > 0;
  }

  /** Look for events for `spinUs`, or until a word of the list at `watchAt` changes (`Native.poll`). @returns events seen */
  spin(spinUs: number, watchAt: number): number {
    const n = this.#native.poll(this.epfd, 0, this.#eventsAt, MAX_POLL_EVENTS, spinUs, watchAt);
    return Math.max(n, 0);
  }

  /** Wait at most `timeoutMs` and dispatch what happened. The clock is then at `clockUs` and `clockMs`. @returns events seen */
  poll(timeoutMs: number): number {
    const n = this.#native.poll(this.epfd, timeoutMs, this.#eventsAt, MAX_POLL_EVENTS);
    return Math.max(n, 0);
  }

  /** Deliver the `n` events of the last `poll`. */
  dispatch(n: number): void {
    const words = this.#world.i32;
    let at = (this.#eventsAt >> 2) + 2;
    for (let i = 0; i < n; i++, at += 2) this.#table[words[at]!]?.onEvents(words[at + 1]!);
    while (this.#released.length > 0) this.#free.push(this.#released.pop()!);
  }

  get clockUs(): number {
    return this.#world.i32[this.#eventsAt >> 2]!;
  }

  get clockMs(): number {
    return this.#world.i32[(this.#eventsAt >> 2) + 1]!;
  }

  /** Let everyone on the ready list go on; those who ask again meanwhile wait for the next call. */
  runReady(): void {
    const list = this.#ready;
    if (list.length === 0) return;
    this.#ready = this.#running;
    this.#running = list;
    for (let i = 0; i < list.length; i++) {
      const p = list[i]!;
      p.isReady = false;
      p.onReady();
    }
    list.length = 0;
  }

  close(): void {
    this.#native.close(this.epfd);
  }
}
