/**
 * Uplinks of the kernel backend and how they fare: what the data plane's policy does for our own stack, on the main thread and
 * over the host's sockets. Health and rates are router/uplink's; here are their timers and probes.
 */

import type { ProbeConfig } from '../config/model.ts';
import { type Clock, systemClock } from '../lib/clock.ts';
import { isEqual } from '../lib/equal.ts';
import type { HostWay } from '../lib/host-way.ts';
import type { UplinkLoad } from '../uplink/balancer.ts';
import { type HealthEvent, type HealthState, probeEvent } from '../uplink/health.ts';
import { Way, type WayQuality } from '../uplink/way.ts';
import { HostProber } from './host-probe.ts';

export interface WatchedUplink {
  readonly name: string;
  readonly way: HostWay;
  readonly probe: ProbeConfig | undefined;
  /** Octets per second as configured, 0 = not. */
  readonly capacity: number;
  /** Its interface is there and up. */
  readonly isUp: boolean;
}

export interface WatchReport extends WayQuality {
  readonly name: string;
  readonly state: HealthState;
  readonly isUsable: boolean;
  readonly isDrained: boolean;
  /** Its interface is up, and it has probes. */
  readonly isProbed: boolean;
  readonly failures: number;
  /** Octets per second, both directions: now, and the most it was seen to carry lately. */
  readonly rate: number;
  readonly peak: number;
}

export interface UplinkWatchOptions {
  /** An uplink has come into a state; `ways` tell what can be used now. */
  readonly onState: (name: string, state: HealthState, reason: string) => void;
  readonly clock?: Clock;
}

export class UplinkWatch {
  readonly #onState: UplinkWatchOptions['onState'];
  readonly #clock: Clock;
  readonly #prober: HostProber;
  #ways: readonly Way<WatchedUplink>[] = [];
  #timer: NodeJS.Timeout | undefined;
  #isClosed = false;

  constructor({ onState, clock = systemClock }: UplinkWatchOptions) {
    this.#onState = onState;
    this.#clock = clock;
    this.#prober = new HostProber(clock);
  }

  /** By index as configured. */
  get ways(): readonly Pick<Way<WatchedUplink>, keyof UplinkLoad | 'carries'>[] {
    return this.#ways;
  }

  /** Go over to other uplinks. What is known of one that stays is kept, unless it is probed in another way. */
  configure(uplinks: readonly WatchedUplink[]): void {
    const before = this.#ways;
    this.#ways = uplinks.map((spec) => {
      const known = before.find((w) => w.spec.name === spec.name);
      if (known !== undefined && isEqual(known.spec.probe, spec.probe) && isEqual(known.spec.way, spec.way)) {
        known.spec = spec;
        return known;
      }
      const way = new Way(spec, spec.isUp, this.#clock.now());
      way.isDrained = known?.isDrained ?? false;
      return way;
    });
    for (const w of before) if (!this.#ways.includes(w)) w.cancelProbe();
    for (const w of this.#ways) this.linkState(w.spec.name, w.spec.isUp);
    this.#run();
  }

  /** Its interface has gone, or is back. */
  linkState(name: string, isUp: boolean): void {
    this.#handle(name, { kind: 'link', isUp });
  }

  /** Whether its tunnel carries packets (tunnel-health.ts). */
  tunnelState(name: string, isAlive: boolean): void {
    this.#handle(name, { kind: 'tunnel', isAlive });
  }

  /** Take an uplink out by hand, or put it back. @returns whether there is one of this name */
  drain(name: string, isDrained: boolean): boolean {
    const way = this.#find(name);
    if (way !== undefined) way.isDrained = isDrained;
    return way !== undefined;
  }

  /** @param octets that an uplink has carried so far, both directions; about once per second */
  counted(name: string, octets: number): void {
    this.#find(name)?.meter.sample(octets, this.#clock.now());
  }

  report(): readonly WatchReport[] {
    return this.#ways.map((w) => ({
      name: w.spec.name,
      state: w.health.state,
      isUsable: w.isUsable,
      isDrained: w.isDrained,
      isProbed: w.spec.probe !== undefined && w.spec.isUp,
      failures: w.failures,
      rate: w.rate,
      peak: w.peak,
      ...w.quality,
    }));
  }

  close(): void {
    this.#isClosed = true;
    clearTimeout(this.#timer);
    this.#prober.close();
  }

  #find(name: string): Way<WatchedUplink> | undefined {
    return this.#ways.find((w) => w.spec.name === name);
  }

  #handle(name: string, event: HealthEvent): void {
    const way = this.#find(name);
    if (way === undefined) return;
    if (event.kind === 'link') way.spec = { ...way.spec, isUp: event.isUp };
    way.health.handle(event, this.#clock.now());
    this.#run();
  }

  /** Carry out what healths want now, and come back when the first of them has something to do. */
  #run(): void {
    if (this.#isClosed) return;
    const now = this.#clock.now();
    for (const way of this.#ways) {
      way.health.tick(now);
      for (let a = way.health.poll(); a !== undefined; a = way.health.poll()) {
        if (a.kind === 'probe') this.#probe(way, a.probe, a.target);
        else if (a.kind === 'give-up') way.cancelProbe();
        else {
          if (a.state === 'down') way.failures++;
          this.#onState(way.spec.name, a.state, a.reason);
        }
      }
    }
    clearTimeout(this.#timer);
    const due = Math.min(...this.#ways.map((w) => w.health.deadline() ?? Number.POSITIVE_INFINITY));
    if (due === Number.POSITIVE_INFINITY) return;
    // Answers that have arrived meanwhile are read before a probe counts as lost.
    const later = (): NodeJS.Immediate => setImmediate(() => this.#run());
    this.#timer = setTimeout(later, Math.max(0, Math.ceil(due - now))).unref();
  }

  #probe(way: Way<WatchedUplink>, probe: number, target: number): void {
    const { way: path, probe: settings } = way.spec;
    way.cancelProbe = this.#prober.send(path, settings!.question, settings!.targets[target]!, (result) => {
      way.health.handle(probeEvent(probe, result), this.#clock.now());
      this.#run();
    });
  }
}
