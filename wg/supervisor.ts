/**
 * Keeps one WireGuard child alive and configured: starts it, tells it its devices, starts it again with the same keys,
 * ports and rings when it dies, and resolves and re-resolves endpoint names. The rings belong to the data plane; this
 * side only bumps the epoch in their header. Who closes whom is written in wg/README.md.
 */
import { type ChildProcess, spawn } from 'node:child_process';
import type { Duplex } from 'node:stream';
import { getSystemErrorName } from 'node:util';
import type { Addr } from '../router/lib/addr.ts';
import { systemClock } from '../router/lib/clock.ts';
import { MlshimError } from '../router/lib/errors.ts';
import type { Logger } from '../router/lib/log.ts';
import { ControlChannel, type WgReply } from './control.ts';
import { askEndpoint, sameEndpoint, wantsResolve } from './endpoint.ts';
import { keyToHex, publicKey } from './keys.ts';
import type { WgDeviceConfig, WgDeviceStats, WgPeerConfig, WgPeerStats } from './model.ts';
import { childEnded, newPeer, observe, type PeerState } from './peer-state.ts';
import { HeaderOffset } from './ring-layout.ts';
import {
  encodeAnew,
  encodeEndpoint,
  encodeKeepalive,
  encodeKeepaliveOff,
  encodeSet,
  parseGet,
  type UapiDevice,
} from './uapi.ts';

export type WgEvent =
  /** The child ended; it is being started again. */
  | { readonly kind: 'down'; readonly code: number | null; readonly signal: string | null }
  /** A child serves all devices again, `gapMs` after the last one ended. */
  | { readonly kind: 'restarted'; readonly epoch: number; readonly gapMs: number }
  /** The kernel refuses to send to a peer's endpoint: a hint that its uplink is down. */
  | { readonly kind: 'send-error'; readonly device: number; readonly endpoint: string; readonly error: string }
  | { readonly kind: 'endpoint'; readonly device: number; readonly publicKey: Uint8Array; readonly endpoint: string };

export interface WgSupervisorOptions {
  readonly binary: string;
  /** The memory of the rings, initialised by `initRegion`. */
  readonly memfd: number;
  /** Eventfd by which the router wakes the child, and the one by which the child wakes the router. */
  readonly toChildFd: number;
  readonly fromChildFd: number;
  /** The region's header words, at the region's first octet. */
  readonly header: Int32Array;
  readonly log: Logger;
  /** Addresses of a host name, in order of preference; rejects when there are none. */
  readonly resolve: (host: string) => Promise<readonly Addr[]>;
  readonly onEvent?: (event: WgEvent) => void;
  /** Figures of all devices, as they are looked at every two seconds. */
  readonly onStats?: (devices: readonly WgDeviceStats[]) => void;
}

export interface WgDeviceSpec {
  /** Number of the device in the rings' records. */
  readonly index: number;
  readonly name: string;
  readonly mtu: number;
  /** Source addresses (at most one per family) and interface for its UDP sockets. */
  readonly bindAddresses?: readonly Addr[];
  readonly bindDevice?: string;
  /** Instead of the rings: a TUN of the host by this name, which stays when the device is removed. Excludes the two above. */
  readonly tun?: string;
}

interface DeviceState {
  spec: WgDeviceSpec;
  config: WgDeviceConfig;
  /** Of `config`: to work it out takes longer than all else that is told of a device. */
  publicKey: Uint8Array;
  /** What the present child was told; undefined = nothing yet. */
  applied: WgDeviceConfig | undefined;
  listenPort: number;
  error: string | undefined;
  retryAt: number;
  readonly peers: Map<string, PeerState>;
  /** Requests for one device run one after the other. */
  work: Promise<void>;
}

const EXIT_SETTINGS = 42;
const QUICK_DEATH_MS = 1000;
const QUICK_DEATHS = 3;
const FIRST_DELAY_MS = 10;
const MAX_DELAY_MS = 5000;
const TICK_MS = 2000;
const EAGER_KEEPALIVE_S = 1;
const SET_RETRY_MS = 2000;
/** When after a restart peers that have not answered are started anew; then it is left to WireGuard. */
const NUDGES_MS = [40, 80, 200, 1000];
const LOOK_MS = 100;
const SILENT_TICKS = 8;
const CLOSE_GRACE_MS = 1000;
const MAX_LOG_LINE = 1 << 16;
/** WireGuard says the same every few seconds while a peer is away; here that is a line in this time. */
const REPEATED_MS = 600_000;
const MAX_WARNINGS = 1000;

