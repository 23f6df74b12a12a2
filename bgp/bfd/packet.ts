/**
 * The BFD Control packet in its octets (RFC 5880 §4.1): the checks of §6.8.6 that need no session, and the encoder.
 * Does not know sessions, ports or TTLs. What an Authentication Section says is left to auth.ts.
 */
import { get32, put32 } from '../../router/lib/bytes.ts';

/** RFC 5880 §4.1, field State. */
export const STATES = ['AdminDown', 'Down', 'Init', 'Up'] as const;
export type BfdState = (typeof STATES)[number];

/** RFC 5880 §4.1, field Diagnostic: why the sender's session last left Up. */
export const DIAGNOSTICS = [
  'no diagnostic',
  'control detection time expired',
  'echo function failed',
  'neighbor signaled session down',
  'forwarding plane reset',
  'path down',
  'concatenated path down',
  'administratively down',
  'reverse concatenated path down',
] as const;

export const Diag = { None: 0, DetectionExpired: 1, NeighborDown: 3, AdminDown: 7 } as const;

/** Octets of a packet without Authentication Section. */
export const BFD_LEN = 24;
/** An Authentication Section has at least its type and length. */
const BFD_AUTH_MIN_LEN = 26;
const VERSION = 1;

const Bit = { Poll: 0x20, Final: 0x10, Independent: 0x08, Auth: 0x04, Demand: 0x02, Multipoint: 0x01 } as const;

/** What a Control packet says. Intervals are microseconds, discriminators uint32. */
export interface BfdPacket {
  readonly diag: number;
  readonly state: BfdState;
  readonly poll: boolean;
  readonly final: boolean;
  readonly controlPlaneIndependent: boolean;
  /** An Authentication Section follows; whether it is wanted, and right, is for the session to say. */
  readonly authenticated: boolean;
  readonly demand: boolean;
  readonly detectMult: number;
  readonly myDiscriminator: number;
  readonly yourDiscriminator: number;
  readonly desiredMinTxUs: number;
  readonly requiredMinRxUs: number;
  readonly requiredMinEchoRxUs: number;
}

/** Why a packet was discarded before anything believed it. */
export type BfdFault =
  | 'truncated'
  | 'version'
  | 'length'
  | 'zero-detect-mult'
  | 'multipoint'
  | 'zero-my-discriminator'
  | 'zero-your-discriminator';

/** Read a packet. @returns what it says, or the first rule of RFC 5880 §6.8.6 that it breaks */
export function decodeBfd(b: Uint8Array): BfdPacket | BfdFault {
  if (b.length < BFD_LEN) return 'truncated';
  if (b[0]! >>> 5 !== VERSION) return 'version';
  const flags = b[1]!;
  const length = b[3]!;
  if (length < ((flags & Bit.Auth) !== 0 ? BFD_AUTH_MIN_LEN : BFD_LEN) || length > b.length) return 'length';
  if (b[2] === 0) return 'zero-detect-mult';
  if ((flags & Bit.Multipoint) !== 0) return 'multipoint';
  const myDiscriminator = get32(b, 4) >>> 0;
  if (myDiscriminator === 0) return 'zero-my-discriminator';
  const yourDiscriminator = get32(b, 8) >>> 0;
  const state = STATES[flags >>> 6]!;
  if (yourDiscriminator === 0 && state !== 'Down' && state !== 'AdminDown') return 'zero-your-discriminator';
  return {
    diag: b[0]! & 0x1f,
    state,
    poll: (flags & Bit.Poll) !== 0,
    final: (flags & Bit.Final) !== 0,
    controlPlaneIndependent: (flags & Bit.Independent) !== 0,
    authenticated: (flags & Bit.Auth) !== 0,
    demand: (flags & Bit.Demand) !== 0,
    detectMult: b[2]!,
    myDiscriminator,
    yourDiscriminator,
    desiredMinTxUs: get32(b, 12) >>> 0,
    requiredMinRxUs: get32(b, 16) >>> 0,
    requiredMinEchoRxUs: get32(b, 20) >>> 0,
  };
}

/** A packet of 24 octets, without authentication. */
export function encodeBfd(p: Omit<BfdPacket, 'authenticated'>): Uint8Array {
  const b = new Uint8Array(BFD_LEN);
  b[0] = (VERSION << 5) | (p.diag & 0x1f);
  b[1] =
    (STATES.indexOf(p.state) << 6) |
    (p.poll ? Bit.Poll : 0) |
    (p.final ? Bit.Final : 0) |
    (p.controlPlaneIndependent ? Bit.Independent : 0) |
    (p.demand ? Bit.Demand : 0);
  b[2] = p.detectMult;
  b[3] = BFD_LEN;
  put32(b, 4, p.myDiscriminator);
  put32(b, 8, p.yourDiscriminator);
  put32(b, 12, p.desiredMinTxUs);
  put32(b, 16, p.requiredMinRxUs);
  put32(b, 20, p.requiredMinEchoRxUs);
  return b;
}
