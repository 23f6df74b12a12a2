/**
 * UPDATE messages of the VPN families, and what has been received as such messages again.
 * Read first: RFC 4760 §3 and §4, RFC 4364 §4.3.4, RFC 7606 §5.1, RFC 7854 §5.
 */

import type { Negotiated } from '../fsm/negotiate.ts';
import type { VpnFamily, VpnTold } from '../ports.ts';
import { AttributeCode, OPTIONAL, putAttribute } from '../wire/attribute/model.ts';
import { putAttributes } from '../wire/attribute/table.ts';
import { FAMILIES } from '../wire/family.ts';
import { beginMessage, endMessage, HEADER_OCTETS, MAX_EXTENDED_MESSAGE, MessageType } from '../wire/message.ts';
import { OctetWriter } from '../wire/octets.ts';
import { FAMILY_OF, type HeldRoute, type Reached } from './held.ts';
import { putVpnPrefix, type VpnName, vpnNextHop } from './nlri.ts';

/** The lengths of withdrawn routes and of attributes. */
const LENGTHS_OCTETS = 4;
/** Flags, code, two octets of length; AFI, SAFI, length of the next hop, reserved. */
const REACH_HEAD_OCTETS = 9;
const UNREACH_HEAD_OCTETS = 7;
/** Routes in one portion of a dump. */
const PORTION = 512;

/** A path on the wire. */
export interface VpnPath {
  readonly name: VpnName;
  /** Undefined without ADD-PATH. */
  readonly id: number | undefined;
  readonly label: number;
}

/** What is left for prefixes in a message of at most `max` octets. */
export function reachRoom(max: number, hop: Uint8Array, others: Uint8Array): number {
  return max - HEADER_OCTETS - LENGTHS_OCTETS - REACH_HEAD_OCTETS - hop.length - others.length;
}

export function unreachRoom(max: number): number {
  return max - HEADER_OCTETS - LENGTHS_OCTETS - UNREACH_HEAD_OCTETS;
}

/** One prefix; without a label it is a withdrawal. @param pathId undefined without ADD-PATH */
export function vpnOctets(name: VpnName, label: number | undefined, pathId: number | undefined): Uint8Array {
  const w = new OctetWriter(32);
  putVpnPrefix(w, name, label, pathId);
  return w.take();
}

/** Routes held from a peer as UPDATEs, in portions; those with the same attributes together. @param isHeld whether one still is */
export function* heldUpdates(
  routes: Iterable<HeldRoute>,
  { context }: Negotiated,
  isHeld: (route: HeldRoute) => boolean,
): Generator<readonly Uint8Array[]> {
  let groups = new Map<Reached, HeldRoute[]>();
  let left = PORTION;
  for (const route of routes) {
    const group = groups.get(route.reached);
    if (isHeld(route)) {
      if (group === undefined) groups.set(route.reached, [route]);
      else group.push(route);
    }
    if (--left > 0) continue;
    yield [...groups].flatMap(([reached, some]) => groupUpdates(reached, some, context));
    groups = new Map();
    left = PORTION;
  }
  yield [...groups].flatMap(([reached, some]) => groupUpdates(reached, some, context));
}

function groupUpdates({ attributes, hop }: Reached, group: HeldRoute[], context: Negotiated['context']): Uint8Array[] {
  const name = FAMILY_OF[group[0]!.prefix.prefix.family];
  const hasPathIds = context.families[name]?.receivesPathIds === true;
  const paths = group.map(({ prefix: p }) => ({ name: p, id: hasPathIds ? p.pathId : undefined, label: p.label }));
  return reachUpdates(name, { attributes, hop: (hop.global ?? hop.linkLocal)! }, paths, context.fourOctetAs);
}

/** Paths that have all but prefix and label in common, for those who take messages of any length. */
export function reachUpdates(
  family: VpnFamily,
  { attributes, hop }: VpnTold,
  paths: readonly VpnPath[],
  fourOctetAs: boolean,
): Uint8Array[] {
  const w = new OctetWriter(256);
  putAttributes(w, attributes, undefined, fourOctetAs);
  const others = w.take();
  const next = vpnNextHop(hop, family === 'vpnv4' ? 4 : 6);
  const room = reachRoom(MAX_EXTENDED_MESSAGE, next, others);
  const octets = paths.map((p) => vpnOctets(p.name, p.label, p.id)).filter((o) => o.length <= room);
  return [...runsOf(octets, room)].map((nlri) => reach(family, next, nlri, others));
}

export function unreachUpdates(family: VpnFamily, paths: readonly Omit<VpnPath, 'label'>[]): Uint8Array[] {
  const octets = paths.map((p) => vpnOctets(p.name, undefined, p.id));
  return [...runsOf(octets, unreachRoom(MAX_EXTENDED_MESSAGE))].map((nlri) => unreach(family, nlri));
}

/** Prefixes one after the other, as many in a run as there is room for. */
export function* runsOf(prefixes: readonly Uint8Array[], room: number): Generator<Uint8Array> {
  let run = new OctetWriter(512);
  for (const octets of prefixes) {
    if (run.length + octets.length > room) {
      yield run.take();
      run = new OctetWriter(512);
    }
    run.put(octets);
  }
  if (run.length > 0) yield run.take();
}

/** A whole UPDATE: an MP attribute first (RFC 7606 §5.1), then the others. */
function update(code: number, value: Uint8Array, others: Uint8Array): Uint8Array {
  const w = new OctetWriter(value.length + others.length + 32);
  const start = beginMessage(w, MessageType.Update);
  w.u16(0);
  const lengthAt = w.length;
  w.u16(0);
  putAttribute(w, OPTIONAL, code, value);
  w.put(others);
  w.patch16(lengthAt, w.length - lengthAt - 2);
  endMessage(w, start);
  return w.take();
}

export function reach(family: VpnFamily, hop: Uint8Array, nlri: Uint8Array, others: Uint8Array): Uint8Array {
  const v = new OctetWriter(nlri.length + 32);
  v.u16(FAMILIES[family].afi);
  v.u8(FAMILIES[family].safi);
  v.u8(hop.length);
  v.put(hop);
  v.u8(0);
  v.put(nlri);
  return update(AttributeCode.MpReach, v.take(), others);
}

/** MP_UNREACH_NLRI; without a prefix it is the family's End-of-RIB (RFC 4724 §2). */
export function unreach(family: VpnFamily, nlri: Uint8Array): Uint8Array {
  const v = new OctetWriter(nlri.length + 8);
  v.u16(FAMILIES[family].afi);
  v.u8(FAMILIES[family].safi);
  v.put(nlri);
  return update(AttributeCode.MpUnreach, v.take(), new Uint8Array(0));
}
