/**
 * BFD in the service of BGP (RFC 5882): which peers are watched and by whose sockets, and what a change means for a session.
 * The sessions themselves run in the data plane, or in host-bfd.ts for peers of the host's sockets.
 */
import type { BfdChange, BfdTarget } from '../../bgp/bfd/bfd.ts';
import type { BfdState } from '../../bgp/bfd/packet.ts';
import type { BfdSettings } from '../../bgp/bfd/session.ts';
import type { Speaker } from '../../bgp/speaker.ts';
import type { Logger } from '../lib/log.ts';
import type { HostBfd } from './host-bfd.ts';

/** Who runs BFD sessions; changes come to `BgpBfd.changed`. */
export interface BfdWatcher {
  watch(name: string, target: BfdTarget, settings: BfdSettings): void;
  unwatch(name: string): void;
}

export class BgpBfd {
  readonly #stack: BfdWatcher;
  readonly #host: HostBfd;
  readonly #speakerOf: (peer: string) => Pick<Speaker, 'bfdUp' | 'bfdDown'>;
  readonly #log: Logger;
  readonly #states = new Map<string, BfdState>();
  readonly #onHost = new Set<string>();

  /** @param speakerOf the speaker of a peer: each VRF has its own */
  constructor(
    stack: BfdWatcher,
    host: HostBfd,
    speakerOf: (peer: string) => Pick<Speaker, 'bfdUp' | 'bfdDown'>,
    log: Logger,
  ) {
    this.#stack = stack;
    this.#host = host;
    this.#speakerOf = speakerOf;
    this.#log = log;
  }

  /**
   * Watch a peer's path from now on, or with other settings; another path needs an `unwatch` before.
   * @param isHost over the host's sockets
   */
  watch(name: string, target: BfdTarget, settings: BfdSettings, isHost: boolean): void {
    if (!this.#states.has(name)) this.#states.set(name, 'Down');
    // The BGP session may be a new one.
    else if (this.#states.get(name) === 'Up') this.#speakerOf(name).bfdUp(name);
    if (isHost) this.#onHost.add(name);
    (isHost ? this.#host : this.#stack).watch(name, target, settings);
  }

  unwatch(name: string): void {
    if (!this.#states.delete(name)) return;
    (this.#onHost.delete(name) ? this.#host : this.#stack).unwatch(name);
  }

  /** State of a peer's BFD session, undefined without one. */
  stateOf(name: string): BfdState | undefined {
    return this.#states.get(name);
  }

  /** RFC 5882 §4.2: only a path that stood and broke ends a session; a peer that stopped BFD on purpose does not. */
  changed(change: BfdChange): void {
    const { name, from, to, why } = change;
    if (!this.#states.has(name)) return;
    this.#states.set(name, to);
    if (to === 'Up') {
      this.#log.info('bfd up', { peer: name });
      this.#speakerOf(name).bfdUp(name);
    } else if (from === 'Up') {
      this.#log.warn('bfd down', { peer: name, why });
      if (!change.isRemoteAdminDown) this.#speakerOf(name).bfdDown(name, change.isRemoteIndependent);
    }
  }

  stop(): void {
    for (const name of [...this.#states.keys()]) this.unwatch(name);
    this.#host.stop();
  }

  /** Sessions of the data plane go on without us; those over the host's sockets cannot, and their peers are told so. */
  handOver(): void {
    this.#host.stop();
  }
}
