/**
 * DNS messages: decoding to plain values, and building. Read first: RFC 1035 §4 (format), RFC 6891 (EDNS), RFC 2308 (what
 * a negative answer carries). Names are text in the presentation form of RFC 1035 §5.1 without the final dot, in the
 * letter case that was received. Does not know zones, DNSSEC or dynamic update; types it does not know stay octets.
 */
import { Addr } from '../lib/addr.ts';
import { get16, get32, put16, put32 } from '../lib/bytes.ts';

export const DnsType = { A: 1, NS: 2, CNAME: 5, SOA: 6, PTR: 12, AAAA: 28, OPT: 41 } as const;
export const DNS_CLASS_IN = 1;
/** RFC 1035 §4.1.1, RFC 6891 §9. */
export const DnsRcode = {
  NoError: 0,
  FormErr: 1,
  ServFail: 2,
  NxDomain: 3,
  NotImp: 4,
  Refused: 5,
  BadVers: 16,
} as const;
/** RFC 1035 §2.3.4: "labels 63 octets or less, names 255 octets or less". */
const MAX_LABEL = 63;
const MAX_NAME = 255;
export const DNS_HEADER_LEN = 12;
export const DNS_PORT = 53;

const FLAG_RESPONSE = 0x8000;
const FLAG_AUTHORITATIVE = 0x0400;
const FLAG_TRUNCATED = 0x0200;
const FLAG_RECURSION_DESIRED = 0x0100;
const FLAG_RECURSION_AVAILABLE = 0x0080;

export interface DnsQuestion {
  readonly name: string;
  readonly type: number;
  readonly class: number;
}

/** What a record says; `raw` for types and lengths this file does not know. */
export type DnsData =
  | { readonly kind: 'address'; readonly addr: Addr }
  | { readonly kind: 'name'; readonly name: string }
  | {
      readonly kind: 'soa';
      readonly mname: string;
      readonly rname: string;
      readonly serial: number;
      readonly minimumS: number;
    }
  | { readonly kind: 'raw'; readonly bytes: Uint8Array };

export interface DnsRecord {
  readonly name: string;
  readonly type: number;
  readonly class: number;
  readonly ttlS: number;
  readonly data: DnsData;
}

/** The OPT pseudo-record (RFC 6891 §6.1). */
export interface DnsEdns {
  /** Largest datagram the sender takes. */
  readonly udpSize: number;
  readonly version: number;
}

export interface DnsMessage {
  readonly id: number;
  readonly isResponse: boolean;
  readonly opcode: number;
  readonly isAuthoritative: boolean;
  readonly isTruncated: boolean;
  readonly recursionDesired: boolean;
  readonly recursionAvailable: boolean;
  /** With the upper bits of EDNS (RFC 6891 §6.1.3). */
  readonly rcode: number;
  readonly questions: readonly DnsQuestion[];
  readonly answers: readonly DnsRecord[];
  readonly authorities: readonly DnsRecord[];
  /** Without the OPT record. */
  readonly additionals: readonly DnsRecord[];
  readonly edns: DnsEdns | undefined;
}

