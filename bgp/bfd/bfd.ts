/**
 * All BFD sessions of one edge: finds the session of a packet (RFC 5880 §6.3, RFC 5881 §3 and §5, RFC 5883 §4), keeps
 * their deadlines, and tells whose session changed. Sans-IO: `BfdPort` sends, the edge calls `receive` and `tick`.
 */
import type { Addr } from '../../router/lib/addr.ts';
import type { Instant } from '../../router/lib/clock.ts';
import type { LinkId } from '../ports.ts';
import type { BfdAuthType, Digest } from './auth.ts';
import { type BfdFault, type BfdState, DIAGNOSTICS, decodeBfd } from './packet.ts';
import { BfdSession, type BfdSettings } from './session.ts';

/** RFC 5881 §4. */
export const BFD_PORT = 3784;
/** RFC 5883 §5. */
export const BFD_MULTIHOP_PORT = 4784;
/** RFC 5881 §4: "The source port MUST be in the range 49152 through 65535." */
export const BFD_SOURCE_FIRST = 49152;
/** RFC 5881 §5: sent with every packet, and asked of every packet over a single hop (RFC 5082). */
export const BFD_TTL = 255;

/** Whom a session watches. */
export interface BfdTarget {
  readonly remote: Addr;
  readonly local: Addr | undefined;
  /** The uplink packets leave and come in by; several hops away it is not looked at. */
  readonly link: LinkId;
  readonly multihop: boolean;
  /** The link stands for many wires, so that the sender's address tells whose packet it is; always so several hops away. */
  readonly byAddress?: boolean;
}

/** A packet as the edge received it. */
export interface BfdDatagram {
  readonly octets: Uint8Array;
  readonly remote: Addr;
  readonly link: LinkId;
  /** Undefined where the edge cannot know; then it has checked what the kernel lets it check. */
  readonly ttl: number | undefined;
  /** Arrived at the multihop port. */
  readonly multihop: boolean;
}

export interface BfdPort {
  /** A source port for a session; `send` follows. */
  open(id: number, target: BfdTarget): void;
  /** Octets that cannot leave are lost, as on the wire. */
  send(id: number, octets: Uint8Array): void;
  close(id: number): void;
}

export interface BfdChange {
  /** Who asked for the session. */
  readonly name: string;
  readonly from: BfdState;
  readonly to: BfdState;
  /** The peer's administrator took it down: no failure of the path (RFC 5882 §3.2). */
  readonly isRemoteAdminDown: boolean;
  /** The peer's BFD goes on while its control plane restarts (RFC 5880 §4.1, bit C). */
  readonly isRemoteIndependent: boolean;
  readonly why: string;
}

/** A session for display. Times are milliseconds, intervals microseconds. */
export interface BfdView {
  readonly names: readonly string[];
  readonly remote: string;
  readonly local: string;
  readonly link: string;
  readonly multihop: boolean;
  readonly auth: BfdAuthType | undefined;
  readonly state: BfdState;
  readonly stateMs: number;
  readonly remoteState: BfdState;
  readonly diag: string;
  readonly remoteDiag: string;
  readonly txIntervalUs: number;
  readonly rxIntervalUs: number;
  readonly detectionUs: number;
  readonly multiplier: number;
  readonly remoteMultiplier: number;
  readonly discriminator: number;
  readonly remoteDiscriminator: number;
  readonly packetsIn: number;
  readonly packetsOut: number;
  readonly flaps: number;
}

export type BfdDrop = BfdFault | 'ttl' | 'no-session' | 'authentication';

interface Entry {
  readonly id: number;
  readonly key: string;
  readonly target: BfdTarget;
  readonly session: BfdSession;
  readonly names: Set<string>;
}

export interface BfdOptions {
  /** Uniform numbers in [0, 1): jitter and discriminators. */
  readonly random: () => number;
  readonly port: BfdPort;
  readonly onChange: (change: BfdChange) => void;
  /** For sessions with authentication. */
  readonly digest: Digest;
}

export class Bfd {
  /** Packets discarded, by reason. */
  readonly drops = new Map<BfdDrop, number>();
  readonly #options: BfdOptions;
  readonly #byKey = new Map<string, Entry>();
  readonly #byDiscriminator = new Map<number, Entry>();
  readonly #byName = new Map<string, Entry>();
  #nextId = 1;

  constructor(options: BfdOptions) {
    this.#options = options;
  }

  get size(): number {
    return this.#byKey.size;
  }

