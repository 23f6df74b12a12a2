/**
 * FPM framing: a header of four octets (version 1, type of the payload, length of header and payload, big-endian) in
 * front of each payload. Cuts a stream of octets into payloads; does no I/O and does not look into payloads.
 */

export const FPM_VERSION = 1;
export const FpmType = { Netlink: 1, Protobuf: 2 } as const;
export const FPM_HEADER = 4;
/** The length field has 16 bits. */
export const FPM_MAX_FRAME = 0xffff;

export interface FpmFrame {
  /** One of `FpmType`, or what else the peer sent. */
  readonly type: number;
  readonly payload: Uint8Array;
}

export class FpmFrameReader {
  /** The beginning of a frame whose rest has not come: less than FPM_MAX_FRAME octets. */
  #rest: Uint8Array = new Uint8Array(0);

  /**
   * Frames completed by these octets. Payloads are views: of `octets` where a frame came whole.
   * @returns the reason, as text, when the stream is not FPM: nothing after it can be understood
   */
  push(octets: Uint8Array): FpmFrame[] | string {
    const all = this.#rest.length === 0 ? octets : joined(this.#rest, octets);
    const frames: FpmFrame[] = [];
    let at = 0;
    while (all.length - at >= FPM_HEADER) {
      const version = all[at]!;
      const length = (all[at + 2]! << 8) | all[at + 3]!;
      if (version !== FPM_VERSION) return `FPM version ${version} instead of ${FPM_VERSION}`;
      if (length < FPM_HEADER) return `FPM frame of ${length} octets, less than its header`;
      if (all.length - at < length) break;
      frames.push({ type: all[at + 1]!, payload: all.subarray(at + FPM_HEADER, at + length) });
      at += length;
    }
    // A copy, so that a long chunk is not kept for its last few octets.
    this.#rest = all.slice(at);
    return frames;
  }
}

/** A payload in its frame; undefined when it is longer than a frame can say. */
export function fpmFrame(type: number, payload: Uint8Array): Uint8Array | undefined {
  const length = FPM_HEADER + payload.length;
  if (length > FPM_MAX_FRAME) return undefined;
  const out = new Uint8Array(length);
  out.set([FPM_VERSION, type, length >>> 8, length & 0xff]);
  out.set(payload, FPM_HEADER);
  return out;
}

function joined(a: Uint8Array, b: Uint8Array): Uint8Array {
  const all = new Uint8Array(a.length + b.length);
  all.set(a);
  all.set(b, a.length);
  return all;
}
