import test from 'ava';
import { Digest } from './bgp-digest.ts';
import { announcements, endOfRib, type Feed, open, withdrawals } from './bgp-encode.ts';
import { dn42Tables, makeTable, parseOrigins, type Table } from './bgp-table.ts';

const FEED: Feed = {
  asn: 65101,
  nextHop4: [10, 9, 9, 9],
  nextHop6: [0xfd, 9, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 9],
};
const HEADER = 19;

/** 1.0.0.0/24, 1.0.4.0 - 1.0.9.255, a /25, and what AS_TRANS has. */
const V4 = `16777216,16777471,13335,"Cloudflare, Inc."
16778240,16779775,38803,Gtelecom
16781312,16781439,2519,too long
16785408,16785663,23456,nobody
`;
/** 2001:200::/32 and a single address. */
const V6 = `42540528726795050063891204319802818560,42540528806023212578155541913346768895,2500,WIDE
42540528806023212578155541913346768896,42540528806023212578155541913346768896,1,one
`;

const prefixes = (t: Pick<Table, 'count' | 'high' | 'low' | 'length'>): string[] =>
  Array.from({ length: t.count }, (_, i) => `${t.high[i]!.toString(16)}:${t.low[i]!.toString(16)}/${t.length[i]}`);

/** The messages of a buffer, without their headers. */
function messages(b: Buffer): [number, number][] {
  const found: [number, number][] = [];
  for (let at = 0; at < b.length; ) {
    const length = b.readUInt16BE(at + 16);
    found.push([at + HEADER, at + length]);
    at += length;
  }
  return found;
}

function told(...buffers: Buffer[]): Digest {
  const digest = new Digest();
  for (const b of buffers) for (const [from, to] of messages(b)) digest.update(b, from, to);
  return digest;
}

test('ranges become the prefixes that cover them, without long ones and reserved ASes', (t) => {
  t.deepEqual(prefixes(parseOrigins(4, V4)), ['1000000:0/24', '1000400:0/22', '1000800:0/23']);
  t.deepEqual(prefixes(parseOrigins(6, V6)), ['20010200:0/32']);
});

test('a table has the number of prefixes asked for, each once, in sets of one origin', (t) => {
  const table = makeTable(parseOrigins(4, V4), 6, 1);
  t.is(new Set(prefixes(table)).size, 6);
  t.true(prefixes(table).includes('1000000:0/24'));
  t.is(table.setStart[table.sets], 6);
  for (let s = 0; s < table.sets; s++) {
    const path = table.path.subarray(table.pathStart[s], table.pathStart[s + 1]);
    t.true(path.length >= 2 && path.length <= 5);
    const isCloudflare = table.high[table.setStart[s]!] === 0x1000000;
    t.is(path.at(-1), isCloudflare ? 13335 : 38803);
  }
});

test('the same seed gives the same table, and another seed another one', (t) => {
  const make = (seed: number): Buffer => announcements(makeTable(parseOrigins(6, V6), 500, seed), FEED);
  t.deepEqual(make(7), make(7));
  t.notDeepEqual(make(7), make(8));
});

test('an announcement has exactly these octets', (t) => {
  const one = {
    family: 4,
    count: 2,
    high: Uint32Array.of(0x01000400, 0xc6336400),
    low: Uint32Array.of(0, 0),
    length: Uint8Array.of(22, 24),
    sets: 1,
    setStart: Uint32Array.of(0, 2),
    path: Uint32Array.of(64500),
    pathStart: Uint32Array.of(0, 1),
  } as const;
  t.is(
    announcements(one, FEED).toString('hex'),
    `${'ff'.repeat(16)}004d02` + // length 77, UPDATE
      '0000002e' + // nothing withdrawn, 46 octets of attributes
      '40010100' + // ORIGIN IGP
      '40020a02020000fe4d0000fbf4' + // AS_PATH 65101 64500
      '4003040a090909' + // NEXT_HOP 10.9.9.9
      'c00804fbff0000' + // COMMUNITIES (64511,0)
      'c0200c0000fe4d0000000100000000' + // LARGE_COMMUNITY 65101:1:0
      '1601000418c63364', // 1.0.4.0/22, 198.51.100.0/24
  );
  t.is(withdrawals(one).toString('hex'), `${'ff'.repeat(16)}001f02000816010004` + '18c633640000');
});

test('withdrawals take back what was announced, in messages of at most 4096 octets', (t) => {
  for (const table of [
    makeTable(parseOrigins(4, '16777216,33554431,3356,x\n'), 3000, 3),
    makeTable(parseOrigins(6, V6), 3000, 3),
  ]) {
    const all = announcements(table, FEED);
    const gone = withdrawals(table);
    t.is(told(all).size, 3000);
    t.is(told(all, gone).size, 0);
    t.is(messages(all).length, table.sets);
    t.true(messages(gone).every(([from, to]) => to - from + HEADER <= 4096));
  }
});

test('another detour is another path, and a comparison names the prefixes', (t) => {
  const table = makeTable(parseOrigins(4, V4), 6, 1);
  const plain = told(announcements(table, FEED));
  // The first AS is the one that tells, and does not count.
  t.like(plain.compare(told(announcements(table, { ...FEED, asn: 65102 }))), { prefixes: 6, count: 0 });
  t.like(plain.compare(told(announcements(table, { ...FEED, detour: [64497] }))), { prefixes: 6, count: 6 });
  const some = told(announcements(table, FEED), announcements(table, { ...FEED, detour: [64496] }, 0, 1));
  t.is(plain.compare(some).count, table.setStart[1]!);
});

test('End-of-RIB and OPEN are well-formed', (t) => {
  t.is(endOfRib(4).toString('hex'), `${'ff'.repeat(16)}00170200000000`);
  t.is(endOfRib(6).toString('hex'), `${'ff'.repeat(16)}001d02000000068` + '00f03000201');
  const octets = open(4242420001, [10, 0, 0, 1], 90);
  t.is(octets.readUInt16BE(16), octets.length);
  t.is(octets[18], 1);
  t.is(octets.readUInt16BE(20), 23456);
});

test('the DN42 tables have distinct prefixes of DN42 sizes', (t) => {
  const [v4, v6] = dn42Tables();
  t.deepEqual([new Set(prefixes(v4)).size, new Set(prefixes(v6)).size], [1350, 1300]);
});
