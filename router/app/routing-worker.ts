/**
 * The routing worker: single writer of the FIB, home of the BGP speaker. Everything it needs of the outside comes as
 * messages of routing-protocol.ts.
 */

import { parentPort, workerData } from 'node:worker_threads';
import type { RouteFunction } from '../../bgp/speaker.ts';
import type { BgpConfig, FilterModule } from '../config/bgp-model.ts';
import type { FpmConfig } from '../config/fpm.ts';
import { MAIN_VRF } from '../config/model.ts';
import { type NextHop, type RouteChange, RouteKind } from '../fib/shared.ts';
import { FibWriter } from '../fib/writer.ts';
import type { KnownRoute } from '../fpm/resolve.ts';
import { Addr, Prefix } from '../lib/addr.ts';
import { systemClock } from '../lib/clock.ts';
import { isEqual } from '../lib/equal.ts';
import { MlshimError } from '../lib/errors.ts';
import { type Logger, makeLogger } from '../lib/log.ts';
import { posted, revived } from '../lib/post.ts';
import type { BfdWatcher } from './bgp-bfd.ts';
import { BgpRoom } from './bgp-room.ts';
import { StackTransport, type StreamPort } from './bgp-transport.ts';
import { loadFilters, strayFailure } from './filter-module.ts';
import { FilterMarks, filterKey } from './filter-watch.ts';
import { FpmRoom } from './fpm-room.ts';
import { KernelRoutesRoom } from './kernel-routes.ts';
import { OnePerTurn } from './one-per-turn.ts';
import { type RouteFacts, routeGet, routeShow, sourceTo } from './route-answers.ts';
import type {
  ConfiguredRoute,
  FromRouting,
  RoutingBoot,
  RoutingLink,
  RoutingSummary,
  RoutingVrf,
  ToRouting,
  WorkerQuery,
} from './routing-protocol.ts';
import { turns } from './turns.ts';

const DEFAULT_VRF = 0;
const boot = workerData as RoutingBoot;
const port = parentPort!;
const send = (message: FromRouting): void => port.postMessage(message);
const log: Logger = makeLogger((line) => send({ kind: 'log', ...line }), 'routing', 'debug');

const fib = new FibWriter();
/** The links, our addresses on them and the VRFs as they are now; those who hold these lists see every change. */
const links: RoutingLink[] = [...boot.links];
const own: { addr: Addr; prefix: Prefix; link: RoutingLink }[] = ownOf(links);

function ownOf(all: readonly RoutingLink[]) {
  return all.flatMap((link) => link.addresses.map((text) => ({ ...Prefix.parseLoose(text)!, link })));
}

/** The data plane has the FIB as it was at `ready`; before that there is nobody to tell. */
let isReady = false;

/** Routes copied at a time into a table that is being made anew, and how long a turn goes on with it. */
const FIB_SLICE = 256;
const FIB_MS = 3;
let isWorking = false;
/** How often a restarted worker looks whether its FIB is complete. */
const SETTLE_POLL_MS = 100;

/** Tell the data plane when the FIB's arrays were replaced, and go on with tables that are being made anew. */
function publish(): void {
  kernelRoutes?.pump();
  if (!isReady) return;
  const shared = fib.takeChangedShared();
  if (shared !== undefined) send({ kind: 'fib', fib: shared });
  if (isWorking || !fib.isBuilding) return;
  isWorking = true;
  setImmediate(() => {
    isWorking = false;
    turns.begin();
    const until = turns.until(FIB_MS, 0);
    do fib.work(FIB_SLICE);
    while (fib.isBuilding && systemClock.now() < until);
    publish();
  });
}

const KINDS = {
  unicast: RouteKind.Unicast,
  blackhole: RouteKind.Blackhole,
  unreachable: RouteKind.Unreachable,
} as const;

function routeChange(r: ConfiguredRoute): RouteChange {
  const nextHops = r.hops.map((h): NextHop => {
    return { link: h.link, gateway: h.gateway === undefined ? undefined : Addr.parse(h.gateway), weight: h.weight };
  });
  return { vrf: r.vrf, prefix: Prefix.parse(r.prefix)!, source: r.source, nextHops, kind: KINDS[r.kind] };
}

// Links carry nothing before the child has taken their keys.
for (const link of links) fib.linkDown(link.index);
let configured = boot.routes.map(routeChange);
fib.apply(configured);

const kernelRoutes = kernelRoutesRoom();

