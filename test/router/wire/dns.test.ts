import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import test from 'ava';
import fc from 'fast-check';
import { Addr } from '../../../router/lib/addr.ts';
import {
  buildDns,
  buildDnsQuery,
  DNS_CLASS_IN,
  type DnsMessage,
  DnsRcode,
  type DnsRecord,
  DnsType,
  parseDns,
  reverseDnsName,
  sameDnsName,
} from '../../../router/wire/dns.ts';

const GOLDEN = join(import.meta.dirname, '../../../../test/golden/dns/dnsmasq.hex');
const golden = new Map(
  readFileSync(GOLDEN, 'utf8')
    .trim()
    .split('\n')
    .map((line) => line.split(' '))
    .map(([name, side, hex]) => [`${name} ${side}`, Uint8Array.from(Buffer.from(hex!, 'hex'))] as const),
);
const a = (text: string): Addr => Addr.parse(text)!;

test('queries are built as the octets another implementation answers', (t) => {
  t.deepEqual(buildDnsQuery(0x1234, 'www.example.test', DnsType.A, 1232), golden.get('a query'));
  t.deepEqual(buildDnsQuery(0x1235, 'www.example.test', DnsType.AAAA, 1232), golden.get('aaaa query'));
  t.deepEqual(buildDnsQuery(0x1237, reverseDnsName(a('192.0.2.80')), DnsType.PTR, 1232), golden.get('ptr query'));
  t.deepEqual(buildDnsQuery(0x1239, 'big.example.test.', 16, 0), golden.get('truncated query'));
});

test("another implementation's answers are read", (t) => {
  const answers = (name: string): readonly DnsRecord[] => parseDns(golden.get(`${name} answer`)!)!.answers;
  const www = { name: 'www.example.test', class: DNS_CLASS_IN, ttlS: 300 };
  const v4: DnsRecord = { ...www, type: DnsType.A, data: { kind: 'address', addr: a('192.0.2.80') } };
  t.deepEqual(answers('a'), [v4]);
  t.deepEqual(answers('aaaa'), [{ ...www, type: DnsType.AAAA, data: { kind: 'address', addr: a('2001:db8::80') } }]);
  t.deepEqual(answers('cname-a'), [
    { ...www, name: 'alias.example.test', type: DnsType.CNAME, data: { kind: 'name', name: 'www.example.test' } },
    v4,
  ]);
  t.like(answers('ptr')[0], { data: { kind: 'name', name: 'www.example.test' } });
  t.like(parseDns(golden.get('missing answer')!), { rcode: DnsRcode.NxDomain, answers: [], edns: { udpSize: 1232 } });
  t.like(parseDns(golden.get('truncated answer')!), { isTruncated: true, isResponse: true, edns: undefined });
});

test('decoding and building again gives the same octets', (t) => {
  for (const [name, bytes] of golden) {
    const m = parseDns(bytes)!;
    // The server does not compress names inside records and sets flags we do not model.
    if (!['a', 'aaaa'].includes(name.split(' ')[0]!)) continue;
    t.deepEqual(buildDns(m), bytes, name);
  }
});

test('names in presentation form escape what a label may hold', (t) => {
  const odd = 'a\\.b.c\\\\d.\\000\\255.x';
  const m = parseDns(buildDnsQuery(1, odd, DnsType.A, 0)!)!;
  t.is(m.questions[0]!.name, odd);
  t.true(sameDnsName('WWW.Example', 'www.eXAMPLE'));
  t.false(sameDnsName('www.example', 'www.example2'));
});

test('impossible names are refused', (t) => {
  const long = 'x'.repeat(63);
  for (const name of [
    'a..b',
    '.a',
    'x'.repeat(64),
    `${long}.${long}.${long}.${long}`,
    'ä.example',
    'a b',
    '\\256',
    'a\\',
  ])
    t.is(buildDnsQuery(1, name, DnsType.A, 0), undefined, name);
  t.truthy(buildDnsQuery(1, `${long}.${long}.${long}.${'x'.repeat(61)}`, DnsType.A, 0));
});

/** A header with one question, its name given as raw octets. */
function withName(...octets: number[]): Uint8Array {
  return Uint8Array.of(0, 1, 0x80, 0, 0, 1, 0, 0, 0, 0, 0, 0, ...octets, 0, 1, 0, 1);
}

test('compression pointers that do not go backwards are malformed', (t) => {
  t.is(parseDns(withName(0xc0, 12)), undefined); // to itself
  t.is(parseDns(withName(1, 97, 0xc0, 12)), undefined); // to its own beginning: a loop
  t.is(parseDns(withName(0xc0, 14, 0)), undefined); // forward
  t.is(parseDns(withName(0xc0, 2)), undefined); // into the header
  t.is(parseDns(withName(0x80, 1, 0)), undefined); // reserved label type
  t.truthy(parseDns(withName(1, 97, 0)));
});

