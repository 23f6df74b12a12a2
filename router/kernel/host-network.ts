/**
 * The host's network as uplinks need it: VRFs or tables and rules of their own, interfaces in their VRFs, WireGuard devices. What
 * is wanted comes as values; `apply` makes the host so, changing only what is not, and writes every change into a journal
 * first; `undo` takes everything back, also what a daemon has left that was killed.
 */
import { join } from 'node:path';
import { isEqual } from '../lib/equal.ts';
import { MlshimError } from '../lib/errors.ts';
import type { Logger } from '../lib/log.ts';
import { MAIN_TABLE, NlFlag, Rtm } from '../wire/netlink.ts';
import { checkUplinks, type HostFacts } from './check.ts';
import { Host, isRefusal } from './host.ts';
import { Journal, type JournalEntry } from './journal.ts';
import { AddressFlag, type HostAddress, writeAddress } from './netlink/address.ts';
import { withoutRoutesOf } from './netlink/filter.ts';
import type { Link } from './netlink/link.ts';
import {
  decodeRoute,
  type HostRoute,
  type NewRoute,
  ROUTE_TYPES,
  writeRoute,
  writeRouteAgain,
} from './netlink/route.ts';
import { ruleIdentity } from './netlink/rule.ts';
import { KernelRefusal, NetlinkFamily } from './netlink/socket.ts';
import { hostRule, plainRule } from './plain-rule.ts';
import { holdPort } from './ports.ts';
import { openRelay, type Relay } from './relay.ts';
import { readSysctl, writeSysctl } from './sysctl.ts';
import { setTunnel } from './tunnel.ts';
import { undoEntries } from './undo.ts';
import {
  bindDeviceOf,
  type HostUplink,
  interfaceOf,
  isInVrf,
  KERNEL_PROTOCOL,
  ROUTE_PROTOCOL,
  SETUP_PROTOCOL,
  tunnelDevice,
  type UplinkState,
  vrfDevice,
  type WireguardUplink,
} from './uplink.ts';
import {
  copiedRoutes,
  nearRoutes,
  nowhere,
  ownRoutes,
  routeKey,
  tunnelMark,
  type UplinkFacts,
  vrfRule,
  wantedRules,
} from './wanted.ts';

const JOURNAL = 'host-network.journal';
/** Sockets that are bound to no VRF get what comes through one: listeners of the host, and the tunnels of the kernel. */
const ACCEPT = ['ipv4/tcp_l3mdev_accept', 'ipv4/udp_l3mdev_accept'];
/** The kernel's WireGuard turns this off for all interfaces when a device of it goes up. */
const WIREGUARD_CHANGES = 'ipv4/conf/all/send_redirects';
/** Multicast groups of rtnetlink: links, addresses, routes and rules of both families. */
const GROUPS = [1, 5, 7, 8, 9, 11, 19].reduce((mask, n) => mask | (1 << (n - 1)), 0);

/** WireGuard devices on TUNs of the host, which stay when who made them ends. */
export interface UserTunnels {
  /** Make one, take over what is there, or make it what the configuration says now. @throws MlshimError */
  open(device: string, uplink: WireguardUplink, fwmark: number): Promise<void>;
  /** Nobody is to serve it any more. */
  close(device: string): void | Promise<void>;
}

export interface HostNetworkOptions {
  /** Of the daemon's own; the journal is in it. */
  readonly folder: string;
  readonly log: Logger;
  /** Where the kernel has no WireGuard. */
  readonly tunnels?: UserTunnels;
}

export class HostNetwork {
  readonly #o: HostNetworkOptions;
  readonly #host: Host;
  readonly #journal: Journal;
  #uplinks: readonly HostUplink[] = [];
  /** What tunnels were told last. */
  readonly #told = new Map<string, { readonly uplink: WireguardUplink; readonly fwmark: number }>();
  /** What the last attempt to set one up said. */
  readonly #faults = new Map<string, string>();
  #relay: Relay | undefined;
  #states = '';
  #work: Promise<void> = Promise.resolve();

  /** @throws KernelRefusal */
  constructor(options: HostNetworkOptions) {
    this.#o = options;
    this.#host = Host.open();
    this.#journal = new Journal(join(options.folder, JOURNAL));
  }

