/**
 * BGP messages other than UPDATE, and the framing of all of them: a reader that cuts messages out of a byte stream
 * wherever the transport cut it.
 * Read first: RFC 4271 §4.1, §4.2, §4.4, §4.5, §6.1, RFC 8654 §4, RFC 9072 §2, RFC 2918 §3, RFC 7313 §3.2.
 * Does not decode UPDATE (update.ts) and does not judge an OPEN against a configuration (bgp/fsm/negotiate.ts).
 */

import { get16, get32 } from '../../router/lib/bytes.ts';
import { type Capability, decodeCapabilities, putCapability } from './capability.ts';
import { type BgpFault, ErrorCode, HeaderError, OpenError, resetFault } from './fault.ts';
import { OctetWriter } from './octets.ts';

export const HEADER_OCTETS = 19; // RFC 4271 §4.1
export const MAX_MESSAGE = 4096; // RFC 4271 §4.1
export const MAX_EXTENDED_MESSAGE = 65535; // RFC 8654 §4
const MARKER_OCTETS = 16;

export const MessageType = { Open: 1, Update: 2, Notification: 3, Keepalive: 4, RouteRefresh: 5 } as const;

/** RFC 4271 §6.1: the smallest message of each type. */
const MIN_LENGTH: Record<number, number> = {
  [MessageType.Open]: 29,
  [MessageType.Update]: 23,
  [MessageType.Notification]: 21,
  [MessageType.Keepalive]: HEADER_OCTETS,
  [MessageType.RouteRefresh]: 23,
};

/** One message as it stood on the wire; `body` follows the header and stays valid (it is never overwritten). */
export interface RawMessage {
  readonly type: number;
  readonly body: Uint8Array;
}

/**
 * Cuts a stream into messages. Feed chunks with `push`, then take messages with `next` until it returns undefined.
 * A message inside one chunk is a view of that chunk; only a message that crosses a border is copied.
 * After a fault the stream is out of step and only the fault is returned.
 */
export class MessageReader {
  /** True once both sides have the extended message capability (RFC 8654 §4). */
  allowsExtended = false;
  #chunk: Uint8Array = new Uint8Array(0);
  #at = 0;
  /** A message that crosses chunk borders: as much of it as has arrived. */
  #partial: Uint8Array = new Uint8Array(HEADER_OCTETS);
  #have = 0;
  #fault: BgpFault | undefined;

  /** @param chunk owned by the reader from now on; it must not be changed afterwards */
  push(chunk: Uint8Array): void {
    // A Buffer's slices share memory and its views are slow to make: from here on everything is a plain Uint8Array.
    this.#chunk = new Uint8Array(chunk.buffer, chunk.byteOffset, chunk.length);
    this.#at = 0;
  }

