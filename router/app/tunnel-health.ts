/**
 * Which WireGuard tunnels carry nothing any more, by the figures of their peers (router/uplink/tunnel-watch.ts). One that is dead
 * is told again and again and has handshakes tried: what is down is sent nothing, so nothing else would find out that it is back.
 */
import type { WgPeerStats } from '../../wg/model.ts';
import { type Clock, systemClock, wallClockMs } from '../lib/clock.ts';
import { TunnelWatch } from '../uplink/tunnel-watch.ts';

/** Between handshakes that are tried with a dead tunnel; WireGuard itself tries every 5 s for 90 s. */
const WAKE_EVERY_MS = 10_000;

/** What is looked at. */
export interface TunnelStats {
  readonly index: number;
  readonly failed: number;
  readonly peers: readonly Pick<WgPeerStats, 'latestHandshakeMs' | 'rxBytes' | 'txBytes'>[];
}

export interface TunnelPort {
  changed(device: number, isAlive: boolean): void;
  /** Have a device try handshakes. */
  wake(device: number): void;
}

interface Watched {
  readonly watch: TunnelWatch;
  isAlive: boolean;
  wokenAt: number;
}

export class TunnelHealth {
  readonly #port: TunnelPort;
  readonly #clock: Clock;
  readonly #devices = new Map<number, Watched>();

  constructor(port: TunnelPort, clock: Clock = systemClock) {
    this.#port = port;
    this.#clock = clock;
  }

  /** Whether one is known to be dead: it has to be looked at until it is not. */
  get hasDead(): boolean {
    return [...this.#devices.values()].some((d) => !d.isAlive);
  }

  /** @param wallMs the clock that times of handshakes are of */
  observe(devices: readonly TunnelStats[], wallMs: number = wallClockMs()): void {
    const now = this.#clock.now();
    const there = new Set(devices.map((d) => d.index));
    for (const index of this.#devices.keys()) if (!there.has(index)) this.#devices.delete(index);
    for (const { index, peers, failed } of devices) {
      let known = this.#devices.get(index);
      if (known === undefined) {
        known = { watch: new TunnelWatch(), isAlive: true, wokenAt: Number.NEGATIVE_INFINITY };
        this.#devices.set(index, known);
      }
      const seen = peers.map(({ latestHandshakeMs: at, rxBytes, txBytes }) => {
        // What the host refuses to send was to be sent, too.
        const tried = txBytes + failed;
        return { handshakeAgeMs: at === 0 ? undefined : Math.max(0, wallMs - at), rxBytes, txBytes: tried };
      });
      const was = known.isAlive;
      known.isAlive = known.watch.sample(seen, now);
      if (known.isAlive && was) continue;
      this.#port.changed(index, known.isAlive);
      if (known.isAlive || now - known.wokenAt < WAKE_EVERY_MS) continue;
      known.wokenAt = now;
      this.#port.wake(index);
    }
  }
}
