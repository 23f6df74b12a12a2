/** The `fpm` part of a configuration: its shape, its values, and what must fit together. */
import { z } from 'zod';
import { Addr, Prefix } from '../lib/addr.ts';
import { bool, list, name, object, prefix, Refusal, seconds, text, typeMessage } from './fields.ts';
import type { SourceTree } from './tree.ts';

/** FRR's default port of a forwarding plane manager. */
export const FPM_PORT = 2620;

/** A server other routing daemons (FRR) tell their routes to. */
export interface FpmConfig {
  readonly listen: { readonly addr: Addr; readonly port: number };
  /** Who may connect. */
  readonly allow: readonly Prefix[];
  /** Uplinks by the client's interfaces, each named or numbered. */
  readonly interfaces: readonly { readonly interface: string; readonly uplink: string }[];
  /** VRFs by the client's routing tables; the main table is the main VRF. */
  readonly tables: readonly { readonly table: number; readonly vrf: string }[];
  /** How long routes outlive the connection they came by. */
  readonly holdTimeS: number;
  /** How long after a reconnect routes wait for being told again. */
  readonly staleTimeS: number;
  /** Whether routes that were taken are told back. */
  readonly confirm: boolean;
}

const listen = text('an address such as 127.0.0.1:2620', (s): FpmConfig['listen'] | Refusal => {
  const m = /^(?:\[([^\]]+)\]|([^:[\]]+))(?::(\d{1,5}))?$/.exec(s);
  const addr = m === null ? undefined : Addr.parse((m[1] ?? m[2])!);
  const port = Number(m?.[3] ?? FPM_PORT);
  if (addr === undefined || port < 1 || port > 65535)
    return new Refusal(`"${s}" is not ADDRESS:PORT (an IPv6 address stands in brackets)`);
  return { addr, port };
});

const LOOPBACK = [Prefix.parse('127.0.0.0/8')!, Prefix.parse('::1/128')!];

const tableNumber = text('a table', (s): string | Refusal => {
  const n = Number(s);
  return Number.isInteger(n) && n > 0 && n < 2 ** 32 && n !== 254
    ? s
    : new Refusal(`"${s}" is not the number of a routing table (1-4294967295, not 254: that is the main one)`);
});

export const fpm = object({
  listen: listen.default({ addr: Addr.parse('127.0.0.1')!, port: FPM_PORT }),
  allow: list(prefix, 'prefixes').optional(),
  interfaces: z
    .record(name, name, { error: (issue) => typeMessage('a mapping of interfaces to uplinks', issue.input) })
    .default({}),
  tables: z
    .record(tableNumber, name, { error: (issue) => typeMessage('a mapping of tables to VRFs', issue.input) })
    .default({}),
  hold_time: seconds(86400).default(120),
  stale_time: seconds(86400).default(60),
  confirm: bool.default(false),
});

export type ParsedFpm = z.output<typeof fpm>;

/** Whoever connects installs routes, so a server that is not on loopback must say whom it expects. */
export function checkFpm(tree: SourceTree, c: ParsedFpm): void {
  if (c.listen.addr.isLoopback || c.allow !== undefined) return;
  tree.report(
    'error',
    ['fpm', 'listen'],
    `${c.listen.addr} can be reached by others, who could install routes: say who may connect ("allow: [PREFIX]")`,
  );
}

export function toFpm(c: ParsedFpm): FpmConfig {
  return {
    listen: c.listen,
    allow: c.allow ?? LOOPBACK,
    interfaces: Object.entries(c.interfaces).map(([key, uplink]) => ({ interface: key, uplink })),
    tables: Object.entries(c.tables).map(([table, vrf]) => ({ table: Number(table), vrf })),
    holdTimeS: c.hold_time,
    staleTimeS: c.stale_time,
    confirm: c.confirm,
  };
}
