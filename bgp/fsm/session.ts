/**
 * A session with one peer as a sans-IO core: events and time in, actions out. It owns up to two connections (ours and the
 * peer's) until an OPEN decides between them, and restarts by itself with growing pauses.
 * Read first: RFC 4271 §6.8 and §8, RFC 6286 §2.3, RFC 4486 §4. Does not know routes.
 */

import type { Instant } from '../../router/lib/clock.ts';
import { RestartFlag } from '../wire/capability.ts';
import { type BgpFault, Cease } from '../wire/fault.ts';
import {
  decodeNotification,
  encodeNotification,
  encodeRouteRefresh,
  MessageType,
  type Open,
  type RawMessage,
  type RouteRefresh,
} from '../wire/message.ts';
import type { Update } from '../wire/update.ts';
import {
  type CeaseReason,
  Connection,
  type ConnectionHost,
  type ConnectionSettings,
  type SessionError,
  type Timers,
} from './connection.ts';
import { asOf, type Negotiated } from './negotiate.ts';
import { EVENTS, STATES, type State } from './table.ts';

export type SessionSettings = ConnectionSettings & {
  /** First pause after a failed session and its upper bound; it doubles with every failure. */
  readonly idleHoldMs: number;
  readonly maxIdleHoldMs: number;
};

/** How an established session ended. */
export type SessionEnd =
  /** With a NOTIFICATION, a whole message. */
  | { readonly kind: 'sent' | 'received'; readonly notification: Uint8Array }
  /** We closed the connection without a word, because of this event (RFC 4271 §8.1). */
  | { readonly kind: 'left'; readonly event: number }
  /** The connection was lost, or the peer closed it without a word. */
  | { readonly kind: 'lost' };

export type SessionEvent =
  | { readonly kind: 'start' }
  /** End the session until `start`; the text reaches the peer (RFC 9003). */
  | ({ readonly kind: 'stop' } & Partial<CeaseReason>)
  /** End the session and begin again, after a pause of this length or of the usual one. */
  | ({ readonly kind: 'reset'; readonly pauseMs?: number | undefined } & Partial<CeaseReason>)
  /** What is waited for may be tried at once: the path has come back. */
  | { readonly kind: 'hurry' }
  /** The uplink is gone, or we are about to restart: connections are dropped without a word until `start`. */
  | { readonly kind: 'uplink-down' | 'restarting' }
  | { readonly kind: 'connected'; readonly transport: number }
  | { readonly kind: 'accepted'; readonly transport: number }
  | { readonly kind: 'octets'; readonly transport: number; readonly octets: Uint8Array }
  | { readonly kind: 'closed'; readonly transport: number; readonly reason: string }
  | { readonly kind: 'congested' | 'drained'; readonly transport: number }
  /** The speaker cannot accept what an UPDATE said. */
  | { readonly kind: 'refuse'; readonly fault: BgpFault };

export type SessionAction =
  | { readonly kind: 'connect'; readonly transport: number }
  | { readonly kind: 'send'; readonly transport: number; readonly octets: Uint8Array }
  /** Close after flushing what was sent, or at once. */
  | { readonly kind: 'close'; readonly transport: number; readonly abort: boolean }
  | { readonly kind: 'established'; readonly negotiated: Negotiated; readonly transport: number }
  /** `mayRestart`: routes of the peer may be kept as its restart was agreed (RFC 4724 §4.2, RFC 8538 §4). */
  | { readonly kind: 'down'; readonly mayRestart: boolean; readonly negotiated: Negotiated; readonly end: SessionEnd }
  /** `body` is the message without its header. */
  | { readonly kind: 'update'; readonly update: Update; readonly body: Uint8Array }
  | { readonly kind: 'refresh'; readonly refresh: RouteRefresh }
  | { readonly kind: 'state'; readonly from: State; readonly to: State };

