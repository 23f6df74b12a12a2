/**
 * Echo requests of the control plane through an uplink: one each, answered with the round-trip time. Runs in the data-plane
 * worker; whoever asks has a timeout of its own.
 */
import { type Addr, V4_MAPPED_WORD } from '../lib/addr.ts';
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

export interface PingTarget {
  readonly to: Addr;
  /** Index of the uplink. */
  readonly link: number;
}

export class Pings implements DatagramOwner<PingEndpoint> {
  readonly #stack: Stack;
  readonly #world: World;
  readonly #tick: Tick;
  readonly #at: number;
  readonly #spec = new DatagramSpec();
  readonly #waiting = new Map<number, Waiting>();
  /** By VRF and family. */
  readonly #endpoints = new Map<string, PingEndpoint>();
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
    const { to, link } = target;
    const isV4 = to.family === 4;
    const sequence = (this.#sequence = (this.#sequence + 1) & 0xffff);
    u8.fill(0, this.#at, this.#at + ECHO_LEN);
    u8[this.#at] = isV4 ? Icmp4.Echo : Icmp6.Echo;
    put16(u8, this.#at + 6, sequence);
    const spec = this.#spec.reset();
    spec.hasRemote = true;
    spec.r0 = isV4 ? 0 : to.a0;
    spec.r1 = isV4 ? 0 : to.a1;
    spec.r2 = isV4 ? V4_MAPPED_WORD : to.a2;
    spec.r3 = to.a3;
    spec.link = link;
    spec.scope = link;
    const vrf = this.#stack.links.byIndex(link)?.vrf ?? DEFAULT_VRF;
    const errno = this.#endpoint(vrf, isV4).send(spec, this.#at, ECHO_LEN);
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

  #endpoint(vrf: number, isV4: boolean): PingEndpoint {
    const key = `${vrf} ${isV4}`;
    const known = this.#endpoints.get(key) ?? this.#stack.ping.open(vrf, isV4, this);
    this.#endpoints.set(key, known);
    return known;
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
