/**
 * The stub resolver, sans-IO: names and addresses in, queries to the uplinks' name servers out. Read first: RFC 1035 §7,
 * RFC 5452 (what makes an answer believable), RFC 2308 (negative caching), RFC 7766 (TCP), RFC 6891 (EDNS).
 * The edge opens one UDP socket with a random port (RFC 5452 §9.2) per `send`, one stream per `send-stream`, reports what
 * arrives with the query's number, and closes them on `close`. Hosts files, numeric hosts and the order of results are
 * addrinfo.ts. Does not validate DNSSEC and does not iterate from the root.
 */
import type { Addr } from '../lib/addr.ts';
import type { Instant } from '../lib/clock.ts';
import {
  buildDnsQuery,
  DNS_CLASS_IN,
  DNS_PORT,
  type DnsMessage,
  DnsRcode,
  DnsType,
  dnsLabels,
  dnsNameKey,
  parseDns,
  reverseDnsName,
  sameDnsName,
} from '../wire/dns.ts';
import type { NameServer, QueryAction, QueryEvent } from './dns-port.ts';
import { framed, Reassembly } from './dns-stream.ts';

export interface ResolverSettings {
  readonly servers: readonly NameServer[];
  /** Those of uplinks, for lookups in the name of flows that take one; by its number. */
  readonly uplinks?: ReadonlyMap<number, readonly NameServer[]>;
  readonly search: readonly string[];
  /** Names with fewer dots try the search list first; 1 when missing, as in resolv.conf(5). */
  readonly ndots?: number;
  /** Time a server has for one query; 2000 when missing. */
  readonly timeoutMs?: number;
  /** Rounds over all servers; 2 when missing. */
  readonly attempts?: number;
  /** Questions remembered; 4096 when missing. */
  readonly cacheEntries?: number;
}

export type ResolverEvent =
  | {
      readonly kind: 'lookup';
      readonly id: number;
      readonly name: string;
      readonly families: readonly (4 | 6)[];
      /** The uplink whose servers are asked, and whose answers count; 0 = none in particular. */
      readonly via: number;
    }
  | { readonly kind: 'reverse'; readonly id: number; readonly addr: Addr; readonly via: number }
  /** The asker is gone. */
  | { readonly kind: 'cancel'; readonly id: number }
  | QueryEvent;

export type ResolverAction =
  | QueryAction
  | { readonly kind: 'answer'; readonly id: number; readonly answer: ResolverAnswer };

/** `no-name`: no such domain; `no-data`: it exists without such records; `failed`: no server gave an answer. */
export interface ResolverAnswer {
  readonly status: 'ok' | 'no-name' | 'no-data' | 'failed';
  /** The name that owns the addresses, after CNAMEs; for reverse lookups the address's name. */
  readonly canonicalName: string;
  /** In the order of the answers, by family as asked. */
  readonly addresses: readonly Addr[];
}

export const RESOLVER_COUNTERS = [
  'queries',
  'cacheHits',
  'coalesced',
  'timeouts',
  'rejectedAnswers',
  'truncated',
] as const;
export type ResolverCounters = Record<(typeof RESOLVER_COUNTERS)[number], number>;

interface Outcome {
  readonly status: ResolverAnswer['status'];
  readonly canonicalName: string;
  readonly addresses: readonly Addr[];
  /** 0: not to be remembered. */
  readonly ttlMs: number;
}

interface Question {
  readonly key: string;
  readonly name: string;
  readonly type: number;
  readonly via: number;
  readonly waiting: Lookup[];
  query: number;
  dnsId: number;
  attempt: number;
  withEdns: boolean;
  isStream: boolean;
  stream: Reassembly;
  expires: number;
}

interface Lookup {
  readonly id: number;
  readonly via: number;
  readonly types: readonly number[];
  /** Absolute names still to try, the present one first. */
  readonly candidates: string[];
  readonly outcomes: Map<number, Outcome>;
  /** The most telling failure so far: an existing name without data beats a missing one. */
  worst: ResolverAnswer['status'];
}

const DEFAULT_TIMEOUT_MS = 2000;
const DEFAULT_ATTEMPTS = 2;
const DEFAULT_CACHE = 4096;
/** DNS Flag Day 2020's size: never fragmented on any sane path, IPv6's minimum MTU of 1280 included. */
const EDNS_SIZE = 1232;
/** RFC 2308 §5: "Values of one to three hours have been found to work well"; we are a stub and keep it shorter. */
const MAX_NEGATIVE_TTL_MS = 900_000;
/** RFC 8767 §4 recommends a cap on the order of days. */
const MAX_TTL_MS = 86_400_000;
const MAX_CNAMES = 16;

