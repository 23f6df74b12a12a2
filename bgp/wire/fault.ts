/**
 * A peer's mistakes as values: the code of the NOTIFICATION that would report it, and how much of the session it costs.
 * Read first: RFC 4271 §6, RFC 7606 §2, RFC 4486, RFC 9003, RFC 6608, RFC 9687.
 * Read also: RFC 8538 §3 (hard reset), RFC 9384 (BFD down).
 * Does not decide what happens to the session; bgp/fsm does.
 */

import { type FamilyCode, familyText } from './family.ts';

/** NOTIFICATION error codes (RFC 4271 §4.5, RFC 7313 §5, RFC 9687 §5). */
export const ErrorCode = {
  Header: 1,
  Open: 2,
  Update: 3,
  HoldTimer: 4,
  Fsm: 5,
  Cease: 6,
  RouteRefresh: 7,
  SendHoldTimer: 8,
} as const;

/** Subcodes of a message header error (RFC 4271 §6.1). */
export const HeaderError = { NotSynchronized: 1, BadLength: 2, BadType: 3 } as const;

/** Subcodes of an OPEN error (RFC 4271 §6.2, RFC 5492 §5). */
export const OpenError = {
  Unspecific: 0,
  Version: 1,
  BadPeerAs: 2,
  BadIdentifier: 3,
  UnsupportedParameter: 4,
  HoldTime: 6,
  UnsupportedCapability: 7,
  RoleMismatch: 11, // RFC 9234 §4.2
} as const;

/** Subcodes of an UPDATE error (RFC 4271 §6.3). */
export const UpdateError = {
  MalformedList: 1,
  UnrecognizedWellKnown: 2,
  MissingWellKnown: 3,
  Flags: 4,
  Length: 5,
  Origin: 6,
  NextHop: 8,
  OptionalAttribute: 9,
  NetworkField: 10,
  AsPath: 11,
} as const;

/** Subcodes of a ROUTE-REFRESH error (RFC 7313 §5). */
export const RefreshError = { BadLength: 1 } as const;

/** Subcodes of Cease (RFC 4486 §3). */
export const Cease = {
  MaxPrefixes: 1,
  AdminShutdown: 2,
  PeerDeconfigured: 3,
  AdminReset: 4,
  ConnectionRejected: 5,
  ConfigChange: 6,
  Collision: 7,
  OutOfResources: 8,
  HardReset: 9, // RFC 8538 §3.1
  BfdDown: 10, // RFC 9384 §3
} as const;

/** RFC 7606 §2: approaches in order of severity. "AFI/SAFI disable" is not used: it leaves the session half dead. */
export type Handling = 'discard' | 'treat-as-withdraw' | 'reset';

export interface BgpFault {
  readonly code: number;
  readonly subcode: number;
  /** Data field of the NOTIFICATION. */
  readonly data: Uint8Array;
  readonly handling: Handling;
  /** The mistake in words, for the operator. */
  readonly words: string;
}

export const NO_DATA = new Uint8Array(0);

/** A fault that costs the session. */
export function resetFault(code: number, subcode: number, words: string, data: Uint8Array = NO_DATA): BgpFault {
  return { code, subcode, data, handling: 'reset', words };
}

const SEVERITY: Record<Handling, number> = { discard: 0, 'treat-as-withdraw': 1, reset: 2 };

/** RFC 7606 §3 (h): with several mistakes in one message the strongest handling is used. */
export function isWorse(a: Handling, b: Handling): boolean {
  return SEVERITY[a] > SEVERITY[b];
}

const CODE_NAMES: Record<number, string> = {
  1: 'message header error',
  2: 'OPEN message error',
  3: 'UPDATE message error',
  4: 'hold timer expired',
  5: 'finite state machine error',
  6: 'cease',
  7: 'ROUTE-REFRESH message error',
  8: 'send hold timer expired',
};

