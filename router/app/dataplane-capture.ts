/**
 * Packets of links copied for `mlshim capture`: a tap stands between the stack and a link only while somebody listens.
 * Super-segments are shown as they are handed over; transport checksums that the child computes are not filled in.
 */

import { wallClockMs } from '../lib/clock.ts';
import type { PacketLink, PacketSink } from '../lib/link.ts';
import type { Stack } from '../stack/stack.ts';

export interface CapturedPacket {
  readonly link: number;
  readonly timeUs: number;
  readonly out: boolean;
  readonly length: number;
  readonly bytes: Uint8Array;
}

/** Packets of one turn kept at most; more are left out, the capture must not hold up the traffic. */
const MAX_PER_TURN = 4096;

/** A link that shows what is committed to it. */
class TapLink implements PacketLink {
  readonly real: PacketLink;
  readonly #see: (link: number, isOut: boolean, at: number, length: number) => void;
  #reserved = -1;

  constructor(real: PacketLink, see: (link: number, isOut: boolean, at: number, length: number) => void) {
    this.real = real;
    this.#see = see;
  }

  get index(): number {
    return this.real.index;
  }

  get name(): string {
    return this.real.name;
  }

  get vrf(): number {
    return this.real.vrf;
  }

  get mtu(): number {
    return this.real.mtu;
  }

  set mtu(octets: number) {
    this.real.mtu = octets;
  }

  get isUp(): boolean {
    return this.real.isUp;
  }

  set isUp(up: boolean) {
    this.real.isUp = up;
  }

  get backlog(): number {
    return this.real.backlog;
  }

  get highWater(): number {
    return this.real.highWater;
  }

  reserve(length: number): number {
    this.#reserved = this.real.reserve(length);
    return this.#reserved;
  }

  commit(
    length: number,
    flags: number,
    gsoType: number,
    hdrLen: number,
    gsoSize: number,
    csumStart: number,
    csumOffset: number,
  ): void {
    if (this.#reserved >= 0) this.#see(this.index, true, this.#reserved, length);
    this.real.commit(length, flags, gsoType, hdrLen, gsoSize, csumStart, csumOffset);
  }

  flush(): void {
    this.real.flush();
  }

  wantDrain(): void {
    this.real.wantDrain();
  }
}

interface Listener {
  readonly link: number | undefined;
  readonly snapLength: number;
  packets: CapturedPacket[];
}

export class Capture implements PacketSink {
  readonly #stack: Stack;
  readonly #u8: Uint8Array;
  readonly #listeners = new Map<number, Listener>();

  constructor(stack: Stack, u8: Uint8Array) {
    this.#stack = stack;
    this.#u8 = u8;
  }

  get isActive(): boolean {
    return this.#listeners.size > 0;
  }

  start(id: number, link: number | undefined, snapLength: number): void {
    this.#listeners.set(id, { link, snapLength, packets: [] });
    this.refresh();
  }

  stop(id: number): void {
    this.#listeners.delete(id);
    this.refresh();
  }

  /** Put taps where somebody listens and take them away elsewhere. */
  refresh(): void {
    for (const l of this.#stack.links.all()) {
      const isTapped = l.link instanceof TapLink;
      const isWanted = [...this.#listeners.values()].some((w) => w.link === undefined || w.link === l.index);
      if (isTapped === isWanted) continue;
      const link = isTapped ? (l.link as TapLink).real : new TapLink(l.link, this.#see);
      this.#stack.addLink(link, l.addresses, l);
    }
  }

  readonly #see = (link: number, isOut: boolean, at: number, length: number): void => {
    for (const w of this.#listeners.values()) {
      if ((w.link !== undefined && w.link !== link) || w.packets.length >= MAX_PER_TURN) continue;
      const bytes = this.#u8.slice(at, at + Math.min(length, w.snapLength));
      w.packets.push({ link, timeUs: wallClockMs() * 1000, out: isOut, length, bytes });
    }
  };

  /** What came in, on its way to the stack. */
  onPacket(
    link: PacketLink,
    at: number,
    length: number,
    flags: number,
    gsoType: number,
    hdrLen: number,
    gsoSize: number,
  ): void {
    this.#see(link.index, false, at, length);
    this.#stack.onPacket(link, at, length, flags, gsoType, hdrLen, gsoSize);
  }

  /** Hand over what this turn has seen. */
  flush(post: (id: number, packets: CapturedPacket[]) => void): void {
    for (const [id, w] of this.#listeners) {
      if (w.packets.length === 0) continue;
      post(id, w.packets);
      w.packets = [];
    }
  }
}
