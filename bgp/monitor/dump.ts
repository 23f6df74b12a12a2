/**
 * Whole tables in portions: the Adj-RIB-In of a peer as UPDATE messages (BMP's initial dump, RFC 7854 §5), and all of them
 * as an MRT table (RFC 6396 §4.3). The tables may change between two portions; each route is told as it is when its turn comes.
 */

import { Addr, type Family } from '../../router/lib/addr.ts';
import type { Instant } from '../../router/lib/clock.ts';
import type { Peer } from '../peer.ts';
import { LOCAL_PEER } from '../rib/adj-rib-in.ts';
import type { AttrSet } from '../rib/attrs.ts';
import type { Rib } from '../rib/rib.ts';
import { AttributeCode, OPTIONAL, putAttributeHeader } from '../wire/attribute/model.ts';
import { putAttributes } from '../wire/attribute/table.ts';
import { unicast } from '../wire/family.ts';
import { MAX_EXTENDED_MESSAGE, MessageReader } from '../wire/message.ts';
import { type MrtPeer, type MrtRibEntry, MrtWriter } from '../wire/mrt.ts';
import { OctetWriter } from '../wire/octets.ts';
import { UpdatePacker } from '../wire/update.ts';

/** Prefixes looked at for one portion. */
const PORTION = 1024;

/** What a peer has sent, as the peer would send it again. */
export function* receivedUpdates(ribs: readonly Rib[], peer: Peer): Generator<readonly Uint8Array[]> {
  const n = peer.session.negotiated;
  if (n === undefined) return;
  const chunks: Uint8Array[] = [];
  const { fourOctetAs, families } = n.context;
  const pathIds = n.families.some((f) => families[f]?.receivesPathIds === true);
  const settings = { fourOctetAs, maxMessage: MAX_EXTENDED_MESSAGE, linkLocalForm: 'native', pathIds } as const;
  const packer = new UpdatePacker(settings, (octets) => chunks.push(octets));
  const portion = (): Uint8Array[] => {
    packer.flush();
    return chunks.splice(0).flatMap(messagesIn);
  };
  for (const rib of ribs) {
    const { prefixes: p, routes, family } = rib;
    const facts = families[unicast(family)];
    if (facts === undefined) continue; // RFC 7854 §5: End-of-RIB too is of a family of the session
    const isLong = family === 6;
    // RFC 7911 §3: the OPENs in Peer Up say whether prefixes have identifiers.
    const hasPathIds = facts.receivesPathIds;
    let last: AttrSet | undefined;
    for (let id = 0; id < p.limit; id++) {
      if (id % PORTION === PORTION - 1) {
        yield portion();
        last = undefined;
      }
      for (let r = p.isUsed(id) ? routes.first(id) : -1; r >= 0; r = routes.next(r)) {
        if (routes.peerOf[r] !== peer.index || routes.isGone(r)) continue;
        const a = routes.received(r);
        const isFitting = a === last || packer.reach(family, a, a.nextHop!);
        last = isFitting ? a : undefined;
        if (!isFitting) continue;
        const [w1, w2, w3] = isLong ? [p.w1[id]!, p.w2[id]!, p.w3[id]!] : [0, 0, 0];
        packer.add(p.w0[id]!, w1, w2, w3, p.length[id]!, hasPathIds ? routes.pathIdOf[r]! : undefined);
      }
    }
    packer.endOfRib(family);
  }
  yield portion();
}

/** The messages of a run of octets that holds whole ones. */
export function messagesIn(chunk: Uint8Array): Uint8Array[] {
  const reader = new MessageReader();
  reader.allowsExtended = true;
  reader.push(chunk);
  const out: Uint8Array[] = [];
  let at = 0;
  for (let m = reader.next(); m !== undefined && !('handling' in m); m = reader.next()) {
    const end = at + 19 + m.body.length;
    out.push(chunk.subarray(at, end));
    at = end;
  }
  return out;
}

/** Where an MRT table goes on: a table of `ribs`, a prefix in it, and how many peers the index at its beginning has. */
export interface MrtCursor {
  readonly rib: number;
  readonly id: number;
  readonly peers: number;
}

