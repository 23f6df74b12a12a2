/** Many changes to the kernel's routes: hundreds of messages with one system call, refusals told apart. */
import { NetlinkWriter, NlFlag } from '../wire/netlink.ts';
import { type KernelRefusal, NetlinkFamily, NetlinkSocket } from './netlink/socket.ts';

/** Messages of a batch and octets after which it is sent; the kernel takes less than its send buffer, 208 KiB. */
const MAX_MESSAGES = 500;
const MAX_OCTETS = 64 << 10;

export type OnRefusal = (refusal: KernelRefusal) => void;

export class BatchSender {
  readonly #socket: NetlinkSocket;
  readonly #writer = new NetlinkWriter();
  #handlers: (OnRefusal | undefined)[] = [];
  #first = 0;
  /** System calls and messages so far. */
  readonly counters = { batches: 0, messages: 0 };

  private constructor(socket: NetlinkSocket) {
    this.#socket = socket;
  }

  /** @throws KernelRefusal */
  static open(): BatchSender {
    return new BatchSender(NetlinkSocket.open(NetlinkFamily.Route));
  }

  close(): void {
    this.#socket.close();
  }

  /**
   * Add one message; a full batch is sent first. @returns false when answers were lost: what became of the last batch is not known
   * @throws KernelRefusal when the batch cannot be sent at all
   */
  add(type: number, flags: number, fill: (w: NetlinkWriter) => void, refused?: OnRefusal): boolean {
    const isKnown = this.#handlers.length < MAX_MESSAGES && this.#writer.length < MAX_OCTETS ? true : this.flush();
    if (this.#handlers.length === 0) this.#first = this.#socket.sequences(MAX_MESSAGES);
    this.#handlers.push(refused);
    const sequence = this.#first + this.#handlers.length - 1;
    this.#lastFlagsAt = this.#writer.length + FLAGS_AT;
    this.#writer.begin(type, flags | NlFlag.Request, sequence);
    fill(this.#writer);
    this.#writer.end();
    return isKnown;
  }

  #lastFlagsAt = 0;

  /** Send what is left. @returns false when answers were lost @throws KernelRefusal */
  flush(): boolean {
    const handlers = this.#handlers;
    if (handlers.length === 0) return true;
    const { octets } = this.#writer;
    // The last message asks for an acknowledgement: then all others have been looked at.
    octets[this.#lastFlagsAt]! |= NlFlag.Ack;
    this.counters.batches++;
    this.counters.messages += handlers.length;
    this.#handlers = [];
    const { refused, isLost } = this.#socket.batch(octets, this.#first + handlers.length - 1);
    this.#writer.clear();
    for (const [sequence, refusal] of refused) handlers[sequence - this.#first]?.(refusal);
    return !isLost;
  }
}

/** `nlmsg_flags` in a message. */
const FLAGS_AT = 6;
