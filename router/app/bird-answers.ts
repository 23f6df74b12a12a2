/**
 * Answers commands of BIRD's control socket from the speaker's tables. Runs in the routing worker. A listing comes in
 * parts, each of which is one short turn; what the next part needs is in `next`, so nothing is kept for a client that
 * leaves.
 */
import { hostname } from 'node:os';
import type { PeerView, RouteCursor, RouteEntry, RouteQuery, Speaker } from '../../bgp/speaker.ts';
import type { BirdCommand, OrderCommand, ProtocolName, RouteCommand } from '../birdctl/command.ts';
import { networksLines, type PeerFacts, PROTOCOLS_HEADING, peerLines } from '../birdctl/protocols.ts';
import { Code, type Line, ReplyText } from '../birdctl/reply.ts';
import { originAs, routeLines } from '../birdctl/routes.ts';
import type { Addr, Family, Prefix } from '../lib/addr.ts';

/** The version whose words these are. */
export const BIRD_VERSION = '2.0.12';

/** A part of a reply; `next` asks for the rest. */
export interface BirdPart {
  readonly text: string;
  readonly next: BirdPosition | undefined;
}

/** Where a listing stopped. */
export interface BirdPosition {
  /** Code of the last line sent. */
  readonly last: number;
  readonly table: number;
  readonly cursor: RouteCursor | undefined;
  /** The table's heading has been sent, and some table's. */
  readonly isHeaded: boolean;
  readonly hasOutput: boolean;
  /** Routes shown of each table before this one, and of this one. */
  readonly shown: readonly number[];
}

export interface BirdFacts {
  readonly speaker: Speaker;
  factsOf(peer: string): Omit<PeerFacts, 'preferred' | 'message'>;
  /** Prefixes of our own. */
  networks(): readonly Prefix[];
  wallClockMs(): number;
  readonly startedMs: number;
  reconfiguredMs(): number;
}

interface Table {
  readonly name: string;
  readonly family: Family;
  /** How our own prefixes of the family are called as a protocol. */
  readonly own: string;
}

const TABLES: readonly Table[] = [
  { name: 'master4', family: 4, own: 'networks4' },
  { name: 'master6', family: 6, own: 'networks6' },
];

const BEGIN: BirdPosition = { last: 0, table: 0, cursor: undefined, isHeaded: false, hasOutput: false, shown: [0, 0] };

export class BirdAnswers {
  readonly #facts: BirdFacts;
  /** What the operator said when a peer was disabled here. */
  readonly #messages = new Map<string, string>();

  constructor(facts: BirdFacts) {
    this.#facts = facts;
  }

