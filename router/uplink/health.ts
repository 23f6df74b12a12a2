/**
 * Whether an uplink can be used: probes through it, one after another to its targets, and what its tunnel says. Time and
 * results in, probes and verdicts out; sends nothing itself (DESIGN §5).
 *
 * States: `new` counts as usable until the first verdict, so that a start does not wait for probes. `fall` answers missing in a row
 * make it `down` (they follow each other at once), `rise` answers in a row `up` again: the difference is the hysteresis. A link that goes down is down at
 * once; one that comes up has to answer like any other.
 */
import type { Instant } from '../lib/clock.ts';
import type { ProbeResult } from './probe.ts';

export interface HealthSettings {
  /** Milliseconds between probes. */
  readonly everyMs: number;
  /** A probe without an answer for so long is lost. At most `everyMs`. */
  readonly timeoutMs: number;
  /** Lost probes in a row that make an uplink `down`; 1 or more. */
  readonly fall: number;
  /** Answers in a row that make it `up`; 1 or more. */
  readonly rise: number;
  /** Number of targets probes go to in turn; 0 = no probes, only the link counts. */
  readonly targets: number;
}

export type HealthState = 'new' | 'up' | 'down';

export type HealthEvent =
  /** The answer to the probe of this number came. `rttMs` is given by those who have measured it better than by now. */
  | { readonly kind: 'answer'; readonly probe: number; readonly rttMs?: number }
  /** The probe could not be sent, or was refused: as good as lost, but known at once. */
  | { readonly kind: 'failed'; readonly probe: number; readonly reason: string }
  /** We may not send such probes, which says nothing about the path. */
  | { readonly kind: 'unable'; readonly probe: number; readonly reason: string }
  | { readonly kind: 'link'; readonly isUp: boolean }
  /** Whether the tunnel carries packets, by its handshakes (tunnel-watch.ts). */
  | { readonly kind: 'tunnel'; readonly isAlive: boolean };

export type HealthAction =
  | { readonly kind: 'probe'; readonly probe: number; readonly target: number }
  /** Nobody waits for the answer to this one any more. */
  | { readonly kind: 'give-up'; readonly probe: number }
  | { readonly kind: 'state'; readonly state: HealthState; readonly reason: string };

/** What an answer to a probe, or the lack of one, is to `Health`. */
export function probeEvent(probe: number, result: ProbeResult): HealthEvent {
  if ('rttMs' in result) return { kind: 'answer', probe, rttMs: result.rttMs };
  if ('reason' in result) return { kind: 'failed', probe, reason: result.reason };
  return { kind: 'unable', probe, reason: result.impediment };
}

/** Probes the loss is counted over. */
const LOSS_WINDOW = 32;
/** Shares of a new sample in the smoothed times (RFC 6298 §2). */
const RTT_GAIN = 1 / 8;
const VARIATION_GAIN = 1 / 4;

interface Flight {
  readonly probe: number;
  readonly sentAt: Instant;
}

export class Health {
  readonly settings: HealthSettings;
  readonly #actions: HealthAction[] = [];
  #state: HealthState = 'new';
  #isLinkUp: boolean;
  #nextAt: Instant;
  #probe = 0;
  #flight: Flight | undefined;
  #inARow = 0;
  #wasAnswered = true;
  /** The last results, newest in the lowest bit, 1 = lost. */
  #lost = 0;
  #results = 0;
  #reason = '';
  #impediment: string | undefined;
  #rttMs: number | undefined;
  #variationMs = 0;

  constructor(settings: HealthSettings, isLinkUp: boolean, now: Instant) {
    this.settings = settings;
    this.#isLinkUp = isLinkUp;
    this.#nextAt = now;
  }

  get state(): HealthState {
    return this.#state;
  }

  /** New flows may take it. */
  get isUsable(): boolean {
    return this.#isLinkUp && this.#state !== 'down';
  }

  /** Smoothed round-trip time, milliseconds; undefined before the first answer. */
  get rttMs(): number | undefined {
    return this.#rttMs;
  }

  /** Smoothed deviation of round-trip times, milliseconds. */
  get variationMs(): number {
    return this.#variationMs;
  }

  /** Why it is in its state; empty before the first verdict. */
  get reason(): string {
    return this.#reason;
  }

  /** Why probes cannot be sent; undefined = they can. */
  get impediment(): string | undefined {
    return this.#impediment;
  }

