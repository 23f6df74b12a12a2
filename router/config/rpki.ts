/** The `bgp.rpki` part of a configuration: where ROAs come from. Its shape, its values, and what must fit together. */
import { dirname, resolve } from 'node:path';
import { Addr } from '../lib/addr.ts';
import { bool, int, list, name, object, Refusal, seconds, text } from './fields.ts';
import type { Path, SourceTree } from './tree.ts';
import { Unique } from './unique.ts';

/** A cache that speaks RTR (RFC 8210). */
export interface RtrServerConfig {
  /** HOST:PORT, as shown. */
  readonly name: string;
  /** Name or address. */
  readonly host: string;
  readonly port: number;
  /** The uplink it is reached by, or `routed`: by our own routing table; else over the host's network. */
  readonly via: string | undefined;
  readonly routed: boolean;
  /** Lower is better: worse ones are used while all better ones fail. */
  readonly preference: number;
  /** Seconds; undefined = what the cache asks for. */
  readonly refreshS: number | undefined;
  readonly retryS: number | undefined;
  readonly expireS: number | undefined;
}

/** A file of ROAs, or a URL that serves one. */
export interface RoaFileConfig {
  /** As the user wrote it. */
  readonly name: string;
  /** Absolute path, or the URL. */
  readonly location: string;
  readonly isUrl: boolean;
}

export interface RpkiConfig {
  readonly servers: readonly RtrServerConfig[];
  readonly files: readonly RoaFileConfig[];
  /** How often files are read and caches are asked without being told to, in seconds; caches have a say of their own. */
  readonly refreshS: number;
}

export const DEFAULT_REFRESH_S = 900;
/** IANA has 323 for RTR; caches of DN42 and StayRTR listen on this one. */
const RTR_PORT = 8282;
const DAY_S = 86_400;

const host = text('a host', (s): string | Refusal =>
  /^[A-Za-z0-9.:_-]{1,253}$/.test(s) ? s : new Refusal(`"${s}" is not a host name or address`),
);

const server = object({
  host,
  port: int(1, 65535, 'a port').default(RTR_PORT),
  via: name.optional(),
  routed: bool.default(false),
  preference: int(1, 255, 'a preference').default(1),
  refresh: seconds(DAY_S).optional(),
  retry: seconds(7200).optional(),
  expire: seconds(2 * DAY_S).optional(),
});

/** Whether a source of ROAs is one that is fetched. */
export function isUrl(file: string): boolean {
  return /^https?:\/\//i.test(file);
}

const file = text('a file or URL', (s): string | Refusal => {
  if (s.trim() === '') return new Refusal('names no file');
  if (/^[a-z][a-z0-9+.-]*:\/\//i.test(s) && !isUrl(s))
    return new Refusal(`"${s}" is neither a file nor an http(s) URL`);
  return s;
});

export const rpki = object({
  servers: list(server, 'servers').default([]),
  files: list(file, 'files').default([]),
  refresh: seconds(DAY_S).default(DEFAULT_REFRESH_S),
});

/** Each source is one bit of the table (bgp/rpki/roa-table.ts). */
const MAX_SOURCES = 31;

interface ParsedServer {
  readonly host: string;
  readonly port: number;
  readonly via?: string | undefined;
  readonly routed: boolean;
  readonly preference: number;
  readonly refresh?: number | undefined;
  readonly retry?: number | undefined;
  readonly expire?: number | undefined;
}

export interface ParsedRpki {
  readonly servers: readonly ParsedServer[];
  readonly files: readonly string[];
  readonly refresh: number;
}

export function checkRpki(tree: SourceTree, c: ParsedRpki, at: Path): void {
  const places = new Unique<string>(tree, 'ROA source');
  for (const [i, s] of c.servers.entries()) {
    const here: Path = [...at, 'servers', i];
    places.add(`${s.host}:${s.port}%${s.via ?? ''}`, here, `${s.host}:${s.port}`);
    if (s.via !== undefined && s.routed)
      tree.report('error', [...here, 'routed'], 'a cache is reached by an uplink ("via") or by routing, not both');
    if ((s.via !== undefined || s.routed) && Addr.parse(s.host) === undefined)
      tree.report('error', [...here, 'host'], `a cache inside our network is given by its address, not "${s.host}"`);
    const [refresh, retry, expire] = [s.refresh ?? 0, s.retry ?? 0, s.expire ?? Infinity];
    // RFC 8210 §6: "MUST be set to a value larger than both".
    if (expire <= Math.max(refresh, retry))
      tree.report('error', [...here, 'expire'], 'must be longer than refresh and retry');
  }
  for (const [i, f] of c.files.entries()) places.add(f, [...at, 'files', i], `"${f}"`);
  if (c.servers.length + c.files.length > MAX_SOURCES)
    tree.report('error', at, `more than ${MAX_SOURCES} sources of ROAs`);
  if (c.refresh < 1) tree.report('error', [...at, 'refresh'], 'must be at least 1s');
}

/** @param configPath absolute path of the configuration; files are relative to its folder */
export function toRpki(c: ParsedRpki, configPath: string): RpkiConfig {
  return {
    servers: c.servers.map((s) => ({
      name: s.host.includes(':') ? `[${s.host}]:${s.port}` : `${s.host}:${s.port}`,
      host: s.host,
      port: s.port,
      via: s.via,
      routed: s.routed,
      preference: s.preference,
      refreshS: s.refresh,
      retryS: s.retry,
      expireS: s.expire,
    })),
    files: c.files.map((f) => ({
      name: f,
      location: isUrl(f) ? f : resolve(dirname(configPath), f),
      isUrl: isUrl(f),
    })),
    refreshS: c.refresh,
  };
}
