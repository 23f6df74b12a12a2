/** A BMP station as RFC 7854 §4 wants one, written for tests: it knows tables by peer and per-peer flags, and nothing else. */

import { BmpFeed } from '../../../bgp/monitor/bmp-feed.ts';
import type { BmpInstance, StationTable } from '../../../bgp/monitor/bmp-instance.ts';
import type { Speaker } from '../../../bgp/speaker.ts';
import type { WireContext } from '../../../bgp/wire/attribute/model.ts';
import { GLOBAL_TABLE } from '../../../bgp/wire/bmp.ts';
import { describe, PLAIN_CONTEXT } from './describe.ts';
import type { SimRouter } from './net.ts';

export interface BmpMessage {
  readonly type: number;
  readonly body: Uint8Array;
}

/** Octets of the per-peer header (RFC 7854 §4.2). */
const PEER_OCTETS = 42;
const FLAG_V6 = 0x80;
const LOC_RIB = 3;

const flagsOf: Readonly<Record<StationTable, number>> = {
  in_pre: 0,
  in_post: 0x40,
  out_pre: 0x10,
  out_post: 0x50,
  loc: 0,
};

export class Station {
  readonly messages: BmpMessage[] = [];
  /** By peer type, flags and peer: prefixes with how they were told. */
  readonly #tables = new Map<string, Map<string, string>>();
  readonly #up = new Set<string>();
  /** End-of-RIB marks by table. */
  readonly ends = new Map<string, number>();
  readonly #context: WireContext;

  constructor(context = PLAIN_CONTEXT) {
    this.#context = context;
  }

  readonly write = (octets: Uint8Array): void => {
    const view = new DataView(octets.buffer, octets.byteOffset, octets.length);
    if (view.getUint8(0) !== 3 || view.getUint32(1) !== octets.length) throw new Error('bad common header');
    const message = { type: view.getUint8(5), body: octets.slice(6) };
    this.messages.push(message);
    this.#take(message);
  };

  get types(): string {
    return this.messages.map((m) => m.type).join(' ');
  }

  /** Prefixes of a table of a peer, each with its attributes; the peer is named by its AS. */
  table(table: StationTable, asn: number): Map<string, string> {
    return this.#tables.get(`${table === 'loc' ? LOC_RIB : 0} ${flagsOf[table]} ${asn}`) ?? new Map();
  }

  /** All prefixes it knows. */
  routes(): string[] {
    return [...new Set([...this.#tables.values()].flatMap((x) => [...x.keys()]))].sort();
  }

  #take({ type, body }: BmpMessage): void {
    if (type > 3) return;
    const peer = `${body[0]} ${new DataView(body.buffer, body.byteOffset).getUint32(26)}`;
    if (type === 3) {
      if (this.#up.has(peer)) throw new Error(`peer ${peer} is up twice`);
      this.#up.add(peer);
      return;
    }
    if (!this.#up.has(peer)) throw new Error(`message type ${type} about peer ${peer}, which is not up`);
    const [kind, asn] = peer.split(' ');
    const flags = body[1]! & ~FLAG_V6;
    const key = `${kind} ${flags} ${asn}`;
    if (type === 2) {
      this.#up.delete(peer);
      for (const name of this.#tables.keys()) {
        if (name.startsWith(`${kind} `) && name.endsWith(` ${asn}`)) this.#tables.delete(name);
      }
    }
    if (type !== 0) return;
    const lines = describe(body.subarray(PEER_OCTETS), this.#context);
    this.#update(key, body[0] === LOC_RIB || flags === flagsOf.out_pre ? withoutHop(lines) : lines);
  }

  #update(key: string, lines: readonly string[]): void {
    let table = this.#tables.get(key);
    if (table === undefined) this.#tables.set(key, (table = new Map()));
    if (/FAULT|^ {2}fault/m.test(lines.join('\n'))) throw new Error(lines.join('\n'));
    const attributes = lines
      .filter((l) => /^ {2}(?!reach|withdraw|end of rib)/.test(l))
      .map((l) => l.trim())
      .join(', ');
    for (const line of lines) {
      if (line.includes('end of rib')) this.ends.set(key, (this.ends.get(key) ?? 0) + 1);
      const [, verb, prefixes, hop] = /^ {2}(reach|withdraw) (.*?)(?: via (.*))?$/.exec(line) ?? [];
      for (const p of prefixes?.split(', ') ?? []) {
        if (verb === 'reach') table.set(p, `${attributes} via ${hop}`);
        else if (!table.delete(p)) throw new Error(`${p} is withdrawn and was not told`);
      }
    }
  }
}

/** A peer must not name the unspecified address as its next hop; before we tell routes of our own it stands for none. */
function withoutHop(lines: readonly string[]): string[] {
  const fault = lines.findIndex((l) =>
    /^ {2}fault .*: (?:NEXT_HOP 0\.0\.0\.0|next hop is not a host address)$/.test(l),
  );
  if (fault < 0) return [...lines];
  return lines.flatMap((l, i) =>
    i === fault ? [] : l.startsWith('  withdraw ') ? [`${l.replace('withdraw', 'reach')} via none`] : [l],
  );
}

/** A speaker as the default instance, or with another name and distinguisher. */
export function instanceOf(
  speaker: Speaker,
  more: Partial<Pick<BmpInstance, 'name' | 'distinguisher' | 'isHidden'>> = {},
): BmpInstance {
  const { asn, routerId, monitoring } = speaker;
  return { name: GLOBAL_TABLE, asn, routerId, sessions: () => speaker.sessions(), monitoring, ...more };
}

/** What a simulated router tells a station, by default what peers send. */
export function feedOf(r: SimRouter, ...tables: StationTable[]): BmpFeed {
  return new BmpFeed({
    systemName: r.name,
    description: 'test',
    wallMs: () => 1_795_668_065_123,
    tables: tables.length === 0 ? ['in_pre'] : tables,
    instances: [instanceOf(r.speaker)],
  });
}
