/**
 * The shape of the configuration file: zod turns the plain YAML tree into the values of model.ts and says what is wrong
 * with each part. Positions, source lines and checks that need two places at once are load.ts's and check.ts's job.
 */
import { z } from 'zod';
import { parseKey } from '../../wg/keys.ts';
import type { WgEndpoint } from '../../wg/model.ts';
import { parseEndpoint } from '../../wg/quick.ts';
import { Addr, Prefix } from '../lib/addr.ts';
import { parseAsn } from '../lib/ranges.ts';
import type { InterfaceAddr, ScopedAddr } from './model.ts';

/** An object that refuses unknown keys; the message of that refusal lists the known ones (load.ts finds the nearest). */
function object<S extends z.core.$ZodLooseShape>(shape: S) {
  const known = Object.keys(shape).join(', ');
  return z.strictObject(shape, {
    error: (issue) => (issue.code === 'unrecognized_keys' ? known : typeMessage('a mapping', issue.input)),
  });
}

function typeMessage(wanted: string, input: unknown): string {
  if (input === undefined) return 'is missing';
  const got =
    input === null
      ? 'nothing'
      : Array.isArray(input)
        ? 'a list'
        : typeof input === 'object'
          ? 'a mapping'
          : shown(input);
  return `expected ${wanted}, got ${got}`;
}

function shown(input: unknown): string {
  return typeof input === 'string' ? `"${input}"` : String(input);
}

/** A text turned into a value by `parse`, which returns a value or, wrapped, the reason why there is none. */
function text<T>(wanted: string, parse: (s: string) => T | Refusal): z.ZodType<T> {
  return z.string({ error: (issue) => typeMessage(wanted, issue.input) }).transform((s, ctx): T => {
    const value = parse(s);
    if (!(value instanceof Refusal)) return value;
    ctx.issues.push({ code: 'custom', message: value.message, input: undefined });
    return z.NEVER;
  });
}

class Refusal {
  readonly message: string;
  constructor(message: string) {
    this.message = message;
  }
}

function list<T extends z.ZodType>(item: T, what: string) {
  return z.array(item, { error: (issue) => typeMessage(`a list of ${what}`, issue.input) });
}

function int(min: number, max: number, what: string) {
  const error = (issue: { readonly input?: unknown }): string =>
    issue.input === undefined ? 'is missing' : `expected ${what} (${min}-${max}), got ${shown(issue.input)}`;
  return z.int({ error }).min(min, { error }).max(max, { error });
}

const addr = text(
  'an address',
  (s): Addr | Refusal => Addr.parse(s) ?? new Refusal(`"${s}" is not an IPv4 or IPv6 address`),
);

const v4 = text('an IPv4 address', (s): Addr | Refusal => {
  const a = Addr.parse(s);
  return a?.family === 4 ? a : new Refusal(`"${s}" is not an IPv4 address`);
});

const v6 = text('an IPv6 address', (s): Addr | Refusal => {
  const a = Addr.parse(s);
  return a?.family === 6 ? a : new Refusal(`"${s}" is not an IPv6 address`);
});

const scopedAddr = text('an address', (s): ScopedAddr | Refusal => {
  const percent = s.indexOf('%');
  const a = Addr.parse(percent < 0 ? s : s.slice(0, percent));
  if (a === undefined) return new Refusal(`"${s}" is not an IPv4 or IPv6 address`);
  const uplink = percent < 0 ? undefined : s.slice(percent + 1);
  if (a.family === 6 && a.isLinkLocal && uplink === undefined)
    return new Refusal(`link-local ${s} needs the uplink it is on: ${s}%UPLINK`);
  return { addr: a, uplink };
});

/** ADDR/LENGTH with host bits clear; a bare address is a host prefix, as wg(8) has it. */
export function parsePrefix(s: string): Prefix | Refusal {
  const loose = Prefix.parseLoose(s);
  if (loose === undefined) return new Refusal(`"${s}" is not a prefix (ADDRESS/LENGTH)`);
  if (!loose.prefix.addr.equals(loose.addr))
    return new Refusal(`host bits set in ${s} (did you mean ${loose.prefix}?)`);
  return loose.prefix;
}

const prefix = text('a prefix', parsePrefix);

const interfaceAddr = text('an interface address', (s): InterfaceAddr | Refusal => {
  const loose = Prefix.parseLoose(s);
  if (loose === undefined) return new Refusal(`"${s}" is not an interface address (ADDRESS/LENGTH)`);
  if (loose.addr.isMulticast || loose.addr.isUnspecified) return new Refusal(`${s} cannot be an interface address`);
  return loose;
});

const endpoint = text('an endpoint', (s): WgEndpoint | Refusal => {
  return parseEndpoint(s) ?? new Refusal(`"${s}" is not an endpoint (HOST:PORT, or [IPV6]:PORT)`);
});

