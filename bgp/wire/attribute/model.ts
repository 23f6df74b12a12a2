/**
 * The decoded path attributes of a route, and what every attribute's codec looks like.
 * Read first: RFC 4271 §4.3 and §5, RFC 7606 §3. Values here are always well-formed: a codec either fills its field or
 * reports a flaw, so nothing above bgp/wire meets a half-valid attribute.
 */

import type { Addr } from '../../../router/lib/addr.ts';
import type { Agreement } from '../family.ts';
import type { Handling } from '../fault.ts';
import type { Nlri } from '../nlri.ts';
import type { OctetWriter } from '../octets.ts';
import type { AsPath } from './as-path.ts';

/** Attribute type codes (IANA). */
export const AttributeCode = {
  Origin: 1,
  AsPath: 2,
  NextHop: 3,
  Med: 4,
  LocalPref: 5,
  AtomicAggregate: 6,
  Aggregator: 7,
  Communities: 8,
  OriginatorId: 9,
  ClusterList: 10,
  MpReach: 14,
  MpUnreach: 15,
  ExtendedCommunities: 16,
  As4Path: 17,
  As4Aggregator: 18,
  LargeCommunities: 32,
  Otc: 35,
} as const;

/** Attribute flags (RFC 4271 §4.3). */
export const Flag = { Optional: 0x80, Transitive: 0x40, Partial: 0x20, ExtendedLength: 0x10 } as const;

/** The three classes of RFC 4271 §5, as flag values. */
export const WELL_KNOWN: number = Flag.Transitive;
export const OPTIONAL_TRANSITIVE: number = Flag.Optional | Flag.Transitive;
export const OPTIONAL: number = Flag.Optional;

/** ORIGIN values (RFC 4271 §5.1.1); lower is preferred. */
export const Origin = { Igp: 0, Egp: 1, Incomplete: 2 } as const;

/** AGGREGATOR (RFC 4271 §5.1.7): who formed the aggregate. */
export interface Aggregator {
  readonly asn: number;
  readonly identifier: number;
}

/** An optional transitive attribute nobody here understands; it travels on with the Partial bit set. */
export interface UnknownAttribute {
  readonly flags: number;
  readonly code: number;
  readonly value: Uint8Array;
}

/**
 * Where a route points. Invariant: at least one of the two is set, and `linkLocal` is a link-local address. All the forms
 * speakers send on a link-local session ("::" + LL, LL + LL, LL alone) become `{ global: undefined, linkLocal }`.
 */
export interface NextHop {
  readonly global: Addr | undefined;
  readonly linkLocal: Addr | undefined;
}

/** Path attributes without the next hop, which belongs to a family's routes and not to the message. */
export interface Attributes {
  readonly origin: number;
  readonly asPath: AsPath;
  readonly med: number | undefined;
  readonly localPref: number | undefined;
  readonly atomicAggregate: boolean;
  readonly aggregator: Aggregator | undefined;
  /** Unsigned 32-bit numbers. */
  readonly communities: readonly number[];
  /** Two unsigned 32-bit numbers each. */
  readonly extendedCommunities: readonly number[];
  /** Three unsigned 32-bit numbers each. */
  readonly largeCommunities: readonly number[];
  readonly originatorId: number | undefined;
  readonly clusterList: readonly number[];
  readonly otc: number | undefined;
  readonly unknown: readonly UnknownAttribute[];
}

export const NO_NUMBERS: readonly number[] = Object.freeze([]);
const NO_UNKNOWN: readonly UnknownAttribute[] = Object.freeze([]);

/** The attributes without those whose loss costs no route (RFC 7606 §7.6 and §7.7); undefined when there are none of them. */
export function withoutDiscardable(a: Attributes): Attributes | undefined {
  if (!a.atomicAggregate && a.aggregator === undefined) return undefined;
  return {
    origin: a.origin,
    asPath: a.asPath,
    med: a.med,
    localPref: a.localPref,
    atomicAggregate: false,
    aggregator: undefined,
    communities: a.communities,
    extendedCommunities: a.extendedCommunities,
    largeCommunities: a.largeCommunities,
    originatorId: a.originatorId,
    clusterList: a.clusterList,
    otc: a.otc,
    unknown: a.unknown,
  };
}