function kernelRoutesRoom(): KernelRoutesRoom | undefined {
  if (boot.kernelRoutes === undefined) return undefined;
  try {
    return new KernelRoutesRoom(fib, boot.kernelRoutes, boot.restart !== undefined, log.for('kernel-routes'));
  } catch (e) {
    send({
      kind: 'failed',
      code: 'HOST_REFUSED',
      message: `routes of the kernel: ${e instanceof Error ? e.message : e}`,
    });
    process.exit(1); // of this thread
  }
}

let { source } = boot;
const vrfs: RoutingVrf[] = [...revived(boot.vrfs)];
const MAIN = { name: MAIN_VRF, number: DEFAULT_VRF };
const NO_SOURCE = { v4: undefined, v6: undefined };

function factsOf(vrf: { readonly name: string; readonly number: number }): RouteFacts {
  const isMain = vrf.number === DEFAULT_VRF;
  return {
    vrf,
    fib,
    links,
    get own() {
      return own.filter((o) => o.link.vrf === vrf.number);
    },
    get source() {
      return isMain ? { v4: parsed(source.v4), v6: parsed(source.v6) } : NO_SOURCE;
    },
    of: factsNumbered,
    describeBgp: (prefix) => bgp?.answers.describe(prefix, isMain ? '' : vrf.name),
    protocolOf: (prefix) => fpm?.protocolOf(vrf.number, prefix),
  };
}

let allFacts: readonly RouteFacts[] = [MAIN, ...vrfs].map(factsOf);

function factsNumbered(vrf: number): RouteFacts | undefined {
  return allFacts.find((f) => f.vrf.number === vrf);
}

/** @throws MlshimError USAGE when there is no such VRF */
function factsNamed(name: string): RouteFacts {
  const found = allFacts.find((f) => f.vrf.name === (name === '' ? MAIN.name : name));
  if (found !== undefined) return found;
  const known = vrfs.map((v) => v.name).join(', ');
  throw new MlshimError('UNKNOWN', `no VRF "${name}"${known === '' ? '' : ` (known: ${known})`}`);
}

/** Streams of our stack by the VRF they are in; whose they are is known by their number. */
const vrfOfStream = new Map<number, number>();
const streams = (vrf: number): StreamPort => ({
  connect: (id, target) => {
    vrfOfStream.set(id, vrf);
    send({ kind: 'stream-connect', id, vrf, target });
  },
  listen: (id, listenPort, terms) => {
    vrfOfStream.set(id, vrf);
    send({ kind: 'stream-listen', id, vrf, port: listenPort, terms });
  },
  secure: (listen, terms) => send({ kind: 'stream-secure', listen, terms }),
  unlisten: (listen) => {
    vrfOfStream.delete(listen);
    send({ kind: 'stream-unlisten', listen });
  },
});
const watcher: BfdWatcher = {
  watch: (name, target, settings) => send({ kind: 'bfd-watch', name, target: posted(target), settings }),
  unwatch: (name) => send({ kind: 'bfd-unwatch', name }),
};
/** The filter module as it is loaded, and its functions. */
let filters: { readonly module: FilterModule | undefined; readonly functions: ReadonlyMap<string, RouteFunction> } = {
  module: undefined,
  functions: new Map(),
};
const filterMarks =
  boot.filterWatch &&
  new FilterMarks(boot.filterWatch, (number, key) => send({ kind: 'filter-function', number, key }));
process.on('uncaughtException', (e) => {
  const words = strayFailure(e);
  if (words === undefined) throw e;
  log.error('a filter function failed after it had answered', { error: words });
});
const bgp = await bgpRoom(boot.bgp && revived(boot.bgp));

/** @throws MlshimError CONFIG_INVALID when the module cannot be loaded; the one there is goes on then */
async function filtersFor({ filters: module }: BgpConfig): Promise<typeof filters> {
  if (isEqual(module, filters.module)) return filters;
  if (module === undefined) return { module, functions: new Map() };
  const functions = new Map(await loadFilters(module));
  for (const [name, ask] of functions)
    functions.set(name, filterMarks?.watched(filterKey(module.digest, name), ask) ?? ask);
  return { module, functions };
}

async function bgpRoom(settings: BgpConfig | undefined): Promise<BgpRoom | undefined> {
  if (settings === undefined) return undefined;
  try {
    filters = await filtersFor(settings);
    return new BgpRoom({
      settings,
      vrfs,
      links,
      fib,
      log: log.for('bgp'),
      changed: publish,
      events: (events, lost) => send({ kind: 'bgp-events', events, lost }),
      streams,
      watcher,
      ping: (id, remote, link) => send({ kind: 'ping', id, remote, link }),
      sourceTo: (vrf, dst) => {
        const facts = factsNumbered(vrf);
        return facts && sourceTo(facts, dst);
      },
      filters: filters.functions,
      restart: boot.restart,
      session: (peer, isUp) => send({ kind: 'session', peer, isUp }),
    });
  } catch (e) {
    if (!(e instanceof MlshimError)) throw e;
    send({ kind: 'failed', code: e.code, message: e.message });
    process.exit(e.exit); // of this thread
  }
}

