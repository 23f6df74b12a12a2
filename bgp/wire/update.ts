/**
 * UPDATE messages: decoding with the error handling of RFC 7606, and packing prefixes that share attributes.
 * Read first: RFC 4271 §4.3 and §6.3, RFC 4760 §3-§6, RFC 7606 §3-§5, RFC 6793 §4.2.3, RFC 4724 §2.
 * Does not judge routes (loops, policy); the speaker does.
 */

import type { Family } from '../../router/lib/addr.ts';
import { get16 } from '../../router/lib/bytes.ts';
import { AS_TRANS, mergeAs4Path, tooLong } from './attribute/as-path.ts';
import {
  AttributeCode,
  AttributeDraft,
  type Attributes,
  Flag,
  type Flaw,
  flaw,
  type NextHop,
  OPTIONAL,
  type WireContext,
  withoutDiscardable,
} from './attribute/model.ts';
import { hasPathIds, isNegotiated, type LinkLocalForm, putReachHead } from './attribute/mp-reach.ts';
import { putUnreachHead } from './attribute/mp-unreach.ts';
import { isHostAddress } from './attribute/next-hop.ts';
import { CODECS, putAttributes } from './attribute/table.ts';
import { readUnknown } from './attribute/unknown.ts';
import { type FamilyName, familyNamed, unicast } from './family.ts';
import { type BgpFault, ErrorCode, type Handling, isWorse, NO_DATA, resetFault, UpdateError } from './fault.ts';
import { beginMessage, endMessage, HEADER_OCTETS, MessageType } from './message.ts';
import { isNlri, type Nlri, prefixOctets, putPrefix } from './nlri.ts';
import { OctetWriter } from './octets.ts';
import { quickUpdate, type WireAttributes } from './quick.ts';

/** Prefixes of one family and where they point. */
export interface Reach {
  readonly nlri: Nlri;
  readonly nextHop: NextHop;
}

/** What an UPDATE says about a VPN family: values of its MP attributes, well-formed as far as the family is known. */
export interface VpnUpdate {
  readonly reach: Uint8Array | undefined;
  readonly unreach: Uint8Array | undefined;
  /** What `reach` announces has to be treated as withdrawn (RFC 7606 §2). */
  readonly isWithdrawn: boolean;
}

/** A decoded UPDATE. What had to be treated as withdrawn already stands in `withdrawn`. */
export interface Update {
  readonly withdrawn: readonly Nlri[];
  readonly reach: readonly Reach[];
  /** Invariant: defined when `reach` is not empty. */
  readonly attributes: Attributes | undefined;
  /** The same attributes as octets that can be stored as they are; undefined = only `attributes` says what they are. */
  readonly wire: WireAttributes | undefined;
  /** RFC 4724 §2: this message marks the end of the initial table of a family. */
  readonly endOfRib: FamilyName | undefined;
  readonly vpn: VpnUpdate | undefined;
  /** Mistakes that did not cost the session, for counters and `mlshim bgp show`. */
  readonly faults: readonly BgpFault[];
}

const NO_FAULTS: readonly BgpFault[] = Object.freeze([]);

/** Message number in which a type code was last seen: finds duplicates without clearing an array per message. */
const seenIn = new Uint32Array(256);
let messageNumber = 0;

/** Decode the body of an UPDATE (at least 4 octets, as the reader has checked). */
export function decodeUpdate(body: Uint8Array, context: WireContext): Update | BgpFault {
  return quickUpdate(body, context) ?? decodeCarefully(body, context);
}