  /**
   * Make the host's network so, from whatever state: fresh, as it was left by a daemon that was killed, or with other uplinks.
   * @throws MlshimError HOST_OVERLAP, HOST_MISSING before anything is changed; NO_VRF, NOT_PRIVILEGED, HOST_REFUSED after
   *   everything new was taken back
   */
  apply(uplinks: readonly HostUplink[]): Promise<void> {
    return this.#run(async () => {
      checkUplinks(uplinks, this.#facts());
      const before = new Set(this.#journal.entries);
      const uplinksBefore = this.#uplinks;
      try {
        await this.#setUp(uplinks, true, (u, e) => {
          throw typed(e, `uplink ${u.name}`);
        });
      } catch (e) {
        this.#undo(this.#journal.entries.filter((entry) => !before.has(entry)));
        this.#uplinks = uplinksBefore;
        throw typed(e, 'tables and rules of uplinks');
      }
    });
  }

  /**
   * Tunnels have other endpoints, and nothing else is different. What is not there now does not hinder it: `states` tells of that.
   */
  renew(uplinks: readonly HostUplink[]): Promise<void> {
    return this.#run(() => this.#repair(uplinks));
  }

  /** The uplink by which the packets of a tunnel leave; undefined = by the host's routes. @throws KernelRefusal */
  underlayOf(tunnel: string): string | undefined {
    const u = this.#uplinks.find((o) => o.name === tunnel);
    return u?.kind === 'wireguard' ? this.#underlayOf(u)?.name : undefined;
  }

  /** Everything as it was before. Whether all could be taken back; the log says what could not. */
  undo(): boolean {
    this.close();
    const isClean = this.#undo(this.#journal.entries);
    this.#host.close();
    this.#journal.close();
    return isClean;
  }

  /** Stop watching; the network stays as it is. */
  close(): void {
    this.#relay?.close();
    this.#relay = undefined;
  }

  /**
   * Tell of uplinks that go down and come up, and of addresses of the host, and set up again what vanished and came back.
   * @throws KernelRefusal
   */
  watch(changed: (states: readonly UplinkState[]) => void): void {
    this.#states = this.#picture(this.states());
    this.#relay = openRelay({
      family: NetlinkFamily.Route,
      groups: GROUPS,
      filter: withoutRoutesOf(ROUTE_PROTOCOL),
      received: (messages, isLost) => {
        if (isLost || messages.some((m) => this.#concerns(m))) void this.#run(() => this.#look(changed));
      },
    });
  }

  states(): readonly UplinkState[] {
    const links = this.#host.links();
    const addresses = this.#host.addresses();
    return this.#uplinks.map((u): UplinkState => {
      const held = holderOf(u, links, addresses);
      const own = addressesOf(u, held, addresses).map((a) => a.addr);
      const why = this.#faults.get(u.name) ?? faultOf(u, held, own.length);
      return {
        ...{ name: u.name, isUp: why === undefined, why, bindDevice: bindDeviceOf(u), table: u.table },
        ...{ interface: held?.name ?? interfaceOf(u), ifindex: held?.index ?? 0, addresses: own },
      };
    });
  }

  #run(work: () => Promise<void>): Promise<void> {
    const done = this.#work.then(work);
    this.#work = done.catch(() => {});
    return done;
  }

  #undo(entries: readonly JournalEntry[]): boolean {
    for (const e of entries) {
      if (e.kind !== 'link' || !this.#told.delete(e.name) || e.is !== 'tun') continue;
      void this.#o.tunnels?.close(e.name);
    }
    return undoEntries(this.#context, entries);
  }

  get #context() {
    return { host: this.#host, journal: this.#journal, log: this.#o.log };
  }

  /** Routes of tables that are not an uplink's to copy are nothing to us. */
  #concerns(m: Uint8Array): boolean {
    const route = decodeRoute(m);
    return route === undefined || route.table === MAIN_TABLE;
  }

  async #look(changed: (states: readonly UplinkState[]) => void): Promise<void> {
    if (this.#relay === undefined) return;
    await this.#repair(this.#uplinks);
    const states = this.states();
    const text = this.#picture(states);
    if (text === this.#states) return;
    this.#states = text;
    changed(states);
  }

  /** Set up what can be. */
  async #repair(uplinks: readonly HostUplink[]): Promise<void> {
    try {
      await this.#setUp(uplinks, false, (u, e) => {
        if (this.#faults.get(u.name) !== reason(e)) this.#o.log.warn('not set up', { uplink: u.name, why: reason(e) });
        this.#faults.set(u.name, reason(e));
      });
    } catch (e) {
      this.#o.log.warn('tables and rules of uplinks are not all set up', { why: reason(e) });
    }
  }

  /** What `watch` tells of: other addresses of the host too, since they are nobody's way out. */
  #picture(states: readonly UplinkState[]): string {
    return JSON.stringify([states.map(plainState), this.#host.addresses().map((a) => `${a.index} ${a.addr}`)]);
  }

  #facts(): HostFacts {
    const { entries } = this.#journal;
    const tables = new Set(entries.flatMap((e) => (e.kind === 'table' ? [e.table] : [])));
    return {
      links: this.#host.links(),
      addresses: this.#host.addresses(),
      isOurs: (device) => this.#journal.find('link', device) !== undefined,
      wasThere: (name) =>
        this.#journal.find('port', name) !== undefined || this.#journal.find('table', name) !== undefined,
      tableUser: (table) => {
        if (tables.has(table)) return undefined;
        const [route] = this.#host.routes({ table });
        return route && `somebody's route to ${route.prefix}`;
      },
    };
  }

  /** @param isOrder an interface that is down is to be up; else somebody may have taken it down meanwhile */
  async #setUp(
    uplinks: readonly HostUplink[],
    isOrder: boolean,
    failed: (u: HostUplink, e: unknown) => void,
  ): Promise<void> {
    this.#dropOthers(uplinks);
    this.#uplinks = uplinks;
    // Interfaces first: the way of tunnels may be through them.
    for (const kind of ['interface', 'source', 'wireguard'] as const)
      for (const u of uplinks) {
        if (u.kind !== kind) continue;
        try {
          this.#claimTable(u);
          if (isInVrf(u)) this.#makeVrf(u);
          if (u.kind === 'interface') this.#takeInterface(u, isOrder);
          if (u.kind === 'wireguard') await this.#makeTunnel(u, isOrder);
          this.#faults.delete(u.name);
        } catch (e) {
          failed(u, e);
        }
      }
    const links = this.#host.links();
    const addresses = this.#host.addresses();
    const facts = uplinks.map((uplink): UplinkFacts => {
      const held = holderOf(uplink, links, addresses);
      return {
        uplink,
        ifindex: held?.index ?? 0,
        addresses: addressesOf(uplink, held, addresses).map((a) => a.addr),
      };
    });
    const taken = new Set(facts.map((f) => f.ifindex));
    for (const f of facts) this.#fillTable(f, addresses, taken);
    this.#makeRules(facts);
  }

  /** What was made for uplinks that are no more, or are made otherwise now. */
  #dropOthers(uplinks: readonly HostUplink[]): void {
    const isWanted = (e: JournalEntry): boolean => {
      const u = uplinks.find((x) => x.name === e.uplink);
      if (u === undefined) return e.uplink === undefined;
      switch (e.kind) {
        case 'port':
          return isInVrf(u) && interfaceOf(u) === e.name && u.table === e.table;
        case 'link':
          return e.is === 'vrf' ? isInVrf(u) && this.#host.link(e.name)?.vrfTable === u.table : u.kind === 'wireguard';
        case 'table':
          return u.table === e.table;
        case 'mtu':
          return u.kind === 'interface' && u.interface === e.name && u.mtu !== undefined;
        case 'up':
          return interfaceOf(u) === e.name;
        default:
          return true;
      }
    };
    // A VRF that is gone is no longer ours to remove; nothing is lost by making it anew.
    const gone = this.#journal.entries.filter((e) => !isWanted(e));
    if (gone.length > 0) this.#undo(gone);
    const hasVrf = uplinks.some(isInVrf);
    const hasTunnel = uplinks.some((u) => u.kind === 'wireguard');
    const isIdle = (e: JournalEntry): boolean =>
      (e.kind === 'l3mdev' && !hasVrf) ||
      (e.kind === 'sysctl' && (e.name === WIREGUARD_CHANGES ? !hasTunnel : !hasVrf));
    this.#undo(this.#journal.entries.filter(isIdle));
  }

  #keepSysctl(name: string): void {
    const value = readSysctl(name);
    if (value !== undefined && this.#journal.find('sysctl', name) === undefined)
      this.#journal.write({ kind: 'sysctl', uplink: undefined, name, value });
  }

  #acceptAcrossVrfs(): void {
    for (const name of ACCEPT) {
      const value = readSysctl(name);
      if (value === undefined || value === '1') continue;
      this.#keepSysctl(name);
      writeSysctl(name, '1');
    }
  }

  /** Before anything is in it: what a killed daemon has put there is known for ours. */
  #claimTable(u: HostUplink): void {
    const name = u.kind === 'source' ? String(u.source) : (interfaceOf(u) ?? u.name);
    if (this.#journal.find('table', name) === undefined)
      this.#journal.write({ kind: 'table', uplink: u.name, name, table: u.table });
  }

  #makeVrf(u: HostUplink): Link {
    const name = vrfDevice(u.name);
    const there = this.#host.link(name);
    if (there !== undefined) {
      this.#leadIntoVrfs();
      return there;
    }
    if (!this.#host.rules().some((r) => r.isL3mdev) && this.#journal.find('l3mdev', 'rule') === undefined)
      this.#journal.write({ kind: 'l3mdev', uplink: undefined, name: 'rule' });
    this.#journal.write({ kind: 'link', uplink: u.name, name, is: 'vrf' });
    try {
      this.#host.addLink(name, { vrfTable: u.table });
    } catch (e) {
      if (!isRefusal(e, 'ENOTSUP')) throw e;
      throw new MlshimError('NO_VRF', `uplink ${u.name}: this kernel has no VRF devices`, { uplink: u.name });
    }
    this.#leadIntoVrfs();
    this.#acceptAcrossVrfs();
    return this.#host.link(name)!;
  }

  /** The kernel makes its rules for VRFs with the first VRF since it has started, and never again: somebody may have taken them away. */
  #leadIntoVrfs(): void {
    const rules = this.#host.rules();
    for (const family of new Set(rules.map((r) => r.family)))
      if (!rules.some((r) => r.isL3mdev && r.family === family)) this.#host.addRule(vrfRule(family));
  }

  #takeInterface(u: HostUplink & { kind: 'interface' }, isOrder: boolean): void {
    const link = this.#host.link(u.interface);
    if (link === undefined) return;
    if (u.mtu !== undefined && link.mtu !== u.mtu) {
      if (this.#journal.find('mtu', link.name) === undefined)
        this.#journal.write({ kind: 'mtu', uplink: u.name, name: link.name, mtu: link.mtu });
      this.#host.changeLink(link, { mtu: u.mtu });
    }
    if (!link.isUp && isOrder) {
      this.#journal.write({ kind: 'up', uplink: u.name, name: link.name });
      this.#host.changeLink(link, { isUp: true });
    }
    if (u.isolation === 'vrf') holdPort(this.#context, link, this.#makeVrf(u), u.table, u.name);
  }

  async #makeTunnel(u: WireguardUplink, isOrder: boolean): Promise<void> {
    const name = tunnelDevice(u.name);
    const fwmark = tunnelMark(this.#underlayOf(u));
    const isNew = this.#host.link(name) === undefined;
    if (isNew) await this.#addTunnel(name, u, fwmark);
    const link = this.#host.link(name)!;
    const vrf = u.isolation === 'vrf' ? this.#makeVrf(u) : undefined;
    if (link.mtu !== u.mtu) this.#host.changeLink(link, { mtu: u.mtu });
    if (link.master !== (vrf?.index ?? 0)) this.#host.changeLink(link, { master: vrf?.index ?? 0 });
    const told = this.#told.get(name);
    if (link.kind === 'wireguard') setTunnel(name, u.wireguard, fwmark, told?.uplink.wireguard);
    else if (!isEqual(told, { uplink: u, fwmark })) await this.#o.tunnels?.open(name, u, fwmark);
    this.#told.set(name, { uplink: u, fwmark });
    if (!link.isUp && (isNew || isOrder)) this.#host.changeLink(link, { isUp: true });
    const present = this.#host.addresses().filter((a) => a.index === link.index);
    for (const { addr, prefix } of u.addresses)
      if (!present.some((a) => a.addr.equals(addr)))
        this.#host.send(Rtm.NewAddr, NlFlag.Create, (w) => writeAddress(w, link.index, addr, prefix.length));
  }

  async #addTunnel(name: string, u: WireguardUplink, fwmark: number): Promise<void> {
    this.#keepSysctl(WIREGUARD_CHANGES);
    this.#journal.write({ kind: 'link', uplink: u.name, name, is: 'wireguard' });
    try {
      this.#host.addLink(name, 'wireguard');
    } catch (e) {
      if (!isRefusal(e, 'ENOTSUP') || this.#o.tunnels === undefined) throw e;
      this.#journal.write({ kind: 'link', uplink: u.name, name, is: 'tun' });
      await this.#o.tunnels.open(name, u, fwmark);
      this.#told.set(name, { uplink: u, fwmark });
    }
  }

  /** By which uplink the packets of a tunnel leave: the one it names, or the one that took the host's default route. */
  #underlayOf(u: WireguardUplink): HostUplink | undefined {
    if (u.underlay !== undefined) return this.#uplinks.find((o) => o.name === u.underlay);
    const family = u.wireguard.peers.find((p) => p.endpoint !== undefined)?.endpoint?.addr.family ?? 4;
    const isDefault = (r: HostRoute): boolean => r.prefix.length === 0 && r.prefix.family === family;
    const left = this.#host.routes({ family, table: MAIN_TABLE }).filter(isDefault);
    const metrics = this.#uplinks.flatMap((o) => {
      if (o.kind !== 'interface' || o.isolation !== 'vrf') return [];
      const taken = this.#host
        .routes({ family, table: o.table })
        .filter((r) => isDefault(r) && r.type === ROUTE_TYPES.unicast);
      return taken.map((r) => ({ uplink: o, metric: r.metric }));
    });
    const [best] = metrics.sort((a, b) => a.metric - b.metric);
    return left.some((r) => best === undefined || r.metric <= best.metric) ? undefined : best?.uplink;
  }

  /** Routes of ours in an uplink's table: what is missing is added, what is too much is removed. */
  #fillTable(facts: UplinkFacts, addresses: readonly HostAddress[], taken: ReadonlySet<number>): void {
    const { uplink: u, ifindex } = facts;
    const { table } = u;
    const present = this.#host.routes({ table, protocol: SETUP_PROTOCOL });
    const wanted = new Map<string, () => void>();
    const add = (r: NewRoute): unknown =>
      wanted.set(routeKey({ ...r, type: ROUTE_TYPES[r.type] }), () =>
        this.#host.send(Rtm.NewRoute, NlFlag.Create | NlFlag.Replace, (w) => writeRoute(w, r)),
      );
    const copy = (r: HostRoute, oif: number): unknown =>
      wanted.set(routeKey(r, oif), () =>
        unlessLost(() =>
          this.#host.send(Rtm.NewRoute, NlFlag.Create | NlFlag.Replace, (w) =>
            writeRouteAgain(w, r, { table, onlyOver: oif, protocol: SETUP_PROTOCOL }),
          ),
        ),
      );
    const made = ownRoutes(facts);
    for (const r of made) add(r);
    if (!isInVrf(u)) {
      const main = { table: MAIN_TABLE };
      const isHeld = u.kind !== 'wireguard' && ifindex !== 0;
      const over = isHeld ? this.#host.routes({ ...main, oif: ifindex }) : [];
      const copied = copiedRoutes(over, ifindex, networkOf(u, addresses));
      for (const r of copied) copy(r, ifindex);
      const connected = this.#host.routes({ ...main, protocol: KERNEL_PROTOCOL });
      for (const r of nearRoutes(connected, taken)) copy(r, r.hops[0]!.ifindex);
      // Its routes vanish with its link, before we hear of it; what leads everywhere through it must not lead elsewhere then.
      const wide = [...made, ...copied, ...present].filter((r) => r.prefix.length === 0);
      for (const family of new Set(wide.map((r) => r.prefix.family))) add(nowhere(table, family));
    }
    for (const r of present) {
      if (wanted.delete(routeKey(r))) continue;
      this.#host.send(Rtm.DelRoute, 0, (w) => writeRouteAgain(w, r));
    }
    for (const make of wanted.values()) make();
  }

  #makeRules(facts: readonly UplinkFacts[]): void {
    const present = this.#host.rules();
    const underlays = facts.flatMap(({ uplink }) =>
      uplink.kind === 'wireguard' ? (this.#underlayOf(uplink) ?? []) : [],
    );
    const foreign = present.filter((r) => r.protocol !== SETUP_PROTOCOL);
    const wanted = new Map(wantedRules(facts, underlays, foreign).map((r) => [ruleIdentity(r), r]));
    const there = new Set(present.map(ruleIdentity));
    for (const [name, rule] of wanted) {
      if (there.has(name)) continue;
      this.#journal.write({ kind: 'rule', uplink: undefined, name, rule: plainRule(rule) });
      this.#host.addRule(rule);
    }
    for (const e of this.#journal.entries)
      if (e.kind === 'rule' && !wanted.has(ruleIdentity(hostRule(e.rule)))) this.#undo([e]);
  }
}

