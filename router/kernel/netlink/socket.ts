/**
 * Questions and orders to the kernel over one netlink socket, answered before the call returns: the kernel works on a
 * message while it is being sent. What the messages say is in the files beside this one.
 */
import { getSystemErrorName } from 'node:util';
import { loadNative } from '../../native/index.ts';
import {
  attributesOf,
  messagesOf,
  NetlinkWriter,
  NLMSG_HEADER,
  NlFlag,
  NlType,
  textOf,
  wordsOf,
} from '../../wire/netlink.ts';

/** Netlink families (`linux/netlink.h`). */
export const NetlinkFamily = { Route: 0, SockDiag: 4, Connector: 11, Generic: 16 } as const;

/** A no of the kernel's. */
export class KernelRefusal extends Error {
  /** Positive. */
  readonly errno: number;
  /** EEXIST and the like. */
  readonly errnoName: string;

  /** @param words the kernel's own, where it has some */
  constructor(errno: number, words?: string) {
    const name = errorName(errno);
    super(words === undefined ? name : `${words} (${name})`);
    this.errno = errno;
    this.errnoName = name;
  }
}

function errorName(errno: number): string {
  try {
    return getSystemErrorName(-errno);
  } catch {
    return `errno ${errno}`;
  }
}

/** Another change came in between: the dump may lack something (`NLM_F_DUMP_INTR`). */
const DUMP_INTERRUPTED = 0x10;
const DUMP_TRIES = 8;
/** Flags of an error message: the request is not quoted in full; attributes follow. */
const CAPPED = 0x100;
const HAS_ATTRIBUTES = 0x200;
const ERROR_TEXT = 1;
/** The kernel answers at once; only a machine that is starved for seconds gets here. */
const TIMEOUT_MS = 10_000;
/** A datagram of a dump has at most 32 KiB. */
const ROOM = 64 << 10;

/** The error of an NLMSG_ERROR message; undefined for an acknowledgement. */
export function refusalOf(message: Uint8Array): KernelRefusal | undefined {
  const words = wordsOf(message);
  const errno = message.length < NLMSG_HEADER + 4 ? 0 : -words.getInt32(NLMSG_HEADER, true);
  if (errno <= 0) return undefined;
  const flags = words.getUint16(6, true);
  const quoted = NLMSG_HEADER + 4;
  if ((flags & HAS_ATTRIBUTES) === 0 || message.length < quoted + NLMSG_HEADER) return new KernelRefusal(errno);
  const length = (flags & CAPPED) === 0 ? words.getUint32(quoted, true) : NLMSG_HEADER;
  const attributes = attributesOf(message, quoted + ((length + 3) & ~3));
  return new KernelRefusal(errno, attributes && textOf(attributes, ERROR_TEXT));
}

/** What came back for a batch: refusals by the sequence number of their message. */
export interface BatchAnswer {
  readonly refused: ReadonlyMap<number, KernelRefusal>;
  /** Answers were lost: what became of the batch is not known. */
  readonly isLost: boolean;
}

export class NetlinkSocket {
  #fd: number;
  readonly #room = new Uint8Array(ROOM);
  readonly #writer = new NetlinkWriter();
  #sequence = 0;

  private constructor(fd: number) {
    this.#fd = fd;
  }

  /** @param family of NetlinkFamily @throws KernelRefusal */
  static open(family: number): NetlinkSocket {
    const fd = loadNative().netlinkOpen(family, 0);
    if (fd < 0) throw new KernelRefusal(-fd);
    return new NetlinkSocket(fd);
  }

  get fd(): number {
    return this.#fd;
  }

  close(): void {
    if (this.#fd >= 0) loadNative().close(this.#fd);
    this.#fd = -1;
  }

  /** Send one message and wait for its acknowledgement; the messages that came before it. @throws KernelRefusal */
  request(type: number, flags: number, fill: (w: NetlinkWriter) => void): Uint8Array[] {
    const sequence = this.#begin(type, flags | NlFlag.Request | NlFlag.Ack, fill);
    const out: Uint8Array[] = [];
    this.#sendAll(this.#writer.octets);
    for (const m of this.#answers()) {
      const words = wordsOf(m);
      if (words.getUint32(8, true) !== sequence) continue;
      if (words.getUint16(4, true) !== NlType.Error) out.push(m);
      else {
        const refusal = refusalOf(m);
        if (refusal !== undefined) throw refusal;
        return out;
      }
    }
    throw new KernelRefusal(ENOBUFS);
  }

  /** All messages of a dump. @throws KernelRefusal */
  dump(type: number, fill: (w: NetlinkWriter) => void): Uint8Array[] {
    for (let tries = 0; tries < DUMP_TRIES; tries++) {
      const found = this.#dumpOnce(type, fill);
      if (found !== undefined) return found;
    }
    throw new KernelRefusal(EAGAIN, 'the tables change faster than they can be read');
  }

  /**
   * Send a batch whose messages have the sequence numbers from `first` to `last`; only the last one asks for an
   * acknowledgement. Refusals are answered, not thrown.
   */
  batch(octets: Uint8Array, last: number): BatchAnswer {
    const refused = new Map<number, KernelRefusal>();
    this.#sendAll(octets);
    for (const m of this.#answers()) {
      const words = wordsOf(m);
      if (words.getUint16(4, true) !== NlType.Error) continue;
      const sequence = words.getUint32(8, true);
      const refusal = refusalOf(m);
      if (refusal !== undefined) refused.set(sequence, refusal);
      if (sequence === last) return { refused, isLost: false };
    }
    return { refused, isLost: true };
  }

  /** The first of `count` sequence numbers for a batch. */
  sequences(count: number): number {
    const first = this.#sequence + 1;
    this.#sequence += count;
    return first;
  }

  /** undefined: it has to be done again. */
  #dumpOnce(type: number, fill: (w: NetlinkWriter) => void): Uint8Array[] | undefined {
    const sequence = this.#begin(type, NlFlag.Request | NlFlag.Dump, fill);
    const out: Uint8Array[] = [];
    let isInterrupted = false;
    this.#sendAll(this.#writer.octets);
    for (const m of this.#answers()) {
      const words = wordsOf(m);
      if (words.getUint32(8, true) !== sequence) continue;
      isInterrupted ||= (words.getUint16(6, true) & DUMP_INTERRUPTED) !== 0;
      const kind = words.getUint16(4, true);
      if (kind === NlType.Done) return isInterrupted ? undefined : out;
      if (kind === NlType.Error) throw refusalOf(m) ?? new KernelRefusal(EPROTO);
      out.push(m);
    }
    return undefined;
  }

  #begin(type: number, flags: number, fill: (w: NetlinkWriter) => void): number {
    const sequence = this.sequences(1);
    this.#writer.clear();
    this.#writer.begin(type, flags, sequence);
    fill(this.#writer);
    this.#writer.end();
    return sequence;
  }

  #sendAll(octets: Uint8Array): void {
    const sent = loadNative().netlinkSend(this.#fd, octets);
    if (sent < 0) throw new KernelRefusal(-sent);
  }

  /** Messages as they come; ends where some were lost. @throws KernelRefusal */
  *#answers(): Generator<Uint8Array> {
    for (;;) {
      const n = loadNative().netlinkRecv(this.#fd, this.#room, TIMEOUT_MS);
      if (n === -ENOBUFS) return;
      if (n < 0) throw new KernelRefusal(-n);
      for (const m of messagesOf(this.#room.slice(0, n))) if (m !== undefined) yield m;
    }
  }
}

const EAGAIN = 11;
const EPROTO = 71;
const ENOBUFS = 105;
