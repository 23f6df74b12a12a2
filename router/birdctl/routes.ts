/**
 * Routes in the words of `show route [all]` of BIRD 2. Read first: the golden texts of test/router/birdctl, which are
 * BIRD's own. Pure.
 */
import { type AsPath, SegmentType } from '../../bgp/wire/attribute/as-path.ts';
import { Community } from '../../bgp/wire/attribute/communities.ts';
import { extendedCommunityText } from '../../bgp/wire/attribute/extended-communities.ts';
import type { Attributes, NextHop } from '../../bgp/wire/attribute/model.ts';
import type { Addr } from '../lib/addr.ts';
import { Code, type Line } from './reply.ts';

/** A route as BIRD would have it. */
export interface BirdRoute {
  /** Empty for the second and further routes of a prefix. */
  readonly prefix: string;
  readonly protocol: string;
  readonly since: string;
  /** The peer, where that is not the next hop. */
  readonly from: Addr | undefined;
  readonly isPrimary: boolean;
  /** Undefined for prefixes of our own. */
  readonly attrs: (Attributes & { readonly nextHop: NextHop | undefined; readonly preference: number }) | undefined;
  readonly via: { readonly gateway: Addr; readonly interface: string } | undefined;
}

const STATIC_PREFERENCE = 200;
const BGP_PREFERENCE = 100;
const ORIGIN_LETTER = ['i', 'e', '?'] as const;
const ORIGIN_TEXT = ['IGP', 'EGP', 'Incomplete'] as const;

/** The lines of one route. @param all with its attributes */
export function routeLines(r: BirdRoute, all: boolean): Line[] {
  const kind = r.via === undefined ? 'unreachable' : 'unicast';
  const from = r.from === undefined ? '' : ` from ${r.from}`;
  const best = r.isPrimary ? ' *' : '';
  // Of routes that outlive their session BIRD marks those of RFC 9494 only; sessions tell the rest.
  const stale = r.attrs?.communities.includes(Community.LlgrStale) === true ? 's' : '';
  const preference = r.attrs === undefined ? STATIC_PREFERENCE : `${BGP_PREFERENCE}${stale}`;
  const tail = r.attrs === undefined ? '' : ` [${lastAs(r.attrs.asPath)}${ORIGIN_LETTER[r.attrs.origin] ?? '?'}]`;
  const lines: Line[] = [
    [Code.Route, `${r.prefix.padEnd(20)} ${kind} [${r.protocol} ${r.since}${from}]${best} (${preference})${tail}`],
  ];
  if (r.via !== undefined) lines.push([Code.Route, `\tvia ${r.via.gateway} on ${r.via.interface}`]);
  if (!all) return lines;
  lines.push([Code.RouteDetails, `\tType: ${r.attrs === undefined ? 'static' : 'BGP'} univ`]);
  if (r.attrs !== undefined) for (const a of attributeTexts(r.attrs)) lines.push([Code.Attributes, `\tBGP.${a}`]);
  return lines;
}

/** `AS65000` of a path that ends in a sequence. */
function lastAs(path: AsPath): string {
  const last = path.at(-1);
  return last?.type === SegmentType.Sequence ? `AS${last.asns.at(-1)}` : '';
}

/** The AS a path ends with, undefined when it is empty or ends in a set. */
export function originAs(path: AsPath): number | undefined {
  const last = path.at(-1);
  return last?.type === SegmentType.Sequence ? last.asns.at(-1) : undefined;
}

/** Attributes in the order of BIRD, which is that of their codes. */
function attributeTexts(a: NonNullable<BirdRoute['attrs']>): string[] {
  const out = [
    `origin: ${ORIGIN_TEXT[a.origin] ?? 'Incomplete'}`,
    `as_path: ${pathText(a.asPath)}`,
    `next_hop: ${nextHopText(a.nextHop)}`,
  ];
  if (a.med !== undefined) out.push(`med: ${a.med}`);
  out.push(`local_pref: ${a.preference}`);
  if (a.atomicAggregate) out.push('atomic_aggr: ');
  if (a.aggregator !== undefined) out.push(`aggregator: ${dotted(a.aggregator.identifier)} AS${a.aggregator.asn}`);
  if (a.communities.length > 0) {
    out.push(`community: ${a.communities.map((c) => `(${c >>> 16},${c & 0xffff})`).join(' ')}`);
  }
  if (a.originatorId !== undefined) out.push(`originator_id: ${dotted(a.originatorId)}`);
  if (a.clusterList.length > 0) out.push(`cluster_list: ${a.clusterList.map(dotted).join(' ')}`);
  if (a.extendedCommunities.length > 0)
    out.push(`ext_community: ${groups(a.extendedCommunities, 2).map(extended).join(' ')}`);
  if (a.largeCommunities.length > 0) {
    out.push(
      `large_community: ${groups(a.largeCommunities, 3)
        .map((g) => `(${g.join(', ')})`)
        .join(' ')}`,
    );
  }
  if (a.otc !== undefined) out.push(`otc: ${a.otc}`);
  return out;
}

const BRACKETS: Readonly<Record<number, readonly [string, string]>> = {
  [SegmentType.Set]: ['{', '}'],
  [SegmentType.Sequence]: ['', ''],
  [SegmentType.ConfedSequence]: ['(', ')'],
  [SegmentType.ConfedSet]: ['({', '})'],
};

function pathText(path: AsPath): string {
  return path.map(({ type, asns }) => `${BRACKETS[type]![0]}${asns.join(' ')}${BRACKETS[type]![1]}`).join(' ');
}

/** A link-local next hop stands beside a global one, or beside none. */
export function nextHopText(h: NextHop | undefined): string {
  if (h === undefined) return '';
  if (h.linkLocal === undefined) return String(h.global);
  return `${h.global ?? '::'} ${h.linkLocal}`;
}

/** Route targets and origins have names, everything else is shown as two words. */
function extended([high, low]: readonly number[]): string {
  const parts = extendedCommunityText(high!, low!).split(':');
  if (parts[0] === 'rt' || parts[0] === 'ro') return `(${parts.join(', ')})`;
  return `(generic, 0x${high!.toString(16)}, 0x${low!.toString(16)})`;
}

function dotted(id: number): string {
  return [24, 16, 8, 0].map((shift) => (id >>> shift) & 255).join('.');
}

function groups(words: readonly number[], size: number): number[][] {
  const out: number[][] = [];
  for (let i = 0; i < words.length; i += size) out.push(words.slice(i, i + size));
  return out;
}