export class Resolver {
  readonly counters: ResolverCounters = Object.fromEntries(RESOLVER_COUNTERS.map((c) => [c, 0])) as ResolverCounters;
  #settings: ResolverSettings;
  readonly #random: () => number;
  readonly #actions: ResolverAction[] = [];
  readonly #questions = new Map<string, Question>();
  readonly #byQuery = new Map<number, Question>();
  readonly #lookups = new Map<number, Lookup>();
  /** In order of last use. */
  readonly #cache = new Map<string, { readonly outcome: Outcome; readonly expires: number }>();
  #nextQuery = 1;

  /** @param random32 unpredictable 32-bit numbers, for message ids (RFC 5452 §9.1) */
  constructor(settings: ResolverSettings, random32: () => number) {
    this.#settings = settings;
    this.#random = random32;
  }

  /** New servers or search list; what was learned from the old servers is forgotten, queries on the way go on. */
  configure(settings: ResolverSettings): void {
    this.#settings = settings;
    this.#cache.clear();
  }

  handle(event: ResolverEvent, now: Instant): void {
    switch (event.kind) {
      case 'lookup':
        this.#startLookup(
          event.id,
          event.via,
          this.#candidates(event.name),
          event.families.map((f) => (f === 4 ? DnsType.A : DnsType.AAAA)),
          now,
        );
        break;
      case 'reverse':
        this.#startLookup(event.id, event.via, [reverseDnsName(event.addr)], [DnsType.PTR], now);
        break;
      case 'cancel':
        this.#cancel(event.id);
        break;
      case 'datagram':
        this.#onDatagram(event.query, event.from, event.fromPort, event.bytes, now);
        break;
      case 'stream-octets':
        this.#onStream(event.query, event.bytes, now);
        break;
      case 'failed': {
        const question = this.#byQuery.get(event.query);
        if (question !== undefined) this.#nextAttempt(question, now);
        break;
      }
    }
  }

  tick(now: Instant): void {
    for (const question of [...this.#questions.values()])
      if (question.expires <= now) {
        this.counters.timeouts++;
        this.#nextAttempt(question, now);
      }
  }

  deadline(): Instant | undefined {
    let first: number | undefined;
    for (const { expires } of this.#questions.values()) if (first === undefined || expires < first) first = expires;
    return first as Instant | undefined;
  }

  poll(): ResolverAction | undefined {
    return this.#actions.shift();
  }

  /** Names to try in order, as resolv.conf(5) describes for `search` and `ndots`. */
  #candidates(name: string): string[] {
    if (name.endsWith('.')) return [name.slice(0, -1)];
    const searched = this.#settings.search.map((domain) => `${name}.${domain.replace(/^\.|\.$/g, '')}`);
    const dots = name.split('.').length - 1;
    return dots >= (this.#settings.ndots ?? 1) ? [name, ...searched] : [...searched, name];
  }

  #startLookup(id: number, via: number, candidates: string[], types: readonly number[], now: Instant): void {
    const usable = candidates.filter((c) => (dnsLabels(c)?.length ?? 0) > 0);
    const lookup: Lookup = { id, via, types, candidates: usable, outcomes: new Map(), worst: 'no-name' };
    this.#lookups.set(id, lookup);
    this.#tryCandidate(lookup, now);
  }

  #tryCandidate(lookup: Lookup, now: Instant): void {
    const name = lookup.candidates[0];
    if (name === undefined) {
      this.#finish(lookup, { status: lookup.worst, canonicalName: '', addresses: [] });
      return;
    }
    lookup.outcomes.clear();
    for (const type of lookup.types) this.#ask(lookup, name, type, now);
  }

  #ask(lookup: Lookup, name: string, type: number, now: Instant): void {
    const key = `${lookup.via} ${type} ${dnsNameKey(name)}`;
    const cached = this.#cached(key, now);
    if (cached !== undefined) {
      this.counters.cacheHits++;
      this.#outcome(lookup, type, cached, now);
      return;
    }
    const running = this.#questions.get(key);
    if (running !== undefined) {
      this.counters.coalesced++;
      running.waiting.push(lookup);
      return;
    }
    const question: Question = {
      key,
      name,
      type,
      via: lookup.via,
      waiting: [lookup],
      query: 0,
      dnsId: 0,
      attempt: 0,
      withEdns: true,
      isStream: false,
      stream: new Reassembly(),
      expires: 0,
    };
    this.#questions.set(key, question);
    this.#send(question, now);
  }

  #cached(key: string, now: Instant): Outcome | undefined {
    const entry = this.#cache.get(key);
    if (entry === undefined) return undefined;
    this.#cache.delete(key);
    if (entry.expires <= now) return undefined;
    this.#cache.set(key, entry);
    return entry.outcome;
  }

  #server(question: Question): NameServer | undefined {
    const { attempts = DEFAULT_ATTEMPTS } = this.#settings;
    const servers = serversOf(this.#settings, question.via);
    return question.attempt < servers.length * attempts ? servers[question.attempt % servers.length] : undefined;
  }

  /** Send the question to the server of the present attempt, with a fresh id and socket. */
  #send(question: Question, now: Instant): void {
    this.#close(question);
    const server = this.#server(question);
    const dnsId = this.#random() & 0xffff;
    const message = buildDnsQuery(dnsId, question.name, question.type, question.withEdns ? EDNS_SIZE : 0);
    if (server === undefined || message === undefined) {
      this.#settle(question, { status: 'failed', canonicalName: '', addresses: [], ttlMs: 0 }, now);
      return;
    }
    this.counters.queries++;
    question.query = this.#nextQuery++;
    question.dnsId = dnsId;
    question.stream = new Reassembly();
    question.expires = now + (this.#settings.timeoutMs ?? DEFAULT_TIMEOUT_MS);
    this.#byQuery.set(question.query, question);
    const { query, isStream } = question;
    const bytes = isStream ? framed(message) : message;
    this.#actions.push({ kind: isStream ? 'send-stream' : 'send', query, server, port: DNS_PORT, bytes });
  }

  #nextAttempt(question: Question, now: Instant): void {
    question.attempt++;
    question.isStream = false;
    question.withEdns = true;
    this.#send(question, now);
  }

  #close(question: Question): void {
    if (question.query === 0) return;
    this.#byQuery.delete(question.query);
    this.#actions.push({ kind: 'close', query: question.query });
    question.query = 0;
  }

  #onDatagram(query: number, from: Addr, fromPort: number, bytes: Uint8Array, now: Instant): void {
    const question = this.#byQuery.get(query);
    if (question === undefined || question.isStream) return;
    const server = this.#server(question)!;
    // RFC 5452 §9.1: an answer counts only if address, port, id and question are those of the query.
    const message = fromPort === DNS_PORT && from.equals(server.addr) ? this.#believable(question, bytes) : undefined;
    if (message === undefined) this.counters.rejectedAnswers++;
    else if (message.isTruncated) {
      this.counters.truncated++;
      question.isStream = true;
      this.#send(question, now);
    } else this.#onAnswer(question, message, now);
  }

  #onStream(query: number, bytes: Uint8Array, now: Instant): void {
    const question = this.#byQuery.get(query);
    if (question === undefined || !question.isStream) return;
    const [first] = question.stream.take(bytes);
    if (first === undefined) return;
    const message = this.#believable(question, first);
    if (message === undefined || message.isTruncated) {
      this.counters.rejectedAnswers++;
      this.#nextAttempt(question, now);
    } else this.#onAnswer(question, message, now);
  }

  #believable(question: Question, bytes: Uint8Array): DnsMessage | undefined {
    const m = parseDns(bytes);
    if (m === undefined || !m.isResponse || m.opcode !== 0 || m.id !== question.dnsId) return undefined;
    const [asked] = m.questions;
    // A server that does not understand a query may return its header alone (RFC 6891 §7).
    if (asked === undefined) return m.rcode === DnsRcode.FormErr || m.rcode === DnsRcode.NotImp ? m : undefined;
    const isSame =
      asked.type === question.type && asked.class === DNS_CLASS_IN && sameDnsName(asked.name, question.name);
    return isSame && m.questions.length === 1 ? m : undefined;
  }

  #onAnswer(question: Question, m: DnsMessage, now: Instant): void {
    if (m.rcode === DnsRcode.NoError || m.rcode === DnsRcode.NxDomain) {
      this.#settle(question, read(m, question), now);
      return;
    }
    // RFC 6891 §7: a server without EDNS is asked again without it.
    const isOld = m.rcode === DnsRcode.FormErr || m.rcode === DnsRcode.NotImp || m.rcode === DnsRcode.BadVers;
    if (isOld && question.withEdns) {
      question.withEdns = false;
      this.#send(question, now);
    } else this.#nextAttempt(question, now);
  }

  #settle(question: Question, outcome: Outcome, now: Instant): void {
    this.#close(question);
    this.#questions.delete(question.key);
    if (outcome.ttlMs > 0) {
      this.#cache.set(question.key, { outcome, expires: now + outcome.ttlMs });
      if (this.#cache.size > (this.#settings.cacheEntries ?? DEFAULT_CACHE))
        this.#cache.delete(this.#cache.keys().next().value!);
    }
    for (const lookup of question.waiting) this.#outcome(lookup, question.type, outcome, now);
  }

  #outcome(lookup: Lookup, type: number, outcome: Outcome, now: Instant): void {
    if (this.#lookups.get(lookup.id) !== lookup) return;
    lookup.outcomes.set(type, outcome);
    if (lookup.outcomes.size < lookup.types.length) return;
    const outcomes = lookup.types.map((t) => lookup.outcomes.get(t)!);
    const good = outcomes.filter((o) => o.status === 'ok');
    if (good.length > 0) {
      this.#finish(lookup, {
        status: 'ok',
        canonicalName: good[0]!.canonicalName,
        addresses: good.flatMap((o) => o.addresses),
      });
      return;
    }
    // A server that fails leaves the question open: going on with the search list could give another host's address.
    if (outcomes.some((o) => o.status === 'failed')) {
      this.#finish(lookup, { status: 'failed', canonicalName: '', addresses: [] });
      return;
    }
    if (outcomes.some((o) => o.status === 'no-data')) lookup.worst = 'no-data';
    lookup.candidates.shift();
    this.#tryCandidate(lookup, now);
  }

  #finish(lookup: Lookup, answer: ResolverAnswer): void {
    this.#lookups.delete(lookup.id);
    this.#actions.push({ kind: 'answer', id: lookup.id, answer });
  }

  #cancel(id: number): void {
    const lookup = this.#lookups.get(id);
    if (lookup === undefined) return;
    this.#lookups.delete(id);
    for (const question of [...this.#questions.values()]) {
      const at = question.waiting.indexOf(lookup);
      if (at >= 0) question.waiting.splice(at, 1);
      if (question.waiting.length > 0) continue;
      this.#close(question);
      this.#questions.delete(question.key);
    }
  }
}

