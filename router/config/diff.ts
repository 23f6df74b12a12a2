/**
 * What is different between two configurations, in the words of the file, and what each difference means for a running
 * router. Pure. Secrets are compared, never shown.
 */
import type { AggregateConfig } from '../../bgp/origination.ts';
import { communityTexts } from '../../bgp/policy/text.ts';
import { distinguisherText, type EightOctets, routeTargetText } from '../../bgp/vpn/route-distinguisher.ts';
import { Addr, Prefix } from '../lib/addr.ts';
import type { FilterModule, RuleList } from './bgp-model.ts';
import type { Config } from './model.ts';

/**
 * What it takes: `live` = nothing is interrupted, `session` = that BGP session restarts, `uplink` = that uplink and what
 * runs over it restarts, `routing` = all BGP sessions restart, while packets go by the routes there are, `restart` = only a new
 * start of the router can do it.
 */
export type Effect = 'live' | 'session' | 'uplink' | 'routing' | 'restart';

export interface ConfigChange {
  /** As in the file, with names instead of numbers: `bgp.peers.b.import`. */
  readonly path: string;
  readonly kind: 'added' | 'removed' | 'changed';
  /** Values in a few words; empty for parts that are whole sections. */
  readonly before: string;
  readonly after: string;
  readonly effect: Effect;
}

type Tree = { readonly [key: string]: Tree | string };

/** All differences, in the order of the file's sections. */
export function diffConfig(before: Config, after: Config): ConfigChange[] {
  const changes: ConfigChange[] = [];
  compare('', treeOf(before), treeOf(after), changes);
  return changes;
}

/** Whether the router can make these changes while it runs. */
export function isReloadable(changes: readonly ConfigChange[]): boolean {
  return changes.every((c) => c.effect !== 'restart');
}

function compare(path: string, a: Tree, b: Tree, out: ConfigChange[]): void {
  for (const key of new Set([...Object.keys(a), ...Object.keys(b)])) {
    const below = path === '' ? key : `${path}.${key}`;
    const x = a[key];
    const y = b[key];
    if (x === undefined || y === undefined) {
      const kind = x === undefined ? 'added' : 'removed';
      out.push({ path: below, kind, before: leaf(x), after: leaf(y), effect: effectOf(below, x ?? y) });
    } else if (typeof x !== 'string' && typeof y !== 'string') compare(below, x, y, out);
    else if (x !== y) {
      const [before, after] = [leaf(treeText(x)), leaf(treeText(y))];
      out.push({ path: below, kind: 'changed', before, after, effect: effectOf(below, y) });
    }
  }
}

/** Where one side is a single value, the other one is shown beside it. */
function treeText(v: Tree | string): string {
  if (typeof v === 'string') return v;
  const parts = Object.entries(v).map(([key, inner]) => `${key}: ${treeText(inner)}`);
  return parts.length === 0 ? '' : `{ ${parts.join(', ')} }`;
}

const MAX_SHOWN = 40;

/** Secrets stand between two of these (a character of nobody's text), so that they compare and do not show. */
const MARK = '\ue000';

function leaf(v: Tree | string | undefined): string {
  if (typeof v !== 'string') return '';
  const shown = v
    .split(MARK)
    .map((part, i) => (i % 2 === 0 ? part : '(secret)'))
    .join('');
  return shown.length <= MAX_SHOWN ? shown : `${shown.slice(0, MAX_SHOWN - 3)}...`;
}

/** What keeps a value for as long as the process runs, and why. */
const FIXED: Readonly<Record<string, string>> = {
  backend: 'applications have been started for it',
  isolation: 'uplinks have been set up by it',
  loopback: 'applications hold sockets that were made by it',
  buffers: 'memory is divided at the start',
};

/** Why a change needs a new start. */
export function whyFixed({ path }: ConfigChange): string {
  return `${path} (${FIXED[path.split('.')[0]!] ?? 'it is read at the start only'})`;
}

