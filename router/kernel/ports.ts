/**
 * Interfaces into VRFs and back. The kernel takes an interface down and up on the way, whereby it loses IPv6 addresses, routes and
 * neighbours entered by hand; all of them are read before, kept in the journal, and said to the kernel again after.
 */
import type { Logger } from '../lib/log.ts';
import { MAIN_TABLE, NetlinkWriter, NlFlag, Rtm } from '../wire/netlink.ts';
import { type Host, isRefusal } from './host.ts';
import type { EntryOf, Journal } from './journal.ts';
import { AddressFlag, decodeAddress, type HostAddress, writeAddressAgain } from './netlink/address.ts';
import type { Link } from './netlink/link.ts';
import { decodePermanent, writeNeighbourAgain } from './netlink/neighbour.ts';
import { decodeRoute, type HostRoute, type Rerouting, routeIdentity, writeRouteAgain } from './netlink/route.ts';
import { KERNEL_PROTOCOL, ROUTE_PROTOCOL, SETUP_PROTOCOL } from './uplink.ts';

type PortEntry = EntryOf<'port'>;

/** What the kernel makes by itself, and what we make, nobody has to keep. */
const NOT_KEPT: ReadonlySet<number> = new Set([KERNEL_PROTOCOL, SETUP_PROTOCOL, ROUTE_PROTOCOL]);

export interface PortsContext {
  readonly host: Host;
  readonly journal: Journal;
  readonly log: Logger;
}

/** Put an interface into a VRF, or see to it that it is there as it should be. @throws KernelRefusal */
export function holdPort(
  { host, journal, log }: PortsContext,
  link: Link,
  vrf: Link,
  table: number,
  uplink: string,
): void {
  const known = journal.find('port', link.name);
  const isSame = known?.ifindex === link.index;
  const isHeld = link.master === vrf.index;
  if (isHeld && isSame && known.isSettled) {
    moveStrays(host, link, table, log);
    return;
  }
  const entry: PortEntry =
    isHeld && isSame
      ? known
      : {
          ...{ kind: 'port', uplink, name: link.name, vrf: vrf.name, table, ifindex: link.index, isSettled: false },
          // One that was on its way when the daemon ended lacks what is in the journal only.
          ...merged(readPort(host, link.index, table), isSame && !known.isSettled ? known : undefined),
        };
  journal.write(entry);
  if (!isHeld) host.changeLink(link, { master: vrf.index });
  restoreAddresses(host, entry, log);
  const routes = decoded(entry.routes, decodeRoute);
  restoreRoutes(host, routes, (r) => (r.table === MAIN_TABLE ? { table, onlyOver: link.index } : {}), log);
  journal.write({ ...entry, isSettled: true });
}

/**
 * Take an interface out of its VRF, with its addresses. What is left to do afterwards, when all are out: routes that lead over
 * several of them need all.
 * @throws KernelRefusal
 */
export function releasePort({ host, journal, log }: PortsContext, known: PortEntry): () => void {
  const link = host.link(known.name);
  const isHeld = link !== undefined && link.master !== 0 && link.master === host.link(known.vrf)?.index;
  // Gone, or another one by the same name, or taken out by somebody else: nothing of ours is in it.
  if (link === undefined || link.index !== known.ifindex || (known.isSettled && !isHeld))
    return () => journal.forget(known);
  let entry = known;
  if (known.isSettled) {
    entry = { ...known, isSettled: false, ...presentPort(host, known) };
    journal.write(entry);
  }
  if (isHeld) host.changeLink(link, { master: 0 });
  restoreAddresses(host, entry, log);
  const routes = decoded(entry.routes, decodeRoute);
  const back = (r: HostRoute): Rerouting =>
    r.table === entry.table ? { table: MAIN_TABLE, onlyOver: link.index } : {};
  return () => {
    restoreRoutes(host, routes, back, log);
    journal.forget(entry);
  };
}

type Kept = Pick<PortEntry, 'addresses' | 'routes' | 'neighbours'>;

function readPort(host: Host, ifindex: number, table: number): Kept {
  const neighbours = host.neighbours().filter((n) => n.index === ifindex);
  return {
    addresses: encoded(lostAddresses(host, ifindex)),
    routes: encoded(host.routes({ oif: ifindex }).filter((r) => !NOT_KEPT.has(r.protocol) && r.table !== table)),
    neighbours: encoded(neighbours),
  };
}

