/**
 * What `mlshim bgp watch` hears: changes of sessions, and changes of where packets to a prefix go. Costs nothing while
 * nobody watches. Bursts are told in bounded portions, with the number of what did not fit.
 */
import { changesOf, type RouteBatch, type RouteEntry, type SpeakerEvent } from '../../bgp/speaker.ts';
import type { BgpEvent } from '../control/messages.ts';
import type { Prefix } from '../lib/addr.ts';

/** How long events gather, and how many are told of each such time. */
const GATHER_MS = 50;
const MAX_EVENTS = 1000;

export interface WatchPort {
  tell(events: readonly BgpEvent[], lost: number): void;
  /** The best route to a prefix, undefined without one. */
  best(prefix: Prefix): RouteEntry | undefined;
  wallClockMs(): number;
}

export class BgpWatch {
  readonly #port: WatchPort;
  #isOn = false;
  #events: BgpEvent[] = [];
  #lost = 0;
  #timer: NodeJS.Timeout | undefined;

  constructor(port: WatchPort) {
    this.#port = port;
  }

  watch(isOn: boolean): void {
    this.#isOn = isOn;
    if (isOn) return;
    clearTimeout(this.#timer);
    this.#timer = undefined;
    this.#events = [];
    this.#lost = 0;
  }

  onSession(e: SpeakerEvent): void {
    if (!this.#isOn || e.kind !== 'state') return;
    const { peer, from, to, why = '' } = e;
    this.#add({ ...this.#event('session'), peer, from, to, why: to === 'Idle' ? why : '' });
  }

  onRoutes(batch: RouteBatch): void {
    if (!this.#isOn) return;
    for (const { prefix, way } of changesOf(batch)) {
      if (this.#events.length >= MAX_EVENTS) {
        this.#lost++;
        continue;
      }
      const best = way === undefined ? undefined : this.#port.best(prefix)?.view();
      this.#add({
        ...this.#event('route'),
        prefix: String(prefix),
        peer: best?.peer ?? '',
        as_path: best?.asPath ?? '',
        next_hops: (way?.nextHops ?? []).map((h) => `${h.address}%${String(h.link)}`),
        to: way === undefined ? 'withdrawn' : way.kind,
      });
    }
  }

  #event(kind: BgpEvent['kind']): BgpEvent {
    const none = { peer: '', from: '', to: '', why: '', prefix: '', as_path: '', next_hops: [] };
    return { time_ms: this.#port.wallClockMs(), kind, ...none };
  }

  #add(e: BgpEvent): void {
    if (this.#events.length >= MAX_EVENTS) this.#lost++;
    else this.#events.push(e);
    this.#timer ??= setTimeout(() => {
      this.#timer = undefined;
      const [events, lost] = [this.#events, this.#lost];
      this.#events = [];
      this.#lost = 0;
      this.#port.tell(events, lost);
    }, GATHER_MS);
  }
}