/** Settings of an uplink that make it another link. */
const LINK_KEYS: readonly string[] = ['kernel', 'vrf'];
/** Those of its tunnel. */
const DEVICE_KEYS: readonly string[] = ['mtu', 'addresses'];

/** Who we are: another speaker. */
const SPEAKER_KEYS: readonly string[] = ['asn', 'router_id', 'cluster_id', 'confederation'];

/** Settings of a peer that neither its OPEN nor its connection depends on. The speaker's view: PARTS in bgp/reconfigure.ts. */
const LIVE_PEER_KEYS: readonly string[] = [
  'description',
  'import',
  'export',
  'dn42',
  'graceful_shutdown',
  'accept_blackhole',
  'allow_own_as',
  'delegated',
  'as_override',
  'remove_private_as',
  'next_hop_self',
  'third_party_next_hop',
  'default_originate',
  'add_path_limit',
  'max_prefixes',
  'max_peers',
  'send_hold_time',
  'connect_retry',
  'delay_open',
];

/** @param value what is there now, or was there */
function effectOf(path: string, value: Tree | string): Effect {
  const [section, part, third, key, ...deeper] = path.split('.');
  switch (section) {
    case 'rules':
    case 'groups':
    case 'routes':
    case 'vrfs':
    case 'dns':
    case 'source':
    case 'fpm':
    case 'bird_socket':
    case 'strict':
      return 'live';
    case 'uplinks':
      return third !== undefined && isOfLink(third, key) ? 'uplink' : 'live';
    case 'bgp':
      if (part === undefined || SPEAKER_KEYS.includes(part)) return 'routing';
      // RFC 4724 §3, RFC 9494 §3.1: told in OPEN.
      if (part === 'graceful_restart') return third === 'stale_time' ? 'live' : 'session';
      return part === 'peers' && key !== undefined ? peerEffect(key, deeper, value) : 'live';
    default:
      return 'restart';
  }
}

/** A tunnel that becomes a path of the host, or the other way round, is another link, too. */
function isOfLink(part: string, key: string | undefined): boolean {
  if (part !== 'wireguard') return LINK_KEYS.includes(part);
  return key === undefined || DEVICE_KEYS.includes(key);
}

function peerEffect(key: string, deeper: readonly string[], value: Tree | string): Effect {
  if (key !== 'bfd') return LIVE_PEER_KEYS.includes(key) ? 'live' : 'session';
  // Only a session that waits for BFD depends on it.
  const isStrict = typeof value === 'object' ? value['strict'] === 'true' : deeper[0] === 'strict';
  return isStrict ? 'session' : 'live';
}

const SECRETS: readonly string[] = ['private_key', 'preshared_key', 'password'];

function treeOf(config: Config): Tree {
  const { file: _, ...rest } = config;
  if (rest.bgp === undefined) return branch(rest);
  // Lines that moved are no difference.
  const { rulePlaces: _places, ...bgp } = rest.bgp;
  return branch({ ...rest, bgp });
}

function branch(o: object): Tree {
  const out: Record<string, Tree | string> = {};
  for (const [name, value] of Object.entries(o)) {
    // A peer's `host` is a yes or no.
    const key = name === 'host' && typeof value === 'object' ? 'kernel' : keyText(name);
    if (value === undefined) continue;
    // Settings that stand together in memory stand beside the others in the file.
    if (['routing', 'session', 'policy', 'question'].includes(key)) Object.assign(out, branch(value as object));
    // Their order counts.
    else if (key === 'rules') out[key] = valueText(value);
    // Ranges stand among the peers, too.
    else if (key === 'ranges') out['peers'] = { ...(out['peers'] as Tree), ...(nodeOf(value) as Tree) };
    else if (key === 'filters') out[key] = moduleText(value as FilterModule);
    else if (key === 'rd') out[key] = distinguisherText(value as EightOctets);
    else if (name.endsWith('Targets')) out[key] = (value as readonly EightOctets[]).map(routeTargetText).join(', ');
    else out[key] = SECRETS.includes(key) ? secretText(value) : nodeOf(value);
  }
  return out;
}

