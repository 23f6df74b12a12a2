/**
 * The FPM server in the routing worker: the socket FRR's zebra connects to, one client at a time, and the timer of its
 * table. What the client says and what becomes of it is router/fpm's business.
 */
import { readFileSync } from 'node:fs';
import { createServer, type Server, type Socket } from 'node:net';
import type { FpmConfig } from '../config/fpm.ts';
import type { FpmStatus } from '../control/messages.ts';
import type { FibWriter } from '../fib/writer.ts';
import { MAIN_TABLE } from '../fpm/message.ts';
import { hopResolver, type KnownRoute } from '../fpm/resolve.ts';
import { FpmSession } from '../fpm/session.ts';
import { FpmTable } from '../fpm/table.ts';
import { Addr, type Prefix } from '../lib/addr.ts';
import { type Instant, systemClock } from '../lib/clock.ts';
import { isEqual } from '../lib/equal.ts';
import type { Logger } from '../lib/log.ts';
import type { RoutingLink } from './routing-protocol.ts';
import { turns } from './turns.ts';

const DEFAULT_VRF = 0;
/** How long after a failure listening is tried again. */
const RETRY_MS = 5000;
/** A client on another host may vanish without a word. */
const KEEPALIVE_MS = 10_000;
/** Confirmations a slow client may leave unread; more are dropped, it asks for none twice. */
const UNREAD_LIMIT = 1 << 20;
/** The host's interfaces are looked at again at most this often when a number is unknown. */
const LOOK_AGAIN_MS = 1000;
/** A client that says nothing for so long has told its table: there is no end mark. */
const QUIET_MS = 1000;

interface Client {
  readonly socket: Socket;
  readonly session: FpmSession;
  readonly from: string;
  readonly since: Instant;
  heardAt: Instant;
}

export class FpmRoom {
  #config: FpmConfig;
  readonly #log: Logger;
  readonly #table: FpmTable;
  readonly #interfaces: Interfaces;
  readonly #vrfs: readonly { readonly name: string; readonly number: number }[];
  readonly #resolver: () => ReturnType<typeof hopResolver>;
  #resolve: ReturnType<typeof hopResolver>;
  #server: Server | undefined;
  #client: Client | undefined;
  #timer: NodeJS.Timeout | undefined;
  #retry: NodeJS.Timeout | undefined;
  #startedAt: Instant | undefined;
  #lastError = '';
  /** Nobody is to come. */
  #isClosed = false;
  #isStopping = false;