/** Decode a message; undefined when it is malformed or ends early. A truncated one (TC) may end between records. */
export function parseDns(b: Uint8Array): DnsMessage | undefined {
  if (b.length < DNS_HEADER_LEN) return undefined;
  const cursor = new Cursor(b, DNS_HEADER_LEN);
  const flags = get16(b, 2);
  const isTruncated = (flags & FLAG_TRUNCATED) !== 0;
  const questions: DnsQuestion[] = [];
  for (let i = get16(b, 4); i > 0; i--) {
    const name = cursor.name();
    const type = cursor.u16();
    const klass = cursor.u16();
    if (name === undefined || cursor.isPastEnd) return undefined;
    questions.push({ name, type, class: klass });
  }
  const sections: DnsRecord[][] = [[], [], []];
  let edns: DnsEdns | undefined;
  let rcode = flags & 15;
  for (const [i, section] of sections.entries())
    for (let n = get16(b, 6 + 2 * i); n > 0; n--) {
      if (isTruncated && cursor.isAtEnd) break;
      const record = readRecord(cursor);
      if (record === undefined) return undefined;
      if (record.type !== DnsType.OPT) section.push(record);
      else {
        // RFC 6891 §6.1.1: "If a query message with more than one OPT RR is received, a FORMERR MUST be returned."
        if (edns !== undefined || i !== 2 || record.name !== '') return undefined;
        edns = { udpSize: record.class, version: (record.ttlS >>> 16) & 255 };
        rcode |= (record.ttlS >>> 24) << 4;
      }
    }
  return {
    id: get16(b, 0),
    isResponse: (flags & FLAG_RESPONSE) !== 0,
    opcode: (flags >>> 11) & 15,
    isAuthoritative: (flags & FLAG_AUTHORITATIVE) !== 0,
    isTruncated,
    recursionDesired: (flags & FLAG_RECURSION_DESIRED) !== 0,
    recursionAvailable: (flags & FLAG_RECURSION_AVAILABLE) !== 0,
    rcode,
    questions,
    answers: sections[0]!,
    authorities: sections[1]!,
    additionals: sections[2]!,
    edns,
  };
}

/** Build a message, names compressed (RFC 1035 §4.1.4). undefined when a name is not encodable or it exceeds 65535 octets. */
export function buildDns(m: DnsMessage): Uint8Array | undefined {
  const w = new Writer();
  w.u16(m.id);
  w.u16(
    (m.isResponse ? FLAG_RESPONSE : 0) |
      ((m.opcode & 15) << 11) |
      (m.isAuthoritative ? FLAG_AUTHORITATIVE : 0) |
      (m.isTruncated ? FLAG_TRUNCATED : 0) |
      (m.recursionDesired ? FLAG_RECURSION_DESIRED : 0) |
      (m.recursionAvailable ? FLAG_RECURSION_AVAILABLE : 0) |
      (m.rcode & 15),
  );
  w.u16(m.questions.length);
  w.u16(m.answers.length);
  w.u16(m.authorities.length);
  w.u16(m.additionals.length + (m.edns === undefined ? 0 : 1));
  for (const q of m.questions) {
    w.name(q.name);
    w.u16(q.type);
    w.u16(q.class);
  }
  for (const record of [...m.answers, ...m.authorities, ...m.additionals]) writeRecord(w, record);
  if (m.edns !== undefined) {
    w.name('');
    w.u16(DnsType.OPT);
    w.u16(m.edns.udpSize);
    w.u32(((m.rcode >>> 4) << 24) | (m.edns.version << 16));
    w.u16(0);
  }
  return w.finish();
}

/** A recursive query for one question. @param udpSize EDNS size to offer, 0 for a query without EDNS */
export function buildDnsQuery(id: number, name: string, type: number, udpSize: number): Uint8Array | undefined {
  return buildDns({
    id,
    isResponse: false,
    opcode: 0,
    isAuthoritative: false,
    isTruncated: false,
    recursionDesired: true,
    recursionAvailable: false,
    rcode: DnsRcode.NoError,
    questions: [{ name, type, class: DNS_CLASS_IN }],
    answers: [],
    authorities: [],
    additionals: [],
    edns: udpSize === 0 ? undefined : { udpSize, version: 0 },
  });
}

/** RFC 4343 §3: names are equal without regard to the case of ASCII letters. */
export function sameDnsName(a: string, b: string): boolean {
  return a.length === b.length && dnsNameKey(a) === dnsNameKey(b);
}

/** A name in the form that equal names share. */
export function dnsNameKey(name: string): string {
  return name.replace(/[A-Z]+/g, (s) => s.toLowerCase());
}

/** The name whose PTR record names an address: RFC 1035 §3.5 (in-addr.arpa), RFC 3596 §2.5 (ip6.arpa). */
export function reverseDnsName(addr: Addr): string {
  const octets = [...addr.toBytes()].reverse();
  if (addr.family === 4) return `${octets.join('.')}.in-addr.arpa`;
  return `${octets.map((o) => `${(o & 15).toString(16)}.${(o >>> 4).toString(16)}`).join('.')}.ip6.arpa`;
}