/** The same with every rule there is, for messages that are not plainly in order. */
export function decodeCarefully(body: Uint8Array, context: WireContext): Update | BgpFault {
  const withdrawnEnd = 2 + get16(body, 0);
  if (withdrawnEnd + 2 > body.length) return malformedList('withdrawn routes run past the end');
  const attributesAt = withdrawnEnd + 2;
  const attributesEnd = attributesAt + get16(body, withdrawnEnd);
  if (attributesEnd > body.length) return malformedList('path attributes run past the end');

  const withdrawn: Nlri[] = [];
  const classic = (from: number, to: number): Nlri | BgpFault => {
    const nlri: Nlri = { family: 4, hasPathIds: hasPathIds(4, context), bytes: body.subarray(from, to) };
    return isNlri(nlri.bytes, 4, nlri.hasPathIds)
      ? nlri
      : resetFault(ErrorCode.Update, UpdateError.NetworkField, 'malformed prefix'); // RFC 7606 §5.3
  };
  if (withdrawnEnd > 2) {
    const nlri = classic(2, withdrawnEnd);
    if ('handling' in nlri) return nlri;
    if (isNegotiated(4, context)) withdrawn.push(nlri);
  }
  let announced: Nlri | undefined;
  if (attributesEnd < body.length) {
    const nlri = classic(attributesEnd, body.length);
    if ('handling' in nlri) return nlri;
    announced = nlri;
  }

  const draft = new AttributeDraft();
  const parsed = readAttributes(body, attributesAt, attributesEnd, draft, context);
  if (parsed.fault !== undefined) return parsed.fault;
  let faults = parsed.faults;
  let worst = parsed.worst;

  const reach: Reach[] = [];
  const broken = (f: Flaw): void => {
    faults = [...faults, toFault(f, NO_DATA)];
    if (worst === undefined || isWorse(f.handling, worst)) worst = f.handling;
  };
  if (announced !== undefined || draft.reach !== undefined || draft.vpnReach !== undefined) {
    for (const found of [mergeFourOctet(draft, context), missingWellKnown(draft, announced !== undefined, context)])
      if (found !== undefined) broken(found);
    if (draft.reach !== undefined) {
      if (isUsable(draft.reach.nextHop)) reach.push(draft.reach);
      else {
        withdrawn.push(draft.reach.nlri);
        faults = [
          ...faults,
          toFault(flaw(UpdateError.NextHop, 'treat-as-withdraw', 'next hop is not a host address'), NO_DATA),
        ];
      }
    }
    if (announced !== undefined && isNegotiated(4, context) && draft.nextHop !== undefined) {
      if (isHostAddress(draft.nextHop)) {
        // A classic NEXT_HOP speaks for the classic NLRI only, never for MP_REACH_NLRI of the same message.
        reach.push({ nlri: announced, nextHop: { global: draft.nextHop, linkLocal: undefined } });
      } else {
        withdrawn.push(announced);
        // RFC 4271 §6.3: a semantically incorrect NEXT_HOP makes the route, not the session, invalid.
        faults = [
          ...faults,
          toFault(flaw(UpdateError.NextHop, 'treat-as-withdraw', `NEXT_HOP ${draft.nextHop}`), NO_DATA),
        ];
      }
    } else if (announced !== undefined && isNegotiated(4, context)) withdrawn.push(announced);
  } else if (parsed.hasOther && worst === 'treat-as-withdraw') {
    // RFC 7606 §5.2: without reachable NLRI nobody can be sure that the prefixes were found.
    return { ...faults[faults.length - 1]!, handling: 'reset' };
  }
  if (draft.unreach !== undefined) withdrawn.push(draft.unreach);
  if (worst === 'treat-as-withdraw') {
    for (const r of reach) withdrawn.push(r.nlri);
    reach.length = 0;
  }
  return {
    withdrawn: withdrawn.filter((n) => n.bytes.length > 0),
    reach: reach.filter((r) => r.nlri.bytes.length > 0),
    attributes:
      worst === 'treat-as-withdraw' || draft.asPath === undefined || draft.origin === undefined
        ? undefined
        : draft.finish(),
    wire: undefined,
    endOfRib: endOfRib(body, draft, parsed.hasOther || withdrawnEnd > 2 || announced !== undefined),
    vpn: vpnOf(draft, worst === 'treat-as-withdraw'),
    faults,
  };
}

function vpnOf({ vpnReach: reach, vpnUnreach: unreach }: AttributeDraft, isWithdrawn: boolean): VpnUpdate | undefined {
  return reach === undefined && unreach === undefined ? undefined : { reach, unreach, isWithdrawn };
}

