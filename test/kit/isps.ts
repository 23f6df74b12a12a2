/**
 * A host with two ways out, and a server behind both: each ISP is a namespace with a WireGuard peer of foreign parts and a
 * rate of its own, towards the server and back.
 *
 *   host ---- fiber (namespace) ----+
 *     |                             server  203.0.113.1, 2001:db8:5::1
 *     '------ lte (namespace) ------+
 */
import type { Lab, LabProcess } from './lab.ts';
import { PEER_B, PEER_C, Peer, type PeerPlan } from './peer.ts';
import type { Router } from './router.ts';

export const SERVER = {
  v4: '203.0.113.1',
  v6: '2001:db8:5::1',
  /** More addresses of it. */
  others: ['203.0.113.2', '203.0.113.3', '203.0.113.4'],
} as const;

export interface IspPlan {
  readonly name: string;
  /** Mbit/s, each direction. */
  readonly rate: number;
  /** The host's addresses on this uplink. */
  readonly v4: string;
  readonly v6: string;
  readonly plan: PeerPlan;
  /** Networks between host and ISP, and ISP and server. */
  readonly outside: string;
  readonly inside: string;
}

export const ISPS: readonly IspPlan[] = [
  { name: 'fiber', rate: 20, v4: '10.11.0.2', v6: 'fd00:11::2', plan: PEER_B, outside: '192.0.2', inside: '10.21.0' },
  { name: 'lte', rate: 30, v4: '10.12.0.2', v6: 'fd00:12::2', plan: PEER_C, outside: '198.51.100', inside: '10.22.0' },
];

export class TwoIsps {
  readonly lab: Lab;
  readonly router: Router;
  readonly peers = new Map<string, Peer>();
  readonly #host: string;
  #server = '';

  constructor(lab: Lab, host: string, router: Router) {
    this.lab = lab;
    this.#host = host;
    this.router = router;
  }

  /** The namespace of the server. */
  get server(): string {
    return this.#server;
  }

  async build(): Promise<void> {
    const { lab } = this;
    this.#server = await this.#namespace('s');
    for (const address of [SERVER.v4, ...SERVER.others])
      await lab.host('ip', ['-n', this.#server, 'addr', 'add', `${address}/32`, 'dev', 'lo']);
    await lab.host('ip', ['-n', this.#server, 'addr', 'add', `${SERVER.v6}/128`, 'dev', 'lo', 'nodad']);
    for (const isp of ISPS) await this.#isp(isp);
  }

  /** Its links ask for neighbours at once: not only when their link-local addresses are known to be nobody else's (RFC 4862 §5.4). */
  async #namespace(name: string): Promise<string> {
    const ns = await this.lab.namespace(name);
    await this.lab.ok(ns, 'sysctl', ['-qw', 'net.ipv6.conf.default.accept_dad=0']);
    return ns;
  }

  async #isp({ name, rate, v4, v6, plan, outside, inside }: IspPlan): Promise<void> {
    const { lab } = this;
    const ns = await this.#namespace(name);
    await lab.veth(`o${name}`, this.#host, `${outside}.1/24`, ns, `${outside}.2/24`);
    await lab.veth(`i${name}`, ns, `${inside}.1/24`, this.#server, `${inside}.2/24`);
    await lab.host('ip', ['-n', ns, 'addr', 'add', `fd00:${rate}::1/64`, 'dev', `i${name}`, 'nodad']);
    await lab.host('ip', ['-n', this.#server, 'addr', 'add', `fd00:${rate}::2/64`, 'dev', `i${name}`, 'nodad']);
    const peer = new Peer(lab, ns, plan);
    const linkLocal = 'fe80::1';
    await peer.tunnel({ publicKey: this.router.key(name).publicKey, asn: 1, linkLocal }, 51820);
    this.peers.set(name, peer);
    await peer.ip('route', 'add', `${v4}/32`, 'dev', peer.device);
    await peer.ip('route', 'add', `${v6}/128`, 'dev', peer.device);
    for (const address of [SERVER.v4, ...SERVER.others])
      await peer.ip('route', 'add', `${address}/32`, 'via', `${inside}.2`);
    await peer.ip('-6', 'route', 'add', `${SERVER.v6}/128`, 'via', `fd00:${rate}::2`);
    await lab.host('ip', ['-n', this.#server, 'route', 'add', `${v4}/32`, 'via', `${inside}.1`, 'src', SERVER.v4]);
    await lab.host('ip', [
      '-n',
      this.#server,
      '-6',
      'route',
      'add',
      `${v6}/128`,
      'via',
      `fd00:${rate}::1`,
      'src',
      SERVER.v6,
    ]);
    for (const [where, device] of [
      [ns, `i${name}`],
      [this.#server, `i${name}`],
    ] as const)
      await lab.host('tc', ['-n', where, 'qdisc', 'add', 'dev', device, 'root', ...shaper(rate)]);
  }

  /** The uplinks of a configuration. @param options more keys of each uplink, lines of YAML at its level */
  uplinks(options: Readonly<Record<string, string>> = {}): string {
    const parts = ISPS.map(({ name, v4, v6, outside }) => {
      this.router.keyFiles(name);
      return `  ${name}:
    wireguard:
      private_key: !file ${name}.key
      addresses: [${v4}/32, '${v6}/128', fe80::1/64]
      peers:
        - public_key: ${this.peers.get(name)!.keys.publicKey}
          endpoint: ${outside}.2:51820
          allowed_ips: [0.0.0.0/0, '::/0']
          persistent_keepalive: 25s
${options[name] ?? options['*'] ?? ''}`;
    });
    return `uplinks:\n${parts.join('')}`;
  }

  /** Another address of the server, reached as its first one is. */
  async serverAddress(address: string): Promise<void> {
    await this.lab.host('ip', ['-n', this.#server, 'addr', 'add', `${address}/32`, 'dev', 'lo']);
    for (const { name, inside } of ISPS)
      await this.peers.get(name)!.ip('route', 'add', `${address}/32`, 'via', `${inside}.2`);
  }

  /** Let the server answer to the host's own address at an ISP, too: the host is its customer beside the tunnel. */
  async reachHost({ outside, inside }: IspPlan): Promise<void> {
    const route = ['route', 'add', `${outside}.1/32`, 'via', `${inside}.1`, 'src', SERVER.v4];
    await this.lab.host('ip', ['-n', this.#server, ...route]);
  }

  /** Let nothing pass between host and ISP any more, or again. */
  async cut(name: string, isCut: boolean): Promise<void> {
    await this.lab.host('ip', ['-n', this.peers.get(name)!.ns, 'link', 'set', `o${name}`, isCut ? 'down' : 'up']);
  }

  /** Start a program on the server. */
  serve(command: string, args: readonly string[]): LabProcess {
    return this.lab.start(this.#server, command, args);
  }

  async iperf(port = 5201): Promise<LabProcess> {
    const server = this.serve('iperf3', ['-s', '-p', String(port), '--forceflush']);
    await server.until(/listening/);
    return server;
  }
}

/** A tenth of a second of queue: enough for TCP, no more than an access line has. */
export function shaper(rate: number): string[] {
  return ['tbf', 'rate', `${rate}mbit`, 'burst', '32kb', 'limit', String((rate * 1e6 * 0.1) / 8)];
}
