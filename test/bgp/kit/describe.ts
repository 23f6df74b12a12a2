/** A BGP message in words, for golden files. */

import type { OpenSettings } from '../../../bgp/fsm/negotiate.ts';
import { asPathText } from '../../../bgp/wire/attribute/as-path.ts';
import { communityText } from '../../../bgp/wire/attribute/communities.ts';
import { extendedCommunityText } from '../../../bgp/wire/attribute/extended-communities.ts';
import type { NextHop, WireContext } from '../../../bgp/wire/attribute/model.ts';
import { originText } from '../../../bgp/wire/attribute/origin.ts';
import { capabilityText } from '../../../bgp/wire/capability.ts';
import { PLAIN_FACTS } from '../../../bgp/wire/family.ts';
import { notificationText } from '../../../bgp/wire/fault.ts';
import type { Open, RawMessage } from '../../../bgp/wire/message.ts';
import {
  decodeNotification,
  decodeOpen,
  decodeRouteRefresh,
  MessageReader,
  MessageType,
} from '../../../bgp/wire/message.ts';
import { type Nlri, NlriCursor, prefixFromWords } from '../../../bgp/wire/nlri.ts';
import { decodeUpdate, type Update } from '../../../bgp/wire/update.ts';
import { Addr } from '../../../router/lib/addr.ts';

export const PLAIN_CONTEXT: WireContext = {
  fourOctetAs: true,
  external: true,
  families: {
    ipv4: { ...PLAIN_FACTS, extendedNextHop: true },
    ipv6: { ...PLAIN_FACTS, extendedNextHop: true },
  },
  firstAs: undefined,
};

/** What a speaker without extensions says in its OPEN beside its numbers and families. */
export const PLAIN_OFFER = {
  extendedNextHop: false,
  extendedMessages: false,
  enforceFirstAs: true,
  hostName: undefined,
  addPath: { receive: false, send: false },
  linkLocalCapability: false,
  role: undefined,
  strictRole: false,
  restart: undefined,
} as const satisfies Partial<OpenSettings>;

export function hex(text: string): Uint8Array {
  return new Uint8Array(Buffer.from(text.replaceAll(/[\s:]/g, ''), 'hex'));
}

/** The one message in these octets. */
export function messageOf(octets: Uint8Array): RawMessage {
  const reader = new MessageReader();
  reader.allowsExtended = true;
  reader.push(octets);
  const m = reader.next();
  if (m === undefined || 'handling' in m) throw new Error(`not one message: ${m?.words}`);
  return m;
}

export function openOf(octets: Uint8Array): Open {
  const open = decodeOpen(messageOf(octets).body);
  if ('handling' in open) throw new Error(open.words);
  return open;
}

export function describe(octets: Uint8Array, context: WireContext): string[] {
  const m = messageOf(octets);
  switch (m.type) {
    case MessageType.Open: {
      const o = openOf(octets);
      return [
        `OPEN AS ${o.asn} hold ${o.holdTimeS} id ${Addr.v4(o.identifier)}`,
        ...o.capabilities.map((c) => `  ${capabilityText(c)}`),
      ];
    }
    case MessageType.Update: {
      const u = decodeUpdate(m.body, context);
      return 'handling' in u ? [`UPDATE FAULT ${u.code}/${u.subcode} ${u.words}`] : describeUpdate(u);
    }
    case MessageType.Notification: {
      const n = decodeNotification(m.body);
      return [`NOTIFICATION ${notificationText(n.code, n.subcode, n.data)}`];
    }
    case MessageType.RouteRefresh: {
      const r = decodeRouteRefresh(m.body);
      return [`ROUTE-REFRESH afi ${r.afi} safi ${r.safi} subtype ${r.subtype}`];
    }
    default:
      return ['KEEPALIVE'];
  }
}

export function describeUpdate(u: Update): string[] {
  const lines = ['UPDATE'];
  for (const f of u.faults) lines.push(`  fault ${f.handling}: ${f.words}`);
  if (u.endOfRib !== undefined) lines.push(`  end of rib ${u.endOfRib}`);
  for (const n of u.withdrawn) lines.push(`  withdraw ${nlriText(n)}`);
  for (const r of u.reach) lines.push(`  reach ${nlriText(r.nlri)} via ${hopText(r.nextHop)}`);
  const a = u.attributes;
  if (a === undefined) return lines;
  lines.push(`  origin ${originText(a.origin)} path [${asPathText(a.asPath)}]`);
  if (a.med !== undefined) lines.push(`  med ${a.med}`);
  if (a.localPref !== undefined) lines.push(`  local-pref ${a.localPref}`);
  if (a.atomicAggregate) lines.push('  atomic-aggregate');
  if (a.aggregator !== undefined) lines.push(`  aggregator ${a.aggregator.asn} ${Addr.v4(a.aggregator.identifier)}`);
  if (a.communities.length > 0) lines.push(`  communities ${a.communities.map(communityText).join(' ')}`);
  const ext = a.extendedCommunities;
  for (let i = 0; i < ext.length; i += 2) lines.push(`  ext-community ${extendedCommunityText(ext[i]!, ext[i + 1]!)}`);
  const large = a.largeCommunities;
  for (let i = 0; i < large.length; i += 3) lines.push(`  large-community ${large.slice(i, i + 3).join(':')}`);
  if (a.originatorId !== undefined) lines.push(`  originator ${Addr.v4(a.originatorId)}`);
  if (a.clusterList.length > 0) lines.push(`  clusters ${a.clusterList.map((c) => Addr.v4(c)).join(' ')}`);
  if (a.otc !== undefined) lines.push(`  otc ${a.otc}`);
  for (const x of a.unknown)
    lines.push(`  attribute ${x.code} flags ${x.flags.toString(16)} ${Buffer.from(x.value).toString('hex')}`);
  return lines;
}

export function hopText(h: NextHop): string {
  return [h.global, h.linkLocal].filter((x) => x !== undefined).join(' + ');
}

export function nlriText(n: Nlri): string {
  const out: string[] = [];
  const c = new NlriCursor().over(n);
  while (c.next()) {
    const p = prefixFromWords(n.family, c.w0, c.w1, c.w2, c.w3, c.length);
    out.push(n.hasPathIds ? `${p} id ${c.pathId}` : p.toString());
  }
  return out.join(', ');
}
