/** WireGuard devices of the host's kernel: whether they carry anything, and what `wg show` says of them. */
import { formatKey } from '../../wg/keys.ts';
import type { WgPeerConfig } from '../../wg/model.ts';
import { formatEndpoint } from '../../wg/quick.ts';
import type { UplinkConfig } from '../config/model.ts';
import type { Answers } from '../control/messages.ts';
import type { WgDeviceState, WgPeerState } from '../kernel/netlink/wireguard.ts';
import { readTunnel, setTunnel } from '../kernel/tunnel.ts';
import { tunnelDevice, type WireguardUplink } from '../kernel/uplink.ts';
import { wallClockMs } from '../lib/clock.ts';
import type { Logger } from '../lib/log.ts';
import { systemReason } from '../lib/reason.ts';
import { TunnelHealth } from './tunnel-health.ts';
import { wgPeerStatus } from './wg-status.ts';

/** A keepalive of this many seconds, for a moment, has a handshake tried at once. */
const WAKE_KEEPALIVE_S = 1;

export class KernelTunnels {
  readonly #log: Logger;
  readonly #health: TunnelHealth;
  #uplinks: readonly WireguardUplink[] = [];
  #states: ReadonlyMap<string, WgDeviceState> = new Map();

  /** @param changed whether the tunnel of an uplink carries anything */
  constructor(changed: (uplink: string, isAlive: boolean) => void, log: Logger) {
    this.#log = log;
    this.#health = new TunnelHealth({
      changed: (i, isAlive) => changed(this.#uplinks[i]!.name, isAlive),
      wake: (i) => this.#wake(this.#uplinks[i]!),
    });
  }

  /** As they were looked at last, by uplink. */
  get states(): ReadonlyMap<string, WgDeviceState> {
    return this.#states;
  }

  configure(uplinks: readonly WireguardUplink[]): void {
    this.#uplinks = uplinks;
  }

  /** Once per second. */
  look(): void {
    const found = new Map<string, WgDeviceState>();
    for (const { name } of this.#uplinks) {
      const state = this.#read(name);
      if (state !== undefined) found.set(name, state);
    }
    this.#states = found;
    const devices = this.#uplinks.flatMap(({ name }, index) => {
      const state = found.get(name);
      return state === undefined ? [] : [{ index, failed: 0, peers: state.peers }];
    });
    this.#health.observe(devices);
  }

  show(device: string, uplinks: readonly UplinkConfig[]): Answers['wg_show'] {
    const now = wallClockMs();
    const chosen = uplinks.filter((u) => u.wireguard !== undefined && (device === '' || u.name === device));
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

  #read(name: string): WgDeviceState | undefined {
    try {
      return readTunnel(tunnelDevice(name));
    } catch (e) {
      this.#log.debug('cannot look at a tunnel', { uplink: name, why: systemReason(e) });
      return undefined;
    }
  }

  /** What is down is sent nothing, so nothing else has WireGuard try. */
  #wake({ name, wireguard }: WireguardUplink): void {
    const device = tunnelDevice(name);
    const { fwmark } = this.#states.get(name)!;
    const hurried = { ...wireguard, peers: wireguard.peers.map((p) => ({ ...p, keepaliveS: WAKE_KEEPALIVE_S })) };
    try {
      setTunnel(device, hurried, fwmark, wireguard);
      setTunnel(device, wireguard, fwmark, wireguard);
    } catch (e) {
      this.#log.debug('cannot wake a tunnel', { uplink: name, why: systemReason(e) });
    }
  }
}

function peerStatus(p: WgPeerState, configured: readonly WgPeerConfig[], now: number): ReturnType<typeof wgPeerStatus> {
  const { endpoint } = p;
  const key = formatKey(p.publicKey);
  return wgPeerStatus(
    {
      ...{
        publicKey: p.publicKey,
        hasPresharedKey: p.presharedKey !== undefined,
        allowedIps: p.allowedIps.map(String),
      },
      name: configured.find((c) => formatKey(c.publicKey) === key)?.name,
      endpoint: endpoint && formatEndpoint({ host: String(endpoint.addr), port: endpoint.port }),
      latestHandshakeMs: p.latestHandshakeMs,
      ...{ rxBytes: p.rxBytes, txBytes: p.txBytes, keepaliveS: p.keepaliveS },
    },
    now,
  );
}
