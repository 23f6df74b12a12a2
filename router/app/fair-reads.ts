/**
 * What BGP streams have read, shared out fairly: in one turn of the event loop all of them together get a few
 * milliseconds, in small pieces and one after the other, so that a peer that tells a full table holds up neither the other
 * peers nor timers nor the control socket. (libuv alone would read up to 32 chunks of 64 KiB per socket and turn.)
 */
import type { Socket } from 'node:net';
import type { StreamHandler } from '../../bgp/ports.ts';
import { type Clock, systemClock } from '../lib/clock.ts';
import { Pace } from '../lib/pace.ts';
import { turns } from './turns.ts';

/** Octets handed on at a time, at most: some hundred prefixes. What becomes of them at once is part of what they take. */
const PIECE = 8192;
/** What a pace counts. */
const UNIT = 32;
/** How long one turn goes on handing on, and for how long at least, whatever else there is to do. */
const READ_MS = 3;
const LEAST_MS = 1;

interface Waiting {
  readonly octets: Uint8Array;
  at: number;
  readonly handler: StreamHandler;
  /** All has been handed on. */
  readonly done: () => void;
}

export class FairReads {
  readonly #clock: Clock;
  readonly #immediate: (turn: () => void) => void;
  readonly #until: () => number;
  readonly #queue: Waiting[] = [];
  readonly #pace = new Pace(PIECE / UNIT);
  #turnEnds = 0;
  #isScheduled = false;

  /** @param until when a turn that begins now has to end */
  constructor(clock: Clock, immediate: (turn: () => void) => void, until: () => number) {
    this.#clock = clock;
    this.#immediate = immediate;
    this.#until = until;
  }

  /** Hand octets on now or in a later turn; `done` is called after the last of them, maybe before this returns. */
  offer(octets: Uint8Array, handler: StreamHandler, done: () => void): void {
    this.#queue.push({ octets, at: 0, handler, done });
    if (!this.#isScheduled) this.#begin();
    this.#work();
  }

  #begin(): void {
    turns.begin();
    this.#turnEnds = this.#until();
    this.#isScheduled = true;
    this.#immediate(() => {
      this.#isScheduled = false;
      if (this.#queue.length === 0) return;
      this.#begin();
      this.#work();
    });
  }

  #work(): void {
    while (this.#queue.length > 0 && this.#clock.now() < this.#turnEnds) {
      const w = this.#queue.shift()!;
      const began = this.#clock.now();
      const piece = w.octets.subarray(w.at, w.at + this.#pace.count * UNIT);
      w.at += piece.length;
      w.handler.data(piece);
      this.#pace.took(this.#clock.now() - began);
      if (w.at < w.octets.length) this.#queue.push(w);
      else w.done();
    }
  }
}

/** Each thread loads this module for itself and has one event loop. */
const reads = new FairReads(systemClock, setImmediate, () => turns.until(READ_MS, LEAST_MS));

/** Connect a socket with its handler. */
export function attach(socket: Socket, handler: StreamHandler): void {
  let reason = 'closed by the peer';
  let isReading = false;
  let isClosed = false;
  const closed = (): void => {
    turns.begin();
    handler.closed(reason);
  };
  socket.on('error', (e: NodeJS.ErrnoException) => {
    reason = e.code === 'ECONNRESET' || e.code === 'EPIPE' ? 'connection reset' : (e.code ?? e.message);
  });
  socket.on('data', (octets) => {
    isReading = true;
    socket.pause();
    reads.offer(octets, handler, () => {
      isReading = false;
      if (isClosed) closed();
      else socket.resume();
    });
  });
  socket.on('drain', () => {
    turns.begin();
    handler.drained();
  });
  // The last words of a peer come before its end.
  socket.on('close', () => {
    isClosed = true;
    if (!isReading) closed();
  });
}
