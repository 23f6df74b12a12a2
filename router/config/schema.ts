/**
 * The shape of the configuration file: zod turns the plain YAML tree into the values of model.ts and says what is wrong
 * with each part. Positions, source lines and checks that need two places at once are load.ts's and check.ts's job.
 */
import { z } from 'zod';
import { type EightOctets, parseDistinguisher, parseRouteTarget } from '../../bgp/vpn/route-distinguisher.ts';
import { networks } from './bgp-policy.ts';
import { bgp } from './bgp-schema.ts';
import {
  addr,
  bool,
  choice,
  endpoint,
  int,
  interfaceAddr,
  key,
  list,
  name,
  object,
  prefix,
  Refusal,
  scopedAddr,
  seconds,
  size,
  text,
  typeMessage,
  v4,
  v6,
} from './fields.ts';
import { fpm } from './fpm.ts';
import { group, rule, uplinkShare } from './policy.ts';
import { hostPath } from './uplink.ts';

/** wg-quick's default: 1500 less IPv6, UDP and WireGuard headers. */
export const DEFAULT_MTU = 1420;
export const DEFAULT_BUFFER_BYTES = 128 << 20;
export const DEFAULT_ISOLATION = 'vrf';

/** MTU of a tunnel: 1280 is IPv6's least (RFC 8200 §5). */
const mtu = int(1280, 65535, 'an MTU');

const wgPeer = object({
  name: name.optional(),
  public_key: key,
  preshared_key: key.optional(),
  endpoint: endpoint.optional(),
  allowed_ips: list(prefix, 'prefixes').default([]),
  /** Taken out of allowed_ips: `0.0.0.0/0` without the local network, say. */
  excluded_ips: list(prefix, 'prefixes').default([]),
  persistent_keepalive: seconds(65535).default(0),
});

const wireguard = object({
  private_key: key,
  listen_port: int(0, 65535, 'a port').default(0),
  addresses: list(interfaceAddr, 'interface addresses').default([]),
  mtu: mtu.default(DEFAULT_MTU),
  /** `off` keeps allowed_ips out of the routing table, as wg-quick's `Table = off`: BGP or `routes` say what goes here. */
  table: choice(['auto', 'off']).default('auto'),
  peers: list(wgPeer, 'peers').default([]),
});

/** Exactly one of `wireguard` and `kernel`; uplink.ts refuses both and neither. */
const uplink = object({
  wireguard: wireguard.optional(),
  kernel: hostPath.optional(),
  /** The VRF it belongs to; the default one when missing. */
  vrf: name.optional(),
  dns: list(addr, 'addresses').default([]),
  ...uplinkShare,
});

const distinguisher = text('a route distinguisher', (s): EightOctets | Refusal => {
  return parseDistinguisher(s) ?? new Refusal(`"${s}" is not a route distinguisher (AS:NUMBER or IPV4:NUMBER)`);
});

const routeTarget = text('a route target', (s): EightOctets | Refusal => {
  return parseRouteTarget(s) ?? new Refusal(`"${s}" is not a route target (AS:NUMBER or IPV4:NUMBER)`);
});

const vrf = object({
  rd: distinguisher.optional(),
  import: list(routeTarget, 'route targets').default([]),
  export: list(routeTarget, 'route targets').default([]),
  /** Prefixes that the VRF's speaker originates. */
  networks: networks.default([]),
});

const gateway = object({
  via: name,
  gateway: addr.optional(),
  weight: int(1, 256, 'a weight').default(1),
});

/** Either `via` (an uplink, or a list of weighted next hops) or `type`; check.ts refuses both and neither. */
const route = object({
  to: prefix,
  via: z.union([name, list(gateway, 'next hops').min(1, { error: 'names no next hop' })]).optional(),
  gateway: addr.optional(),
  type: choice(['blackhole', 'unreachable']).optional(),
  /** The table it stands in; that of its uplink when missing. */
  vrf: name.optional(),
});

const dns = object({
  servers: list(scopedAddr, 'addresses').default([]),
  search: list(
    text('a domain', (s): string | Refusal =>
      /^[A-Za-z0-9_-]{1,63}(\.[A-Za-z0-9_-]{1,63})*\.?$/.test(s) ? s : new Refusal(`"${s}" is not a domain name`),
    ),
    'domains',
  ).default([]),
});

export const configSchema = object({
  backend: choice(['auto', 'userspace', 'kernel']).default('auto'),
  isolation: choice(['vrf', 'device']).default(DEFAULT_ISOLATION),
  strict: bool.default(false),
  vrfs: z.record(name, vrf, { error: (issue) => typeMessage('a mapping of VRFs', issue.input) }).default({}),
  /** BGP peers may bring tunnels of their own (bgp-wireguard.ts), so there may be none here. */
  uplinks: z.record(name, uplink, { error: (issue) => typeMessage('a mapping of uplinks', issue.input) }).default({}),
  routes: list(route, 'routes').default([]),
  groups: z.record(name, group, { error: (issue) => typeMessage('a mapping of groups', issue.input) }).default({}),
  rules: list(rule, 'rules').default([]),
  dns: dns.default({ servers: [], search: [] }),
  source: object({ ipv4: v4.optional(), ipv6: v6.optional() }).default({}),
  bgp: bgp.optional(),
  fpm: fpm.optional(),
  bird_socket: text('a path', (s): string => s).optional(),
  loopback: choice(['kernel', 'stack']).default('kernel'),
  buffers: size.default(DEFAULT_BUFFER_BYTES),
});

export type ParsedConfig = z.output<typeof configSchema>;
