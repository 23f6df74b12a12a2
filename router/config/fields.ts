/**
 * The fields a configuration is made of: zod types that turn text into addresses, prefixes, keys, durations and sizes, and
 * say in the user's words what is wrong with one. Knows no key of the file; the schemas beside it do.
 */
import { z } from 'zod';
import { parseKey } from '../../wg/keys.ts';
import type { WgEndpoint } from '../../wg/model.ts';
import { parseEndpoint } from '../../wg/quick.ts';
import { Addr, Prefix } from '../lib/addr.ts';
import { parseAsn } from '../lib/ranges.ts';
import type { AddrPort } from './bgp-model.ts';
import type { HostAddr, InterfaceAddr, ScopedAddr } from './model.ts';

/** An object that refuses unknown keys; the message of that refusal lists the known ones (load.ts finds the nearest). */
export function object<S extends z.core.$ZodLooseShape>(shape: S) {
  const known = Object.keys(shape).join(', ');
  return z.strictObject(shape, {
    error: (issue) => (issue.code === 'unrecognized_keys' ? known : typeMessage('a mapping', issue.input)),
  });
}

export function typeMessage(wanted: string, input: unknown): string {
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
export function text<T>(wanted: string, parse: (s: string) => T | Refusal): z.ZodType<T> {
  return z
    .string({ error: (issue) => typeMessage(wanted, issue.input) })
    .transform((s, ctx): T => {
      const value = parse(s);
      if (!(value instanceof Refusal)) return value;
      ctx.issues.push({ code: 'custom', message: value.message, input: undefined });
      return z.NEVER;
    })
    .meta({ title: wanted });
}

export class Refusal {
  readonly message: string;
  constructor(message: string) {
    this.message = message;
  }
}

export function list<T extends z.ZodType>(item: T, what: string) {
  return z.array(item, { error: (issue) => typeMessage(`a list of ${what}`, issue.input) });
}

/** One value, or a list of them. */
export function some<T extends z.ZodType>(item: T, what: string) {
  return z
    .union([list(item, what).min(1, { error: `names none of ${what}` }), item])
    .transform((v): z.output<T>[] => (Array.isArray(v) ? v : [v]));
}

export function int(min: number, max: number, what: string) {
  const error = (issue: { readonly input?: unknown }): string =>
    issue.input === undefined ? 'is missing' : `expected ${what} (${min}-${max}), got ${shown(issue.input)}`;
  return z.int({ error }).min(min, { error }).max(max, { error });
}

export const addr = text(
  'an address',
  (s): Addr | Refusal => Addr.parse(s) ?? new Refusal(`"${s}" is not an IPv4 or IPv6 address`),
);

export const v4 = text('an IPv4 address', (s): Addr | Refusal => {
  const a = Addr.parse(s);
  return a?.family === 4 ? a : new Refusal(`"${s}" is not an IPv4 address`);
});

export const v6 = text('an IPv6 address', (s): Addr | Refusal => {
  const a = Addr.parse(s);
  return a?.family === 6 ? a : new Refusal(`"${s}" is not an IPv6 address`);
});

export const scopedAddr = text('an address', (s): ScopedAddr | Refusal => {
  const percent = s.indexOf('%');
  const a = Addr.parse(percent < 0 ? s : s.slice(0, percent));
  if (a === undefined) return new Refusal(`"${s}" is not an IPv4 or IPv6 address`);
  const uplink = percent < 0 ? undefined : s.slice(percent + 1);
  if (a.family === 6 && a.isLinkLocal && uplink === undefined)
    return new Refusal(`link-local ${s} needs the uplink it is on: ${s}%UPLINK`);
  return { addr: a, uplink };
});

/** A name of an interface as Linux takes it. */
export const INTERFACE = /^[^\s/%]{1,15}$/;

/** An address, or ADDRESS%INTERFACE for a link-local one; check.ts knows where the interface may be missing. */
export const hostAddr = text('an address', (s): HostAddr | Refusal => {
  const percent = s.indexOf('%');
  const addr = Addr.parse(percent < 0 ? s : s.slice(0, percent));
  if (addr === undefined) return new Refusal(`"${s}" is not an IPv4 or IPv6 address`);
  const zone = percent < 0 ? undefined : s.slice(percent + 1);
  if (zone === undefined) return { addr, zone };
  if (addr.family === 4 || !addr.isLinkLocal) return new Refusal(`${addr} is not link-local: it is of no interface`);
  return INTERFACE.test(zone) ? { addr, zone } : new Refusal(`"${zone}" is not the name of an interface`);
});

/** An address of this host with a port. */
export const addrPort = text('ADDRESS:PORT', (s): AddrPort | Refusal => {
  const e = parseEndpoint(s);
  const [host = '', zone] = e?.host.split('%') ?? [];
  const address = Addr.parse(host);
  if (e === undefined || address === undefined) return new Refusal(`"${s}" is not ADDRESS:PORT, or [IPV6]:PORT`);
  const isOfLink = address.family === 6 && address.isLinkLocal;
  if (isOfLink !== (zone !== undefined))
    return new Refusal(
      isOfLink
        ? `link-local ${host} needs the interface it is on: [${host}%INTERFACE]:${e.port}`
        : `${host} is not link-local: it is of no interface`,
    );
  return { address, port: e.port, ...(zone !== undefined && { zone }) };
});

/** A file; load.ts makes it absolute, starting at the folder of the configuration file. */
export const path = text('a file', (s): string | Refusal => (s === '' ? new Refusal('names no file') : s));

/** ADDR/LENGTH with host bits clear; a bare address is a host prefix, as wg(8) has it. */
export function parsePrefix(s: string): Prefix | Refusal {
  const loose = Prefix.parseLoose(s);
  if (loose === undefined) return new Refusal(`"${s}" is not a prefix (ADDRESS/LENGTH)`);
  if (!loose.prefix.addr.equals(loose.addr))
    return new Refusal(`host bits set in ${s} (did you mean ${loose.prefix}?)`);
  return loose.prefix;
}

export const prefix = text('a prefix', parsePrefix);

export const interfaceAddr = text('an interface address', (s): InterfaceAddr | Refusal => {
  const loose = Prefix.parseLoose(s);
  if (loose === undefined) return new Refusal(`"${s}" is not an interface address (ADDRESS/LENGTH)`);
  if (loose.addr.isMulticast || loose.addr.isUnspecified) return new Refusal(`${s} cannot be an interface address`);
  return loose;
});

export const endpoint = text('an endpoint', (s): WgEndpoint | Refusal => {
  return parseEndpoint(s) ?? new Refusal(`"${s}" is not an endpoint (HOST:PORT, or [IPV6]:PORT)`);
});

// The text of a refused key is never repeated in a message: it may be a private key in the wrong place.
export const key = text('a WireGuard key', (s): Uint8Array | Refusal => {
  return parseKey(s.trim()) ?? new Refusal('not a WireGuard key (44 base64 characters, as wg genkey prints them)');
});

const DURATION_UNITS: Readonly<Record<string, number>> = { ms: 0.001, s: 1, m: 60, h: 3600 };

const notDuration = (issue: { readonly input?: unknown }): string => typeMessage('a duration such as 25s', issue.input);

/** Seconds; a bare number counts as seconds. */
export const seconds = (max: number) =>
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
    })
    .meta({ title: 'a duration such as 25s' });

