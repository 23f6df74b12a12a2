/**
 * Uplinks through the host's own network, seen from the main thread: which addresses their interfaces have (none = down),
 * what those carry, and which kernel sockets of apps leave by them. The octets of those sockets pass no part of the router,
 * so what is told of them is what every user may read in /proc. No privilege is needed.
 */
import { readdirSync, readFileSync, readlinkSync, statSync } from 'node:fs';
import { readFile } from 'node:fs/promises';
import type { Addr } from '../lib/addr.ts';
import { systemClock } from '../lib/clock.ts';
import type { HostWay } from '../lib/host-way.ts';
import type { Logger } from '../lib/log.ts';
import type { Native } from '../native/index.ts';
import type { ToDataplane } from './dataplane-protocol.ts';
import { ownAddresses } from './host-interfaces.ts';

/** How often interfaces are looked at: a way that is gone is noticed within this time, without probes. */
const LOOK_MS = 200;
/** How often octets are told and ended flows forgotten: flows are counted as they were then. */
const COUNT_MS = 1000;
/** A socket is in no list of /proc before its connect(). */
const NEW_FLOW_MS = 2000;
const SOCKET_LISTS = ['tcp', 'tcp6', 'udp', 'udp6', 'icmp', 'icmp6'];
/** Column of the inode in those lists (proc(5)). */
const INODE_COLUMN = 9;

export interface HostUplink {
  readonly name: string;
  /** Its number among links. */
  readonly link: number;
  readonly way: HostWay;
}

/** What an interface has carried, whoever caused it. */
export interface InterfaceCounters {
  readonly rxBytes: number;
  readonly rxPackets: number;
  readonly txBytes: number;
  readonly txPackets: number;
  readonly txDropped: number;
}

interface HostFlow {
  readonly link: number;
  readonly pid: number;
  readonly beganAt: number;
}

/** What is known of an uplink now. */
interface Seen {
  /** Interfaces that have its address, or the one it names. */
  readonly devices: readonly string[];
  readonly addresses: readonly string[];
}

export class HostUplinks {
  readonly #native: Native;
  readonly #toDataplane: (m: ToDataplane) => void;
  readonly #log: Logger;
  #uplinks: readonly HostUplink[] = [];
  readonly #seen = new Map<number, Seen>();
  /** What was told of the host's own addresses. */
  #own: readonly string[] = [];
  /** By inode. */
  readonly #flows = new Map<number, HostFlow>();
  #isForgetting = false;
  #looking: NodeJS.Timeout | undefined;
  #counting: NodeJS.Timeout | undefined;

  constructor(native: Native, toDataplane: (m: ToDataplane) => void, log: Logger) {
    this.#native = native;
    this.#toDataplane = toDataplane;
    this.#log = log;
  }

