/**
 * The Authentication Section of BFD (RFC 5880 §4.2 to §4.4 and §6.7): what signs the packets of one session and judges those
 * of its peer. Digests are given from outside. Does not know what a session makes of a packet.
 */
import { get32, put32 } from '../../router/lib/bytes.ts';
import { BFD_LEN } from './packet.ts';

/** RFC 5880 §4.1, field Auth Type, by number; `none` is 0. */
export const AUTH_TYPES = [
  'simple',
  'keyed-md5',
  'meticulous-keyed-md5',
  'keyed-sha1',
  'meticulous-keyed-sha1',
] as const;
export type BfdAuthType = (typeof AUTH_TYPES)[number];

/** The longest password of each type in octets (RFC 5880 §4.2 to §4.4). */
export const AUTH_PASSWORD_MAX: Readonly<Record<BfdAuthType, number>> = {
  simple: 16,
  'keyed-md5': 16,
  'meticulous-keyed-md5': 16,
  'keyed-sha1': 20,
  'meticulous-keyed-sha1': 20,
};

/** What both sides of a session have to agree on. */
export interface BfdAuth {
  readonly type: BfdAuthType;
  /** 0 to 255. */
  readonly keyId: number;
  /** UTF-8 of at most `AUTH_PASSWORD_MAX` octets. */
  readonly password: string;
}

export type Digest = (algorithm: 'md5' | 'sha1', octets: Uint8Array) => Uint8Array;

/** The A bit of the packet's second octet, and where its whole length stands. */
const AUTH_BIT = 0x04;
const LENGTH_AT = 3;
/** Offsets in the packet: Auth Type, Auth Len, Auth Key ID, Password or Reserved, Sequence Number, Digest. */
const TYPE_AT = BFD_LEN;
const AUTH_LEN_AT = BFD_LEN + 1;
const KEY_ID_AT = BFD_LEN + 2;
const PASSWORD_AT = BFD_LEN + 3;
const SEQUENCE_AT = BFD_LEN + 4;
const DIGEST_AT = BFD_LEN + 8;

export class Authenticator {
  readonly #type: number;
  readonly #keyId: number;
  readonly #secret: Uint8Array;
  readonly #algorithm: 'md5' | 'sha1' | undefined;
  readonly #isMeticulous: boolean;
  readonly #digest: Digest;
  /** bfd.XmitAuthSeq, random at first (RFC 5880 §6.8.1). */
  #sent: number;
  /** bfd.RcvAuthSeq, undefined while bfd.AuthSeqKnown is 0. */
  #received: number | undefined;
  #before: Uint8Array | undefined;

  /** @param random uniform numbers in [0, 1) */
  constructor({ type, keyId, password }: BfdAuth, digest: Digest, random: () => number) {
    this.#type = AUTH_TYPES.indexOf(type) + 1;
    this.#keyId = keyId;
    this.#algorithm = type === 'simple' ? undefined : type.endsWith('sha1') ? 'sha1' : 'md5';
    this.#isMeticulous = type.startsWith('meticulous');
    this.#digest = digest;
    this.#sent = Math.floor(random() * 2 ** 32) >>> 0;
    const octets = new TextEncoder().encode(password);
    // A key is padded to the place of its digest, a password is as long as it is.
    this.#secret = this.#algorithm === undefined ? octets : new Uint8Array(this.#algorithm === 'md5' ? 16 : 20);
    this.#secret.set(octets);
  }

  /** A packet without Authentication Section becomes one with it. */
  sign(packet: Uint8Array): Uint8Array {
    const at = this.#secretAt;
    const b = new Uint8Array(at + this.#secret.length);
    b.set(packet);
    b[1]! |= AUTH_BIT;
    b[LENGTH_AT] = b.length;
    b[TYPE_AT] = this.#type;
    b[AUTH_LEN_AT] = b.length - BFD_LEN;
    b[KEY_ID_AT] = this.#keyId;
    b.set(this.#secret, at);
    if (this.#algorithm === undefined) return b;
    this.#count(packet);
    put32(b, SEQUENCE_AT, this.#sent);
    b.set(this.#digest(this.#algorithm, b), at);
    return b;
  }

  /** Whether a packet that carries an Authentication Section is the peer's and no older one of it (RFC 5880 §6.7.2 to §6.7.4). */
  accepts(octets: Uint8Array): boolean {
    const at = this.#secretAt;
    const length = at + this.#secret.length;
    const isShaped =
      octets[LENGTH_AT] === length &&
      octets.length >= length &&
      octets[TYPE_AT] === this.#type &&
      octets[AUTH_LEN_AT] === length - BFD_LEN &&
      octets[KEY_ID_AT] === this.#keyId;
    if (!isShaped) return false;
    const told = octets.subarray(at, length);
    if (this.#algorithm === undefined) return isSame(told, this.#secret);
    const sequence = get32(octets, SEQUENCE_AT) >>> 0;
    if (!this.#isInWindow(sequence, octets[2]!)) return false;
    const b = new Uint8Array(length); // slice() of a Node Buffer would be the packet itself
    b.set(octets.subarray(0, at));
    b.set(this.#secret, at);
    if (!isSame(told, this.#digest(this.#algorithm, b))) return false;
    this.#received = sequence;
    return true;
  }

  /** RFC 5880 §6.8.1: bfd.AuthSeqKnown is 0 again when the peer was silent for twice the detection time. */
  forget(): void {
    this.#received = undefined;
  }

  get #secretAt(): number {
    return this.#algorithm === undefined ? PASSWORD_AT : DIGEST_AT;
  }

  /** RFC 5880 §6.7.3: meticulous numbers grow with every packet, others when the packet differs from the one before. */
  #count(packet: Uint8Array): void {
    const isNew = this.#before === undefined || !isSame(packet, this.#before);
    if (this.#isMeticulous || isNew) this.#sent = (this.#sent + 1) >>> 0;
    this.#before = packet;
  }

  #isInWindow(sequence: number, detectMult: number): boolean {
    if (this.#received === undefined) return true;
    const ahead = (sequence - this.#received) >>> 0;
    return ahead <= 3 * detectMult && (ahead > 0 || !this.#isMeticulous);
  }
}

/** Equal, in a time that does not depend on where they differ. */
function isSame(a: Uint8Array, b: Uint8Array): boolean {
  if (a.length !== b.length) return false;
  let difference = 0;
  for (let i = 0; i < a.length; i++) difference |= a[i]! ^ b[i]!;
  return difference === 0;
}
