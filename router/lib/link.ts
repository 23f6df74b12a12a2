/**
 * What an uplink is to the stack: a place that takes packet records and delivers packet records.
 * A record is one IP packet, or a *super-segment*: one IP + TCP/UDP header followed by up to 64 KiB of payload that the
 * other side of the link cuts into `gsoSize` pieces (virtio-net semantics). Payload octets are never touched here.
 */

/** Record flags. Numeric values are the ring's wire values (wg/README.md). */
export const RecordFlag = {
  /** Received: the transport checksum was verified by the child. */
  CsumValid: 1,
  /** A super-segment: `gsoType` and `gsoSize` apply. */
  Gso: 2,
  /** To send: the child computes the transport checksum from scratch (the field's content is ignored). */
  NeedsCsum: 4,
} as const;

/** Kind of a super-segment. Numeric values are the ring's wire values. */
export const GsoType = { None: 0, TcpV4: 1, TcpV6: 2, UdpL4: 3 } as const;

/** Receives records. `at` is a world offset, valid and writable until the source's `poll` returns. */
export interface PacketSink {
  /**
   * @param link where the record came in
   * @param at world offset of the IP header
   * @param length octets from `at`
   * @param flags RecordFlag bits
   * @param hdrLen octets of IP + transport header of a super-segment, else 0
   * @param gsoSize payload octets of each piece of a super-segment, else 0
   */
  onPacket(
    link: PacketLink,
    at: number,
    length: number,
    flags: number,
    gsoType: number,
    hdrLen: number,
    gsoSize: number,
  ): void;
}

/** One side of a point-to-point tunnel as the stack sees it. */
export interface PacketLink {
  /** Interface index, 1-based, unique in the process, never reused. */
  readonly index: number;
  readonly name: string;
  /** VRF the link belongs to. */
  readonly vrf: number;
  /** Octets of the largest IP packet (RFC 791, RFC 8200). */
  mtu: number;
  isUp: boolean;
  /** Octets committed and not yet taken by the other side. TCP stops emitting above `highWater` until `onDrained`. */
  readonly backlog: number;
  readonly highWater: number;
  /**
   * Reserve room for one record of `length` octets (<= 65535).
   * @returns world offset to write the packet to, or -1 when the link is down or its queue is full (counted by the link)
   */
  reserve(length: number): number;
  /** Hand over the record reserved last; `length` may be smaller than reserved. Published at `flush`. */
  commit(
    length: number,
    flags: number,
    gsoType: number,
    hdrLen: number,
    gsoSize: number,
    csumStart: number,
    csumOffset: number,
  ): void;
  /** Publish what was committed, with at most one doorbell. Called once per vector by the loop. */
  flush(): void;
  /** Ask for one call of the loop's drain hook when `backlog` has fallen below half of `highWater`. */
  wantDrain(): void;
}

/** Something that delivers records of one or many links: a child's ring, or a simulated link. */
export interface PacketSource {
  /** Deliver at most `budget` records to `sink`; returns how many. */
  poll(budget: number, sink: PacketSink): number;
}