  /**
   * Watch a neighbour in the name of somebody; a name watches one neighbour. RFC 5882 §2: several who watch the same one
   * share a session, whose settings are those given last.
   */
  watch(name: string, target: BfdTarget, settings: BfdSettings, now: Instant): void {
    const key = keyOf(target.link, target.remote, target.multihop);
    const old = this.#byName.get(name);
    if (old !== undefined && (old.key !== key || !isSame(old.target.local, target.local))) this.unwatch(name, now);
    let entry = this.#byKey.get(key);
    if (entry === undefined) {
      const { random, digest } = this.#options;
      const session = new BfdSession(this.#discriminator(), settings, random, now, digest);
      entry = { id: this.#nextId++, key, target, session, names: new Set() };
      this.#byKey.set(key, entry);
      this.#byDiscriminator.set(session.discriminator, entry);
      this.#options.port.open(entry.id, target);
    } else entry.session.configure(settings, now);
    entry.names.add(name);
    this.#byName.set(name, entry);
    this.#pump(entry);
  }

  /** Nobody of that name watches any more; the peer is told that this is no failure. */
  unwatch(name: string, now: Instant): void {
    const entry = this.#byName.get(name);
    if (entry === undefined) return;
    this.#byName.delete(name);
    entry.names.delete(name);
    if (entry.names.size > 0) return;
    entry.session.setEnabled(false, now);
    this.#pump(entry);
    this.#byKey.delete(entry.key);
    this.#byDiscriminator.delete(entry.session.discriminator);
    this.#options.port.close(entry.id);
  }

  /** Stop watching everybody. */
  close(now: Instant): void {
    for (const name of [...this.#byName.keys()]) this.unwatch(name, now);
  }

  /** State of the session somebody asked for. */
  stateOf(name: string): BfdState | undefined {
    return this.#byName.get(name)?.session.state;
  }

  /** A datagram at one of our ports. */
  receive(d: BfdDatagram, now: Instant): void {
    // RFC 5881 §5: "received BFD Control packets that are demultiplexed [...] MUST be discarded if the TTL is not 255".
    if (!d.multihop && d.ttl !== undefined && d.ttl !== BFD_TTL) {
      this.#drop('ttl');
      return;
    }
    const p = decodeBfd(d.octets);
    if (typeof p === 'string') {
      this.#drop(p);
      return;
    }
    const entry = p.yourDiscriminator !== 0 ? this.#byDiscriminator.get(p.yourDiscriminator) : this.#find(d);
    // The discriminator alone must not let another link, or a packet from far away, speak for a neighbour.
    if (entry === undefined || !isFrom(entry.target, d)) {
      this.#drop('no-session');
      return;
    }
    if (!entry.session.accepts(d.octets, p, now)) {
      this.#drop('authentication');
      return;
    }
    entry.session.receive(p, now);
    this.#pump(entry);
  }

  tick(now: Instant): void {
    for (const entry of this.#byKey.values()) {
      if (entry.session.deadline() > now) continue;
      entry.session.tick(now);
      this.#pump(entry);
    }
  }

  /** When to call `tick` next; undefined = never. */
  deadline(): Instant | undefined {
    let earliest = Infinity;
    for (const { session } of this.#byKey.values()) earliest = Math.min(earliest, session.deadline());
    return earliest === Infinity ? undefined : (earliest as Instant);
  }

  /** All sessions, in the order they were asked for. */
  snapshot(now: Instant): BfdView[] {
    return [...this.#byKey.values()].map(({ names, target, session: s }) => ({
      names: [...names],
      remote: String(target.remote),
      local: target.local === undefined ? '' : String(target.local),
      link: String(target.link),
      multihop: target.multihop,
      auth: s.settings.auth?.type,
      state: s.state,
      stateMs: now - s.since,
      remoteState: s.remoteState,
      diag: diagText(s.localDiag),
      remoteDiag: diagText(s.remoteDiag),
      txIntervalUs: s.txIntervalUs,
      rxIntervalUs: Math.max(s.settings.minRxUs, s.remoteMinTxUs),
      detectionUs: s.detectionUs,
      multiplier: s.settings.multiplier,
      remoteMultiplier: s.remoteDetectMult,
      discriminator: s.discriminator,
      remoteDiscriminator: s.remoteDiscriminator,
      packetsIn: s.packetsIn,
      packetsOut: s.packetsOut,
      flaps: s.flaps,
    }));
  }

  /** A first packet, which names no session of ours: by link and address, or by the link alone where that is enough. */
  #find(d: BfdDatagram): Entry | undefined {
    const exact = this.#byKey.get(keyOf(d.link, d.remote, d.multihop));
    if (exact !== undefined || d.multihop) return exact;
    // RFC 5881 §3: on a point-to-point link "the source address of a BFD packet MUST NOT be used to identify the session".
    const onLink = [...this.#byKey.values()].filter(
      ({ target: t }) => !t.multihop && !t.byAddress && t.link === d.link && t.remote.family === d.remote.family,
    );
    return onLink.length === 1 ? onLink[0] : undefined;
  }

  #pump(entry: Entry): void {
    for (let a = entry.session.poll(); a !== undefined; a = entry.session.poll()) {
      if (a.kind === 'send') {
        this.#options.port.send(entry.id, a.octets);
        continue;
      }
      const isRemoteAdminDown = entry.session.remoteState === 'AdminDown';
      const why = isRemoteAdminDown ? 'administratively down at the peer' : diagText(entry.session.localDiag);
      const { remoteIndependent: isRemoteIndependent } = entry.session;
      const change = { from: a.from, to: a.to, isRemoteAdminDown, isRemoteIndependent, why };
      for (const name of entry.names) this.#options.onChange({ name, ...change });
    }
  }

  #drop(reason: BfdDrop): void {
    this.drops.set(reason, (this.drops.get(reason) ?? 0) + 1);
  }

  /** RFC 5880 §6.8.1: unique among ours and not zero; random, so that it is hard to guess. */
  #discriminator(): number {
    for (;;) {
      const d = Math.floor(this.#options.random() * 2 ** 32) >>> 0;
      if (d !== 0 && !this.#byDiscriminator.has(d)) return d;
    }
  }
}

function keyOf(link: LinkId, remote: Addr, multihop: boolean): string {
  return multihop ? `* ${remote}` : `${link} ${remote}`;
}

/** Whether a packet came the way the packets of a neighbour come. */
function isFrom(target: BfdTarget, d: BfdDatagram): boolean {
  if (target.multihop !== d.multihop) return false;
  const isAddressed = target.multihop || target.byAddress === true;
  return (target.multihop || target.link === d.link) && (!isAddressed || target.remote.equals(d.remote));
}

function isSame(a: Addr | undefined, b: Addr | undefined): boolean {
  return a === undefined || b === undefined ? a === b : a.equals(b);
}

function diagText(diag: number): string {
  return DIAGNOSTICS[diag] ?? `diagnostic ${diag}`;
}