/** Labels of a name in presentation form, as octets; undefined when it can not be a domain name. */
export function dnsLabels(name: string): Uint8Array[] | undefined {
  const text = name.endsWith('.') && !name.endsWith('\\.') ? name.slice(0, -1) : name;
  if (text === '') return [];
  const labels: Uint8Array[] = [];
  let label: number[] = [];
  for (let i = 0; i < text.length; i++) {
    let code = text.charCodeAt(i);
    if (code > 126 || code < 33) return undefined;
    if (code === 0x2e) {
      labels.push(Uint8Array.from(label));
      label = [];
      continue;
    }
    if (code === 0x5c) {
      const digits = /^\d{3}/.exec(text.slice(i + 1))?.[0];
      if (i + 1 >= text.length || (digits !== undefined && Number(digits) > 255)) return undefined;
      code = digits === undefined ? text.charCodeAt(i + 1) : Number(digits);
      i += digits === undefined ? 1 : 3;
    }
    label.push(code);
  }
  labels.push(Uint8Array.from(label));
  const total = labels.reduce((sum, l) => sum + l.length + 1, 1);
  return total <= MAX_NAME && labels.every((l) => l.length > 0 && l.length <= MAX_LABEL) ? labels : undefined;
}

/** Presentation form of one label (RFC 1035 §5.1). */
function labelText(b: Uint8Array, at: number, length: number): string {
  let text = '';
  for (let i = at; i < at + length; i++) {
    const c = b[i]!;
    if (c === 0x2e || c === 0x5c) text += `\\${String.fromCharCode(c)}`;
    else if (c > 32 && c < 127) text += String.fromCharCode(c);
    else text += `\\${String(c).padStart(3, '0')}`;
  }
  return text;
}

class Cursor {
  readonly #b: Uint8Array;
  #at: number;

  constructor(b: Uint8Array, at: number) {
    this.#b = b;
    this.#at = at;
  }

  get at(): number {
    return this.#at;
  }

  /** A read went beyond the message; every value read since is 0. */
  get isPastEnd(): boolean {
    return this.#at > this.#b.length;
  }

  get isAtEnd(): boolean {
    return this.#at === this.#b.length;
  }