const known = (): KnownRoute[] =>
  configured.map(({ vrf, prefix, nextHops }) => ({ vrf, prefix, nextHops: nextHops ?? [] }));
let fpm = boot.fpm && fpmRoom(revived(boot.fpm));

function fpmRoom(config: FpmConfig): FpmRoom {
  return new FpmRoom(config, links, known, vrfs, fib, log.for('fpm'), () => {
    bgp?.tableChanged();
    publish();
  });
}

function parsed(text: string | undefined): Addr | undefined {
  return text === undefined ? undefined : Addr.parse(text);
}

const NO_BGP = { asn: 0, router_id: '', peers: [] };

/** A promise where it takes time. */
function answer(query: WorkerQuery): unknown {
  switch (query.verb) {
    case 'route_get':
      return routeGet(factsNamed(query.args.vrf ?? ''), query.args.dst);
    case 'route_show':
      return routeShow(factsNamed(query.args.vrf ?? ''), query.args);
    case 'summary':
      return summary();
    case 'host_bfd':
      return bgp?.hostBfd ?? { sessions: [], drops: {} };
    case 'bgp_show':
      return bgp?.answers.show(query.args.peer) ?? NO_BGP;
    case 'bgp_routes':
      return bgp?.answers.routes(query.args) ?? { routes: [], next: '', place: '' };
    case 'bgp_dump':
      if (bgp === undefined) throw new MlshimError('UNKNOWN', 'BGP is not configured');
      return bgp.answers.dump(query.args);
    case 'bgp_vpn':
      return bgp?.answers.vpn(query.args) ?? { routes: [], next: '' };
    case 'bgp_explain':
      return bgp?.answers.explain(query.args) ?? { prefix: query.args.prefix, candidates: [], roas: [], imports: [] };
    case 'bgp_rpki':
      if (bgp === undefined) throw new MlshimError('UNKNOWN', 'BGP is not configured');
      return bgp.rpki(query.args.action);
    case 'reload':
      return reload(query.boot);
    case 'bird':
      if (bgp === undefined) throw new MlshimError('UNKNOWN', 'BGP is not configured');
      return bgp.bird(revived(query.command), query.from);
    case 'bgp_peer':
      if (bgp === undefined) throw new MlshimError('UNKNOWN', 'BGP is not configured');
      bgp.answers.order(query.args);
      return {};
  }
}

/**
 * Go over to another configuration of the same BGP speaker: routes, links and VRFs as it has them, sessions only where they differ.
 * @throws MlshimError CONFIG_INVALID before anything has changed
 */
async function reload(next: RoutingBoot): Promise<void> {
  const settings = next.bgp && revived(next.bgp);
  const nextFilters = settings === undefined ? filters : await filtersFor(settings);
  const routes = next.routes.map(routeChange);
  const isKept = (link: RoutingLink): boolean => next.links.some((l) => l.index === link.index);
  for (const link of next.links) if (!links.some((l) => l.index === link.index)) fib.linkDown(link.index);
  const before = [...links];
  const vrfsBefore = [...vrfs];
  takeLinks(next.links);
  takeVrfs(revived(next.vrfs));
  try {
    if (settings !== undefined) {
      const { functions } = nextFilters;
      bgp?.reload({ settings, vrfs: [...vrfs], links: next.links, filters: functions });
    }
  } catch (e) {
    takeLinks(before);
    takeVrfs(vrfsBefore);
    throw e;
  }
  filters = nextFilters;
  source = next.source;
  const keyOf = (c: RouteChange): string => `${c.vrf} ${c.source} ${c.prefix}`;
  const wanted = new Set(routes.map(keyOf));
  const gone = configured.filter((c) => !wanted.has(keyOf(c))).map((c): RouteChange => ({ ...c, nextHops: undefined }));
  fib.apply([...gone, ...routes]);
  configured = routes;
  for (const { number } of vrfsBefore) if (factsNumbered(number) === undefined) fib.removeVrf(number);
  for (const link of before) if (!isKept(link)) fib.linkDown(link.index);
  reloadFpm(next.fpm && revived(next.fpm));
  kernelRoutes?.reload(next.kernelRoutes);
  bgp?.tableChanged();
  publish();
}

