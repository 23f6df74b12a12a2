/**
 * Echo requests of the control plane through an uplink: one each, answered with the round-trip time. Runs in the data-plane
 * worker; whoever asks has a timeout of its own.
 */
import { get16, put16 } from '../lib/bytes.ts';
import type { Tick } from '../lib/clock.ts';
import type { World } from '../lib/world.ts';
import type { PingEndpoint } from '../stack/ping.ts';
import { type DatagramInfo, type DatagramOwner, DatagramSpec } from '../stack/port.ts';
import type { Stack } from '../stack/stack.ts';
import { Icmp4, Icmp6 } from '../wire/icmp.ts';

/** ICMP header and as many octets as `ping` sends. */
const ECHO_LEN = 8 + 56;
/** Requests that wait for an answer; the oldest is given up first. */
const MAX_WAITING = 256;
const DEFAULT_VRF = 0;

interface Waiting {
  readonly sentUs: number;
  readonly done: (rttUs: number | undefined, errno: number) => void;
}

/** Where to, in words as the stack has them. */
export interface PingTarget {
  readonly isV4: boolean;
  readonly link: number;
  readonly words: readonly [number, number, number, number];
}

export class Pings implements DatagramOwner<PingEndpoint> {
  readonly #stack: Stack;
  readonly #world: World;
  readonly #tick: Tick;
  readonly #at: number;
  readonly #spec = new DatagramSpec();
  readonly #waiting = new Map<number, Waiting>();
  #endpoints: { readonly v4: PingEndpoint; readonly v6: PingEndpoint } | undefined;
  #sequence = 0;

  constructor(stack: Stack, world: World, tick: Tick) {
    this.#stack = stack;
    this.#world = world;
    this.#tick = tick;
    this.#at = world.alloc(ECHO_LEN);
  }

  /** @param done called once: with the time, with an errno, or not at all when nobody answers */
  send(target: PingTarget, done: Waiting['done']): void {
    const { u8 } = this.#world;
    const { isV4, link, words } = target;
    this.#endpoints ??= {
      v4: this.#stack.ping.open(DEFAULT_VRF, true, this),
      v6: this.#stack.ping.open(DEFAULT_VRF, false, this),
    };
    const sequence = (this.#sequence = (this.#sequence + 1) & 0xffff);
    u8.fill(0, this.#at, this.#at + ECHO_LEN);
    u8[this.#at] = isV4 ? Icmp4.Echo : Icmp6.Echo;
    put16(u8, this.#at + 6, sequence);
    const spec = this.#spec.reset();
    spec.hasRemote = true;
    [spec.r0, spec.r1, spec.r2, spec.r3] = words;
    spec.link = link;
    spec.scope = link;
    const errno = this.#endpoints[isV4 ? 'v4' : 'v6'].send(spec, this.#at, ECHO_LEN);
    if (errno !== 0) {
      done(undefined, errno);
      return;
    }
    this.#waiting.delete(sequence);
    this.#waiting.set(sequence, { sentUs: this.#tick.us, done });
    if (this.#waiting.size <= MAX_WAITING) return;
    for (const oldest of this.#waiting.keys()) {
      this.#waiting.delete(oldest);
      break;
    }
  }

  deliver(_endpoint: PingEndpoint, _info: DatagramInfo, at: number, length: number): void {
    if (length < ECHO_LEN) return;
    const sequence = get16(this.#world.u8, at + 6);
    const waiting = this.#waiting.get(sequence);
    this.#waiting.delete(sequence);
    waiting?.done((this.#tick.us - waiting.sentUs) | 0, 0);
  }

  /** An ICMP error does not say for which request: all of them run out in time. */
  error(): void {}
}
