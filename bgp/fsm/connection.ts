/**
 * One connection to a peer: the machine of table.ts with its timers, driven by octets and time.
 * Read first: RFC 4271 §8 and §10, RFC 9687. Does not know sockets (its host opens and closes them) and does not decide
 * between two connections of one peer (session.ts does).
 */

import type { Instant } from '../../router/lib/clock.ts';
import {
  type BgpFault,
  Cease,
  ErrorCode,
  errorName,
  hardReset,
  NO_DATA,
  notificationText,
  OpenError,
  RefreshError,
  resetFault,
  shutdownData,
} from '../wire/fault.ts';
import {
  decodeNotification,
  decodeOpen,
  decodeRouteRefresh,
  encodeKeepalive,
  encodeNotification,
  encodeOpen,
  HEADER_OCTETS,
  MessageReader,
  MessageType,
  type Open,
  type RawMessage,
  type RouteRefresh,
} from '../wire/message.ts';
import { decodeUpdate, type Update } from '../wire/update.ts';
import { localOpen, type Negotiated, negotiate, type OpenSettings } from './negotiate.ts';
import { type Action, type Cell, type Event, type State, TABLE } from './table.ts';

export interface ConnectionSettings extends OpenSettings {
  /** Never open a connection, wait for the peer's. */
  readonly passive: boolean;
  /** First ConnectRetryTimer value and its upper bound; it doubles with every failure. */
  readonly connectRetryMs: number;
  readonly maxConnectRetryMs: number;
  /** RFC 4271 §8.1.1 DelayOpen; undefined = off. */
  readonly delayOpenMs: number | undefined;
  /** RFC 9687 §3 SendHoldTimer; undefined = its default. */
  readonly sendHoldMs: number | undefined;
  /** Uniform numbers in [0, 1) for the jitter of RFC 4271 §10. */
  readonly random: () => number;
}

/** What a connection needs from its session. */
export interface ConnectionHost {
  readonly settings: ConnectionSettings;
  /** ConnectRetryCounter; shared by the connections of a peer. */
  retries: number;
  open(c: Connection): void;
  close(c: Connection, abort: boolean): void;
  send(c: Connection, octets: Uint8Array, type: number): void;
  /** A good OPEN came in: false when collision detection closed this connection. */
  survivesCollision(c: Connection, open: Open, now: Instant): boolean;
  established(c: Connection, now: Instant): void;
  /** @param body the message without its header, as it came */
  deliver(c: Connection, message: Update | RouteRefresh, body: Uint8Array): void;
  received(c: Connection, m: RawMessage): void;
  /** The machine left or entered a state. */
  moved(c: Connection, from: State, damped: boolean, now: Instant): void;
  failed(error: SessionError): void;
}

/** Why a session ended or could not begin, in words. */
export interface SessionError {
  readonly at: Instant;
  readonly origin: 'sent' | 'received' | 'transport';
  readonly code: number | undefined;
  readonly subcode: number | undefined;
  readonly text: string;
  /** RFC 8538 §4: the routes of the session go with it, whatever was agreed about restarts. */
  readonly isHard: boolean;
}

/** Why a connection is ended with a Cease. */
export interface CeaseReason {
  readonly subcode: number;
  /** Reaches the peer's operator for the subcodes of RFC 9003. */
  readonly text: string;
  /** Data field, where it is not the text. */
  readonly data?: Uint8Array | undefined;
}

/** RFC 8538 §5: what ends a session for good is sent as a hard reset to those who know it. */
const HARD: readonly number[] = [
  Cease.MaxPrefixes,
  Cease.AdminShutdown,
  Cease.PeerDeconfigured,
  Cease.AdminReset,
  Cease.HardReset,
  Cease.BfdDown,
];

const LARGE_HOLD_MS = 240_000; // RFC 4271 §8.2.2: "a HoldTimer value of 4 minutes is suggested"
const MIN_SEND_HOLD_MS = 480_000; // RFC 9687 §3: the greater of 8 minutes and twice the hold time

/** RFC 6608 §3: in which state the unexpected message came. */
const FSM_ERROR_SUBCODE: Record<State, number> = {
  Idle: 0,
  Connect: 0,
  Active: 0,
  OpenSent: 1,
  OpenConfirm: 2,
  Established: 3,
};

/** When each timer fires; Infinity = it does not run. */
export interface Timers {
  readonly connectRetry: number;
  readonly delayOpen: number;
  readonly hold: number;
  readonly keepalive: number;
  /** RFC 9687: runs while the peer takes nothing. */
  readonly sendHold: number;
}

