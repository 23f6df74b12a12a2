/**
 * A host on two access lines of different rate and delay, as at home: a wired one and a wireless one, each with a router
 * of its own that resolves names, and a server on the far side of both.
 *
 *   host eth1  192.168.1.2 ---- wired (namespace, 20 Mbit/s, 10 ms) ----+
 *        wlan0 192.168.2.2 ---- wifi  (namespace, 30 Mbit/s, 40 ms) ----+---- server 203.0.113.1, 2001:db8:5::1
 */
import { SERVER, shaper } from './isps.ts';
import type { Lab, LabProcess } from './lab.ts';

/** Another address of the server, known to both resolvers as video.example. */
export const VIDEO = { name: 'video.example', v4: SERVER.others[0] } as const;

export interface LinePlan {
  /** Of the ISP's namespace, and of the uplink in a configuration. */
  readonly name: string;
  /** The interface of the host. */
  readonly device: string;
  /** Mbit/s, each direction. */
  readonly rate: number;
  /** What the way to the server adds to a round trip, in ms, where the kernel can. */
  readonly delayMs: number;
  /** Network numbers: 192.168.NET.0/24 and fd00:NET::/64 at home, 10.2NET.0.0/24 and fd00:2NET::/64 beyond. */
  readonly net: number;
  /** What its resolver says the address of which.example is. */
  readonly which: string;
}

export const LINES: readonly LinePlan[] = [
  { name: 'wired', device: 'eth1', rate: 20, delayMs: 10, net: 1, which: '10.9.9.1' },
  { name: 'wifi', device: 'wlan0', rate: 30, delayMs: 40, net: 2, which: '10.9.9.2' },
];

/** The host's addresses on a line. */
export const hostAddresses = ({ net }: LinePlan): { v4: string; v6: string } => ({
  v4: `192.168.${net}.2`,
  v6: `fd00:${net}::2`,
});

/** The line's router as the host sees it: gateway and resolver. */
export const gateway = ({ net }: LinePlan): { v4: string; v6: string } => ({
  v4: `192.168.${net}.1`,
  v6: `fd00:${net}::1`,
});

export class AccessLines {
  readonly lab: Lab;
  /** The host's namespace. */
  readonly host: string;
  readonly #spaces = new Map<string, string>();
  #server = '';

  constructor(lab: Lab, host: string) {
    this.lab = lab;
    this.host = host;
  }

  /** @param withDelay needs sch_netem in the kernel */
  async build({ withDelay }: { withDelay: boolean }): Promise<void> {
    this.#server = await this.lab.namespace('server');
    const own = [SERVER.v4, ...SERVER.others, SERVER.v6];
    await this.#ip(this.#server, ...own.map((address) => `addr add ${address} dev lo`));
    for (const line of LINES) await this.#line(line, withDelay);
  }

  /** The namespace of the server. */
  get server(): string {
    return this.#server;
  }

  /** The namespace of an ISP, by the line's name. */
  isp(name: string): string {
    return this.#spaces.get(name)!;
  }

