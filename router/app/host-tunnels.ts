/**
 * WireGuard of the kernel backend where the kernel has none: our child on TUNs of the host. A TUN stays when the child or the
 * daemon ends; `HostNetwork` makes it part of the host's network and removes it.
 */
import type { WgDeviceConfig, WgDeviceStats } from '../../wg/model.ts';
import type { WgSupervisor } from '../../wg/supervisor.ts';
import type { UserTunnels } from '../kernel/host-network.ts';
import type { WireguardUplink } from '../kernel/uplink.ts';
import { MlshimError } from '../lib/errors.ts';
import type { Logger } from '../lib/log.ts';
import { World } from '../lib/world.ts';
import { loadNative } from '../native/index.ts';
import { REGION_BYTES, WireguardChild } from './wireguard.ts';

export class HostTunnels implements UserTunnels {
  readonly #log: Logger;
  readonly #indexes = new Map<string, number>();
  #next = 0;
  /** Started with the first tunnel. */
  #supervisor: Promise<WgSupervisor> | undefined;

  constructor(log: Logger) {
    this.#log = log;
  }

  /** @throws MlshimError CHILD_FAILED */
  async open(device: string, uplink: WireguardUplink, fwmark: number): Promise<void> {
    this.#supervisor ??= this.#start();
    // One that could not be started may be the next time.
    this.#supervisor.catch(() => {
      this.#supervisor = undefined;
    });
    const supervisor = await this.#supervisor;
    const known = this.#indexes.get(device);
    if (known !== undefined) {
      await supervisor.setDevice(known, configOf(uplink, fwmark));
      return;
    }
    const index = this.#next++;
    this.#indexes.set(device, index);
    await supervisor.addDevice({ index, name: device, mtu: uplink.mtu, tun: device }, configOf(uplink, fwmark));
    const { error } = (await supervisor.get()).find((d) => d.index === index) ?? {};
    if (error === undefined) return;
    await this.close(device);
    throw new MlshimError('CHILD_FAILED', `uplink ${uplink.name}: no WireGuard on the TUN ${device}: ${error}`);
  }

  async close(device: string): Promise<void> {
    const index = this.#indexes.get(device);
    if (index === undefined) return;
    this.#indexes.delete(device);
    await (await this.#supervisor)?.removeDevice(index);
  }

  /** What each tunnel and peer does now. */
  async get(): Promise<WgDeviceStats[]> {
    return (await (await this.#supervisor)?.get()) ?? [];
  }

  /** Have a tunnel try a handshake. */
  async wake(device: string): Promise<void> {
    const index = this.#indexes.get(device);
    if (index !== undefined) await (await this.#supervisor)?.wake(index);
  }

  /** End the child; tunnels carry nothing from then on. */
  async end(): Promise<void> {
    await (await this.#supervisor?.catch(() => undefined))?.close();
  }

  async #start(): Promise<WgSupervisor> {
    const native = loadNative();
    const world = new World(2 * REGION_BYTES);
    native.attachWorld(world.u8);
    // No packet takes the rings; the child wants them all the same.
    const at = world.alloc(REGION_BYTES, 65536);
    const { supervisor } = new WireguardChild(
      native,
      world,
      at,
      this.#log,
      () => {},
      () => {},
    );
    await supervisor.start();
    return supervisor;
  }
}

function configOf({ wireguard }: WireguardUplink, fwmark: number): WgDeviceConfig {
  const { privateKey, listenPort } = wireguard;
  const peers = wireguard.peers.map((p) => ({
    ...p,
    endpoint: p.endpoint && { host: String(p.endpoint.addr), port: p.endpoint.port },
  }));
  return { privateKey, listenPort, fwmark, peers };
}