export class Connection {
  readonly #host: ConnectionHost;
  /** Number of the transport connection, undefined while there is none. */
  transport: number | undefined;
  /** The peer opened it. */
  readonly isInbound: boolean;
  state: State = 'Idle';
  negotiated: Negotiated | undefined;
  /** What the next Cease says. */
  cease: CeaseReason = { subcode: Cease.AdminShutdown, text: '' };
  /** State in which the running event arrived. */
  #was: State = 'Idle';
  #reader = new MessageReader();
  #fault: BgpFault | undefined;
  #message: Update | RouteRefresh | undefined;
  #body: Uint8Array = NO_DATA;
  #connectRetryAt = Infinity;
  #holdAt = Infinity;
  #keepaliveAt = Infinity;
  #delayOpenAt = Infinity;
  #sendHoldAt = Infinity;

  constructor(host: ConnectionHost, isInbound: boolean) {
    this.#host = host;
    this.isInbound = isInbound;
  }

  /** Earliest timer, Infinity when none runs. */
  get deadline(): number {
    return Math.min(this.#connectRetryAt, this.#holdAt, this.#keepaliveAt, this.#delayOpenAt, this.#sendHoldAt);
  }

  /** For display. */
  get timers(): Timers {
    return {
      connectRetry: this.#connectRetryAt,
      delayOpen: this.#delayOpenAt,
      hold: this.#holdAt,
      keepalive: this.#keepaliveAt,
      sendHold: this.#sendHoldAt,
    };
  }

  /** A transport connection was begun or accepted for this machine. */
  attach(transport: number): void {
    this.transport = transport;
    this.#reader = new MessageReader();
  }

  tick(now: Instant): void {
    if (this.#holdAt <= now) {
      this.#holdAt = Infinity;
      this.fire('HoldTimerExpires', now);
    }
    if (this.#sendHoldAt <= now) {
      this.#sendHoldAt = Infinity;
      this.fire('SendHoldTimerExpires', now);
    }
    if (this.#keepaliveAt <= now) {
      this.#keepaliveAt = Infinity;
      this.fire('KeepaliveTimerExpires', now);
    }
    if (this.#delayOpenAt <= now) {
      // The table stops it: its cells must still see that it was running.
      this.fire('DelayOpenTimerExpires', now);
      if (this.#delayOpenAt <= now) this.#delayOpenAt = Infinity;
    }
    if (this.#connectRetryAt <= now) {
      this.#connectRetryAt = Infinity;
      if (this.state === 'Connect') this.#unanswered(now);
      this.fire('ConnectRetryTimerExpires', now);
    }
  }

  /** The table gives the attempt up, long before the transport would. */
  #unanswered(now: Instant): void {
    const text = 'connection timed out';
    this.#host.failed({ at: now, origin: 'transport', code: undefined, subcode: undefined, text, isHard: false });
  }

  fire(event: Event, now: Instant): void {
    const cell: Cell = TABLE[this.state][event];
    const step = 'next' in cell ? cell : this.#holds(cell.when) ? cell.yes : cell.no;
    const from = this.state;
    this.#was = from;
    // The state is set first: an action may ask the host, which looks at it.
    this.state = step.next;
    for (const action of step.actions) this.#perform(action, now);
    if (step.next === 'Idle' && from !== 'Idle') this.#stopTimers();
    if (step.next !== from) this.#host.moved(this, from, step.actions.includes('damp'), now);
  }

  /** Octets from the transport. */
  octets(chunk: Uint8Array, now: Instant): void {
    this.#reader.push(chunk);
    while (this.transport !== undefined) {
      const m = this.#reader.next();
      if (m === undefined) return;
      if ('handling' in m) this.#broken('BgpHeaderErr', m, now);
      else {
        this.#host.received(this, m);
        this.#onMessage(m, now);
      }
    }
  }

  /** The transport takes no more octets for now: RFC 9687 §3.1 starts its timer. */
  congested(now: Instant): void {
    if (this.#sendHoldAt !== Infinity) return;
    const { sendHoldMs } = this.#host.settings;
    this.#sendHoldAt = now + (sendHoldMs ?? Math.max(MIN_SEND_HOLD_MS, 2000 * (this.negotiated?.holdTimeS ?? 0)));
  }

  drained(): void {
    this.#sendHoldAt = Infinity;
  }

  /** An UPDATE that cannot be accepted for a reason only the speaker knows. */
  refuse(fault: BgpFault, now: Instant): void {
    this.#broken('UpdateMsgErr', fault, now);
  }

  #onMessage(m: RawMessage, now: Instant): void {
    switch (m.type) {
      case MessageType.Open:
        this.#onOpen(m.body, now);
        break;
      case MessageType.Update: {
        const context = this.negotiated?.context;
        if (this.state !== 'Established' || context === undefined) {
          this.fire('UpdateMsg', now);
          break;
        }
        const update = decodeUpdate(m.body, context);
        if ('handling' in update) this.#broken('UpdateMsgErr', update, now);
        else this.#hand(update, m.body, now);
        break;
      }
      case MessageType.Notification:
        this.#onNotification(m.body, now);
        break;
      case MessageType.Keepalive:
        this.fire('KeepAliveMsg', now);
        break;
      case MessageType.RouteRefresh:
        // RFC 2918 adds no event: it is valid where an UPDATE is.
        if (this.#isBadRefresh(m.body)) this.#broken('UpdateMsgErr', badRefresh(m.body), now);
        else this.#hand(decodeRouteRefresh(m.body), m.body, now);
        break;
    }
  }

  /** RFC 7313 §5: the two marks have no room for a filter. A plain request may carry one, which nobody asked for. */
  #isBadRefresh(body: Uint8Array): boolean {
    const isMark = body[2] === 1 || body[2] === 2;
    return isMark && body.length !== 4 && this.negotiated?.enhancedRefresh === true;
  }

  #hand(message: Update | RouteRefresh, body: Uint8Array, now: Instant): void {
    this.#message = message;
    this.#body = body;
    this.fire('UpdateMsg', now);
    this.#message = undefined;
  }