/** Take back what a daemon that lives no more has changed. @returns false when there was nothing */
export function undoHostNetwork(folder: string, log: Logger): boolean {
  const journal = new Journal(join(folder, JOURNAL));
  if (journal.isEmpty) return false;
  new HostNetwork({ folder, log }).undo();
  return true;
}

/** The interface that packets of an uplink leave by, if it is there. */
function holderOf(u: HostUplink, links: readonly Link[], addresses: readonly HostAddress[]): Link | undefined {
  if (u.kind !== 'source') return links.find((l) => l.name === interfaceOf(u));
  const index = addresses.find((a) => a.addr.equals(u.source))?.index;
  return links.find((l) => l.index === index);
}

function addressesOf(u: HostUplink, held: Link | undefined, addresses: readonly HostAddress[]): HostAddress[] {
  const usable = addresses.filter(
    (a) =>
      a.index === held?.index && !a.addr.isLinkLocal && (a.family === 4 || (a.flags & AddressFlag.DadFailed) === 0),
  );
  return u.kind === 'source' ? usable.filter((a) => a.addr.equals(u.source)) : usable;
}

function networkOf(u: HostUplink, addresses: readonly HostAddress[]) {
  if (u.kind !== 'source') return undefined;
  const held = addresses.find((a) => a.addr.equals(u.source));
  return held && { source: u.source, prefix: held.network };
}

