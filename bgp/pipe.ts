/**
 * Sessions whose other end is in this process: a transport for peers that are objects, such as a file or another routing
 * table. The far end answers the OPEN, takes our UPDATEs and tells its own; the speaker sees an ordinary peer.
 */

import type { Attempt, ConnectTarget, Stream, StreamHandler, Transport } from './ports.ts';
import { AS_TRANS } from './wire/attribute/as-path.ts';
import type { Capability } from './wire/capability.ts';
import { encodeKeepalive, encodeOpen, MessageReader, MessageType } from './wire/message.ts';

/** What a far end says of itself in its OPEN. */
export interface FarEndOpen {
  readonly asn: number;
  /** BGP Identifier, not zero. */
  readonly identifier: number;
  /** Besides the 4-octet AS number. */
  readonly capabilities: readonly Capability[];
}

/** The other end of one session. */
export interface FarEnd {
  readonly open: FarEndOpen;
  /** The session is up. @param tell takes whole UPDATE messages; what is told after `ended` is lost */
  begin(tell: (octets: Uint8Array) => void): void;
  /** An UPDATE of ours, without its header. */
  update(body: Uint8Array): void;
  ended(): void;
}

/** Runs something after the present turn, because a transport never calls back at once (bgp/ports.ts). */
export type Later = (run: () => void) => void;

export class PipeTransport implements Transport {
  readonly #endOf: (target: ConnectTarget) => FarEnd | undefined;
  readonly #later: Later;

  /** @param endOf the far end of a peer; undefined = there is none, and the peer cannot be reached */
  constructor(endOf: (target: ConnectTarget) => FarEnd | undefined, later: Later) {
    this.#endOf = endOf;
    this.#later = later;
  }

  connect(target: ConnectTarget, opened: (stream: Stream) => StreamHandler, failed: (reason: string) => void): Attempt {
    let isGivenUp = false;
    this.#later(() => {
      if (isGivenUp) return;
      const end = this.#endOf(target);
      if (end === undefined) return failed('there is no such end');
      const stream = new PipeStream(end, this.#later);
      stream.attach(opened(stream));
    });
    return {
      abort: () => {
        isGivenUp = true;
      },
    };
  }

  /** Far ends wait to be connected to. */
  listen(): void {}
}

/** Our end of a pipe. */
export class PipeStream implements Stream {
  readonly localAddress = undefined;
  readonly #end: FarEnd;
  readonly #later: Later;
  readonly #reader = new MessageReader();
  #handler: StreamHandler | undefined;
  #isClosed = false;
  #hasBegun = false;

  constructor(end: FarEnd, later: Later) {
    this.#end = end;
    this.#later = later;
  }

  attach(handler: StreamHandler): void {
    this.#handler = handler;
  }

  write(octets: Uint8Array): boolean {
    this.#reader.allowsExtended = true;
    this.#reader.push(octets.slice());
    for (let m = this.#reader.next(); m !== undefined && !('handling' in m); m = this.#reader.next()) {
      const { type, body } = m;
      this.#later(() => this.#heard(type, body));
    }
    return true;
  }

  close(): void {
    if (this.#isClosed) return;
    this.#isClosed = true;
    this.#later(() => this.#end.ended());
  }

  /** The far end cannot go on. */
  fail(reason: string): void {
    if (this.#isClosed) return;
    this.close();
    this.#handler?.closed(reason);
  }

  #heard(type: number, body: Uint8Array): void {
    if (this.#isClosed) return;
    if (type === MessageType.Open) this.#answer();
    else if (type === MessageType.Update) this.#end.update(body);
    else if (type === MessageType.Keepalive && !this.#hasBegun) {
      this.#hasBegun = true;
      this.#end.begin((octets) => this.#tell(octets));
    }
  }

  #answer(): void {
    const { asn, identifier, capabilities } = this.#end.open;
    this.#tell(
      encodeOpen({
        version: 4,
        asn: asn > 0xffff ? AS_TRANS : asn,
        holdTimeS: 0, // RFC 4271 §4.2: no KEEPALIVE is expected
        identifier,
        capabilities: [...capabilities, { kind: 'four-octet-as', asn }],
      }),
    );
    this.#tell(encodeKeepalive());
  }

  #tell(octets: Uint8Array): void {
    if (!this.#isClosed) this.#handler?.data(octets);
  }
}
