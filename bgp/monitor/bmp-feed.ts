/**
 * What one BMP station is told: all sessions and the tables it wants when it connects, then whatever happens, of each of our
 * instances (bgp/monitor/bmp-instance.ts).
 * Read first: RFC 7854 §3.3 (life of a BMP session), §8. Does not know sockets; the edge connects, writes, and lets `pump` go
 * on while the station keeps up.
 */

import { initiation, TerminationReason, termination } from '../wire/bmp.ts';
import { type BmpInstance, InstanceFeed, type InstanceHost, type StationTable } from './bmp-instance.ts';
import type { Monitor } from './monitor.ts';

export interface BmpSources {
  readonly systemName: string;
  readonly description: string;
  /** Milliseconds since 1970. */
  readonly wallMs: () => number;
  readonly tables: readonly StationTable[];
  readonly instances: readonly BmpInstance[];
}

export class BmpFeed {
  readonly #sources: BmpSources;
  readonly #instances: readonly InstanceFeed[];
  #write: ((octets: Uint8Array) => void) | undefined;
  #wake: () => void = () => {};
  /** Which instance is next. */
  #turn = 0;

  constructor(sources: BmpSources) {
    this.#sources = sources;
    const self = this;
    const host: InstanceHost = {
      tables: sources.tables,
      wallMs: sources.wallMs,
      get isConnected() {
        return self.#write !== undefined;
      },
      write: (octets) => this.#write?.(octets),
      wake: () => this.#wake(),
    };
    this.#instances = sources.instances.map((instance) => new InstanceFeed(instance, host));
  }

  /** What has to be told of each instance's sessions, in the order of the instances. */
  get monitors(): readonly Monitor[] {
    return this.#instances;
  }

  /** Something is left for `pump`. */
  get hasWork(): boolean {
    return this.#instances.some((i) => i.hasWork);
  }

  /**
   * A station listens.
   * @param wake called when there is something to `pump` after there was nothing
   */
  connected(write: (octets: Uint8Array) => void, wake: () => void): void {
    this.#write = write;
    this.#wake = wake;
    const { systemName, description } = this.#sources;
    write(initiation(systemName, description));
    for (const instance of this.#instances) instance.connected();
  }

  /** The station is gone. */
  disconnected(): void {
    this.#write = undefined;
    for (const instance of this.#instances) instance.disconnected();
  }

  /** Tell one more portion of the tables, of one instance after the other. */
  pump(): void {
    for (let n = this.#instances.length; n > 0; n--) {
      const instance = this.#instances[this.#turn++ % this.#instances.length]!;
      if (!instance.hasWork) continue;
      instance.pump();
      return;
    }
  }

  /** RFC 7854 §8.2: statistics of every session; when to send them is the edge's choice. */
  report(): void {
    for (const instance of this.#instances) instance.report();
  }

  /** Say goodbye; the edge closes. */
  finish(): void {
    for (const instance of this.#instances) instance.finish();
    this.#write?.(termination(TerminationReason.AdministrativelyClosed));
    this.disconnected();
  }
}