interface ChildExit {
  readonly code: number | null;
  readonly signal: string | null;
  /** Why the program could not be started at all. */
  readonly error: Error | undefined;
}

/** One life of the child: the process, its control channel, its log lines. */
class Child {
  readonly #process: ChildProcess;
  readonly #socket: Duplex | undefined;
  readonly #channel: ControlChannel;
  readonly #log: Logger;
  /** When each warning was logged. */
  readonly #warned = new Map<string, number>();
  #ended = false;

  constructor(
    o: WgSupervisorOptions,
    onEvent: (kind: string, fields: ReadonlyMap<string, string>) => void,
    onExit: (exit: ChildExit) => void,
  ) {
    this.#log = o.log;
    this.#process = spawn(o.binary, [], {
      stdio: ['ignore', 'ignore', 'pipe', 'pipe', o.memfd, o.toChildFd, o.fromChildFd],
      env: {},
    });
    const end = (exit: ChildExit): void => {
      if (this.#ended) return;
      this.#ended = true;
      this.#socket?.destroy();
      this.#channel.end();
      onExit(exit);
    };
    this.#process.on('error', (error) => end({ code: null, signal: null, error }));
    this.#process.on('exit', (code, signal) => end({ code, signal, error: undefined }));
    this.#socket = this.#process.stdio[3] as Duplex | undefined;
    this.#channel = new ControlChannel((text) => this.#socket?.write(text, 'latin1'), onEvent);
    this.#socket?.on('error', () => {}); // the exit event follows
    this.#socket?.on('data', (bytes: Buffer) => {
      if (!this.#channel.received(bytes.toString('latin1'))) this.kill();
    });
    let partial = '';
    this.#process.stderr?.on('data', (bytes: Buffer) => {
      const lines = (partial + bytes.toString()).split('\n');
      partial = lines.pop()!.slice(-MAX_LOG_LINE);
      for (const line of lines) this.#logLine(line);
    });
  }

  get pid(): number | undefined {
    return this.#process.pid;
  }

  request(lines: string): Promise<WgReply | undefined> {
    return this.#channel.request(lines);
  }

  kill(): void {
    this.#process.kill('SIGKILL');
  }

  /** Hang up: the child ends by itself, or is killed after a grace period. Resolves when it has ended. */
  close(): Promise<void> {
    if (this.#ended) return Promise.resolve();
    return new Promise((resolve) => {
      const timer = setTimeout(() => this.kill(), CLOSE_GRACE_MS);
      this.#process.once('exit', () => {
        clearTimeout(timer);
        resolve();
      });
      this.#socket?.destroy();
    });
  }

  #logLine(line: string): void {
    const space = line.indexOf(' ');
    const level = line.slice(0, space);
    const text = line.slice(space + 1);
    if (level === 'warn' && this.#isRepeated(text)) return;
    if (level === 'warn' || level === 'info') this.#log[level](text);
    else if (line !== '') this.#log.error(level === 'error' ? text : line); // or the Go runtime's last words
  }

  #isRepeated(warning: string): boolean {
    const now = systemClock.now();
    const before = this.#warned.get(warning);
    if (before !== undefined && now - before < REPEATED_MS) return true;
    if (this.#warned.size >= MAX_WARNINGS) this.#warned.clear();
    this.#warned.set(warning, now);
    return false;
  }
}

export class WgSupervisor {
  readonly #o: WgSupervisorOptions;
  readonly #devices = new Map<number, DeviceState>();
  #child: Child | undefined;
  #closed = false;
  #spawnedAt = 0;
  #diedAt = 0;
  #quickDeaths = 0;
  #delay = FIRST_DELAY_MS;
  #tick: NodeJS.Timeout | undefined;
  #respawn: NodeJS.Timeout | undefined;
  #nudge: NodeJS.Timeout | undefined;
  readonly #looks = new Map<number, NodeJS.Timeout>();
  #isLooking = false;
  #heartbeat = -1;
  #silentTicks = 0;
  #started: { resolve: () => void; reject: (e: Error) => void } | undefined;

  constructor(options: WgSupervisorOptions) {
    this.#o = options;
  }

  /** Start the child. @throws MlshimError CHILD_FAILED when it cannot be started */
  start(): Promise<void> {
    return new Promise((resolve, reject) => {
      this.#started = { resolve, reject };
      this.#tick = setInterval(() => void this.#onTick(), TICK_MS);
      this.#tick.unref();
      this.#spawn();
    });
  }

