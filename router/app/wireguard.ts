/** The one WireGuard child of the daemon: its memory in the World, its descriptors, its supervisor. */
import { fileURLToPath } from 'node:url';
import type { WgDeviceConfig, WgDeviceStats } from '../../wg/model.ts';
import { initRegion } from '../../wg/ring.ts';
import { HEADER_BYTES, RING_BYTES } from '../../wg/ring-layout.ts';
import { type WgEvent, WgSupervisor } from '../../wg/supervisor.ts';
import type { WireguardConfig } from '../config/model.ts';
import { MlshimError } from '../lib/errors.ts';
import type { Logger } from '../lib/log.ts';
import type { World } from '../lib/world.ts';
import type { Native } from '../native/index.ts';
import type { ToDataplane } from './dataplane-protocol.ts';
import { resolveHost } from './endpoint-names.ts';
import { ONE_CHILD, type PlannedLink } from './plan.ts';

const PAGE = 65536;

/** Octets of World one child's region takes. */
export const REGION_BYTES = Math.ceil((HEADER_BYTES + 2 * RING_BYTES) / PAGE) * PAGE;

const BINARY = fileURLToPath(new URL('../../mlshim-wg', import.meta.url));

export class WireguardChild {
  readonly supervisor: WgSupervisor;
  /** What the data plane needs to use the rings. */
  readonly attachment: Extract<ToDataplane, { readonly kind: 'attach-child' }>;

  /**
   * @param at world offset of the region, a multiple of 64 KiB
   * @param onStats gets the figures of all devices every two seconds
   */
  constructor(
    native: Native,
    world: World,
    at: number,
    log: Logger,
    onEvent: (event: WgEvent) => void,
    onStats: (devices: readonly WgDeviceStats[]) => void,
  ) {
    const memfd = checked(native.memfdCreate('mlshim-rings', REGION_BYTES), 'memfd_create');
    checked(native.mapOver(memfd, at, REGION_BYTES), 'mmap');
    initRegion(world, at, RING_BYTES);
    const toChildFd = checked(native.eventfd(), 'eventfd');
    const fromChildFd = checked(native.eventfd(), 'eventfd');
    this.attachment = {
      kind: 'attach-child',
      child: ONE_CHILD,
      base: at,
      ringBytes: RING_BYTES,
      rxEventFd: fromChildFd,
      txEventFd: toChildFd,
    };
    this.supervisor = new WgSupervisor({
      binary: process.env['MLSHIM_WG_BIN'] ?? BINARY,
      memfd,
      toChildFd,
      fromChildFd,
      header: world.i32.subarray(at >> 2, (at + HEADER_BYTES) >> 2),
      log,
      resolve: resolveHost,
      onEvent,
      onStats,
    });
  }

  has({ spec }: PlannedLink): boolean {
    return this.supervisor.hasDevice(spec.device);
  }

  addDevice({ spec, tunnel }: PlannedLink): Promise<void> {
    return this.supervisor.addDevice({ index: spec.device, name: spec.name, mtu: spec.mtu }, deviceConfig(tunnel));
  }

  /** Other keys, peers, port or MTU; sessions with peers that stay as they are go on. */
  setDevice({ spec, tunnel }: PlannedLink): Promise<void> {
    return this.supervisor.setDevice(spec.device, deviceConfig(tunnel), spec.mtu);
  }
}

function deviceConfig({ privateKey, listenPort, peers }: WireguardConfig): WgDeviceConfig {
  return { privateKey, listenPort, peers };
}

/** @throws MlshimError INTERNAL when a system call that only fails for lack of resources has failed */
export function checked(result: number, what: string): number {
  if (result < 0) throw new MlshimError('INTERNAL', `${what} failed with errno ${-result}`);
  return result;
}
