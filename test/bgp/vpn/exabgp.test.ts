/** VPN prefixes as ExaBGP's vectors have them: label, distinguisher, prefix, next hop and targets, both ways. */
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import test from 'ava';
import { putVpnPrefix, readVpnNextHop, readVpnNlri, vpnNextHop } from '../../../bgp/vpn/nlri.ts';
import { distinguisherText } from '../../../bgp/vpn/route-distinguisher.ts';
import { PLAIN_FACTS } from '../../../bgp/wire/family.ts';
import { OctetWriter } from '../../../bgp/wire/octets.ts';
import { decodeUpdate } from '../../../bgp/wire/update.ts';
import { hex, messageOf, PLAIN_CONTEXT } from '../kit/describe.ts';

const DIR = join(process.cwd(), 'test/golden/bgp/exabgp');
const CONTEXT = {
  ...PLAIN_CONTEXT,
  external: false,
  families: { vpnv4: { ...PLAIN_FACTS, extendedNextHop: true }, vpnv6: PLAIN_FACTS },
};

interface Announced {
  readonly nlri: string;
  readonly label: readonly (readonly number[])[];
  readonly rd: string;
}

/** Message and what ExaBGP says it announces, by next hop. */
function vectors(): { raw: Uint8Array; announce: Record<string, Announced[]> }[] {
  const lines = readFileSync(join(DIR, 'conf-vpn.ci'), 'utf8').split('\n');
  const pairs = lines.flatMap((line, i) => {
    const json = /^\d+:json:(.*)$/.exec(lines[i + 1] ?? '');
    const raw = /^\d+:raw:(.*)$/.exec(line);
    return raw === null || json === null ? [] : [[raw[1]!, json[1]!] as const];
  });
  const [, raw, json] = readFileSync(join(DIR, 'decoding', 'vpnv4-extended-nexthop-1'), 'utf8').split('\n');
  return [...pairs, [raw!, json!] as const].map(([octets, text]) => ({
    raw: hex(octets),
    announce: JSON.parse(text).neighbor.message.update.announce['ipv4 mpls-vpn'],
  }));
}

test('every VPN route of ExaBGP is read as it says, and encoded to the same octets', (t) => {
  let seen = 0;
  for (const { raw, announce } of vectors()) {
    const u = decodeUpdate(messageOf(raw).body, CONTEXT);
    if ('handling' in u || u.vpn?.reach === undefined) return t.fail('no VPN routes');
    const value = u.vpn.reach;
    const nlriAt = 5 + value[3]!;
    const hop = readVpnNextHop(value.subarray(4, nlriAt - 1))!;
    const prefixes = readVpnNlri(value.subarray(nlriAt), 4, false)!;
    const [[nextHop, expected]] = Object.entries(announce) as [[string, Announced[]]];
    t.is(String(hop.global), nextHop);
    t.deepEqual(
      prefixes.map((p) => [String(p.prefix), p.label, distinguisherText(p.rd)]),
      expected.map((e) => [e.nlri, e.label[0]![0]!, e.rd]),
    );
    const w = new OctetWriter();
    for (const p of prefixes) putVpnPrefix(w, p, p.label, undefined);
    t.deepEqual(w.take(), value.slice(nlriAt));
    t.deepEqual(vpnNextHop(hop.global!, 4), value.slice(4, nlriAt - 1));
    seen += prefixes.length;
  }
  t.is(seen, 5);
  return undefined;
});
