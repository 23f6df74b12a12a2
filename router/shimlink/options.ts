/**
 * The option values of one socket: set with Linux's size checks, transformations and errnos, answered with its defaults.
 * Nothing takes effect here: the socket classes look at the few options the stack supports and answer the live ones.
 */
import { On, OPTIONS, type OptionSpec, optionKey, SOL_SOCKET } from './option-table.ts';
import { AF_INET, E, getHost32, IPPROTO_IP, IPPROTO_IPV6, IPPROTO_TCP, Opt, putHost32 } from './proto.ts';

/** wmem_max and rmem_max of a stock kernel: larger requests are cut to it, then doubled (socket(7)). */
const BUFFER_MAX = 212992;
const RCVLOWAT = optionKey(SOL_SOCKET, 18);
const MAX_SEG = optionKey(IPPROTO_TCP, 2);
const CONGESTION = optionKey(IPPROTO_TCP, 13);
const IP_TTL = optionKey(IPPROTO_IP, 2);
const TRAFFIC_CLASS = optionKey(IPPROTO_IPV6, 67);
/** What `TCP_CONGESTION` accepts; the stack runs CUBIC whatever is chosen. */
const CONGESTION_NAMES = ['cubic', 'reno'];

export class OptionStore {
  readonly #family: number;
  readonly #isStream: boolean;
  #values: Map<number, number | Uint8Array> | undefined;

  constructor(family: number, isStream: boolean) {
    this.#family = family;
    this.#isStream = isStream;
  }

  /** The same values, for a connection accepted by a listener (Linux inherits them). */
  clone(): OptionStore {
    const o = new OptionStore(this.#family, this.#isStream);
    if (this.#values !== undefined) o.#values = new Map(this.#values);
    return o;
  }

  /** The option's description, or an errno when this socket does not have it. */
  #spec(level: number, name: number): OptionSpec | number {
    // Keys hold 15 bits of level and 16 of name; larger numbers name nothing.
    const spec = level >>> 15 !== 0 || name >>> 16 !== 0 ? undefined : OPTIONS.get(optionKey(level, name));
    if (spec === undefined) return E.ENOPROTOOPT;
    if (level === IPPROTO_IPV6 && this.#family === AF_INET) return E.ENOPROTOOPT;
    if (spec.on === On.Stream && !this.#isStream) return E.ENOPROTOOPT;
    if (spec.on === On.Datagram && this.#isStream) {
      if (level === IPPROTO_IP) return spec.kind === 'bytes' && spec.min >= 8 ? E.EPROTO : E.EINVAL;
      return E.ENOPROTOOPT;
    }
    return spec;
  }

  /** @returns 0 or an errno (positive) */
  set(level: number, name: number, u8: Uint8Array, at: number, length: number): number {
    const spec = this.#spec(level, name);
    if (typeof spec === 'number') return spec;
    const key = optionKey(level, name);
    switch (spec.kind) {
      case 'live':
        return E.ENOPROTOOPT;
      case 'bytes':
        if (length < spec.min) return E.EINVAL;
        return this.#store(key, u8.slice(at, at + Math.min(length, spec.max)));
      case 'text':
        return this.#setText(key, u8, at, length, spec.max);
      case 'linger':
        return length < 8 ? E.EINVAL : this.#store(key, u8.slice(at, at + 8));
      case 'timeval': {
        if (length < 16) return E.EINVAL;
        const us = getHost32(u8, at + 8);
        return us < 0 || us >= 1000000 ? E.EDOM : this.#store(key, u8.slice(at, at + 16));
      }
      default:
        return this.#setInt(key, level, spec, u8, at, length);
    }
  }

  #setText(key: number, u8: Uint8Array, at: number, length: number, max: number): number {
    let n = 0;
    while (n < length && n < max && u8[at + n] !== 0) n++;
    const text = u8.slice(at, at + n);
    if (key === CONGESTION) {
      if (length < 1) return E.EINVAL;
      if (!CONGESTION_NAMES.includes(String.fromCharCode(...text))) return E.ENOENT;
    }
    return this.#store(key, text);
  }

  #setInt(key: number, level: number, spec: OptionSpec, u8: Uint8Array, at: number, length: number): number {
    let v = 0;
    if (length >= 4) v = getHost32(u8, at);
    else if (level === IPPROTO_IP && length >= 1)
      v = u8[at]!; // ip(7): these take a char as well
    else return E.EINVAL;
    switch (spec.kind) {
      case 'flag':
        return this.#store(key, v !== 0 ? 1 : 0);
      case 'buffer':
        return this.#store(key, Math.max(spec.min, 2 * Math.min(v < 0 ? 0x7fffffff : v, BUFFER_MAX)));
      case 'tos':
        // The ECN bits of a stream belong to TCP.
        return this.#store(key, v & (this.#isStream ? 0xfc : 0xff));
      case 'defer-accept':
        return this.#store(key, deferAcceptSeconds(v));
      default:
    }
    if (v < spec.min || v > spec.max) return spec.fault;
    if (key === IP_TTL) {
      if (v === 0) return E.EINVAL;
      if (v === -1) v = spec.initial;
    } else if (key === MAX_SEG) {
      if (v !== 0 && v < 88) return E.EINVAL;
    } else if (key === RCVLOWAT) v = v < 0 ? 0x7fffffff : v === 0 ? 1 : v;
    else if (key === TRAFFIC_CLASS) v = v < 0 ? 0 : this.#isStream ? v & 0xfc : v;
    else if (v === -1 && spec.min === -1) v = spec.initial;
    return this.#store(key, v);
  }

  #store(key: number, value: number | Uint8Array): number {
    this.#values ??= new Map();
    this.#values.set(key, value);
    return 0;
  }

