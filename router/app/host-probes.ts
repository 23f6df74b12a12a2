/** Probes that the data plane asks for through paths of the host: its worker has no event loop, so the main thread sends them. */
import type { ProbeConfig } from '../config/model.ts';
import type { HostWay } from '../lib/host-way.ts';
import type { ProbeResult } from '../uplink/probe.ts';
import { HostProber } from './host-probe.ts';

export interface ProbedPath {
  readonly way: HostWay;
  readonly probe: ProbeConfig;
}

export class HostProbes {
  readonly #prober = new HostProber();
  /** By name of uplink: stop waiting for the one that was sent last. */
  readonly #cancels = new Map<string, () => void>();
  readonly #pathOf: (uplink: string) => ProbedPath | undefined;

  /** @param pathOf how an uplink is probed; undefined = there is none of that name any more */
  constructor(pathOf: (uplink: string) => ProbedPath | undefined) {
    this.#pathOf = pathOf;
  }

  send(uplink: string, target: number, done: (result: ProbeResult) => void): void {
    this.cancel(uplink);
    const path = this.#pathOf(uplink);
    const to = path?.probe.targets[target];
    if (path === undefined || to === undefined) return;
    this.#cancels.set(uplink, this.#prober.send(path.way, path.probe.question, to, done));
  }

  cancel(uplink: string): void {
    this.#cancels.get(uplink)?.();
    this.#cancels.delete(uplink);
  }

  close(): void {
    this.#prober.close();
  }
}
