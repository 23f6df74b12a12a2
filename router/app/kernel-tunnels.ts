/**
 * WireGuard devices of the kernel backend, the kernel's own and those of our child on TUNs: whether they carry anything, and what
 * `wg show` says of them.
 */
import { formatKey } from '../../wg/keys.ts';
import type { WgPeerConfig, WgPeerStats } from '../../wg/model.ts';
import { formatEndpoint } from '../../wg/quick.ts';
import type { UplinkConfig } from '../config/model.ts';
import type { Answers } from '../control/messages.ts';
import type { WgPeerState } from '../kernel/netlink/wireguard.ts';
import { readTunnel, setTunnel } from '../kernel/tunnel.ts';
import { tunnelDevice, type WireguardUplink } from '../kernel/uplink.ts';
import { wallClockMs } from '../lib/clock.ts';
import type { Logger } from '../lib/log.ts';
import { systemReason } from '../lib/reason.ts';
import type { HostTunnels } from './host-tunnels.ts';
import { TunnelHealth } from './tunnel-health.ts';
import { noTunnel } from './unknown-uplink.ts';
import { wgPeerStatus } from './wg-status.ts';

/** A keepalive of this many seconds, for a moment, has a handshake tried at once. */
const WAKE_KEEPALIVE_S = 1;

type PeerState = Omit<WgPeerStats, 'endpointError'>;

export interface TunnelState {
  readonly publicKey: Uint8Array | undefined;
  readonly listenPort: number;
  readonly fwmark: number;
  /** Datagrams the host refused to send; of the kernel's devices nobody knows. */
  readonly failed: number;
  readonly peers: readonly PeerState[];
}

export class KernelTunnels {
  readonly #child: Pick<HostTunnels, 'get' | 'wake'>;
  readonly #log: Logger;
  readonly #health: TunnelHealth;
  #uplinks: readonly WireguardUplink[] = [];
  #states: ReadonlyMap<string, TunnelState> = new Map();

  /**
   * @param child carries the tunnels that the kernel does not
   * @param changed whether the tunnel of an uplink carries anything
   */
  constructor(
    child: Pick<HostTunnels, 'get' | 'wake'>,
    changed: (uplink: string, isAlive: boolean) => void,
    log: Logger,
  ) {
    this.#child = child;
    this.#log = log;
    this.#health = new TunnelHealth({
      changed: (i, isAlive) => changed(this.#uplinks[i]!.name, isAlive),
      wake: (i) => void this.#wake(this.#uplinks[i]!),
    });
  }

  /** As they were looked at last, by uplink. */
  get states(): ReadonlyMap<string, TunnelState> {
    return this.#states;
  }

  configure(uplinks: readonly WireguardUplink[]): void {
    this.#uplinks = uplinks;
  }

  /** Once per second. */
  async look(): Promise<void> {
    const uplinks = this.#uplinks;
    const ofChild = await this.#child.get().catch((e) => {
      this.#log.debug('cannot look at tunnels of the child', { why: systemReason(e) });
      return [];
    });
    if (uplinks !== this.#uplinks) return; // they are others by now
    const found = new Map<string, TunnelState>();
    for (const { name } of uplinks) {
      const onTun = ofChild.find((d) => d.name === tunnelDevice(name));
      const state = onTun ?? this.#read(name);
      if (state !== undefined) found.set(name, state);
    }
    this.#states = found;
    const devices = uplinks.flatMap(({ name }, index) => {
      const state = found.get(name);
      return state === undefined ? [] : [{ index, failed: state.failed, peers: state.peers }];
    });
    this.#health.observe(devices);
  }

  /**
   * @param device name of an uplink; empty = all
   * @throws MlshimError UNKNOWN when it is no tunnel
   */
  show(device: string, uplinks: readonly UplinkConfig[]): Answers['wg_show'] {
    const now = wallClockMs();
    const chosen = uplinks.filter((u) => u.wireguard !== undefined && (device === '' || u.name === device));
    if (chosen.length === 0 && device !== '') throw noTunnel(device, uplinks);
    return {
      devices: chosen.map(({ name, wireguard }) => {
        const state = this.#states.get(name);
        return {
          name,
          public_key: state?.publicKey === undefined ? '' : formatKey(state.publicKey),
          listen_port: state?.listenPort ?? wireguard!.listenPort,
          peers: (state?.peers ?? []).map((p) => peerStatus(p, wireguard!.peers, now)),
        };
      }),
    };
  }

  #read(name: string): TunnelState | undefined {
    try {
      const state = readTunnel(tunnelDevice(name));
      return state && { ...state, failed: 0, peers: state.peers.map(peerOfKernel) };
    } catch (e) {
      this.#log.debug('cannot look at a tunnel', { uplink: name, why: systemReason(e) });
      return undefined;
    }
  }

  /** What is down is sent nothing, so nothing else has WireGuard try. */
  async #wake({ name, wireguard }: WireguardUplink): Promise<void> {
    const device = tunnelDevice(name);
    const fwmark = this.#states.get(name)?.fwmark ?? 0;
    const hurried = { ...wireguard, peers: wireguard.peers.map((p) => ({ ...p, keepaliveS: WAKE_KEEPALIVE_S })) };
    try {
      await this.#child.wake(device);
      setTunnel(device, hurried, fwmark, wireguard);
      setTunnel(device, wireguard, fwmark, wireguard);
    } catch (e) {
      this.#log.debug('cannot wake a tunnel', { uplink: name, why: systemReason(e) });
    }
  }
}

function peerOfKernel(p: WgPeerState): PeerState {
  const { publicKey, endpoint, latestHandshakeMs, rxBytes, txBytes, keepaliveS } = p;
  return {
    ...{ publicKey, latestHandshakeMs, rxBytes, txBytes, keepaliveS },
    name: undefined,
    hasPresharedKey: p.presharedKey !== undefined,
    allowedIps: p.allowedIps.map(String),
    endpoint: endpoint && formatEndpoint({ host: String(endpoint.addr), port: endpoint.port }),
  };
}

/** Names of peers are the configuration's. */
function peerStatus(p: PeerState, configured: readonly WgPeerConfig[], now: number): ReturnType<typeof wgPeerStatus> {
  const key = formatKey(p.publicKey);
  return wgPeerStatus({ ...p, name: configured.find((c) => formatKey(c.publicKey) === key)?.name }, now);
}