  /**
   * Write the stored or default value to `at`, at most `room` octets.
   * @returns the length of the answer, or -errno; `live` options are answered by the socket before this is asked
   */
  get(level: number, name: number, u8: Uint8Array, at: number, room: number): number {
    const spec = this.#spec(level, name);
    if (typeof spec === 'number') return -spec;
    if (room < 0) return -E.EINVAL;
    const key = optionKey(level, name);
    const value = this.#values?.get(key);
    switch (spec.kind) {
      case 'bytes':
        if (value === undefined && spec.initial !== 0) return putInt(u8, at, room, spec.initial, false);
        return putBytes(u8, at, room, value, spec.min === spec.max ? spec.max : 0);
      case 'text':
        if (key === CONGESTION) {
          u8.fill(0, at, at + Math.min(room, 16));
          putBytes(u8, at, room, value ?? new TextEncoder().encode('cubic'), 0);
          return Math.min(room, 16);
        }
        return putBytes(u8, at, room, value, 0, value !== undefined && (value as Uint8Array).length > 0 ? 1 : 0);
      case 'linger':
        return putBytes(u8, at, room, value, 8);
      case 'timeval':
        return putBytes(u8, at, room, value, 16);
      default:
        return putInt(u8, at, room, (value as number | undefined) ?? spec.initial, level === IPPROTO_IP);
    }
  }

  /** Value of an integer option, its default when never set. */
  number(key: number): number {
    return (this.#values?.get(key) as number | undefined) ?? OPTIONS.get(key)?.initial ?? 0;
  }

  /** Octets of an option, undefined when never set. */
  bytes(key: number): Uint8Array | undefined {
    return this.#values?.get(key) as Uint8Array | undefined;
  }

  /** Set an integer option without checks, for the router's own sockets. */
  setNumber(key: number, value: number): void {
    this.#store(key, value);
  }

  isSet(key: number): boolean {
    return this.#values?.has(key) ?? false;
  }

  /** Write one struct mls_opt per option that was set, to be replayed onto a kernel socket. @returns octets written */
  replay(u8: Uint8Array, at: number, room: number): number {
    let n = 0;
    for (const [key, value] of this.#values ?? []) {
      if (n + Opt.Size > room) break;
      const spec = OPTIONS.get(key)!;
      const o = at + n;
      u8.fill(0, o, o + Opt.Size);
      putHost32(u8, o + Opt.Level, key >> 16);
      putHost32(u8, o + Opt.Name, key & 0xffff);
      if (typeof value === 'number') {
        putHost32(u8, o + Opt.Len, 4);
        // The kernel doubles what it is given.
        putHost32(u8, o + Opt.Value, spec.kind === 'buffer' ? value >> 1 : value);
      } else {
        if (value.length > Opt.ValueMax) continue;
        putHost32(u8, o + Opt.Len, value.length);
        u8.set(value, o + Opt.Value);
      }
      n += Opt.Size;
    }
    return n;
  }
}

/** Write an int32 answer into at most `room` octets. IP-level answers shrink to one octet when only that is asked for. */
export function putInt(u8: Uint8Array, at: number, room: number, value: number, isIpLevel: boolean): number {
  if (isIpLevel && room > 0 && room < 4 && value >= 0 && value <= 255) {
    u8[at] = value;
    return 1;
  }
  const n = Math.min(room, 4);
  for (let i = 0; i < n; i++) u8[at + i] = value >>> (8 * i);
  return n;
}

function putBytes(
  u8: Uint8Array,
  at: number,
  room: number,
  value: number | Uint8Array | undefined,
  size: number,
  terminator = 0,
): number {
  const octets = value instanceof Uint8Array ? value : undefined;
  const n = Math.min(room, octets === undefined ? size : octets.length + terminator);
  for (let i = 0; i < n; i++) u8[at + i] = octets?.[i] ?? 0;
  return n;
}

/** tcp(7) TCP_DEFER_ACCEPT: seconds become a number of SYN-ACK retransmissions, answered as the seconds those take. */
function deferAcceptSeconds(seconds: number): number {
  if (seconds <= 0) return 0;
  let total = 1;
  let timeout = 1;
  while (total < seconds && timeout < 120) {
    timeout = Math.min(timeout * 2, 120);
    total += timeout;
  }
  return total;
}