  /** The next whole message, a fault, or undefined when more octets are needed. */
  next(): RawMessage | BgpFault | undefined {
    if (this.#fault !== undefined) return this.#fault;
    if (this.#have > 0) return this.#nextAcross();
    const left = this.#chunk.length - this.#at;
    if (left >= HEADER_OCTETS) {
      const at = this.#at;
      const fault = this.#checkHeader(this.#chunk, at);
      if (fault !== undefined) return (this.#fault = fault);
      const length = get16(this.#chunk, at + MARKER_OCTETS);
      if (left >= length) {
        this.#at = at + length;
        return { type: this.#chunk[at + 18]!, body: this.#chunk.subarray(at + HEADER_OCTETS, at + length) };
      }
      this.#partial = new Uint8Array(length);
    } else if (left === 0) return undefined;
    else this.#partial = new Uint8Array(HEADER_OCTETS);
    this.#fill();
    return undefined;
  }

  /** Continue a message begun in an earlier chunk. */
  #nextAcross(): RawMessage | BgpFault | undefined {
    this.#fill();
    if (this.#have < this.#partial.length) return undefined;
    if (this.#partial.length === HEADER_OCTETS) {
      const fault = this.#checkHeader(this.#partial, 0);
      if (fault !== undefined) return (this.#fault = fault);
      const length = get16(this.#partial, MARKER_OCTETS);
      if (length > HEADER_OCTETS) {
        const whole = new Uint8Array(length);
        whole.set(this.#partial);
        this.#partial = whole;
        this.#fill();
        if (this.#have < length) return undefined;
      }
    }
    this.#have = 0;
    return { type: this.#partial[18]!, body: this.#partial.subarray(HEADER_OCTETS) };
  }

  /** Move octets of the chunk into the partial message until either is exhausted. */
  #fill(): void {
    const n = Math.min(this.#partial.length - this.#have, this.#chunk.length - this.#at);
    this.#partial.set(this.#chunk.subarray(this.#at, this.#at + n), this.#have);
    this.#at += n;
    this.#have += n;
  }

  #checkHeader(b: Uint8Array, at: number): BgpFault | undefined {
    for (let i = 0; i < MARKER_OCTETS; i++) {
      if (b[at + i] !== 0xff)
        return resetFault(ErrorCode.Header, HeaderError.NotSynchronized, 'marker is not all ones');
    }
    const length = get16(b, at + MARKER_OCTETS);
    const type = b[at + 18]!;
    const min = MIN_LENGTH[type];
    if (min === undefined && length >= HEADER_OCTETS && length <= MAX_MESSAGE) {
      return resetFault(ErrorCode.Header, HeaderError.BadType, `unknown message type ${type}`, new Uint8Array([type]));
    }
    // RFC 8654 §4: OPEN and KEEPALIVE stay within 4,096 octets.
    const mayBeLong = this.allowsExtended && type !== MessageType.Open && type !== MessageType.Keepalive;
    const max = type === MessageType.Keepalive ? HEADER_OCTETS : mayBeLong ? MAX_EXTENDED_MESSAGE : MAX_MESSAGE;
    if (length < (min ?? HEADER_OCTETS) || length > max) {
      // RFC 4271 §6.1: "The Data field MUST contain the erroneous Length field."
      const data = b.slice(at + MARKER_OCTETS, at + MARKER_OCTETS + 2);
      return resetFault(ErrorCode.Header, HeaderError.BadLength, `message length ${length} of type ${type}`, data);
    }
    return undefined;
  }
}

/** Begin a message; `endMessage` fills in its length. Returns where it starts. */
export function beginMessage(w: OctetWriter, type: number): number {
  const start = w.length;
  for (let i = 0; i < 4; i++) w.u32(0xffffffff);
  w.u16(0);
  w.u8(type);
  return start;
}

export function endMessage(w: OctetWriter, start: number): void {
  w.patch16(start + MARKER_OCTETS, w.length - start);
}

/** An OPEN message (RFC 4271 §4.2). */
export interface Open {
  readonly version: number;
  /** My Autonomous System: two octets; AS_TRANS when the real one needs four (RFC 6793 §4.1). */
  readonly asn: number;
  readonly holdTimeS: number;
  /** BGP Identifier as an unsigned 32-bit number. */
  readonly identifier: number;
  readonly capabilities: readonly Capability[];
}

const PARAMETER_CAPABILITIES = 2; // RFC 5492 §4
const PARAMETER_EXTENDED = 255; // RFC 9072 §2

/** Decode the body of an OPEN; faults are those that need no configuration to be seen. */
export function decodeOpen(b: Uint8Array): Open | BgpFault {
  const version = b[0]!;
  if (version !== 4) {
    // RFC 4271 §6.2: data is the largest version this side supports.
    return resetFault(ErrorCode.Open, OpenError.Version, `BGP version ${version}`, new Uint8Array([0, 4]));
  }
  const malformed = (why: string): BgpFault => resetFault(ErrorCode.Open, OpenError.Unspecific, why);
  let at = 10;
  let end = at + b[9]!;
  let lengthOctets = 1;
  // RFC 9072 §2: the extended form is recognized by its first type octet, whatever the one-octet length says.
  if (b[9]! !== 0 && b[10] === PARAMETER_EXTENDED) {
    if (b.length < 13) return malformed('extended optional parameters are cut short');
    at = 13;
    end = at + get16(b, 11);
    lengthOctets = 2;
  }
  if (end !== b.length) return malformed('optional parameters do not end with the message');
  const capabilities: Capability[] = [];
  while (at < end) {
    if (at + 1 + lengthOctets > end) return malformed('optional parameter is cut short');
    const type = b[at]!;
    const length = lengthOctets === 1 ? b[at + 1]! : get16(b, at + 1);
    at += 1 + lengthOctets;
    if (at + length > end) return malformed('optional parameter runs past the end');
    if (type !== PARAMETER_CAPABILITIES) {
      return resetFault(ErrorCode.Open, OpenError.UnsupportedParameter, `optional parameter ${type}`);
    }
    const some = decodeCapabilities(b.subarray(at, at + length));
    if (some === undefined) return malformed('capabilities do not fill their parameter');
    capabilities.push(...some);
    at += length;
  }
  return {
    version,
    asn: get16(b, 1),
    holdTimeS: get16(b, 3),
    identifier: get32(b, 5) >>> 0,
    capabilities,
  };
}

export function encodeOpen(open: Open): Uint8Array {
  const caps = new OctetWriter(256);
  for (const c of open.capabilities) putCapability(caps, c);
  const w = new OctetWriter(64 + caps.length);
  const start = beginMessage(w, MessageType.Open);
  w.u8(open.version);
  w.u16(open.asn);
  w.u16(open.holdTimeS);
  w.u32(open.identifier);
  if (caps.length === 0) w.u8(0);
  else if (caps.length + 2 <= 254) {
    w.u8(caps.length + 2);
    w.u8(PARAMETER_CAPABILITIES);
    w.u8(caps.length);
  } else {
    w.u8(255);
    w.u8(PARAMETER_EXTENDED);
    w.u16(caps.length + 3);
    w.u8(PARAMETER_CAPABILITIES);
    w.u16(caps.length);
  }
  w.put(caps.bytes.subarray(0, caps.length));
  endMessage(w, start);
  return w.take();
}

/** A NOTIFICATION message (RFC 4271 §4.5). */
export interface Notification {
  readonly code: number;
  readonly subcode: number;
  readonly data: Uint8Array;
}

/** @param b body of at least two octets (the reader has checked) */
export function decodeNotification(b: Uint8Array): Notification {
  return { code: b[0]!, subcode: b[1]!, data: b.subarray(2) };
}

export function encodeNotification(n: Notification): Uint8Array {
  const w = new OctetWriter(HEADER_OCTETS + 2 + n.data.length);
  const start = beginMessage(w, MessageType.Notification);
  w.u8(n.code);
  w.u8(n.subcode);
  w.put(n.data.subarray(0, MAX_MESSAGE - HEADER_OCTETS - 2));
  endMessage(w, start);
  return w.take();
}

export function encodeKeepalive(): Uint8Array {
  const w = new OctetWriter(HEADER_OCTETS);
  endMessage(w, beginMessage(w, MessageType.Keepalive));
  return w.take();
}

/** A ROUTE-REFRESH message (RFC 2918 §3); `subtype` is 0 request, 1 BoRR, 2 EoRR (RFC 7313 §3.2). */
export interface RouteRefresh {
  readonly afi: number;
  readonly safi: number;
  readonly subtype: number;
}

/** A body of another length carries an outbound route filter, which is not spoken; it is read as a plain request. */
export function decodeRouteRefresh(b: Uint8Array): RouteRefresh {
  return { afi: get16(b, 0), subtype: b[2]!, safi: b[3]! };
}

export function encodeRouteRefresh(r: RouteRefresh): Uint8Array {
  const w = new OctetWriter(HEADER_OCTETS + 4);
  const start = beginMessage(w, MessageType.RouteRefresh);
  w.u16(r.afi);
  w.u8(r.subtype);
  w.u8(r.safi);
  endMessage(w, start);
  return w.take();
}