interface Parsed {
  readonly faults: readonly BgpFault[];
  readonly worst: Handling | undefined;
  /** A fault that costs the session. */
  readonly fault: BgpFault | undefined;
  /** Attributes other than MP_UNREACH_NLRI are present. */
  readonly hasOther: boolean;
}

function readAttributes(b: Uint8Array, from: number, end: number, draft: AttributeDraft, context: WireContext): Parsed {
  messageNumber = (messageNumber + 1) >>> 0;
  let faults = NO_FAULTS;
  let worst: Handling | undefined;
  let hasOther = false;
  let at = from;
  while (at < end) {
    const flags = b[at]!;
    const lengthOctets = flags & Flag.ExtendedLength ? 2 : 1;
    const valueAt = at + 2 + lengthOctets;
    const valueEnd = valueAt > end ? end + 1 : valueAt + (lengthOctets === 2 ? get16(b, at + 2) : b[at + 2]!);
    let found: Flaw | undefined;
    let stop = end;
    if (valueEnd > end) {
      // RFC 7606 §4: an attribute that overruns the list is treat-as-withdraw, and the rest of the list is lost.
      found = flaw(UpdateError.MalformedList, 'treat-as-withdraw', 'attribute runs past the end of the list');
      hasOther = true;
    } else {
      stop = valueEnd;
      const code = b[at + 1]!;
      if (code !== AttributeCode.MpUnreach) hasOther = true;
      found = readAttribute(flags, code, b.subarray(valueAt, valueEnd), draft, context);
    }
    if (found !== undefined) {
      const fault = toFault(found, b.slice(at, stop));
      if (found.handling === 'reset') return { faults, worst, fault, hasOther };
      faults = [...faults, fault];
      if (worst === undefined || isWorse(found.handling, worst)) worst = found.handling;
    }
    at = stop;
  }
  return { faults, worst, fault: undefined, hasOther };
}

function readAttribute(
  flags: number,
  code: number,
  value: Uint8Array,
  draft: AttributeDraft,
  context: WireContext,
): Flaw | undefined {
  if (seenIn[code] === messageNumber) {
    // RFC 7606 §3 (g)
    return code === AttributeCode.MpReach || code === AttributeCode.MpUnreach
      ? flaw(UpdateError.MalformedList, 'reset', `attribute ${code} appears twice`)
      : flaw(UpdateError.MalformedList, 'discard', `attribute ${code} appears twice`);
  }
  seenIn[code] = messageNumber;
  const codec = CODECS[code];
  if (codec === undefined) return readUnknown(flags, code, value, draft);
  if ((flags & (Flag.Optional | Flag.Transitive)) !== codec.flags) {
    // The prefixes to withdraw stand in the attribute itself where it is one of RFC 4760.
    const isLost = codec.hasPrefixes === true ? codec.decode(value, draft, context) : undefined;
    const words = `${codec.name} with flags 0x${flags.toString(16)}`;
    return isLost ?? flaw(UpdateError.Flags, codec.flagsHandling ?? 'treat-as-withdraw', words);
  }
  return codec.decode(value, draft, context);
}

/** RFC 6793 §4.2.3: rebuild what a two-octet peer could not say. */
function mergeFourOctet(draft: AttributeDraft, context: WireContext): Flaw | undefined {
  if (context.fourOctetAs) return undefined;
  // "If the AGGREGATOR ... AS number is not AS_TRANS, AS4_AGGREGATOR and AS4_PATH SHALL be ignored."
  if (draft.as4Aggregator !== undefined && draft.aggregator !== undefined) {
    if (draft.aggregator.asn !== AS_TRANS) return undefined;
    draft.aggregator = draft.as4Aggregator;
  }
  if (draft.as4Path === undefined || draft.asPath === undefined) return undefined;
  draft.asPath = mergeAs4Path(draft.asPath, draft.as4Path);
  return tooLong(draft.asPath);
}

