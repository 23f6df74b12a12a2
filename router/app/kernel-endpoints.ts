/**
 * Endpoints of the WireGuard peers of the kernel backend: names are asked when they come into the configuration, and again when
 * wg/endpoint.ts says so; who has the devices is told when a peer is to be sent to elsewhere.
 */
import { askEndpoint, type EndpointState, newEndpoint, observeEndpoint, wantsResolve } from '../../wg/endpoint.ts';
import { formatKey } from '../../wg/keys.ts';
import type { WgPeerConfig } from '../../wg/model.ts';
import { formatEndpoint, parseEndpoint } from '../../wg/quick.ts';
import type { Config } from '../config/model.ts';
import type { WgPeerSettings } from '../kernel/netlink/wireguard.ts';
import { Addr } from '../lib/addr.ts';
import { wallClockMs } from '../lib/clock.ts';
import type { Logger } from '../lib/log.ts';
import type { TunnelState } from './kernel-tunnels.ts';

export interface EndpointPort {
  /** Addresses of a host, for a tunnel. */
  resolve(uplink: string, host: string): Promise<readonly Addr[]>;
  /** `of` has another answer for a peer. */
  moved(): void;
}

interface Known {
  readonly uplink: string;
  readonly state: EndpointState;
}

export class KernelEndpoints {
  readonly #port: EndpointPort;
  readonly #log: Logger;
  readonly #now: () => number;
  readonly #known = new Map<string, Known>();

  /** @param now wall-clock milliseconds, which times of handshakes are in */
  constructor(port: EndpointPort, log: Logger, now: () => number = wallClockMs) {
    this.#port = port;
    this.#log = log;
    this.#now = now;
  }

  /** Resolves when the names that are not known yet have been asked. Those of before are kept: the configuration may be refused. */
  adopt(config: Config): Promise<void> {
    for (const { uplink, peer } of peersOf(config)) {
      const key = keyOf(uplink, peer);
      const known = this.#known.get(key);
      if (known !== undefined) known.state.config = peer;
      else this.#known.set(key, { uplink, state: this.#begin(uplink, peer) });
    }
    return this.#ask();
  }

  /** Forget what is not in the configuration in force. */
  retain(config: Config): void {
    const wanted = new Set(peersOf(config).map(({ uplink, peer }) => keyOf(uplink, peer)));
    for (const key of this.#known.keys()) if (!wanted.has(key)) this.#known.delete(key);
  }

  /** Where a peer is; undefined while that is not known. */
  of(uplink: string, peer: WgPeerConfig): WgPeerSettings['endpoint'] {
    const chosen = this.#known.get(keyOf(uplink, peer))?.state.chosen;
    return chosen === undefined ? undefined : addressOf(chosen);
  }

  /** Why endpoints of an uplink have no address. */
  errorsOf(uplink: string): readonly string[] {
    return [...this.#known.values()].flatMap((k) => (k.uplink === uplink ? (k.state.error ?? []) : []));
  }

  /** Once per second, with the tunnels as they are. */
  look(tunnels: ReadonlyMap<string, TunnelState>): void {
    for (const { uplink, state } of this.#known.values()) {
      const tunnel = tunnels.get(uplink);
      const key = formatKey(state.config.publicKey);
      const peer = tunnel?.peers.find((p) => formatKey(p.publicKey) === key);
      if (peer !== undefined) observeEndpoint(state, peer, peer.txBytes + tunnel!.failed);
    }
    void this.#ask();
  }

  #begin(uplink: string, peer: WgPeerConfig): EndpointState {
    const state = newEndpoint(peer);
    if (state.chosen !== undefined && addressOf(state.chosen) === undefined) {
      state.error = `${state.chosen} names an interface, which only the user-space backend can do`;
      this.#log.warn('an endpoint has no address', { device: uplink, error: state.error, code: 'U103' });
    }
    return state;
  }

  async #ask(): Promise<void> {
    const now = this.#now();
    const due = [...this.#known].filter(([, { state }]) => wantsResolve(state, now));
    await Promise.all(
      due.map(async ([key, known]) => {
        const next = await askEndpoint(known.state, {
          resolve: (host) => this.#port.resolve(known.uplink, host),
          log: this.#log,
          device: known.uplink,
          isWanted: () => this.#known.get(key) === known,
          now: this.#now,
        });
        if (next !== undefined) this.#port.moved();
      }),
    );
  }
}

function addressOf(endpoint: string): WgPeerSettings['endpoint'] {
  const { host = '', port = 0 } = parseEndpoint(endpoint) ?? {};
  const addr = Addr.parse(host);
  return addr && { addr, port };
}

function peersOf(config: Config): { readonly uplink: string; readonly peer: WgPeerConfig }[] {
  return config.uplinks.flatMap((u) => (u.wireguard?.peers ?? []).map((peer) => ({ uplink: u.name, peer })));
}

function keyOf(uplink: string, { publicKey, endpoint }: WgPeerConfig): string {
  return [uplink, formatKey(publicKey), endpoint === undefined ? '' : formatEndpoint(endpoint)].join(' ');
}