/** Milliseconds; a bare number counts as milliseconds. */
export const milliseconds = (min: number, max: number) =>
  z
    .union([z.number({ error: notDuration }), z.string({ error: notDuration })], { error: notDuration })
    .transform((value, ctx): number => {
      const m = /^(\d+(?:\.\d+)?)\s*(ms|s|m|h)$/.exec(String(value));
      const n =
        typeof value === 'number' ? value : m === null ? Number.NaN : Number(m[1]) * DURATION_UNITS[m[2]!]! * 1000;
      if (n >= min && n <= max) return n;
      ctx.issues.push({
        code: 'custom',
        message: `expected ${min} to ${max} ms such as 300ms, got ${shown(value)}`,
        input: undefined,
      });
      return z.NEVER;
    })
    .meta({ title: 'a duration such as 300ms' });

const SIZE_UNITS: Readonly<Record<string, number>> = { KiB: 1 << 10, MiB: 1 << 20, GiB: 1 << 30 };

export const size = text('a size such as 64MiB', (s): number | Refusal => {
  const m = /^(\d+)\s*(KiB|MiB|GiB)$/.exec(s);
  return m === null ? new Refusal(`expected a size such as 64MiB, got "${s}"`) : Number(m[1]) * SIZE_UNITS[m[2]!]!;
});

/** How uplinks, peers and the like may be called. */
export const NAME = /^[A-Za-z0-9][A-Za-z0-9_.-]{0,31}$/;

export const name = text('a name', (s): string | Refusal =>
  NAME.test(s) ? s : new Refusal(`"${s}" is not a name (letters, digits, "_", ".", "-"; at most 32)`),
);

export function choice<const T extends readonly [string, ...string[]]>(values: T) {
  return z.enum(values, { error: (issue) => `expected one of ${values.join(', ')}, got ${shown(issue.input)}` });
}

export const bool = z.boolean({ error: (issue) => typeMessage('true or false', issue.input) });

/** `true`, `false`, or more than that. */
export function boolOr<T extends z.ZodType>(more: T) {
  return z.union([bool, more], { error: (issue) => typeMessage('true, false or a number', issue.input) });
}

/** Marks, for the JSON Schema, a mapping that may be written as a boolean. */
export const MAY_BE_BOOLEAN = 'mayBeBoolean';

/** A mapping that may be left at its defaults by `true`, or out by `false`. */
export function trueOr<S extends z.core.$ZodLooseShape>(shape: S) {
  return z
    .preprocess((v) => (v === true ? {} : v === false ? undefined : v), object(shape).optional())
    .meta({ [MAY_BE_BOOLEAN]: true });
}

// The text of a refused password is never repeated in a message.
/** A shared secret of 1 to `max` octets of UTF-8. */
export const secret = (max: number) =>
  z.string({ error: 'expected a password: text in quotes' }).refine((s) => s !== '' && Buffer.byteLength(s) <= max, {
    error: `expected a password of 1 to ${max} octets`,
  });

const notAsn = (issue: { readonly input?: unknown }): string => typeMessage('an AS number', issue.input);

/** A number, or text in any notation of RFC 5396 §2; YAML reads 1.10 as a number, so asdot needs "AS" or quotes. */
export const asn = z
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
  })
  .meta({ title: 'an AS number' });