  get pid(): number | undefined {
    return this.#child?.pid;
  }

  get epoch(): number {
    return Atomics.load(this.#o.header, HeaderOffset.Epoch / 4);
  }

  hasDevice(index: number): boolean {
    return this.#devices.has(index);
  }

  /** Create a device. Resolves when the child has taken it (an error is kept and shown by `get`). */
  async addDevice(spec: WgDeviceSpec, config: WgDeviceConfig): Promise<void> {
    if (this.#devices.has(spec.index)) throw new MlshimError('INTERNAL', `device ${spec.index} exists`);
    const d: DeviceState = {
      spec,
      config,
      publicKey: publicKey(config.privateKey),
      applied: undefined,
      listenPort: config.listenPort,
      error: undefined,
      retryAt: 0,
      peers: new Map(),
      work: Promise.resolve(),
    };
    this.#devices.set(spec.index, d);
    this.#adoptPeers(d);
    await this.#run(d, () => this.#create(d));
  }

  /** Change a device; sessions of peers that stay go on. */
  async setDevice(index: number, config: WgDeviceConfig, mtu?: number): Promise<void> {
    const d = this.#device(index);
    if (config.listenPort !== d.config.listenPort) d.listenPort = config.listenPort;
    if (mtu !== undefined) d.spec = { ...d.spec, mtu };
    d.config = config;
    d.publicKey = publicKey(config.privateKey);
    this.#adoptPeers(d);
    await this.#run(d, () => this.#apply(d, undefined));
  }

  async removeDevice(index: number): Promise<void> {
    const d = this.#device(index);
    this.#devices.delete(index);
    await this.#run(d, async () => {
      await this.#child?.request(`device=${index}\nremove=1\n`);
    });
  }