const SUBCODE_NAMES: Record<number, Record<number, string>> = {
  1: { 1: 'connection not synchronized', 2: 'bad message length', 3: 'bad message type' },
  2: {
    1: 'unsupported version number',
    2: 'bad peer AS',
    3: 'bad BGP identifier',
    4: 'unsupported optional parameter',
    5: 'authentication failure',
    6: 'unacceptable hold time',
    7: 'unsupported capability',
    11: 'role mismatch',
  },
  3: {
    1: 'malformed attribute list',
    2: 'unrecognized well-known attribute',
    3: 'missing well-known attribute',
    4: 'attribute flags error',
    5: 'attribute length error',
    6: 'invalid ORIGIN attribute',
    7: 'AS routing loop',
    8: 'invalid NEXT_HOP attribute',
    9: 'optional attribute error',
    10: 'invalid network field',
    11: 'malformed AS_PATH',
  },
  // RFC 6608 §3
  5: {
    1: 'unexpected message in OpenSent state',
    2: 'unexpected message in OpenConfirm state',
    3: 'unexpected message in Established state',
  },
  // RFC 4486 §3, RFC 8538 §3, RFC 9384 §3
  6: {
    1: 'maximum number of prefixes reached',
    2: 'administrative shutdown',
    3: 'peer de-configured',
    4: 'administrative reset',
    5: 'connection rejected',
    6: 'other configuration change',
    7: 'connection collision resolution',
    8: 'out of resources',
    9: 'hard reset',
    10: 'BFD down',
  },
  7: { 1: 'invalid message length' },
};

/**
 * "OPEN message error: bad peer AS" from a code and subcode; unknown ones keep their numbers. A known reason for a Cease
 * stands alone: "administrative shutdown".
 */
export function errorName(code: number, subcode: number): string {
  const name = CODE_NAMES[code] ?? `error ${code}`;
  if (subcode === 0) return name;
  const reason = SUBCODE_NAMES[code]?.[subcode];
  if (code === ErrorCode.Cease && reason !== undefined) return reason;
  return `${name}: ${reason ?? `subcode ${subcode}`}`;
}

const MAX_SHUTDOWN_TEXT = 255;

/** RFC 8538 §3.1: a Cease that also ends what graceful restart would keep; data is the NOTIFICATION it stands for. */
export function hardReset(code: number, subcode: number, data: Uint8Array): Uint8Array {
  const out = new Uint8Array(2 + data.length);
  out[0] = code;
  out[1] = subcode;
  out.set(data, 2);
  return out;
}

/** RFC 4486 §4: data of a Cease for too many prefixes: AFI, SAFI and the limit. */
export function prefixLimitData(family: FamilyCode, limit: number): Uint8Array {
  const data = new Uint8Array(7);
  const view = new DataView(data.buffer);
  view.setUint16(0, family.afi);
  view.setUint8(2, family.safi);
  view.setUint32(3, limit);
  return data;
}

/** What a NOTIFICATION says, in words: its error, the operator's text, the limit, and what a hard reset stands for. */
export function notificationText(code: number, subcode: number, data: Uint8Array): string {
  const name = errorName(code, subcode);
  if (code !== ErrorCode.Cease) return name;
  if (subcode === Cease.HardReset && data.length >= 2) {
    const [inner, innerSub] = [data[0]!, data[1]!];
    // A hard reset inside a hard reset says nothing more.
    if (inner === ErrorCode.Cease && innerSub === Cease.HardReset) return name;
    return notificationText(inner, innerSub, data.subarray(2));
  }
  if (subcode === Cease.MaxPrefixes && data.length === 7) {
    const view = new DataView(data.buffer, data.byteOffset, data.length);
    return `${name}: ${view.getUint32(3)} of ${familyText({ afi: view.getUint16(0), safi: view.getUint8(2) })}`;
  }
  const words = shutdownText(code, subcode, data);
  return words === undefined ? name : `${name}: "${words}"`;
}

/** RFC 9003 §2: data of a Cease with subcode 2 or 4: one length octet and UTF-8 text of at most 255 octets. */
export function shutdownData(text: string): Uint8Array {
  let utf8 = new TextEncoder().encode(text);
  if (utf8.length > MAX_SHUTDOWN_TEXT) {
    let cut = MAX_SHUTDOWN_TEXT;
    while ((utf8[cut]! & 0xc0) === 0x80) cut--; // never in the middle of a character
    utf8 = utf8.slice(0, cut);
  }
  const data = new Uint8Array(1 + utf8.length);
  data[0] = utf8.length;
  data.set(utf8, 1);
  return data;
}

/** The operator's text in a received Cease; undefined when there is none or it is not well-formed (RFC 9003 §2). */
export function shutdownText(code: number, subcode: number, data: Uint8Array): string | undefined {
  if (code !== ErrorCode.Cease || (subcode !== Cease.AdminShutdown && subcode !== Cease.AdminReset)) return undefined;
  const length = data[0];
  if (length === undefined || length === 0 || length !== data.length - 1) return undefined;
  try {
    const text = new TextDecoder('utf-8', { fatal: true }).decode(data.subarray(1));
    // RFC 9003 §6: the text goes to logs and terminals, so control characters do not survive.
    return text.replace(/\p{Cc}/gu, ' ');
  } catch {
    return undefined;
  }
}
