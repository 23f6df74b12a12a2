/** The cache's side of RTR for tests: PDUs written octet by octet from RFC 8210 §5, and a client under a virtual clock. */

import { RtrClient, type RtrTimers } from '../../../bgp/rpki/rtr.ts';
import type { VrpList } from '../../../bgp/rpki/vrp.ts';
import type { Instant } from '../../../router/lib/clock.ts';
import { vrp } from './roas.ts';

const u16 = (n: number): number[] => [(n >>> 8) & 255, n & 255];
const u32 = (n: number): number[] => [...u16(n >>> 16), ...u16(n & 0xffff)];

export function pdu(version: number, type: number, session: number, ...body: number[]): Uint8Array {
  return Uint8Array.from([version, type, ...u16(session), ...u32(8 + body.length), ...body]);
}

export const serialNotify = (v: number, session: number, serial: number): Uint8Array =>
  pdu(v, 0, session, ...u32(serial));
export const cacheResponse = (v: number, session: number): Uint8Array => pdu(v, 3, session);
export const cacheReset = (v: number): Uint8Array => pdu(v, 8, 0);

/** `172.20.0.0/24-29 AS4242420001`, withdrawn when it begins with `-`. */
export function prefixPdu(v: number, text: string): Uint8Array {
  const isWithdrawn = text.startsWith('-');
  const { prefix, maxLength, asn } = vrp(isWithdrawn ? text.slice(1) : text);
  const head = [isWithdrawn ? 0 : 1, prefix.length, maxLength, 0];
  return pdu(v, prefix.family === 4 ? 4 : 6, 0, ...head, ...prefix.addr.toBytes(), ...u32(asn));
}

export function endOfData(v: number, session: number, serial: number, timers = [3600, 600, 7200]): Uint8Array {
  return pdu(v, 7, session, ...u32(serial), ...(v === 0 ? [] : timers.flatMap(u32)));
}

export function errorPdu(v: number, code: number, text = '', quoted: Uint8Array = new Uint8Array(0)): Uint8Array {
  const words = new TextEncoder().encode(text);
  return pdu(v, 10, code, ...u32(quoted.length), ...quoted, ...u32(words.length), ...words);
}

/** A client whose driver loads at once what there is to load, and writes down what it is told to do. */
export class ClientUnderTest {
  readonly client: RtrClient;
  now = 0 as Instant;
  /** What the client did since the last `did`. */
  #log: string[] = [];
  /** What it knows: VRPs as text. */
  vrps = new Set<string>();
  /** Answer loads with 'loaded' at once. */
  loadsAtOnce = true;

  constructor(timers: RtrTimers = {}) {
    this.client = new RtrClient(timers, () => 1);
  }

  #drain(): void {
    for (let a = this.client.poll(); a !== undefined; a = this.client.poll()) {
      if (a.kind === 'send') this.#log.push(Buffer.from(a.octets).toString('hex'));
      else if (a.kind === 'load') {
        this.#log.push(a.isFull ? 'load all' : 'load');
        if (a.isFull) this.vrps.clear();
        this.#load(a.list);
        if (this.loadsAtOnce) this.client.handle({ kind: 'loaded' }, this.now);
      } else this.#log.push(a.kind);
    }
  }

  #load(list: VrpList): void {
    for (let i = 0; i < list.size; i++) {
      const text = `${list.prefix(i)}-${list.maxLength(i)} AS${list.asn(i)}`;
      if (list.isWithdrawn(i)) this.vrps.delete(text);
      else this.vrps.add(text);
    }
  }

  do(kind: 'start' | 'stop' | 'refresh' | 'opened' | 'loaded'): void {
    this.client.handle({ kind }, this.now);
    this.#drain();
  }

  receive(...pdus: Uint8Array[]): void {
    this.client.handle({ kind: 'octets', octets: Buffer.concat(pdus) }, this.now);
    this.#drain();
  }

  closed(reason: string): void {
    this.client.handle({ kind: 'closed', reason }, this.now);
    this.#drain();
  }

  refused(code: number, words: string): void {
    this.client.handle({ kind: 'refused', code, words }, this.now);
    this.#drain();
  }

  /** Let time pass, deadline by deadline. */
  pass(ms: number): void {
    const end = this.now + ms;
    for (;;) {
      const at = this.client.deadline();
      if (at === undefined || at > end) break;
      this.now = Math.max(this.now, at) as Instant;
      this.client.tick(this.now);
      this.#drain();
    }
    this.now = end as Instant;
  }

  did(): string[] {
    const log = this.#log;
    this.#log = [];
    return log;
  }
}
