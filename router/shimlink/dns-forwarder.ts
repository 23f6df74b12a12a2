/**
 * DNS messages that apps send themselves, sans-IO: queries in as they are, to be asked of the name servers of an uplink, and
 * the answers back with the app's own id. Nothing is cached or changed, so every type and option works. Read first:
 * RFC 5625 (what a DNS proxy must leave alone), RFC 5452 (what makes an answer believable), RFC 7766 (TCP).
 * The edge is the resolver's (dns-query.ts): a socket of its own with a random port per query.
 */
import type { Addr } from '../lib/addr.ts';
import { get16, put16 } from '../lib/bytes.ts';
import type { Instant } from '../lib/clock.ts';
import { DNS_HEADER_LEN, DNS_PORT, type DnsMessage, DnsRcode, parseDns, sameDnsName } from '../wire/dns.ts';
import type { NameServer, QueryAction, QueryEvent } from './dns-port.ts';
import { framed, Reassembly } from './dns-stream.ts';

/** Time one server has. Apps ask again after seconds: by then the next one has been asked. */
const TIMEOUT_MS = 1500;
/** Rounds over all servers. */
const ATTEMPTS = 2;
/** Questions under way; what is more is not answered. */
const MAX_PENDING = 4096;
const FLAG_RESPONSE = 0x80;
const OPCODE_MASK = 0x78;

export const FORWARDER_COUNTERS = ['forwarded', 'forwardTimeouts', 'forwardRejected', 'forwardDropped'] as const;
export type ForwarderCounters = Record<(typeof FORWARDER_COUNTERS)[number], number>;

/** A query of an app. */
export interface ForwardQuestion {
  readonly bytes: Uint8Array;
  readonly message: DnsMessage;
  /** It came by TCP, and is asked by TCP. */
  readonly isStream: boolean;
  /** Whom to ask, in order; none = it is answered with SERVFAIL. */
  readonly servers: readonly NameServer[];
  readonly done: (answer: Uint8Array) => void;
}

interface Pending {
  readonly question: ForwardQuestion;
  query: number;
  dnsId: number;
  attempt: number;
  expires: number;
  stream: Reassembly;
}

export class DnsForwarder {
  readonly counters: ForwarderCounters = Object.fromEntries(FORWARDER_COUNTERS.map((c) => [c, 0])) as ForwarderCounters;
  readonly #random: () => number;
  readonly #actions: QueryAction[] = [];
  readonly #pending = new Map<number, Pending>();
  #nextQuery = 1;

  /** @param random32 unpredictable 32-bit numbers, for message ids (RFC 5452 §9.1) */
  constructor(random32: () => number) {
    this.#random = random32;
  }

  /** The query in `bytes`; undefined when it is none, or none that can be forwarded (it is answered by `refusal`). */
  static read(bytes: Uint8Array): DnsMessage | undefined {
    const m = parseDns(bytes);
    return m === undefined || m.isResponse || m.opcode !== 0 || m.questions.length !== 1 ? undefined : m;
  }

  ask(question: ForwardQuestion, now: Instant): void {
    if (this.#pending.size >= MAX_PENDING) {
      this.counters.forwardDropped++;
      return;
    }
    this.counters.forwarded++;
    const stream = new Reassembly();
    this.#send({ question, query: 0, dnsId: 0, attempt: 0, expires: 0, stream }, now);
  }

  handle(event: QueryEvent, now: Instant): void {
    const p = this.#pending.get(event.query);
    if (p === undefined) return;
    switch (event.kind) {
      case 'datagram':
        if (!p.question.isStream) this.#onDatagram(p, event.from, event.fromPort, event.bytes);
        break;
      case 'stream-octets':
        for (const message of p.stream.take(event.bytes)) this.#onMessage(p, message);
        break;
      case 'failed':
        this.#nextAttempt(p, now);
        break;
    }
  }

