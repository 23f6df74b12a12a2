/**
 * Keys of a peer that say how its session behaves: who the peer may be, what is negotiated, what is kept over a restart, how
 * much it may announce. Their shape, their meaning as values, and what must fit together.
 */
import { z } from 'zod';
import type { MaxPrefixes } from '../../bgp/limits.ts';
import type { PeerConfig } from '../../bgp/peer-config.ts';
import { asn, bool, choice, int, list, object, seconds } from './fields.ts';
import type { Path, SourceTree } from './tree.ts';

const MINUTE_S = 60;
const HOUR_S = 3600;

/** One AS, any but ours, ours, or one of several. */
export const peerAsn = z.union([asn, choice(['external', 'internal']), list(asn, 'AS numbers').min(1)]);

const prefixCount = int(1, 10_000_000, 'a number of prefixes');

const maxPrefixes = z.union([
  prefixCount,
  object({
    limit: prefixCount,
    warn_at: int(1, 100, 'a percentage').optional(),
    action: choice(['warn', 'restart', 'down']).optional(),
    restart_after: seconds(7 * 24 * HOUR_S).optional(),
    count: choice(['accepted', 'received']).optional(),
  }),
]);

/** Keys of a peer; bgp-schema.ts puts them beside those of its address and its policies. */
export const sessionKeys = {
  send_hold_time: seconds(65535).optional(),
  delay_open: seconds(10 * MINUTE_S).optional(),
  connect_retry: seconds(HOUR_S).optional(),
  link_local_form: choice(['single', 'double', 'native']).optional(),
  link_local_capability: bool.default(false),
  max_prefixes: maxPrefixes.optional(),
  add_path: choice(['receive', 'send', 'both']).optional(),
  add_path_limit: int(1, 1000, 'a number of paths').optional(),
  role: choice(['provider', 'customer', 'peer', 'route-server', 'route-server-client']).optional(),
  strict_role: bool.default(false),
  graceful_restart: z.union([bool, choice(['helper'])]).default('helper'),
  max_peers: int(1, 10_000, 'a number of peers').optional(),
  shutdown: bool.default(false),
};

/** Times of RFC 4724 and RFC 9494; they are the same for all peers. */
export const gracefulRestart = object({
  restart_time: seconds(4095).default(2 * MINUTE_S), // RFC 4724 §3: 12 bits
  stale_time: seconds(24 * HOUR_S).default(6 * MINUTE_S),
  long_lived: seconds(0xffffff).default(0), // RFC 9494 §3.1: 24 bits
});

const session = object(sessionKeys);
type ParsedSession = z.output<typeof session>;

/** What these keys say to the speaker. */
export type BgpSessionConfig = Pick<
  PeerConfig,
  | 'sendHoldMs'
  | 'delayOpenMs'
  | 'connectRetryMs'
  | 'linkLocalForm'
  | 'linkLocalCapability'
  | 'maxPrefixes'
  | 'addPath'
  | 'addPathLimit'
  | 'role'
  | 'strictRole'
  | 'gracefulRestart'
  | 'shutdown'
>;

export function toSession(p: ParsedSession): BgpSessionConfig {
  return {
    linkLocalCapability: p.link_local_capability,
    strictRole: p.strict_role,
    gracefulRestart: p.graceful_restart,
    shutdown: p.shutdown,
    ...(p.send_hold_time !== undefined && { sendHoldMs: p.send_hold_time * 1000 }),
    ...(p.delay_open !== undefined && { delayOpenMs: p.delay_open * 1000 }),
    ...(p.connect_retry !== undefined && { connectRetryMs: p.connect_retry * 1000 }),
    ...(p.link_local_form !== undefined && { linkLocalForm: p.link_local_form }),
    ...(p.max_prefixes !== undefined && { maxPrefixes: toMaxPrefixes(p.max_prefixes) }),
    ...(p.add_path !== undefined && { addPath: p.add_path }),
    ...(p.add_path_limit !== undefined && { addPathLimit: p.add_path_limit }),
    ...(p.role !== undefined && { role: p.role }),
  };
}

function toMaxPrefixes(m: NonNullable<ParsedSession['max_prefixes']>): number | MaxPrefixes {
  if (typeof m === 'number') return m;
  return {
    limit: m.limit,
    ...(m.warn_at !== undefined && { warnAt: m.warn_at }),
    ...(m.action !== undefined && { action: m.action }),
    ...(m.restart_after !== undefined && { restartAfterMs: m.restart_after * 1000 }),
    ...(m.count !== undefined && { count: m.count }),
  };
}

/** What must fit together in the keys of one peer. */
export function checkSession(tree: SourceTree, p: ParsedSession, at: Path): void {
  const m = p.max_prefixes;
  if (typeof m === 'object' && m.restart_after !== undefined && m.action !== undefined && m.action !== 'restart')
    tree.report('error', [...at, 'max_prefixes', 'restart_after'], `has no meaning with action: ${m.action}`);
  if (p.strict_role && p.role === undefined)
    tree.report('error', [...at, 'strict_role'], 'which role? say "role: customer" or another one');
  if (p.add_path_limit !== undefined && (p.add_path === undefined || p.add_path === 'receive'))
    tree.report('error', [...at, 'add_path_limit'], 'limits what is sent: say "add_path: send" or "both"');
  // RFC 9687 §3: a timer that fires before a hold timer could is no help.
  if (p.send_hold_time === 0)
    tree.report('error', [...at, 'send_hold_time'], 'must not be zero; leave it out for the default');
}
