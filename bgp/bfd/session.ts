/**
 * One BFD session as a sans-IO core: packets and time in, packets and changes of state out (RFC 5880 §6.8, active role,
 * asynchronous mode). A peer in demand mode is obeyed; we never ask for it, and offer no echo function.
 * Does not know addresses, ports or TTLs: bfd.ts finds the session of a packet.
 */
import type { Instant } from '../../router/lib/clock.ts';
import { Authenticator, type BfdAuth, type Digest } from './auth.ts';
import { type BfdPacket, type BfdState, Diag, encodeBfd } from './packet.ts';
import { type BfdEvent, TABLE } from './table.ts';

export interface BfdSettings {
  /** Microseconds between packets we would like to send (bfd.DesiredMinTxInterval once Up). */
  readonly minTxUs: number;
  /** Microseconds between packets we can take (bfd.RequiredMinRxInterval). */
  readonly minRxUs: number;
  /** Packets in a row the peer may miss before it calls us down, 1..255. */
  readonly multiplier: number;
  /** Packets are signed, and none is believed that is not; undefined = as they are. */
  readonly auth?: BfdAuth | undefined;
}

export type BfdAction =
  | { readonly kind: 'send'; readonly octets: Uint8Array }
  | { readonly kind: 'state'; readonly from: BfdState; readonly to: BfdState };

/** RFC 5880 §6.8.3: while not Up "the system MUST set bfd.DesiredMinTxInterval to a value of not less than one second". */
const SLOW_TX_US = 1_000_000;
const NEVER = Infinity as Instant;

export class BfdSession {
  readonly discriminator: number;
  state: BfdState = 'Down';
  localDiag: number = Diag.None;
  remoteState: BfdState = 'Down';
  remoteDiag: number = Diag.None;
  remoteDiscriminator = 0;
  remoteDetectMult = 0;
  remoteMinTxUs = 0;
  /** bfd.RemoteMinRxInterval: 1 until the peer is heard (RFC 5880 §6.8.1). */
  remoteMinRxUs = 1;
  remoteDemand = false;
  /** RFC 5880 §4.1, bit C: its BFD runs apart from its control plane. */
  remoteIndependent = false;
  packetsIn = 0;
  packetsOut = 0;
  /** How often it came up, and fell from Up. */
  rises = 0;
  flaps = 0;
  since: Instant;
  #settings: BfdSettings;
  /** Our intervals in force: a slower sender and a shorter detection time wait for the end of a poll sequence. */
  #txUs = SLOW_TX_US;
  #rxUs: number;
  #isPolling = false;
  #sendAt: Instant;
  #sentAt: Instant;
  /** The interval that `#sendAt` was drawn from. */
  #plannedUs = 0;
  #heardAt: Instant = 0 as Instant;
  #expireAt: Instant = NEVER;
  readonly #digest: Digest;
  #authenticator: Authenticator | undefined;
  readonly #random: () => number;
  #actions: BfdAction[] = [];
  #taken = 0;

  /** @param random uniform numbers in [0, 1), for jitter and first sequence numbers */
  constructor(discriminator: number, settings: BfdSettings, random: () => number, now: Instant, digest: Digest) {
    this.discriminator = discriminator;
    this.#settings = settings;
    this.#random = random;
    this.#digest = digest;
    this.#authenticate(settings.auth);
    this.#rxUs = settings.minRxUs;
    this.since = now;
    this.#sentAt = now;
    this.#sendAt = now;
  }

  get settings(): BfdSettings {
    return this.#settings;
  }