  /** Commands of ip in a namespace, all by one process. */
  #ip(ns: string, ...commands: string[]): Promise<string> {
    return this.lab.ok(ns, 'ip', ['-batch', '-'], { input: `${commands.join('\n')}\n` });
  }

  async #line(line: LinePlan, withDelay: boolean): Promise<void> {
    const { lab, host } = this;
    const { name, device, rate, delayMs, net } = line;
    const ns = await lab.namespace(name);
    this.#spaces.set(name, ns);
    const home = gateway(line);
    const own = hostAddresses(line);
    // As the host's own network configuration would leave it: both ways out, the first one preferred.
    const metric = 100 * net;
    await this.#ip(
      host,
      `link add ${device} type veth peer name ${device} netns ${ns}`,
      `link set ${device} up`,
      `addr add ${own.v4}/24 dev ${device}`,
      `addr add ${own.v6}/64 dev ${device} nodad`,
      `route add default via ${home.v4} dev ${device} metric ${metric}`,
      `route add default via ${home.v6} dev ${device} metric ${metric}`,
    );
    await this.#ip(
      ns,
      `link add ${name} type veth peer name ${name} netns ${this.#server}`,
      `link set ${device} up`,
      `link set ${name} up`,
      `addr add ${home.v4}/24 dev ${device}`,
      `addr add ${home.v6}/64 dev ${device} nodad`,
      `addr add 10.2${net}.0.1/24 dev ${name}`,
      `addr add fd00:2${net}::1/64 dev ${name} nodad`,
      `route add default via 10.2${net}.0.2`,
      `route add default via fd00:2${net}::2`,
    );
    await this.#ip(
      this.#server,
      `link set ${name} up`,
      `addr add 10.2${net}.0.2/24 dev ${name}`,
      `addr add fd00:2${net}::2/64 dev ${name} nodad`,
      `route add 192.168.${net}.0/24 via 10.2${net}.0.1 src ${SERVER.v4}`,
      `route add fd00:${net}::/64 via fd00:2${net}::1 src ${SERVER.v6}`,
    );
    await this.#forward(ns, true);
    // Up: from the ISP on; down: towards the host. The delay is the server's answer's.
    await this.#shape(line, rate);
    const delay = ['netem', 'delay', `${delayMs}ms`, 'limit', '10000'];
    if (withDelay) await lab.host('tc', ['-n', this.#server, 'qdisc', 'add', 'dev', name, 'root', ...delay]);
  }

  async #shape({ name, device }: LinePlan, rate: number): Promise<void> {
    for (const link of [name, device])
      await this.lab.host('tc', ['-n', this.isp(name), 'qdisc', 'replace', 'dev', link, 'root', ...shaper(rate)]);
  }

  /** Let both lines carry a part of their rates from now on; 1 is all. */
  async slow(part: number): Promise<void> {
    for (const line of LINES) await this.#shape(line, line.rate * part);
  }

  /** What breaks most: the line's router answers for itself, but passes nothing on any more, or again. */
  async cut(name: string, isCut: boolean): Promise<void> {
    await this.#forward(this.isp(name), !isCut);
  }

  /** Pull the plug of a line, or put it in again: the host's interface loses its carrier and keeps its addresses. */
  async unplug(name: string, isOut: boolean): Promise<void> {
    const line = LINES.find((one) => one.name === name)!;
    const { device } = line;
    const address = `addr replace ${gateway(line).v6}/64 dev ${device} nodad`;
    await this.#ip(this.isp(name), ...(isOut ? [`link set ${device} down`] : [`link set ${device} up`, address]));
  }

  async #forward(ns: string, isOn: boolean): Promise<void> {
    const keys = ['net.ipv4.ip_forward', 'net.ipv6.conf.all.forwarding'];
    await this.lab.ok(ns, 'sysctl', ['-qw', ...keys.map((key) => `${key}=${Number(isOn)}`)]);
  }

  /** Let the server answer further addresses of the host, by a line. */
  async routeBack({ net }: LinePlan, addresses: readonly string[]): Promise<void> {
    const routes = addresses.map((address) => {
      const [via, src] = address.includes(':') ? [`fd00:2${net}::1`, SERVER.v6] : [`10.2${net}.0.1`, SERVER.v4];
      return `route add ${address} via ${via} src ${src}`;
    });
    await this.#ip(this.#server, ...routes);
  }

  /** Resolvers on both lines: server.example is the server, which.example tells whose resolver was asked. */
  async resolvers(): Promise<void> {
    for (const line of LINES) {
      const ns = this.isp(line.name);
      const { v4, v6 } = gateway(line);
      this.lab.start(ns, 'dnsmasq', [
        ...['--keep-in-foreground', '--no-resolv', '--no-hosts', '--no-poll', '--conf-file=/dev/null', '--user=root'],
        ...['--bind-interfaces', `--listen-address=${v4}`, `--listen-address=${v6}`, '--pid-file='],
        ...['--local=/example/', `--host-record=which.example,${line.which}`],
        `--host-record=server.example,${SERVER.v4},${SERVER.v6}`,
        `--host-record=${VIDEO.name},${VIDEO.v4}`,
      ]);
      await this.lab.eventually(`the resolver of ${line.name} listens`, async () =>
        (await this.lab.ok(ns, 'ss', ['-Hlun'])).includes(`${v4}:53`),
      );
    }
  }

  /** Start a program on the server. */
  serve(command: string, args: readonly string[]): LabProcess {
    return this.lab.start(this.#server, command, args);
  }

  /** An iperf3 server, for one client at a time. */
  async iperf(port = 5201): Promise<LabProcess> {
    const server = this.serve('iperf3', ['-s', '-p', String(port), '--forceflush']);
    await server.until(/listening/);
    return server;
  }
}
