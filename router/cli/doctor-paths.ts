/** Checks of `mlshim doctor` about the ways out: what fits through each, and whether two of them are one. */
import { lookup } from 'node:dns/promises';
import { networkInterfaces } from 'node:os';
import { formatKey } from '../../wg/keys.ts';
import { parseEndpoint } from '../../wg/quick.ts';
import type { Config, UplinkConfig } from '../config/model.ts';
import type { WgDevices } from '../control/messages.ts';
import { type FirstHop, firstHop, markOfTunnel, type PathMtu, probePath } from '../kernel/host-paths.ts';
import { Addr } from '../lib/addr.ts';
import type { HostWay } from '../lib/host-way.ts';
import type { Say } from './doctor.ts';
import { interfaceMtu } from './host-files.ts';

/** What WireGuard adds to a packet: its own header and tag, UDP, and the outer IP header. */
const WIREGUARD_OVERHEAD = { 4: 32 + 8 + 20, 6: 32 + 8 + 40 } as const;
/** Anywhere, to ask for the route only (RFC 5737, RFC 3849): nothing is sent there. */
const SOMEWHERE = { 4: Addr.parse('192.0.2.1')!, 6: Addr.parse('2001:db8::1')! } as const;
/** How long the host's resolver is waited for. */
const RESOLVER_MS = 3000;
const DEFAULT_MTU = 1500;

/** A way whose size is looked at. */
export interface PathPlan {
  readonly uplink: string;
  readonly to: Addr;
  readonly way: HostWay;
  readonly mark: number;
  /** Of the largest packet that the uplink will send there. */
  readonly octets: number;
  /** What of them is not the user's. */
  readonly overhead: number;
}

/** What doctor finds out about this host; tests have answers of their own. */
export interface PathFacts {
  readonly probe: (path: PathPlan) => Promise<PathMtu | string>;
  readonly hop: (path: Pick<PathPlan, 'to' | 'way' | 'mark'>) => FirstHop | undefined;
  /** The first address of a name, undefined where it has none. */
  readonly resolve: (host: string) => Promise<Addr | undefined>;
}

export const HOST_PATHS: PathFacts = {
  probe: (path) => probePath(path, path.octets),
  hop: firstHop,
  resolve: async (host) => {
    const limit = new Promise<undefined>((done) => setTimeout(done, RESOLVER_MS, undefined).unref());
    const found = await Promise.race([lookup(host).catch(() => undefined), limit]);
    return found && Addr.parse(found.address);
  },
};

/** @param running tunnels of the router that runs: it knows where peers are, whatever their names say here */
export async function checkPaths(
  say: Say,
  config: Config,
  running: WgDevices | undefined,
  facts: PathFacts = HOST_PATHS,
): Promise<void> {
  const plans = (await Promise.all(config.uplinks.map((u) => pathsOf(say, u, running, facts)))).flat();
  const found = await Promise.all(plans.map((p) => facts.probe(p)));
  for (const [i, plan] of plans.entries()) sayMtu(say, plan, found[i]!);
  checkGateways(say, config, plans, facts);
}

async function pathsOf(
  say: Say,
  u: UplinkConfig,
  running: WgDevices | undefined,
  facts: PathFacts,
): Promise<PathPlan[]> {
  if (u.host !== undefined) {
    const [to] = u.probe?.targets ?? [];
    const device = u.host.interface ?? deviceOf(u.host.source!);
    const octets = (device === undefined ? undefined : interfaceMtu(device)) ?? DEFAULT_MTU;
    const way = { device: u.host.interface, source: u.host.source };
    return to === undefined ? [] : [{ uplink: u.name, to, way, mark: 0, octets, overhead: 0 }];
  }
  const { mtu, peers } = u.wireguard!;
  const known = running?.devices.find((d) => d.name === u.name)?.peers ?? [];
  const ends = await Promise.all(
    peers.map(async ({ endpoint, publicKey }) => {
      if (endpoint === undefined || endpoint.host.includes('%')) return undefined;
      const now = known.find((p) => p.public_key === formatKey(publicKey))?.endpoint ?? '';
      const told = Addr.parse(parseEndpoint(now)?.host ?? endpoint.host);
      const found = told ?? (await facts.resolve(endpoint.host));
      if (found === undefined)
        say(
          'path-mtu',
          'warn',
          `uplink ${u.name}: its endpoint ${endpoint.host} has no address here`,
          'check the name and the resolver of this host, or write the address',
        );
      return found;
    }),
  );
  const mark = markOfTunnel(u.name);
  return ends.flatMap((to): PathPlan[] => {
    if (to === undefined) return [];
    const overhead = WIREGUARD_OVERHEAD[to.family];
    const way = { device: undefined, source: undefined };
    return [{ uplink: u.name, to, way, mark, octets: mtu + overhead, overhead }];
  });
}