  /** The reply to a command, or its next part. */
  answer(command: BirdCommand, from: BirdPosition | undefined): BirdPart {
    switch (command.kind) {
      case 'routes':
        return this.#routes(command, from ?? BEGIN);
      case 'protocols':
        return whole(...this.#protocols(command.name, command.all));
      case 'status':
        return whole(this.#status(), [Code.DaemonUp, 'Daemon is up and running']);
      case 'memory':
        return whole(memoryLines(process.memoryUsage()), [Code.Ok, '']);
      case 'symbols':
        return this.#symbols(command.of, command.name);
      case 'enable':
      case 'disable':
      case 'restart':
      case 'reload':
        return whole(...this.#order(command));
      case 'restrict':
      case 'configure':
        return whole([], [Code.AccessDenied, 'Access denied']); // answered before they come here
    }
  }

  #status(): Line[] {
    const f = this.#facts;
    return [
      [Code.Version, `BIRD ${BIRD_VERSION}`],
      [Code.Uptime, `Router ID is ${f.speaker.routerId}`],
      [Code.Uptime, `Hostname is ${hostname()}`],
      [Code.Uptime, `Current server time is ${timeText(f.wallClockMs(), true)}`],
      [Code.Uptime, `Last reboot on ${timeText(f.startedMs, true)}`],
      [Code.Uptime, `Last reconfiguration on ${timeText(f.reconfiguredMs(), true)}`],
    ];
  }

  #protocols(name: ProtocolName, all: boolean): [Line[], Line] {
    const { speaker } = this.#facts;
    const known = this.#names();
    if (typeof name === 'object' && 'name' in name && !known.includes(name.name)) {
      return [
        [],
        [
          Code.Mistake,
          `syntax error, unexpected CF_SYM_UNDEFINED, expecting END or CF_SYM_KNOWN or TEXT${all ? '' : ' or ALL'}`,
        ],
      ];
    }
    const matches = matcher(name);
    const wanted = known.filter(matches);
    if (wanted.length === 0) return [[], [Code.NoProtocol, 'No protocols match']];
    const counts = all ? speaker.bestCounts() : undefined;
    const own = this.#facts.networks();
    const lines: Line[] = [PROTOCOLS_HEADING];
    for (const table of TABLES.filter((t) => wanted.includes(t.own))) {
      const family = table.family === 4 ? 'ipv4' : 'ipv6';
      const routes = own.filter((p) => p.family === table.family).length;
      const preferred = counts?.get('')?.[family] ?? 0;
      lines.push(
        ...networksLines({ name: table.own, family, routes, preferred }, timeText(this.#facts.startedMs), all),
      );
    }
    for (const view of speaker.snapshot()) {
      if (!matches(view.name)) continue;
      const facts = {
        ...this.#facts.factsOf(view.name),
        preferred: counts?.get(view.name) ?? { ipv4: 0, ipv6: 0 },
        message: view.isShutDown ? (this.#messages.get(view.name) ?? '') : '',
      };
      lines.push(...peerLines(view, facts, this.#since(view), all));
    }
    return [lines, [Code.Ok, '']];
  }

  #names(): string[] {
    const own = this.#facts.networks();
    const statics = TABLES.filter((t) => own.some((p) => p.family === t.family)).map((t) => t.own);
    return [...statics, ...this.#facts.speaker.snapshot().map((v) => v.name)];
  }

  #since(view: PeerView): string {
    return timeText(this.#facts.wallClockMs() - view.stateMs);
  }

  #symbols(of: 'all' | 'table' | 'protocol', name: string | undefined): BirdPart {
    const tables = TABLES.map((t): [string, string] => [t.name, 'routing table']);
    const protocols = this.#names().map((n): [string, string] => [n, 'protocol']);
    const all = of === 'table' ? tables : of === 'protocol' ? protocols : [...tables, ...protocols];
    const line = ([n, kind]: readonly [string, string]): Line => [Code.Symbol, `${n.padEnd(8)}\t${kind}`];
    if (name === undefined) return whole(all.map(line), [Code.Ok, '']);
    return whole([], line([name, all.find(([n]) => n === name)?.[1] ?? 'undefined']));
  }

  #order(o: OrderCommand): [Line[], Line] {
    const { speaker } = this.#facts;
    const views = speaker.snapshot();
    if (typeof o.name === 'object' && 'name' in o.name && !this.#names().includes(o.name.name)) {
      const expecting = 'expecting CF_SYM_KNOWN or TEXT or ALL';
      return [[], [Code.Mistake, `syntax error, unexpected CF_SYM_UNDEFINED, ${expecting}`]];
    }
    const wanted = views.filter((v) => matcher(o.name)(v.name));
    if (wanted.length === 0) return [[], [Code.NoProtocol, 'No protocols match']];
    return [wanted.map((v) => this.#orderOne(v, o)), [Code.Ok, '']];
  }

  #orderOne({ name, isShutDown, state }: PeerView, o: OrderCommand): Line {
    const { speaker } = this.#facts;
    if (o.kind === 'enable') {
      if (!isShutDown) return [Code.AlreadyEnabled, `${name}: already enabled`];
      speaker.peerUp(name);
      return [Code.Enabled, `${name}: enabled`];
    }
    if (isShutDown) return [Code.AlreadyDisabled, `${name}: already disabled`];
    switch (o.kind) {
      case 'disable':
        this.#messages.set(name, o.text);
        speaker.peerDown(name, o.text);
        return [Code.Disabled, `${name}: disabled`];
      case 'restart':
        speaker.peerReset(name, o.text);
        return [Code.Restarted, `${name}: restarted`];
      case 'reload':
        if (state === 'Established') speaker.peerRefresh(name, o.direction);
        return [Code.Reloading, `${name}: reloading`];
    }
  }

  #routes(c: RouteCommand, at: BirdPosition): BirdPart {
    const bad = this.#routeMistake(c);
    if (bad !== undefined) return whole([], bad);
    const net = c.for === undefined ? c.net : this.#facts.speaker.longestMatch(c.for);
    const target = c.for ?? c.net;
    if (target !== undefined && (net === undefined || !this.#has(net))) {
      return whole([], [Code.NetworkNotFound, 'Network not found']);
    }
    const family = target?.family ?? c.in?.family;
    const tables = TABLES.filter((t) => {
      return (
        (family === undefined || t.family === family) && (c.tables === undefined || includesTable(c.tables, t.name))
      );
    });
    const table = tables[at.table];
    const reply = new ReplyText(at.last);
    const isListed = !c.count;
    const lines: Line[] = [];
    let { isHeaded, hasOutput, cursor } = at;
    const shown = [...at.shown];
    let next: BirdPosition | undefined;
    if (table !== undefined) {
      const page = this.#page(c, net, table, cursor);
      for (const [entry, isFirst] of page.routes) {
        shown[at.table]!++;
        if (!isListed) continue;
        if (!isHeaded) {
          if (hasOutput) lines.push([Code.Route, '']);
          lines.push([Code.Route, `Table ${table.name}:`]);
        }
        isHeaded = true;
        hasOutput = true;
        lines.push(...this.#entryLines(entry, table, isFirst, c.all));
      }
      cursor = page.next;
      const isOver = cursor === undefined;
      if (isOver && (c.count || c.stats) && target === undefined) {
        lines.push([Code.Route, this.#totalText(c, [table], shown[at.table]!, ` in table ${table.name}`)]);
        if (c.stats) lines.push([Code.Route, '']);
      }
      if (!isOver) next = { ...at, cursor, isHeaded, hasOutput, shown, last: 0 };
      else if (at.table + 1 < tables.length) {
        next = {
          table: at.table + 1,
          cursor: undefined,
          isHeaded: false,
          hasOutput: hasOutput && !c.stats,
          shown,
          last: 0,
        };
      }
    }
    const text = reply.part(lines);
    if (next !== undefined) return { text, next: { ...next, last: reply.last } };
    const total = shown.reduce((a, b) => a + b, 0);
    const end: Line =
      (c.count || c.stats) && tables.length > 1
        ? [Code.RouteTotals, `Total: ${this.#totalText(c, tables, total, ` in ${tables.length} tables`)}`]
        : [Code.Ok, ''];
    return { text: text + reply.end(end), next: undefined };
  }

  /** `9 of 12 routes for 5 networks in table master4` */
  #totalText(c: RouteCommand, tables: readonly Table[], shown: number, where: string): string {
    const { speaker } = this.#facts;
    const sum = (numbers: readonly number[]): number => numbers.reduce((a, b) => a + b, 0);
    const families = tables.map((t) => (t.family === 4 ? 'ipv4' : 'ipv6') as 'ipv4' | 'ipv6');
    const networks = sum(families.map((f) => speaker.totals[f]));
    const own = this.#facts.networks().filter((p) => tables.some((t) => t.family === p.family)).length;
    const routes = own + sum(speaker.snapshot().flatMap((v) => families.map((f) => v.routes[f].accepted)));
    return `${shown} of ${c.primary ? networks : routes} routes for ${networks} networks${where}`;
  }

  #routeMistake(c: RouteCommand): Line | undefined {
    const names = this.#names();
    const isUnknown = (name: string | undefined): boolean => name !== undefined && !names.includes(name);
    const expecting = (what: string): Line => [
      Code.Mistake,
      `syntax error, unexpected CF_SYM_UNDEFINED, expecting ${what}`,
    ];
    if (isUnknown(c.protocol) || isUnknown(c.export) || isUnknown(c.noExport)) return expecting('CF_SYM_KNOWN');
    const bad = c.tables?.some((t) => t !== 'all' && !TABLES.some((k) => k.name === t));
    return bad === true ? expecting('CF_SYM_KNOWN or ALL') : undefined;
  }

  #has(net: Prefix): boolean {
    return this.#facts.speaker.page({ kind: 'best', prefix: net }, undefined, () => true).routes.length > 0;
  }

  /** Entries of one page, each with whether it is the first of its prefix. */
  #page(
    c: RouteCommand,
    net: Prefix | undefined,
    table: Table,
    cursor: RouteCursor | undefined,
  ): { readonly routes: readonly (readonly [RouteEntry, boolean])[]; readonly next: RouteCursor | undefined } {
    const { speaker } = this.#facts;
    const isOwn = c.protocol !== undefined && TABLES.some((t) => t.own === c.protocol);
    const exact = net ?? c.whereNet;
    const within = c.in ?? c.whereIn;
    const isBestOnly = c.primary || c.export !== undefined || c.noExport !== undefined;
    const query: RouteQuery = {
      kind: c.filtered ? 'refused' : isBestOnly ? 'best' : 'candidates',
      family: table.family,
      ...(c.protocol !== undefined && !isOwn && { peer: c.protocol }),
      ...(exact !== undefined && { prefix: exact }),
      ...(within !== undefined && { within }),
    };
    if ((exact ?? within ?? table).family !== table.family) return { routes: [], next: undefined };
    const isTold = (peer: string, prefix: Prefix): boolean =>
      speaker.page({ kind: 'out', peer, prefix }, undefined, () => true).routes.length > 0;
    const page = speaker.page(query, cursor, (route) => route);
    const wanted = page.routes.filter((r) => {
      if (isOwn && (r.peer !== undefined || c.protocol !== table.own)) return false;
      if (c.lastAs !== undefined && originAs(r.attrs.asPath) !== c.lastAs) return false;
      if (c.export !== undefined) return isTold(c.export, r.prefix);
      return c.noExport === undefined || (r.peer?.config.name !== c.noExport && !isTold(c.noExport, r.prefix));
    });
    return {
      routes: wanted.map((r, i) => [r, i === 0 || !wanted[i - 1]!.prefix.equals(r.prefix)] as const),
      next: page.next,
    };
  }

  #entryLines(r: RouteEntry, table: Table, isFirst: boolean, all: boolean): Line[] {
    const { peer, hop } = r;
    const address: Addr | undefined = peer?.config.address;
    const gateway = hop?.address ?? r.attrs.nextHop?.linkLocal ?? r.attrs.nextHop?.global;
    return routeLines(
      {
        prefix: isFirst ? String(r.prefix) : '',
        protocol: peer?.config.name ?? table.own,
        since: timeText(this.#facts.wallClockMs() - (r.ageS ?? 0) * 1000),
        from: address === undefined || gateway === undefined || address.equals(gateway) ? undefined : address,
        // What BIRD marks is the first route of a network, also where that is one it refused.
        isPrimary: r.isBest || (r.refused !== undefined && isFirst && !this.#has(r.prefix)),
        attrs: peer === undefined ? undefined : r.attrs,
        via:
          gateway === undefined || peer === undefined
            ? undefined
            : { gateway, interface: String(hop?.link ?? peer.config.link) },
      },
      all,
    );
  }
}

function whole(lines: readonly Line[], end: Line): BirdPart {
  const reply = new ReplyText();
  return { text: reply.part(lines) + reply.end(end), next: undefined };
}

function includesTable(wanted: readonly string[], name: string): boolean {
  return wanted.includes('all') || wanted.includes(name);
}

function matcher(name: ProtocolName): (candidate: string) => boolean {
  if (name === 'all') return () => true;
  if ('name' in name) return (candidate) => candidate === name.name;
  const escaped = name.pattern.replace(/[.+^${}()|[\]\\]/g, '\\$&');
  const pattern = new RegExp(`^${escaped.replaceAll('*', '.*').replaceAll('?', '.')}$`);
  return (candidate) => pattern.test(candidate);
}

/** Local time as BIRD's `iso long` has it, which exporters can read. */
function timeText(ms: number, withMs = false): string {
  const d = new Date(ms);
  const two = (n: number): string => String(n).padStart(2, '0');
  const date = `${d.getFullYear()}-${two(d.getMonth() + 1)}-${two(d.getDate())}`;
  const time = `${two(d.getHours())}:${two(d.getMinutes())}:${two(d.getSeconds())}`;
  return `${date} ${time}${withMs ? `.${String(d.getMilliseconds()).padStart(3, '0')}` : ''}`;
}

function memoryLines(m: { readonly rss: number; readonly heapUsed: number; readonly heapTotal: number }): Line[] {
  const row = (label: string, used: string, over: string): Line => {
    return [Code.Memory, `${label.padEnd(17)}${used.padStart(10)}  ${over.padStart(10)}`];
  };
  const size = (octets: number): string => {
    let n = octets;
    let unit = 0;
    for (; n >= 10_000 && unit < 4; unit++) n /= 1024;
    return `${n.toFixed(1)} ${' kMGT'[unit]}B`;
  };
  return [
    [Code.Memory, 'BIRD memory usage'],
    row('', 'Effective', 'Overhead'),
    row('Total:', size(m.rss), size(m.heapTotal - m.heapUsed)),
  ];
}
