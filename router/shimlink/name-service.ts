/**
 * Names inside the data plane: questions of the shim go to the resolver, queries that apps send themselves to the forwarder,
 * each to the name servers of the uplink that a flow to the name would take. Timers by the loop's clock. What to ask and
 * what to believe is resolver.ts and dns-forwarder.ts, by which sockets dns-query.ts; how getaddrinfo answers is addrinfo.ts.
 */
import type { Addr, Family } from '../lib/addr.ts';
import type { Instant } from '../lib/clock.ts';
import { type DnsMessage, DnsRcode, DnsType, parseDns } from '../wire/dns.ts';
import {
  type AddrInfoContext,
  type AddrInfoLookup,
  type AddrInfoResult,
  Eai,
  finishAddrInfo,
  finishNameInfo,
  startAddrInfo,
  startNameInfo,
} from './addrinfo.ts';
import { DnsForwarder, refusal } from './dns-forwarder.ts';
import type { QueryEvent } from './dns-port.ts';
import { QueryEdge } from './dns-query.ts';
import type { HostsFile, ServicesFile } from './hosts.ts';
import type { DnsPort, Hub } from './hub.ts';
import type { AddrInfo, NameInfoQuestion, NamePort, ResolveQuestion } from './names.ts';
import { Pollable } from './poller.ts';
import {
  type Resolver,
  type ResolverAnswer,
  type ResolverEvent,
  type ResolverSettings,
  serversOf,
} from './resolver.ts';
import { SockAddr } from './sockaddr.ts';

type ResolveDone = (status: number, entries: readonly AddrInfo[], canonical: string) => void;
type NameDone = (status: number, host: string, service: string) => void;

/** In the place of an uplink: no uplink of the rule can be used, and nobody else may hear the name. */
const NOBODY = -1;
/** Octets of a DNS header up to the answer's code. */
const LEAST_QUERY = 12;

export class NameService extends Pollable implements NamePort, DnsPort {
  readonly #hub: Hub;
  readonly #resolver: Resolver;
  readonly #hosts: HostsFile;
  readonly #services: ServicesFile;
  readonly #forwarder: DnsForwarder;
  readonly #lookupQueries: QueryEdge;
  readonly #forwardQueries: QueryEdge;
  #settings: ResolverSettings = { servers: [], search: [] };
  readonly #lookups = new Map<number, (answer: ResolverAnswer) => void>();
  /** Events that wait for the end of the vector: endpoints are not closed while they deliver. */
  readonly #events: ResolverEvent[] = [];
  readonly #forwardEvents: (QueryEvent | (() => void))[] = [];
  /** An app asked for `name` and was told `addr`. */
  onAnswer: (name: string, addr: Addr) => void = () => {};
  #nextId = 1;
  #nowMs = 0;
  #lastMs: number;

  constructor(hub: Hub, resolver: Resolver, forwarder: DnsForwarder, hosts: HostsFile, services: ServicesFile) {
    super();
    this.#forwarder = forwarder;
    this.#lookupQueries = new QueryEdge(hub, (event) => this.#handle(event));
    this.#forwardQueries = new QueryEdge(hub, (event) => this.#handleForward(event));
    this.#hub = hub;
    this.#resolver = resolver;
    this.#hosts = hosts;
    this.#services = services;
    this.#lastMs = hub.tick.ms;
  }

  /** Other servers or another search list. */
  configure(settings: ResolverSettings): void {
    this.#settings = settings;
    this.#resolver.configure(settings);
  }

  // ---- Questions

