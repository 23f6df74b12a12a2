import test from 'ava';
import { Addr } from '../../../router/lib/addr.ts';
import type { Instant } from '../../../router/lib/clock.ts';
import { DnsForwarder, refusal } from '../../../router/shimlink/dns-forwarder.ts';
import type { QueryAction } from '../../../router/shimlink/dns-port.ts';
import { framed, Reassembly } from '../../../router/shimlink/dns-stream.ts';
import { buildDnsQuery, DnsRcode, DnsType, parseDns } from '../../../router/wire/dns.ts';

const SERVERS = ['192.0.2.53', '198.51.100.53'].map((text) => ({ addr: Addr.parse(text)!, link: undefined }));
type Send = Extract<QueryAction, { kind: 'send' | 'send-stream' }>;

class Bench {
  readonly forwarder = new DnsForwarder(() => 0xabcd);
  now = 1000 as Instant;
  readonly sent: Send[] = [];
  readonly closed: number[] = [];
  readonly answers: Uint8Array[] = [];

  ask(isStream = false, servers = SERVERS): void {
    const bytes = buildDnsQuery(7, 'WWW.example.org', DnsType.A, 1232)!;
    const message = DnsForwarder.read(bytes)!;
    this.forwarder.ask({ bytes, message, isStream, servers, done: (a) => this.answers.push(a) }, this.now);
    this.drain();
  }

  drain(): void {
    for (let a = this.forwarder.poll(); a !== undefined; a = this.forwarder.poll())
      if (a.kind === 'close') this.closed.push(a.query);
      else this.sent.push(a);
  }

  get last(): Send {
    return this.sent.at(-1)!;
  }

  /** A datagram for the last query. */
  hear(bytes: Uint8Array, from = this.last.server.addr, fromPort = 53): void {
    this.forwarder.handle({ kind: 'datagram', query: this.last.query, from, fromPort, bytes }, this.now);
    this.drain();
  }

  passed(ms: number): void {
    this.now = (this.now + ms) as Instant;
    this.forwarder.tick(this.now);
    this.drain();
  }
}

/** The server's answer: the query with the response bit, one octet behind it as records would be. */
function answerTo(query: Uint8Array): Uint8Array {
  const a = query.slice();
  a[2] = 0x81;
  return a;
}

test('a query goes out as it is but for its id, and its answer comes back with the id of the app', (t) => {
  const b = new Bench();
  b.ask();
  t.is(parseDns(b.last.bytes)!.id, 0xabcd);
  t.deepEqual(b.last.bytes.subarray(2), buildDnsQuery(7, 'WWW.example.org', DnsType.A, 1232)!.subarray(2));
  b.hear(answerTo(b.last.bytes));
  t.is(parseDns(b.answers[0]!)!.id, 7);
  t.deepEqual(b.closed, [b.last.query]);
});

test('answers of others, with another id, port or question are not believed', (t) => {
  const b = new Bench();
  b.ask();
  const good = answerTo(b.last.bytes);
  b.hear(good, Addr.parse('203.0.113.1')!);
  b.hear(good, undefined, 5353);
  b.hear(Uint8Array.from(good, (v, i) => (i === 0 ? 0 : v)));
  b.hear(Uint8Array.from(good, (v, i) => (i === 14 ? 0x78 : v))); // another letter of the name
  b.hear(b.last.bytes); // a question
  b.hear(good.subarray(0, 5));
  t.is(b.answers.length, 0);
  t.is(b.forwarder.counters.forwardRejected, 6);
  b.hear(good);
  t.is(b.answers.length, 1);
});

test('a silent server is followed by the next, and when none answers the app is told so', (t) => {
  const b = new Bench();
  b.ask();
  for (let i = 0; i < 4; i++) b.passed(1500);
  t.deepEqual(
    b.sent.map((s) => String(s.server.addr)),
    ['192.0.2.53', '198.51.100.53', '192.0.2.53', '198.51.100.53'],
  );
  t.deepEqual([...b.answers[0]!], [0, 7, 0x81, 0x80 | DnsRcode.ServFail, 0, 0, 0, 0, 0, 0, 0, 0]);
  t.is(b.forwarder.deadline(), undefined);
});

test('a server that refuses the datagram is passed over at once', (t) => {
  const b = new Bench();
  b.ask();
  b.forwarder.handle({ kind: 'failed', query: b.last.query }, b.now);
  b.drain();
  t.is(String(b.last.server.addr), '198.51.100.53');
});

test('what came by TCP is asked by TCP, and its answer may come in pieces', (t) => {
  const b = new Bench();
  b.ask(true);
  t.is(b.last.kind, 'send-stream');
  const [query] = new Reassembly().take(b.last.bytes);
  const octets = framed(answerTo(query!));
  for (const octet of octets)
    b.forwarder.handle({ kind: 'stream-octets', query: b.last.query, bytes: Uint8Array.of(octet) }, b.now);
  t.is(parseDns(b.answers[0]!)!.id, 7);
});

test('who has no server to ask is told so; what is no query is none', (t) => {
  const b = new Bench();
  b.ask(false, []);
  t.is(parseDns(b.answers[0]!)!.rcode, DnsRcode.ServFail);
  const query = buildDnsQuery(7, 'a', DnsType.A, 0)!;
  t.is(DnsForwarder.read(answerTo(query)), undefined);
  t.is(DnsForwarder.read(query.subarray(0, 11)), undefined);
  t.is(parseDns(refusal(query, DnsRcode.NotImp))!.rcode, DnsRcode.NotImp);
});