  tick(now: Instant): void {
    for (const p of [...this.#pending.values()])
      if (p.expires <= now) {
        this.counters.forwardTimeouts++;
        this.#nextAttempt(p, now);
      }
  }

  deadline(): Instant | undefined {
    let first: number | undefined;
    for (const { expires } of this.#pending.values()) if (first === undefined || expires < first) first = expires;
    return first as Instant | undefined;
  }

  poll(): QueryAction | undefined {
    return this.#actions.shift();
  }

  /** With an id and a socket of its own. */
  #send(p: Pending, now: Instant): void {
    const { servers, bytes, isStream, done } = p.question;
    const server = p.attempt < servers.length * ATTEMPTS ? servers[p.attempt % servers.length] : undefined;
    if (server === undefined) {
      done(refusal(bytes, DnsRcode.ServFail));
      return;
    }
    p.query = this.#nextQuery++;
    p.dnsId = this.#random() & 0xffff;
    p.expires = now + TIMEOUT_MS;
    p.stream = new Reassembly();
    this.#pending.set(p.query, p);
    const own = bytes.slice();
    put16(own, 0, p.dnsId);
    const action = { query: p.query, server, port: DNS_PORT };
    if (isStream) this.#actions.push({ kind: 'send-stream', ...action, bytes: framed(own) });
    else this.#actions.push({ kind: 'send', ...action, bytes: own });
  }

  #nextAttempt(p: Pending, now: Instant): void {
    this.#close(p);
    p.attempt++;
    this.#send(p, now);
  }

  #close(p: Pending): void {
    this.#pending.delete(p.query);
    this.#actions.push({ kind: 'close', query: p.query });
  }

  #onDatagram(p: Pending, from: Addr, fromPort: number, bytes: Uint8Array): void {
    const { servers } = p.question;
    // RFC 5452 §9.1: an answer counts only if address, port, id and question are those of the query.
    if (fromPort === DNS_PORT && from.equals(servers[p.attempt % servers.length]!.addr)) this.#onMessage(p, bytes);
    else this.counters.forwardRejected++;
  }

  #onMessage(p: Pending, bytes: Uint8Array): void {
    if (!this.#pending.has(p.query) || !isAnswer(bytes, p)) {
      this.counters.forwardRejected++;
      return;
    }
    this.#close(p);
    const answer = bytes.slice();
    put16(answer, 0, p.question.message.id);
    p.question.done(answer);
  }
}

function isAnswer(bytes: Uint8Array, { dnsId, question: { message } }: Pending): boolean {
  if (bytes.length < DNS_HEADER_LEN || get16(bytes, 0) !== dnsId || (bytes[2]! & FLAG_RESPONSE) === 0) return false;
  const asked = message.questions[0]!;
  const m = parseDns(bytes);
  // What we cannot read in full may still be an answer to this question: its sections are not ours to judge.
  const answered = (m ?? parseDns(questionOnly(bytes)))?.questions;
  // A server that does not understand a query may return its header alone (RFC 6891 §7).
  if (answered === undefined || answered.length === 0) return m !== undefined && m.rcode !== DnsRcode.NoError;
  const [first] = answered as [DnsMessage['questions'][number]];
  return first.type === asked.type && first.class === asked.class && sameDnsName(first.name, asked.name);
}

/** The message without the records behind its question. */
function questionOnly(bytes: Uint8Array): Uint8Array {
  const cut = bytes.slice();
  cut.fill(0, 6, DNS_HEADER_LEN);
  return cut;
}

/** The header of an answer that says why there is none. */
export function refusal(query: Uint8Array, rcode: number): Uint8Array {
  const out = new Uint8Array(DNS_HEADER_LEN);
  out.set(query.subarray(0, 4));
  out[2] = FLAG_RESPONSE | (out[2]! & (OPCODE_MASK | 1));
  out[3] = 0x80 | rcode; // recursion is available
  return out;
}