function takeLinks(next: readonly RoutingLink[]): void {
  links.splice(0, links.length, ...next);
  own.splice(0, own.length, ...ownOf(next));
}

function takeVrfs(next: readonly RoutingVrf[]): void {
  vrfs.splice(0, vrfs.length, ...next);
  allFacts = [MAIN, ...vrfs].map(factsOf);
}

function reloadFpm(config: FpmConfig | undefined): void {
  if (fpm !== undefined) fpm.reload(config);
  else if (config !== undefined) {
    fpm = fpmRoom(config);
    fpm.start();
  }
}

function summary(): RoutingSummary {
  const count = (family: number): number =>
    fib.stats().reduce((n, t) => (t.vrf === DEFAULT_VRF && t.family === family ? n + t.routes : n), 0);
  return {
    routesIpv4: count(4),
    routesIpv6: count(6),
    bgp: bgp?.answers.show('') ?? NO_BGP,
    rpki: bgp?.rpkiSummary(),
    fpm: fpm?.show(),
    hostFaults: bgp?.hostFaults ?? [],
    counters: { ...turns.counters(), ...bgp?.counters, ...bgp?.hostCounters, ...kernelRoutes?.counters },
  };
}

const questions = new OnePerTurn(({ id, query }: { readonly id: number; readonly query: WorkerQuery }) => {
  turns.begin();
  onQuery(id, query);
}, setImmediate);

function onQuery(id: number, query: WorkerQuery): void {
  const told = (found: unknown): void => send({ kind: 'answer', id, answer: found });
  const failed = (e: unknown): void => {
    const code = e instanceof MlshimError ? e.code : 'INTERNAL';
    const message = e instanceof Error ? e.message : String(e);
    send({ kind: 'answer', id, answer: undefined, failure: { code, message } });
  };
  try {
    const found = answer(query);
    if (found instanceof Promise) found.then(told, failed);
    else told(found);
  } catch (e) {
    failed(e);
  }
}

function onLinkState(index: number, up: boolean): void {
  if (up) fib.linkUp(index);
  else fib.linkDown(index);
  const link = links.find((l) => l.index === index);
  if (link !== undefined) bgp?.linkState(link.name, up);
  kernelRoutes?.linkChanged();
  publish();
}

/** After a restart, until everything that fills the FIB has told all it knows. */
function settle(): void {
  const isComplete = (bgp?.checkSettled() ?? true) && (fpm?.isSettled ?? true) && !fib.isBuilding;
  if (isComplete) {
    kernelRoutes?.settled();
    send({ kind: 'settled' });
  } else setTimeout(settle, SETTLE_POLL_MS);
}

/** The transport that asked for a stream of our stack. */
function stackOf(stream: number): StackTransport | undefined {
  const transport = bgp?.transport(vrfOfStream.get(stream) ?? DEFAULT_VRF);
  return transport instanceof StackTransport ? transport : undefined;
}

port.on('message', (m: ToRouting) => {
  turns.begin();
  switch (m.kind) {
    case 'start':
      bgp?.start();
      fpm?.start();
      if (boot.restart !== undefined) settle();
      break;
    case 'query':
      // An order is carried out before what comes after it, such as the end.
      if (m.query.verb === 'reload') onQuery(m.id, m.query);
      else questions.add(m);
      break;
    case 'roll-call':
      send({ kind: 'answer', id: m.id, answer: undefined });
      break;
    case 'link-state':
      onLinkState(m.index, m.up);
      break;
    case 'pong':
      bgp?.pong(m.id, m.rttUs);
      break;
    case 'bgp-watch':
      bgp?.watch.watch(m.isOn);
      break;
    case 'stream-opened':
      if (m.fd >= 0) send({ kind: 'stream-taken', fd: m.fd });
      stackOf(m.id)?.opened(m.id, m.fd, m.errno);
      vrfOfStream.delete(m.id);
      break;
    case 'stream-accepted':
      send({ kind: 'stream-taken', fd: m.fd });
      stackOf(m.listen)?.accepted(m.fd, m.remote, m.local, m.link);
      break;
    case 'bfd-change':
      bgp?.bfd.changed(m.change);
      break;
    case 'hand-over':
      fpm?.stop();
      kernelRoutes?.leave();
      void (bgp?.handOver() ?? Promise.resolve()).then(() => send({ kind: 'stopped' }));
      break;
    case 'stop':
      fpm?.stop();
      void (bgp?.stop(m.reason) ?? Promise.resolve()).then(() => {
        kernelRoutes?.stop();
        send({ kind: 'stopped' });
      });
      break;
  }
});

isReady = true;
fib.takeChangedShared();
send({ kind: 'ready', fib: fib.shared });
