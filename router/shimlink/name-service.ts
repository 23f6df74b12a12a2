/**
 * The edge of the resolver inside the data plane: questions of the shim in, queries out through endpoints of our own
 * stack (one UDP port or one TCP connection per query), timers by the loop's clock. What to ask and what to believe is
 * resolver.ts; how getaddrinfo answers is addrinfo.ts.
 */
import { Addr, type Family } from '../lib/addr.ts';
import type { Instant } from '../lib/clock.ts';
import { type DatagramInfo, type DatagramOwner, DatagramSpec } from '../stack/port.ts';
import type { UdpEndpoint } from '../stack/udp-endpoint.ts';
import type { TcpConnection } from '../tcp/connection.ts';
import type { TcpOwner } from '../tcp/port.ts';
import {
  type AddrInfoContext,
  type AddrInfoLookup,
  type AddrInfoResult,
  finishAddrInfo,
  finishNameInfo,
  startAddrInfo,
  startNameInfo,
} from './addrinfo.ts';
import type { HostsFile, ServicesFile } from './hosts.ts';
import type { Hub } from './hub.ts';
import type { AddrInfo, NameInfoQuestion, NamePort, ResolveQuestion } from './names.ts';
import { Pollable } from './poller.ts';
import { AF_INET, AF_INET6 } from './proto.ts';
import type { Resolver, ResolverAction, ResolverAnswer, ResolverEvent } from './resolver.ts';
import { SockAddr } from './sockaddr.ts';

type ResolveDone = (status: number, entries: readonly AddrInfo[], canonical: string) => void;
type NameDone = (status: number, host: string, service: string) => void;

/** One query on its way. */
interface Query {
  close(): void;
}

export class NameService extends Pollable implements NamePort {
  readonly #hub: Hub;
  readonly #resolver: Resolver;
  readonly #hosts: HostsFile;
  readonly #services: ServicesFile;
  readonly #queries = new Map<number, Query>();
  readonly #lookups = new Map<number, (answer: ResolverAnswer) => void>();
  /** Events that wait for the end of the vector: endpoints are not closed while they deliver. */
  readonly #events: ResolverEvent[] = [];
  /** An app asked for `name` and was told `addr`. */
  onAnswer: (name: string, addr: Addr) => void = () => {};
  #nextId = 1;
  #nowMs = 0;
  #lastMs: number;

  constructor(hub: Hub, resolver: Resolver, hosts: HostsFile, services: ServicesFile) {
    super();
    this.#hub = hub;
    this.#resolver = resolver;
    this.#hosts = hosts;
    this.#services = services;
    this.#lastMs = hub.tick.ms;
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
    this.#ask({ kind: 'lookup', id: 0, name: lookup.name, families: lookup.families }, (answer) => {
      for (const addr of answer.addresses) this.onAnswer(lookup.name, addr);
      tell(finishAddrInfo(lookup, answer, this.#context()), done);
    });
  }