/**
 * One portion of all routes received from all peers.
 * @param now seconds since 1970, and the same on the speaker's clock
 * @param from undefined = the beginning, which is the index of peers
 * @returns octets of whole records, and where the next portion begins; undefined = that was all
 */
export function mrtPortion(
  ribs: readonly Rib[],
  peers: readonly (Peer | undefined)[],
  collector: number,
  now: { readonly wallS: number; readonly instant: Instant },
  from?: MrtCursor,
): { readonly octets: Uint8Array; readonly next: MrtCursor | undefined } {
  const w = new MrtWriter();
  // A peer's number in the file is its number here, so that it stays the same from one portion to the next.
  if (from === undefined) w.peers(now.wallS, collector, '', peers.map(mrtPeer));
  const { rib: which, id: begin, peers: count } = from ?? { rib: 0, id: 0, peers: peers.length };
  const rib = ribs[which];
  if (rib === undefined) return { octets: w.out.take(), next: undefined };
  const attributes = new OctetWriter();
  const end = Math.min(begin + PORTION, rib.prefixes.limit);
  for (let id = begin; id < end; id++) {
    if (!rib.prefixes.isUsed(id)) continue;
    const entries: MrtRibEntry[] = [];
    for (let r = rib.routes.first(id); r >= 0; r = rib.routes.next(r)) {
      const peer = rib.routes.peerOf[r]!;
      if (peer === LOCAL_PEER || peer >= count || rib.routes.isGone(r)) continue;
      const pathId = rib.routes.pathIdOf[r]!;
      entries.push({
        peer,
        originatedS: now.wallS - rib.routes.ageS(r, now.instant),
        pathId: pathId === 0 ? undefined : pathId,
        attributes: encoded(attributes, rib.family, rib.routes.received(r)),
      });
    }
    if (entries.length > 0) w.rib(now.wallS, rib.prefixes.prefix(id), entries);
  }
  const next =
    end < rib.prefixes.limit ? { rib: which, id: end, peers: count } : { rib: which + 1, id: 0, peers: count };
  return { octets: w.out.take(), next: next.rib < ribs.length ? next : undefined };
}

/** All portions of an MRT table. */
export function* mrtTable(
  portion: (from: MrtCursor | undefined) => ReturnType<typeof mrtPortion>,
): Generator<Uint8Array> {
  for (let from: MrtCursor | undefined; ; ) {
    const { octets, next } = portion(from);
    yield octets;
    if (next === undefined) return;
    from = next;
  }
}

/** Numbers without a peer (ourselves, and peers that were removed) have an entry that says nothing, as BIRD's files do. */
function mrtPeer(peer: Peer | undefined): MrtPeer {
  if (peer === undefined) return { identifier: 0, address: Addr.v6(0, 0, 0, 0), asn: 0 };
  const { address, asn } = peer.config;
  // A peer whose AS is learned from its OPEN has none before.
  const known = peer.session.negotiated?.peerAs ?? (typeof asn === 'number' ? asn : 0);
  return { identifier: peer.identifier, address, asn: known };
}

/** RFC 4291 §2.5.5.2: an IPv4 router as the next hop of an IPv6 prefix. */
function mapped(a: Addr): Uint8Array {
  return Uint8Array.from([...new Uint8Array(10), 0xff, 0xff, ...a.toBytes()]);
}

/** RFC 6396 §4.3.4: MP_REACH_NLRI is its next hop alone, AS numbers have four octets. */
function encoded(w: OctetWriter, family: Family, a: AttrSet): Uint8Array {
  w.clear();
  const { global, linkLocal } = a.nextHop ?? {};
  const isClassic = family === 4 && global?.family === 4;
  putAttributes(w, a, isClassic ? global : undefined, true);
  if (!isClassic) {
    const whole = (x: Addr): Uint8Array => (x.family === 4 && family === 6 ? mapped(x) : x.toBytes());
    const hop = [global, linkLocal].flatMap((x) => (x === undefined ? [] : [...whole(x)]));
    putAttributeHeader(w, OPTIONAL, AttributeCode.MpReach, 1 + hop.length);
    w.u8(hop.length);
    w.put(Uint8Array.from(hop));
  }
  return w.take();
}
