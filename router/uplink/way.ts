/** An uplink as policy sees it, in either backend: its health, whether it is drained by hand, how fast it is, and what went there. Pure. */
import type { Instant } from '../lib/clock.ts';
import { Families, type UplinkLoad } from './balancer.ts';
import { CapacityMeter } from './capacity.ts';
import { Health } from './health.ts';

/** What of an uplink's configuration counts here. */
export interface WaySpec {
  readonly name: string;
  /** Octets per second, 0 = unknown. */
  readonly capacity: number;
  readonly probe:
    | {
        readonly targets: readonly unknown[];
        readonly everyMs: number;
        readonly timeoutMs: number;
        readonly fall: number;
        readonly rise: number;
      }
    | undefined;
}

export class Way<S extends WaySpec> implements UplinkLoad {
  spec: S;
  readonly health: Health;
  readonly meter = new CapacityMeter();
  isDrained = false;
  /** Families that it has addresses of. */
  families: number = Families.Any;
  /** New flows that were sent here. */
  decisions = 0;
  /** Times it could not be used any more. */
  failures = 0;
  /** Stop waiting for the probe that was sent last. */
  cancelProbe: () => void = () => undefined;

  constructor(spec: S, isLinkUp: boolean, now: Instant) {
    this.spec = spec;
    const { everyMs = 1, timeoutMs = 1, fall = 1, rise = 1, targets = [] } = spec.probe ?? {};
    this.health = new Health({ everyMs, timeoutMs, fall, rise, targets: targets.length }, isLinkUp, now);
  }

  /** For new flows. */
  get isUsable(): boolean {
    return this.carries && !this.isDrained;
  }

  /** What was sent here gets through. */
  get carries(): boolean {
    return this.health.isUsable;
  }

  get capacity(): number {
    return this.spec.capacity;
  }

  get rate(): number {
    return this.meter.rate;
  }

  get peak(): number {
    return this.meter.peak;
  }

  /** Round trips and loss of probes; undefined where there are none. */
  get quality(): WayQuality {
    const { health, spec } = this;
    return {
      rttMs: health.rttMs,
      variationMs: health.rttMs === undefined ? undefined : health.variationMs,
      loss: spec.probe === undefined ? undefined : health.loss,
      reason: health.reason,
      impediment: health.impediment,
    };
  }
}

export interface WayQuality {
  readonly rttMs: number | undefined;
  /** Smoothed deviation of round-trip times; undefined before the first answer. */
  readonly variationMs: number | undefined;
  /** 0..1; undefined without probes. */
  readonly loss: number | undefined;
  /** Why it is in its state; empty before the first verdict. */
  readonly reason: string;
  /** Why probes cannot be sent; undefined = they can. */
  readonly impediment: string | undefined;
}
