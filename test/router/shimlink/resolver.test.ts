import test from 'ava';
import { Addr } from '../../../router/lib/addr.ts';
import type { Instant } from '../../../router/lib/clock.ts';
import {
  Resolver,
  type ResolverAction,
  type ResolverAnswer,
  type ResolverSettings,
} from '../../../router/shimlink/resolver.ts';
import {
  buildDns,
  DNS_CLASS_IN,
  type DnsMessage,
  DnsRcode,
  type DnsRecord,
  DnsType,
  parseDns,
} from '../../../router/wire/dns.ts';

const a = (text: string): Addr => Addr.parse(text)!;
const SERVERS = [
  { addr: a('192.0.2.53'), link: undefined },
  { addr: a('fe80::53'), link: 'dn42' },
];
type Send = Extract<ResolverAction, { kind: 'send' | 'send-stream' }>;

function address(name: string, text: string, ttlS = 60): DnsRecord {
  const addr = a(text);
  const type = addr.family === 4 ? DnsType.A : DnsType.AAAA;
  return { name, type, class: DNS_CLASS_IN, ttlS, data: { kind: 'address', addr } };
}

function alias(name: string, target: string, ttlS = 60): DnsRecord {
  return { name, type: DnsType.CNAME, class: DNS_CLASS_IN, ttlS, data: { kind: 'name', name: target } };
}

function soa(ttlS: number, minimumS: number): DnsRecord {
  const data = { kind: 'soa', mname: 'ns', rname: 'root', serial: 1, minimumS } as const;
  return { name: 'example', type: DnsType.SOA, class: DNS_CLASS_IN, ttlS, data };
}

/** A resolver with a clock and a script-like way to answer its queries. */
class Bench {
  readonly resolver: Resolver;
  now = 1000 as Instant;
  sends: Send[] = [];
  closed: number[] = [];
  readonly answers = new Map<number, ResolverAnswer>();
  #id = 0;

  constructor(settings: Partial<ResolverSettings> = {}) {
    let x = 7;
    this.resolver = new Resolver(
      { servers: SERVERS, search: [], ...settings },
      () => (x = Math.imul(x, 0x5bd1e995) ^ 0x1234567),
    );
  }

  lookup(name: string, families: readonly (4 | 6)[] = [4], via = 0): number {
    const id = ++this.#id;
    this.resolver.handle({ kind: 'lookup', id, name, families, via }, this.now);
    this.drain();
    return id;
  }

  reverse(addr: string): number {
    const id = ++this.#id;
    this.resolver.handle({ kind: 'reverse', id, addr: a(addr), via: 0 }, this.now);
    this.drain();
    return id;
  }

  drain(): void {
    for (let x = this.resolver.poll(); x !== undefined; x = this.resolver.poll()) {
      if (x.kind === 'send' || x.kind === 'send-stream') this.sends.push(x);
      else if (x.kind === 'close') this.closed.push(x.query);
      else this.answers.set(x.id, x.answer);
    }
  }

  /** The query sent last, or the last one for `type`. */
  last(type?: number): { send: Send; query: DnsMessage } {
    for (const send of [...this.sends].reverse()) {
      const query = parseDns(send.kind === 'send' ? send.bytes : send.bytes.subarray(2))!;
      if (type === undefined || query.questions[0]!.type === type) return { send, query };
    }
    throw new Error('nothing was sent');
  }

  /** Answer a query from its server; `changes` make it different from a good empty answer. */
  reply(changes: Partial<DnsMessage>, at = this.last(), from = at.send.server.addr, fromPort = 53): void {
    const bytes = buildDns({ ...at.query, isResponse: true, recursionAvailable: true, ...changes })!;
    this.resolver.handle({ kind: 'datagram', query: at.send.query, from, fromPort, bytes }, this.now);
    this.drain();
  }

  advance(ms: number): void {
    this.now = (this.now + ms) as Instant;
    this.resolver.tick(this.now);
    this.drain();
  }
}

test('both families are asked at once and answered together', (t) => {
  const b = new Bench();
  const id = b.lookup('www.example', [6, 4]);
  t.is(b.sends.length, 2);
  b.reply({ answers: [address('www.example', '192.0.2.1')] }, b.last(DnsType.A));
  t.false(b.answers.has(id));
  b.reply({ answers: [address('WWW.example', '2001:db8::1')] }, b.last(DnsType.AAAA));
  t.deepEqual(b.answers.get(id)!.addresses.map(String), ['2001:db8::1', '192.0.2.1']);
  t.is(b.resolver.deadline(), undefined);
  t.deepEqual(b.closed.length, 2);
});

test('aliases are followed inside the answer', (t) => {
  const b = new Bench();
  const id = b.lookup('a.example');
  b.reply({
    answers: [alias('a.example', 'b.example'), address('c.example', '192.0.2.3'), alias('b.example', 'c.example')],
  });
  t.like(b.answers.get(id), { status: 'ok', canonicalName: 'c.example' });
  const loop = b.lookup('x.example');
  b.reply({ answers: [alias('x.example', 'y.example'), alias('y.example', 'x.example')] });
  t.is(b.answers.get(loop)!.status, 'no-data');
});