  /**
   * Have a device try a handshake with its peers, as if a packet were to be sent: WireGuard gives up after 90 s, and whose
   * uplink is down is sent nothing.
   */
  async wake(index: number): Promise<void> {
    const d = this.#device(index);
    await this.#run(d, async () => {
      if (d.applied === undefined) return;
      // It sends at once when keepalive is turned on.
      for (const { publicKey, keepaliveS } of d.applied.peers)
        for (const seconds of [0, EAGER_KEEPALIVE_S, keepaliveS])
          await this.#child?.request(`device=${index}\nset=1\n${encodeKeepalive(publicKey, seconds)}`);
    });
  }

  /** What every device and peer does now. While no child answers, the last known figures. */
  async get(): Promise<WgDeviceStats[]> {
    const all = [...this.#devices.values()];
    const answers = await Promise.all(all.map((d) => this.#query(d)));
    return all.map((d, i) => deviceStats(d, answers[i]));
  }

  /** End the child and stay down. */
  async close(): Promise<void> {
    this.#closed = true;
    clearInterval(this.#tick);
    clearTimeout(this.#respawn);
    clearTimeout(this.#nudge);
    for (const timer of this.#looks.values()) clearTimeout(timer);
    await this.#child?.close();
    this.#child = undefined;
  }

  #device(index: number): DeviceState {
    const d = this.#devices.get(index);
    if (d === undefined) throw new MlshimError('INTERNAL', `no device ${index}`);
    return d;
  }

  #spawn(): void {
    if (this.#closed) return;
    this.#spawnedAt = Date.now();
    for (const d of this.#devices.values()) d.applied = undefined;
    const child = new Child(
      this.#o,
      (kind, fields) => this.#onChildEvent(kind, fields),
      (exit) => this.#onExit(exit),
    );
    this.#child = child;
    // The requests wait in the control socket until the child reads them: no round trip is lost.
    const all = [...this.#devices.values()].map((d) => this.#run(d, () => this.#create(d)));
    if (this.#diedAt === 0) return;
    const diedAt = this.#diedAt;
    void Promise.all(all).then(() => {
      if (this.#child !== child) return;
      const gapMs = Date.now() - diedAt;
      this.#o.log.info('child restarted', { pid: child.pid, gap_ms: gapMs });
      this.#o.onEvent?.({ kind: 'restarted', epoch: this.epoch, gapMs });
      this.#nudgeAfter(child, 0);
    });
  }

  /**
   * A new child's first handshake can get lost: on the way, or because the peer ignores one within 20 ms of the last
   * child's. WireGuard would try again after 5 s; a peer configured anew sends at once.
   */
  #nudgeAfter(child: Child, round: number): void {
    const delay = NUDGES_MS[round];
    if (delay === undefined) return;
    this.#nudge = setTimeout(async () => {
      let missing = 0;
      for (const d of [...this.#devices.values()]) {
        const now = await this.#query(d);
        if (child !== this.#child) return;
        const silent = new Set(now?.peers.filter((p) => p.latestHandshakeMs === 0).map((p) => keyToHex(p.publicKey)));
        for (const [key, p] of d.peers) {
          const endpoint = p.lastEndpoint ?? p.chosen;
          if (!silent.has(key) || endpoint === undefined) continue;
          missing++;
          await this.#run(d, async () => {
            if (d.applied === undefined) return;
            const anew = encodeAnew(d.applied, p.config, endpoint, EAGER_KEEPALIVE_S);
            await child.request(`device=${d.spec.index}\nset=1\n${anew}`);
            const calm = encodeKeepaliveOff({ ...d.applied, peers: [p.config] });
            if (calm !== '') await child.request(`device=${d.spec.index}\nset=1\n${calm}`);
          });
        }
      }
      if (missing > 0) this.#nudgeAfter(child, round + 1);
    }, delay);
  }

  #onExit(exit: ChildExit): void {
    this.#child = undefined;
    if (this.#closed) return;
    const started = this.#started;
    const why = exit.error?.message ?? (exit.signal === null ? `exit code ${exit.code}` : `signal ${exit.signal}`);
    if (started !== undefined || exit.code === EXIT_SETTINGS) {
      this.#started = undefined;
      clearInterval(this.#tick);
      this.#closed = true;
      this.#o.log.error('child cannot run', { why, binary: this.#o.binary });
      this.#o.onEvent?.({ kind: 'down', code: exit.code, signal: exit.signal });
      started?.reject(new MlshimError('CHILD_FAILED', `${this.#o.binary}: ${why}`, { binary: this.#o.binary }));
      return;
    }
    Atomics.add(this.#o.header, HeaderOffset.Epoch / 4, 1);
    for (const d of this.#devices.values()) for (const p of d.peers.values()) childEnded(p);
    this.#diedAt = Date.now();
    this.#quickDeaths = this.#diedAt - this.#spawnedAt < QUICK_DEATH_MS ? this.#quickDeaths + 1 : 0;
    this.#o.log.warn('child ended, starting another', { why, code: 'C101' });
    this.#o.onEvent?.({ kind: 'down', code: exit.code, signal: exit.signal });
    if (this.#quickDeaths < QUICK_DEATHS) {
      this.#delay = FIRST_DELAY_MS;
      this.#spawn();
      return;
    }
    this.#respawn = setTimeout(() => this.#spawn(), this.#delay);
    this.#delay = Math.min(this.#delay * 2, MAX_DELAY_MS);
  }

  #onChildEvent(kind: string, fields: ReadonlyMap<string, string>): void {
    const device = Number(fields.get('device'));
    const name = this.#devices.get(device)?.spec.name;
    switch (kind) {
      case 'ready':
        this.#started?.resolve();
        this.#started = undefined;
        break;
      case 'heard':
        // Datagrams come from a new address: note it soon, for a restart will need it.
        this.#lookSoon(device);
        break;
      case 'send-error': {
        const endpoint = fields.get('endpoint') ?? '';
        const error = errnoName(Number(fields.get('errno')));
        this.#o.log.debug('cannot send', { device: name, endpoint, error });
        this.#o.onEvent?.({ kind: 'send-error', device, endpoint, error });
        break;
      }
      case 'fwmark-refused':
        this.#o.log.warn('fwmark is ignored: it needs CAP_NET_ADMIN', { device: name });
        break;
      case 'closed':
        if (name !== undefined) this.#o.log.warn('device closed by WireGuard', { device: name });
        break;
    }
  }

  #lookSoon(device: number): void {
    if (this.#looks.has(device)) return;
    const timer = setTimeout(() => {
      this.#looks.delete(device);
      const d = this.#devices.get(device);
      if (d !== undefined) void this.#query(d);
    }, LOOK_MS);
    this.#looks.set(device, timer.unref());
  }

  /** Run work for a device after the work before it. */
  #run(d: DeviceState, work: () => Promise<void>): Promise<void> {
    d.work = d.work.then(work, work);
    return d.work;
  }

  async #create(d: DeviceState): Promise<void> {
    const { index, name, mtu, bindAddresses, bindDevice, tun } = d.spec;
    if (this.#devices.get(index) !== d) return;
    const lines = [`device=${index}`, 'create=1', `name=${name}`, `mtu=${mtu}`];
    for (const a of bindAddresses ?? []) lines.push(`bind_address=${a}`);
    if (bindDevice !== undefined) lines.push(`bind_device=${bindDevice}`);
    if (tun !== undefined) lines.push(`tun=${tun}`);
    const created = this.#child?.request(`${lines.join('\n')}\n`);
    const applied = this.#apply(d, EAGER_KEEPALIVE_S);
    const reply = await created;
    if (reply !== undefined && reply.errno !== 0) {
      d.error = errnoName(reply.errno);
      this.#o.log.error('device refused', { device: name, error: d.error });
    }
    await applied;
  }

  /** Tell the child what changed. With an eager interval, handshakes start at once and keepalive is then put back. */
  async #apply(d: DeviceState, eager: number | undefined): Promise<void> {
    const child = this.#child;
    if (child === undefined) return;
    const { config } = d;
    const changed = (p: WgPeerConfig): boolean => {
      const was = d.applied?.peers.find((q) => keyToHex(q.publicKey) === keyToHex(p.publicKey));
      return was === undefined || !sameEndpoint(was.endpoint, p.endpoint);
    };
    const lines = encodeSet(config, {
      previous: d.applied,
      listenPort: d.listenPort,
      endpointOf: (p) => (changed(p) ? this.#endpointOf(d, p) : undefined),
      ...(eager === undefined ? {} : { eagerKeepaliveS: eager }),
    });
    const previous = d.applied;
    d.applied = config;
    const set = child.request(`device=${d.spec.index}\nset=1\nmtu=${d.spec.mtu}\n${lines}`);
    const calm = eager === undefined ? '' : encodeKeepaliveOff(config);
    if (calm !== '') void child.request(`device=${d.spec.index}\nset=1\n${calm}`);
    const reply = await set;
    if (reply === undefined) return; // the child ended; the next one gets everything
    if (reply.errno === 0) {
      d.error = undefined;
      if (d.listenPort === 0) await this.#query(d);
      return;
    }
    d.error = errnoName(reply.errno);
    d.applied = previous;
    d.retryAt = Date.now() + SET_RETRY_MS;
    this.#o.log.error('device configuration refused', { device: d.spec.name, error: d.error });
  }

  /** Where to send to a peer when a child (or a peer) starts: where it was last, or its configured address. */
  #endpointOf(d: DeviceState, p: WgPeerConfig): string | undefined {
    const s = d.peers.get(keyToHex(p.publicKey));
    return s?.lastEndpoint ?? s?.chosen;
  }

  /** Keep what is known of peers that stay, forget the others, and find addresses for new endpoints. */
  #adoptPeers(d: DeviceState): void {
    const wanted = new Set(d.config.peers.map((p) => keyToHex(p.publicKey)));
    for (const key of d.peers.keys()) if (!wanted.has(key)) d.peers.delete(key);
    for (const config of d.config.peers) {
      const key = keyToHex(config.publicKey);
      const old = d.peers.get(key);
      if (old !== undefined && sameEndpoint(old.config.endpoint, config.endpoint)) {
        old.config = config;
        continue;
      }
      const fresh = newPeer(config, old);
      d.peers.set(key, fresh);
      if (wantsResolve(fresh, Date.now())) void this.#resolve(d, fresh);
    }
  }

  async #resolve(d: DeviceState, p: PeerState): Promise<void> {
    const { resolve, log } = this.#o;
    const isWanted = (): boolean => !this.#closed && d.peers.get(keyToHex(p.config.publicKey)) === p;
    const next = await askEndpoint(p, { resolve, log, isWanted, device: d.spec.name, now: () => Date.now() });
    if (next === undefined) return;
    await this.#run(d, () => this.#move(d, p, next));
    this.#o.onEvent?.({ kind: 'endpoint', device: d.spec.index, publicKey: p.config.publicKey, endpoint: next });
  }

  /** Send a peer's packets to another address, starting with a handshake. */
  async #move(d: DeviceState, p: PeerState, endpoint: string): Promise<void> {
    if (d.applied === undefined || this.#devices.get(d.spec.index) !== d) return;
    const set = (keepalive: number): Promise<WgReply | undefined> | undefined =>
      this.#child?.request(`device=${d.spec.index}\nset=1\n${encodeEndpoint(p.config.publicKey, endpoint, keepalive)}`);
    // WireGuard sends at once when keepalive is turned on, so it is turned off first.
    void set(0);
    const { keepaliveS } = p.config;
    const on = set(keepaliveS === 0 ? EAGER_KEEPALIVE_S : keepaliveS);
    if (keepaliveS === 0) void set(0);
    await on;
  }

  /** Ask the child about one device and remember what a restart will need. */
  async #query(d: DeviceState): Promise<UapiDevice | undefined> {
    const child = this.#child;
    const reply = await child?.request(`device=${d.spec.index}\nget=1\n`);
    if (reply === undefined || reply.errno !== 0 || child !== this.#child) return undefined;
    const now = parseGet(reply.lines);
    if (now.listenPort !== 0 && d.listenPort === 0) d.listenPort = now.listenPort;
    for (const peer of now.peers) {
      const p = d.peers.get(keyToHex(peer.publicKey));
      if (p !== undefined) observe(p, peer, Number(now.values.get('failed') ?? 0));
    }
    return now;
  }

  async #onTick(): Promise<void> {
    this.#watchHeart();
    if (this.#isLooking) return;
    this.#isLooking = true;
    const devices = await this.#lookAtAll();
    this.#isLooking = false;
    if (devices !== undefined) this.#o.onStats?.(devices);
  }

  /** A child that hangs is as good as a dead one. */
  #watchHeart(): void {
    const now = Atomics.load(this.#o.header, HeaderOffset.Heartbeat / 4);
    this.#silentTicks = now === this.#heartbeat ? this.#silentTicks + 1 : 0;
    this.#heartbeat = now;
    if (this.#silentTicks < SILENT_TICKS || this.#child === undefined) return;
    this.#silentTicks = 0;
    this.#o.log.error('child hangs, killing it', { pid: this.#child.pid });
    this.#child.kill();
  }

  /** @returns what was seen; undefined when the child ended meanwhile */
  async #lookAtAll(): Promise<readonly WgDeviceStats[] | undefined> {
    const seen: WgDeviceStats[] = [];
    for (const d of [...this.#devices.values()]) {
      if (this.#child === undefined) return undefined;
      seen.push(deviceStats(d, await this.#query(d)));
      const now = Date.now();
      if (d.error !== undefined && now >= d.retryAt && d.applied === undefined)
        void this.#run(d, () => this.#apply(d, EAGER_KEEPALIVE_S));
      for (const p of d.peers.values()) if (wantsResolve(p, now)) void this.#resolve(d, p);
    }
    return seen;
  }
}

function deviceStats(d: DeviceState, now: UapiDevice | undefined): WgDeviceStats {
  const number = (key: string): number => Number(now?.values.get(key) ?? 0);
  const live = new Map((now?.peers ?? []).map((p) => [keyToHex(p.publicKey), p]));
  const peers: WgPeerStats[] = [];
  for (const [key, p] of d.peers) {
    const q = live.get(key);
    peers.push({
      name: p.config.name,
      publicKey: p.config.publicKey,
      hasPresharedKey: q?.hasPresharedKey ?? p.config.presharedKey !== undefined,
      endpoint: q?.endpoint ?? p.lastEndpoint ?? p.chosen,
      endpointError: p.error,
      allowedIps: p.config.allowedIps.map(String),
      latestHandshakeMs: p.lastHandshakeMs,
      rxBytes: p.baseRx + p.lastRx,
      txBytes: p.baseTx + p.lastTx,
      keepaliveS: p.config.keepaliveS,
    });
  }
  return {
    index: d.spec.index,
    name: d.spec.name,
    publicKey: d.publicKey,
    listenPort: now?.listenPort ?? d.listenPort,
    fwmark: d.config.fwmark ?? 0,
    mtu: d.spec.mtu,
    sent: number('sent'),
    failed: number('failed'),
    noPeer: number('no_peer'),
    stuck: number('stuck'),
    receiveBuffer: number('rcvbuf'),
    error: d.error,
    peers,
  };
}

function errnoName(errno: number): string {
  const n = Math.abs(errno);
  if (!Number.isInteger(n) || n === 0) return 'EPROTO';
  try {
    return getSystemErrorName(-n);
  } catch {
    return `errno ${n}`;
  }
}