/** Attributes being collected from one message. */
export class AttributeDraft {
  origin: number | undefined = undefined;
  asPath: AsPath | undefined = undefined;
  /** NEXT_HOP of the classic NLRI field. */
  nextHop: Addr | undefined = undefined;
  med: number | undefined = undefined;
  localPref: number | undefined = undefined;
  atomicAggregate = false;
  aggregator: Aggregator | undefined = undefined;
  communities: readonly number[] = NO_NUMBERS;
  extendedCommunities: readonly number[] = NO_NUMBERS;
  largeCommunities: readonly number[] = NO_NUMBERS;
  originatorId: number | undefined = undefined;
  clusterList: readonly number[] = NO_NUMBERS;
  otc: number | undefined = undefined;
  unknown: UnknownAttribute[] | undefined = undefined;
  as4Path: AsPath | undefined = undefined;
  as4Aggregator: Aggregator | undefined = undefined;
  reach: { readonly nlri: Nlri; readonly nextHop: NextHop } | undefined = undefined;
  unreach: Nlri | undefined = undefined;
  /** Values of MP_REACH_NLRI and MP_UNREACH_NLRI of a VPN family that was negotiated; bgp/vpn reads them. */
  vpnReach: Uint8Array | undefined = undefined;
  vpnUnreach: Uint8Array | undefined = undefined;

  /** Invariant: called only when origin and asPath are present. */
  finish(): Attributes {
    return {
      origin: this.origin!,
      asPath: this.asPath!,
      med: this.med,
      localPref: this.localPref,
      atomicAggregate: this.atomicAggregate,
      aggregator: this.aggregator,
      communities: this.communities,
      extendedCommunities: this.extendedCommunities,
      largeCommunities: this.largeCommunities,
      originatorId: this.originatorId,
      clusterList: this.clusterList,
      otc: this.otc,
      unknown: this.unknown ?? NO_UNKNOWN,
    };
  }
}

/** What decoding and encoding depend on: the facts a session agreed on. */
export interface WireContext {
  /** AS numbers on the wire have four octets (RFC 6793 §4). */
  readonly fourOctetAs: boolean;
  /** The peer is in another AS. */
  readonly external: boolean;
  /** What was agreed for each family; one that is missing was not negotiated. */
  readonly families: Agreement;
  /** First AS the path of an external peer must begin with (RFC 4271 §6.3); undefined = not checked. */
  readonly firstAs: number | undefined;
  /** The peer is in our confederation (RFC 5065): in our member AS, or in another one (`border`). */
  readonly confederation?: 'inside' | 'border' | undefined;
}

/** A mistake inside one attribute; update.ts turns it into a BgpFault with the attribute as data. */
export interface Flaw {
  readonly subcode: number;
  readonly handling: Handling;
  readonly words: string;
}

export function flaw(subcode: number, handling: Handling, words: string): Flaw {
  return { subcode, handling, words };
}

/** One attribute type. */
export interface AttributeCodec {
  readonly code: number;
  readonly name: string;
  /** WELL_KNOWN, OPTIONAL_TRANSITIVE or OPTIONAL. */
  readonly flags: number;
  /** RFC 7606 §3 (c), §4: what wrong flags of this attribute cost; treat-as-withdraw unless its section says otherwise. */
  readonly flagsHandling?: Handling;
  /** Prefixes stand in it. */
  readonly hasPrefixes?: boolean;
  /** Read the value `v` into `draft`; undefined = well-formed. */
  decode(v: Uint8Array, draft: AttributeDraft, context: WireContext): Flaw | undefined;
}

/** Append an attribute: `body` is in `scratch`. Extended length is used only where needed (RFC 4271 §4.3). */
export function putAttribute(w: OctetWriter, flags: number, code: number, body: Uint8Array): void {
  putAttributeHeader(w, flags, code, body.length);
  w.put(body);
}

export function putAttributeHeader(w: OctetWriter, flags: number, code: number, length: number): void {
  if (length > 255) {
    w.u8(flags | Flag.ExtendedLength);
    w.u8(code);
    w.u16(length);
  } else {
    w.u8(flags);
    w.u8(code);
    w.u8(length);
  }
}