  #onOpen(body: Uint8Array, now: Instant): void {
    const open = decodeOpen(body);
    const agreed = 'handling' in open ? open : negotiate(this.#host.settings, open, body);
    if ('handling' in agreed) {
      this.#broken('BgpOpenMsgErr', agreed, now);
      return;
    }
    if (this.state !== 'OpenSent' && this.#delayOpenAt === Infinity) {
      this.fire('BgpOpen', now);
      return;
    }
    if (!this.#host.survivesCollision(this, agreed.peer, now)) return;
    this.negotiated = agreed;
    this.#reader.allowsExtended = agreed.receivesExtended;
    this.fire(this.#delayOpenAt === Infinity ? 'BgpOpen' : 'BgpOpenDelayed', now);
  }

  #onNotification(body: Uint8Array, now: Instant): void {
    const n = decodeNotification(body);
    this.#host.failed({
      at: now,
      origin: 'received',
      code: n.code,
      subcode: n.subcode,
      text: notificationText(n.code, n.subcode, n.data),
      isHard: n.code === ErrorCode.Cease && n.subcode === Cease.HardReset,
    });
    const isVersion = n.code === ErrorCode.Open && n.subcode === OpenError.Version;
    this.fire(isVersion ? 'NotifMsgVerErr' : 'NotifMsg', now);
  }

  #broken(event: 'BgpHeaderErr' | 'BgpOpenMsgErr' | 'UpdateMsgErr', fault: BgpFault, now: Instant): void {
    this.#fault = fault;
    this.fire(event, now);
    this.#fault = undefined;
  }

  #holds(guard: 'delay-open-configured' | 'delay-open-running'): boolean {
    return guard === 'delay-open-running'
      ? this.#delayOpenAt !== Infinity
      : this.#host.settings.delayOpenMs !== undefined;
  }

  #perform(action: Action, now: Instant): void {
    const { settings } = this.#host;
    switch (action) {
      case 'zero-retry-counter':
        this.#host.retries = 0;
        break;
      case 'count-retry':
        this.#host.retries++;
        break;
      case 'start-connect-retry':
        // A passive session or a connection the peer opened never connects by itself.
        if (settings.passive || this.isInbound) break;
        this.#connectRetryAt =
          now +
          this.#jittered(
            Math.min(settings.maxConnectRetryMs, settings.connectRetryMs * 2 ** Math.min(this.#host.retries, 16)),
          );
        break;
      case 'stop-connect-retry':
        this.#connectRetryAt = Infinity;
        break;
      case 'connect':
        this.#host.open(this);
        break;
      case 'drop':
        this.#drop(false);
        break;
      case 'start-delay-open':
        this.#delayOpenAt = now + settings.delayOpenMs!;
        break;
      case 'stop-delay-open':
        this.#delayOpenAt = Infinity;
        break;
      case 'send-open':
        this.#host.send(this, encodeOpen(localOpen(settings)), MessageType.Open);
        break;
      case 'send-keepalive':
        this.#host.send(this, encodeKeepalive(), MessageType.Keepalive);
        break;
      case 'start-large-hold':
        this.#holdAt = now + LARGE_HOLD_MS;
        break;
      case 'start-session-timers':
        this.#restartHold(now);
        this.#restartKeepalive(now);
        break;
      case 'restart-hold':
        this.#restartHold(now);
        break;
      case 'restart-keepalive':
        this.#restartKeepalive(now);
        break;
      case 'notify-cease': {
        const { subcode, text } = this.cease;
        const hasText = subcode === Cease.AdminShutdown || subcode === Cease.AdminReset;
        const data = this.cease.data ?? (hasText && text !== '' ? shutdownData(text) : NO_DATA);
        this.#notify(resetFault(ErrorCode.Cease, subcode, text, data), now);
        break;
      }
      case 'notify-hold-expired':
        this.#notify(resetFault(ErrorCode.HoldTimer, 0, ''), now);
        break;
      case 'notify-send-hold-expired':
        // RFC 9687 §3.2: the NOTIFICATION cannot be expected to get through; the connection is not flushed either.
        this.#notify(resetFault(ErrorCode.SendHoldTimer, 0, ''), now);
        this.#drop(true);
        break;
      case 'notify-fsm-error': {
        const subcode = FSM_ERROR_SUBCODE[this.#was];
        this.#notify(resetFault(ErrorCode.Fsm, subcode, ''), now);
        break;
      }
      case 'notify-fault':
        if (this.#fault !== undefined) this.#notify(this.#fault, now);
        break;
      case 'damp':
        break; // the host is told by `moved`
      case 'established':
        this.#host.established(this, now);
        break;
      case 'deliver':
        if (this.#message !== undefined) this.#host.deliver(this, this.#message, this.#body);
        break;
    }
  }

  #notify(fault: BgpFault, now: Instant): void {
    const isHard = fault.code === ErrorCode.Cease && HARD.includes(fault.subcode);
    this.#host.failed({
      at: now,
      origin: 'sent',
      code: fault.code,
      subcode: fault.subcode,
      text: sentText(fault),
      isHard,
    });
    if (this.transport === undefined) return;
    const { code, subcode, data } = fault;
    const told =
      isHard && this.negotiated?.notificationRestart === true && subcode !== Cease.HardReset
        ? { code, subcode: Cease.HardReset, data: hardReset(code, subcode, data) }
        : fault;
    this.#host.send(this, encodeNotification(told), MessageType.Notification);
  }

  #drop(abort: boolean): void {
    if (this.transport !== undefined) this.#host.close(this, abort);
    this.transport = undefined;
    this.#sendHoldAt = Infinity;
    this.#holdAt = Infinity;
    this.#keepaliveAt = Infinity;
  }

  #stopTimers(): void {
    this.#connectRetryAt = Infinity;
    this.#holdAt = Infinity;
    this.#keepaliveAt = Infinity;
    this.#delayOpenAt = Infinity;
    this.#sendHoldAt = Infinity;
  }

  #restartHold(now: Instant): void {
    const s = this.negotiated!.holdTimeS;
    this.#holdAt = s === 0 ? Infinity : now + s * 1000;
  }

  /**
   * RFC 4271 §4.4: "A reasonable maximum time between KEEPALIVE messages would be one third of the Hold Time", and they "MUST NOT
   * be sent more frequently than one per second".
   */
  #restartKeepalive(now: Instant): void {
    const s = this.negotiated!.holdTimeS;
    this.#keepaliveAt = s === 0 ? Infinity : now + Math.max(1000, this.#jittered((s * 1000) / 3));
  }

  /** RFC 4271 §10: multiplied by a random factor between 0.75 and 1. */
  #jittered(ms: number): number {
    return ms * (0.75 + 0.25 * this.#host.settings.random());
  }
}

/** RFC 7313 §5: "The Data field of the NOTIFICATION message MUST contain the complete ROUTE-REFRESH message." */
function badRefresh(body: Uint8Array): BgpFault {
  const whole = new Uint8Array(HEADER_OCTETS + body.length).fill(0xff, 0, 16);
  new DataView(whole.buffer).setUint16(16, whole.length);
  whole[18] = MessageType.RouteRefresh;
  whole.set(body, HEADER_OCTETS);
  return resetFault(ErrorCode.RouteRefresh, RefreshError.BadLength, `${body.length} octets`, whole);
}

/** The words the peer reads in the NOTIFICATION; ours stand beside them where it is not told them. */
function sentText({ code, subcode, data, words }: BgpFault): string {
  const told = notificationText(code, subcode, data);
  return words === '' || told !== errorName(code, subcode) ? told : `${told} (${words})`;
}
