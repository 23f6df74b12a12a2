/** ROAs for tests: the registry's, as text in the forms that are in use, and tables of a few. */

import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { RoaTable } from '../../../bgp/rpki/roa-table.ts';
import { type Vrp, VrpList } from '../../../bgp/rpki/vrp.ts';
import { type Family, Prefix } from '../../../router/lib/addr.ts';

const GOLDEN = join(import.meta.dirname, '..', '..', '..', '..', 'test', 'golden', 'dn42', 'roa-2022-01-29.csv');

export interface RegistryRoa {
  readonly prefix: string;
  readonly maxLength: number;
  readonly asn: number;
}

/** The ROAs of the DN42 registry of 2022-01-29 (test/golden/dn42/README.md). */
export function registryRoas(): RegistryRoa[] {
  const [, ...rows] = readFileSync(GOLDEN, 'utf8').trim().split('\n');
  return rows.map((row) => {
    const [prefix, max, asn] = row.split(',');
    return { prefix: prefix!, maxLength: Number(max), asn: Number(asn) };
  });
}

/** As DN42 operators serve it: `dn42_roa_46.json`. */
export function dn42Json(roas: readonly RegistryRoa[]): string {
  return JSON.stringify({
    metadata: { counts: roas.length, generated: 1643414400, valid: 1643500800 },
    roas: roas.map((r) => ({ prefix: r.prefix, maxLength: r.maxLength, asn: `AS${r.asn}` })),
  });
}

/** As rpki-client writes it. */
export function rpkiClientJson(roas: readonly RegistryRoa[]): string {
  const entries = roas.map(
    (r) =>
      `\t\t{ "asn": ${r.asn}, "prefix": "${r.prefix}", "maxLength": ${r.maxLength}, "ta": "dn42", "expires": 1643500800 }`,
  );
  return `{\n\t"metadata": {\n\t\t"buildmachine": "x {[ \\"y",\n\t\t"roas": ${roas.length}\n\t},\n\n\t"roas": [\n${entries.join(',\n')}\n\t],\n\n\t"bgpsec_keys": [\n\t]\n}\n`;
}

export function birdText(roas: readonly RegistryRoa[]): string {
  return `# roas\n\n${roas.map((r) => `route ${r.prefix} max ${r.maxLength} as ${r.asn};\n`).join('')}`;
}

/** `172.20.0.0/24-29 AS4242420001` */
export function vrp(text: string): Vrp {
  const m = /^(\S+)-(\d+) AS(\d+)$/.exec(text)!;
  return { prefix: Prefix.parse(m[1]!)!, maxLength: Number(m[2]), asn: Number(m[3]) };
}

export function vrpList(...vrps: readonly string[]): VrpList {
  const list = new VrpList();
  for (const text of vrps) list.addVrp(vrp(text));
  return list;
}

/** A table with one source. */
export function roaTable(...vrps: readonly string[]): RoaTable {
  const table = new RoaTable();
  table
    .addSource('test')
    .replace(vrpList(...vrps))
    .step();
  return table;
}

export function wordsOf(p: Prefix): readonly [Family, number, number, number, number, number] {
  const { addr: a, length } = p;
  return a.family === 4 ? [4, a.a3, 0, 0, 0, length] : [6, a.a0, a.a1, a.a2, a.a3, length];
}

/** State of a route by its texts. */
export function stateOf(table: RoaTable, prefix: string, asn: number): number {
  return table.state(...wordsOf(Prefix.parse(prefix)!), asn);
}