/** What an interface in its VRF has now: what was moved there and still is, and what others have added since. */
function presentPort(host: Host, entry: PortEntry): Kept {
  const w = new NetlinkWriter();
  const now = readPort(host, entry.ifindex, entry.table);
  const inTable = host.routes({ table: entry.table, oif: entry.ifindex }).filter((r) => !NOT_KEPT.has(r.protocol));
  const present = new Map(inTable.map((r) => [routeIdentity(r, w), r]));
  const kept: HostRoute[] = [];
  for (const r of decoded(entry.routes, decodeRoute)) {
    if (r.table !== MAIN_TABLE) continue;
    const moved = routeIdentity(r, w, { table: entry.table, onlyOver: entry.ifindex });
    if (present.delete(moved)) kept.push(r);
  }
  return { ...now, routes: [...encoded(kept), ...encoded([...present.values()]), ...now.routes] };
}

function merged(now: Kept, before: Kept | undefined): Kept {
  if (before === undefined) return now;
  const both = (key: keyof Kept): string[] => [...new Set([...before[key], ...now[key]])];
  return { addresses: both('addresses'), routes: both('routes'), neighbours: both('neighbours') };
}

/** IPv6 ones; those that the kernel makes up itself for privacy it makes up again. */
function lostAddresses(host: Host, ifindex: number): HostAddress[] {
  return host
    .addresses()
    .filter((a) => a.index === ifindex && a.family === 6 && (a.flags & AddressFlag.Temporary) === 0);
}

function restoreAddresses(host: Host, entry: PortEntry, log: Logger): void {
  const present = new Set(host.addresses().map((a) => `${a.index} ${a.addr}`));
  for (const a of decoded(entry.addresses, decodeAddress)) {
    if (present.has(`${entry.ifindex} ${a.addr}`)) continue;
    attempt(log, `address ${a.addr} of ${entry.name}`, () => {
      // It was found to be unique before: usable at once, and then with the flags it had.
      host.send(Rtm.NewAddr, NlFlag.Create, (w) => writeAddressAgain(w, entry.ifindex, a.message, AddressFlag.NoDad));
      host.send(Rtm.NewAddr, NlFlag.Replace, (w) => writeAddressAgain(w, entry.ifindex, a.message));
    });
  }
  for (const n of decoded(entry.neighbours, decodePermanent))
    attempt(log, `a neighbour on ${entry.name}`, () =>
      host.send(Rtm.NewNeigh, NlFlag.Create | NlFlag.Replace, (w) => writeNeighbourAgain(w, entry.ifindex, n.message)),
    );
}

/** Those that are not there; the ones by gateways need those that lead to the gateways. */
function restoreRoutes(
  host: Host,
  routes: readonly HostRoute[],
  change: (r: HostRoute) => Rerouting,
  log: Logger,
): void {
  const w = new NetlinkWriter();
  const indexes = new Set(routes.flatMap((r) => r.hops.map((h) => h.ifindex)));
  const present = new Set<string>();
  for (const oif of indexes) for (const r of host.routes({ oif })) present.add(routeIdentity(r, w));
  const missing = routes.filter((r) => !present.has(routeIdentity(r, w, change(r))));
  const isDirect = (r: HostRoute): boolean => r.hops.every((h) => h.gateway === undefined);
  for (const r of [...missing.filter(isDirect), ...missing.filter((x) => !isDirect(x))])
    attempt(log, `route to ${r.prefix}`, () => addAgain(host, r, change(r)));
}

function addAgain(host: Host, r: HostRoute, change: Rerouting): void {
  // Of equal IPv4 routes the first one counts: they come in the order in which they stood.
  const flags = r.prefix.family === 4 ? NlFlag.Create | NlFlag.Append : NlFlag.Create;
  host.send(Rtm.NewRoute, flags, (w) => writeRouteAgain(w, r, change));
}

/** A DHCP client knows of no VRF: what it puts into the main table belongs into the VRF's. */
function moveStrays(host: Host, link: Link, table: number, log: Logger): void {
  for (const r of host.routes({ table: MAIN_TABLE, oif: link.index })) {
    if (NOT_KEPT.has(r.protocol) || r.hops.length !== 1) continue;
    attempt(log, `route to ${r.prefix}`, () => {
      addAgain(host, r, { table });
      host.send(Rtm.DelRoute, 0, (w) => writeRouteAgain(w, r));
    });
  }
}

/** What cannot be put back is said; the rest goes on. */
function attempt(log: Logger, what: string, act: () => void): void {
  try {
    act();
  } catch (e) {
    if (isRefusal(e, 'EEXIST')) return;
    log.warn('cannot put back', { what, why: e instanceof Error ? e.message : String(e) });
  }
}

function encoded(all: readonly { readonly message: Uint8Array }[]): string[] {
  return all.map((x) => Buffer.from(x.message).toString('base64'));
}

function decoded<T>(texts: readonly string[], decode: (m: Uint8Array) => T | undefined): T[] {
  return texts.flatMap((text) => decode(new Uint8Array(Buffer.from(text, 'base64'))) ?? []);
}
