/**
 * A host with two ordinary ways out, without tunnels, and a server behind both: each ISP is a namespace that forwards, with a
 * rate of its own towards the server and back. The host's default routes lead to both, fiber first.
 *
 *   host 192.0.2.1 ---- fiber (namespace) ----+
 *     |                                       server  203.0.113.1 to .4, 2001:db8:5::1
 *     198.51.100.1 ---- lte (namespace) ------+
 */
import { SERVER, shaper } from './isps.ts';
import type { Lab, LabProcess } from './lab.ts';

export const HOST_SERVER = { ...SERVER, other: SERVER.others[0] } as const;

export interface HostIsp {
  readonly name: string;
  /** The host's interface. */
  readonly device: string;
  /** Mbit/s, each direction. */
  readonly rate: number;
  /** The host's addresses there, and those of the ISP's router. */
  readonly v4: string;
  readonly v6: string;
  readonly router4: string;
  readonly router6: string;
}

export const HOST_ISPS: readonly [HostIsp, HostIsp] = [
  {
    name: 'fiber',
    device: 'ofiber',
    rate: 20,
    v4: '192.0.2.1',
    router4: '192.0.2.2',
    v6: '2001:db8:a::1',
    router6: '2001:db8:a::2',
  },
  {
    name: 'lte',
    device: 'olte',
    rate: 30,
    v4: '198.51.100.1',
    router4: '198.51.100.2',
    v6: '2001:db8:b::1',
    router6: '2001:db8:b::2',
  },
];

export class HostIsps {
  readonly lab: Lab;
  readonly host: string;
  readonly #namespaces = new Map<string, string>();
  #server = '';

  constructor(lab: Lab, host: string) {
    this.lab = lab;
    this.host = host;
  }

  /** The namespace of the server. */
  get server(): string {
    return this.#server;
  }

  async build(): Promise<void> {
    this.#server = await this.lab.namespace('s');
    for (const address of [HOST_SERVER.v4, ...HOST_SERVER.others])
      await this.#ip(this.#server, 'addr', 'add', `${address}/32`, 'dev', 'lo');
    await this.#ip(this.#server, 'addr', 'add', `${HOST_SERVER.v6}/128`, 'dev', 'lo', 'nodad');
    for (const isp of HOST_ISPS) await this.#isp(isp);
  }

  async #ip(ns: string, ...words: string[]): Promise<void> {
    await this.lab.host('ip', ['-n', ns, ...words]);
  }

  async #isp(isp: HostIsp): Promise<void> {
    const { lab, host } = this;
    const { name, device, rate, v4, v6, router4, router6 } = isp;
    const server = this.#server;
    const ns = await lab.namespace(name);
    this.#namespaces.set(name, ns);
    const inside = `10.${rate}.0`;
    await lab.veth(device, host, `${v4}/24`, ns, `${router4}/24`);
    await lab.veth(`i${name}`, ns, `${inside}.1/24`, server, `${inside}.2/24`);
    for (const [where, link, address] of [
      [host, device, `${v6}/64`],
      [ns, device, `${router6}/64`],
      [ns, `i${name}`, `fd00:${rate}::1/64`],
      [server, `i${name}`, `fd00:${rate}::2/64`],
    ] as const)
      await this.#ip(where, 'addr', 'add', address, 'dev', link, 'nodad');
    await lab.ok(ns, 'sh', [
      '-c',
      'echo 1 >/proc/sys/net/ipv4/ip_forward; echo 1 >/proc/sys/net/ipv6/conf/all/forwarding',
    ]);
    await this.worldOf(isp);
    await this.#ip(server, 'route', 'add', `${v4}/32`, 'via', `${inside}.1`, 'src', HOST_SERVER.v4);
    await this.#ip(server, '-6', 'route', 'add', `${v6}/128`, 'via', `fd00:${rate}::1`, 'src', HOST_SERVER.v6);
    await this.routes(isp);
    for (const where of [ns, server])
      await lab.host('tc', ['-n', where, 'qdisc', 'add', 'dev', `i${name}`, 'root', ...shaper(rate)]);
  }

  /** The host's routes by an ISP, which go when its interface does. */
  async routes({ device, v6, router4, router6 }: HostIsp): Promise<void> {
    const metric = String(100 + HOST_ISPS.findIndex((i) => i.device === device));
    await this.#ip(this.host, 'route', 'replace', 'default', 'via', router4, 'dev', device, 'metric', metric);
    await this.#ip(this.host, 'addr', 'replace', `${v6}/64`, 'dev', device, 'nodad');
    await this.#ip(this.host, '-6', 'route', 'replace', 'default', 'via', router6, 'dev', device, 'metric', metric);
  }

  /** An ISP's routes to the server, which go when its interface there does. */
  async worldOf({ name, rate }: HostIsp): Promise<void> {
    const ns = this.#namespaces.get(name)!;
    await this.#ip(ns, 'addr', 'replace', `fd00:${rate}::1/64`, 'dev', `i${name}`, 'nodad');
    for (const address of [HOST_SERVER.v4, ...HOST_SERVER.others])
      await this.#ip(ns, 'route', 'replace', `${address}/32`, 'via', `10.${rate}.0.2`);
    await this.#ip(ns, '-6', 'route', 'replace', `${HOST_SERVER.v6}/128`, 'via', `fd00:${rate}::2`);
  }

  /** Take the host's interface down, or up again with its routes. */
  async link(isp: HostIsp, isUp: boolean): Promise<void> {
    await this.#ip(this.host, 'link', 'set', isp.device, isUp ? 'up' : 'down');
    if (isUp) await this.routes(isp);
  }

  /** Start a program on the server, or on an ISP's router. */
  serve(command: string, args: readonly string[], isp?: HostIsp): LabProcess {
    return this.lab.start(isp === undefined ? this.#server : this.#namespaces.get(isp.name)!, command, args);
  }

  async iperf(port = 5201): Promise<LabProcess> {
    const server = this.serve('iperf3', ['-s', '-p', String(port), '--forceflush']);
    await server.until(/listening/);
    return server;
  }
}
