/**
 * One connection of an FPM client: octets in, messages to the table, answers out. Sans-IO. A frame of a kind we do not
 * know is counted and skipped; a stream that is not FPM ends the session.
 */
import { FpmFrameReader, FpmType, fpmFrame } from './frame.ts';
import type { Decoded } from './message.ts';
import { confirmNetlink, decodeNetlink } from './netlink.ts';
import { decodeProtobuf } from './protobuf.ts';
import type { FpmTable } from './table.ts';

export interface FpmCounters {
  /** Messages understood, whatever became of them. */
  readonly messages: number;
  /** Messages and frames we know nothing about. */
  readonly unknown: number;
  readonly malformed: number;
}

export class FpmSession {
  readonly #table: FpmTable;
  readonly #confirms: boolean;
  readonly #frames = new FpmFrameReader();
  #messages = 0;
  #unknown = 0;
  #malformed = 0;
  #encoding: 'netlink' | 'protobuf' | undefined;

  /** @param confirms whether routes that reached the FIB are told back (netlink only) */
  constructor(table: FpmTable, confirms: boolean) {
    this.#table = table;
    this.#confirms = confirms;
  }

  get counters(): FpmCounters {
    return { messages: this.#messages, unknown: this.#unknown, malformed: this.#malformed };
  }

  /** What the client speaks; undefined before its first frame. */
  get encoding(): 'netlink' | 'protobuf' | undefined {
    return this.#encoding;
  }

  /** @returns octets to send back, or the reason why the session must end */
  receive(octets: Uint8Array): { readonly reply: readonly Uint8Array[]; readonly fault?: string } {
    const frames = this.#frames.push(octets);
    if (typeof frames === 'string') return { reply: [], fault: frames };
    const decoded = frames.map((f) => this.#count(this.#decode(f.type, f.payload)));
    this.#table.receive(decoded.flatMap((d) => d.messages));
    if (!this.#confirms) return { reply: [] };
    const netlink = frames.filter((f) => f.type === FpmType.Netlink);
    const taken = netlink.flatMap((f) => confirmNetlink(f.payload, (route) => this.#table.isInstalled(route)));
    return { reply: taken.flatMap((m) => fpmFrame(FpmType.Netlink, m) ?? []) };
  }

  #decode(type: number, payload: Uint8Array): Decoded {
    if (type === FpmType.Netlink) {
      this.#encoding = 'netlink';
      return decodeNetlink(payload);
    }
    if (type === FpmType.Protobuf) {
      this.#encoding = 'protobuf';
      return decodeProtobuf(payload);
    }
    return { messages: [], unknown: 1, malformed: 0 };
  }

  #count(d: Decoded): Decoded {
    this.#messages += d.messages.length;
    this.#unknown += d.unknown;
    this.#malformed += d.malformed;
    return d;
  }
}