test('a name of pointers alone stays within its limits', (t) => {
  // 60 pointers, each to the one before: backwards, so allowed, and decoded in linear time.
  const chain = [1, 97, 0];
  for (let i = 0; i < 60; i++) chain.push(0xc0, i === 0 ? 12 : 15 + 2 * (i - 1));
  const questions = Uint8Array.of(0, 1, 0x80, 0, 0, 1, 0, 0, 0, 0, 0, 0, ...chain);
  t.notThrows(() => parseDns(questions));
});

test('two OPT records, or one outside the additional section, are malformed', (t) => {
  const query = buildDnsQuery(1, 'a', DnsType.A, 1232)!;
  const opt = query.slice(-11);
  const twice = Uint8Array.from([...query, ...opt]);
  twice[11] = 2;
  t.is(parseDns(twice), undefined);
  const asAnswer = query.slice();
  asAnswer[11] = 0;
  asAnswer[7] = 1;
  t.is(parseDns(asAnswer), undefined);
});

test('a TTL with its highest bit set counts as zero', (t) => {
  const bytes = golden.get('a answer')!.slice();
  bytes[40] = 0x80; // the answer's TTL follows the question (34 octets from 0) and name, type, class (6)
  t.is(parseDns(bytes)!.answers[0]!.ttlS, 0);
});

const anyLabel = fc.string({ unit: fc.constantFrom(...'abcXYZ019-_'), minLength: 1, maxLength: 12 });
const anyName = fc.array(anyLabel, { minLength: 1, maxLength: 5 }).map((l) => l.join('.'));
const anyData = fc.oneof(
  fc.ipV4().map((x) => ({ type: DnsType.A as number, data: { kind: 'address', addr: a(x) } as const })),
  fc
    .ipV6()
    .map((x) => Addr.parse(x))
    .filter((x) => x !== undefined)
    .map((addr) => ({ type: DnsType.AAAA as number, data: { kind: 'address', addr } as const })),
  anyName.map((name) => ({ type: DnsType.CNAME as number, data: { kind: 'name', name } as const })),
  fc.tuple(anyName, anyName, fc.nat(), fc.nat()).map(([mname, rname, serial, minimumS]) => ({
    type: DnsType.SOA as number,
    data: { kind: 'soa', mname, rname, serial, minimumS } as const,
  })),
  fc.uint8Array({ maxLength: 40 }).map((bytes) => ({ type: 99, data: { kind: 'raw', bytes } as const })),
);
const anyRecord: fc.Arbitrary<DnsRecord> = fc
  .tuple(anyName, anyData, fc.nat())
  .map(([name, { type, data }, ttlS]) => ({ name, type, class: DNS_CLASS_IN, ttlS, data }));
const anyMessage: fc.Arbitrary<DnsMessage> = fc.record({
  id: fc.nat(0xffff),
  isResponse: fc.boolean(),
  opcode: fc.nat(15),
  isAuthoritative: fc.boolean(),
  isTruncated: fc.constant(false),
  recursionDesired: fc.boolean(),
  recursionAvailable: fc.boolean(),
  rcode: fc.nat(15),
  questions: fc.array(fc.record({ name: anyName, type: fc.nat(0xffff), class: fc.nat(0xffff) }), { maxLength: 2 }),
  answers: fc.array(anyRecord, { maxLength: 4 }),
  authorities: fc.array(anyRecord, { maxLength: 2 }),
  additionals: fc.array(anyRecord, { maxLength: 2 }),
  edns: fc.option(fc.record({ udpSize: fc.nat(0xffff), version: fc.nat(255) }), { nil: undefined }),
});

/** Compression may give a name the letter case of an equal one written before. */
const folded = (m: DnsMessage): unknown =>
  JSON.parse(JSON.stringify(m, (key, v) => (/name$/i.test(key) ? String(v).toLowerCase() : v)));

test('every message survives being built and read', (t) => {
  t.notThrows(() =>
    fc.assert(
      fc.property(anyMessage, (m) => {
        const back = parseDns(buildDns(m)!)!;
        return JSON.stringify(folded(back)) === JSON.stringify(folded(m));
      }),
      { seed: 1035, numRuns: 500 },
    ),
  );
});

test('arbitrary octets and damaged messages never throw', (t) => {
  const damaged = fc
    .tuple(
      fc.constantFrom(...golden.values()),
      fc.array(fc.tuple(fc.nat(200), fc.nat(255)), { maxLength: 6 }),
      fc.nat(120),
    )
    .map(([bytes, changes, cut]) => {
      const b = bytes.slice(0, cut > bytes.length ? bytes.length : bytes.length - (cut % 30));
      for (const [at, value] of changes) if (at < b.length) b[at] = value;
      return b;
    });
  t.notThrows(() =>
    fc.assert(
      fc.property(fc.oneof(fc.uint8Array({ maxLength: 200 }), damaged), (b) => {
        const m = parseDns(b);
        if (m !== undefined) buildDns(m);
        return true;
      }),
      { seed: 5452, numRuns: 5000 },
    ),
  );
});