test('an answer with another id, question, source or port is not believed', (t) => {
  const b = new Bench();
  const id = b.lookup('www.example');
  const good = { answers: [address('www.example', '192.0.2.1')] };
  b.reply({ ...good, id: (b.last().query.id + 1) & 0xffff });
  b.reply({ ...good, questions: [{ name: 'other.example', type: DnsType.A, class: DNS_CLASS_IN }] });
  b.reply({ ...good, questions: [{ name: 'www.example', type: DnsType.AAAA, class: DNS_CLASS_IN }] });
  b.reply({ ...good, questions: [] });
  b.reply(good, b.last(), a('192.0.2.54'));
  b.reply(good, b.last(), SERVERS[0]!.addr, 5353);
  b.reply({ ...good, isResponse: false });
  t.is(b.answers.size, 0);
  t.is(b.resolver.counters.rejectedAnswers, 7);
  b.reply(good);
  t.is(b.answers.get(id)!.status, 'ok');
});

test('silent servers are asked in order, each attempt with a new id and socket, then the lookup fails', (t) => {
  const b = new Bench();
  const id = b.lookup('www.example');
  t.is(b.resolver.deadline(), (b.now + 2000) as Instant);
  b.advance(1999);
  t.is(b.sends.length, 1);
  b.advance(1);
  for (let i = 0; i < 3; i++) b.advance(2000);
  t.deepEqual(
    b.sends.map((s) => String(s.server.addr)),
    ['192.0.2.53', 'fe80::53', '192.0.2.53', 'fe80::53'],
  );
  t.is(new Set(b.sends.map((s) => s.query)).size, 4);
  t.is(new Set(b.sends.map((s) => parseDns(s.bytes)!.id)).size, 4);
  t.is(b.answers.get(id)!.status, 'failed');
  t.deepEqual(
    b.closed,
    b.sends.map((s) => s.query),
  );
});

test('a server that fails or refuses is followed by the next one at once', (t) => {
  const b = new Bench();
  const id = b.lookup('www.example');
  b.reply({ rcode: DnsRcode.ServFail });
  t.is(b.last().send.server, SERVERS[1]!);
  b.resolver.handle({ kind: 'failed', query: b.last().send.query }, b.now);
  b.drain();
  t.is(b.last().send.server, SERVERS[0]!);
  b.reply({ answers: [address('www.example', '192.0.2.1')] });
  t.is(b.answers.get(id)!.status, 'ok');
});

test('a server that does not know EDNS is asked again without it', (t) => {
  const b = new Bench();
  const id = b.lookup('www.example');
  t.is(b.last().query.edns?.udpSize, 1232);
  b.reply({ rcode: DnsRcode.FormErr, questions: [], edns: undefined });
  t.is(b.last().query.edns, undefined);
  t.is(b.last().send.server, SERVERS[0]!);
  b.reply({ answers: [address('www.example', '192.0.2.1')] });
  t.is(b.answers.get(id)!.status, 'ok');
});

test('a truncated answer is asked for again over a stream, whose octets may come in any pieces', (t) => {
  const b = new Bench();
  const id = b.lookup('www.example');
  b.reply({ isTruncated: true });
  const { send, query } = b.last();
  t.is(send.kind, 'send-stream');
  t.is((send.bytes[0]! << 8) | send.bytes[1]!, send.bytes.length - 2);
  const message = buildDns({ ...query, isResponse: true, answers: [address('www.example', '192.0.2.1')] })!;
  for (const octet of [message.length >> 8, message.length & 255, ...message])
    b.resolver.handle({ kind: 'stream-octets', query: send.query, bytes: Uint8Array.of(octet) }, b.now);
  b.drain();
  t.is(b.answers.get(id)!.status, 'ok');
});

test('equal questions share one query', (t) => {
  const b = new Bench();
  const ids = [b.lookup('www.example'), b.lookup('WWW.example.'), b.lookup('www.example')];
  t.is(b.sends.length, 1);
  b.reply({ answers: [address('www.example', '192.0.2.1')] });
  t.true(ids.every((id) => b.answers.get(id)!.status === 'ok'));
});

test('answers are remembered for the smallest TTL of their chain', (t) => {
  const b = new Bench();
  b.lookup('www.example');
  b.reply({ answers: [alias('www.example', 'x.example', 10), address('x.example', '192.0.2.1', 60)] });
  b.advance(9_999);
  const id = b.lookup('www.example');
  t.is(b.answers.get(id)!.canonicalName, 'x.example');
  t.is(b.sends.length, 1);
  b.advance(1);
  b.lookup('www.example');
  t.is(b.sends.length, 2);
});

test('missing names are remembered as long as the SOA record says, and not at all without one', (t) => {
  const b = new Bench();
  b.lookup('no.example');
  b.reply({ rcode: DnsRcode.NxDomain, authorities: [soa(30, 5)] });
  b.advance(4_999);
  t.is(b.answers.get(b.lookup('no.example'))!.status, 'no-name');
  t.is(b.sends.length, 1);
  b.advance(1);
  b.lookup('no.example');
  t.is(b.sends.length, 2);
  b.reply({ rcode: DnsRcode.NxDomain });
  b.lookup('no.example');
  t.is(b.sends.length, 3);
});