  /**
   * @param links the links as they are now; their list is kept current by its owner
   * @param known connected and configured routes as they are now
   * @param vrfs their names and numbers; likewise
   * @param changed called after each batch of routes has reached the FIB
   */
  constructor(
    config: FpmConfig,
    links: readonly RoutingLink[],
    known: () => readonly KnownRoute[],
    vrfs: readonly { readonly name: string; readonly number: number }[],
    fib: FibWriter,
    log: Logger,
    changed: () => void,
  ) {
    const room = this;
    this.#config = config;
    this.#log = log;
    this.#vrfs = vrfs;
    this.#interfaces = new Interfaces(config, links);
    const vrfOf = (table: number): number | undefined => {
      const { vrf } = this.#config.tables.find((t) => t.table === table) ?? {};
      return table === MAIN_TABLE ? DEFAULT_VRF : vrfs.find((v) => v.name === vrf)?.number;
    };
    const linkOf = (ifindex: number, vrf: number): number | undefined => this.#interfaces.linkOf(ifindex, vrf);
    this.#resolver = () => hopResolver(known(), linkOf);
    this.#resolve = this.#resolver();
    this.#table = new FpmTable({
      apply: (changes) => {
        fib.apply(changes);
        changed();
      },
      resolve: (hop, vrf) => this.#resolve(hop, vrf),
      vrfOf,
      get holdMs() {
        return room.#config.holdTimeS * 1000;
      },
      get staleMs() {
        return room.#config.staleTimeS * 1000;
      },
    });
  }

  start(): void {
    this.#startedAt ??= systemClock.now();
    const { addr, port } = this.#config.listen;
    const server = createServer({ keepAlive: true, keepAliveInitialDelay: KEEPALIVE_MS }, (s) => this.#accept(s));
    this.#server = server;
    server.on('error', (e: NodeJS.ErrnoException) => {
      if (this.#server !== server) return; // it listens elsewhere by now
      this.#server = undefined;
      this.#lastError = `cannot listen: ${e.code ?? e.message}`;
      this.#log.error('cannot listen', { address: `${addr}`, port, error: e.code, code: 'F101' });
      if (!this.#isClosed) this.#retry = setTimeout(() => this.start(), RETRY_MS);
    });
    server.listen({ host: String(addr), port }, () => {
      this.#lastError = '';
      this.#log.info('waiting for a routing daemon', { address: `${addr}`, port });
    });
  }

  stop(): void {
    this.#close();
    this.#isStopping = true;
    clearTimeout(this.#timer);
  }

  /** Listen no more, and end the session there is. */
  #close(): void {
    this.#isClosed = true;
    clearTimeout(this.#retry);
    this.#client?.socket.destroy();
    this.#server?.close();
    this.#server = undefined;
  }

  /**
   * Links, configured routes or settings have changed. The client stays, unless it is to come elsewhere, may come no more, or
   * what it has told would mean something else now: it then tells all again, and its routes are kept meanwhile.
   * @param config undefined = nobody is to tell routes, and those that are there go
   */
  reload(config: FpmConfig | undefined): void {
    this.#table.forgetVrfs((vrf) => vrf === DEFAULT_VRF || this.#vrfs.some((v) => v.number === vrf));
    const before = this.#config;
    const wasClosed = this.#isClosed;
    if (config === undefined) {
      this.#close();
      if (!wasClosed) this.#table.clear();
      this.#arm();
      return;
    }
    this.#config = config;
    this.#interfaces.configure(config);
    const isSame = (...keys: (keyof FpmConfig)[]): boolean => keys.every((key) => isEqual(before[key], config[key]));
    if (!isSame('allow', 'tables', 'confirm')) this.#client?.socket.destroy();
    if (wasClosed || !isSame('listen')) {
      this.#close();
      this.#isClosed = false;
      this.start();
    }
    this.#resolve = this.#resolver();
    this.#table.linksChanged();
    this.#arm();
  }

  /** After a restart: the client has told its table, or did not come while routes would have been kept for it. */
  get isSettled(): boolean {
    const now = systemClock.now();
    if (this.#startedAt === undefined) return false;
    if (this.#isClosed) return true;
    if (now - this.#startedAt >= this.#config.holdTimeS * 1000) return true;
    return this.#client !== undefined && now - this.#client.heardAt >= QUIET_MS;
  }

  /** The protocol that made a route, such as `ospf`. */
  protocolOf(vrf: number, prefix: Prefix): string | undefined {
    return this.#table.protocolOf(vrf, prefix);
  }

  /** Undefined while nobody is to tell routes. */
  show(): FpmStatus | undefined {
    if (this.#isClosed) return undefined;
    const { addr, port } = this.#config.listen;
    const client = this.#client;
    const { installed, unresolved, stale, nextHops, ignored } = this.#table.stats;
    const { messages, unknown, malformed } = client?.session.counters ?? { messages: 0, unknown: 0, malformed: 0 };
    return {
      listen: addr.family === 4 ? `${addr}:${port}` : `[${addr}]:${port}`,
      state: client !== undefined ? 'connected' : this.#server === undefined ? 'not listening' : 'waiting',
      client: client?.from ?? '',
      encoding: client?.session.encoding ?? '',
      ...(client !== undefined && { since_s: (systemClock.now() - client.since) / 1000 }),
      routes: installed,
      unresolved,
      stale,
      next_hops: nextHops,
      messages,
      unknown,
      malformed,
      ignored,
      last_error: this.#lastError,
    };
  }

  #accept(socket: Socket): void {
    socket.on('error', (e: NodeJS.ErrnoException) => {
      this.#lastError = e.code ?? e.message;
    });
    const remote = Addr.parse((socket.remoteAddress ?? '').replace(/^::ffff:/, ''));
    const from = remote === undefined ? '' : `${remote}:${socket.remotePort}`;
    const isAllowed = remote !== undefined && this.#config.allow.some((p) => p.contains(remote));
    if (!isAllowed || this.#client !== undefined) {
      const why = isAllowed ? 'another one is connected' : 'its address is not allowed';
      this.#log.warn('client refused', { from, why });
      socket.destroy();
      return;
    }
    const client = {
      socket,
      from,
      session: new FpmSession(this.#table, this.#config.confirm),
      since: systemClock.now(),
      heardAt: systemClock.now(),
    };
    this.#client = client;
    this.#lastError = '';
    this.#log.info('routing daemon connected', { from });
    this.#table.sessionBegan(client.since);
    socket.on('data', (octets) => {
      turns.begin();
      this.#receive(client, octets);
    });
    socket.on('close', () => this.#lost());
    this.#arm();
  }

  #receive(client: Client, octets: Uint8Array): void {
    client.heardAt = systemClock.now();
    const { reply, fault } = client.session.receive(octets);
    for (const octets of reply) if (client.socket.writableLength < UNREAD_LIMIT) client.socket.write(octets);
    if (fault !== undefined) {
      this.#lastError = fault;
      client.socket.destroy();
    }
    this.#arm();
  }

  #lost(): void {
    this.#client = undefined;
    this.#table.sessionEnded(systemClock.now());
    this.#arm();
    if (this.#isClosed) return;
    const routes = this.#table.stats.installed;
    this.#log.warn('routing daemon gone', {
      routes,
      kept_s: this.#config.holdTimeS,
      why: this.#lastError || 'closed by the peer',
      code: 'F102',
    });
  }

  #arm(): void {
    clearTimeout(this.#timer);
    const at = this.#table.deadline();
    if (at === undefined || this.#isStopping) return;
    this.#timer = setTimeout(
      () => {
        this.#table.tick(systemClock.now());
        this.#arm();
      },
      Math.max(0, at - systemClock.now()),
    );
  }
}

/** Our links by interface numbers of the client's, which is on this host or says its numbers in the configuration. */
class Interfaces {
  readonly #links: readonly RoutingLink[];
  #uplinks: ReadonlyMap<string, string> = new Map();
  #names: ReadonlyMap<number, string> = new Map();
  #lookedAt: Instant | undefined;

  constructor(config: FpmConfig, links: readonly RoutingLink[]) {
    this.#links = links;
    this.configure(config);
  }

  configure({ interfaces }: FpmConfig): void {
    this.#uplinks = new Map(interfaces.map((i) => [i.interface, i.uplink]));
  }

  linkOf(ifindex: number, vrf: number): number | undefined {
    const name = this.#nameOf(ifindex);
    const uplink = this.#uplinks.get(String(ifindex)) ?? (name && (this.#uplinks.get(name) ?? name));
    // A client under the shim sees our interfaces, by our numbers.
    const link = this.#links.find((l) => (uplink === undefined ? l.index === ifindex : l.name === uplink));
    return link?.vrf === vrf ? link.index : undefined;
  }

  #nameOf(ifindex: number): string | undefined {
    const now = systemClock.now();
    const isRecent = this.#lookedAt !== undefined && now - this.#lookedAt < LOOK_AGAIN_MS;
    if (!this.#names.has(ifindex) && !isRecent) {
      this.#names = hostInterfaces();
      this.#lookedAt = now;
    }
    return this.#names.get(ifindex);
  }
}

/** The host's interfaces by number, as far as they speak IP: proc(5) tells, for this process's network namespace. */
function hostInterfaces(): Map<number, string> {
  const names = new Map<number, string>();
  // `1  lo  : 1 V3` and lines of its groups below it.
  for (const m of read('/proc/self/net/igmp').matchAll(/^(\d+)\s+(\S+?)\s*:/gm)) names.set(Number(m[1]), m[2]!);
  // `ADDRESS INDEX LENGTH SCOPE FLAGS NAME`, the index in hexadecimal.
  for (const m of read('/proc/self/net/if_inet6').matchAll(/^\S+ (\S+) \S+ \S+ \S+ +(\S+)$/gm))
    names.set(Number.parseInt(m[1]!, 16), m[2]!);
  return names;
}

function read(file: string): string {
  try {
    return readFileSync(file, 'utf8');
  } catch {
    return '';
  }
}