/** Whom lookups for flows through an uplink ask: its servers, or those of everybody. */
export function serversOf({ uplinks, servers }: ResolverSettings, via: number): readonly NameServer[] {
  return uplinks?.get(via) ?? servers;
}

/** What an answer says about the question: CNAMEs followed inside the message (RFC 1034 §3.6.2). */
function read(m: DnsMessage, { name, type }: Question): Outcome {
  let owner = name;
  let ttlS = Number.POSITIVE_INFINITY;
  for (let i = 0; i <= MAX_CNAMES; i++) {
    const of = (t: number) =>
      m.answers.filter((r) => r.type === t && r.class === DNS_CLASS_IN && sameDnsName(r.name, owner));
    const records = of(type);
    if (records.length > 0) {
      ttlS = Math.min(ttlS, ...records.map((r) => r.ttlS));
      const addresses = records.flatMap((r) => (r.data.kind === 'address' ? [r.data.addr] : []));
      const [first] = records.flatMap((r) => (r.data.kind === 'name' ? [r.data.name] : []));
      return { status: 'ok', canonicalName: first ?? owner, addresses, ttlMs: Math.min(ttlS * 1000, MAX_TTL_MS) };
    }
    const alias = of(DnsType.CNAME)[0];
    if (alias?.data.kind !== 'name') break;
    ttlS = Math.min(ttlS, alias.ttlS);
    owner = alias.data.name;
  }
  const soa = m.authorities.find((r) => r.type === DnsType.SOA);
  // RFC 2308 §5: the smaller of the SOA's TTL and its MINIMUM field; without a SOA, "SHOULD NOT be cached".
  const negativeS = soa?.data.kind === 'soa' ? Math.min(soa.ttlS, soa.data.minimumS, ttlS) : 0;
  const status = m.rcode === DnsRcode.NxDomain ? 'no-name' : 'no-data';
  return { status, canonicalName: '', addresses: [], ttlMs: Math.min(negativeS * 1000, MAX_NEGATIVE_TTL_MS) };
}