function faultOf(u: HostUplink, held: Link | undefined, addresses: number): string | undefined {
  if (held === undefined)
    return u.kind === 'source' ? `${u.source} is no address of this host now` : 'its interface is gone';
  if (!held.isUp) return `${held.name} is down`;
  if (!held.isRunning && u.kind !== 'wireguard') return `${held.name} has no carrier`;
  return addresses === 0 ? `${held.name} has no address` : undefined;
}

/** A route by a gateway that the host reaches no more stays in its table, but the kernel takes no other one like it. */
function unlessLost(act: () => void): void {
  try {
    act();
  } catch (e) {
    if (!isRefusal(e, 'EHOSTUNREACH', 'ENETUNREACH')) throw e;
  }
}

function plainState(s: UplinkState): unknown {
  return { ...s, addresses: s.addresses.map(String) };
}

function reason(e: unknown): string {
  return e instanceof Error ? e.message : String(e);
}

function typed(e: unknown, what: string): unknown {
  if (!(e instanceof KernelRefusal)) return e;
  return e.errnoName === 'EPERM'
    ? new MlshimError('NOT_PRIVILEGED', `${what}: changing the host's network is not permitted`)
    : new MlshimError('HOST_REFUSED', `${what}: the kernel refuses: ${e.message}`);
}
