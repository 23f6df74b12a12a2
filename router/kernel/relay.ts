/** Netlink datagrams as they come, for a thread that must not wait: the addon's thread reads, Node's loop is told. */
import { Socket } from 'node:net';
import { loadNative } from '../native/index.ts';
import { messagesOf, wordsOf } from '../wire/netlink.ts';
import { KernelRefusal } from './netlink/socket.ts';

const LENGTH = 4;

export interface RelayOptions {
  /** Of NetlinkFamily. */
  readonly family: number;
  /** A mask of multicast groups. */
  readonly groups: number;
  readonly filter?: Uint8Array;
  /** Sent once listening. */
  readonly greeting?: Uint8Array;
  /** All messages that came at once. @param isLost some are missing */
  readonly received: (messages: readonly Uint8Array[], isLost: boolean) => void;
}

export interface Relay {
  close(): void;
}

/** @throws KernelRefusal */
export function openRelay(o: RelayOptions): Relay {
  const native = loadNative();
  const fd = native.netlinkOpen(o.family, o.groups);
  if (fd < 0) throw new KernelRefusal(-fd);
  const refused = (answer: number): number => {
    if (answer >= 0) return answer;
    native.close(fd);
    throw new KernelRefusal(-answer);
  };
  if (o.filter !== undefined) refused(native.netlinkFilter(fd, o.filter));
  if (o.greeting !== undefined) refused(native.netlinkSend(fd, o.greeting));
  const stream = new Socket({ fd: refused(native.netlinkRelay(fd)), readable: true, writable: true });
  let rest: Uint8Array = new Uint8Array(0);
  stream.on('data', (chunk: Buffer) => {
    const octets = rest.length === 0 ? chunk : Buffer.concat([rest, chunk]);
    const { messages, isLost, used } = framesOf(octets);
    rest = octets.subarray(used);
    if (messages.length > 0 || isLost) o.received(messages, isLost);
  });
  stream.on('error', () => stream.destroy());
  return { close: () => void stream.destroy() };
}

/** What the addon's thread writes: a length and a datagram, or 0 for lost ones. */
function framesOf(octets: Uint8Array): { messages: Uint8Array[]; isLost: boolean; used: number } {
  const messages: Uint8Array[] = [];
  const words = wordsOf(octets);
  let isLost = false;
  let at = 0;
  while (octets.length - at >= LENGTH) {
    const length = words.getUint32(at, true);
    if (octets.length - at - LENGTH < length) break;
    at += LENGTH;
    isLost ||= length === 0;
    for (const m of messagesOf(octets.subarray(at, at + length))) if (m !== undefined) messages.push(m);
    at += length;
  }
  return { messages, isLost, used: at };
}
