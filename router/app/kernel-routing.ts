/** The routing worker in the kernel backend: what it begins with, and what becomes of what it tells. */
import { setTimeout as sleep } from 'node:timers/promises';
import type { ConfigChange } from '../config/diff.ts';
import type { InterfaceAddr } from '../config/model.ts';
import type { Answers } from '../control/messages.ts';
import { ROUTE_PROTOCOL, tableOf, type UplinkState } from '../kernel/uplink.ts';
import type { Logger } from '../lib/log.ts';
import { posted } from '../lib/post.ts';
import { bfdStatus } from './bfd-status.ts';
import type { ControlRoom } from './control-room.ts';
import type { KernelPlan, OwnAddress } from './kernel-plan.ts';
import { routesOf, vrfNumber } from './plan.ts';
import type { RoutingClient, RoutingEvent } from './routing-client.ts';
import type { RoutingBoot } from './routing-protocol.ts';
import { type RoutingRestart, RoutingSupervisor } from './routing-supervisor.ts';

/** Links of routing are numbered as in the other backend. */
const FIRST_LINK_INDEX = 1000;
/** Of routes we install: before those that come with an interface (DHCP, router advertisements), behind metric 0. */
const ROUTE_METRIC = 32;
const BGP_STOP_MS = 2000;
const ENETUNREACH = 101;

export interface RoutingInput {
  readonly plan: KernelPlan;
  readonly states: readonly UplinkState[];
  readonly own: readonly OwnAddress[];
  /** Of this router, counted from the first of all of ours. */
  readonly firstTable: number;
}

export interface KernelRoutingPort {
  /** @param plan another one than that in force */
  input(plan?: KernelPlan): RoutingInput;
  control(): ControlRoom;
  /** No worker will be started any more. */
  gaveUp(): void;
}

export class KernelRouting {
  readonly #port: KernelRoutingPort;
  readonly #log: Logger;
  readonly #supervisor: RoutingSupervisor;
  readonly #linksUp = new Set<string>();

  constructor(port: KernelRoutingPort, log: Logger) {
    this.#port = port;
    this.#log = log;
    this.#supervisor = new RoutingSupervisor(
      {
        boot: () => routingBootOf(port.input()),
        onEvent: (e, client) => this.#onEvent(e, client),
        toDataplane: () => undefined, // the kernel has the routes: the worker itself tells it
        closeFd: () => undefined,
        restarted: (client) => this.#restarted(client),
        gaveUp: () => port.gaveUp(),
      },
      log.for('routing'),
    );
  }

  get client(): RoutingClient {
    return this.#supervisor.client;
  }

  /** A worker was to end and has not. */
  get hangs(): boolean {
    return this.#supervisor.hangs;
  }

  get restart(): RoutingRestart | undefined {
    return this.#supervisor.restart;
  }

  /** @throws MlshimError when it cannot serve */
  async start(): Promise<void> {
    await this.#supervisor.start();
  }

  /** Links are as they are: sessions may begin. */
  serve(): void {
    this.client.send({ kind: 'start' });
    this.#supervisor.serve();
  }

  linkOf(name: string): number {
    return linkIndex(this.#port.input().plan, name);
  }

  linkState(name: string, isUp: boolean): void {
    if (isUp === this.#linksUp.has(name)) return;
    if (isUp) this.#linksUp.add(name);
    else this.#linksUp.delete(name);
    this.client.send({ kind: 'link-state', index: this.linkOf(name), up: isUp });
  }

  /** Go over to another plan. @throws MlshimError when it cannot be; nothing has changed then */
  async change(changes: readonly ConfigChange[], plan: KernelPlan): Promise<void> {
    const before = routingBootOf(this.#port.input()).links;
    const boot = routingBootOf(this.#port.input(plan));
    if (changes.some((c) => c.effect === 'routing')) {
      await this.#supervisor.replace(boot, () => undefined);
      return;
    }
    await this.client.reload(boot);
    // In its other VRF nobody has heard that a link is up.
    for (const { name, index, vrf } of boot.links)
      if (this.#linksUp.has(name) && before.some((l) => l.name === name && l.vrf !== vrf))
        this.client.send({ kind: 'link-state', index, up: true });
  }

  async bfdShow(): Promise<Answers['bfd_show']> {
    return bfdStatus([await this.client.hostBfd()]);
  }

  /** End the sessions with their last words, and take the routes back. */
  async stop(reason: string): Promise<void> {
    this.#supervisor.retire();
    this.client.send({ kind: 'stop', reason });
    await Promise.race([this.client.stopped, sleep(BGP_STOP_MS, undefined, { ref: false })]);
    await this.terminate();
  }

  async terminate(): Promise<void> {
    await this.#supervisor.stop();
  }

  #restarted(client: RoutingClient): void {
    for (const name of this.#linksUp) client.send({ kind: 'link-state', index: this.linkOf(name), up: true });
    this.#port.control().restarted(client);
    client.send({ kind: 'start' });
  }

  #onEvent(e: RoutingEvent, client: RoutingClient): void {
    switch (e.kind) {
      case 'bgp-events':
        this.#port.control().tellWatchers(e.events, e.lost);
        break;
      case 'log':
        this.#log.for(e.component)[e.level](e.message, e.fields);
        break;
      case 'stream-connect':
        client.send({ kind: 'stream-opened', id: e.id, fd: -1, errno: ENETUNREACH });
        break;
    }
  }
}

function linkIndex(plan: KernelPlan, name: string): number {
  return FIRST_LINK_INDEX + (plan.numbers.get(name) ?? 0);
}

/** What the routing worker is to know. Pure. */
export function routingBootOf({ plan, states, own, firstTable }: RoutingInput): RoutingBoot {
  const { config, vrfs, numbers } = plan;
  const links = config.uplinks.map((u) => {
    const { interface: device, bindDevice: bound } = states.find((s) => s.name === u.name) ?? {};
    const addresses: readonly InterfaceAddr[] = u.wireguard?.addresses ?? own.filter((a) => a.device === device);
    const installed = u.wireguard?.installRoutes === true ? u.wireguard.peers : [];
    return {
      index: linkIndex(plan, u.name),
      name: u.name,
      vrf: vrfNumber(vrfs, u.vrf),
      mtu: u.wireguard?.mtu ?? 0,
      addresses,
      allowed: installed.flatMap((p) => p.allowedIps),
      device: device ?? '',
      bound,
      table: tableOf(firstTable + numbers.get(u.name)!),
    };
  });
  return {
    links: links.map(({ index, name, vrf, mtu, addresses, device, bound }) => ({
      ...{ index, name, vrf, mtu, addresses: addresses.map((a) => `${a.addr}/${a.prefix.length}`) },
      host: { interface: device, device: bound },
    })),
    vrfs: posted(config.vrfs.map((vrf) => ({ name: vrf.name, number: vrfNumber(vrfs, vrf.name), config: vrf }))),
    routes: routesOf(config, links, vrfs),
    bgp: config.bgp && posted(config.bgp),
    fpm: config.fpm && posted(config.fpm),
    source: { v4: config.source.v4 && String(config.source.v4), v6: config.source.v6 && String(config.source.v6) },
    kernelRoutes: {
      protocol: ROUTE_PROTOCOL,
      metric: ROUTE_METRIC,
      // Each uplink has a table of its own: what leads elsewhere is no business of its sockets.
      targets: links.map((l) => ({ vrf: l.vrf, table: l.table, links: [l.index] })),
      devices: links.flatMap((l) => (l.device === '' ? [] : [[l.index, l.device] as const])),
    },
  };
}