  nameInfo({ addr, flags }: NameInfoQuestion, done: NameDone): void {
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
    this.#ask({ kind: 'reverse', id: 0, addr: ip }, (answer) => {
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

  #context(): AddrInfoContext {
    const hub = this.#hub;
    const families = new Set<Family>();
    for (const l of hub.stack.links.all())
      if (!l.isLoopback)
        for (const { addr } of l.addresses) if (!(addr.family === 6 && addr.isLinkLocal)) families.add(addr.family);
    return {
      hosts: this.#hosts,
      services: this.#services,
      configured: [...families],
      hasRoute: (a) => a.isLoopback || hub.stack.core.route(0, 0, a.a0, a.a1, a.a2, a.a3, 0) !== undefined,
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

  override onEvents(): void {}

  override onReady(): void {
    const now = this.#now();
    for (const event of this.#events.splice(0)) this.#resolver.handle(event, now);
    this.#act();
  }

  /** Timers; once per turn. */
  tick(): void {
    const deadline = this.#resolver.deadline();
    if (deadline === undefined || deadline > this.#now()) return;
    this.#resolver.tick(this.#now());
    this.#act();
  }

  /** Milliseconds until `tick` has work, -1 = never. */
  dueInMs(): number {
    const deadline = this.#resolver.deadline();
    return deadline === undefined ? -1 : Math.max(0, deadline - this.#now());
  }

  #act(): void {
    for (let a = this.#resolver.poll(); a !== undefined; a = this.#resolver.poll()) {
      switch (a.kind) {
        case 'send':
          this.#send(a);
          break;
        case 'send-stream':
          this.#sendStream(a);
          break;
        case 'close':
          this.#queries.get(a.query)?.close();
          this.#queries.delete(a.query);
          break;
        case 'answer': {
          const done = this.#lookups.get(a.id);
          this.#lookups.delete(a.id);
          done?.(a.answer);
          break;
        }
      }
    }
  }

  #serverAddr(a: ResolverAction & { readonly kind: 'send' | 'send-stream' }): SockAddr {
    const { addr, link } = a.server;
    const scope = link === undefined ? 0 : (this.#hub.linkByName(link) ?? 0);
    const family = addr.family === 4 ? AF_INET : AF_INET6;
    return new SockAddr().set(family, addr.a0, addr.a1, addr.a2, addr.a3, a.port, scope);
  }

  #send(a: ResolverAction & { readonly kind: 'send' }): void {
    const to = this.#serverAddr(a);
    const query = new UdpQuery(this.#hub, to.isV4 ? 4 : 6, a.query, (event) => this.#handle(event));
    this.#queries.set(a.query, query);
    query.send(to, a.bytes);
  }

  #sendStream(a: ResolverAction & { readonly kind: 'send-stream' }): void {
    const query = new TcpQuery(this.#hub, a.query, a.bytes, (event) => this.#handle(event));
    this.#queries.set(a.query, query);
    query.connect(this.#serverAddr(a));
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

class UdpQuery implements Query, DatagramOwner<UdpEndpoint> {
  readonly #hub: Hub;
  readonly #query: number;
  readonly #endpoint: UdpEndpoint;
  readonly #report: (event: ResolverEvent) => void;

  constructor(hub: Hub, family: 4 | 6, query: number, report: (event: ResolverEvent) => void) {
    this.#hub = hub;
    this.#query = query;
    this.#report = report;
    this.#endpoint = hub.stack.udp.open(0, family, this);
  }

  send(to: SockAddr, bytes: Uint8Array): void {
    const e = this.#endpoint;
    const { world, relayAt } = this.#hub;
    world.u8.set(bytes, relayAt);
    const failed = e.connect(to.a0, to.a1, to.a2, to.a3, to.scope, to.port);
    if (failed !== 0 || e.send(new DatagramSpec(), relayAt, bytes.length) !== 0)
      this.#report({ kind: 'failed', query: this.#query });
  }

  deliver(_e: UdpEndpoint, info: DatagramInfo, at: number, length: number, gsoSize: number): void {
    const end = gsoSize > 0 ? Math.min(length, gsoSize) : length;
    this.#report({
      kind: 'datagram',
      query: this.#query,
      from: Addr.fromWords(info.r0, info.r1, info.r2, info.r3),
      fromPort: info.remotePort,
      bytes: this.#hub.world.u8.slice(at, at + end),
    });
  }

  error(): void {
    this.#report({ kind: 'failed', query: this.#query });
  }

  close(): void {
    this.#endpoint.close();
  }
}

class TcpQuery extends Pollable implements Query, TcpOwner<TcpConnection> {
  readonly #hub: Hub;
  readonly #query: number;
  readonly #bytes: Uint8Array;
  readonly #report: (event: ResolverEvent) => void;
  #connection: TcpConnection | undefined;
  #release: (() => void) | undefined;

  constructor(hub: Hub, query: number, bytes: Uint8Array, report: (event: ResolverEvent) => void) {
    super();
    this.#hub = hub;
    this.#query = query;
    this.#bytes = bytes;
    this.#report = report;
  }

  connect(to: SockAddr): void {
    const opened = this.#hub.connectTcp(to, this);
    if (typeof opened === 'number') {
      this.#report({ kind: 'failed', query: this.#query });
      return;
    }
    this.#connection = opened.connection;
    this.#release = opened.release;
  }

  established(): void {
    this.#hub.poller.ready(this);
  }

  override onEvents(): void {}

  /** The handshake is complete: send the query. It fits into any new connection's send buffer. */
  override onReady(): void {
    const { world, relayAt } = this.#hub;
    world.u8.set(this.#bytes, relayAt);
    this.#connection?.write(relayAt, this.#bytes.length);
  }

  deliver(_c: TcpConnection, at: number, length: number): number {
    const bytes = this.#hub.world.u8.slice(at, at + length);
    this.#report({ kind: 'stream-octets', query: this.#query, bytes });
    return length;
  }

  peerFinished(): void {
    this.#report({ kind: 'failed', query: this.#query });
  }

  sendSpace(): void {}

  closed(): void {
    this.#connection = undefined;
    this.#report({ kind: 'failed', query: this.#query });
  }

  close(): void {
    this.#connection?.close();
    this.#connection = undefined;
    this.#release?.();
    this.#release = undefined;
  }
}
