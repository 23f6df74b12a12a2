/** A BMP station that keeps the tables of the VPN families, by per-peer flags and AS or address of the peer. */
import type { StationTable } from '../../../bgp/monitor/bmp-instance.ts';
import { readVpnNextHop, readVpnNlri, type VpnPrefix } from '../../../bgp/vpn/nlri.ts';
import { distinguisherText } from '../../../bgp/vpn/route-distinguisher.ts';
import type { WireContext } from '../../../bgp/wire/attribute/model.ts';
import { PLAIN_FACTS } from '../../../bgp/wire/family.ts';
import { decodeUpdate } from '../../../bgp/wire/update.ts';
import { Addr } from '../../../router/lib/addr.ts';
import { describeUpdate, messageOf, PLAIN_CONTEXT } from './describe.ts';

/** Octets of the common and of the per-peer header (RFC 7854 §4.1, §4.2). */
const COMMON_OCTETS = 6;
const PEER_OCTETS = 42;
const FLAG_V6 = 0x80;

export const VPN_TABLE_FLAGS: Readonly<Record<Exclude<StationTable, 'loc'>, number>> = {
  in_pre: 0,
  in_post: 0x40,
  out_pre: 0x10,
  out_post: 0x50,
};

export class VpnStation {
  /** Route Monitoring messages of the VPN families, whole. */
  readonly monitored: Uint8Array[] = [];
  /** End-of-RIB marks, by table and family. */
  readonly ends = new Map<string, number>();
  readonly #tables = new Map<string, Map<string, string>>();
  readonly #context: WireContext;
  readonly #hasPathIds: boolean;

  /** @param hasPathIds of all that is told */
  constructor(hasPathIds = false) {
    const facts = { ...PLAIN_FACTS, receivesPathIds: hasPathIds };
    this.#context = { ...PLAIN_CONTEXT, external: false, families: { vpnv4: facts, vpnv6: facts } };
    this.#hasPathIds = hasPathIds;
  }

  readonly write = (octets: Uint8Array): void => {
    const body = octets.subarray(COMMON_OCTETS);
    const peer = `${String(Addr.fromBytes(body.subarray(10, 26)))}`;
    if (octets[5] === 2)
      for (const name of this.#tables.keys()) if (name.endsWith(` ${peer}`)) this.#tables.delete(name);
    if (octets[5] !== 0) return;
    const u = decodeUpdate(messageOf(body.subarray(PEER_OCTETS)).body, this.#context);
    if ('handling' in u) throw new Error(u.words);
    if (u.vpn === undefined) return;
    this.monitored.push(octets);
    const name = `${body[1]! & ~FLAG_V6} ${peer}`;
    const table = this.#tables.get(name) ?? new Map<string, string>();
    this.#tables.set(name, table);
    const { reach, unreach } = u.vpn;
    if (unreach !== undefined) {
      const gone = this.#read(unreach, 3);
      if (gone.length === 0) this.ends.set(`${name} ${unreach[1]}`, (this.ends.get(`${name} ${unreach[1]}`) ?? 0) + 1);
      for (const p of gone) if (!table.delete(this.#key(p))) throw new Error(`${this.#key(p)} was not told`);
    }
    if (reach === undefined) return;
    const hop = readVpnNextHop(reach.subarray(4, 4 + reach[3]!))!;
    const [, ...attributes] = describeUpdate(u).map((line) => line.trim());
    for (const p of this.#read(reach, 5 + reach[3]!))
      table.set(this.#key(p), `label ${p.label} via ${hop.global ?? hop.linkLocal}, ${attributes.join(', ')}`);
  };

  /** By `RD PREFIX`, and the path identifier before it where there are some. @param peer its address */
  table(table: keyof typeof VPN_TABLE_FLAGS, peer: Addr): Map<string, string> {
    return this.#tables.get(`${VPN_TABLE_FLAGS[table]} ${peer}`) ?? new Map();
  }

  /** The same in order, for comparisons. @param without a part of how they were told that does not matter */
  lines(table: keyof typeof VPN_TABLE_FLAGS, peer: Addr, without = /$/): string[] {
    return [...this.table(table, peer)].map(([key, how]) => `${key}: ${how.replace(without, '')}`).sort();
  }

  #read(value: Uint8Array, at: number): VpnPrefix[] {
    return readVpnNlri(value.subarray(at), value[1] === 1 ? 4 : 6, this.#hasPathIds)!;
  }

  #key(p: VpnPrefix): string {
    return `${this.#hasPathIds ? `${p.pathId} ` : ''}${distinguisherText(p.rd)} ${p.prefix}`;
  }
}
