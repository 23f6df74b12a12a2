/** Neighbours that somebody entered by hand: RTM_*NEIGH messages (`struct ndmsg`, linux/neighbour.h). */
import { attributeList, type NetlinkWriter, NLMSG_HEADER, Rtm, wordsOf } from '../../wire/netlink.ts';

const NDMSG = 12;
/** What NDMSG is followed by in a request: address, link-layer address, protocol. */
const KEPT: ReadonlySet<number> = new Set([1, 2, 12]);
const NUD_PERMANENT = 0x80;

export interface HostNeighbour {
  readonly index: number;
  /** The message as the kernel sent it. */
  readonly message: Uint8Array;
}

/** A permanent entry; undefined for one that was learned. */
export function decodePermanent(m: Uint8Array): HostNeighbour | undefined {
  const words = wordsOf(m);
  if (words.getUint16(4, true) !== Rtm.NewNeigh || m.length < NLMSG_HEADER + NDMSG) return undefined;
  if ((words.getUint16(NLMSG_HEADER + 8, true) & NUD_PERMANENT) === 0) return undefined;
  return { index: words.getUint32(NLMSG_HEADER + 4, true), message: m };
}

/** The body of RTM_NEWNEIGH for an entry as the kernel once told of it. */
export function writeNeighbourAgain(w: NetlinkWriter, index: number, message: Uint8Array): void {
  w.bytes(message.subarray(NLMSG_HEADER, NLMSG_HEADER + 4)).u32(index);
  w.bytes(message.subarray(NLMSG_HEADER + 8, NLMSG_HEADER + NDMSG));
  for (const [type, value] of attributeList(message, NLMSG_HEADER + NDMSG))
    if (value !== undefined && KEPT.has(type)) w.attribute(type, value);
}
