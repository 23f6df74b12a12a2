/**
 * Peers that are MRT files: a session whose other end is a table or a log of updates, replayed once (RFC 6396). The
 * speaker sees an ordinary peer, so policy, decision and every command treat the file's routes like any others.
 */
import { createReadStream, type ReadStream } from 'node:fs';
import type { Attempt, ConnectTarget, Stream, StreamHandler, Transport } from '../../bgp/ports.ts';
import { FAMILIES } from '../../bgp/wire/family.ts';
import {
  encodeKeepalive,
  encodeOpen,
  MAX_EXTENDED_MESSAGE,
  MessageReader,
  MessageType,
} from '../../bgp/wire/message.ts';
import { decodeMrt, type MrtPeer, type MrtRecord, updateOfEntry } from '../../bgp/wire/mrt.ts';
import { UpdatePacker } from '../../bgp/wire/update.ts';
import type { Addr } from '../lib/addr.ts';

/** A peer that is a file. */
export interface MrtReplay {
  /** Name of the peer. */
  readonly name: string;
  readonly path: string;
  /** The peer in the file whose routes are replayed. */
  readonly asn: number;
  readonly address: Addr;
  /** It is in another AS than ours. */
  readonly isExternal: boolean;
}

const AS_TRANS = 23456;

export class MrtTransport implements Transport {
  readonly #replays: ReadonlyMap<string, MrtReplay>;
  readonly #open = new Set<Replayed>();

  constructor(replays: readonly MrtReplay[]) {
    this.#replays = new Map(replays.map((r) => [r.name, r]));
  }

  connect(target: ConnectTarget, opened: (stream: Stream) => StreamHandler, failed: (reason: string) => void): Attempt {
    const replay = this.#replays.get(target.name);
    if (replay === undefined) {
      const timer = setImmediate(() => failed('no file'));
      return { abort: () => clearImmediate(timer) };
    }
    const file = createReadStream(replay.path);
    file.once('error', (e: NodeJS.ErrnoException) => failed(`${replay.path}: ${e.code ?? e.message}`));
    file.once('open', () => {
      const stream = new Replayed(replay, file, () => this.#open.delete(stream));
      this.#open.add(stream);
      stream.begin(opened(stream));
    });
    return { abort: () => file.destroy() };
  }

  /** Files do not connect. */
  listen(): void {}

  close(): void {
    for (const stream of this.#open) stream.close();
  }
}

/** One reading of a file as the other end of a session. */
class Replayed implements Stream {
  readonly localAddress = undefined;
  readonly #replay: MrtReplay;
  readonly #file: ReadStream;
  readonly #closed: () => void;
  readonly #reader = new MessageReader();
  #handler: StreamHandler | undefined;
  #isClosed = false;

  constructor(replay: MrtReplay, file: ReadStream, closed: () => void) {
    this.#replay = replay;
    this.#file = file;
    this.#closed = closed;
  }

  begin(handler: StreamHandler): void {
    this.#handler = handler;
  }

  /** What the speaker says: its OPEN is answered, and its KEEPALIVE begins the replay. */
  write(octets: Uint8Array): boolean {
    this.#reader.push(octets.slice());
    for (let m = this.#reader.next(); m !== undefined && !('handling' in m); m = this.#reader.next()) {
      if (m.type === MessageType.Open) setImmediate(() => this.#answer());
      else if (m.type === MessageType.Keepalive) void this.#play();
    }
    return true;
  }

  close(): void {
    if (this.#isClosed) return;
    this.#isClosed = true;
    this.#file.destroy();
    this.#closed();
  }

  #answer(): void {
    const { asn, address } = this.#replay;
    const open = encodeOpen({
      version: 4,
      asn: asn > 0xffff ? AS_TRANS : asn,
      holdTimeS: 0, // RFC 4271 §4.2: a file sends no KEEPALIVE
      identifier: address.a3 >>> 0 || 1,
      capabilities: [
        { kind: 'multiprotocol', ...FAMILIES.ipv4 },
        { kind: 'multiprotocol', ...FAMILIES.ipv6 },
        { kind: 'extended-next-hop', entries: [{ ...FAMILIES.ipv4, nextHopAfi: 2 }] },
        { kind: 'extended-message' },
        { kind: 'four-octet-as', asn },
      ],
    });
    this.#tell(open);
    this.#tell(encodeKeepalive());
  }

  async #play(): Promise<void> {
    if (this.#isPlaying) return;
    this.#isPlaying = true;
    let rest: Uint8Array = new Uint8Array(0);
    try {
      for await (const chunk of this.#file) {
        const b = new Uint8Array(Buffer.concat([rest, chunk as Buffer]));
        const read = this.#records(b);
        rest = b.subarray(read);
        await new Promise(setImmediate);
      }
      if (rest.length > 0) throw new Error(`${rest.length} octets are left over at the end`);
      this.#endOfRib();
    } catch (e) {
      if (!this.#isClosed) this.#fail((e as Error).message);
    }
  }

  /** @returns octets of whole records */
  #records(b: Uint8Array): number {
    for (let at = 0; ; ) {
      const next = decodeMrt(b, at);
      if (next === undefined || this.#isClosed) return at;
      if ('fault' in next) throw new Error(next.fault);
      this.#record(next.record);
      at += next.octets;
    }
  }

  #record(r: MrtRecord): void {
    if (r.kind === 'peers') this.#wanted = r.peers.map((p) => this.#isOurs(p));
    else if (r.kind === 'rib') {
      for (const e of r.entries) {
        if (this.#wanted[e.peer] === true) this.#tell(updateOfEntry(r.prefix, e.attributes, this.#replay.isExternal));
      }
    } else if (r.kind === 'message' && r.fourOctetAs && !r.hasPathIds) {
      const isUpdate = r.octets[18] === MessageType.Update;
      if (isUpdate && this.#isOurs({ asn: r.peerAs, address: r.peer })) this.#tell(r.octets.slice());
    }
  }

  #isOurs(p: Pick<MrtPeer, 'asn' | 'address'>): boolean {
    return p.asn === this.#replay.asn && p.address.equals(this.#replay.address);
  }

  #endOfRib(): void {
    const settings = { fourOctetAs: true, maxMessage: MAX_EXTENDED_MESSAGE, linkLocalForm: 'native' } as const;
    const packer = new UpdatePacker(settings, (octets) => this.#tell(octets));
    packer.endOfRib(4);
    packer.endOfRib(6);
    packer.flush();
  }

  #tell(octets: Uint8Array): void {
    if (!this.#isClosed) this.#handler?.data(octets);
  }

  #fail(reason: string): void {
    this.close();
    this.#handler?.closed(`${this.#replay.path}: ${reason}`);
  }

  /** Which peers of the table's index are replayed. */
  #wanted: boolean[] = [];
  #isPlaying = false;
}