  u16(): number {
    this.#at += 2;
    return this.isPastEnd ? 0 : get16(this.#b, this.#at - 2);
  }

  u32(): number {
    this.#at += 4;
    return this.isPastEnd ? 0 : get32(this.#b, this.#at - 4);
  }

  bytes(length: number): Uint8Array {
    this.#at += length;
    return this.isPastEnd ? new Uint8Array(0) : this.#b.slice(this.#at - length, this.#at);
  }

  /** A name, or undefined when it is malformed. */
  name(): string | undefined {
    const b = this.#b;
    const parts: string[] = [];
    let at = this.#at;
    let segment = at; // where the present run of labels began
    let after = -1;
    let octets = 1;
    for (;;) {
      if (at >= b.length) return undefined;
      const length = b[at]!;
      if (length === 0) {
        this.#at = after < 0 ? at + 1 : after;
        return parts.join('.');
      }
      if (length >= 0xc0) {
        if (at + 1 >= b.length) return undefined;
        const target = get16(b, at) & 0x3fff;
        if (after < 0) after = at + 2;
        // RFC 1035 §4.1.4: a pointer names "a prior occurance"; going strictly backwards, no chain of them can be a loop.
        if (target >= segment || target < DNS_HEADER_LEN) return undefined;
        at = target;
        segment = target;
        continue;
      }
      octets += length + 1;
      if (length > MAX_LABEL || octets > MAX_NAME || at + 1 + length > b.length) return undefined;
      parts.push(labelText(b, at + 1, length));
      at += 1 + length;
    }
  }
}

function readRecord(cursor: Cursor): DnsRecord | undefined {
  const name = cursor.name();
  const type = cursor.u16();
  const klass = cursor.u16();
  const ttl = cursor.u32();
  const length = cursor.u16();
  if (name === undefined || cursor.isPastEnd) return undefined;
  const end = cursor.at + length;
  const data = readData(cursor, type, klass, length);
  if (data === undefined || cursor.isPastEnd || cursor.at !== end) return undefined;
  // RFC 2181 §8: a TTL with the most significant bit set is treated as zero. OPT keeps its flags there.
  return { name, type, class: klass, ttlS: type === DnsType.OPT ? ttl : Math.max(0, ttl), data };
}

function readData(cursor: Cursor, type: number, klass: number, length: number): DnsData | undefined {
  const isName = type === DnsType.CNAME || type === DnsType.PTR || type === DnsType.NS;
  if (klass === DNS_CLASS_IN && ((type === DnsType.A && length === 4) || (type === DnsType.AAAA && length === 16))) {
    const addr = Addr.fromBytes(cursor.bytes(length));
    return addr === undefined ? undefined : { kind: 'address', addr };
  }
  if (isName) {
    const name = cursor.name();
    return name === undefined ? undefined : { kind: 'name', name };
  }
  if (type === DnsType.SOA) {
    const mname = cursor.name();
    const rname = cursor.name();
    const serial = cursor.u32() >>> 0;
    cursor.bytes(12); // refresh, retry, expire: for secondaries
    const minimumS = Math.max(0, cursor.u32());
    return mname === undefined || rname === undefined ? undefined : { kind: 'soa', mname, rname, serial, minimumS };
  }
  return { kind: 'raw', bytes: cursor.bytes(length) };
}

function writeRecord(w: Writer, r: DnsRecord): void {
  w.name(r.name);
  w.u16(r.type);
  w.u16(r.class);
  w.u32(r.ttlS);
  const at = w.length;
  w.u16(0);
  if (r.data.kind === 'address') w.bytes(r.data.addr.toBytes());
  else if (r.data.kind === 'name') w.name(r.data.name);
  else if (r.data.kind === 'raw') w.bytes(r.data.bytes);
  else {
    w.name(r.data.mname);
    w.name(r.data.rname);
    w.u32(r.data.serial);
    for (let i = 0; i < 3; i++) w.u32(0);
    w.u32(r.data.minimumS);
  }
  w.patch16(at, w.length - at - 2);
}

class Writer {
  #b = new Uint8Array(512);
  #length = 0;
  #isBad = false;
  /** Offsets of names already written, by their key. */
  readonly #offsets = new Map<string, number>();

  get length(): number {
    return this.#length;
  }

  u16(value: number): void {
    const at = this.#room(2); // may replace the array
    put16(this.#b, at, value);
  }

  u32(value: number): void {
    const at = this.#room(4);
    put32(this.#b, at, value);
  }

  bytes(bytes: Uint8Array): void {
    const at = this.#room(bytes.length);
    this.#b.set(bytes, at);
  }

  patch16(at: number, value: number): void {
    put16(this.#b, at, value);
  }

  name(name: string): void {
    const labels = dnsLabels(name);
    if (labels === undefined) {
      this.#isBad = true;
      return;
    }
    for (let i = 0; i < labels.length; i++) {
      const key = labels
        .slice(i)
        .map((l) => dnsNameKey(labelText(l, 0, l.length)))
        .join('.');
      const known = this.#offsets.get(key);
      if (known !== undefined) {
        this.u16(0xc000 | known);
        return;
      }
      if (this.#length < 0x4000) this.#offsets.set(key, this.#length);
      const label = labels[i]!;
      this.bytes(Uint8Array.of(label.length));
      this.bytes(label);
    }
    this.bytes(Uint8Array.of(0));
  }

  finish(): Uint8Array | undefined {
    return this.#isBad || this.#length > 0xffff ? undefined : this.#b.slice(0, this.#length);
  }

  #room(octets: number): number {
    const at = this.#length;
    this.#length += octets;
    if (this.#length > this.#b.length) {
      const grown = new Uint8Array(this.#length * 2);
      grown.set(this.#b);
      this.#b = grown;
    }
    return at;
  }
}