  /** Part of the last probes that were lost, 0..1. */
  get loss(): number {
    if (this.#results === 0) return 0;
    let ones = 0;
    for (let bits = this.#lost; bits !== 0; bits &= bits - 1) ones++;
    return ones / this.#results;
  }

  handle(event: HealthEvent, now: Instant): void {
    if (event.kind === 'link') {
      this.#onLink(event.isUp, now);
      return;
    }
    if (event.kind === 'tunnel') {
      if (!event.isAlive) this.#enter('down', 'handshakes are not answered');
      // With probes, they have to be answered again.
      else if (this.settings.targets === 0 && this.#isLinkUp) this.#enter('up', 'the tunnel has a session');
      return;
    }
    // An answer that comes after its time, or a second time, is none.
    if (this.#flight?.probe !== event.probe) return;
    this.#impediment = event.kind === 'unable' ? event.reason : undefined;
    if (event.kind === 'unable') this.#flight = undefined;
    else if (event.kind === 'answer') {
      this.#sample(event.rttMs ?? now - this.#flight.sentAt);
      this.#onResult(true, '', now);
    } else this.#onResult(false, event.reason, now);
  }

  /** Time has passed: lost probes, and the next one. */
  tick(now: Instant): void {
    const flight = this.#flight;
    if (flight !== undefined && now - flight.sentAt >= this.settings.timeoutMs) {
      this.#actions.push({ kind: 'give-up', probe: flight.probe });
      this.#onResult(false, `no answer within ${this.settings.timeoutMs} ms`, now);
    }
    if (this.settings.targets === 0 || !this.#isLinkUp || this.#flight !== undefined || now < this.#nextAt) return;
    this.#flight = { probe: ++this.#probe, sentAt: now };
    this.#nextAt = (now + this.settings.everyMs) as Instant;
    this.#actions.push({ kind: 'probe', probe: this.#probe, target: this.#probe % this.settings.targets });
  }

  /** When `tick` has to be called next. */
  deadline(): Instant | undefined {
    if (this.#flight !== undefined) return (this.#flight.sentAt + this.settings.timeoutMs) as Instant;
    return this.settings.targets === 0 || !this.#isLinkUp ? undefined : this.#nextAt;
  }

  poll(): HealthAction | undefined {
    return this.#actions.shift();
  }

  #onLink(isUp: boolean, now: Instant): void {
    if (isUp === this.#isLinkUp) return;
    this.#isLinkUp = isUp;
    if (this.#flight !== undefined) this.#actions.push({ kind: 'give-up', probe: this.#flight.probe });
    this.#flight = undefined;
    this.#inARow = 0;
    this.#nextAt = now;
    // A link that has never been up is no failure.
    if (!isUp) this.#enter('down', 'the link is down');
    else if (this.settings.targets === 0) this.#enter('up', 'the link is up');
  }

  #onResult(isAnswered: boolean, reason: string, now: Instant): void {
    this.#flight = undefined;
    this.#lost = (this.#lost << 1) | (isAnswered ? 0 : 1) | 0;
    this.#results = Math.min(LOSS_WINDOW, this.#results + 1);
    this.#inARow = isAnswered === this.#wasAnswered ? this.#inARow + 1 : 1;
    this.#wasAnswered = isAnswered;
    const { fall, rise } = this.settings;
    if (!isAnswered && this.#inARow >= fall) this.#enter('down', reason);
    // A lost probe is followed by the next one at once: a failure is known within an interval and `fall` timeouts.
    if (!isAnswered && this.#state !== 'down') this.#nextAt = now;
    if (isAnswered && (this.#state === 'new' || this.#inARow >= rise)) this.#enter('up', 'probes are answered');
  }

  #sample(ms: number): void {
    if (this.#rttMs === undefined) {
      this.#rttMs = ms;
      this.#variationMs = ms / 2;
      return;
    }
    this.#variationMs += VARIATION_GAIN * (Math.abs(this.#rttMs - ms) - this.#variationMs);
    this.#rttMs += RTT_GAIN * (ms - this.#rttMs);
  }

  #enter(state: HealthState, reason: string): void {
    if (state === this.#state) return;
    this.#state = state;
    this.#reason = reason;
    this.#actions.push({ kind: 'state', state, reason });
  }
}