  /** Watch these from now on. To be called after the data plane was told of them. */
  configure(uplinks: readonly HostUplink[]): void {
    this.#uplinks = uplinks;
    for (const link of this.#seen.keys()) if (!uplinks.some((u) => u.link === link)) this.#seen.delete(link);
    this.close();
    if (uplinks.length === 0) {
      this.#tellOwn([], false);
      return;
    }
    this.#look(true);
    this.#count();
    this.#looking = setInterval(() => this.#look(false), LOOK_MS).unref();
    this.#counting = setInterval(() => this.#count(), COUNT_MS).unref();
  }

  close(): void {
    clearInterval(this.#looking);
    clearInterval(this.#counting);
  }

  /** With the lengths of their networks. */
  addressesOf(link: number): readonly string[] {
    const { addresses, devices } = this.#seen.get(link) ?? { addresses: [], devices: [] };
    const mine = ownAddresses().filter((a) => devices.includes(a.device) && addresses.includes(String(a.addr)));
    return mine.map(({ addr, prefix }) => `${addr}/${prefix.length}`);
  }

  #tellOwn(addresses: readonly string[], isAll: boolean): void {
    if (!isAll && String(addresses) === String(this.#own)) return;
    this.#own = addresses;
    this.#toDataplane({ kind: 'host-own', addresses });
  }

  /** @param isAll tell the data plane what has not changed too */
  #look(isAll: boolean): void {
    const interfaces = addressesByInterface();
    this.#tellOwn([...interfaces.values()].flat().map(String), isAll);
    for (const { link, way } of this.#uplinks) {
      const seen = lookFor(way, interfaces);
      const before = this.#seen.get(link);
      if (!isAll && before !== undefined && String(before.addresses) === String(seen.addresses)) continue;
      this.#seen.set(link, seen);
      this.#toDataplane({ kind: 'host-state', link, addresses: seen.addresses });
    }
  }

  // ---- Octets

  /** By link. */
  counters(): ReadonlyMap<number, InterfaceCounters> {
    if (this.#seen.size === 0) return new Map();
    const devices = interfaceCounters(read('/proc/net/dev'));
    const found = new Map<number, InterfaceCounters>();
    for (const [link, seen] of this.#seen) {
      const counters = seen.devices.map((d) => devices.get(d)).find((c) => c !== undefined);
      if (counters !== undefined) found.set(link, counters);
    }
    return found;
  }

  #count(): void {
    const octets = new Map([...this.counters()].map(([link, c]) => [link, c.rxBytes + c.txBytes]));
    this.#toDataplane({ kind: 'host-octets', octets });
    if (this.#flows.size > 0) void this.#forgetEnded();
  }

  // ---- Flows

  flowBegan(link: number, pid: number, inode: number): void {
    this.#flows.set(inode, { link, pid, beganAt: systemClock.now() });
  }

  /** Sockets of apps that leave by each uplink and had a process still when they were looked at last. */
  flows(): ReadonlyMap<number, number> {
    const counts = new Map<number, number>();
    for (const { link } of this.#flows.values()) counts.set(link, (counts.get(link) ?? 0) + 1);
    return counts;
  }

  /** To write these lists takes the kernel milliseconds, however few sockets there are: this thread does not wait for them. */
  async #forgetEnded(): Promise<void> {
    if (this.#isForgetting) return;
    this.#isForgetting = true;
    const now = systemClock.now();
    const lists = await Promise.all(
      SOCKET_LISTS.map((name) => readFile(`/proc/net/${name}`, 'latin1').catch(() => '')),
    );
    const living = new Set(lists.flatMap(inodesIn));
    for (const [inode, { beganAt }] of this.#flows)
      if (!living.has(inode) && now - beganAt > NEW_FLOW_MS) this.#flows.delete(inode);
    this.#isForgetting = false;
  }

  /** End what apps have on an uplink, so that they connect again elsewhere. */
  endFlows({ link, name }: { readonly link: number; readonly name: string }): void {
    const doomed = new Map<number, HostFlow>();
    for (const [inode, flow] of this.#flows) if (flow.link === link) doomed.set(inode, flow);
    let refused = 0;
    // Whoever made a socket mostly has it; a server may have passed it on to one of its children.
    const makers = [...new Set([...doomed.values()].map((f) => f.pid))];
    for (const pid of [...makers, ...ownProcesses(makers)]) {
      if (doomed.size === 0) break;
      for (const [fd, inode] of socketsOf(pid)) {
        if (!doomed.has(inode)) continue;
        const failed = this.#native.endSocketOf(pid, fd, inode);
        if (failed === -EPERM) refused++;
        if (failed < 0) continue;
        doomed.delete(inode);
        this.#flows.delete(inode);
      }
    }
    if (refused === 0) for (const inode of doomed.keys()) this.#flows.delete(inode); // closed before
    if (refused > 0)
      this.#log.warn(
        'flows cannot be ended: their processes may not be reached (kernel.yama.ptrace_scope, ptrace(2))',
        {
          uplink: name,
          flows: refused,
        },
      );
  }
}

const EPERM = 1;

type Interfaces = ReadonlyMap<string, readonly Addr[]>;

/** Interfaces that are up, with the addresses that lead out of them. */
function addressesByInterface(): Interfaces {
  const found = new Map<string, Addr[]>();
  for (const { device, addr } of ownAddresses())
    if (!addr.isLinkLocal) found.set(device, [...(found.get(device) ?? []), addr]);
  return found;
}

function lookFor({ device, source }: HostWay, interfaces: Interfaces): Seen {
  if (device !== undefined) return { devices: [device], addresses: (interfaces.get(device) ?? []).map(String) };
  const devices = [...interfaces].filter(([, all]) => all.some((a) => source !== undefined && a.equals(source)));
  return { devices: devices.map(([name]) => name), addresses: devices.length > 0 ? [String(source)] : [] };
}

/** /proc/net/dev: name, then eight columns of what came in and eight of what went out. */
export function interfaceCounters(text: string): ReadonlyMap<string, InterfaceCounters> {
  const found = new Map<string, InterfaceCounters>();
  for (const line of text.split('\n')) {
    const colon = line.lastIndexOf(':');
    const n = line
      .slice(colon + 1)
      .trim()
      .split(/\s+/)
      .map(Number);
    if (colon < 0 || n.length < 16) continue;
    found.set(line.slice(0, colon).trim(), {
      rxBytes: n[0]!,
      rxPackets: n[1]!,
      txBytes: n[8]!,
      txPackets: n[9]!,
      txDropped: n[11]!,
    });
  }
  return found;
}

/** Inodes of a list such as /proc/net/tcp; sockets without a process have 0. */
export function inodesIn(text: string): number[] {
  return text
    .split('\n')
    .slice(1)
    .map((line) => Number(line.trim().split(/\s+/)[INODE_COLUMN]))
    .filter((inode) => inode > 0);
}

/** Processes of ours that are not in `known`. */
function* ownProcesses(known: readonly number[]): Generator<number> {
  const uid = process.getuid?.();
  for (const name of list('/proc')) {
    const pid = Number(name);
    if (!(pid > 0) || pid === process.pid || known.includes(pid)) continue;
    try {
      if (statSync(`/proc/${pid}`).uid === uid) yield pid;
    } catch {
      // It has ended.
    }
  }
}

/** Descriptors of a process that are sockets, with their inodes. */
function socketsOf(pid: number): (readonly [fd: number, inode: number])[] {
  const folder = `/proc/${pid}/fd`;
  return list(folder).flatMap((fd) => {
    try {
      const inode = /^socket:\[(\d+)\]$/.exec(readlinkSync(`${folder}/${fd}`))?.[1];
      return inode === undefined ? [] : [[Number(fd), Number(inode)] as const];
    } catch {
      return []; // closed meanwhile
    }
  });
}

function list(folder: string): string[] {
  try {
    return readdirSync(folder);
  } catch {
    return [];
  }
}

function read(path: string): string {
  try {
    return readFileSync(path, 'latin1');
  } catch {
    return '';
  }
}