/** RFC 7606 §3 (d): a missing mandatory attribute is treat-as-withdraw. */
function missingWellKnown(draft: AttributeDraft, hasClassic: boolean, context: WireContext): Flaw | undefined {
  const missing =
    draft.origin === undefined
      ? 'ORIGIN'
      : draft.asPath === undefined
        ? 'AS_PATH'
        : hasClassic && draft.nextHop === undefined
          ? 'NEXT_HOP'
          : isInternal(context) && draft.localPref === undefined
            ? 'LOCAL_PREF'
            : undefined;
  return missing === undefined
    ? undefined
    : flaw(UpdateError.MissingWellKnown, 'treat-as-withdraw', `${missing} is missing or malformed`);
}

/** RFC 5065 §5.2 allows LOCAL_PREF towards another member of a confederation and does not ask for it: GoBGP sends none. */
function isInternal(context: WireContext): boolean {
  return !context.external && context.confederation !== 'border';
}

function isUsable(hop: NextHop): boolean {
  return hop.global === undefined ? hop.linkLocal !== undefined : isHostAddress(hop.global);
}

/** RFC 4724 §2: an empty UPDATE ends IPv4 unicast, an empty MP_UNREACH_NLRI alone ends its family. */
function endOfRib(body: Uint8Array, draft: AttributeDraft, hasOther: boolean): FamilyName | undefined {
  if (body.length === 4) return 'ipv4';
  if (hasOther) return undefined;
  const { unreach, vpnUnreach } = draft;
  if (unreach !== undefined) return unreach.bytes.length === 0 ? unicast(unreach.family) : undefined;
  return vpnUnreach?.length === 3 ? familyNamed(get16(vpnUnreach, 0), vpnUnreach[2]!) : undefined;
}

function malformedList(words: string): BgpFault {
  return resetFault(ErrorCode.Update, UpdateError.MalformedList, words);
}

function toFault(f: Flaw, data: Uint8Array): BgpFault {
  return { code: ErrorCode.Update, subcode: f.subcode, data, handling: f.handling, words: f.words };
}

const PATH_ID_OCTETS = 4; // RFC 7911 §3
const CHUNK_OCTETS = 32768;

/** What packing depends on. */
export interface PackSettings {
  readonly fourOctetAs: boolean;
  /** Octets of the largest message the peer takes. */
  readonly maxMessage: number;
  readonly linkLocalForm: LinkLocalForm;
  /** Prefixes may be given path identifiers (RFC 7911 §3). */
  readonly pathIds?: boolean;
}

/**
 * Packs prefixes into UPDATE messages: first `reach` or `withdraw`, then `add` for each prefix; `flush` at the end.
 * A message that is full is closed and another of the same kind begun. Several messages are handed out together.
 */
export class UpdatePacker {
  readonly #settings: PackSettings;
  readonly #emit: (octets: Uint8Array, messages: number) => void;
  readonly #out = new OctetWriter(CHUNK_OCTETS + 8192);
  /** Everything before the first prefix of a message, and everything after the last one. */
  readonly #head = new OctetWriter();
  readonly #tail = new OctetWriter();
  #kind: 'classic-reach' | 'classic-withdraw' | 'mp' = 'classic-reach';
  /** Where the open message starts in #out, -1 when none is open. */
  #start = -1;
  #messages = 0;

  constructor(settings: PackSettings, emit: (octets: Uint8Array, messages: number) => void) {
    this.#settings = settings;
    this.#emit = emit;
  }