test('the cache forgets the name that was not used longest', (t) => {
  const b = new Bench({ cacheEntries: 2 });
  for (const name of ['a.x', 'b.x', 'a.x', 'c.x']) {
    const id = b.lookup(name);
    if (!b.answers.has(id)) b.reply({ answers: [address(name, '192.0.2.1')] });
  }
  const before = b.sends.length;
  b.lookup('a.x');
  t.is(b.sends.length, before);
  b.lookup('b.x');
  t.is(b.sends.length, before + 1);
});

test('the search list is tried before short names and after long ones, and not for absolute names', (t) => {
  const asked = (name: string): string[] => {
    const b = new Bench({ search: ['corp.example', 'example'] });
    b.lookup(name);
    const names: string[] = [];
    while (b.answers.size === 0) {
      names.push(b.last().query.questions[0]!.name);
      b.reply({ rcode: DnsRcode.NxDomain });
    }
    return names;
  };
  t.deepEqual(asked('www'), ['www.corp.example', 'www.example', 'www']);
  t.deepEqual(asked('www.sub'), ['www.sub', 'www.sub.corp.example', 'www.sub.example']);
  t.deepEqual(asked('www.'), ['www']);
});

test('the search stops at the first name that has an address of any wanted family', (t) => {
  const b = new Bench({ search: ['one.example', 'two.example'] });
  const id = b.lookup('www', [6, 4]);
  b.reply({ answers: [address('www.one.example', '192.0.2.1')] }, b.last(DnsType.A));
  b.reply({}, b.last(DnsType.AAAA));
  t.like(b.answers.get(id), { status: 'ok', canonicalName: 'www.one.example' });
});

test('a failing server does not let the search go on to another name', (t) => {
  const b = new Bench({ search: ['one.example'], servers: [SERVERS[0]!], attempts: 1 });
  const id = b.lookup('www');
  b.reply({ rcode: DnsRcode.ServFail });
  t.is(b.answers.get(id)!.status, 'failed');
});

test('a name that exists without addresses is told from one that does not', (t) => {
  const b = new Bench();
  const id = b.lookup('mail.example');
  b.reply({ authorities: [soa(1, 1)] });
  t.is(b.answers.get(id)!.status, 'no-data');
});

test('addresses are turned into names', (t) => {
  const b = new Bench();
  const id = b.reverse('2001:db8::1');
  const name = `1${'.0'.repeat(23)}.8.b.d.0.1.0.0.2.ip6.arpa`;
  t.is(b.last().query.questions[0]!.name, name);
  b.reply({
    answers: [{ name, type: DnsType.PTR, class: DNS_CLASS_IN, ttlS: 1, data: { kind: 'name', name: 'www.example' } }],
  });
  t.like(b.answers.get(id), { status: 'ok', canonicalName: 'www.example', addresses: [] });
});

test('a cancelled lookup is not answered and its query is closed, unless another one waits for it', (t) => {
  const b = new Bench();
  const first = b.lookup('www.example');
  const second = b.lookup('www.example');
  b.resolver.handle({ kind: 'cancel', id: first }, b.now);
  b.drain();
  t.deepEqual(b.closed, []);
  b.resolver.handle({ kind: 'cancel', id: second }, b.now);
  b.drain();
  t.is(b.closed.length, 1);
  t.is(b.resolver.deadline(), undefined);
  t.is(b.answers.size, 0);
});

test('without servers, and for names that can not be, the answer comes at once', (t) => {
  const b = new Bench({ servers: [] });
  t.is(b.answers.get(b.lookup('www.example'))!.status, 'failed');
  t.is(b.answers.get(b.lookup('a..b'))!.status, 'no-name');
  t.is(b.answers.get(b.lookup('.'))!.status, 'no-name');
});

test('lookups for different uplinks are asked of their servers, and remembered apart', (t) => {
  const own = { addr: a('203.0.113.53'), link: undefined, path: { kind: 'uplink', uplink: 1001 } } as const;
  const b = new Bench({ uplinks: new Map([[1001, [own]]]) });
  const answered = (via: number, address_: string): void => {
    const id = b.lookup('www.example', [4], via);
    b.reply({ answers: [address('www.example', address_)] });
    t.deepEqual(b.answers.get(id)!.addresses.map(String), [address_]);
  };
  answered(0, '192.0.2.1');
  answered(1001, '198.51.100.1');
  t.is(b.last().send.server, own);
  answered(1002, '192.0.2.2'); // one without servers of its own asks everybody's
  t.deepEqual(
    b.sends.map((s) => String(s.server.addr)),
    ['192.0.2.53', '203.0.113.53', '192.0.2.53'],
  );
  const again = b.lookup('www.example', [4], 1001);
  t.deepEqual(b.answers.get(again)!.addresses.map(String), ['198.51.100.1']);
});
