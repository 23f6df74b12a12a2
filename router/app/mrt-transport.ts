/**
 * Peers that are MRT files: a session whose other end is a table or a log of updates, replayed once (RFC 6396). The
 * speaker sees an ordinary peer, so policy, decision and every command treat the file's routes like any others.
 */
import { createReadStream, type ReadStream } from 'node:fs';
import { type FarEnd, PipeStream } from '../../bgp/pipe.ts';
import type { Attempt, ConnectTarget, Stream, StreamHandler, Transport } from '../../bgp/ports.ts';
import { FAMILIES } from '../../bgp/wire/family.ts';
import { MAX_EXTENDED_MESSAGE, MessageType } from '../../bgp/wire/message.ts';
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

export class MrtTransport implements Transport {
  #replays: ReadonlyMap<string, MrtReplay> = new Map();
  readonly #files = new Set<ReadStream>();

  constructor(replays: readonly MrtReplay[]) {
    this.setReplays(replays);
  }

  /**
   * Other files from now on; a session that goes on has read its own.
   * @returns names of peers whose file is another one
   */
  setReplays(replays: readonly MrtReplay[]): readonly string[] {
    const before = this.#replays;
    this.#replays = new Map(replays.map((r) => [r.name, r]));
    return [...before].filter(([name, r]) => this.#replays.get(name)?.path !== r.path).map(([name]) => name);
  }

  connect(target: ConnectTarget, opened: (stream: Stream) => StreamHandler, failed: (reason: string) => void): Attempt {
    const replay = this.#replays.get(target.name)!;
    const file = createReadStream(replay.path);
    this.#files.add(file);
    file.once('close', () => this.#files.delete(file));
    file.once('error', (e: NodeJS.ErrnoException) => failed(`${replay.path}: ${e.code ?? e.message}`));
    file.once('open', () => {
      const stream: PipeStream = new PipeStream(new Replay(replay, file, (why) => stream.fail(why)), setImmediate);
      stream.attach(opened(stream));
    });
    return { abort: () => file.destroy() };
  }

  /** Files do not connect. */
  listen(): void {}

  close(): void {
    for (const file of this.#files) file.destroy();
  }
}

/** One reading of a file. */
class Replay implements FarEnd {
  readonly open: FarEnd['open'];
  readonly #replay: MrtReplay;
  readonly #file: ReadStream;
  readonly #failed: (reason: string) => void;
  /** Which peers of the table's index are replayed. */
  #wanted: boolean[] = [];
  #tell: (octets: Uint8Array) => void = () => undefined;

  constructor(replay: MrtReplay, file: ReadStream, failed: (reason: string) => void) {
    this.#replay = replay;
    this.#file = file;
    this.#failed = failed;
    this.open = {
      asn: replay.asn,
      identifier: replay.address.a3 >>> 0 || 1,
      capabilities: [
        { kind: 'multiprotocol', ...FAMILIES.ipv4 },
        { kind: 'multiprotocol', ...FAMILIES.ipv6 },
        { kind: 'extended-next-hop', entries: [{ ...FAMILIES.ipv4, nextHopAfi: 2 }] },
        { kind: 'extended-message' },
      ],
    };
  }

  begin(tell: (octets: Uint8Array) => void): void {
    this.#tell = tell;
    void this.#play();
  }

  /** A file does not want to know. */
  update(): void {}

  ended(): void {
    this.#file.destroy();
  }

  async #play(): Promise<void> {
    let rest: Uint8Array = new Uint8Array(0);
    try {
      for await (const chunk of this.#file) {
        const b = new Uint8Array(Buffer.concat([rest, chunk as Buffer]));
        rest = b.subarray(this.#records(b));
        await new Promise(setImmediate);
      }
      if (rest.length > 0) throw new Error(`${rest.length} octets are left over at the end`);
      this.#endOfRib();
    } catch (e) {
      this.#failed(`${this.#replay.path}: ${(e as Error).message}`);
    }
  }

  /** @returns octets of whole records */
  #records(b: Uint8Array): number {
    for (let at = 0; ; ) {
      const next = decodeMrt(b, at);
      if (next === undefined) return at;
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
}
