/**
 * The messages between a router and an RPKI cache: reads a stream of them, writes those a router sends.
 * Read first: RFC 8210 §5 (version 1), RFC 6810 §5 (version 0). Knows nothing about their order.
 */

import { get16, get32 } from '../../router/lib/bytes.ts';
import { OctetWriter } from '../wire/octets.ts';

export const PduType = {
  SerialNotify: 0,
  SerialQuery: 1,
  ResetQuery: 2,
  CacheResponse: 3,
  Ipv4Prefix: 4,
  Ipv6Prefix: 6,
  EndOfData: 7,
  CacheReset: 8,
  RouterKey: 9,
  ErrorReport: 10,
} as const;

/** RFC 8210 §12. */
export const RtrError = {
  CorruptData: 0,
  InternalError: 1,
  NoDataAvailable: 2,
  InvalidRequest: 3,
  UnsupportedVersion: 4,
  UnsupportedPduType: 5,
  WithdrawalOfUnknown: 6,
  DuplicateAnnouncement: 7,
  UnexpectedVersion: 8,
} as const;

export const RTR_ERROR_TEXT: Readonly<Record<number, string>> = {
  [RtrError.CorruptData]: 'corrupt data',
  [RtrError.InternalError]: 'internal error',
  [RtrError.NoDataAvailable]: 'no data available',
  [RtrError.InvalidRequest]: 'invalid request',
  [RtrError.UnsupportedVersion]: 'unsupported protocol version',
  [RtrError.UnsupportedPduType]: 'unsupported PDU type',
  [RtrError.WithdrawalOfUnknown]: 'withdrawal of an unknown record',
  [RtrError.DuplicateAnnouncement]: 'duplicate announcement',
  [RtrError.UnexpectedVersion]: 'unexpected protocol version',
};

export const HEADER_OCTETS = 8;
/** Longer than any router key or error text has a reason to be. */
const MAX_OCTETS = 16 * 1024;

/** Octets of each type that has one length only, in version 1; End of Data differs in version 0. */
const LENGTHS: Readonly<Record<number, number>> = {
  [PduType.SerialNotify]: 12,
  [PduType.SerialQuery]: 12,
  [PduType.ResetQuery]: 8,
  [PduType.CacheResponse]: 8,
  [PduType.Ipv4Prefix]: 20,
  [PduType.Ipv6Prefix]: 32,
  [PduType.CacheReset]: 8,
};
const END_OF_DATA_OCTETS = [12, 24] as const;
/** Octets of those whose length varies, at least: RFC 8210 §5.10 and §5.11. */
const LEAST: Readonly<Record<number, number>> = { [PduType.RouterKey]: 32, [PduType.ErrorReport]: 16 };

/** One PDU as it stood in the stream. Valid until the next call of the reader. */
export interface Pdu {
  readonly version: number;
  readonly type: number;
  /** Session id, zero, or error code, by type. */
  readonly session: number;
  readonly bytes: Uint8Array;
}

/** A mistake that ends the session. */
export interface RtrFault {
  readonly code: number;
  readonly words: string;
  /** The PDU at fault, as far as it can be quoted. */
  readonly pdu: Uint8Array;
  /** RFC 8210 §5.11: what is wrong with an Error Report is not answered with another. */
  readonly isSilent?: boolean;
}

/** Cuts PDUs from a stream wherever it was cut. */
export class PduReader {
  #bytes = new Uint8Array(4096);
  #from = 0;
  #to = 0;

  push(octets: Uint8Array): void {
    if (this.#from === this.#to) {
      this.#from = 0;
      this.#to = 0;
    }
    if (this.#to + octets.length > this.#bytes.length) {
      const rest = this.#bytes.subarray(this.#from, this.#to);
      const needed = rest.length + octets.length;
      const room = needed > this.#bytes.length ? new Uint8Array(Math.max(needed, this.#bytes.length * 2)) : this.#bytes;
      room.set(rest);
      this.#bytes = room;
      this.#to = rest.length;
      this.#from = 0;
    }
    this.#bytes.set(octets, this.#to);
    this.#to += octets.length;
  }

  /** The next PDU, undefined when it has not arrived whole, or what is wrong with it. */
  next(): Pdu | RtrFault | undefined {
    const b = this.#bytes;
    const at = this.#from;
    if (this.#to - at < HEADER_OCTETS) return undefined;
    const version = b[at]!;
    const type = b[at + 1]!;
    const length = get32(b, at + 4) >>> 0;
    const wanted = type === PduType.EndOfData ? END_OF_DATA_OCTETS[version] : LENGTHS[type];
    const least = LEAST[type] ?? HEADER_OCTETS;
    if (length < least || length > MAX_OCTETS || (wanted !== undefined && wanted !== length)) {
      const words = `PDU type ${type} of ${length} octets`;
      const isSilent = type === PduType.ErrorReport;
      return { code: RtrError.CorruptData, words, pdu: b.slice(at, at + HEADER_OCTETS), isSilent };
    }
    if (this.#to - at < length) return undefined;
    this.#from += length;
    return { version, type, session: get16(b, at + 2), bytes: b.subarray(at, at + length) };
  }
}

export function isFault(x: Pdu | RtrFault): x is RtrFault {
  return 'words' in x;
}

function header(w: OctetWriter, version: number, type: number, session: number, length: number): void {
  w.u8(version);
  w.u8(type);
  w.u16(session);
  w.u32(length);
}

export function resetQuery(version: number): Uint8Array {
  const w = new OctetWriter(HEADER_OCTETS);
  header(w, version, PduType.ResetQuery, 0, HEADER_OCTETS);
  return w.take();
}

export function serialQuery(version: number, session: number, serial: number): Uint8Array {
  const w = new OctetWriter(12);
  header(w, version, PduType.SerialQuery, session, 12);
  w.u32(serial);
  return w.take();
}

/** RFC 8210 §5.11: the PDU at fault and words for people. */
export function errorReport(version: number, fault: RtrFault): Uint8Array {
  const text = new TextEncoder().encode(fault.words);
  const w = new OctetWriter(HEADER_OCTETS + 8 + fault.pdu.length + text.length);
  header(w, version, PduType.ErrorReport, fault.code, HEADER_OCTETS + 8 + fault.pdu.length + text.length);
  w.u32(fault.pdu.length);
  w.put(fault.pdu);
  w.u32(text.length);
  w.put(text);
  return w.take();
}

/** What an Error Report says, for display. */
export function errorText(pdu: Pdu): string {
  const name = RTR_ERROR_TEXT[pdu.session] ?? `error ${pdu.session}`;
  const b = pdu.bytes;
  if (b.length < HEADER_OCTETS + 8) return name;
  const at = HEADER_OCTETS + 4 + (get32(b, HEADER_OCTETS) >>> 0);
  if (at + 4 > b.length) return name;
  const length = Math.min(get32(b, at) >>> 0, b.length - at - 4, 200);
  // What a cache says is shown to operators: nothing in it may steer a terminal.
  const text = new TextDecoder().decode(b.subarray(at + 4, at + 4 + length)).replace(/[^\x20-\x7e]+/g, ' ');
  return text.trim() === '' ? name : `${name}: ${text.trim()}`;
}