/** What it says comes first: long paths are cut. */
function moduleText({ path, digest }: FilterModule): string {
  return `${digest} ${path}`;
}

function secretText(v: unknown): string {
  return `${MARK}${valueText(v)}${MARK}`;
}

const RENAMED: Readonly<Record<string, string>> = { bufferBytes: 'buffers', sendHoldMs: 'send_hold_time' };

/** `holdTimeS` is `hold_time` in the file, `importPolicy` is `import`. */
function keyText(name: string): string {
  const renamed = RENAMED[name];
  if (renamed !== undefined) return renamed;
  return name.replace(/(S|Ms|Policy|Targets)$/, '').replace(/[A-Z]/g, (c) => `_${c.toLowerCase()}`);
}

function nodeOf(v: unknown): Tree | string {
  if (Array.isArray(v)) return listOf(v);
  if (typeof v !== 'object' || v === null || isValue(v)) return valueText(v);
  if ('written' in v && 'rules' in v) return rulesText(v as RuleList);
  if (Object.values(v).every((inner) => inner === undefined)) return '';
  return branch(v);
}

/** A policy by the name the file has for it, when that says more than how many rules there are. */
function rulesText({ written, rules }: RuleList): string {
  return written.startsWith('rules (') ? valueText(rules) : `${written} ${valueText(rules)}`;
}

/** Lists of things with names, prefixes or targets are compared by those; others as a whole. */
function listOf(list: readonly unknown[]): Tree | string {
  const named: Record<string, Tree | string> = {};
  for (const item of list) {
    const name = nameOf(item);
    if (name === undefined || name in named) return valueText(list);
    if (item instanceof Prefix) named[name] = 'yes';
    else named[name] = isOwnRoute(item) ? ownRouteText(item) : branch(item as object);
  }
  return named;
}

function nameOf(item: unknown): string | undefined {
  if (item instanceof Prefix) return String(item);
  if (isOwnRoute(item)) return String(item.prefix);
  if (typeof item !== 'object' || item === null) return undefined;
  const { name, to, publicKey, prefix } = item as Readonly<Record<string, unknown>>;
  if (prefix instanceof Prefix && 'summaryOnly' in item) return String(prefix);
  if (typeof name === 'string') return name.replaceAll('.', '_');
  if (publicKey instanceof Uint8Array) return valueText(publicKey).slice(0, 8);
  return to instanceof Prefix ? String(to) : undefined;
}

/** A network or an aggregate. An address of an interface has a prefix as well. */
function isOwnRoute(item: unknown): item is AggregateConfig {
  return typeof item === 'object' && item !== null && 'prefix' in item && !('addr' in item);
}

/** `{ med: 10, communities: [64511:5] }`, as in the file. */
function ownRouteText(own: AggregateConfig): string {
  const communities = communityTexts(own);
  const parts = [
    own.summaryOnly === true ? ['summary_only: true'] : [],
    own.med === undefined ? [] : [`med: ${own.med}`],
    own.localPref === undefined ? [] : [`local_pref: ${own.localPref}`],
    communities.length === 0 ? [] : [`communities: [${communities.join(', ')}]`],
  ].flat();
  return parts.length === 0 ? 'yes' : `{ ${parts.join(', ')} }`;
}

function isValue(v: object): boolean {
  return v instanceof Addr || v instanceof Prefix || ArrayBuffer.isView(v);
}

/** A value as text that is equal exactly when the values are. */
function valueText(v: unknown): string {
  if (v instanceof Addr || v instanceof Prefix) return String(v);
  if (v instanceof Uint8Array) return Buffer.from(v).toString('base64');
  if (Array.isArray(v)) return `[${v.map(valueText).join(', ')}]`;
  if (typeof v === 'object' && v !== null) {
    const inner = Object.entries(v).filter(([, x]) => x !== undefined);
    const texts = inner.map(([name, x]) => {
      const key = keyText(name);
      return `${key}: ${SECRETS.includes(key) ? secretText(x) : valueText(x)}`;
    });
    return `{ ${texts.join(', ')} }`;
  }
  return String(v);
}