  /**
   * Announce the prefixes that follow.
   * @returns false when the attributes leave no room for a prefix in the largest message; nothing must be added then
   */
  reach(family: Family, attributes: Attributes, hop: NextHop): boolean {
    if (this.#reachHead(family, attributes, hop)) return true;
    // RFC 8654 §4: "SHOULD try to reduce the outgoing message size by removing attributes eligible under the "attribute discard"
    // approach of [RFC7606]".
    const less = withoutDiscardable(attributes);
    return less !== undefined && this.#reachHead(family, less, hop);
  }

  #reachHead(family: Family, attributes: Attributes, hop: NextHop): boolean {
    this.#close();
    this.#head.clear();
    this.#tail.clear();
    const classic = family === 4 && hop.global?.family === 4;
    this.#kind = classic ? 'classic-reach' : 'mp';
    if (classic) {
      this.#head.u16(0);
      this.#head.u16(0);
      putAttributes(this.#head, attributes, hop.global, this.#settings.fourOctetAs);
      this.#head.patch16(2, this.#head.length - 4);
    } else {
      this.#mpHead(AttributeCode.MpReach);
      putReachHead(this.#head, family, hop, this.#settings.linkLocalForm);
      putAttributes(this.#tail, attributes, undefined, this.#settings.fourOctetAs);
    }
    const prefix = prefixOctets(family === 4 ? 32 : 128) + (this.#settings.pathIds === true ? PATH_ID_OCTETS : 0);
    const largest = HEADER_OCTETS + this.#head.length + this.#tail.length + prefix;
    return largest <= this.#settings.maxMessage;
  }

  /** Withdraw the prefixes that follow. IPv4 uses the classic field, which every speaker understands. */
  withdraw(family: Family): void {
    this.#close();
    this.#head.clear();
    this.#tail.clear();
    if (family === 4) {
      this.#kind = 'classic-withdraw';
      this.#head.u16(0);
      this.#tail.u16(0);
    } else {
      this.#kind = 'mp';
      this.#mpHead(AttributeCode.MpUnreach);
      putUnreachHead(this.#head, family);
    }
  }

  /** @param pathId for sessions that use them, and then for every prefix of the family */
  add(w0: number, w1: number, w2: number, w3: number, length: number, pathId?: number): void {
    const out = this.#out;
    const octets = prefixOctets(length) + (pathId === undefined ? 0 : PATH_ID_OCTETS);
    if (this.#start >= 0 && out.length - this.#start + octets + this.#tail.length > this.#settings.maxMessage) {
      this.#close();
    }
    if (this.#start < 0) {
      this.#start = beginMessage(out, MessageType.Update);
      out.put(this.#head.bytes.subarray(0, this.#head.length));
    }
    if (pathId !== undefined) out.u32(pathId);
    putPrefix(out, w0, w1, w2, w3, length);
  }

  /** RFC 4724 §2. */
  endOfRib(family: Family): void {
    this.#close();
    const start = beginMessage(this.#out, MessageType.Update);
    this.#out.u16(0);
    if (family === 4) this.#out.u16(0);
    else {
      this.#out.u16(6);
      this.#out.u8(OPTIONAL);
      this.#out.u8(AttributeCode.MpUnreach);
      this.#out.u8(3);
      putUnreachHead(this.#out, family);
    }
    endMessage(this.#out, start);
    this.#messages++;
  }

  /** Close the open message and hand out everything. */
  flush(): void {
    this.#close();
    if (this.#out.length === 0) return;
    const octets = this.#out.take();
    const messages = this.#messages;
    this.#out.clear();
    this.#messages = 0;
    this.#emit(octets, messages);
  }

  /** RFC 7606 §5.1: MP attributes stand first, so that a receiver finds the prefixes whatever follows. */
  #mpHead(code: number): void {
    const h = this.#head;
    h.u16(0); // no classic withdrawn routes
    h.u16(0); // total path attribute length, filled in when the message is closed
    h.u8(OPTIONAL | Flag.ExtendedLength);
    h.u8(code);
    h.u16(0); // attribute length, likewise
  }

  #close(): void {
    if (this.#start < 0) return;
    const out = this.#out;
    const body = this.#start + HEADER_OCTETS;
    if (this.#kind === 'classic-withdraw') out.patch16(body, out.length - body - 2);
    if (this.#kind === 'mp') out.patch16(body + 6, out.length - body - 8);
    out.put(this.#tail.bytes.subarray(0, this.#tail.length));
    if (this.#kind === 'mp') out.patch16(body + 2, out.length - body - 4);
    endMessage(out, this.#start);
    this.#start = -1;
    this.#messages++;
    if (out.length >= CHUNK_OCTETS) this.flush();
  }
}