// The text of a refused key is never repeated in a message: it may be a private key in the wrong place.
const key = text('a WireGuard key', (s): Uint8Array | Refusal => {
  return parseKey(s.trim()) ?? new Refusal('not a WireGuard key (44 base64 characters, as wg genkey prints them)');
});

const DURATION_UNITS: Readonly<Record<string, number>> = { ms: 0.001, s: 1, m: 60, h: 3600 };

const notDuration = (issue: { readonly input?: unknown }): string => typeMessage('a duration such as 25s', issue.input);

/** Seconds; a bare number counts as seconds. */
const seconds = (max: number) =>
  z
    .union([z.number({ error: notDuration }), z.string({ error: notDuration })], { error: notDuration })
    .transform((value, ctx): number => {
      const m = /^(\d+(?:\.\d+)?)\s*(ms|s|m|h)$/.exec(String(value));
      const n = typeof value === 'number' ? value : m === null ? Number.NaN : Number(m[1]) * DURATION_UNITS[m[2]!]!;
      if (Number.isInteger(n) && n >= 0 && n <= max) return n;
      ctx.issues.push({
        code: 'custom',
        message: `expected whole seconds up to ${max} such as 25s, got ${shown(value)}`,
        input: undefined,
      });
      return z.NEVER;
    });

const SIZE_UNITS: Readonly<Record<string, number>> = { KiB: 1 << 10, MiB: 1 << 20, GiB: 1 << 30 };

const size = text('a size such as 64MiB', (s): number | Refusal => {
  const m = /^(\d+)\s*(KiB|MiB|GiB)$/.exec(s);
  return m === null ? new Refusal(`expected a size such as 64MiB, got "${s}"`) : Number(m[1]) * SIZE_UNITS[m[2]!]!;
});

const NAME = /^[A-Za-z0-9][A-Za-z0-9_.-]{0,31}$/;

const name = text('a name', (s): string | Refusal =>
  NAME.test(s) ? s : new Refusal(`"${s}" is not a name (letters, digits, "_", ".", "-"; at most 32)`),
);

function choice<const T extends readonly [string, ...string[]]>(values: T) {
  return z.enum(values, { error: (issue) => `expected one of ${values.join(', ')}, got ${shown(issue.input)}` });
}

const bool = z.boolean({ error: (issue) => typeMessage('true or false', issue.input) });

/** wg-quick's default: 1500 less IPv6, UDP and WireGuard headers. */
export const DEFAULT_MTU = 1420;
export const DEFAULT_BUFFER_BYTES = 128 << 20;

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

const uplink = object({ wireguard });

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
});

const notAsn = (issue: { readonly input?: unknown }): string => typeMessage('an AS number', issue.input);

/** A number, or text in any notation of RFC 5396 §2; YAML reads 1.10 as a number, so asdot needs "AS" or quotes. */
const asn = z
  .union([z.number({ error: notAsn }), z.string({ error: notAsn })], { error: notAsn })
  .transform((value, ctx): number => {
    const parsed = parseAsn(String(value));
    if (parsed !== undefined) return parsed;
    ctx.issues.push({
      code: 'custom',
      message: `expected an AS number (1-4294967295), got ${shown(value)}`,
      input: undefined,
    });
    return z.NEVER;
  });
const families = list(choice(['ipv4', 'ipv6']), 'address families');

const bgpPeer = object({
  name: name.optional(),
  asn,
  address: addr,
  via: name.optional(),
  port: int(1, 65535, 'a port').default(179),
  families: families.min(1, { error: 'names no address family' }).default(['ipv4', 'ipv6']),
  extended_next_hop: bool.default(true),
  passive: bool.default(false),
  hold_time: seconds(65535).optional(),
  import: choice(['all', 'none']).optional(),
  export: choice(['all', 'own', 'none']).optional(),
  max_prefixes: int(1, 10000000, 'a number of prefixes').optional(),
});

const bgp = object({
  asn,
  router_id: v4,
  listen_port: int(1, 65535, 'a port').default(179),
  networks: list(prefix, 'prefixes').default([]),
  /** `transit` passes routes on between peers, `stub` announces `networks` only. */
  policy: choice(['transit', 'stub']).default('transit'),
  hold_time: seconds(65535).default(90),
  peers: list(bgpPeer, 'peers').default([]),
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
  uplinks: z.record(name, uplink, { error: (issue) => typeMessage('a mapping of uplinks', issue.input) }),
  routes: list(route, 'routes').default([]),
  dns: dns.default({ servers: [], search: [] }),
  source: object({ ipv4: v4.optional(), ipv6: v6.optional() }).default({}),
  bgp: bgp.optional(),
  loopback: choice(['kernel', 'stack']).default('kernel'),
  buffers: size.default(DEFAULT_BUFFER_BYTES),
});

export type ParsedConfig = z.output<typeof configSchema>;

/** The schema editors understand: draft-7, because the YAML language server stops there. */
export function jsonSchema(): unknown {
  return z.toJSONSchema(configSchema, { target: 'draft-7', io: 'input' });
}