  /** The interval we send at before jitter, microseconds; 0 = the peer wants nothing periodic. */
  get txIntervalUs(): number {
    if (this.remoteMinRxUs === 0) return 0;
    return Math.max(this.#txUs, this.remoteMinRxUs);
  }

  /** RFC 5880 §6.8.4: silence of the peer that ends the session, microseconds; 0 before it was heard. */
  get detectionUs(): number {
    return this.remoteDetectMult * Math.max(this.#rxUs, this.remoteMinTxUs);
  }

  /** What we ask for now. RFC 5880 §6.8.3. */
  get #desiredTxUs(): number {
    return this.state === 'Up' ? this.#settings.minTxUs : Math.max(SLOW_TX_US, this.#settings.minTxUs);
  }

  /**
   * Whether a packet may be believed: signed as agreed, or not at all as agreed (RFC 5880 §6.8.6: "If the A bit is set and
   * no authentication is in use" or the other way round, "the packet MUST be discarded").
   */
  accepts(octets: Uint8Array, p: BfdPacket, now: Instant): boolean {
    if (this.#authenticator === undefined) return !p.authenticated;
    if ((now - this.#heardAt) * 1000 >= 2 * this.detectionUs) this.#authenticator.forget();
    return p.authenticated && this.#authenticator.accepts(octets);
  }

  /** RFC 5880 §6.8.6, from the point where the session is known and the packet authenticated. */
  receive(p: BfdPacket, now: Instant): void {
    this.packetsIn++;
    this.remoteDiscriminator = p.myDiscriminator;
    this.remoteState = p.state;
    this.remoteDiag = p.diag;
    this.remoteDemand = p.demand;
    this.remoteIndependent = p.controlPlaneIndependent;
    this.remoteMinRxUs = p.requiredMinRxUs;
    this.remoteMinTxUs = p.desiredMinTxUs;
    this.remoteDetectMult = p.detectMult;
    if (p.final && this.#isPolling) this.#pollEnded();
    this.#heardAt = now;
    this.#watch();
    this.#fire(p.state, now);
    this.#reschedule();
    // "If the Poll (P) bit is set, send a BFD Control packet to the remote system with the Poll bit clear and the Final set."
    if (p.poll && this.state !== 'AdminDown') this.#send(now, true);
  }

  tick(now: Instant): void {
    if (this.#expireAt <= now) {
      this.#expireAt = NEVER;
      this.#fire('expired', now);
      // RFC 5880 §6.8.1: a silent detection time makes the peer unknown again.
      this.remoteDiscriminator = 0;
      this.remoteDemand = false;
      this.remoteMinRxUs = 1;
      this.remoteState = 'Down';
      this.#reschedule();
    }
    if (this.#sendAt <= now) this.#send(now, false);
  }

  deadline(): Instant {
    return Math.min(this.#sendAt, this.#expireAt) as Instant;
  }

  /** Take the session down on purpose (AdminDown tells the peer that the path is not to blame), or let it begin again. */
  setEnabled(isEnabled: boolean, now: Instant): void {
    this.#fire(isEnabled ? 'enable' : 'disable', now);
    this.#reschedule();
  }

  /** Other intervals or another multiplier; a session that is Up negotiates them by a poll sequence (RFC 5880 §6.8.3). */
  configure(settings: BfdSettings, now: Instant): void {
    const old = this.#settings;
    this.#settings = settings;
    if (!isSameAuth(old.auth, settings.auth)) this.#authenticate(settings.auth);
    if (old.minTxUs === settings.minTxUs && old.minRxUs === settings.minRxUs) return;
    if (this.state !== 'Up') {
      this.#txUs = this.#desiredTxUs;
      this.#rxUs = settings.minRxUs;
    } else {
      // Faster sending and longer patience are safe at once, their opposites when the peer has answered.
      this.#txUs = Math.min(this.#txUs, settings.minTxUs);
      this.#rxUs = Math.max(this.#rxUs, settings.minRxUs);
      this.#isPolling = true;
    }
    this.#watch();
    this.#send(now, false);
  }

  poll(): BfdAction | undefined {
    const action = this.#actions[this.#taken];
    if (action === undefined) {
      this.#actions = [];
      this.#taken = 0;
      return undefined;
    }
    this.#taken++;
    return action;
  }

  #authenticate(auth: BfdAuth | undefined): void {
    this.#authenticator = auth && new Authenticator(auth, this.#digest, this.#random);
  }

  #pollEnded(): void {
    this.#isPolling = false;
    this.#txUs = this.#desiredTxUs;
    this.#rxUs = this.#settings.minRxUs;
  }

  #watch(): void {
    const ms = this.detectionUs / 1000;
    this.#expireAt = this.remoteDiscriminator === 0 || ms === 0 ? NEVER : ((this.#heardAt + ms) as Instant);
  }

  #fire(event: BfdEvent, now: Instant): void {
    const from = this.state;
    const step = TABLE[from][event];
    if (step.diag !== undefined) this.localDiag = step.diag;
    if (step.next === from) return;
    this.state = step.next;
    this.since = now;
    if (from === 'Up') this.flaps++;
    if (step.next === 'Up') this.rises++;
    // RFC 5880 §6.8.3: the desired interval changed with the state. A faster one is polled for; while not Up it counts at once.
    this.#isPolling = step.next === 'Up' && this.#desiredTxUs !== this.#txUs;
    this.#txUs = this.#desiredTxUs;
    this.#rxUs = this.#settings.minRxUs;
    this.#actions.push({ kind: 'state', from, to: step.next });
    this.#send(now, false);
  }

  /** RFC 5880 §6.8.7: whether packets leave by themselves. */
  get #isPeriodic(): boolean {
    if (this.remoteMinRxUs === 0) return false;
    const isDemanded = this.remoteDemand && this.state === 'Up' && this.remoteState === 'Up';
    return this.#isPolling || !isDemanded;
  }

  /** The next packet's time, after something it depends on may have changed: never later than planned. */
  #reschedule(): void {
    if (!this.#isPeriodic) this.#sendAt = NEVER;
    else if (this.#sendAt === NEVER || this.txIntervalUs < this.#plannedUs)
      this.#sendAt = Math.min(this.#sendAt, this.#sentAt + this.#pauseMs()) as Instant;
  }

  /**
   * RFC 5880 §6.8.7: "The periodic transmission of BFD Control packets MUST be jittered on a per-packet basis by up to
   * 25%"; with a multiplier of 1 "the interval [...] MUST be no more than 90%".
   */
  #pauseMs(): number {
    this.#plannedUs = this.txIntervalUs;
    const most = this.#settings.multiplier === 1 ? 0.9 : 1;
    return (this.txIntervalUs / 1000) * (0.75 + (most - 0.75) * this.#random());
  }

  #send(now: Instant, isFinal: boolean): void {
    this.packetsOut++;
    const octets = encodeBfd({
      diag: this.localDiag,
      state: this.state,
      poll: this.#isPolling && !isFinal,
      final: isFinal,
      controlPlaneIndependent: false,
      demand: false,
      detectMult: this.#settings.multiplier,
      myDiscriminator: this.discriminator,
      yourDiscriminator: this.remoteDiscriminator,
      desiredMinTxUs: this.#desiredTxUs,
      requiredMinRxUs: this.#settings.minRxUs,
      requiredMinEchoRxUs: 0,
    });
    this.#actions.push({ kind: 'send', octets: this.#authenticator?.sign(octets) ?? octets });
    if (isFinal) return;
    this.#sentAt = now;
    this.#sendAt = this.#isPeriodic ? ((now + this.#pauseMs()) as Instant) : NEVER;
  }
}

function isSameAuth(a: BfdAuth | undefined, b: BfdAuth | undefined): boolean {
  return a?.type === b?.type && a?.keyId === b?.keyId && a?.password === b?.password;
}