  resolve(question: ResolveQuestion, done: ResolveDone): void {
    const context = this.#context();
    const started = startAddrInfo(
      {
        host: question.host === '' ? undefined : question.host,
        service: question.service === '' ? undefined : question.service,
        family: question.family,
        socktype: question.sockType,
        protocol: question.protocol,
        flags: question.flags,
      },
      context,
    );
    if (started.kind !== 'lookup') {
      tell(started, done);
      return;
    }
    const lookup: AddrInfoLookup = started;
    const { protocol, port } = soleKind(lookup);
    const via = this.#viaOf(question.pid, lookup.name, protocol, port);
    if (via === NOBODY) {
      done(Eai.Again, [], '');
      return;
    }
    this.#ask({ kind: 'lookup', id: 0, name: lookup.name, families: lookup.families, via }, (answer) => {
      for (const addr of answer.addresses) this.onAnswer(lookup.name, addr);
      tell(finishAddrInfo(lookup, answer, this.#context()), done);
    });
  }

  nameInfo({ pid, addr, flags }: NameInfoQuestion, done: NameDone): void {
    const ip = addr.toAddr();
    const zone = addr.scope === 0 ? '' : (this.#hub.stack.links.byIndex(addr.scope)?.link.name ?? String(addr.scope));
    const { numeric, host } = startNameInfo(ip, addr.port, flags, zone, {
      hosts: this.#hosts,
      services: this.#services,
    });
    if (host !== 'lookup') {
      done(0, host, numeric.service);
      return;
    }
    const via = this.#viaOf(pid, '', undefined, undefined);
    if (via === NOBODY) {
      done(Eai.Again, '', '');
      return;
    }
    this.#ask({ kind: 'reverse', id: 0, addr: ip, via }, (answer) => {
      const result = finishNameInfo(numeric, answer, flags);
      if (typeof result === 'number') done(result, '', '');
      else done(0, result.host, result.service);
    });
  }

  #ask(event: ResolverEvent & { readonly kind: 'lookup' | 'reverse' }, done: (answer: ResolverAnswer) => void): void {
    const id = this.#nextId++;
    this.#lookups.set(id, done);
    this.#handle({ ...event, id });
  }

  /** The uplink a flow to the name would take, 0 = none in particular, or NOBODY. */
  #viaOf(pid: number, name: string, protocol: number | undefined, port: number | undefined): number {
    const { policy } = this.#hub;
    if (policy === undefined) return 0;
    const plain = name.toLowerCase().replace(/\.$/, '');
    return policy.chooseForName(pid, plain, protocol, port) === 0 ? policy.link : NOBODY;
  }

  // ---- Queries that apps send themselves

  forward(pid: number, query: Uint8Array, isStream: boolean, done: (answer: Uint8Array) => void): void {
    // A connection of the app's must not be answered from inside its own call.
    this.#handleForward(() => this.#forward(pid, query, isStream, done));
  }

  #forward(pid: number, bytes: Uint8Array, isStream: boolean, done: (answer: Uint8Array) => void): void {
    const message = DnsForwarder.read(bytes);
    if (message === undefined) {
      if (bytes.length >= LEAST_QUERY) done(refusal(bytes, DnsRcode.NotImp));
      return;
    }
    const via = this.#viaOf(pid, message.questions[0]!.name, undefined, undefined);
    const servers = via === NOBODY ? [] : serversOf(this.#settings, via);
    const answered = (answer: Uint8Array): void => {
      this.#learn(answer);
      done(answer);
    };
    this.#forwarder.ask({ bytes, message, isStream, servers, done: answered }, this.#now());
  }

  heard(at: number, length: number): void {
    if (this.#hub.policy?.hasDomains === true) this.#learn(this.#hub.world.u8.slice(at, at + length));
  }

  /** Rules by domain know an address before the app does. */
  #learn(answer: Uint8Array): void {
    if (this.#hub.policy?.hasDomains !== true) return;
    const m = parseDns(answer);
    if (m === undefined || !m.isResponse || m.questions.length !== 1) return;
    for (const addr of addressesIn(m)) this.onAnswer(m.questions[0]!.name, addr);
  }

  #context(): AddrInfoContext {
    const hub = this.#hub;
    const families = new Set<Family>();
    for (const l of hub.stack.links.all())
      if (!l.isLoopback)
        for (const { addr } of l.addresses) if (!(addr.family === 6 && addr.isLinkLocal)) families.add(addr.family);
    const onHost = hub.policy?.hostFamilies;
    for (const family of onHost ?? []) families.add(family);
    const isRouted = (a: Addr): boolean => hub.stack.core.route(0, 0, a.a0, a.a1, a.a2, a.a3, 0) !== undefined;
    return {
      hosts: this.#hosts,
      services: this.#services,
      configured: [...families],
      hasRoute: (a) => a.isLoopback || onHost?.has(a.family) === true || isRouted(a),
      linkIndex: (name) => hub.linkByName(name),
    };
  }

  // ---- The resolver's events and actions

  #now(): Instant {
    const { ms } = this.#hub.tick;
    this.#nowMs += (ms - this.#lastMs) | 0;
    this.#lastMs = ms;
    return this.#nowMs as Instant;
  }

  #handle(event: ResolverEvent): void {
    this.#events.push(event);
    this.#hub.poller.ready(this);
  }

  #handleForward(event: QueryEvent | (() => void)): void {
    this.#forwardEvents.push(event);
    this.#hub.poller.ready(this);
  }

  override onEvents(): void {}

  override onReady(): void {
    const now = this.#now();
    for (const event of this.#events.splice(0)) this.#resolver.handle(event, now);
    for (const event of this.#forwardEvents.splice(0))
      if (typeof event === 'function') event();
      else this.#forwarder.handle(event, now);
    this.#act();
  }

  /** Timers; once per turn. */
  tick(): void {
    const deadline = this.#deadline();
    if (deadline === undefined || deadline > this.#now()) return;
    this.#resolver.tick(this.#now());
    this.#forwarder.tick(this.#now());
    this.#act();
  }

  /** Milliseconds until `tick` has work, -1 = never. */
  dueInMs(): number {
    const deadline = this.#deadline();
    return deadline === undefined ? -1 : Math.max(0, deadline - this.#now());
  }

  #deadline(): number | undefined {
    const a = this.#resolver.deadline();
    const b = this.#forwarder.deadline();
    return a === undefined || (b !== undefined && b < a) ? b : a;
  }

  #act(): void {
    for (let a = this.#forwarder.poll(); a !== undefined; a = this.#forwarder.poll()) this.#forwardQueries.perform(a);
    for (let a = this.#resolver.poll(); a !== undefined; a = this.#resolver.poll()) {
      if (a.kind !== 'answer') {
        this.#lookupQueries.perform(a);
        continue;
      }
      const done = this.#lookups.get(a.id);
      this.#lookups.delete(a.id);
      done?.(a.answer);
    }
  }
}

function tell(result: AddrInfoResult, done: ResolveDone): void {
  if (result.kind === 'error') {
    done(result.code, [], '');
    return;
  }
  const entries = result.list.map((e): AddrInfo => {
    const { a0, a1, a2, a3 } = e.addr;
    return {
      sockType: e.socktype,
      protocol: e.protocol,
      addr: new SockAddr().set(e.family, a0, a1, a2, a3, e.port, e.scope),
    };
  });
  done(0, entries, result.canonicalName);
}

/** Protocol and port, where all that is asked for has the same ones. */
function soleKind({ kinds }: AddrInfoLookup): { readonly protocol?: number; readonly port?: number } {
  const [first] = kinds;
  if (first === undefined) return {};
  return {
    ...(kinds.every((k) => k.protocol === first.protocol) && { protocol: first.protocol }),
    ...(first.port !== 0 && kinds.every((k) => k.port === first.port) && { port: first.port }),
  };
}

/** The addresses of an answer; those of aliases count for the name that was asked about. */
function* addressesIn(m: DnsMessage): Generator<Addr> {
  for (const { type, data } of m.answers)
    if ((type === DnsType.A || type === DnsType.AAAA) && data.kind === 'address') yield data.addr;
}