/** The interface that has an address. */
function deviceOf(source: Addr): string | undefined {
  const all = Object.entries(networkInterfaces());
  return all.find(([, held]) => held?.some((a) => Addr.parse(a.address)?.equals(source)))?.[0];
}

function sayMtu(say: Say, { uplink, to, octets, overhead }: PathPlan, found: PathMtu | string): void {
  const what = `uplink ${uplink}: packets of ${octets - overhead} octets`;
  const outer = overhead === 0 ? '' : `, ${octets} with WireGuard around them,`;
  if (typeof found === 'string') {
    say(
      'path-mtu',
      'warn',
      `uplink ${uplink}: the way to ${to} cannot be measured (${found})`,
      `ip route get ${to} says which way packets would take`,
    );
    return;
  }
  const fits = found.octets - overhead;
  const remedy =
    overhead === 0
      ? `set the mtu of the interface to ${fits}, or lower that of what is sent`
      : `wireguard: { mtu: ${fits} } fits`;
  if (found.how === 'lost')
    say('path-mtu', 'fail', `${what}${outer} to ${to} are lost without a word; ${fits} octets get there`, remedy);
  else if (found.octets < octets)
    say('path-mtu', 'warn', `${what}${outer} do not fit on the way to ${to}; ${fits} octets do`, remedy);
  else if (found.how === 'answered') say('path-mtu', 'ok', `${what}${outer} get to ${to}`);
  else say('path-mtu', 'ok', `${what}${outer} meet no objection on the way to ${to}, which does not answer`);
}

/** Uplinks that share new flows out, but leave by one gateway: their rates do not add up, and they fail together. */
function checkGateways(say: Say, config: Config, plans: readonly PathPlan[], { hop }: PathFacts): void {
  const hops = new Map<string, FirstHop>();
  for (const u of config.uplinks) {
    const path = plans.find((p) => p.uplink === u.name) ?? anyPath(u);
    const found = path && hop(path);
    if (found !== undefined) hops.set(u.name, found);
  }
  const shared = new Map<string, string>();
  for (const { members } of config.policy.groups)
    for (const [i, { uplink: one }] of members.entries())
      for (const { uplink: other } of members.slice(i + 1)) {
        const [a, b] = [hops.get(one), hops.get(other)];
        if (a !== undefined && b !== undefined && isSameHop(a, b))
          shared.set([one, other].sort().join(' and '), hopText(a));
      }
  for (const [pair, by] of shared)
    say(
      'two-uplinks-one-gateway',
      'warn',
      `uplinks ${pair} both leave by ${by}: their rates do not add up, and they fail together`,
      'give one a way of its own: another interface, or a source address with a rule and a route',
    );
  const isShared = config.policy.groups.some((g) => g.members.length > 1);
  if (isShared && shared.size === 0)
    say('two-uplinks-one-gateway', 'ok', 'no two uplinks of a group leave by the same gateway');
}

/** Of a path of the host without a probe; of a tunnel whose peers come to us nothing is known. */
function anyPath({ host }: UplinkConfig): Pick<PathPlan, 'to' | 'way' | 'mark'> | undefined {
  if (host === undefined) return undefined;
  const to = SOMEWHERE[host.source?.family ?? 4];
  return { to, way: { device: host.interface, source: host.source }, mark: 0 };
}

function isSameHop(a: FirstHop, b: FirstHop): boolean {
  const isOne = String(a.gateway) === String(b.gateway);
  if (a.device === b.device) return isOne || a.gateway === undefined || b.gateway === undefined;
  // Two interfaces of one network; routers of two networks may well have the same address, but are not the same machine.
  return isOne && a.neighbour !== '' && a.neighbour === b.neighbour;
}

function hopText({ device, gateway }: FirstHop): string {
  return gateway === undefined ? device : `${gateway} on ${device}`;
}
