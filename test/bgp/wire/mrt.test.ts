/** MRT: what BIRD wrote is read, what we write is read back (and by bgpdump in test/interop), and no octets do harm. */
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import test from 'ava';
import fc from 'fast-check';
import { AS_TRANS } from '../../../bgp/wire/attribute/as-path.ts';
import { decodeMrt, type MrtRecord, MrtWriter, updateOfEntry } from '../../../bgp/wire/mrt.ts';
import { Addr, Prefix } from '../../../router/lib/addr.ts';
import { describe, hex, PLAIN_CONTEXT } from '../kit/describe.ts';

/** BIRD dumps what it made of a route, LOCAL_PREF included. */
const INSIDE = { ...PLAIN_CONTEXT, external: false };

const GOLDEN = join(process.cwd(), 'test/golden/bgp/mrt/bird-2.0.12-table.hex');

function recordsOf(octets: Uint8Array): MrtRecord[] {
  const records: MrtRecord[] = [];
  for (let at = 0; at < octets.length; ) {
    const next = decodeMrt(octets, at);
    if (next === undefined || 'fault' in next) throw new Error(`at ${at}: ${next?.fault ?? 'cut short'}`);
    records.push(next.record);
    at += next.octets;
  }
  return records;
}

test('a table that BIRD dumped gives its peers, and each entry the UPDATE it came from', (t) => {
  const lines = readFileSync(GOLDEN, 'utf8').split('\n');
  const records = recordsOf(hex(lines.find((l) => l !== '' && !l.startsWith('#'))!));
  const [first] = records;
  if (first?.kind !== 'peers') return t.fail('no peer index');
  t.is(String(Addr.v4(first.collector)), '127.0.0.3');
  t.is(first.view, 'master4');
  t.deepEqual(
    first.peers.map((p) => [String(p.address), p.asn]),
    [
      ['::', 0],
      ['127.0.0.2', 4242420002],
    ],
  );
  const updates = records.flatMap((r) =>
    r.kind === 'rib' ? r.entries.map((e) => describe(updateOfEntry(r.prefix, e.attributes), INSIDE)) : [],
  );
  t.deepEqual(updates, [
    [
      'UPDATE',
      '  reach 172.20.1.0/24 via 10.9.9.2',
      '  origin IGP path [4242420002 4242420009]',
      '  local-pref 100',
      '  communities 64511:5',
    ],
    [
      'UPDATE',
      '  reach 172.20.2.0/25 via 10.9.9.2',
      '  origin IGP path [4242420002]',
      '  local-pref 100',
      '  large-community 64512:1:2',
    ],
    ['UPDATE', '  reach fd42:1::/48 via fd00:9::2', '  origin IGP path [4242420002 4242420009]', '  local-pref 100'],
  ]);
  return undefined;
});

test('every kind of record we write is read back the same', (t) => {
  const w = new MrtWriter();
  const peer = { identifier: 7, address: Addr.parse('fe80::2')!, asn: 4242420053 };
  const v4 = Prefix.parse('172.20.0.0/14')!;
  const v6 = Prefix.parse('fd42:d42:d42::/48')!;
  const attributes = hex('40010100');
  const ends = { peerAs: 4242420053, localAs: 65001, interface: 3, peer: peer.address, local: Addr.parse('fe80::1')! };
  const octets = hex('ffffffffffffffffffffffffffffffff001304');
  w.peers(10, 0x0a000001, 'main', [peer]);
  w.rib(11, v4, [{ peer: 0, originatedS: 9, pathId: undefined, attributes }]);
  w.rib(12, v6, [{ peer: 0, originatedS: 9, pathId: 42, attributes }]);
  w.message(13, { ...ends, fourOctetAs: true }, false, octets);
  w.message(14, { ...ends, peerAs: 65002, fourOctetAs: false }, true, octets);
  w.state(15, { ...ends, fourOctetAs: true }, 5, 6);
  // RFC 6793 §4.1: our AS as the peer knows it.
  w.message(16, { ...ends, peerAs: 65002, localAs: 4242420053, fourOctetAs: false }, false, octets);
  t.deepEqual(recordsOf(w.out.take()), [
    { atS: 10, kind: 'peers', collector: 0x0a000001, view: 'main', peers: [peer] },
    {
      atS: 11,
      kind: 'rib',
      sequence: 0,
      prefix: v4,
      entries: [{ peer: 0, originatedS: 9, pathId: undefined, attributes }],
    },
    { atS: 12, kind: 'rib', sequence: 1, prefix: v6, entries: [{ peer: 0, originatedS: 9, pathId: 42, attributes }] },
    { atS: 13, kind: 'message', ...ends, fourOctetAs: true, hasPathIds: false, octets },
    { atS: 14, kind: 'message', ...ends, peerAs: 65002, fourOctetAs: false, hasPathIds: true, octets },
    { atS: 15, kind: 'state', ...ends, fourOctetAs: true, from: 5, to: 6 },
    {
      atS: 16,
      kind: 'message',
      ...ends,
      peerAs: 65002,
      localAs: AS_TRANS,
      fourOctetAs: false,
      hasPathIds: false,
      octets,
    },
  ]);
});

test('a record that is not whole yet asks for more; one that contradicts itself says where', (t) => {
  const w = new MrtWriter();
  w.rib(11, Prefix.parse('10.0.0.0/8')!, [{ peer: 0, originatedS: 9, pathId: undefined, attributes: hex('40010100') }]);
  const octets = w.out.take();
  for (let n = 0; n < octets.length; n++) t.is(decodeMrt(octets.subarray(0, n), 0), undefined);
  octets[16] = 33; // the prefix length
  t.deepEqual(decodeMrt(octets, 0), { fault: 'malformed record of type 13/2', offset: 0 });
  t.like(decodeMrt(hex('00000000000d000200ffffff'), 0), { fault: 'a record of 16777215 octets' });
});

test('no octets make the reader throw or read beyond its input', (t) => {
  const types = fc.constantFrom([13, 1], [13, 2], [13, 4], [13, 8], [16, 0], [16, 1], [16, 4], [17, 9], [12, 1]);
  fc.assert(
    fc.property(types, fc.uint8Array({ maxLength: 120 }), ([type, subtype], body) => {
      const b = new Uint8Array(12 + body.length);
      new DataView(b.buffer).setUint16(4, type!);
      new DataView(b.buffer).setUint16(6, subtype!);
      new DataView(b.buffer).setUint32(8, body.length);
      b.set(body, 12);
      const next = decodeMrt(b, 0);
      t.not(next, undefined);
      if (next !== undefined && !('fault' in next)) {
        t.is(next.octets, b.length);
        if (next.record.kind === 'rib')
          for (const e of next.record.entries) updateOfEntry(next.record.prefix, e.attributes);
      }
    }),
    { seed: 6396, numRuns: 3000 },
  );
});