/** A session that stood this long is forgiven its earlier failures; a shorter one is part of a flap. */
const STABLE_MS = 60_000;
/** A connection that the peer begins this long after the session came up has nothing to do with that. */
const SETTLED_MS = 10_000;
/** Up to this many flaps in a row, a connection of the peer ends the pause before a retry. */
const FORGIVEN_FLAPS = 3;

export class Session implements ConnectionHost {
  readonly settings: SessionSettings;
  retries = 0;
  /** Why the last session ended, or why the present attempts fail. */
  lastError: SessionError | undefined;
  /** The last NOTIFICATION, sent or received, until a session is established again: what fails meanwhile does not hide it. */
  lastNotification: SessionError | undefined;
  /** The error that ended the last established session; what fails on the way to the next one does not hide it. */
  #endedBy: SessionError | undefined;
  /** Messages by type code, index 0 unused. */
  readonly receivedMessages = new Float64Array(6);
  readonly sentMessages = new Float64Array(6);
  /** When the session entered its present state. */
  since: Instant;
  /** How often it was established. */
  establishments = 0;
  #primary: Connection;
  /** The peer's connection beside one of ours (RFC 4271 §6.8). */
  #secondary: Connection | undefined;
  /** When that was accepted. */
  #secondaryAt = 0;
  #isEnabled = false;
  /** Sessions that ended in a NOTIFICATION or by surprise, one after the other: what the idle hold time grows with. */
  #flaps = 0;
  #idleHoldAt = Infinity;
  /** Length of the pause that begins now, where it is not the usual one; the peer cannot end such a pause. */
  #pauseMs: number | undefined;
  #isPauseFixed = false;
  #established: Connection | undefined;
  /** The NOTIFICATION that ends the established session. */
  #end: SessionEnd | undefined;
  #establishedAt = 0;
  #shownState: State = 'Idle';
  #nextTransport: () => number;
  #actions: SessionAction[] = [];
  #taken = 0;

  /** @param nextTransport hands out transport numbers, unique among the sessions of a speaker */
  constructor(settings: SessionSettings, nextTransport: () => number, now: Instant) {
    this.settings = settings;
    this.#nextTransport = nextTransport;
    this.since = now;
    this.#primary = new Connection(this, false);
  }

  get state(): State {
    return this.#shownState;
  }

  get isEnabled(): boolean {
    return this.#isEnabled;
  }

  /** It waits for a time that was set and that the peer cannot shorten. */
  get isHeldBack(): boolean {
    return this.#isPauseFixed && this.#idleHoldAt !== Infinity;
  }

  /** Facts of the established session. */
  get negotiated(): Negotiated | undefined {
    return this.#established?.negotiated;
  }

  /** Instants at which timers fire (Infinity = not running), for display. */
  get timers(): Timers & { readonly idleHold: number } {
    return { ...(this.#established ?? this.#primary).timers, idleHold: this.#idleHoldAt };
  }

  handle(event: SessionEvent, now: Instant): void {
    switch (event.kind) {
      case 'start':
        if (this.#isEnabled) break;
        this.#isEnabled = true;
        this.#isPauseFixed = false;
        this.#flaps = 0;
        this.#primary.fire(this.settings.passive ? 'ManualStartPassive' : 'ManualStart', now);
        break;
      case 'stop':
        this.#isEnabled = false;
        this.#idleHoldAt = Infinity;
        this.#endAll('ManualStop', { subcode: Cease.AdminShutdown, text: '', ...event }, now);
        break;
      case 'reset':
        if (this.#primary.state === 'Idle' && this.#isEnabled) this.#idleHoldAt = now;
        else {
          this.#pauseMs = event.pauseMs;
          this.#endAll('AutomaticStop', { subcode: Cease.AdminReset, text: '', ...event }, now);
          this.#pauseMs = undefined;
        }
        break;
      case 'hurry':
        if (this.#primary.state === 'Idle' && this.#isEnabled && !this.#isPauseFixed) this.#idleHoldAt = now;
        break;
      case 'uplink-down':
      case 'restarting':
        this.#isEnabled = false;
        this.#idleHoldAt = Infinity;
        this.#abandonAll(event.kind === 'restarting' ? 'restarting' : 'uplink is down', now);
        break;
      case 'connected':
        this.#find(event.transport)?.fire('TcpCrAcked', now);
        break;
      case 'accepted':
        this.#onAccepted(event.transport, now);
        break;
      case 'octets':
        this.#find(event.transport)?.octets(event.octets, now);
        break;
      case 'closed':
        this.#onClosed(event.transport, event.reason, now);
        break;
      case 'congested':
        this.#find(event.transport)?.congested(now);
        break;
      case 'drained':
        this.#find(event.transport)?.drained();
        break;
      case 'refuse':
        this.#established?.refuse(event.fault, now);
        break;
    }
    this.#showState(now);
  }

  tick(now: Instant): void {
    this.#primary.tick(now);
    this.#secondary?.tick(now);
    if (this.#idleHoldAt <= now) {
      this.#idleHoldAt = Infinity;
      this.#isPauseFixed = false;
      this.#primary.fire(this.settings.passive ? 'AutomaticStartDampedPassive' : 'AutomaticStartDamped', now);
    }
    this.#showState(now);
  }

  deadline(): Instant | undefined {
    const at = Math.min(this.#primary.deadline, this.#secondary?.deadline ?? Infinity, this.#idleHoldAt);
    return at === Infinity ? undefined : (at as Instant);
  }

  poll(): SessionAction | undefined {
    const action = this.#actions[this.#taken];
    if (action === undefined) {
      this.#actions = [];
      this.#taken = 0;
      return undefined;
    }
    this.#taken++;
    return action;
  }

  /** Send UPDATE messages that the speaker has encoded. Only while established. */
  transmit(octets: Uint8Array, messages: number): void {
    const transport = this.#established?.transport;
    if (transport === undefined) return;
    this.sentMessages[MessageType.Update]! += messages;
    this.#actions.push({ kind: 'send', transport, octets });
  }

  /** Ask the peer for its routes again, or mark where ours begin and end (RFC 2918 §4, RFC 7313 §4); false = it cannot. */
  refresh(refresh: RouteRefresh): boolean {
    const c = this.#established;
    if (c?.negotiated?.routeRefresh !== true) return false;
    this.send(c, encodeRouteRefresh(refresh), MessageType.RouteRefresh);
    return true;
  }

  // What connections ask for (ConnectionHost).

  open(c: Connection): void {
    const transport = this.#nextTransport();
    c.attach(transport);
    this.#actions.push({ kind: 'connect', transport });
  }

  close(c: Connection, abort: boolean): void {
    this.#actions.push({ kind: 'close', transport: c.transport!, abort });
  }

  send(c: Connection, octets: Uint8Array, type: number): void {
    this.sentMessages[type]!++;
    if (type === MessageType.Notification && c === this.#established)
      this.#end = { kind: 'sent', notification: octets };
    this.#actions.push({ kind: 'send', transport: c.transport!, octets });
  }

  received(c: Connection, m: RawMessage): void {
    this.receivedMessages[m.type]!++;
    if (c !== this.#established || m.type !== MessageType.Notification) return;
    this.#end = { kind: 'received', notification: encodeNotification(decodeNotification(m.body)) };
  }

  failed(error: SessionError): void {
    this.lastError = error;
    if (error.origin !== 'transport') this.lastNotification = error;
  }

  /** RFC 4271 §6.8: with two connections, the one opened by the side with the larger BGP Identifier stays. */
  survivesCollision(c: Connection, open: Open, now: Instant): boolean {
    const other = c === this.#primary ? this.#secondary : this.#primary;
    if (other === undefined || (other.state !== 'OpenConfirm' && other.state !== 'Established')) return true;
    if (other.state === 'Established' && this.#hasComeBack(other.negotiated!, c, open)) {
      // RFC 4724 §5: the old connection is closed without a NOTIFICATION. Deviation: not as soon as the peer connects, but with
      // its OPEN, and only where no collision can be meant. Pinned by test/bgp/restart.test.ts.
      this.#lost('the peer restarted', now);
      this.#end = { kind: 'left', event: EVENTS.TcpConnectionFails };
      other.fire('TcpConnectionFails', now);
      return true;
    }
    const { identifier, localAs } = this.settings;
    const peerAs = asOf(open);
    // RFC 6286 §2.3: equal identifiers (different ASes) are told apart by the AS number.
    const peerWins = identifier === open.identifier ? localAs < peerAs : identifier < open.identifier;
    const loser = other.state === 'Established' ? c : c.isInbound === peerWins ? other : c;
    this.#dump(loser, now);
    return loser !== c;
  }

  /** A peer that can restart begins anew: it says so, or it connects so late that it cannot know of the session that stands. */
  #hasComeBack({ restart, context }: Negotiated, c: Connection, open: Open): boolean {
    if (restart === undefined) return false;
    const isLate = c === this.#secondary && this.#secondaryAt - this.#establishedAt >= SETTLED_MS;
    // Both connections of a collision tell of the same restart.
    if (!isLate) return isRestarting(open) && !restart.isRestarting;
    return isRestarting(open) || Object.values(context.families).some((facts) => facts.restart !== undefined);
  }

  established(c: Connection, now: Instant): void {
    this.#established = c;
    this.#end = undefined;
    this.#establishedAt = now;
    this.retries = 0;
    this.lastError = this.#endedBy;
    this.lastNotification = undefined;
    this.establishments++;
    this.#actions.push({ kind: 'established', negotiated: c.negotiated!, transport: c.transport! });
    const other = c === this.#primary ? this.#secondary : this.#primary;
    this.#primary = c;
    this.#secondary = undefined;
    if (other === undefined) return;
    // The peer may have chosen the other connection: its KEEPALIVE on this one then left before its OPEN on that one had
    // reached us, and a Cease follows. A connection that still waits for the OPEN is decided by `survivesCollision`.
    if (other.state === 'OpenSent') this.#secondary = other;
    else this.#dump(other, now);
  }

  deliver(_c: Connection, message: Update | RouteRefresh, body: Uint8Array): void {
    this.#actions.push(
      'withdrawn' in message ? { kind: 'update', update: message, body } : { kind: 'refresh', refresh: message },
    );
  }

  moved(c: Connection, from: State, damped: boolean, now: Instant): void {
    if (c.state !== 'Idle') return;
    if (from === 'Established') {
      this.#established = undefined;
      this.#endedBy = this.lastError;
      if (now - this.#establishedAt >= STABLE_MS) this.#flaps = 0;
      const end = this.#end ?? { kind: 'lost' };
      this.#actions.push({ kind: 'down', mayRestart: mayRestart(c, this.lastError), negotiated: c.negotiated!, end });
    }
    if (c === this.#secondary) this.#secondary = undefined;
    else if (c === this.#primary && this.#secondary !== undefined) {
      this.#primary = this.#secondary;
      this.#secondary = undefined;
    } else if (c === this.#primary) {
      // Every session begins with a machine that may connect, whoever opened the last one.
      this.#primary = new Connection(this, false);
      if (damped && this.#isEnabled) {
        const { idleHoldMs, maxIdleHoldMs, random } = this.settings;
        const usual = Math.min(maxIdleHoldMs, idleHoldMs * 2 ** Math.min(this.#flaps++, 16));
        this.#isPauseFixed = this.#pauseMs !== undefined;
        this.#idleHoldAt = now + (this.#pauseMs ?? usual * (0.75 + 0.25 * random()));
      }
    }
  }

  /** Close one of two connections. That is no failure of the session, so the retry counter stays. */
  #dump(c: Connection, now: Instant): void {
    const { retries, lastError, lastNotification } = this;
    c.cease = { subcode: Cease.Collision, text: '' };
    c.fire('OpenCollisionDump', now);
    this.retries = retries;
    this.lastError = lastError;
    this.lastNotification = lastNotification;
  }

  /** A connection ended without a NOTIFICATION. */
  #lost(text: string, now: Instant): void {
    this.failed({ at: now, origin: 'transport', code: undefined, subcode: undefined, text, isHard: false });
  }

  #find(transport: number): Connection | undefined {
    if (this.#primary.transport === transport) return this.#primary;
    return this.#secondary?.transport === transport ? this.#secondary : undefined;
  }

  #onAccepted(transport: number, now: Instant): void {
    const isIdle = this.#primary.state === 'Idle';
    if (!this.#isEnabled || (isIdle && (this.#flaps > FORGIVEN_FLAPS || this.#isPauseFixed))) {
      this.#actions.push({ kind: 'close', transport, abort: false });
      return;
    }
    if (isIdle) {
      this.#idleHoldAt = Infinity;
      this.#primary.fire('AutomaticStartDampedPassive', now);
    }
    if (this.#primary.state === 'Active' && this.#primary.transport === undefined) {
      const c = new Connection(this, true);
      this.#primary = c;
      this.#begin(c, transport, now);
      return;
    }
    if (this.#secondary !== undefined) {
      // The peer gave up its earlier attempt, or it would not begin another one.
      this.#dump(this.#secondary, now);
    }
    const c = new Connection(this, true);
    this.#secondary = c;
    this.#secondaryAt = now;
    this.#begin(c, transport, now);
  }

  #begin(c: Connection, transport: number, now: Instant): void {
    c.attach(transport);
    c.fire('AutomaticStartDampedPassive', now);
    c.fire('TcpConnectionConfirmed', now);
  }

  #onClosed(transport: number, reason: string, now: Instant): void {
    const c = this.#find(transport);
    if (c === undefined) return;
    this.#lost(reason, now);
    const wasInbound = c.isInbound;
    // Nothing is left to flush or close; the action only lets the transport forget it.
    c.fire('TcpConnectionFails', now);
    // A machine made for the peer's connection cannot connect itself: hand its waiting over to one that can.
    if (wasInbound && c.state === 'Active' && c === this.#primary) {
      this.#primary = new Connection(this, false);
      this.#primary.fire('AutomaticStartDampedPassive', now);
    } else if (c.state === 'Active' && c === this.#secondary) this.#secondary = undefined;
  }

  #endAll(event: 'ManualStop' | 'AutomaticStop', reason: CeaseReason, now: Instant): void {
    for (const c of [this.#secondary, this.#primary]) {
      if (c === undefined || c.state === 'Idle') continue;
      c.cease = reason;
      c.fire(event, now);
    }
  }

  #abandonAll(text: string, now: Instant): void {
    this.#end = { kind: 'left', event: EVENTS.AutomaticStop };
    for (const c of [this.#secondary, this.#primary]) {
      if (c === undefined || c.state === 'Idle') continue;
      if (c.transport !== undefined) this.#actions.push({ kind: 'close', transport: c.transport, abort: true });
      c.transport = undefined;
      c.fire('ManualStop', now);
    }
    this.#lost(text, now);
  }

  /** The state shown is that of the connection that has come further. */
  #showState(now: Instant): void {
    const rank = (c: Connection | undefined): number => (c === undefined ? -1 : STATES.indexOf(c.state));
    const to = rank(this.#secondary) > rank(this.#primary) ? this.#secondary!.state : this.#primary.state;
    if (to === this.#shownState) return;
    this.#actions.push({ kind: 'state', from: this.#shownState, to });
    this.#shownState = to;
    this.since = now;
  }
}

function isRestarting(open: Open): boolean {
  return open.capabilities.some((c) => c.kind === 'graceful-restart' && (c.flags & RestartFlag.Restarting) !== 0);
}

/** RFC 4724 §4.2: a connection that just ended; RFC 8538 §4: also one that a NOTIFICATION ended, unless it is a hard reset. */
function mayRestart(c: Connection, error: SessionError | undefined): boolean {
  const n = c.negotiated;
  if (n?.restart === undefined || error === undefined || error.isHard) return false;
  return error.origin === 'transport' || n.notificationRestart;
}
